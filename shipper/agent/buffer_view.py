"""The buffer as the deliver stage asks for it (deliver.view.BufferView). The seam, no decisions. Plane: per request."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..buffer.cursors import CursorPosition
from ..buffer.driver import Buffer
from ..model import Frame


class BufferForDelivery:
    """`full` here means: for want of room, which giving up records mends; a failing disk it does not."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

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
        return await self._buffer.read(seq, max_bytes)

    async def wait_beyond(self, seq: int) -> None:
        await self._buffer.wait_beyond(seq)

    def advance(self, name: str, seq: int, index: int, state: Any, counters: Any) -> None:
        self._buffer.advance(name, seq, index, state, counters)

    def on_durable(self, name: str, callback: Callable[[int, int], None]) -> None:
        self._buffer.on_durable(name, callback)
