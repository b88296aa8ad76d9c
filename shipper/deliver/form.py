"""From frames to what one request holds: routed batches, up to a limit of bytes and of records, across frames.

    frames   7 [A B C] 8 [] 9 [D........]           route takes A, C, D
    spans    (7,0) ── A C ── (9,0)    (9,0) ── D[0:40] ── (9,40)    (9,40) ── D[40:] ── (10,0)

Invariants (tests/deliver/test_form.py):
  F1  spans are gapless: each starts where the one before ended, and together they cover all frames
  F2  each routed record is in exactly one span, in order
  F3  no span holds more than `limit_records`, nor more than `limit_bytes` unless it is a single record or an estimate
      was too low (the sink then says TooLarge, and the request is halved)
  F4  what is not routed, and frames without records, move the position and make no request
  F5  equal frames, limits and start give equal spans
  F6  where single records are routed (severity), what is left out counts as not routed, by its source bytes; F1 to F5 hold
Pure. Hot: once per frame and section. A batch that fits is passed by reference, its size what the section
holds; only one that does not fit is measured record by record and sliced. A request that is half full is closed rather
than filled up with a slice.
"""
from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from ..model import Batch, Frame, Section
from .account import Position, Tally, named_bytes, offset_of, unwanted_bytes
from .route import Pick, Predicate, pick_of

UNLIMITED = 1 << 62


@dataclass(slots=True)
class Span:
    """Everything from `start` to `end`, and the batches in it that are routed. `message_bytes`: an estimate.

    read_ns   when the oldest frame of it was read
    replayed  its batches are dead letters and not in the buffer; start and end are the same
    """

    start: Position
    end: Position
    batches: list[Batch] = field(default_factory=list)
    records: int = 0
    message_bytes: int = 0
    tally: Tally = field(default_factory=Tally)
    read_ns: int = 0
    replayed: bool = False


