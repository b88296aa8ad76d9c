"""What a start makes of the state directory, after any end of the process or the machine. Synchronous, once per start.

    look     read everything that has a version; one from the future is Fatal before anything is touched
    replay   positions.json, then the frames behind it; the last segment is verified to its last byte, older ones (synced
             before their successor was begun) are walked by their headers, and verified when they are delivered
    mend     cut the torn tail, set damaged bytes aside in quarantine/, remove leftovers
    number   next seq = max(segments, cursors, positions) + 1; cursors beyond the last whole frame are clamped

Invariants (tests/buffer/test_recovery.py, test_buffer_machine.py):
  R1  after a crash the positions are the fold of the whole frames: a torn frame's range is read again, with the same ids
  R2  of a damaged frame that some cursor still needs, the ranges are in positions.lost, once, however often we start
  R3  nothing on disk makes it raise but Fatal (a later version) and what the filesystem itself refuses
  R4  with `inspect` nothing is changed
"""
from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Fatal
from ..model import FileRef
from . import cursors as cursor_files
from . import positions_json
from .cursors import CursorPosition
from .damage import Fold, Quarantine, frame_of
from .files import TEMP_SUFFIX, Files
from .framing import SEGMENT_HEAD, SEGMENT_MAGIC, read_segment_head
from .log import Segment, segment_name
from .positions import Positions
from .positions_json import Snapshot
from .segment import Definitions
from .walk import Bad, walk

SEGMENTS, CURSORS, QUARANTINE, POSITIONS = "buffer", "cursors", "quarantine", "positions.json"


@dataclass(slots=True)
class Recovered:
    """What a Buffer begins with. `notes`: (level, event, about, fields) to be said; `damaged_frames` to be counted;
    `written_seq`: what positions.json on disk covers (-1: there is none); `dirty`: it must be written before anything is
    appended."""

    uuid: bytes
    positions: Positions
    segments: list[Segment] = field(default_factory=list)
    cursors: dict[str, CursorPosition] = field(default_factory=dict)
    damaged: set[tuple[int, int]] = field(default_factory=set)
    last_seq: int = 0
    written_seq: int = -1
    quarantine_bytes: int = 0
    damaged_frames: int = 0
    unknown_bytes: int = 0
    dirty: bool = False
    notes: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)

    def note(self, level: str, event: str, about: str, **fields: Any) -> None:
        self.notes.append((level, event, about, fields))


def recover(files: Files, directory: str, new_uuid: bytes, *, change: bool = True) -> Recovered:
    """R1 to R4. With `change` False only looks (`inspect`)."""
    seen = _look(files, directory)
    uuid = seen.snapshot.uuid if seen.snapshot else next((u for _, u in seen.heads.values()), new_uuid)
    found = Recovered(uuid, Positions(), cursors=seen.cursors, notes=seen.notes)
    if seen.snapshot is not None:
        found.positions = seen.snapshot.positions
        found.written_seq = found.positions.seq
        found.damaged = set(seen.snapshot.damaged)
    else:
        found.dirty = True
    quarantine = Quarantine(files, os.path.join(directory, QUARANTINE), change)
    _replay(files, directory, found, seen, quarantine, change)
    _number(found)
    if change:
        for path in seen.leftovers:
            files.delete(path)
    found.quarantine_bytes = quarantine.bytes
    return found


# ---------------------------------------------------------------- look

@dataclass(slots=True)
class _Seen:
    snapshot: Snapshot | None = None
    cursors: dict[str, CursorPosition] = field(default_factory=dict)
    heads: dict[int, tuple[int, bytes]] = field(default_factory=dict)   # first seq -> salt, uuid
    unusable: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    notes: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)


def _look(files: Files, directory: str) -> _Seen:
    seen = _Seen()
    path = os.path.join(directory, POSITIONS)
    names = files.names(directory)
    seen.leftovers += [os.path.join(directory, name) for name in names if name.endswith(TEMP_SUFFIX)]
    if POSITIONS in names:
        try:
            seen.snapshot = positions_json.decode(files.read(path), path)
        except ValueError as error:
            seen.notes.append(("error", "positions_damaged", path, {
                "why": str(error), "then": "derived from the frames that are held; older files may be read again"}))
    _look_at_cursors(files, os.path.join(directory, CURSORS), seen)
    _look_at_segments(files, os.path.join(directory, SEGMENTS), seen)
    return seen


