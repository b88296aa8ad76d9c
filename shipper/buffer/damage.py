"""Damaged frames: which file ranges they cost, and where their bytes are kept. Pure but for Quarantine.

A frame is missing where its checksum fails. Whose ranges were in it is known from its header where that is whole, else
from its neighbours: the next section of a file begins beyond the end of the last one.

    missing frame is behind positions.json   not replayed: the file is read again from its last good end; where later
                                             frames of the file are whole, the hole between is lost
    ... is covered by positions.json         its ranges are lost, unless every cursor is beyond it

Invariants (tests/buffer/test_recovery.py):
  D1  a range is reported lost only where no whole frame holds it
  D2  a damaged frame that every cursor has passed costs nothing
  D3  damage that was accounted for before (positions_json `damaged`) is not again
"""
from __future__ import annotations

import os

from ..model import FileRef, Frame, Lost, Section
from .files import Files
from .framing import SEGMENT_HEAD, RawFrame
from .limits import QUARANTINE_BYTES
from .positions import Positions
from .segment import Definitions, parse_header
from .walk import Bad, Head, Read, walk


def frame_of(head: Head, definitions: Definitions) -> Frame | None:
    """The frame without its records; None where its header is not a writer's."""
    try:
        return parse_header(RawFrame(head.seq, head.start, head.end, head.header, b""), definitions)
    except ValueError:
        return None


Cost = tuple[list[Lost], int, int]


class Fold:
    """Frames and damage in, positions out. `needed_from`: the lowest frame that a cursor still needs (None: all).

    A missing frame without header is blind: how many source bytes it held follows from the totals of its neighbours; whose
    they were from the sections behind it. What stays open is told: `unknown_bytes`, `unknown_frames`.
    """

    def __init__(self, positions: Positions, *, whole: bool = True, needed_from: int | None = None) -> None:
        self.positions, self._whole, self._needed_from = positions, whole, needed_from or 0
        self.damaged_frames = self.unknown_frames = self.unknown_bytes = 0
        self._covered_seq, self._covered_total = positions.seq, positions.total_bytes
        self._all_passed = needed_from is None
        self._last_seq, self._last_total = -1, -1
        self._known_since = False              # accounted damage since then
        self._damage_since = False             # unaccounted damage since the last whole frame
        self._heads: dict[int, int] = {}       # missing frames with header -> their source bytes
        self._blind: set[int] = set()          # missing frames without, that positions cover and a cursor needs
        self._blind_bytes = 0
        self._replay_loses = False
        self._ends: dict[str, int] = {}
        self._beginnings: list[Section] = []   # first sections of files, met after blind frames
        self._lost: list[Lost] = []

    def begin(self, first_seq: int) -> None:
        """The next segment begins."""
        if self._last_seq >= 0 and first_seq > self._last_seq + 1:
            self._missing_before(first_seq, None)
        self._last_seq = max(self._last_seq, first_seq - 1)

    def frame(self, frame: Frame) -> None:
        """The next whole frame."""
        self._missing_before(frame.seq, frame.total_bytes - sum(s.source_bytes for s in frame.sections))
        self._last_seq, self._last_total, self._known_since = frame.seq, frame.total_bytes, False
        if frame.seq <= self._covered_seq:
            for section in frame.sections:
                self._compare(section)
            return
        self.positions.commit(self.positions.plan_replay(
            frame.seq, frame.sections, frame.read_ns, frame.total_bytes, whole=self._whole, lose=self._replay_loses
        ))

    def damage(self, bad: Bad, definitions: Definitions, *, known: bool) -> None:
        """Bytes that are no whole frame, in their place among the frames. `known`: accounted for before (D3)."""
        self._damage_since |= not known
        self._known_since |= known
        for head in bad.heads:
            frame = frame_of(head, definitions)
            if frame is None:
                continue
            self._heads[head.seq] = sum(s.source_bytes for s in frame.sections)
            if not known:
                self.damaged_frames += 1
                self._missing(frame)

    def _missing(self, frame: Frame) -> None:
        """A damaged frame of which the header is whole."""
        needed = frame.seq >= self._needed_from
        if frame.seq <= self._covered_seq:
            if needed:
                self._lost += [Lost(s.file, s.start, s.end) for s in frame.sections if s.end > s.start]
        elif needed:
            self._replay_loses = True
        else:
            self.frame(frame)

    def finish(self) -> None:
        """After the last frame: commits what is lost to the positions."""
        self._missing_at_end()
        candidates = [(section.file, section.start) for section in self._beginnings]
        for key, found in self.positions.files.items():
            if found.seq not in self._blind:
                continue
            if key not in self._ends:
                candidates.append((found.file, found.offset))
            elif self._ends[key] < found.offset:
                self._lose_blind(Lost(found.file, self._ends[key], found.offset))
        if len(candidates) == 1 and 0 < self._blind_bytes <= candidates[0][1]:
            file, end = candidates[0]
            self._lose_blind(Lost(file, end - self._blind_bytes, end))
        self.unknown_bytes += max(0, self._blind_bytes)
        self.positions.commit(self.positions.plan_lost(self._lost))
        self._lost, self._blind_bytes = [], 0

    def _missing_at_end(self) -> None:
        """Frames that the positions cover and that left no trace: a disk that lost what it had called synced."""
        traceless = self._last_seq < self._covered_seq and not self._known_since and not self._all_passed
        if self._last_total >= 0:
            traceless = traceless and self._last_total < self._covered_total
        if self._damage_since or traceless:
            self._damage_since = True
            self._missing_before(max(self._covered_seq, self._last_seq) + 1, self._covered_total)

    def _missing_before(self, seq: int, total_bytes: int | None) -> None:
        """Frame `seq` is the next whole one, and `total_bytes` stood before it (None: unknown)."""
        if not self._damage_since:
            return
        self._damage_since = False
        between = range(max(self._last_seq + 1, seq - 10_000, 0), seq)
        missing = {n for n in between if n not in self._heads}
        self.damaged_frames += len(missing)
        needed = {n for n in missing if n >= self._needed_from}
        self._replay_loses |= any(n > self._covered_seq for n in needed)
        blind = {n for n in needed if n <= self._covered_seq}
        if not blind:
            return
        self._blind |= blind
        if self._last_total < 0 or total_bytes is None:
            self.unknown_frames += len(blind)
        else:
            self._blind_bytes += total_bytes - self._last_total - sum(self._heads.get(n, 0) for n in between)

    def _compare(self, section: Section) -> None:
        key = section.file.key
        end = self._ends.get(key)
        if end is None:
            if self._blind and section.start:
                self._beginnings.append(section)
        elif self._blind and section.start > end:
            low = end
            for gap in sorted(section.gaps):
                if gap.start <= low < gap.end:
                    low = gap.end
            if low < section.start:
                self._lose_blind(Lost(section.file, low, section.start))
        self._ends[key] = max(section.end, end or 0)

    def _lose_blind(self, entry: Lost) -> None:
        known = sum(min(e.end, entry.end) - max(e.start, entry.start) for e in self._lost
                    if e.file.key == entry.file.key and e.start < entry.end and entry.start < e.end)
        self._lost.append(entry)
        self._blind_bytes -= entry.end - entry.start - known


