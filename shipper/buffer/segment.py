"""The bytes of the buffer: segment header, frames, and what a scan makes of damaged ones. Pure. Hot: once per frame.

    segment   ┌──────────────┬─────────────┬──────────┬─────────┬────────┐
              │ "SHIPSEG1"   │ version u32 │ salt u32 │ uuid 16 │ frame… │
              └──────────────┴─────────────┴──────────┴─────────┴────────┘
    frame     ┌────────────┬─────────┬────────────┬──────────┬────────────┬─────────────┬───────────┬────────┬──────┐
              │ "SHF1" u32 │ seq u64 │ header u32 │ body u32 │ header crc │ payload crc │ fixed crc │ header │ body │
              └────────────┴─────────┴────────────┴──────────┴────────────┴─────────────┴───────────┴────────┴──────┘
              The header has a checksum of its own: recovery and indexes walk the headers without reading the bodies, and
              a damaged body still leaves the exact file ranges that it held. The payload checksum goes on from it.
    header    JSON: {"v", "t" read_ns, "n" total_bytes, "src" {sid: source}, "file" {key: file}, "sec" [section...],
              "col" [[name, encoding, bytes]...], "mark" {record index: marks}}
    body      the columns of all sections, one after the other: ids, times, messages joined by newlines ("l"), or with
              their lengths in front where a value holds a newline itself ("z"); streams as one value where all are equal
              ("c"), else joined. One split per column and frame, not per section. severities and fields only where a
              batch of the frame has them (then b"" for the records of those that have not).

Invariants (tests/buffer/test_segment.py):
  G1  `scan` never raises and costs O(bytes), whatever the bytes
  G2  a frame is whole and checksummed, or it is not there
  G3  scan(data[:k]) gives a prefix of the frames of scan(data), for every k
  G4  damage in the middle costs the damaged frames alone: the scan goes on at the next whole one
  G5  log content cannot pose as a frame: both checksums start from the segment's random salt
  G6  what was encoded comes back equal
  G7  a segment defines every source and file before its first use, so it stands alone
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from .. import exact_json
from ..model import Batch, FileRef, Frame, Gap, Open, Piece, Section, Source

VERSION = 1
SEGMENT_MAGIC = b"SHIPSEG1"
FRAME_MAGIC = b"SHF1"
SEGMENT_HEAD = struct.Struct("<8sII16s")
FRAME_HEAD = struct.Struct("<4sQIIII")
FIXED_CRC = struct.Struct("<I")
FRAME_HEAD_BYTES = FRAME_HEAD.size + FIXED_CRC.size
MAX_FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


def segment_head(salt: int, uuid: bytes) -> bytes:
    """The first 32 bytes of a segment. `salt`: random 32 bits, secret to everyone who can write log lines."""
    return SEGMENT_HEAD.pack(SEGMENT_MAGIC, VERSION, salt, uuid)


@dataclass(slots=True)
class Definitions:
    """What one segment has defined so far: by the writer to define once, by the reader to look up.

    fallback  where the frame that defined a file is damaged: the file as the positions know it, or None
    """

    source_ids: dict[int, int] = field(default_factory=dict)     # id(Source) -> sid
    kept: list[Source] = field(default_factory=list)              # keeps id() valid
    sources: dict[int, Source] = field(default_factory=dict)      # sid -> Source
    files: dict[str, FileRef] = field(default_factory=dict)       # key -> last definition
    fallback: Callable[[str], FileRef | None] = lambda key: None

    def file(self, key: str) -> FileRef:
        """KeyError where nobody knows it."""
        found = self.files.get(key) or self.fallback(key)
        if found is None:
            raise KeyError(f"file {key} is not defined")
        return found

    def source(self, sid: int, key: str) -> Source:
        """Source `sid`, else that of the file by another's word."""
        return self.sources[sid] if sid in self.sources else self.file(key).source


# ---------------------------------------------------------------- writing

Joined = tuple[list[list[Any]], list[bytes]]
"""The columns of a frame as the header names them, and their bytes."""


def join_columns(sections: Sequence[Section]) -> Joined:
    """The columns of all sections, joined. The loop does it, as long as the lines are in its core's cache: on the writer
    thread the same join moves every line to the other core and back (measured: a fifth of the CPU in catch-up)."""
    return _encode_columns([s.batch for s in sections if s.batch is not None and len(s.batch)])


