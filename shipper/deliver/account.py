"""What became of every byte, per sink: the sums that `shipper audit` adds up.

    total = before_start + delivered + unrouted + dead letters + dropped          (source bytes, at the cursor)

    frame 7   ┌─ section A ─┬─ section B ──────────┬─ C ─┐
              └─────────────┴───────▲──────────────┴─────┘
                            Position(7, record): record `index` of the frame is the next one

Invariants (tests/deliver/test_form.py, test_progress.py):
  A1  the sum above is exact at every position, in the middle of a frame too: bytes are cut where the last record passed ends
  A2  the bytes between two positions do not depend on how requests were cut in between
  A3  a record is counted once: as delivered, unrouted, dead or dropped
  A4  the per-file maps have at most FILES_KEPT entries; the rest is added up under ""
Pure. Once per frame, section and request; ids are parsed only at a cut and for dead records.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from ..model import Batch, Frame, Section, Source

FILES_KEPT = 1_000


class Position(NamedTuple):
    """The next record is number `record`, counted over all sections, of frame `seq`. A frame that is done: (seq + 1, 0)."""

    seq: int
    record: int


def record_pieces(key: str, item: bytes) -> list[tuple[str, int, int]]:
    """The (file key, start, bytes) that an id item names (M3). ValueError where it is not one."""
    pieces = []
    for number, part in enumerate(item.decode("ascii").split(",")):
        file_key, colon, piece = part.rpartition(":")
        if bool(colon) != bool(number):
            raise ValueError(f"not an id item: {item!r}")
        start, _, length = piece.partition("+")
        pieces.append((file_key or key, int(start, 16), int(length, 16)))
    return pieces


def offset_of(section: Section, count: int) -> int:
    """The source offset where the first `count` records of the section end: it depends on `count` alone (A2)."""
    batch = section.batch
    if count <= 0:
        return section.start
    if batch is None or count >= len(batch):
        return section.end
    ends = [start + length for key, start, length in record_pieces(batch.key, batch.ids[count - 1]) if key == section.file.key]
    return min(max(section.start, *ends), section.end) if ends else section.start


def unwanted_bytes(section: Section, low: int, flags: Sequence[bool]) -> int:
    """Source bytes of the records from `low` on whose flag is false. Additive: where a section is cut changes no sum (A2)."""
    found, at = 0, low
    for wanted, run in groupby(flags):
        end = at + sum(1 for _ in run)
        if not wanted:
            found += offset_of(section, end) - offset_of(section, at)
        at = end
    return found


def named_bytes(key: str, items: Sequence[bytes]) -> dict[str, int]:
    """Source bytes that these id items of a batch of file `key` name, by file key (M3): what `verify` misses where these
    records are not sent."""
    own = [item for item in items if b"," not in item]
    found = {key: sum([int(item.partition(b"+")[2], 16) for item in own])}
    for item in [item for item in items if b"," in item] if len(own) < len(items) else ():
        for file_key, _, length in record_pieces(key, item):
            found[file_key] = found.get(file_key, 0) + length
    return found


def bytes_by_file(
    frames: Iterable[Frame], start: Position, matches: Callable[[Source], bool],
    pick: Callable[[Batch], list[bool] | None] | None = None,
) -> dict[str, int]:
    """Source bytes of what matches, from `start` to the end of the frames, by file key."""
    files: dict[str, int] = {}
    for frame in frames:
        index = start.record if frame.seq == start.seq else 0
        first = 0
        for section in frame.sections:
            count = 0 if section.batch is None else len(section.batch)
            passed = first + count <= index if count else first < index
            if not passed and matches(section.file.source):
                source_bytes = section.end - offset_of(section, index - first)
                flags = pick(section.batch) if pick is not None and section.batch is not None else None
                if flags is not None:
                    low = max(index - first, 0)
                    source_bytes -= unwanted_bytes(section, low, flags[low:])
                files[section.file.key] = files.get(section.file.key, 0) + source_bytes
            first += count
    return files


@dataclass(slots=True)
class Tally:
    """What lies between two positions, for one sink.

    records, source_bytes  what matches the route;  unrouted_*: what does not
    lost_bytes             source bytes of frames that were not there any more
    again_bytes            source bytes of frames that the buffer took back (a failed sync): the same bytes come once more
    dead                   reason -> [records, source bytes]; a part of `records`, filled in by delivery
    dead_files             file key -> source bytes of dead records
    unrouted_files         file key -> source bytes: sections of sources that are not routed, single records by their ids
    """

    records: int = 0
    source_bytes: int = 0
    unrouted_records: int = 0
    unrouted_bytes: int = 0
    lost_bytes: int = 0
    again_bytes: int = 0
    dead: dict[str, list[int]] | None = None
    dead_files: dict[str, int] | None = None
    unrouted_files: dict[str, int] | None = None

    def leave_out(self, files: Mapping[str, int]) -> None:
        """Note per file what does not match the route."""
        if self.unrouted_files is None:
            self.unrouted_files = {}
        for key, source_bytes in files.items():
            self.unrouted_files[key] = self.unrouted_files.get(key, 0) + source_bytes

    def bury(self, batch: Batch, reason: str) -> None:
        """Count all records of `batch` as dead."""
        if self.dead is None or self.dead_files is None:
            self.dead, self.dead_files = {}, {}
        counts = self.dead.setdefault(reason, [0, 0])
        for item in batch.ids:
            counts[0] += 1
            for key, _, length in record_pieces(batch.key, item):
                counts[1] += length
                self.dead_files[key] = self.dead_files.get(key, 0) + length

    @property
    def total_bytes(self) -> int:
        """By how much the buffer's total rises over the range."""
        return self.source_bytes + self.unrouted_bytes + self.lost_bytes - self.again_bytes


