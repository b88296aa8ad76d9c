"""The little of msgpack that receivers of the forward protocol say, read from pieces. Pure. Rare: handshakes and acks.

Why not msgspec's decoder: it wants whole messages, does not say where one ends, and refuses text that is not UTF-8, which is
what Fluent Bit's nonce is. Writing is msgspec's.

Invariants (tests/encode/test_forward.py):
  U1  `unpack` never reads behind what it returns, and says None where more bytes are needed, wherever they are cut
  U2  a message deeper than MAX_DEPTH or with more than MAX_BYTES in one item is a ValueError, before memory is taken for it
"""
from __future__ import annotations

import struct
from typing import Any

MAX_DEPTH = 8
MAX_BYTES = 64 * 1024


class _More(Exception):
    """The message is not whole yet."""


def unpack(data: bytes) -> tuple[Any, int] | None:
    """(first message, bytes it took), or None where it is not whole (U1). Text and binary both come as bytes."""
    try:
        return _value(data, 0, 0)
    except _More:
        return None


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"msgpack deeper than {MAX_DEPTH}")
    head = _take(data, at, 1)[0]
    at += 1
    if head < 0x80 or head >= 0xE0:
        return (head if head < 0x80 else head - 256), at
    if head < 0xC0:
        kind, count = head & 0xF0, head & 0x0F
        if kind == 0x80:
            return _map(data, at, count, depth)
        return _array(data, at, count, depth) if kind == 0x90 else _bytes(data, at, head & 0x1F)
    if head in _CONSTANTS:
        return _CONSTANTS[head], at
    if head in _NUMBERS:
        code = _NUMBERS[head]
        size = struct.calcsize(code)
        return struct.unpack(code, _take(data, at, size))[0], at + size
    if head not in _SIZED:
        raise ValueError(f"no msgpack that a receiver sends: 0x{head:02x}")
    kind_name, size = _SIZED[head]
    count = int.from_bytes(_take(data, at, size), "big")
    at += size
    if kind_name == "bytes":
        return _bytes(data, at, count)
    return _array(data, at, count, depth) if kind_name == "array" else _map(data, at, count, depth)


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}
_SIZED = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xD9: ("bytes", 1), 0xDA: ("bytes", 2), 0xDB: ("bytes", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}


def _take(data: bytes, at: int, size: int) -> bytes:
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes in one item of an answer")
    if len(data) < at + size:
        raise _More
    return data[at:at + size]


def _bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    return _take(data, at, size), at + size


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    for _ in range(_bounded(count)):
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    flat, at = _array(data, at, 2 * _bounded(count), depth)
    keys = [key if isinstance(key, (bytes, int)) else repr(key) for key in flat[::2]]
    return dict(zip(keys, flat[1::2], strict=True)), at


def _bounded(count: int) -> int:
    if count > MAX_BYTES:
        raise ValueError(f"{count} items in an answer")
    return count
