"""`shipper dead-letters list|show|replay|purge`: records that a sink refused for good. Driver.

    list, show     read the files
    replay, purge  orders to the running agent (dead_letter_desk.py), else carried out here with the state lock held

Invariants (tests/agent/test_dead_letters.py):
  C1  an interrupted replay has lost nothing: what was delivered is gone from the store, the rest is there, and the same
      command goes on
  C2  purge says how many it would delete, of which sinks, and deletes nothing without a yes
"""
from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from ..config.units import Seconds
from ..deliver.dead_letters import DeadLetters, checked_name, letters_directory, stored_sinks
from ..deliver.letters import Wanted, comparable_time, names_of
from ..errors import Fatal, Usage
from ..telemetry import Telemetry
from .client import add_state_dir, ask, order, state_dir_of

SHOWN = 50
CHUNK = 500
WITHOUT_PROGRESS_S = 60.0
REFUSED_ENOUGH = 1_000

Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", metavar="list|show|replay|purge", choices=("list", "show", "replay", "purge"))
    parser.add_argument("ids", nargs="*", default=[], metavar="ID", help="only these records (right behind the action)")
    parser.add_argument("--sink", metavar="NAME", help="only of this sink (default: of all)")
    parser.add_argument("--reason", metavar="R", help="only with this reason: rejected, too_large, gave_up")
    parser.add_argument("--source", metavar="GLOB", help="only from here: namespace/pod/container, a path, or a source's name")
    parser.add_argument("--since", metavar="T", help="only that became dead since: 2h, 7d, or 2026-11-20T09:00:00Z")
    parser.add_argument("--until", metavar="T", help="only that became dead before")
    parser.add_argument("--all", action="store_true", help=f"list: all, not only the newest {SHOWN}")
    parser.add_argument("--json", action="store_true", help="list, show: one JSON object a line; replay, purge: the outcome")
    parser.add_argument("--rate", metavar="N", type=float, default=200.0, help="replay: records a second at most (default 200)")
    parser.add_argument("--yes", action="store_true", help="purge: delete without asking")
    add_state_dir(parser)


def run(args: Namespace) -> int:
    """Exit code 0; 1 where a replay left something, a purge was not wanted, or `show` found nothing."""
    state_dir, wanted = state_dir_of(args), wanted_of(args, time.time())
    sinks = [checked_name(args.sink)] if args.sink else stored_sinks(state_dir)
    if args.rate <= 0:
        raise Usage("--rate must be above 0; write for example --rate 200")
    if not sinks and not os.path.isdir(f"{state_dir}/buffer"):
        raise Usage(f"{state_dir}: no buffer here; is it the state_dir of an agent that ran?")
    if args.action in ("list", "show"):
        return _look(args, state_dir, sinks, wanted)
    counts = {sink: count for sink in sinks if (count := sum(1 for _ in letters_of(state_dir, [sink], wanted)))}
    if not counts:
        print(json.dumps({}) if args.json else "no dead letters like that")
        return 0
    if args.action == "purge":
        return _purge(args, state_dir, counts, wanted)
    return asyncio.run(_replay_all(args, state_dir, counts, wanted))


def wanted_of(args: Namespace, now_s: float) -> Wanted:
    """Usage where a time is none."""
    return Wanted(ids=tuple(args.ids), reason=args.reason or "", source=args.source or "",
                  since=_time("--since", args.since, now_s), until=_time("--until", args.until, now_s))


def _time(option: str, text: str | None, now_s: float) -> str:
    if text is None:
        return ""
    if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?", text):
        return text.rstrip("Z")
    try:
        return comparable_time(now_s - Seconds.parse(text))
    except ValueError:
        raise Usage(f"{option}: {text!r} is no time; write for example 2h, 7d or 2026-11-20T09:00:00Z") from None


def letters_of(state_dir: str, sinks: list[str], wanted: Wanted) -> Iterator[tuple[str, dict[str, Any]]]:
    """(sink, letter), oldest first within a sink. Fatal where they may not be read."""
    for sink in sinks:
        try:
            for letter in DeadLetters(f"{letters_directory(state_dir)}/{sink}", sink, Telemetry()).read():
                if wanted.matches(letter):
                    yield sink, letter
        except PermissionError:
            raise Fatal(f"may not read {letters_directory(state_dir)}; run this as the agent's user (sudo)") from None


# ---------------------------------------------------------------- looking

def _look(args: Namespace, state_dir: str, sinks: list[str], wanted: Wanted) -> int:
    found = list(letters_of(state_dir, sinks, wanted))
    if args.action == "show":
        for sink, letter in found:
            print(json.dumps({"sink": sink, **letter}, indent=None if args.json else 1, ensure_ascii=not args.json))
        if not found:
            print(f"no dead letters{' like that' if wanted != Wanted() else ''}", file=sys.stderr)
        return 0 if found else 1
    if args.json:
        for sink, letter in found:
            print(json.dumps({"sink": sink, **_headline(letter)}))
    else:
        print("\n".join(_listing(found, args.all)))
    return 0


def _headline(letter: dict[str, Any]) -> dict[str, Any]:
    return {"at": letter.get("at"), "reason": letter.get("reason"), "id": letter["record"]["id"],
            "source": names_of(letter)[0], "response": letter.get("response")}


