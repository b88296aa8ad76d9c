"""What is fuzzed: each target takes any bytes, feeds one reader of untrusted bytes, and asserts what must hold whatever they are.

Used three ways: at every cut and every changed byte of SEEDS, by hypothesis (both in the short suite), and by atheris with
coverage as its guide (`make test-long`). A target returns nothing; any exception that leaves it is a finding.
"""
from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from functools import cache

from shipper.buffer import cursors, framing, positions_json, segment
from shipper.buffer.positions import Positions
from shipper.buffer.walk import Bad, walk
from shipper.config.loader import load_text
from shipper.decode import Budget, Decoder, first_ns, sniff
from shipper.discover.names import lineage_name, source_of
from shipper.discover.siblings import group
from shipper.errors import Fatal, Usage
from shipper.model import FileRef, Source
from shipper.tail import cutter as cutting
from shipper.tail.cutter import Cutter
from shipper.tail.file import TailFile
from shipper.tail.gz import GzipFile
from shipper.tail.identity import digest
from tests.buffer import nouns

T = b"2026-11-20T09:04:05.123456789Z"
KEY = "k" * 16
SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web")
SALT = 7
MAX_LINE = 48


def _file_of(data: bytes) -> int:
    fd = os.memfd_create("fuzz")
    os.write(fd, data)
    return fd


# ---------------------------------------------------------------- decoders, behind the cutter and a real file

def _records(data: bytes, form: str, cuts: list[int]) -> tuple[list[tuple[bytes, bytes, bytes]], int, int]:
    """(records, their source bytes, bytes that are in no record) of a file that grew to `data` by way of `cuts`."""
    fd = _file_of(b"")
    decoder = Decoder(SOURCE, form, max_line=MAX_LINE, max_record=120, budget=Budget(60))
    file = TailFile("/l", 1, 1, live=True, compressed=False)
    file.attach(fd)
    cutter = Cutter(decoder, lambda piece: os.pread(fd, piece.length, piece.start))
    ref = FileRef(KEY, SOURCE, "/l", 1, 1, 0, digest(b""))
    sections, before = [], 0
    for end in [*sorted({min(cut, len(data)) for cut in cuts}), len(data)]:
        os.pwrite(fd, data[before:end], before)
        before = end
        while found := file.pread(40, file.offset + file.scanned) if file.scanned else file.read(64):
            at = file.offset, file.scanned
            sections += cutter.cut(file, ref, found)
            if at == (file.offset, file.scanned):
                break
    rest = file.pread(file.rest_bytes, file.offset)
    sections += cutter.finish(file, ref, rest)
    os.close(fd)
    rows, covered, at_byte = [], 0, 0
    for section in sections:
        assert section.start == at_byte
        at_byte = section.end
        if section.batch is not None:
            rows += list(zip(section.batch.ids, section.batch.streams, section.batch.messages, strict=True))
    assert at_byte == len(data), "sections do not reach the end of the file"
    for item, _, _ in rows:
        covered += sum(int(part.rpartition(b"+")[2], 16) for part in item.split(b","))
    held = sum(piece.length for state in decoder.state() for piece in state.pieces)
    return rows, covered, held


