"""Ranges of a journal whose frames were damaged are read again from the journal, with the same ids; else they are gaps. Driver.

    newest entry that was read (cursor, offset) ──backwards, counting──► oldest range's start ──► look-back's start
                                                                                                  │ its cursor
    lost ranges ◄── sections ◄── decode ◄── entries inside ◄── look-back ◄── forwards from there ◄┘

A range counts messages (records.py), so going back from the newest entry tells which entries a range is of: what is vacuumed
is older.

Invariants (tests/journal/test_again.py):
  G1  a lost range ends as records or as a gap `buffer_damaged`, never in silence (P1); trouble with the journal is tried again
  G2  an id never means two contents: the same filter, the newest entry as it was, and both ends of a range between two entries;
      else it is a gap
  G3  the state of the running decoder is not touched; what stands in front of the range (half a private key) is looked at
  G4  of the way back nothing is held but one cursor; forwards, one read at a time
Cost: once back and forth through what was read since, however many ranges there are (100,000 entries: 1.6 s).
"""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from ..errors import GapReason
from ..model import Batch, Gap, Lost, Section
from .export import Entry
from .ports import Backend, Decoder, Output, Settings
from .records import CURSOR, entry_bytes


def not_read_again(lost: Lost, start: int) -> Section:
    """What is behind `start` of it, as a gap (G1)."""
    gap = Gap(start, lost.end, GapReason.BUFFER_DAMAGED, lost.end - start)
    return Section(lost.file, start, start, "", None, gaps=(gap,))


@dataclass(frozen=True, slots=True)
class Begin:
    """Where to read forwards from: an entry, and the offset at which its message begins."""

    cursor: str
    offset: int


class WayBack:
    """From the newest entry to where the oldest range begins: entries in, Begin out. Pure.

    ranges  of one key, by start
    begin   the oldest entry so far, once the newest range is behind us: of a journal that is vacuumed half-way the rest is had
    ended   nothing more is wanted
    """

    def __init__(self, ranges: list[Lost], newest_end: int, look_back_bytes: int) -> None:
        self._at, self._newest = newest_end, ranges[-1]
        self._wanted = max(0, ranges[0].start - look_back_bytes)
        self.begin: Begin | None = None
        self.ended = False

    def take(self, entry: Entry) -> None:
        """The next older entry."""
        self._at -= entry_bytes(entry)
        if self._at <= self._newest.start:
            self.begin = Begin(entry[CURSOR].decode("ascii", "replace"), self._at)
        self.ended = self._at <= self._wanted


class Ranges:
    """What is still lost of one key while its entries go by. Pure; `at`: the offset of the next entry, G2."""

    def __init__(self, ranges: list[Lost], at: int) -> None:
        self.key, self.open, self._at = ranges[0].file.key, [(lost, lost.start) for lost in ranges], at
        self.vain: list[Section] = []                     # gaps of what went by and did not fit

    def take(self, entries: list[Entry]) -> list[tuple[Lost | None, int, list[Entry]]]:
        """(range, start, entries of it), in order; None: what stands between them."""
        starts = list(accumulate(map(entry_bytes, entries), initial=self._at))
        self._at = starts.pop()
        of = self._ranges_at(starts)
        parts = [list(part) for _, part in groupby(range(len(entries)), key=lambda index: id(of[index]))]
        found: list[tuple[Lost | None, int, list[Entry]]] = []
        for part in parts:
            lost, start, inside = of[part[0]], starts[part[0]], [entries[index] for index in part]
            if lost is not None and not self._fits(lost, start, start + sum(map(entry_bytes, inside))):
                lost = None
            found.append((lost, start, inside))
        self._pass_by()
        return found

    def _ranges_at(self, starts: list[int]) -> list[Lost | None]:
        begins = [lost.start for lost, _ in self.open]
        found = [self.open[at - 1][0] if (at := bisect_right(begins, start)) else None for start in starts]
        return [lost if lost is not None and start < lost.end else None for start, lost in zip(starts, found)]

    def _fits(self, lost: Lost, start: int, end: int) -> bool:
        index = next(i for i, (each, _) in enumerate(self.open) if each is lost)
        if start != self.open[index][1] or end > lost.end:
            self.vain.append(not_read_again(lost, self.open[index][1]))
            del self.open[index]
            return False
        self.open[index] = lost, end
        return True

    def _pass_by(self) -> None:
        """Filled ones are done; one that the next entry is behind of did not begin at an entry."""
        for lost, reached in [each for each in self.open if each[0].end <= self._at]:
            if reached < lost.end:
                self.vain.append(not_read_again(lost, reached))
        self.open = [each for each in self.open if each[0].end > self._at]

    def rest(self) -> list[Section]:
        """Gaps for all that was not filled."""
        return [*self.vain, *(not_read_again(lost, reached) for lost, reached in self.open)]