@dataclass(slots=True)
class Counters:
    """The sums of one sink up to its cursor; JSON beside the cursor, so both are durable together."""

    total_bytes: int = 0
    before_start_bytes: int = 0
    delivered_records: int = 0
    delivered_bytes: int = 0
    unrouted_records: int = 0
    unrouted_bytes: int = 0
    dead: dict[str, list[int]] = field(default_factory=dict)
    dropped: dict[str, list[int]] = field(default_factory=dict)
    dead_files: dict[str, int] = field(default_factory=dict)
    dropped_files: dict[str, int] = field(default_factory=dict)
    unrouted_files: dict[str, int] = field(default_factory=dict)

    def delivered(self, tally: Tally) -> None:
        """The range was passed: what is not dead in it is delivered."""
        dead_records = dead_bytes = 0
        for reason, (records, source_bytes) in (tally.dead or {}).items():
            _add(self.dead, reason, records, source_bytes)
            dead_records += records
            dead_bytes += source_bytes
        self.delivered_records += tally.records - dead_records
        self.delivered_bytes += tally.source_bytes - dead_bytes
        for key, source_bytes in (tally.dead_files or {}).items():
            _add_file(self.dead_files, key, source_bytes)
        self._passed(tally)

    def gave_away(self, tally: Tally, reason: str, files: Mapping[str, int]) -> None:
        """The range was passed without being sent. `files`: source bytes of what matched, per file key."""
        _add(self.dropped, reason, tally.records, tally.source_bytes)
        for key, source_bytes in files.items():
            _add_file(self.dropped_files, key, source_bytes)
        self._passed(tally)

    def revived(self, reason: str, tally: Tally) -> None:
        """Dead records were delivered after all. Never more than was counted as dead: an older store may hold others."""
        for records, source_bytes in (tally.dead or {}).values():
            counted = self.dead.get(reason, [0, 0])
            moved_records, moved_bytes = min(records, counted[0]), min(source_bytes, counted[1])
            self.delivered_records += moved_records
            self.delivered_bytes += moved_bytes
            if counted[0] > moved_records:
                self.dead[reason] = [counted[0] - moved_records, counted[1] - moved_bytes]
            else:
                self.delivered_bytes += counted[1] - moved_bytes
                self.dead.pop(reason, None)
        for key, source_bytes in (tally.dead_files or {}).items():
            name = key if key in self.dead_files else ""
            left = self.dead_files.get(name, 0) - source_bytes
            self.dead_files.pop(name, None)
            if left > 0:
                self.dead_files[name] = left

    def _passed(self, tally: Tally) -> None:
        self.unrouted_records += tally.unrouted_records
        self.unrouted_bytes += tally.unrouted_bytes
        for key, source_bytes in (tally.unrouted_files or {}).items():
            _add_file(self.unrouted_files, key, source_bytes)
        if tally.lost_bytes:
            _add(self.dropped, "buffer_damaged", 0, tally.lost_bytes)
        self.delivered_bytes -= tally.again_bytes
        self.total_bytes += tally.total_bytes

    @property
    def dead_records(self) -> int:
        return sum(records for records, _ in self.dead.values())

    @property
    def dropped_records(self) -> int:
        return sum(records for records, _ in self.dropped.values())

    def imbalance(self) -> int:
        """Source bytes that the sum does not explain: 0, or there is a bug (A1)."""
        named = sum(source_bytes for counts in (self.dead, self.dropped) for _, source_bytes in counts.values())
        return self.total_bytes - self.before_start_bytes - self.delivered_bytes - self.unrouted_bytes - named

    def to_json(self, position: Position) -> dict[str, Any]:
        """A copy that later counting does not change. `position`: the cursor that it belongs to."""
        return {
            "position": list(position), "total_bytes": self.total_bytes, "before_start_bytes": self.before_start_bytes,
            "delivered_records": self.delivered_records, "delivered_bytes": self.delivered_bytes,
            "unrouted_records": self.unrouted_records, "unrouted_bytes": self.unrouted_bytes,
            "dead": {reason: list(counts) for reason, counts in self.dead.items()},
            "dropped": {reason: list(counts) for reason, counts in self.dropped.items()},
            "dead_files": dict(self.dead_files), "dropped_files": dict(self.dropped_files),
            "unrouted_files": dict(self.unrouted_files),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None, position: Position, total_bytes: int) -> Counters:
        """Counters of a cursor at `position`, with `total_bytes` before it. Without data all of that is `before_start`.

        A cursor that recovery moved away from where it was counted is squared here: back, and those bytes will be
        delivered once more; ahead, and the frames between are gone.
        """
        if not data:
            return cls(total_bytes=total_bytes, before_start_bytes=total_bytes)
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        counters = cls(**deepcopy(known))
        if data.get("position") == list(position):
            return counters
        moved_bytes = total_bytes - counters.total_bytes
        if moved_bytes < 0:
            counters.delivered_bytes += moved_bytes
        elif moved_bytes > 0:
            _add(counters.dropped, "buffer_damaged", 0, moved_bytes)
        counters.total_bytes = total_bytes
        return counters


def _add(counts: dict[str, list[int]], reason: str, records: int, source_bytes: int) -> None:
    if records or source_bytes:
        pair = counts.setdefault(reason, [0, 0])
        pair[0] += records
        pair[1] += source_bytes


def _add_file(files: dict[str, int], key: str, source_bytes: int) -> None:
    """A4."""
    name = key if key in files or len(files) < FILES_KEPT else ""
    files[name] = files.get(name, 0) + source_bytes