def _look_at_cursors(files: Files, directory: str, seen: _Seen) -> None:
    for name in files.names(directory):
        path = os.path.join(directory, name)
        if name.endswith(TEMP_SUFFIX):
            seen.leftovers.append(path)
        elif (sink := _sink(name)) is not None:
            try:
                seen.cursors[sink] = cursor_files.decode(sink, files.read(path), path)
            except ValueError as error:
                # At least once: the sink gets all that is held again rather than missing some of it.
                seen.cursors[sink] = CursorPosition(sink, 0)
                seen.notes.append(("error", "cursor_damaged", path, {
                    "why": str(error), "then": "this sink gets everything that the buffer holds once more"}))


def _sink(name: str) -> str | None:
    """Whose cursor file this is; None for a file that is none of ours (R3)."""
    try:
        sink = cursor_files.sink_name(name)
    except (ValueError, OverflowError):
        return None
    return sink if sink and cursor_files.file_name(sink) == name else None


def _look_at_segments(files: Files, directory: str, seen: _Seen) -> None:
    for name in files.names(directory):
        path = os.path.join(directory, name)
        first_seq = _first_seq(name)
        if first_seq is None:
            if name.endswith(TEMP_SUFFIX):
                seen.leftovers.append(path)
            continue
        data = files.read(path, 0, SEGMENT_HEAD.size)
        head = read_segment_head(data)
        if head is not None:
            seen.heads[first_seq] = head[1], head[2]
        elif len(data) == SEGMENT_HEAD.size and data.startswith(SEGMENT_MAGIC):
            version = SEGMENT_HEAD.unpack(data)[1]
            raise Fatal(f"{path}: written by a later release (segment version {version}); start that release again and "
                        "let it drain, or move the state directory away to begin anew")
        else:
            seen.unusable.append(path)


def _first_seq(name: str) -> int | None:
    """None for a file that is none of ours (R3)."""
    try:
        first_seq = int(name.removesuffix(".seg"), 16)
    except ValueError:
        return None
    return first_seq if first_seq >= 0 and segment_name(first_seq) == name else None


# ---------------------------------------------------------------- replay and mend

def _replay(
    files: Files, directory: str, found: Recovered, seen: _Seen, quarantine: Quarantine, change: bool
) -> None:
    for path in seen.unusable:
        _set_aside(files, found, quarantine, path, change)
    order = sorted(seen.heads)
    fold = Fold(found.positions, whole=seen.snapshot is not None, needed_from=_needed_from(found.cursors))
    for place, first_seq in enumerate(order):
        last = place == len(order) - 1
        path = os.path.join(directory, SEGMENTS, segment_name(first_seq))
        segment = Segment(first_seq, path, seen.heads[first_seq][0], size=files.size(path))
        segment.synced_size = segment.size
        if not last:
            segment.last_seq = order[place + 1] - 1
        if last or segment.last_seq > found.positions.seq:
            _walk_segment(files, found, segment, fold, quarantine, last, change)
        if segment.size > SEGMENT_HEAD.size:
            found.segments.append(segment)
        elif change:
            files.delete(path)
    fold.finish()
    found.damaged &= _still_there(found)
    if fold.unknown_bytes or fold.unknown_frames:
        found.note("error", "damaged_ranges_unknown", directory, bytes=fold.unknown_bytes, frames=fold.unknown_frames,
                   then="which files they are of is not known; shipper verify shows it")
    found.unknown_bytes = fold.unknown_bytes
    if fold.damaged_frames:
        found.damaged_frames, found.dirty = fold.damaged_frames, True


def _still_there(found: Recovered) -> set[tuple[int, int]]:
    present = {segment.first_seq for segment in found.segments}
    return {entry for entry in found.damaged if entry[0] in present}