@dataclass(slots=True)
class Again:
    """Of one source. `submit`: one frame, awaited; `go_on`: waits for room, False where the source is to stop or begin anew."""

    lineage: str
    settings: Settings
    backend: Backend
    decoder: Decoder
    output: Output
    submit: Callable[[list[Section]], Awaitable[None]]
    go_on: Callable[[], Awaitable[bool]]
    now_ns: Callable[[], int]
    now_s: Callable[[], float]

    def due(self) -> list[Lost]:
        """What is lost of this source, by key and start. Cheap: mostly nothing is."""
        lost = self.output.positions().lost
        mine = [each for each in lost if each.file.source.lineage == self.lineage] if lost else []
        return sorted(mine, key=lambda each: (each.file.key, each.start))

    async def read(self) -> None:
        """All that is due. Trouble where the journal cannot be read; the rest stays due then."""
        for _, lost in groupby(self.due(), key=lambda each: each.file.key):
            ranges = list(lost)
            begin = await self._begin_of(ranges)
            left = Ranges(ranges, begin.offset if begin is not None else 0)
            if begin is not None and not await self._forwards(left, begin):
                return
            if left.rest() and await self.go_on():
                await self.submit(left.rest())

    async def _begin_of(self, ranges: list[Lost]) -> Begin | None:
        """None where nobody can tell which entries they are of (G2)."""
        file = ranges[0].file
        known = self.output.positions().files.get(file.key)
        if known is None or not known.cursor or file.head_hash != self.settings.signature:
            return None
        way = WayBack(ranges, known.offset, self.decoder.look_back_bytes)
        newest = self.backend.place_of(known.cursor)
        stream = await self.backend.backwards(known.cursor)
        first = True
        try:
            while not way.ended and await self.go_on() and (entries := await stream.read()) is not None:
                for entry in entries:
                    if first and self.backend.place_of(entry[CURSOR]) != newest:
                        return None
                    first = False
                    way.take(entry)
                    if way.ended:
                        break
        finally:
            await stream.close()
        return way.begin

    async def _forwards(self, left: Ranges, begin: Begin) -> bool:
        """Fills what can be filled. False where the source is to stop: the rest stays due."""
        kept = self.decoder.state()
        self.decoder.restore((), self.now_s())
        wanted, found = self.backend.place_of(begin.cursor), False
        stream = await self.backend.stream(begin.cursor, follow=False)
        try:
            while left.open and (entries := await stream.read()) is not None:
                if not found:
                    places = [self.backend.place_of(entry[CURSOR]) for entry in entries]
                    entries = entries[places.index(wanted):] if wanted in places else []
                    found = bool(entries)
                if not await self.go_on():
                    return False
                for lost, start, inside in left.take(entries):
                    await self._fill(left.key, lost, start, inside)
        finally:
            await stream.close()
            self.decoder.restore(kept, self.now_s())      # G3
        return True

    async def _fill(self, key: str, lost: Lost | None, start: int, entries: list[Entry]) -> None:
        how: Any = {"read_ns": self.now_ns(), "now_s": self.now_s(), "reread": _nothing}
        if lost is not None:
            batch: Batch | None = self.decoder.decode(key, start, entries, **how)
            end = start + sum(map(entry_bytes, entries))
            await self.submit([Section(lost.file, start, end, "", batch, (), self.decoder.take_drops())])
        elif self.decoder.look_back_bytes:
            self.decoder.look_back(key, start, entries, **how)
            self.decoder.take_drops()                     # counted when they were read


def _nothing(piece: object) -> bytes:
    return b""