def encode_frame(
    seq: int, sections: Sequence[Section], total_bytes: int, read_ns: int, defined: Definitions, salt: int,
    joined: Joined | None = None,
) -> list[bytes]:
    """The frame as pieces for one writev. Adds to `defined` what this frame defines. `joined`: join_columns(sections).

    A caller whose write fails must start a new segment (and new Definitions): what was defined here is not on disk.
    """
    new_sources: dict[str, Any] = {}
    new_files: dict[str, Any] = {}
    headers: list[list[Any]] = []
    marks: dict[str, Any] = {}
    records = 0
    for section in sections:
        file = section.file
        if defined.files.get(file.key) is not file:
            new_files[file.key] = _define_file(file, defined, new_sources)
        batch = section.batch
        count = 0
        if batch is not None and len(batch):
            count = len(batch)
            if batch.marks:
                for index, mark in batch.marks.items():
                    marks[str(records + index)] = mark
            records += count
        headers.append(_section_header(section, count))
    columns, body = joined or join_columns(sections)
    header: dict[str, Any] = {"v": VERSION, "t": read_ns, "n": total_bytes, "sec": headers, "col": columns}
    if new_sources:
        header["src"] = new_sources
    if new_files:
        header["file"] = new_files
    if marks:
        header["mark"] = marks
    head = exact_json.dumps(header)
    crc = header_crc = zlib.crc32(head, salt)
    body_bytes = 0
    for piece in body:
        crc = zlib.crc32(piece, crc)
        body_bytes += len(piece)
    fixed = FRAME_HEAD.pack(FRAME_MAGIC, seq, len(head), body_bytes, header_crc, crc)
    return [fixed + FIXED_CRC.pack(zlib.crc32(fixed, salt)) + head, *body]


def _define_file(file: FileRef, defined: Definitions, new_sources: dict[str, Any]) -> list[Any]:
    sid = defined.source_ids.get(id(file.source))
    if sid is None:
        sid = len(defined.kept)
        defined.kept.append(file.source)
        defined.source_ids[id(file.source)] = sid
        defined.sources[sid] = file.source
        new_sources[str(sid)] = file.source.to_json()
    defined.files[file.key] = file
    return [sid, file.path, file.device, file.inode, file.head_bytes, file.head_hash]


def _section_header(section: Section, count: int) -> list[Any]:
    out: list[Any] = [
        section.file.key, section.start, section.end, section.guard, count, section.size, section.last_ns,
    ]
    if section.state or section.drops or section.gaps or section.closed or section.cursor:
        # orjson refuses subclasses of tuple.
        state = [(item.stream, item.kind, [tuple(piece) for piece in item.pieces]) for item in section.state]
        out += [state, section.drops, [tuple(gap) for gap in section.gaps], section.closed]
        if section.cursor:                               # a reader that knows no cursors looks at the eleven in front of it
            out.append(section.cursor)
    return out


def _encode_columns(batches: list[Batch]) -> tuple[list[list[Any]], list[bytes]]:
    if not batches:
        return [], []
    columns: list[list[Any]] = []
    body: list[bytes] = []
    newlines = any(batch.newlines for batch in batches)
    for name in ("ids", "times", "messages"):
        encoding, data = _join([getattr(batch, name) for batch in batches], newlines and name == "messages")
        columns.append([name, encoding, len(data)])
        body.append(data)
    streams = [batch.streams for batch in batches]
    first = streams[0][0]
    if all(values.count(first) == len(values) for values in streams):
        encoding, data = "c", bytes(first)
    else:
        encoding, data = _join(streams, False)
    columns.append(["streams", encoding, len(data)])
    body.append(data)
    for name in _OPTIONAL:
        parts = [getattr(batch, name) for batch in batches]
        if any(part is not None for part in parts):
            filled = [[b""] * len(batch) if part is None else part for part, batch in zip(parts, batches)]
            encoding, data = _join(filled, True)
            columns.append([name, encoding, len(data)])
            body.append(data)
    return columns, body


_OPTIONAL = ("severities", "fields")


def _join(parts: list[Sequence[bytes]], newlines: bool) -> tuple[str, bytes]:
    values = parts[0]
    if len(parts) > 1:
        values = list(values)
        for part in parts[1:]:
            values += part
    data = b"\n".join(values)
    # Counting newlines costs 60 ns a line; times, ids and streams have none by construction (decode, M3), and messages
    # that were split at newlines neither.
    if not newlines or data.count(b"\n") == len(values) - 1:
        return "l", data
    lengths = struct.pack(f"<{len(values)}I", *map(len, values))
    return "z", lengths + b"".join(values)


