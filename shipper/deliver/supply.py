"""What one sink is sent next: frames of the buffer, formed into spans, and who waits for more. Driver: reads, one task waits.

    buffer.read ─► Former ─┬─► a full span: at once
                           ├─► part of one: after `linger`, or when somebody waits for the sink to be done
                           └─► nothing: `wake` as soon as there is a frame

Invariants (tests/deliver/test_driver.py):
  SU1  spans follow each other without a gap (form.F1), from where `go_on_from` says
  SU2  at most one task waits for the buffer, and none after `stop_waiting`
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable

from .account import Position
from .form import Former, Span
from .view import BufferView, Clock

READ_BYTES = 256 * 1024


class Supply:
    """Of one sink."""

    def __init__(self, buffer: BufferView, former: Former, clock: Clock, linger_s: float, wake: Callable[[], None]) -> None:
        self._buffer, self._former, self._clock, self._linger_s, self._wake = buffer, former, clock, linger_s, wake
        self._waiting: asyncio.Task[None] | None = None
        self._since_s: float | None = None                # since when what is there waits for more

    async def next(self, *, hurried: bool) -> Span | None:
        """The next span; None where there is nothing to send yet. `hurried`: nothing waits for more. Raises what ended the wait:
        Fatal, where the buffer's writer has stopped."""
        if self._waiting is not None and self._waiting.done():
            self._waiting.result()
            self._waiting = None
        span = self._former.take(force=False)
        while span is None and self._waiting is None:
            frames = await self._buffer.read(self._former.next_seq, max(READ_BYTES, self._former.limit_bytes))
            if not frames:
                self._waiting = asyncio.create_task(self._buffer.wait_beyond(self._former.next_seq))
                self._waiting.add_done_callback(lambda _: self._wake())
                break
            self._former.add(frames)
            span = self._former.take(force=False)
        if span is None:
            span = self._former.take(force=hurried or self._lingered())
        if span is not None:
            self._since_s = None
        return span

    def _lingered(self) -> bool:
        """Whether what is there has waited long enough for more (what is not routed does not wait)."""
        if not self._former.records or not self._linger_s:
            return True
        if self._since_s is None:
            self._since_s = self._clock.now_s()
        return self._clock.now_s() - self._since_s >= self._linger_s

    def due_in_s(self, now_s: float) -> float:
        """When what is there has waited long enough; 0 where nothing waits."""
        return self._since_s + self._linger_s - now_s if self._since_s is not None else 0.0

    def go_on_from(self, position: Position, total_bytes: int) -> None:
        """The next span begins at `position`, which has so many source bytes before it."""
        self._former.reset(position, total_bytes)
        self._since_s = None
        if (waiting := self.stop_waiting()) is not None:
            waiting.cancel()

    def stop_waiting(self) -> asyncio.Task[None] | None:
        """The task that waits for the buffer: the caller ends it."""
        waiting, self._waiting = self._waiting, None
        return waiting
