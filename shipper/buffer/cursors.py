"""How far each sink is confirmed, and what of that may be on disk. Pure.

    cursors/<sink>.json   {"version": 1, "seq", "index", "state", "counters", "total_bytes", "removed_s"}

A cursor (seq, index) means: the next record is record `index` (over all sections) of frame `seq`; all before is
confirmed. It therefore needs the frames up to `needs`: seq - 1, or seq where index > 0.

Invariants (tests/buffer/test_cursors.py):
  C1  a cursor only goes forward
  C2  `due(synced_seq)` gives only cursors whose frames are synced, each the newest such one, each once
  C3  what is durable never needs a frame that is not synced
  C4  a cursor of a removed sink still holds its segments, until `expired` names it
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from .. import exact_json
from ..errors import Fatal

VERSION = 1
REMOVED_KEEP_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class CursorPosition:
    """One sink's cursor. `state`: the sink's own JSON; `counters`: delivery's sums; `total_bytes`: source bytes before it.
    `removed_s`: wall clock when its sink was found to be gone from the config, 0 while it is there."""

    name: str
    seq: int
    index: int = 0
    state: Any = None
    counters: Mapping[str, Any] = field(default_factory=dict)
    total_bytes: int = 0
    removed_s: float = 0.0

    @property
    def needs(self) -> int:
        """The last frame that must be synced before this cursor may be durable."""
        return self.seq if self.index else self.seq - 1

    @property
    def place(self) -> tuple[int, int]:
        return self.seq, self.index


def encode(cursor: CursorPosition) -> bytes:
    """The cursor file's bytes."""
    return exact_json.dumps({
        "version": VERSION, "seq": cursor.seq, "index": cursor.index, "state": cursor.state,
        "counters": dict(cursor.counters), "total_bytes": cursor.total_bytes, "removed_s": cursor.removed_s,
    }) + b"\n"


def decode(name: str, data: bytes, path: str) -> CursorPosition:
    """What `encode` wrote. ValueError for damaged bytes, Fatal for a later version's."""
    try:
        found = exact_json.loads(data)
        version = int(found["version"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a cursor file: {error}") from error
    if version > VERSION:
        raise Fatal(f"{path}: written by a later release (version {version}, this one reads {VERSION}); "
                    "start that release again, or remove the file to send all that is held once more")
    try:
        return CursorPosition(name, int(found["seq"]), int(found["index"]), found["state"], found["counters"],
                              int(found["total_bytes"]), float(found["removed_s"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged: {type(error).__name__}: {error}") from error


def file_name(name: str) -> str:
    """The file of sink `name`; sink names are [A-Za-z0-9_.-] by config, anything else is escaped."""
    safe = "".join(c if (c.isalnum() and c.isascii()) or c in "_-." else f"%{ord(c):x}%" for c in name)
    return ("%2e%" + safe[1:] if safe.startswith(".") else safe) + ".json"


def sink_name(file: str) -> str:
    """The inverse of `file_name`."""
    parts = file.removesuffix(".json").split("%")
    return "".join(chr(int(part, 16)) if place % 2 else part for place, part in enumerate(parts))


class Cursors:
    """All cursors: `now` in memory, `durable` as on disk, and between them what waits for frames to be synced."""

    def __init__(self, durable: Iterable[CursorPosition] = ()) -> None:
        self.durable: dict[str, CursorPosition] = {c.name: c for c in durable}
        self.now: dict[str, CursorPosition] = dict(self.durable)
        self._waiting: dict[str, deque[CursorPosition]] = {}

    def set(self, cursor: CursorPosition) -> None:
        """Move (or create) a cursor in memory. ValueError where it would go back (C1)."""
        found = self.now.get(cursor.name)
        if found is not None and cursor.place < found.place:
            raise ValueError(f"cursor of sink {cursor.name}: {cursor.place} is before {found.place}")
        self.now[cursor.name] = cursor
        waiting = self._waiting.setdefault(cursor.name, deque())
        # One entry per frame is enough: of two that need the same frame, the newer one is always taken.
        if waiting and waiting[-1].needs == cursor.needs:
            waiting.pop()
        waiting.append(cursor)

    def open(self, new: CursorPosition, previously: str | None) -> tuple[CursorPosition, str | None]:
        """The cursor of sink `new.name`: its own, else that of `previously`, else `new`. And the name whose cursor lives on
        in this one and may go, once this one is on disk."""
        found, old = self.now.get(new.name), self.now.get(previously) if previously is not None else None
        if found is None:
            found = new if old is None else replace(old, name=new.name, removed_s=0.0)
            self.set(found)
        elif found.removed_s:
            found = replace(found, removed_s=0.0)
            self.set(found)
        if old is None:
            return found, None
        self.set(replace(old, removed_s=1.0))  # long expired: it goes with the next commit
        return found, old.name

    def drop(self, name: str) -> CursorPosition | None:
        """Forget a cursor, on disk too once the caller has deleted its file."""
        self._waiting.pop(name, None)
        self.durable.pop(name, None)
        return self.now.pop(name, None)

    def due(self, synced_seq: int) -> list[CursorPosition]:
        """The cursors to be written now (C2). They count as taken: `failed` puts one back."""
        out = []
        for waiting in self._waiting.values():
            newest = None
            while waiting and waiting[0].needs <= synced_seq:
                newest = waiting.popleft()
            if newest is not None:
                out.append(newest)
        return out

    def failed(self, cursor: CursorPosition) -> None:
        """It could not be written: to be tried again, unless a newer one is there by then."""
        if cursor.name in self.now:
            self._waiting.setdefault(cursor.name, deque()).appendleft(cursor)

    def written(self, cursor: CursorPosition) -> None:
        """It is on disk."""
        if cursor.name in self.now:
            self.durable[cursor.name] = cursor

    def waiting(self) -> bool:
        """Whether anything is not on disk yet."""
        return any(self._waiting.values())

    def held_from(self) -> int | None:
        """The lowest frame that a durable cursor still needs; None where there is no cursor. A cursor that is not on
        disk yet holds its frames too."""
        seqs = [c.seq for c in self.durable.values()]
        seqs += [w[0].seq for name, w in self._waiting.items() if w and name not in self.durable]
        seqs += [c.seq for name, c in self.now.items() if name not in self.durable]
        return min(seqs, default=None)

    def furthest_behind(self) -> CursorPosition | None:
        """The cursor (in memory) that holds the oldest frame."""
        return min(self.now.values(), key=lambda c: c.place, default=None)

    def retain(self, names: Iterable[str], now_s: float) -> list[str]:
        """Mark the cursors whose sink is not in `names` as removed, once; names of those newly marked (C4)."""
        known, marked = set(names), []
        for name, cursor in list(self.now.items()):
            if name not in known and not cursor.removed_s:
                self.set(replace(cursor, removed_s=now_s))
                marked.append(name)
        return marked

    def expired(self, now_s: float, room_needed: bool) -> list[str]:
        """Removed sinks whose time is over; all of them where room is needed."""
        return [name for name, c in self.now.items()
                if c.removed_s and (room_needed or now_s - c.removed_s >= REMOVED_KEEP_S)]
