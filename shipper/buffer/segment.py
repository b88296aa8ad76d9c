"""The bytes of the buffer: what a frame is, written and read. Pure. Hot: once per frame. Where frames are in a segment, whole or
damaged: framing.py; their columns: columns.py.

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
from ..model import FileRef, Frame, Gap, Open, Piece, Section, Source
from .columns import Joined, join_columns, read_columns
from .framing import FIXED_CRC, FRAME_HEAD, FRAME_MAGIC, VERSION, RawFrame, scan


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


# ---------------------------------------------------------------- reading

def parse_frame(raw: RawFrame, defined: Definitions) -> Frame:
    """The frame with its columns. Adds its definitions to `defined`, which must hold those of the segment so far.

    Raises ValueError where the header is not what a writer of this version makes (then treat it as damage).
    """
    return _parse(raw, defined, read_columns)


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


def frames(data: bytes) -> Iterator[Frame]:
    """All frames of a whole segment, parsed in order; damaged ones are left out. For tools and tests."""
    defined = Definitions()
    for raw in scan(data).frames:
        yield parse_frame(raw, defined)
