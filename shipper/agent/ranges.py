"""The sum that proves completeness: what the ids of distinct records say about one file's bytes.

A record has one range per file, (start, bytes). Its bytes need not stand together: while a long line of stdout waits
for its end, lines of stderr stand between its pieces, and `bytes` is the sum of the pieces. So ranges are added up,
not laid side by side:

    file      P──────┬ stderr ┬─F──────┬ next...        0+c8   64+32   fa+...
              0     100      150      250               sum before fa: c8 + 32 = fa. Nothing is missing.

Invariants (tests/agent/test_verify.py):
  R1  before any record's start s stand s bytes; where the records that begin before s have fewer, the difference is
      missing. No order of arrival and no interleaving changes that
  R2  they may have more, by what open records still have behind s. Two streams: two records at most, each with less
      than its own size. More than that is an overlap; so is one start with two sizes
  R3  what R2 calls an overlap is one; a smaller one can hide behind interleaving (`ahead_bytes`), and only the
      file's length (the ledger) can tell
Plane: pure.
"""
from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge

SIZE_BITS = 24
SIZE_MASK = (1 << SIZE_BITS) - 1
START_LIMIT = 1 << (64 - SIZE_BITS)
COMPACT_AT = 1 << 16

Span = tuple[int, int]


class Spans:
    """A multiset of (start, bytes) that keeps 8 bytes per distinct one: start and size packed into one integer.

    `repeated` counts what was added again. Spans that do not fit (a record over 16 MiB) are kept as tuples.
    """

    __slots__ = ("_compact_at", "_large", "_packed", "_repeated")

    def __init__(self) -> None:
        self._packed: array[int] = array("Q")
        self._large: set[Span] = set()
        self._repeated = 0
        self._compact_at = COMPACT_AT

    def add(self, start: int, size: int) -> None:
        """One more record at `start` with `size` bytes. Amortised O(log n)."""
        if size <= SIZE_MASK and start < START_LIMIT:
            self._packed.append(start << SIZE_BITS | size)
            if len(self._packed) >= self._compact_at:
                self._compact()
        elif (start, size) in self._large:
            self._repeated += 1
        else:
            self._large.add((start, size))

    def _compact(self) -> None:
        distinct = array("Q", sorted(set(self._packed)))
        self._repeated += len(self._packed) - len(distinct)
        self._packed = distinct
        self._compact_at = max(COMPACT_AT, 2 * len(distinct))

    def distinct(self) -> Iterator[Span]:
        """Each span once, by start."""
        self._compact()
        return merge(((packed >> SIZE_BITS, packed & SIZE_MASK) for packed in self._packed), sorted(self._large))

    @property
    def repeated(self) -> int:
        """How many were added again."""
        self._compact()
        return self._repeated

    def __len__(self) -> int:
        self._compact()
        return len(self._packed) + len(self._large)


@dataclass(slots=True)
class Walk:
    """What one file's spans add up to.

    covered_bytes  of distinct records, definite overlaps counted once
    missing_bytes  before the start of the last record (R1); `holes`: (start, end) of the first ones, exact where
                   nothing is interleaved there, else the missing bytes stand somewhere before `end`
    overlap_bytes  at least so many bytes are in two records with different ids (R2), at `overlaps` places
    ahead_bytes    what the records have beyond the start of the last one: interleaved pieces behind it, or an overlap
    end            the first byte that no record is known to hold
    """

    covered_bytes: int = 0
    missing_bytes: int = 0
    overlap_bytes: int = 0
    overlaps: int = 0
    ahead_bytes: int = 0
    end: int = 0
    holes: list[Span] = field(default_factory=list)


MAX_HOLES = 100


def walk(spans: Iterable[Span], declared: Iterable[Span] = ()) -> Walk:
    """Add up `spans` (distinct, by start); `declared` are (start, bytes) that no record holds, with a reason.

    Cost: one pass. Declared bytes fill holes and are not in `covered_bytes`.
    """
    out = Walk()
    filled = last_start = last_size = 0
    largest = second = 0            # of the records since nothing was open: what may still stand behind a start (R2)
    gap_bytes = 0
    first = True
    for start, size, is_gap in merge(((*s, False) for s in spans), ((*g, True) for g in sorted(declared))):
        if not first and start == last_start and not is_gap:
            shared = min(size, last_size)
            out.overlaps, out.overlap_bytes = out.overlaps + 1, out.overlap_bytes + shared
            filled += size - shared
            last_size = max(size, last_size)
            largest = max(largest, size - 1)
            continue
        ahead = filled - start
        if ahead < 0:
            out.missing_bytes -= ahead
            if len(out.holes) < MAX_HOLES:
                out.holes.append((filled, start))
            filled, ahead = start, 0
        elif ahead > largest + second:
            excess = ahead - largest - second
            out.overlaps, out.overlap_bytes = out.overlaps + 1, out.overlap_bytes + excess
            filled, ahead = filled - excess, ahead - excess
        if not ahead:
            largest = second = 0
        if size - 1 > second:
            largest, second = max(largest, size - 1), min(largest, size - 1)
        filled, last_start, last_size, first = filled + size, start, size, False
        gap_bytes += size if is_gap else 0
        out.ahead_bytes = ahead
    out.covered_bytes = filled - out.missing_bytes - gap_bytes
    out.end = filled
    return out
