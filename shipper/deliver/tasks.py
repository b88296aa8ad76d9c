"""The tasks of one sink: a bug in one of them is said, counted and survived. Driver: once per request.

Invariants (tests/deliver/test_driver.py):
  TK1  no task outlives `end`
  TK2  what a task raises is looked at: Interrupted is no error, all else goes to `failed`
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ..telemetry import Telemetry
from .retry import Interrupted, describe


@dataclass(slots=True)
class Tasks:
    """`ended`: called after each. `failed`: with what one raised that it should not."""

    name: str
    telemetry: Telemetry
    ended: Callable[[], None]
    failed: Callable[[BaseException], None]
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.ended()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Interrupted):
            self.telemetry.count("shipper_errors_total", 1, f"deliver:{self.name}")
            self.telemetry.say("error", "delivery_failed", about=self.name, why=describe(error))
            self.failed(error)

    async def end(self, *others: asyncio.Task[Any] | None) -> None:
        """Cancel all of them, and `others`; returns when they have ended."""
        tasks = [*self._running, *(task for task in others if task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