def tail_and_decode(data: bytes) -> None:
    """Cut anywhere, the records are the same, and every byte is in exactly one record or open record (C1, C2, L2)."""
    if len(data) < 2:
        return
    form, data = ("cri", "docker", "raw")[data[0] % 3], data[1:]
    saved = cutting.CHUNK_BYTES, cutting.LONG_LINE_BYTES
    cutting.CHUNK_BYTES, cutting.LONG_LINE_BYTES = 64, 16
    try:
        whole = _records(data, form, [])
        assert whole[1] + whole[2] == len(data), "bytes are in no record, or in two"
        cut = _records(data, form, [zlib.crc32(data) % (len(data) + 1), len(data) // 3])
    finally:
        cutting.CHUNK_BYTES, cutting.LONG_LINE_BYTES = saved
    assert cut == whole, "the records depend on how the file grew"


def formats(data: bytes) -> None:
    form = sniff(data)
    assert form in ("cri", "docker", "raw")
    for each in ("cri", "docker", "raw"):
        assert isinstance(first_ns(data, each), int)


# ---------------------------------------------------------------- the buffer's bytes

@cache
def a_segment() -> bytes:
    """Three frames of two files, one with an open record."""
    pieces, definitions = [framing.segment_head(SALT, b"u" * 16)], segment.Definitions()
    file = nouns.file_of(nouns.source("web"))
    for seq in range(1, 4):
        pieces += segment.encode_frame(seq, [nouns.section(file, (seq - 1) * 20, 2)], seq * 20, 1, definitions, SALT)
    return b"".join(pieces)


def _walked(data: bytes, salt: int) -> tuple[list[int], list[tuple[int, int, bool]]]:
    def read(start: int, length: int) -> bytes:
        return data[start : start + length]

    found = list(walk(read, framing.SEGMENT_HEAD.size, len(data), salt, verify=True))
    return [p.start for p in found if not isinstance(p, Bad)], [(p.start, p.end, p.torn) for p in found if isinstance(p, Bad)]


def scan(data: bytes) -> None:
    """G1, W1: never raises, scan and walk agree, every byte is in a frame or in damage, and what it gives can be parsed."""
    found = framing.scan(data)
    if not found.usable:
        return
    frames = [frame.start for frame in found.frames]
    damage = [(d.start, d.end, d.torn) for d in found.damage]
    assert (frames, damage) == _walked(data, found.salt)
    covered = sum(f.end - f.start for f in found.frames) + sum(d.end - d.start for d in found.damage)
    assert covered == len(data) - framing.SEGMENT_HEAD.size
    definitions = segment.Definitions()
    for frame in found.frames:
        try:
            segment.parse_frame(frame, definitions)
        except ValueError:
            continue


def frame_with_any_header(data: bytes) -> None:
    """A frame whose checksums hold says anything: ValueError, or a frame."""
    header, _, body = data.partition(b"\xff")
    raw = framing.RawFrame(1, 0, len(data), header, body)
    for parse in (segment.parse_frame, segment.parse_header):
        try:
            parse(raw, segment.Definitions())
        except ValueError:
            continue
    segment.header_records(header)


@cache
def some_positions() -> bytes:
    found = Positions()
    file = nouns.file_of(nouns.source("web"))
    found.commit(found.plan(1, [nouns.section(file, 0, 3)], 1_000))
    return positions_json.encode(positions_json.Snapshot(found, b"u" * 16), 1.0)


def positions(data: bytes) -> None:
    """A snapshot, ValueError for damage, Fatal for another release's."""
    try:
        positions_json.decode(data, "positions.json")
    except (ValueError, Fatal):
        return


def cursor(data: bytes) -> None:
    try:
        cursors.decode("central", data, "central.json")
    except (ValueError, Fatal):
        return


# ---------------------------------------------------------------- the rest of what others write

def config(data: bytes) -> None:
    """A config, or Usage."""
    try:
        load_text(data, "c.yaml", {"A": "1"})
    except Usage:
        return


def file_names(data: bytes) -> None:
    """Names become clean UTF-8 and lineages, whatever they are."""
    texts = [os.fsdecode(part) for part in data.split(b"\0")]
    hops = [f"/var/log/containers/{texts[0]}", *(f"/var/log/pods/{text}" for text in texts[1:])]
    source_of("containers", "c", "n1", hops, hops[-1]).to_json()
    lineage_name(hops[-1]).encode()
    entries = {text.replace("/", "_") for text in texts if text}
    groups = group("/d", entries)
    assert all(sum(not sibling.rotated for sibling in files) <= 1 for files in groups.values())


def gzip_file(data: bytes) -> None:
    """Z1, Z4: reading in steps gives what reading at once gives."""
    steps, whole = GzipFile(_file_of(data)), GzipFile(_file_of(data))
    try:
        at_once, found = whole.pread(1 << 20, 0), b""
        while piece := steps.pread(1000, len(found)):
            found += piece
            if len(found) >= 1 << 20:
                return
        assert found == at_once and steps.damaged == whole.damaged
    finally:
        steps.close()
        whole.close()




Target = Callable[[bytes], None]
_LINES = [T + b" stdout F one", T + b" stderr P two", T + b" stdout P " + b"x" * 60, T + b" stdout F end", b"", b"no cri\r",
          T + b" stderr F three \xff\x00", T + b" stdout P:x open"]
_DOCKER = [b'{"log":"a\\n","stream":"stdout","time":"%b"}' % T,
           b'{"log":"b","stream":"stderr","time":"%b"}' % T, b"{}", b"[" * 50]
_CONFIG = b"""node: n1
state_dir: /var/lib/shipper
sources:
  pods: {type: containers, include: [/var/log/containers/*.log], max_line: 1MiB}
sinks:
  central: {type: syslog, address: "logs.example.com:514", when: {namespace: ["a*"]}}
admin: {listen: "127.0.0.1:3903"}
"""
_CURSOR = cursors.encode(cursors.CursorPosition("central", 3, 1, state={"a": [1]}, counters={"x": 2}))

SEEDS: dict[Target, Callable[[], list[bytes]]] = {
    tail_and_decode: lambda: [
        b"\0" + b"\n".join(_LINES) + b"\n", b"\1" + b"\n".join(_DOCKER) + b"\n", b"\2" + b"raw\n" * 9 + b"x" * 200],
    formats: lambda: [*_LINES, *_DOCKER],
    scan: lambda: [a_segment()],
    frame_with_any_header: lambda: [
        b'{"v":1,"t":1,"n":1,"sec":[["k",0,1,"",1,1,1]],"col":[["ids","l",1]],"file":{},"src":{}}\xffx'],
    positions: lambda: [some_positions()],
    cursor: lambda: [_CURSOR],
    config: lambda: [_CONFIG],
    file_names: lambda: [b"web-0_ns_c-abc.log\0ns_web-0_uid/c/0.log\x000.log.20261120-090405.gz\x000.log"],
    gzip_file: lambda: [gzip.compress(b"line\n" * 50, mtime=0) * 2],
}
