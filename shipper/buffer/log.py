"""The segments: append, sync, rotate, abandon, unlink, read. Synchronous; one writer thread, and one that reads.

    buffer/<first seq, 16 hex digits>.seg ...            the last one is being written; the others are closed

Invariants (tests/buffer/test_buffer_machine.py):
  L1  a segment is synced before its successor is begun: only the last one can hold unsynced frames
  L2  a segment that was opened by another process, or in which a write failed, is never appended to again
  L3  after `abandon` nothing of the frames behind the last sync is on disk, so their ranges can be framed again
  L4  sequence numbers rise; numbers of abandoned frames are not used again
  L5  only closed segments are unlinked, oldest first
"""
from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Frame
from .damage import Cost, lost_in
from .files import NO_ROOM, Files, Writer
from .framing import SEGMENT_HEAD, segment_head
from .index import Fallback, SegmentIndex, build, read_frames
from .positions import Positions
from .segment import Definitions, encode_frame, header_records
from .walk import Bad, Head, walk

MAX_INDEXES = 16
MAX_GROUP_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Segment:
    """One file of frames. `size`: its whole bytes; `index`: None where it is to be built at the first read.
    `last_seq`: the last frame that it can hold (for a closed one that was not walked: its successor's first - 1)."""

    first_seq: int
    path: str
    salt: int
    size: int = 0
    last_seq: int = 0
    synced_size: int = 0
    index: SegmentIndex | None = None


class Damaged(NamedTuple):
    """Damage found while reading: the segment (by its first seq) and the place in it."""

    first_seq: int
    path: str
    bad: Bad


def segment_name(first_seq: int) -> str:
    return f"{first_seq:016x}.seg"


