"""What is wrong, in sentences with the mend: the first thing on the page at /. Facts in, findings out.

    bad    something stands still or is lost now        warn   it goes on, and somebody should look        note   good to know

Invariants (tests/agent/test_page.py):
  V1  no finding means that all is well; notes do not make it unwell
  V2  each finding says what, since when as far as known, and what to do; a mend that is nobody's to do is not invented
  V3  what happened once and long ago (dead letters, records dropped) is a note, within the last 15 minutes a warning
Plane: pure.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .text import duration, size

OLD_RECORD_S = 600.0
"""As in the alert ShipperBacklogGrowing."""

OF_FILESYSTEM = "of the filesystem"
"""What the buffer's words hold where the disk is its limit, and not max_size (buffer/engine.py)."""

_RANK = {"bad": 0, "warn": 1, "note": 2}

_SINK_SAYS = {
    "retrying": ("does not get through", "See that the far side runs, can be reached from this node and lets us in."),
    "refusing": ("is refused everything",
                 "Look at its address, path and credentials. Nothing was accepted, so nothing is given up as dead letters."),
    "failed": ("needs somebody", "Mend what the error names."),
    "stopped": ("was stopped", "It starts again with the next config that is applied."),
}

_MENDS = {
    "disk_full": "Make room on the file system of state_dir; the agent goes on by itself.",
    "buffer_error": "Look at the disk (dmesg); the agent tries again until it works, and reads again what was not stored.",
    "inotify_unavailable": "Raise fs.inotify.max_user_instances; until then files are looked at by turns, a little later.",
    "inotify_watches_exhausted": "Raise fs.inotify.max_user_watches; until then the rest is looked at by turns, a little later.",
}

_GOES_ON = frozenset({"inotify_unavailable", "inotify_watches_exhausted", "metadata"})
_TITLES = {"metadata": "What Kubernetes knows of the pods cannot be had"}


class Finding(NamedTuple):
    """`level`: bad | warn | note. `about`: `sink:NAME`, `source:NAME` or a reason. `title`: what is wrong, as long as it
    lasts the same words; `what`: since when and why; `mend`: what to do, or empty."""

    level: str
    about: str
    title: str
    what: str
    mend: str


class Recent(NamedTuple):
    """What was given up: bytes that no record holds since the start, and which of these counters rose within 15 minutes."""

    lost_bytes: float = 0.0
    lost: bool = False
    dead: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()


def findings(status: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], recent: Recent) -> list[Finding]:
    """What is wrong, the worst first. `status`: as in /status (without files); `sources`: rows of page_view."""
    found = [*_stuck(status), *_degraded(status), *_behind(status, sources), *_reload(status), *_given_up(status, recent)]
    return sorted(found, key=lambda each: _RANK[each.level])


def headline(found: Sequence[Finding], ready: bool) -> str:
    """One sentence for the top of the page and the window's title. It holds no number that moves: it is read out."""
    wrong = [each for each in found if each.level != "note"]
    if not wrong:
        return "All is well." if ready else "Starting: the first look at the log files is not done yet."
    more = f" And {len(wrong) - 1} more." if len(wrong) > 1 else ""
    return f"{wrong[0].title}.{more}"


def _stuck(status: Mapping[str, Any]) -> Iterator[Finding]:
    for problem in status["problems"]:
        yield Finding("bad", "stuck", "The agent is stuck", f"{problem[:1].upper()}{problem[1:]}.",
                      "The watchdog or liveness probe restarts it where there is one; else restart it. Nothing is lost by that.")


def _degraded(status: Mapping[str, Any]) -> Iterator[Finding]:
    for each in status["degraded"]:
        reason, why, since = each["reason"], each["why"], duration(each["for_s"])
        if reason.startswith("sink:"):
            yield _sink(reason, status["sinks"].get(reason[5:], {}), why, since)
        elif reason == "buffer_full":
            yield Finding("bad", reason, "The buffer is full: reading waits", f"For {since}.", mend_of(each, status["sinks"]))
        else:
            level = "warn" if reason in _GOES_ON else "bad"
            said = f"For {since}: {_ended(why)}"
            yield Finding(level, reason, _title(reason), said, mend_of(each, status["sinks"]))