# ---------------------------------------------------------------- reading

@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame whose checksums hold, not yet parsed. `start`, `end`: its bytes in the segment."""

    seq: int
    start: int
    end: int
    header: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes [start, end) of a segment that are no whole frame. `torn`: nothing whole follows."""

    start: int
    end: int
    torn: bool


@dataclass(slots=True)
class Scan:
    """`usable` is False where the segment's own head is not one; then everything is damage."""

    usable: bool
    version: int = 0
    salt: int = 0
    uuid: bytes = b""
    frames: list[RawFrame] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    whole_bytes: int = 0


def read_segment_head(data: bytes) -> tuple[int, int, bytes] | None:
    """(version, salt, uuid), or None where these are not the first bytes of a segment that we can read."""
    if len(data) < SEGMENT_HEAD.size:
        return None
    magic, version, salt, uuid = SEGMENT_HEAD.unpack_from(data)
    if magic != SEGMENT_MAGIC or version > VERSION:
        return None
    return version, salt, uuid


def frame_at(data: bytes | memoryview, at: int, salt: int) -> tuple[int, int, int] | None:
    """(seq, header bytes, body bytes) where a frame head with a good fixed checksum stands at `at`, else None."""
    if at + FRAME_HEAD_BYTES > len(data):
        return None
    magic, seq, header_bytes, body_bytes, _, _ = FRAME_HEAD.unpack_from(data, at)
    if magic != FRAME_MAGIC or header_bytes + body_bytes > MAX_FRAME_BYTES:
        return None
    (fixed_crc,) = FIXED_CRC.unpack_from(data, at + FRAME_HEAD.size)
    if zlib.crc32(data[at : at + FRAME_HEAD.size], salt) != fixed_crc:
        return None
    return seq, header_bytes, body_bytes


def raw_frame(data: bytes, at: int, salt: int) -> RawFrame | None:
    """The whole frame at `at`, both checksums proven (G2), or None."""
    found = frame_at(data, at, salt)
    if found is None:
        return None
    seq, header_bytes, body_bytes = found
    start = at + FRAME_HEAD_BYTES
    end = start + header_bytes + body_bytes
    if end > len(data):
        return None
    crc = FRAME_HEAD.unpack_from(data, at)[5]
    if zlib.crc32(memoryview(data)[start:end], salt) != crc:
        return None
    return RawFrame(seq, at, end, data[start : start + header_bytes], data[start + header_bytes : end])


def header_holds(head: bytes, header: bytes, salt: int) -> bool:
    """Whether `header` is what the frame head `head` (proven by `frame_at`) says it is."""
    return zlib.crc32(header, salt) == int(FRAME_HEAD.unpack_from(head)[4])


def scan(data: bytes) -> Scan:
    """All whole frames of a segment, and the damage between and behind them (G1 to G5)."""
    head = read_segment_head(data)
    if head is None:
        return Scan(False, damage=[Damage(0, len(data), True)] if data else [])
    found = Scan(True, *head, whole_bytes=SEGMENT_HEAD.size)
    at, bad_from = SEGMENT_HEAD.size, -1
    while at < len(data):
        frame = raw_frame(data, at, found.salt)
        if frame is not None:
            if bad_from >= 0:
                found.damage.append(Damage(bad_from, at, False))
                bad_from = -1
            found.frames.append(frame)
            at = found.whole_bytes = frame.end
            continue
        if bad_from < 0:
            bad_from = at
        # Only a frame head with its own salted checksum is worth a payload checksum, so this stays linear.
        at = data.find(FRAME_MAGIC, at + 1)
        if at < 0:
            break
    if bad_from >= 0:
        found.damage.append(Damage(bad_from, len(data), True))
    return found


def parse_frame(raw: RawFrame, defined: Definitions) -> Frame:
    """The frame with its columns. Adds its definitions to `defined`, which must hold those of the segment so far.

    Raises ValueError where the header is not what a writer of this version makes (then treat it as damage).
    """
    return _parse(raw, defined, _read_columns)


def parse_header(raw: RawFrame, defined: Definitions) -> Frame:
    """As `parse_frame`, but every batch is None: for recovery and accounting, which need ranges alone."""
    return _parse(raw, defined, None)