class Former:
    """Frames in, spans out. `reset` sets where it stands; `add` gives it what the buffer has from `next_seq` on."""

    def __init__(self, routed: Predicate, limit_bytes: int = UNLIMITED, limit_records: int = UNLIMITED) -> None:
        self._routed, self._pick = routed, pick_of(routed)
        self.limit_bytes, self.limit_records = limit_bytes, limit_records
        self._most_bytes = limit_bytes
        self.reset(Position(0, 0), 0)

    def reset(self, start: Position, total_bytes: int) -> None:
        """Forget all; stand at `start`, where the buffer's source bytes add up to `total_bytes`."""
        self._frames: deque[Frame] = deque()
        self._at = start
        self._total_bytes = total_bytes
        self._span = Span(start, start)
        self._full = False
        self._ends: tuple[int, int, list[int]] = (-1, -1, [])
        self.next_seq = start.seq

    def add(self, frames: Iterable[Frame]) -> None:
        """Frames with rising sequence numbers, none below `next_seq`."""
        for frame in frames:
            if frame.seq < self.next_seq:
                raise ValueError(f"frame {frame.seq} was given twice, the next one is {self.next_seq}")
            self._frames.append(frame)
            self.next_seq = frame.seq + 1

    def too_large(self, message_bytes: int) -> None:
        """A request of that size was over the far side's limit: form smaller ones, down to a sixteenth."""
        self.limit_bytes = max(min(self.limit_bytes, message_bytes) // 2, self._most_bytes // 16, 1)

    def taken(self) -> None:
        """A request was taken: grow back by a sixty-fourth (one huge record must not make all requests small for ever)."""
        if self.limit_bytes < self._most_bytes:
            self.limit_bytes = min(self.limit_bytes + max(self._most_bytes // 64, 1), self._most_bytes)

    @property
    def records(self) -> int:
        """Records in the span that is not full yet."""
        return self._span.records

    @property
    def oldest_ns(self) -> int:
        """When the oldest frame was read that is not in a span which was taken; 0 where there is none."""
        return self._span.read_ns or (self._frames[0].read_ns if self._frames else 0)

    def take(self, force: bool) -> Span | None:
        """The next span: a full one, or with `force` whatever there is. None where there is none."""
        while self._frames and not self._full:
            if self._consume(self._frames[0]):
                self._frames.popleft()
        span = self._span
        if not self._full and not (force and self._at != span.start):
            return None
        span.end = self._at
        self._span = Span(self._at, self._at)
        self._full = False
        return span

    def _consume(self, frame: Frame) -> bool:
        """Add what fits; True when the frame is done. Where it is not, the span is full.

        A section without records goes with the record that follows it, or with the frame's end: an index alone then says
        what was passed.
        """
        index = self._at.record if frame.seq == self._at.seq else 0
        if not index:
            self._enter(frame)
        first, waiting = 0, []
        for number, section in enumerate(frame.sections):
            batch = section.batch
            count = 0 if batch is None else len(batch)
            if not count:
                if first >= index:
                    waiting.append(section)
                continue
            if first + count > index:
                low = max(index - first, 0)
                high = low if self._full else self._fitting(section, low, (frame.seq, number))
                if high > low:
                    self._pass_empty(waiting)
                    self._pass(section, low, high)
                if high < count:
                    self._at = Position(frame.seq, first + high)
                    self._full = True
                    return False
            first += count
        self._pass_empty(waiting)
        self._at = Position(frame.seq + 1, 0)
        self._total_bytes = frame.total_bytes
        return True

    def _enter(self, frame: Frame) -> None:
        """Bytes between the last frame and this one that no frame holds are lost (damaged frames); where the total falls,
        frames were taken back after a failed sync, and their bytes come again. Both are counted."""
        before_bytes = frame.total_bytes - sum([section.end - section.start for section in frame.sections])
        if before_bytes > self._total_bytes:
            self._span.tally.lost_bytes += before_bytes - self._total_bytes
        elif before_bytes < self._total_bytes:
            self._span.tally.again_bytes += self._total_bytes - before_bytes
        self._total_bytes = before_bytes
        if not self._span.read_ns:
            self._span.read_ns = frame.read_ns

    def _fitting(self, section: Section, low: int, place: tuple[int, int]) -> int:
        """Up to which record of the section the span takes (F3); `low` where nothing more fits."""
        batch, span = section.batch, self._span
        assert batch is not None
        count = len(batch)
        if not self._routed(section.file.source):
            return count
        room_bytes, room_records = self.limit_bytes - span.message_bytes, self.limit_records - span.records
        if not low and count <= room_records and section.held_bytes <= room_bytes:
            return count
        if span.records and (span.message_bytes * 2 >= self.limit_bytes or span.records * 2 >= self.limit_records):
            return low
        ends = self._measure(batch, place)
        high = bisect_right(ends, (ends[low - 1] if low else 0) + room_bytes)
        return max(min(high, low + room_records, count), low if span.records else low + 1)

    def _measure(self, batch: Batch, place: tuple[int, int]) -> list[int]:
        """Running message bytes of the batch, kept while it is being cut."""
        if self._ends[:2] != place:
            self._ends = (*place, list(accumulate(map(len, batch.messages))))
        return self._ends[2]

    def _pass(self, section: Section, low: int, high: int) -> None:
        """Records [low, high) of the section, with the source bytes that end with them."""
        batch, span = section.batch, self._span
        assert batch is not None
        whole = not low and high == len(batch)
        if whole:
            source_bytes = section.end - section.start
        else:
            source_bytes = offset_of(section, high) - offset_of(section, low)
        if not self._routed(section.file.source):
            span.tally.unrouted_records += high - low
            span.tally.unrouted_bytes += source_bytes
            span.tally.leave_out({section.file.key: source_bytes})
            return
        if self._pick is not None and (flags := self._pick(batch)) is not None:
            self._pass_some(section, low, high, flags[low:high], source_bytes)
            return
        span.batches.append(batch if whole else batch.slice(low, high))
        span.records += high - low
        span.tally.records += high - low
        span.tally.source_bytes += source_bytes
        ends = self._ends[2]
        span.message_bytes += section.held_bytes if whole else ends[high - 1] - (ends[low - 1] if low else 0)
        if span.message_bytes >= self.limit_bytes or span.records >= self.limit_records:
            self._full = True

    def _pass_some(self, section: Section, low: int, high: int, flags: list[bool], source_bytes: int) -> None:
        """As `_pass`, of a section of which some records are not wanted."""
        batch, span = section.batch, self._span
        assert batch is not None
        unrouted_bytes = unwanted_bytes(section, low, flags)
        span.tally.unrouted_bytes += unrouted_bytes
        span.tally.source_bytes += source_bytes - unrouted_bytes
        if any(flags):
            picked = batch.slice(low, high).select(flags)
            span.batches.append(picked)
            span.records += len(picked)
            span.tally.records += len(picked)
            span.message_bytes += sum(map(len, picked.messages))
        span.tally.unrouted_records += flags.count(False)
        span.tally.leave_out(named_bytes(batch.key, [item for item, flag in zip(batch.ids[low:high], flags) if not flag]))
        if span.message_bytes >= self.limit_bytes or span.records >= self.limit_records:
            self._full = True

    def _pass_empty(self, sections: list[Section]) -> None:
        tally = self._span.tally
        for section in sections:
            if self._routed(section.file.source):
                tally.source_bytes += section.end - section.start
            else:
                tally.unrouted_bytes += section.end - section.start
                tally.leave_out({section.file.key: section.end - section.start})
        sections.clear()


def between(frames: Sequence[Frame], start: Position, end: Position, routed: Predicate) -> list[Batch]:
    """The routed batches of [start, end): what a span held, formed again from the same frames (F5)."""
    found: list[Batch] = []
    pick = pick_of(routed)
    for frame in frames:
        if frame.seq < start.seq or Position(frame.seq, 0) >= end:
            continue
        low = start.record if frame.seq == start.seq else 0
        high = end.record if frame.seq == end.seq else UNLIMITED
        first = 0
        for section in frame.sections:
            batch = section.batch
            count = 0 if batch is None else len(batch)
            if batch is not None and first < high and first + count > low and routed(section.file.source):
                found += _picked(batch, max(low - first, 0), min(high - first, count), pick)
            first += count
    return found


def _picked(batch: Batch, low: int, high: int, pick: Pick | None) -> list[Batch]:
    """Records [low, high) that are wanted, as one batch; [] where none is."""
    flags = pick(batch) if pick is not None else None
    if flags is None:
        return [batch.slice(low, high)]
    return [batch.slice(low, high).select(flags[low:high])] if any(flags[low:high]) else []