def mend_of(degraded: Mapping[str, Any], sinks: Mapping[str, Mapping[str, Any]]) -> str:
    """What to do about one of /status' `degraded` whose own words do not say it, or empty: a sink's last error ends with its
    mend."""
    if degraded["reason"] != "buffer_full":
        return _MENDS.get(degraded["reason"], "")
    on_disk = OF_FILESYSTEM in degraded["why"]
    return _room(sinks, "make room on the file system of state_dir" if on_disk else "raise `buffer.max_size`")


def _title(reason: str) -> str:
    kind, _, name = reason.partition(":")
    if name:                                                  # journal:NAME
        return f"Source {name} cannot be read"
    return _TITLES.get(kind, kind.replace("_", " ").capitalize())


def _sink(reason: str, facts: Mapping[str, Any], why: str, since: str) -> Finding:
    says, mend = _SINK_SAYS.get(facts.get("state", ""), _SINK_SAYS["retrying"])
    next_try_s = facts.get("next_try_s")
    again = f" Tried again in {duration(next_try_s)}." if next_try_s is not None else ""
    waits = f" {size(facts['backlog_bytes'])} wait in the buffer." if facts.get("backlog_bytes") else ""
    error = facts.get("last_error") or why.partition(": ")[2] or why            # `why` is what it began with
    hint = "" if "; " in error else mend                     # most errors of ours end with their own: "...; check that ..."
    return Finding("bad", reason, f"Sink {reason[5:]} {says}", f"For {since}: {_ended(error)}", f"{hint}{again}{waits}".strip())


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


def _room(sinks: Mapping[str, Mapping[str, Any]], more: str) -> str:
    keeps = "The log files keep what is not read, until rotation removes them."
    if not sinks:
        return keeps
    behind = max(sinks, key=lambda name: sinks[name].get("backlog_bytes") or 0)
    backlog = size(sinks[behind].get("backlog_bytes"))
    return f"Mend sink {behind}, which is furthest behind ({backlog}), or {more}. {keeps}"


def _behind(status: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for name, facts in status["sinks"].items():
        oldest_s = facts.get("oldest_s") or 0
        if facts.get("state") == "ok" and oldest_s > OLD_RECORD_S:
            yield Finding("warn", f"sink:{name}", f"Sink {name} is behind", f"Its oldest record is {duration(oldest_s)} old.",
                          "If its backlog shrinks, wait; if not, the far side takes less than is written here.")
    for row in sources:
        about = f"source:{row['name']}"
        if row["state"] == "behind":
            yield Finding("warn", about, f"Source {row['name']} is read late", f"By {duration(row['lag_s'])}.",
                          "If its lag shrinks, wait; if not, more is written than the agent has CPU for, or a limit holds it.")
        elif row["state"] == "no files":
            yield Finding("note", about, f"Source {row['name']} has no files", "Nothing matches its `include` (yet).", "")


def _reload(status: Mapping[str, Any]) -> Iterator[Finding]:
    last = status["last_reload"]
    if last and last["outcome"] in ("refused", "failed"):
        yield Finding("warn", "reload", f"The new config was {last['outcome']}", f"The one before is in force. {last['why']}",
                      "Mend the file; it is read again as soon as it changes.")
    if last and last["needs_restart"]:
        yield Finding("note", "reload", "A restart is needed", f"It applies {', '.join(last['needs_restart'])}.", "")


def _given_up(status: Mapping[str, Any], recent: Recent) -> Iterator[Finding]:
    if recent.lost_bytes:
        yield Finding(
            "warn" if recent.lost else "note", "lost", "Log files were gone before they could be read",
            f"At least {size(recent.lost_bytes)} since the agent's start.", "`shipper audit` names each range and its reason.")
    for name, facts in status["sinks"].items():
        if dead := facts.get("dead_records"):
            yield Finding(
                "warn" if name in recent.dead else "note", f"dead:{name}", f"Sink {name} refused records for good",
                f"{dead:,} are in the dead letters.", f"`shipper dead-letters list --sink {name}` shows them and why.")
        if dropped := facts.get("dropped_records"):
            yield Finding(
                "warn" if name in recent.dropped else "note", f"dropped:{name}", f"Sink {name} left records out",
                f"{dropped:,} so far, for want of room or time.", "`shipper audit` names the reasons.")