def lost_in(
    read: Read, first_seq: int, size: int, salt: int, bad: Bad, positions: Positions, needed_from: int | None
) -> Cost:
    """For damage met while delivering: the ranges that it costs, and the bytes and frames of which they are not known.
    Walks the headers of the segment."""
    def known(key: str) -> FileRef | None:
        found = positions.files.get(key)
        return found.file if found else None

    fold = Fold(positions.copy(), needed_from=needed_from)
    before = len(positions.lost)
    definitions = Definitions(fallback=known)
    fold.begin(first_seq)
    for piece in walk(read, SEGMENT_HEAD.size, size, salt, verify=False):
        if isinstance(piece, Head):
            frame = frame_of(piece, definitions)
            if piece.start == bad.start:
                fold.damage(bad if bad.heads else Bad(bad.start, bad.end, False, (piece,)), definitions, known=False)
            elif frame is not None and frame.seq <= positions.seq:
                fold.frame(frame)
        elif piece.start == bad.start:
            fold.damage(bad, definitions, known=False)
    fold.finish()
    return list(fold.positions.lost[before:]), fold.unknown_bytes, fold.unknown_frames


KEPT = "set aside in quarantine/"


class Quarantine:
    """Damaged bytes as they were found, for a human: quarantine/<segment>-<byte in hex>.bin, bounded."""

    def __init__(self, files: Files, directory: str, change: bool = True) -> None:
        self._files, self._directory, self._change = files, directory, change
        self.bytes = sum(files.size(os.path.join(directory, name)) for name in files.names(directory))

    def keep(self, segment_name: str, start: int, data: bytes) -> str:
        """Best effort: over the bound, or where it cannot be written, it is left out. What became of it, for the log."""
        path = os.path.join(self._directory, f"{segment_name}-{start:x}.bin")
        if not self._change or os.path.basename(path) in self._files.names(self._directory):
            return KEPT
        if self.bytes + len(data) > QUARANTINE_BYTES:
            return f"not kept: quarantine/ holds its {QUARANTINE_BYTES // 2**20} MiB"
        try:
            self._files.make_dir(self._directory)
            self._files.replace(path, data)
        except OSError as error:
            return f"not kept in quarantine/: {error.strerror or error}"
        self.bytes += len(data)
        return KEPT
