"""/page.json: what the page at / shows, made of the same facts as /status. Facts in, JSON out.

    ?q=TEXT        files whose path holds TEXT, whatever the case
    ?source=NAME   files of this source            ?state=STATE   files in this state
    ?offset=N      from the Nth on (0)             ?limit=N       so many (50; at most 200)

Invariants (tests/agent/test_page.py):
  W1  the answer's size follows from the config and `limit`, never from how many files there are
  W2  names of files, pods and far sides are hostile: without control characters here, and text (never markup) on the page (P10)
  W3  the files that lag most come first; equal ones by path, so that pages do not overlap
Plane: pure. Of 5,000 files: 2 ms; making their rows takes 35 (page_data.py keeps them).
"""
from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import Usage
from .history import EVERY_S, History, Series
from .status import FileFacts
from .text import printable
from .verdict import Finding, headline

BEHIND_S = 60.0
MOST_ROWS = 200
HELD = frozenset({"buffer_full", "disk_full", "buffer_error"})
STATES = ("reading", "waiting", "unfinished", "deleted", "failed", "quiet", "done")


@dataclass(frozen=True, slots=True)
class Query:
    """Which files are asked for."""

    text: str = ""
    source: str = ""
    state: str = ""
    offset: int = 0
    limit: int = 50


def parse_query(asked: Mapping[str, str]) -> Query:
    """Usage where a value makes no sense."""
    if unknown := sorted(asked.keys() - {"q", "source", "state", "offset", "limit"}):
        raise Usage(f"no such parameter: {', '.join(unknown)[:100]}; there are q, source, state, offset and limit")
    state = asked.get("state", "")
    if state and state not in STATES:
        raise Usage(f"state: one of {', '.join(STATES)}")
    return Query(asked.get("q", "")[:300], asked.get("source", "")[:300], state,
                 _whole(asked, "offset", 0, 10_000_000), _whole(asked, "limit", 50, MOST_ROWS))


def _whole(asked: Mapping[str, str], name: str, otherwise: int, most: int) -> int:
    text = asked.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Usage(f"{name}: a number from 0 to {most}")
    return min(int(text), most)


# ---------------------------------------------------------------- files

def select(files: Iterable[FileFacts], query: Query) -> dict[str, Any]:
    """One page of the rows that match, and how many there are (W1, W3)."""
    wanted = query.text.casefold()
    matched = [f for f in files if (not query.source or f.source == query.source) and (not query.state or f.state == query.state)
               and (not wanted or wanted in f.path.casefold())]
    first = heapq.nsmallest(query.offset + query.limit, matched, key=lambda f: (-f.lag_bytes, f.path, f.key))
    rows = [
        {"key": f.key, "path": printable(f.path), "source": f.source, "state": f.state, "size_bytes": f.size_bytes,
         "position_bytes": f.position_bytes, "lag_bytes": f.lag_bytes, "lag_s": round(f.lag_s, 1)}
        for f in first[query.offset:]
    ]
    return {"matched": len(matched), "offset": query.offset, "limit": query.limit, "rows": rows}


def sources_of(files: Sequence[FileFacts], names: Iterable[str], held: bool) -> list[dict[str, Any]]:
    """One row per source: `files`, `lag_bytes`, `lag_s` of its latest file, `state`: no files | failed | held | behind |
    reading | quiet.

    A line that its writer has not finished counts as lag in bytes, and not as being late. `names`: of the config; sources
    that left it stay while they have files.
    """
    sums: dict[str, list[float]] = {name: [0, 0, 0.0, 0] for name in names}          # files, bytes, seconds, unread files
    failed = {f.source for f in files if f.state == "failed"}                        # a journal or kmsg
    for f in files:
        row = sums.setdefault(f.source, [0, 0, 0.0, 0])
        row[0] += 1
        if lag := f.lag_bytes:
            row[1] += lag
            if f.state != "unfinished":
                row[3] += 1
                row[2] = max(row[2], f.lag_s)
    return [
        {"name": name, "files": count, "lag_bytes": lag_bytes, "lag_s": round(lag_s, 1),
         "state": "failed" if name in failed else _state(count, unread, lag_s, held)}
        for name, (count, lag_bytes, lag_s, unread) in sums.items()
    ]


def _state(files: float, unread_files: float, lag_s: float, held: bool) -> str:
    if not files:
        return "no files"
    if not unread_files:
        return "quiet"
    if held:
        return "held"
    return "behind" if lag_s >= BEHIND_S else "reading"


# ---------------------------------------------------------------- the whole answer

@dataclass(frozen=True, slots=True)
class Past:
    """Rates now and what was, out of History. `counters`: as they stand now."""

    history: History
    counters: Mapping[Series, float]
    now_s: float

    def rate(self, kind: str, name: str) -> float | None:
        series = Series(kind, name)
        found = self.history.rate(series, self.now_s, self.counters.get(series, 0.0))
        return None if found is None else round(found, 1)

    def points(self, kind: str, name: str = "") -> list[int | None]:
        return [None if value is None else round(value) for value in self.history.points(Series(kind, name))]


def page(status: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], files: Mapping[str, Any], found: Sequence[Finding],
         past: Past) -> dict[str, Any]:
    """The JSON of /page.json (docs/page.md). `status`: as in /status, its files left out."""
    return {
        **{key: status[key] for key in ("version", "node", "pid", "uptime_s", "ready", "healthy")},
        "now_s": round(status["started_s"] + status["uptime_s"], 1),
        "well": all(each.level == "note" for each in found),
        "headline": printable(headline(found, status["ready"])),
        "findings": [{name: printable(text) for name, text in each._asdict().items()} for each in found],
        "sample_s": EVERY_S,
        "sinks": [_sink(name, facts, past) for name, facts in status["sinks"].items()],
        "sources": [_source(row, past) for row in sources],
        "buffer": {**status["buffer"], "past": past.points("buffer")},
        "files": {**files, "total": sum(row["files"] for row in sources)},
    }


def _source(row: Mapping[str, Any], past: Past) -> dict[str, Any]:
    """A source that is read as fast as it is written has nothing unread at most moments, and is not quiet."""
    name, rate = row["name"], past.rate("read", row["name"])
    return {
        **row, "state": "reading" if row["state"] == "quiet" and rate else row["state"],
        "rate": rate, "records_rate": past.rate("records", name),
        "past": {"rate": past.points("read", name), "lag": past.points("lag", name)},
    }


def _sink(name: str, facts: Mapping[str, Any], past: Past) -> dict[str, Any]:
    shown = ("type", "state", "backlog_bytes", "oldest_s", "next_try_s", "guarantee", "delivered_records", "dead_records",
             "dropped_records", "unconfirmed_records")
    return {
        "name": name, **{key: facts.get(key) for key in shown}, "last_error": printable(facts.get("last_error") or ""),
        "rate": past.rate("delivered", name), "records_rate": past.rate("delivered_records", name),
        "past": {"rate": past.points("delivered", name), "backlog": past.points("backlog", name)},
    }