class Log:
    """The frames of one buffer. `segments` is replaced, never changed, so another thread may read it."""

    def __init__(
        self, files: Files, directory: str, uuid: bytes, segment_bytes: int, segments: Iterable[Segment], last_seq: int,
        fallback: Fallback, new_salt: Callable[[], int] = lambda: int.from_bytes(os.urandom(4), "little"),
    ) -> None:
        self._files, self._directory, self._uuid, self._segment_bytes = files, directory, uuid, segment_bytes
        self._fallback, self._new_salt = fallback, new_salt
        self.segments: tuple[Segment, ...] = tuple(segments)
        self.appended_seq = self.synced_seq = last_seq
        self.dirty_bytes = 0
        self._writer: Writer | None = None
        self._defined = Definitions()
        self._ended = False                     # a write failed: the segment gets no more frames (L2)
        self._failed: Segment | None = None     # to be cut back to its last sync before anything is appended
        self._indexed: OrderedDict[int, Segment] = OrderedDict()
        self._index_lock = threading.Lock()

    @property
    def first_seq(self) -> int:
        """The oldest frame that is held; the next one where none is."""
        return self.segments[0].first_seq if self.segments else self.appended_seq + 1

    @property
    def used_bytes(self) -> int:
        return sum(segment.size for segment in self.segments)

    # ------------------------------------------------------------ writing

    def append(self, waiting: deque[Frame], written: list[Frame]) -> None:
        """Move frames from `waiting` to `written` as they reach the page cache, several in one write.

        OSError: the rest stays in `waiting`. For want of room (files.NO_ROOM) `append` can be called again later; after
        any other error the caller must `abandon` first.
        """
        while waiting:
            segment = self._segment_for(waiting[0].seq)
            group: list[tuple[Frame, int]] = []
            pieces: list[bytes] = [] if segment.size else [segment_head(segment.salt, self._uuid)]
            size = segment.size or SEGMENT_HEAD.size
            group_from = size
            while len(group) < len(waiting) and size < self._segment_bytes and size - group_from < MAX_GROUP_BYTES:
                size += self._encode(segment, waiting[len(group)], size, pieces, group)
            self._write(segment, pieces)
            self.dirty_bytes += size - segment.size
            segment.size = size
            for frame, stored in group:
                frame.stored_bytes, frame.joined = stored, None
                written.append(waiting.popleft())
            segment.last_seq = self.appended_seq = group[-1][0].seq

    def _encode(
        self, segment: Segment, frame: Frame, start: int, pieces: list[bytes], group: list[tuple[Frame, int]]
    ) -> int:
        defined, index = self._defined, segment.index
        assert index is not None
        files = {s.file.key: s.file for s in frame.sections if defined.files.get(s.file.key) is not s.file}
        encoded = encode_frame(
            frame.seq, frame.sections, frame.total_bytes, frame.read_ns, defined, segment.salt, frame.joined
        )
        stored = sum(map(len, encoded))
        pieces += encoded
        group.append((frame, stored))
        index.add(frame.seq, start, start + stored, frame.total_bytes, files)
        return stored

    def _segment_for(self, seq: int) -> Segment:
        if self._writer is not None and not self._ended and self.segments[-1].size < self._segment_bytes:
            return self.segments[-1]
        self.close_segment()
        path = os.path.join(self._directory, segment_name(seq))
        self._defined = Definitions()
        segment = Segment(seq, path, self._new_salt(), last_seq=seq - 1)
        segment.index = SegmentIndex(sources=self._defined.sources, fallback=self._fallback)
        try:
            self._writer = self._files.create(path)
        except FileExistsError:
            # Left by a write that failed and whose file could not be removed: no known segment has this name.
            self._files.delete(path)
            self._writer = self._files.create(path)
        self.segments = (*self.segments, segment)
        return segment

    def _write(self, segment: Segment, pieces: list[bytes]) -> None:
        assert self._writer is not None
        try:
            self._writer.append(pieces)
        except OSError as error:
            self._ended = True
            if error.errno in NO_ROOM:
                self._end_torn(segment)
            raise

    def _end_torn(self, segment: Segment) -> None:
        """The disk is full: what was written before stays, the torn frame goes, the segment ends here (L2)."""
        if segment.size:
            self._files.truncate(segment.path, segment.size)
            segment.index = None
        else:
            self.abandon()

    def sync(self) -> None:
        """Make all that is appended durable. OSError: call `abandon`."""
        if self._writer is not None and self.dirty_bytes:
            self._writer.sync()
            self.segments[-1].synced_size = self.segments[-1].size
        self.dirty_bytes = 0
        self.synced_seq = self.appended_seq

    def close_segment(self) -> None:
        """Sync and end the segment that is being written; the next append begins a new one. OSError as `sync`."""
        if self._writer is None:
            return
        self.sync()
        self._close_writer()
        if self.segments and self.segments[-1].index is not None:
            self._keep_index(self.segments[-1])

    def abandon(self) -> None:
        """After a failed write or sync: cut the segment back to the last sync (L3). OSError: call it again later."""
        if self._failed is None:
            if self._writer is None:
                return
            self._failed = self.segments[-1]
            self._failed.size, self._failed.index = self._failed.synced_size, None
            self._failed.last_seq = self.appended_seq = self.synced_seq
            self.dirty_bytes = 0
        if self._writer is not None:
            self._close_writer()
        if self._failed.synced_size:
            self._files.truncate(self._failed.path, self._failed.synced_size)
        else:
            self._files.delete(self._failed.path)
            self.segments = tuple(segment for segment in self.segments if segment is not self._failed)
        self._failed = None

    def _close_writer(self) -> None:
        writer, self._writer, self._ended = self._writer, None, False
        if writer is not None:
            writer.close()

    def unlink(self, held_seq: int) -> int:
        """Remove the closed segments whose frames are all before `held_seq` (L5); how many. OSError: the rest stays."""
        removed = 0
        while self.segments and (self._writer is None or len(self.segments) > 1):
            oldest = self.segments[0]
            if oldest.last_seq >= held_seq or oldest is self._failed:
                break
            self._files.delete(oldest.path)
            self.segments = self.segments[1:]
            removed += 1
            with self._index_lock:
                self._indexed.pop(oldest.first_seq, None)
        return removed

    def covered(self, held_seq: int) -> bool:
        """Whether the segment that is being written holds frames, all of them before `held_seq`."""
        return self._writer is not None and bool(self.segments[-1].size) and self.segments[-1].last_seq < held_seq

    # ------------------------------------------------------------ reading (on the reading thread)

    def read(self, seq: int, last_seq: int, max_bytes: int) -> tuple[list[Frame], list[Damaged]]:
        """Frames [seq, last_seq] from disk: at least one where there is one, of one segment. And the damage met."""
        damage: list[Damaged] = []
        for segment in self.segments:
            if segment.last_seq < seq or segment.first_seq > last_seq:
                continue
            frames = self._read_segment(segment, seq, min(last_seq, segment.last_seq), max_bytes, damage)
            if frames:
                return frames, damage
        return [], damage

    def _read_segment(
        self, segment: Segment, seq: int, last_seq: int, max_bytes: int, damage: list[Damaged]
    ) -> list[Frame]:
        try:
            index = self._index(segment, damage)
            while seq <= last_seq:
                frames, bad = read_frames(index, self._reader(segment), segment.salt, seq, last_seq, max_bytes)
                # An abandoned end is not damage: its ranges are framed again.
                damage += [Damaged(segment.first_seq, segment.path, b) for b in bad if b.end <= segment.size]
                if frames or not bad:
                    return frames
                place = index.starts.index(bad[-1].start)
                seq = index.seqs[place] + 1
        except FileNotFoundError:
            # Unlinked meanwhile: every cursor is beyond it.
            return []
        return []

    def _reader(self, segment: Segment) -> Callable[[int, int], bytes]:
        return lambda start, length: self._files.read(segment.path, start, length)

    def _index(self, segment: Segment, damage: list[Damaged]) -> SegmentIndex:
        index = segment.index
        if index is None:
            index = build(self._reader(segment), segment.size, segment.salt, self._fallback)
            damage += [Damaged(segment.first_seq, segment.path, bad) for bad in index.bad]
            segment.index = index
        if self._writer is None or segment is not self.segments[-1]:
            self._keep_index(segment)
        return index

    def _keep_index(self, segment: Segment) -> None:
        with self._index_lock:
            self._indexed[segment.first_seq] = segment
            self._indexed.move_to_end(segment.first_seq)
            while len(self._indexed) > MAX_INDEXES:
                self._indexed.popitem(last=False)[1].index = None

    def count_records(self, seq: int, index: int, last_seq: int) -> int:
        """Records from record `index` of frame `seq` to the end of frame `last_seq`. Reads headers alone; damaged frames
        count nothing."""
        records = 0
        for segment in self.segments:
            if segment.last_seq < seq or segment.first_seq > last_seq:
                continue
            for piece in walk(self._reader(segment), SEGMENT_HEAD.size, segment.size, segment.salt, verify=False):
                if isinstance(piece, Head) and seq <= piece.seq <= last_seq:
                    records += header_records(piece.header) - (index if piece.seq == seq else 0)
        return records

    def lost_in(self, damaged: Damaged, positions: Positions, needed_from: int | None) -> Cost:
        """The file ranges that a damaged frame costs (damage.lost_in); none where its segment is gone."""
        for segment in self.segments:
            if segment.first_seq == damaged.first_seq:
                try:
                    return lost_in(self._reader(segment), segment.first_seq, segment.size, segment.salt, damaged.bad,
                                   positions, needed_from)
                except FileNotFoundError:
                    break
        return [], 0, 0

    def total_before(self, seq: int) -> int | None:
        """Source bytes of all frames before `seq`, where an index at hand knows it. No I/O; any thread."""
        for segment in reversed(self.segments):
            if segment.first_seq < seq:
                index = segment.index
                return index.total_of(seq - 1) if index is not None else None
        return None
