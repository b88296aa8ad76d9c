"""Requests become ranges, ranges become durable plans: what a sink that promises exactly once does before it sends. Driver.

    take ─► a Growing: spool files (on a thread) ─► due ─► cut ─► sealed ─► buffer synced ─► fix ─► manifest ─► a plan
                                                                                        anything fails ─► all of it comes again

What a range is, when it is due and what a manifest says is the sink's (Kind): gcs.py, _bigquery_write_plans.py.

Invariants (tests/sinks/test_planner.py; with real sinks test_gcs.py, test_gcs_troubles.py, test_bigquery_write.py):
  PN1  a record is in one plan: ranges end where delivery is settled, and what is fixed is not formed again (Plans)
  PN2  at most MAX_PLANS ranges wait: behind them `take` waits, and the buffer keeps the rest
  PN3  from the moment on in which a range has failed until delivery has gone back, nothing is planned: the next plan would cover
       that range without its records
  PN4  a range that is due and cannot end yet takes what comes: what keeps it from ending may be the rest of a span
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from ..errors import Retryable, ShipperError
from ..model import Request
from . import SinkContext
from ._plan_store import PlanStore

MAX_PLANS = 4
DURABLE_S = 1.0
_T = TypeVar("_T")


class Growing(Protocol):
    """A range. number: of its plan; began_bytes: Plans.sent_bytes before it; last_request: 0 while it is empty; broken: a write
    to it failed; void: it was given up. The methods are called on the sink's thread."""

    number: int
    began_s: float
    began_bytes: int
    last_request: int
    broken: bool
    void: bool

    def append(self, request: int, data: Any, /) -> None:
        """Once, however often it is called with this number. OSError where the disk does not take it."""

    def seal(self) -> None:
        """On disk, and final."""

    def discard(self) -> None:
        """It was made in vain."""


class Planned(Protocol):
    """A plan. written: its manifest is durable."""

    number: int
    manifest: dict[str, Any]
    written: bool


R = TypeVar("R", bound=Growing)
P = TypeVar("P", bound=Planned)


class Kind(Protocol[R, P]):
    """What the ranges of a sink are. tick_s: how often the open one is looked at."""

    @property
    def tick_s(self) -> float: ...

    def begin(self, number: int, began_s: float, began_bytes: int, data: Any) -> R: ...

    def is_due(self, growing: R, data: Any) -> bool:
        """Whether it should end, or end before `data` (None: whatever comes)."""

    def fits(self, growing: R, data: Any) -> bool:
        """False: `data` must not be in it."""

    def plan(self, growing: R, receipt: dict[str, Any]) -> P:
        """Made, and among those that wait; not written yet."""

    def planned(self, plan: P) -> None:
        """It is durable."""

    @property
    def holding(self) -> int:
        """How many plans the cursor waits for."""