def _needed_from(cursors: dict[str, CursorPosition]) -> int | None:
    return min((cursor.seq for cursor in cursors.values()), default=None)


def _set_aside(files: Files, found: Recovered, quarantine: Quarantine, path: str, change: bool) -> None:
    """A segment whose head is none: created right before a power cut, or overwritten by something else."""
    data = files.read(path)
    if data.strip(b"\0"):
        kept = quarantine.keep(os.path.basename(path), 0, data)
        found.note("error", "segment_unusable", path, bytes=len(data), then=kept)
        found.damaged_frames += 1
    if change:
        files.delete(path)


def _walk_segment(
    files: Files, found: Recovered, segment: Segment, fold: Fold, quarantine: Quarantine, last: bool, change: bool
) -> None:
    def read(start: int, length: int) -> bytes:
        return files.read(segment.path, start, min(length, max(0, segment.size - start)))

    definitions = Definitions(fallback=_known_files(found.positions))
    highest = segment.first_seq - 1
    fold.begin(segment.first_seq)
    for piece in walk(read, SEGMENT_HEAD.size, segment.size, segment.salt, verify=last):
        if isinstance(piece, Bad):
            if piece.torn and not last and highest == segment.last_seq:
                continue  # a write that failed for want of room and could not be cut; its frames are in the next segment
            if piece.torn and last:
                _cut(files, found, segment, piece, fold, definitions, change)
            else:
                _damage(found, segment, piece, fold, quarantine, definitions, read)
            continue
        frame = frame_of(piece, definitions)
        if frame is None:
            _damage(found, segment, Bad(piece.start, piece.end, False), fold, quarantine, definitions, read)
            continue
        fold.frame(frame)
        highest = max(highest, frame.seq)
    if last:
        segment.last_seq = highest
        if change and highest > max([found.written_seq, *(cursor.needs for cursor in found.cursors.values())]):
            # After kill -9 the frames that no cursor and no positions.json on disk vouch for may be in the page cache alone,
            # or even be behind a sync that failed; from here on they count as synced.
            files.renew(segment.path)
    segment.synced_size = segment.size


def _known_files(positions: Positions) -> Any:
    def find(key: str) -> FileRef | None:
        found = positions.files.get(key)
        return found.file if found else None

    return find


def _cut(
    files: Files, found: Recovered, segment: Segment, piece: Bad, fold: Fold, definitions: Definitions, change: bool
) -> None:
    found.note("info", "torn_tail_cut", segment.path, bytes=piece.end - piece.start)
    fold.damage(piece, definitions, known=False)
    if change:
        files.truncate(segment.path, piece.start)
    segment.size = piece.start


def _damage(
    found: Recovered, segment: Segment, piece: Bad, fold: Fold, quarantine: Quarantine, definitions: Definitions, read: Any
) -> None:
    known = (segment.first_seq, piece.start) in found.damaged
    fold.damage(piece, definitions, known=known)
    if known:
        return
    found.damaged.add((segment.first_seq, piece.start))
    kept = quarantine.keep(os.path.basename(segment.path), piece.start, read(piece.start, piece.end - piece.start))
    found.note("error", "frame_damaged", segment.path, start=piece.start, end=piece.end,
               then=f"{kept}; what no sink had yet is read again from the log file")


# ---------------------------------------------------------------- number

def _number(found: Recovered) -> None:
    """The highest number ever used, and cursors that stand beyond the last whole frame."""
    whole = max([found.positions.seq, *(segment.last_seq for segment in found.segments)])
    found.last_seq = max([whole, *(cursor.needs for cursor in found.cursors.values())])
    for name, cursor in found.cursors.items():
        if cursor.needs > whole:
            found.cursors[name] = replace(
                cursor, seq=whole + 1, index=0, total_bytes=min(cursor.total_bytes, found.positions.total_bytes)
            )
            found.note("error", "cursor_clamped", name, seq=cursor.seq, index=cursor.index, last_whole_frame=whole,
                       then="goes on with the next frame")


