"""What all worlds of a sink with a real delivery share: a buffer of frames, the delivery as a task, and how far it is."""
from __future__ import annotations

import asyncio

from shipper.deliver.account import Position
from shipper.deliver.driver import Delivery
from tests.deliver.support import FakeBuffer


class DeliveryWorld:
    """The sink's name is `far`."""

    buffer: FakeBuffer
    delivery: Delivery
    _task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self.delivery.run())

    async def stop(self) -> None:
        """What is not awaited is cancelled."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def position(self) -> Position:
        cursor = self.buffer.cursor("far")
        return Position(cursor.seq, cursor.index)

    @property
    def done(self) -> bool:
        return self.position == (self.buffer.next_seq, 0)