def _parse(raw: RawFrame, defined: Definitions, columns: Callable[..., Any] | None) -> Frame:
    try:
        header = exact_json.loads(raw.header)
        _define(header, defined)
        sections = [_read_section(values, defined) for values in header["sec"]]
        frame = Frame(raw.seq, sections, header["n"], header["t"], raw.end - raw.start)
        if columns is not None:
            counts = [values[4] for values in header["sec"]]
            columns(frame, counts, header["col"], raw.body, header.get("mark"))
        return frame
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError, AttributeError, struct.error) as error:
        raise ValueError(f"frame {raw.seq}: {type(error).__name__}: {error}") from error


def _define(header: dict[str, Any], defined: Definitions) -> dict[str, FileRef]:
    for sid, data in header.get("src", {}).items():
        # A segment never redefines a source; read twice, it stays the same object, with what is cached on it.
        if int(sid) not in defined.sources:
            defined.sources[int(sid)] = Source.from_json(data)
    files = {
        key: FileRef(key, defined.source(sid, key), path, device, inode, head_bytes, head_hash)
        for key, (sid, path, device, inode, head_bytes, head_hash) in header.get("file", {}).items()
    }
    defined.files.update(files)
    return files


def define(header: bytes, defined: Definitions) -> tuple[int, dict[str, FileRef]]:
    """For indexes: (total_bytes, the files that this frame defines); adds its definitions. ValueError as `parse_frame`."""
    try:
        found = exact_json.loads(header)
        return int(found["n"]), _define(found, defined)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"frame header: {type(error).__name__}: {error}") from error


def header_records(header: bytes) -> int:
    """How many records a frame has, by its header; 0 where that is not a writer's."""
    try:
        return sum(int(values[4]) for values in exact_json.loads(header)["sec"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError):
        return 0


def _read_section(values: list[Any], defined: Definitions) -> Section:
    key, start, end, guard, _, size, last_ns = values[:7]
    section = Section(defined.file(key), start, end, guard, None, size=size, last_ns=last_ns)
    if len(values) > 7:
        state, drops, gaps, closed = values[7:11]
        section.state = tuple(
            Open(stream, kind, tuple(Piece(*piece) for piece in pieces)) for stream, kind, pieces in state or ()
        )
        section.drops, section.gaps, section.closed = drops, tuple(Gap(*gap) for gap in gaps or ()), closed
        section.cursor = values[11] if len(values) > 11 else ""
    return section


def _read_columns(
    frame: Frame, counts: list[int], columns: list[list[Any]], body: bytes, marks: dict[str, Any] | None
) -> None:
    total = sum(counts)
    if not total:
        return
    values: dict[str, Sequence[bytes]] = {}
    at = 0
    for name, encoding, size in columns:
        values[name] = split_column(encoding, body[at : at + size], total)
        at += size
    newlines = any(name == "messages" and encoding == "z" for name, encoding, _ in columns)
    times, streams, ids, messages = values["times"], values["streams"], values["ids"], values["messages"]
    severities, fields = values.get("severities"), values.get("fields")
    by_index = {int(index): mark for index, mark in marks.items()} if marks else None
    low = 0
    for section, count in zip(frame.sections, counts, strict=True):
        if not count:
            continue
        high = low + count
        own = {i - low: m for i, m in by_index.items() if low <= i < high} if by_index else None
        section.batch = Batch(
            section.file.source, section.file.key, times[low:high], streams[low:high], ids[low:high],
            messages[low:high], own or None, frame.read_ns, newlines, False,
            None if severities is None else severities[low:high], None if fields is None else fields[low:high],
        )
        low = high


def split_column(encoding: str, data: bytes, count: int) -> Sequence[bytes]:
    """The `count` values of a column as `_join` (or "c", a constant) wrote it. ValueError where it is not one."""
    if encoding == "l":
        values = data.split(b"\n")
    elif encoding == "c":
        values = [data] * count
    elif encoding == "z":
        head = _LENGTH.size * count
        values, at = [], head
        for length in struct.unpack_from(f"<{count}I", data):
            values.append(data[at : at + length])
            at += length
    else:
        raise ValueError(f"unknown column encoding {encoding!r}")
    if len(values) != count:
        raise ValueError(f"column of {len(values)} values, {count} records")
    return values


def frames(data: bytes) -> Iterator[Frame]:
    """All frames of a whole segment, parsed in order; damaged ones are left out. For tools and tests."""
    defined = Definitions()
    for raw in scan(data).frames:
        yield parse_frame(raw, defined)
