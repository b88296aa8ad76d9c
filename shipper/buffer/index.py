"""Where the frames of one segment lie and what it defines, so that a small read costs a small read.

Kept by the writer while it writes; built from the headers (never the bodies) when a closed segment is read first.
32 bytes per frame, and one entry per file that the segment defines.

Invariants (tests/buffer/test_log.py):
  X1  a built index says the same as the one that the writer kept
  X2  `definitions_at(seq)` holds what the frames up to `seq` defined, and not what later ones redefined
  X3  reading frame n reads the bytes of frame n (and its neighbours up to max_bytes), nothing else
Plane: pure over `read`. Cold, but for `add`: once per frame.
"""
from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..model import FileRef, Frame, Source
from .framing import SEGMENT_HEAD, raw_frame
from .segment import Definitions, define, parse_frame
from .walk import Bad, Head, Read, walk

Fallback = Callable[[str], FileRef | None]


def _nothing(_key: str) -> FileRef | None:
    return None


@dataclass(slots=True)
class SegmentIndex:
    """Parallel arrays, one entry per whole frame, seqs rising. `bad`: damage found while building."""

    seqs: array[int] = field(default_factory=lambda: array("Q"))
    starts: array[int] = field(default_factory=lambda: array("Q"))
    ends: array[int] = field(default_factory=lambda: array("Q"))
    totals: array[int] = field(default_factory=lambda: array("Q"))
    sources: dict[int, Source] = field(default_factory=dict)
    defined: list[tuple[int, Mapping[str, FileRef]]] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    fallback: Fallback = _nothing

    def add(self, seq: int, start: int, end: int, total_bytes: int, files: Mapping[str, FileRef]) -> None:
        """A frame behind all others. `seqs` last: another thread may read meanwhile."""
        if files:
            self.defined.append((seq, files))
        self.starts.append(start)
        self.ends.append(end)
        self.totals.append(total_bytes)
        self.seqs.append(seq)

    def definitions_at(self, seq: int) -> Definitions:
        """X2. Cost: the files defined so far."""
        definitions = Definitions(sources=self.sources, fallback=self.fallback)
        for defined_seq, files in self.defined:
            if defined_seq > seq:
                break
            definitions.files.update(files)
        return definitions

    def total_of(self, seq: int) -> int | None:
        """`total_bytes` of frame `seq`, None where it is not here."""
        place = bisect_left(self.seqs, seq)
        return self.totals[place] if place < len(self.seqs) and self.seqs[place] == seq else None


def build(read: Read, end: int, salt: int, fallback: Fallback = _nothing) -> SegmentIndex:
    """The index of the frames in the first `end` bytes of a segment."""
    index = SegmentIndex(fallback=fallback)
    definitions = Definitions(sources=index.sources, fallback=fallback)
    for found in walk(read, SEGMENT_HEAD.size, end, salt, verify=False):
        if isinstance(found, Bad):
            index.bad.append(found)
            continue
        try:
            total_bytes, files = define(found.header, definitions)
        except ValueError:
            index.bad.append(Bad(found.start, found.end, False, (found,)))
            continue
        index.add(found.seq, found.start, found.end, total_bytes, files)
    return index


def read_frames(
    index: SegmentIndex, read: Read, salt: int, seq: int, last_seq: int, max_bytes: int
) -> tuple[list[Frame], list[Bad]]:
    """Frames [seq, last_seq] of a segment, at least one where there is one, about `max_bytes` in all; and what of these
    bytes was damaged."""
    count = len(index.seqs)
    low = bisect_left(index.seqs, seq, 0, count)
    high = low
    while high < count and index.seqs[high] <= last_seq:
        if high > low and index.ends[high] - index.starts[low] > max_bytes:
            break
        high += 1
    if high == low:
        return [], []
    base = index.starts[low]
    data = read(base, index.ends[high - 1] - base)
    definitions = index.definitions_at(index.seqs[low])
    frames: list[Frame] = []
    bad: list[Bad] = []
    for place in range(low, high):
        raw = raw_frame(data, index.starts[place] - base, salt)
        try:
            if raw is None or raw.seq != index.seqs[place]:
                raise ValueError("checksum")
            frames.append(parse_frame(raw, definitions))
        except ValueError:
            bad.append(_bad(index, read, salt, place))
    return frames, bad


def _bad(index: SegmentIndex, read: Read, salt: int, place: int) -> Bad:
    """A damaged frame, with its header where that is whole."""
    start, end = index.starts[place], index.ends[place]
    first = next(walk(read, start, end, salt, verify=False), None)
    heads = (first,) if isinstance(first, Head) else ()
    return Bad(start, end, False, heads)
