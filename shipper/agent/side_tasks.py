"""What runs beside the pipeline: steps that are taken again and again, and tasks that wait for something. Driver.

Invariants (tests/agent/test_side_tasks.py):
  SD1  a step that fails is said and counted, and taken again when its time has come: it ends neither the others nor the agent
  SD2  a task that fails is said and counted, at once: nobody waits for one
  SD3  when `close` returns none is left
Plane: each is taken every second at most.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..telemetry import Telemetry
from .logging import describe


class SideTasks:
    """Those of one run of the agent. All of it in one loop."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, name: str, step: Callable[[], None]) -> None:
        """Take `step` now and each `seconds` (SD1)."""
        self.go_on(name, lambda: self._again(seconds, name, step))

    def go_on(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work`, which does not end by itself (SD2)."""
        self._tasks.append(asyncio.create_task(self._watched(name, work), name=name))

    async def close(self) -> None:
        """SD3."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _again(self, seconds: float, name: str, step: Callable[[], None]) -> None:
        while True:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - SD1
                self._failed(name, error)
            await asyncio.sleep(seconds)

    async def _watched(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - SD2
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self._telemetry.count("shipper_errors_total", 1, name)
        self._telemetry.say("error", "unexpected_error", about=name, **describe(error))