class Planner(Generic[R, P]):
    """Of one sink. open: the range that grows; going_back: why nothing is planned (PN3)."""

    def __init__(self, context: SinkContext, kind: Kind[R, P], now_s: Callable[[], float]) -> None:
        self._context, self._kind, self._now_s = context, kind, now_s
        self.store = PlanStore(context.state_dir, context.name)
        self.thread = SpoolThread(context.name)
        self.open: R | None = None
        self.sealing: list[R] = []
        self.going_back: ShipperError | None = None
        self._appending: Future[Any] | None = None
        self._cut_number = self._sent_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Ranges that are not confirmed."""
        return len(self.sealing) + self._kind.holding

    @property
    def unplanned(self) -> list[R]:
        """Spooled, and no plan yet."""
        return [*self.sealing, *([self.open] if self.open is not None else [])]

    def news(self) -> None:
        """Something that somebody may wait for has changed."""
        self._news.set()

    async def until_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def take(self, request: Request, data: Any) -> None:
        """All of it in the range's spool files. Retryable where the disk does not take it: then all of the range comes again."""
        if request.number <= self._cut_number:
            return                          # a send that was called off had got there (S2)
        while self.waiting >= MAX_PLANS and self.going_back is None:
            await self.until_news()
        if self.going_back is not None:
            raise Retryable(str(self.going_back))           # PN3; delivery goes back once this has returned
        growing = self._range_for(data)
        try:
            self._appending = self.thread.submit(growing.append, request.number, data)
            assert self._appending is not None              # started
            await asyncio.wrap_future(self._appending)
        except OSError as error:
            raise self._go_back(spool_trouble(error)) from error
        self._sent_bytes = self._context.plans.sent_bytes
        self._tick_soon()

    async def flush(self, deadline_s: float, left: Callable[[], str], removing: Callable[[], bool]) -> None:
        """The open range becomes a plan, and all plans are carried out. left: what is not, for the words of Retryable."""
        self.cut()
        try:
            async with asyncio.timeout(deadline_s):
                while self.waiting:
                    if self.going_back is not None:
                        raise Retryable(str(self.going_back))      # delivery goes back once this has returned
                    await self.until_news()
        except TimeoutError:
            raise Retryable(f"{left()} after {deadline_s:g} s; they stay planned") from None
        with suppress(TimeoutError):                # else the next start would find them, and send them in vain
            async with asyncio.timeout(DURABLE_S):
                while removing():
                    await self.until_news()

    # ------------------------------------------------------------ ranges

    def _range_for(self, data: Any) -> R:
        """PN4."""
        if self._is_due(data):
            self.cut()
        if self.open is not None and not self._kind.fits(self.open, data):
            raise self._go_back(Retryable("the table's columns changed within a request"))
        if self.open is None:
            self.open = self._kind.begin(self.store.new_number(), self._now_s(), self._sent_bytes, data)
        return self.open

    def _is_due(self, data: Any) -> bool:
        growing = self.open
        if growing is None or not growing.last_request:
            return False
        held_bytes = self._context.plans.sent_bytes - growing.began_bytes
        return held_bytes >= self._context.buffer_bytes // 4 or self._kind.is_due(growing, data)

    def cut(self) -> None:
        """The open range takes no more, where it can end here (PN1)."""
        growing = self.open
        if growing is None or growing.broken or self.going_back is not None:
            return                                      # PN3
        if self._appending is not None and not self._appending.done():
            return
        if not growing.last_request or not self._context.plans.settled(growing.last_request):
            return
        self.open, self._cut_number = None, growing.last_request
        self.sealing.append(growing)
        self.spawn(self._make(growing))

    def _tick_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0.02 if self._is_due(None) else self._kind.tick_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._is_due(None):
            self.cut()
        if self.open is not None:
            self._tick_soon()

    def _go_back(self, error: ShipperError) -> ShipperError:
        """What is no plan yet has to come again; `rewound` follows."""
        self.going_back = error
        self.news()
        self._context.resend(error)
        return error

    async def _make(self, growing: R) -> None:
        """From a range to a durable manifest, one after the other."""
        desk = self._context.plans
        async with self._lock:
            try:
                if growing.void or self.going_back is not None:
                    return                              # PN3
                await self.thread.run(growing.seal)
                await desk.synced(growing.last_request)
                if growing.void or self.going_back is not None:
                    return
                receipt = desk.fix(growing.last_request)
            except ShipperError as error:
                if not growing.void:
                    self._go_back(error)
                return
            self.sealing.remove(growing)
            plan = self._kind.plan(growing, receipt)
            await desk.persist(lambda: self.thread.run(self.store.write, plan.number, plan.manifest))
            plan.written = True
        self._kind.planned(plan)

    def resumed(self) -> None:
        """What is in flight is known."""
        self._sent_bytes = self._context.plans.sent_bytes

    def rewound(self) -> None:
        """What is no plan yet comes again."""
        gone = self.unplanned
        self.sealing, self.open, self.going_back = [], None, None
        self._sent_bytes = self._context.plans.sent_bytes if self._context.plans is not None else 0
        for one in gone:
            one.void = True
            self.thread.submit(one.discard)
        self.news()

    async def close(self) -> None:
        """Plans stay on disk and are finished by the next start; what is none yet comes again then."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.rewound()
        await self.thread.stop()

    # ------------------------------------------------------------ tasks

    def spawn(self, work: Any) -> None:
        """A task of the sink; a bug of ours in it makes delivery go back."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.news()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ShipperError):
            self._context.telemetry.say("error", "sink_task_failed", about=self._context.name, why=type(error).__name__)
            self._context.resend(Retryable(f"a bug of ours: {type(error).__name__}"))


class SpoolThread:
    """What a sink does on its files, one job behind the other."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self.executor: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Again and again, if need be."""
        if self.executor is None:
            self.executor = ThreadPoolExecutor(1, f"sink-{self._sink}")

    async def run(self, job: Callable[..., _T], *args: Any) -> _T:
        """On the thread, behind all jobs before it. OSError comes back as Retryable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.executor, job, *args)
        except OSError as error:
            raise spool_trouble(error) from error

    def submit(self, job: Callable[..., Any], *args: Any) -> Future[Any] | None:
        """For those who cannot wait; None where it was stopped. What stays behind is scratch, which the next start removes."""
        return self.executor.submit(job, *args) if self.executor is not None else None

    async def stop(self) -> None:
        if self.executor is not None:
            thread, self.executor = self.executor, None
            await asyncio.get_running_loop().run_in_executor(None, thread.shutdown)


def spool_trouble(error: OSError) -> Retryable:
    return Retryable(f"the spool cannot be written: {error}; make room or mend the state directory")
