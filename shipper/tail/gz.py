"""A compressed sibling, read as if it were the plain file: `pread` by uncompressed offset. Driver: runs on threads.

Invariants:
  Z1  offsets count uncompressed bytes
  Z2  reading forward costs each compressed byte once; only going back behind the window starts over
  Z3  memory is bounded by WINDOW_BYTES whatever the ratio (a bomb is inflated piece by piece)
  Z4  a damaged or half-written file gives what inflates, then `damaged` is True; nothing raises but OSError
"""
from __future__ import annotations

import os
import zlib

WINDOW_BYTES = 4 * 1024 * 1024
_STEP_BYTES = 64 * 1024


class GzipFile:
    """Owns `fd`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.damaged = False
        self._restart()

    def _restart(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._compressed_offset = 0
        self._window = b""
        self._window_start = 0
        self._rest = b""
        self._ended = False
        self.damaged = False

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` uncompressed bytes from `offset`; fewer only at the end or at damage (then `damaged`)."""
        if offset < self._window_start:
            self._restart()
        while self._window_start + len(self._window) < offset + size and not self._ended:
            piece = self._next()
            self._window += piece
            surplus = len(self._window) - WINDOW_BYTES
            keep_from = min(max(surplus, 0), max(offset - self._window_start, 0))
            if keep_from:
                self._window = self._window[keep_from:]
                self._window_start += keep_from
        at = offset - self._window_start
        return self._window[at : at + size] if at >= 0 else b""

    def _next(self) -> bytes:
        if self._inflate.eof:                            # a further member (RFC 1952, section 2.2), or the end
            self._rest = self._inflate.unused_data
            if not self._rest:
                self._rest = self._compressed()
            if not self._rest.strip(b"\0"):
                self._ended = True
                return b""
            self._inflate = zlib.decompressobj(wbits=31)
        data = self._inflate.unconsumed_tail or self._rest or self._compressed()
        self._rest = b""
        try:
            if not data:
                tail = self._inflate.flush()
                self._ended, self.damaged = True, not self._inflate.eof
                return tail
            return self._inflate.decompress(data, _STEP_BYTES * 4)
        except zlib.error:
            self._ended = self.damaged = True
            return b""

    def _compressed(self) -> bytes:
        data = os.pread(self.fd, _STEP_BYTES, self._compressed_offset)
        self._compressed_offset += len(data)
        return data

    def close(self) -> None:
        os.close(self.fd)