def _listing(found: list[tuple[str, dict[str, Any]]], everything: bool) -> list[str]:
    from .text import table

    if not found:
        return ["no dead letters"]
    sums: dict[tuple[str, str], list[str]] = {}
    for sink, letter in found:
        sums.setdefault((sink, str(letter.get("reason"))), []).append(str(letter.get("at")))
    lines = table(("SINK", "REASON", "RECORDS", "OLDEST", "NEWEST"),
                  [(*key, str(len(times)), min(times)[:19] + "Z", max(times)[:19] + "Z") for key, times in sorted(sums.items())])
    shown = found if everything else found[-SHOWN:]
    rows = [(sink, *(str(value) for value in _headline(letter).values())) for sink, letter in shown]
    lines += ["", *table(("SINK", "AT", "REASON", "ID", "FROM", "ANSWER"), rows)]
    if len(shown) < len(found):
        lines.append(f"... and {len(found) - len(shown)} older ones; --all shows them")
    return lines


# ---------------------------------------------------------------- purging

def _purge(args: Namespace, state_dir: str, counts: dict[str, int], wanted: Wanted) -> int:
    """C2."""
    what = ", ".join(f"{count} of sink {sink}" for sink, count in counts.items())
    if not args.yes:
        if not sys.stdin.isatty():
            raise Usage(f"this would delete {what}; say --yes")
        if input(f"delete {what}, for good? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was deleted")
            return 1
    purged = asyncio.run(_purge_each(state_dir, list(counts), wanted))
    print(json.dumps(purged) if args.json else "\n".join(f"{sink}: {count} deleted" for sink, count in purged.items()))
    return 0


async def _purge_each(state_dir: str, sinks: list[str], wanted: Wanted) -> dict[str, int]:
    if ask(state_dir, "/readyz", parse=False) is not None:
        orders = {sink: {"do": "purge", "sink": sink, "wanted": wanted.to_json()} for sink in sinks}
        return {sink: int(order(state_dir, "/dead-letters", what)["purged"]) for sink, what in orders.items()}
    from .offline import locked

    with locked(state_dir):
        purged = {}
        for sink in sinks:
            ids: set[str] = {letter["record"]["id"] for _, letter in letters_of(state_dir, [sink], wanted)}
            purged[sink] = await DeadLetters(f"{letters_directory(state_dir)}/{sink}", sink, Telemetry()).remove(ids)
        return purged


# ---------------------------------------------------------------- replaying

async def _replay_all(args: Namespace, state_dir: str, counts: dict[str, int], wanted: Wanted) -> int:
    """To the running agent, or, with -c, to a delivery of our own."""
    outcomes: dict[str, dict[str, Any]] = {}
    running = ask(state_dir, "/readyz", parse=False) is not None
    if not running and not args.config:
        raise Usage(f"no agent runs on {state_dir}: name the config with -c FILE, and this command delivers them itself")
    for sink, count in counts.items():
        say: Callable[[str], None] = (lambda line: None) if args.json else (lambda line, sink=sink: print(f"{sink}: {line}"))  # type: ignore[misc]
        if running:
            async def to_agent(what: dict[str, Any]) -> dict[str, Any]:
                return await asyncio.to_thread(order, state_dir, "/dead-letters", what)

            outcomes[sink] = await replay(to_agent, sink, count, wanted, args.rate, say)
        else:
            from .replay_offline import delivering

            async with delivering(args.config, sink) as ask_here:
                outcomes[sink] = await replay(ask_here, sink, count, wanted, args.rate, say)
    if args.json:
        print(json.dumps(outcomes))
    return 0 if all(each["left"] == 0 for each in outcomes.values()) else 1


async def replay(
    ask_desk: Ask, sink: str, total: int, wanted: Wanted, rate: float, say: Callable[[str], None],
    now_s: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Order by order, no faster than `rate` records a second, until none is left but what is refused again.

    Returns {"replayed", "refused", "left"}. Gives up, saying why, after WITHOUT_PROGRESS_S without progress: the sink is down.
    """
    chunk = max(1, min(CHUNK, int(rate)))
    replayed, skip = 0, dict[str, str]()
    moved_s = began_s = now_s()
    while True:
        answer = await ask_desk(
            {"do": "replay", "sink": sink, "wanted": wanted.to_json(), "limit": chunk, "skip": list(skip)})
        replayed += answer["replayed"]
        fresh: dict[str, str] = {each["id"]: each["why"] for each in answer["refused"]}
        fresh.update(dict.fromkeys(answer["unreadable"], "not a record any more"))
        skip.update(fresh)
        if answer["replayed"] or fresh:
            moved_s = now_s()
            say(f"{replayed} of {total} delivered" + (f", {len(skip)} refused again" if skip else ""))
        elif answer["pending"]:
            say(f"{answer['pending']} under way; the sink is {answer['state']}: {answer['last_error']}")
        done = not (answer["more"] or answer["pending"])
        if done or len(skip) >= REFUSED_ENOUGH or now_s() - moved_s > WITHOUT_PROGRESS_S:
            break
        await asyncio.sleep(max(0.0, (replayed + len(skip)) / rate - (now_s() - began_s)))
    for why in sorted(set(skip.values()))[:3]:
        say(f"refused: {why}")
    left = max(total - replayed, 0)
    say(f"done: {replayed} delivered" if not left else f"{replayed} delivered, {left} are still dead letters"
        + ("" if done else "; the same command goes on"))
    return {"replayed": replayed, "refused": len(skip), "left": left}
