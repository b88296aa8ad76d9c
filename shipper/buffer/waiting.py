"""Who waits for the buffer: woken after each step of the writer thread, told when that has died. Driver: futures of the loop.

Invariants (tests/buffer/test_driver.py):
  WT1  what somebody waits for is looked at after each change; nobody waits for a writer that is gone
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import Fatal


class Waiting:
    """Of one buffer. All of it in the loop that made it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiters: set[asyncio.Future[None]] = set()
        self._died: BaseException | None = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds. Fatal where the writer has stopped."""
        while not condition():
            self.check()
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def wake(self) -> None:
        """Something changed."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def die(self, error: BaseException) -> None:
        """The writer stopped unexpectedly: whoever waits hears it, now and from now on."""
        self._died = error
        self.wake()

    def check(self) -> None:
        """Fatal where the writer has stopped."""
        if self._died is not None:
            raise Fatal(f"the buffer's writer stopped: {self._died!r}") from self._died
