"""A sink before its first request: `start` is tried until it has succeeded. Driver: once per delivery.

Invariants (tests/deliver/test_driver.py, test_faults.py):
  SR1  nothing is sent before `start` returned; it is given the state that stands with the cursor
  SR2  a start that is refused is a Fatal: retried as slowly as whatever a human has to mend, and shown as failed meanwhile
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Fatal, Rejected, TooLarge
from .progress import Progress
from .retry import Persistence
from .tasks import Tasks
from .trouble import Troubles
from .view import SinkView


@dataclass(slots=True)
class Starting:
    """Of one sink. `done`: it has succeeded; `under_way`: it is being tried."""

    sink: SinkView
    progress: Progress
    patient: Persistence
    trouble: Troubles
    tasks: Tasks
    stopping: Callable[[], bool]
    done: bool = False
    under_way: bool = False

    def launch(self) -> None:
        self.under_way = True
        self.tasks.spawn(self._persist()).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.under_way = False
        self.done = not task.cancelled() and task.exception() is None

    async def _persist(self) -> None:
        await self.patient.persist(
            self._start, self.stopping, lambda error, pause_s: self.trouble.note("start", error, pause_s=pause_s))
        self.trouble.clear("start")

    async def _start(self) -> None:
        try:
            await self.sink.start(self.progress.state)
        except (Rejected, TooLarge) as error:
            raise Fatal(str(error)) from error
