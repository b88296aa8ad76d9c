"""The writer thread: takes jobs, lets the Engine do one step, reports it to the loop with one hop. Driver.

Invariants (tests/buffer/test_driver.py):
  W1  one hop to the loop per step, however many frames it wrote (a hop costs 40 to 60 us)
  W2  with nothing to do it sleeps without a time-out: an idle buffer costs nothing
  W3  it never ends in silence: what escapes the Engine is handed to `died`
  W4  its silence is measured only while it has work; being degraded excuses the disk, not the thread
"""
from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable

from .engine import Engine
from .jobs import Job, Outcome
from .positions import Delta

_NUDGE = Job(Delta())


class WriterThread:
    """Owns the Engine from `start` on. All methods are called in the loop."""

    def __init__(
        self, engine: Engine, loop: asyncio.AbstractEventLoop, apply: Callable[[Outcome], None],
        died: Callable[[BaseException], None], awaited: Callable[[], bool],
    ) -> None:
        self._engine, self._loop, self._apply, self._died, self._awaited = engine, loop, apply, died, awaited
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="shipper-buffer", daemon=True)
        self._nudged = self._stopping = False
        self._beat_s = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def put(self, job: Job) -> None:
        """To be done, in this order."""
        self._begin_work()
        self._jobs.put(job)

    def nudge(self) -> None:
        """Cursors have moved: wake up for the next commit. Once per step, however often it is called."""
        if not self._nudged and not self._stopping:
            self._nudged = True
            self._begin_work()
            self._jobs.put(_NUDGE)

    async def stop(self) -> None:
        """Returns when everything is written and synced and the thread has ended."""
        self._stopping = True
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        await asyncio.sleep(0)  # its last outcome is already scheduled: let it run

    def silent_s(self) -> float:
        """How long it has been silent with work to do (W4)."""
        return time.monotonic() - self._beat_s if self._has_work() else 0.0

    def _has_work(self) -> bool:
        return self._awaited() or not self._jobs.empty()

    def _begin_work(self) -> None:
        if not self._has_work():
            self._beat_s = time.monotonic()  # it slept because it had nothing to do: its silence counts from here

    # ------------------------------------------------------------ on the thread

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._loop.call_soon_threadsafe(self._apply, self._engine.close(time.monotonic()))
        except BaseException as error:  # noqa: BLE001 everything that waits must hear it (W3)
            self._loop.call_soon_threadsafe(self._died, error)

    def _step(self) -> bool:
        """Take what waits, do it, report it (W1). False: stopping."""
        jobs: list[Job] = []
        going = self._take(jobs)
        self._nudged = False
        outcome = self._engine.step(jobs, time.monotonic())
        self._beat_s = time.monotonic()
        self._loop.call_soon_threadsafe(self._apply, outcome)
        return going

    def _take(self, jobs: list[Job]) -> bool:
        try:
            job = self._jobs.get(timeout=self._engine.wait_s(time.monotonic()))
            while job is not None:
                if job is not _NUDGE:
                    jobs.append(job)
                job = self._jobs.get_nowait()
            return False
        except queue.Empty:
            return True
