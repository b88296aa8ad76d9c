"""Where frames are in the bytes of a segment: heads, checksums, and what a scan makes of damaged ones. Pure. Hot: once per frame.

The layout and the invariants G1 to G5 are in segment.py; what stands in a frame is read there.
"""
from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

VERSION = 1
SEGMENT_MAGIC = b"SHIPSEG1"
FRAME_MAGIC = b"SHF1"
SEGMENT_HEAD = struct.Struct("<8sII16s")
FRAME_HEAD = struct.Struct("<4sQIIII")
FIXED_CRC = struct.Struct("<I")
FRAME_HEAD_BYTES = FRAME_HEAD.size + FIXED_CRC.size
MAX_FRAME_BYTES = 64 * 1024 * 1024


def segment_head(salt: int, uuid: bytes) -> bytes:
    """The first 32 bytes of a segment. `salt`: random 32 bits, secret to everyone who can write log lines."""
    return SEGMENT_HEAD.pack(SEGMENT_MAGIC, VERSION, salt, uuid)


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
