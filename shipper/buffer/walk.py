"""Walk the frames of a segment without holding it in memory. Pure over a `read` function. Cold: recovery and indexes.

`segment.scan` says the same of bytes in memory; the tests hold the two against each other.

Invariants (tests/buffer/test_walk.py):
  W1  with `verify`, the frames and damage are those of `segment.scan`, whatever the bytes
  W2  without `verify`, bodies are not read: memory and reading are O(headers), a frame with a bad body counts as whole
  W3  of a damaged frame whose header is whole, the header is given: it names the file ranges that were in it
"""
from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .framing import FRAME_HEAD, FRAME_HEAD_BYTES, FRAME_MAGIC, frame_at, header_holds

WINDOW_BYTES = 16 * 1024
_SEARCH_BYTES = 256 * 1024
Read = Callable[[int, int], bytes]  # (start, length) -> bytes, fewer at the end


@dataclass(frozen=True, slots=True)
class Head:
    """A frame whose header is proven. Its bytes are [start, end) of the segment, its body those from `body` on."""

    seq: int
    start: int
    body: int
    end: int
    header: bytes


@dataclass(frozen=True, slots=True)
class Bad:
    """Bytes [start, end) that are no whole frame. `heads`: the frames in them whose header is whole (W3)."""

    start: int
    end: int
    torn: bool
    heads: tuple[Head, ...] = ()


class _Window:
    """Keeps the last piece read, so that small frames cost one read per 16 KiB."""

    def __init__(self, read: Read) -> None:
        self._read, self._start, self._data = read, 0, b""

    def get(self, start: int, length: int) -> bytes:
        low = start - self._start
        if low < 0 or low + length > len(self._data):
            self._data, self._start, low = self._read(start, max(length, WINDOW_BYTES)), start, 0
        return self._data[low : low + length]


def walk(read: Read, start: int, end: int, salt: int, *, verify: bool) -> Iterator[Head | Bad]:
    """What lies in [start, end) of a segment, in order. O(bytes), never raises anything but what `read` raises."""
    window = _Window(read)
    at, bad_from = start, -1
    heads: list[Head] = []
    while at < end:
        head = _head_at(window, at, end, salt)
        if head is not None and head.end <= end and (not verify or _body_holds(window, read, head)):
            if bad_from >= 0:
                yield Bad(bad_from, at, False, tuple(heads))
                bad_from, heads = -1, []
            yield head
            at = head.end
            continue
        if bad_from < 0:
            bad_from = at
        if head is not None:
            heads.append(head)
        at = _find_magic(read, at + 1, end)
        if at < 0:
            break
    if bad_from >= 0:
        yield Bad(bad_from, end, True, tuple(heads))


def _head_at(window: _Window, at: int, end: int, salt: int) -> Head | None:
    fixed = window.get(at, FRAME_HEAD_BYTES)
    found = frame_at(fixed, 0, salt)
    if found is None:
        return None
    seq, header_bytes, body_bytes = found
    body = at + FRAME_HEAD_BYTES + header_bytes
    if body > end:
        return None
    header = window.get(at + FRAME_HEAD_BYTES, header_bytes)
    if len(header) < header_bytes or not header_holds(fixed, header, salt):
        return None
    return Head(seq, at, body, body + body_bytes, header)


def _body_holds(window: _Window, read: Read, head: Head) -> bool:
    fixed = window.get(head.start, FRAME_HEAD_BYTES)
    header_crc, crc = FRAME_HEAD.unpack_from(fixed)[4:6]
    body = read(head.body, head.end - head.body)
    return len(body) == head.end - head.body and zlib.crc32(body, header_crc) == crc


def _find_magic(read: Read, start: int, end: int) -> int:
    """Where the next frame magic begins in [start, end), or -1."""
    while start < end:
        data = read(start, min(_SEARCH_BYTES, end - start))
        found = data.find(FRAME_MAGIC)
        if found >= 0:
            return start + found
        if len(data) < len(FRAME_MAGIC):
            return -1
        start += len(data) - len(FRAME_MAGIC) + 1
    return -1
