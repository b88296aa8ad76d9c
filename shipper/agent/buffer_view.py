"""The buffer as the deliver stage asks for it (deliver.view.BufferView), and how far its reader may run ahead.

Invariants (tests/agent/test_buffer_view.py):
  B1  the reader waits at most PACE_S a turn for a sink that keeps up: frames are then taken from memory, not read, checked
      and cut again (measured: a third of the CPU in catch-up). A slow or dead sink never holds it back further (P5)
Plane: per request and per turn of the reader.
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..buffer.cursors import CursorPosition
from ..buffer.driver import Buffer
from ..buffer.ring import LIMIT_BYTES
from ..model import Batch, Frame


class BufferForDelivery:
    """`full` here means: for want of room, which giving up records mends; a failing disk it does not."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self.read_at_s = 0.0
        self.read_total_bytes = 0
        self.moved: asyncio.Future[None] | None = None

    @property
    def ahead_bytes(self) -> int:
        """Source bytes that were given to the buffer and not taken by this sink."""
        return self._buffer.total_bytes - self.read_total_bytes

    @property
    def uuid(self) -> str:
        return self._buffer.uuid

    @property
    def full(self) -> bool:
        return self._buffer.out_of_room

    @property
    def total_bytes(self) -> int:
        return self._buffer.total_bytes

    @property
    def appended_seq(self) -> int:
        return self._buffer.appended_seq

    def cursor(self, name: str) -> CursorPosition:
        return self._buffer.cursor(name)

    def furthest_behind(self, name: str) -> bool:
        return self._buffer.furthest_behind() == name

    async def read(self, seq: int, max_bytes: int) -> list[Frame]:
        frames = await self._buffer.read(seq, max_bytes)
        if frames:
            self.read_at_s, self.read_total_bytes = time.monotonic(), frames[-1].total_bytes
            self._buffer.taken(self, frames[-1].seq + 1)
            if self.moved is not None and not self.moved.done():
                self.moved.set_result(None)
        return frames

    async def wait_beyond(self, seq: int) -> None:
        await self._buffer.wait_beyond(seq)

    async def wait_synced(self, seq: int) -> None:
        await self._buffer.wait_synced(seq)

    def encode_early(self, key: Any, encode: Callable[[Batch], bytes | None] | None) -> None:
        if encode is None:
            self._buffer.end_early(key)
            self._buffer.taken(self, None)
            return
        self._buffer.taken(self, 0)
        self._buffer.early[key] = lambda batch: self._early(encode, batch)

    def _early(self, encode: Callable[[Batch], bytes | None], batch: Batch) -> bytes | None:
        """A sink that lags behind what is held in memory reads from disk: it needs neither."""
        ahead_bytes = self.ahead_bytes
        if ahead_bytes > FAR_AHEAD_BYTES:
            return b""
        return encode(batch) if ahead_bytes <= EARLY_BYTES else None

    def advance(self, name: str, seq: int, index: int, state: Any, counters: Any) -> None:
        self._buffer.advance(name, seq, index, state, counters)

    def on_durable(self, name: str, callback: Callable[[int, int], None]) -> None:
        self._buffer.on_durable(name, callback)


PACE_S = 0.005
KEEPS_UP_S = 0.1
AHEAD_BYTES = 2 * 1024 * 1024
EARLY_BYTES = AHEAD_BYTES + 1024 * 1024
FAR_AHEAD_BYTES = LIMIT_BYTES
"""Newer frames push what such a sink needs out of memory before it comes to them. With 16 MiB the newest 4 MiB were held as
columns that nobody read: 10 MB in catch-up to an HTTP receiver that answers after 200 ms."""


async def pace(views: Iterable[BufferForDelivery]) -> None:
    """Called by the reader after each turn (B1)."""
    await asyncio.sleep(0)
    now_s = time.monotonic()
    late = [v for v in views if v.ahead_bytes > AHEAD_BYTES and now_s - v.read_at_s < KEEPS_UP_S]
    if not late:
        return
    loop = asyncio.get_running_loop()
    slowest = max(late, key=lambda v: v.ahead_bytes)
    deadline_s = now_s + PACE_S
    while slowest.ahead_bytes > AHEAD_BYTES and (left_s := deadline_s - time.monotonic()) > 0:
        slowest.moved = loop.create_future()
        await asyncio.wait([slowest.moved], timeout=left_s)
    slowest.moved = None
