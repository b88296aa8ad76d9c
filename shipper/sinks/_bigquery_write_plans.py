"""Requests become ranges, ranges become durable plans: what the sink does before anything is sent. Driver.

    send ─► Range: a growing spool file (on a thread) ─► full or old ─► cut ─► sealed ─► buffer synced ─► fix ─► manifest ─► Plan

Invariants (tests/sinks/test_bigquery_write.py):
  BW1  a record is in one plan: ranges end where delivery is settled, and what is fixed is not formed again (Plans)
  BW2  at most MAX_PLANS ranges wait: behind them `send` waits, and the buffer keeps the rest
  BW3  from the moment on in which a range has failed until delivery has gone back, nothing is planned
  BW4  a range holds rows of one table and one descriptor
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from ..encode.bigquery_proto import TOO_LARGE, Rows
from ..errors import Rejected, Retryable, ShipperError, TooLarge
from ..model import Request
from . import SinkContext
from ._bigquery_write_chain import Plan
from ._bigquery_write_range import Range
from ._plan_store import PlanStore

MAX_PLANS = 4
RANGE_BYTES = 4 * 1024 * 1024
RANGE_S = 0.5
_T = TypeVar("_T")


class Payload(NamedTuple):
    """Of one batch or request. descriptor: of its rows; bad: what is wrong with which records; then there are no rows."""

    descriptor: bytes
    rows: Sequence[Rows]
    bad: Mapping[int, str]
    records: int

    @property
    def size_bytes(self) -> int:
        return sum(len(piece.data) for piece in self.rows)


def joined(pieces: Sequence[Payload]) -> Payload:
    """Of one request. TooLarge and Rejected where something is wrong with records."""
    bad: dict[int, str] = {}
    count = 0
    for piece in pieces:
        bad |= {count + index: words for index, words in piece.bad.items()}
        count += piece.records
    if bad:
        large = tuple([index for index, words in bad.items() if words.startswith(TOO_LARGE)])
        words = next(iter(bad.values()))
        raise TooLarge(words, indexes=large) if large else Rejected(words, indexes=tuple(bad))
    return Payload(pieces[0].descriptor if pieces else b"", [rows for piece in pieces for rows in piece.rows], {}, count)


class Planner:
    """`table`: where ranges go from now on; planned: called with each plan when it is durable; failed: when something is wrong
    with us."""

    def __init__(
        self, context: SinkContext, now_s: Callable[[], float], planned: Callable[[Plan], None],
    ) -> None:
        self._context, self._now_s, self._planned = context, now_s, planned
        self.store = PlanStore(context.state_dir, context.name)
        self.table = ""
        self.plans: list[Plan] = []
        self._thread: ThreadPoolExecutor | None = None
        self._range: Range | None = None
        self._appending: Future[None] | None = None
        self._cut_number = self._sent_bytes = 0
        self.going_back: ShipperError | None = None
        self.sealing: list[Range] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    def open(self) -> None:
        """The thread."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, f"sink-{self._context.name}")

    @property
    def open_bytes(self) -> int:
        """Spooled and not planned."""
        return sum(one.size_bytes for one in [*self.sealing, *([self._range] if self._range is not None else [])])

    @property
    def waiting(self) -> int:
        """Ranges that are not confirmed."""
        return len(self.sealing) + sum(1 for plan in self.plans if not plan.confirmed)

    def news(self) -> None:
        """Something that somebody may wait for has changed."""
        self._news.set()

    async def until_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def take(self, request: Request, payload: Payload) -> None:
        """All of it in the range's spool file. Retryable where the disk does not take it: then all of the range comes again."""
        if request.number <= self._cut_number:
            return                          # a send that was called off had got there (S2)
        while self.waiting >= MAX_PLANS and self.going_back is None:
            await self.until_news()
        if self.going_back is not None:
            raise Retryable(str(self.going_back))           # BW3; delivery goes back once this has returned
        growing = self._range
        fits = growing is None or (growing.table, growing.descriptor) == (self.table, payload.descriptor)
        if self._is_due() or not fits:
            self.cut()                      # not in the middle of a span: the rest of it goes into the same range
            if self._range is not None and not fits:
                raise self._go_back(Retryable("the table's columns changed within a request"))      # BW4
        if self._range is None:
            self._range = Range(
                self.store, self.store.new_number(), self.table, payload.descriptor, self._now_s(), self._sent_bytes)
        assert self._thread is not None
        try:
            self._appending = self._thread.submit(self._range.append, request.number, payload.rows)
            await asyncio.wrap_future(self._appending)
        except OSError as error:
            raise self._go_back(trouble(error)) from error
        self._sent_bytes = self._context.plans.sent_bytes
        self._tick_soon()

    # ------------------------------------------------------------ ranges

    def _is_due(self) -> bool:
        growing = self._range
        if growing is None or not growing.last_request:
            return False
        held_bytes = self._context.plans.sent_bytes - growing.began_bytes
        return (growing.size_bytes >= RANGE_BYTES or self._now_s() - growing.began_s >= RANGE_S
                or held_bytes >= self._context.buffer_bytes // 4)

    def cut(self) -> None:
        """The open range takes no more, where it can end here (BW1)."""
        growing = self._range
        if growing is None or growing.broken or self.going_back is not None:
            return
        if (self._appending is not None and not self._appending.done()) or not growing.last_request:
            return
        if not self._context.plans.settled(growing.last_request):
            return
        self._range, self._cut_number = None, growing.last_request
        self.sealing.append(growing)
        self.spawn(self._make(growing))

    def _tick_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0.02 if self._is_due() else RANGE_S / 4, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._is_due():
            self.cut()
        if self._range is not None:
            self._tick_soon()

    def _go_back(self, error: ShipperError) -> ShipperError:
        """What is no plan yet has to come again; `rewound` follows."""
        self.going_back = error
        self.news()
        self._context.resend(error)
        return error

    async def _make(self, growing: Range) -> None:
        """From a range to a durable manifest, one after the other."""
        desk = self._context.plans
        async with self._lock:
            try:
                if growing.void or self.going_back is not None:
                    return                              # BW3
                await self.run(growing.seal)
                await desk.synced(growing.last_request)
                if growing.void or self.going_back is not None:
                    return
                receipt = desk.fix(growing.last_request)
            except ShipperError as error:
                if not growing.void:
                    self._go_back(error)
                return
            self.sealing.remove(growing)
            plan = Plan(growing.number, self._manifest(growing, receipt), growing.last_request, written=False)
            self.plans.append(plan)
            await desk.persist(lambda: self.run(self.store.write, plan.number, plan.manifest))
            plan.written = True
        self._planned(plan)

    def _manifest(self, growing: Range, receipt: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": 1, "buffer": self._context.plans.buffer_id, "receipt": receipt, "table": growing.table,
            "descriptor": growing.descriptor.hex(), "size": growing.size_bytes, "crc32": growing.crc32,
            "blocks": [block.to_json() for block in growing.blocks],
        }

    def resumed(self) -> None:
        """What is in flight is known."""
        self._sent_bytes = self._context.plans.sent_bytes

    def rewound(self) -> None:
        """What is no plan yet comes again."""
        gone = [*self.sealing, *([self._range] if self._range is not None else [])]
        self.sealing, self._range, self.going_back = [], None, None
        self._sent_bytes = self._context.plans.sent_bytes if self._context.plans is not None else 0
        for one in gone:
            one.void = True
            self.submit(one.discard)
        self.news()

    async def close(self) -> None:
        """Plans stay on disk and are finished by the next start; what is none yet comes again then."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.rewound()
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.get_running_loop().run_in_executor(None, thread.shutdown)

    # ------------------------------------------------------------ tasks and the thread

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

    async def run(self, job: Callable[..., _T], *args: Any) -> _T:
        """On the sink's thread, behind all jobs before it. OSError comes back as Retryable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job, *args)
        except OSError as error:
            raise trouble(error) from error

    def submit(self, job: Callable[..., object], *args: Any) -> None:
        """For those who cannot wait. What stays behind is scratch, which the next start removes."""
        if self._thread is not None:
            self._thread.submit(job, *args)


def trouble(error: OSError) -> Retryable:
    return Retryable(f"the spool cannot be written: {error}; make room or mend the state directory")
