"""Who waits for a sink to be done: `--once` and the drain at shutdown.

Invariants (tests/deliver/test_driver.py):
  G1  a goal is met only when everything up to its frame is confirmed *and* the sink was flushed since
  G2  a goal always ends: met, out of time, or failed with what is still held
Driver: futures and one timer; nothing per request but one look at an empty list.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import Retryable
from .account import Position
from .view import Clock


@dataclass(slots=True)
class Goals:
    """`held`: what stays in the buffer, in words, for the error."""

    clock: Clock
    held: Callable[[], str]
    _open: list[tuple[Position, asyncio.Future[None]]] = field(default_factory=list)
    _flushed_to: Position = field(default=Position(-1, 0))

    def __bool__(self) -> bool:
        return bool(self._open)

    async def reach(self, position: Position, timeout_s: float | None) -> None:
        """Return when `position` is confirmed and flushed. Retryable otherwise (G2)."""
        goal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (position, goal)
        self._open.append(entry)

        def out_of_time() -> None:
            if not goal.done():
                goal.set_exception(Retryable(f"not done in {timeout_s:.3g} s; {self.held()}"))

        timer = None if timeout_s is None else self.clock.call_later(timeout_s, out_of_time)
        try:
            await goal
        finally:
            self._open.remove(entry)
            if timer is not None:
                timer.cancel()

    def needs_flush(self, sent_to: Position) -> bool:
        """All that is asked for has been sent, and what was sent was not flushed yet."""
        return bool(self._open) and sent_to >= max(position for position, _ in self._open) and self._flushed_to < sent_to

    def flushed(self, position: Position) -> None:
        self._flushed_to = position

    def look(self, confirmed: Position) -> None:
        """Answer the goals that are met (G1)."""
        for position, goal in self._open:
            if position <= confirmed and position <= self._flushed_to and not goal.done():
                goal.set_result(None)

    def fail(self, why: str) -> None:
        """Answer all others."""
        for _, goal in self._open:
            if not goal.done():
                goal.set_exception(Retryable(f"{why}; {self.held()}"))
