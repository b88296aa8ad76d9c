"""Orders about dead letters, carried out by whoever holds the state directory: the running agent, or a command with the lock.

    {"do": "replay", "sink": .., "wanted": {..}, "limit": 500, "skip": [ids]}
        -> {"replayed", "refused": [{"id", "why"}], "unreadable": [ids], "pending", "more", "state", "last_error"}
    {"do": "purge", "sink": .., "wanted": {..}}            -> {"purged"}

Invariants (tests/agent/test_dead_letters.py):
  K1  a letter is removed when its sink has it, and not before; a crash in between delivers it once more, with its id
  K2  an order is answered within ANSWER_S; what was begun goes on, and is not begun twice
  K3  no answer quotes a secret (P9)
  K4  at most UNDER_WAY letters of a sink are in memory
Driver.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..deliver.dead_letters import DeadLetters
from ..deliver.letters import Wanted, batch_of, scrub
from ..deliver.split import Candidate
from ..errors import Retryable, Usage
from ..model import Batch
from ..telemetry import Telemetry

ANSWER_S = 10.0
UNDER_WAY = 2_000


class Sends(Protocol):
    """A sink's delivery."""

    @property
    def letters(self) -> DeadLetters: ...

    async def replay(self, letters: list[tuple[Batch, str]]) -> list[Candidate]: ...

    def status(self) -> dict[str, Any]: ...


class DeadLetterDesk:
    """`delivery(name)`: of a sink that runs now, else None. `stored(name)`: the letters of one that does not."""

    def __init__(
        self, delivery: Callable[[str], Sends | None], stored: Callable[[str], DeadLetters], telemetry: Telemetry,
    ) -> None:
        self._delivery, self._stored, self._telemetry = delivery, stored, telemetry
        self._under_way: dict[str, set[str]] = {}
        self._picking = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def order(self, what: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one order. Usage where it cannot be understood."""
        name, do = what.get("sink"), what.get("do")
        try:
            wanted = Wanted.from_json(what.get("wanted") or {})
        except (ValueError, AttributeError) as error:
            raise Usage(f"not a filter: {error}") from None
        if not isinstance(name, str) or do not in ("replay", "purge"):
            raise Usage("an order names a sink and what to do: replay or purge")
        delivery = self._delivery(name)
        if do == "purge":
            return await self._purge(delivery.letters if delivery is not None else self._stored(name), wanted)
        if delivery is None:
            raise Usage(f"no sink {name!r} runs; replay goes to the sink that the letters are of: add it to the config again, "
                        "or purge them")
        limit, skip = what.get("limit", 500), what.get("skip", [])
        if not isinstance(limit, int) or not isinstance(skip, list):
            raise Usage("limit is a number, skip a list of ids")
        return await self._replay(name, delivery, wanted, min(max(limit, 1), UNDER_WAY), set(map(str, skip)))

    async def _purge(self, letters: DeadLetters, wanted: Wanted) -> dict[str, Any]:
        ids = await asyncio.to_thread(lambda: {letter["record"]["id"] for letter in letters.read() if wanted.matches(letter)})
        return {"purged": await letters.remove(ids)}

    async def _replay(
        self, name: str, delivery: Sends, wanted: Wanted, limit: int, skip: set[str],
    ) -> dict[str, Any]:
        under_way = self._under_way.setdefault(name, set())
        answer: dict[str, Any] = {"replayed": 0, "refused": [], "unreadable": [], "more": False}
        async with self._picking:                        # K2, K4: what one picks the next one sees under way
            room = min(limit, UNDER_WAY - len(under_way))
            picked, answer["unreadable"], answer["more"] = await asyncio.to_thread(
                _pick, delivery.letters, wanted, max(room, 0), skip | under_way)
            under_way.update(picked)
        if picked:
            task = asyncio.create_task(self._carry_out(under_way, delivery, picked), name=f"replay {name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            done, _ = await asyncio.wait([task], timeout=ANSWER_S)
            if done:
                refused = task.result()
                answer["refused"] = [{"id": record_id, "why": why} for record_id, why in refused.items()]
                answer["replayed"] = len(picked) - len(refused)
        elif under_way:
            await asyncio.wait(set(self._tasks), timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        status = delivery.status()
        return {**answer, "pending": len(under_way), "state": status["state"], "last_error": status["last_error"]}

    async def _carry_out(self, under_way: set[str], delivery: Sends, picked: dict[str, tuple[Batch, str]]) -> dict[str, str]:
        """K1. What was refused again, with the reason; all of them where the sink stopped."""
        try:
            refused = {
                f"{batch.key}:{item.decode()}": scrub(self._telemetry.scrub(why))
                for batch, _, why in await delivery.replay(list(picked.values())) for item in batch.ids
            }
            await delivery.letters.remove({record_id for record_id in picked if record_id not in refused})
            return refused
        except (Retryable, OSError) as error:
            self._telemetry.say("warning", "replay_ended", why=str(error), letters=len(picked))
            return dict.fromkeys(picked, self._telemetry.scrub(str(error)))
        finally:
            under_way.difference_update(picked)

    async def close(self) -> None:
        """What is under way stays a dead letter."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _pick(
    letters: DeadLetters, wanted: Wanted, most: int, skip: set[str],
) -> tuple[dict[str, tuple[Batch, str]], list[str], bool]:
    """Up to `most` records by id, the ids of what is none, and whether there is more. On a thread: it reads files."""
    picked: dict[str, tuple[Batch, str]] = {}
    unreadable: list[str] = []
    for letter in letters.read():
        record_id = letter["record"]["id"]
        if record_id in skip or record_id in picked or not wanted.matches(letter):
            continue
        if len(picked) >= most:
            return picked, unreadable, True
        batch = batch_of(letter)
        if batch is None:
            unreadable.append(record_id)
        else:
            picked[record_id] = batch, str(letter.get("reason", ""))
    return picked, unreadable, False
