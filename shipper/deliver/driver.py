"""One sink's loop: from its cursor in the buffer to the far side, and the cursor over what is confirmed. Driver.

    buffer.read ─► Former ─► span ─► task: Courier.carry ─► Window ─► Progress ─► buffer.advance ─► durable
                     ▲                   │ refused                │
                     └──── go back ◄─────┴──── resend, refusing ◄─┘

Invariants (tests/deliver/test_driver.py, test_faults.py):
  X1  the cursor passes a record only when it is confirmed, in the dead letters (fsynced), not routed, or dropped and counted
  X2  at concurrency 1 requests go out in order, one at a time; "later" sinks always have concurrency 1
  X3  a repeat has the same bytes; no unconfirmed payload is kept: what has to go again is read again
  X4  nothing is dropped while it is being sent
  X5  cancelled or drained, nothing is left running, and what is unconfirmed stays in the buffer
  X6  when everything is refused, nothing is dead-lettered: the cursor goes back, and single records are tried each 30 s
Cost: per request about 0.1 ms, per frame the forming (form.py); nothing per record.
"""
from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from ..config.types import SinkCommon
from ..errors import Retryable, ShipperError
from ..model import Batch
from ..telemetry import Telemetry
from .account import Position
from .backlog import Drop, Limits
from .burial import Burial
from .courier import Courier
from .dead_letters import DeadLetters
from .form import Former, Span
from .giveaway import Overflow
from .goals import Goals
from .plans import PlanDesk
from .progress import Progress
from .refusing import Refusing
from .replaying import Replaying
from .resending import Resending
from .retry import Naps, Persistence, describe
from .route import Route
from .settling import Settling
from .split import Candidate, Refusals
from .starting import Starting
from .supply import Supply
from .tasks import Tasks
from .trouble import SinkState, Troubles
from .view import BufferView, Clock, ContextView, SinkView, SpecView, SystemClock
from .window import Entry

REFUSING_PAUSE_S = 30.0
LOOK_S = 1.0
FLUSH_S = 30.0


class Delivery:
    """Delivers to one sink: `run` in a task, until `drain` or cancelled. `sink` was built with `context`.

    The cursor `name` must be open in the buffer before `run`. `guarantee`: shown in the status as it is. A sink whose
    `pinned` attribute is true has a plan in the making: nothing is dropped meanwhile.
    """

    def __init__(
        self, name: str, common: SinkCommon, spec: SpecView, sink: SinkView, buffer: BufferView, context: ContextView,
        telemetry: Telemetry, clock: Clock | None = None, *, guarantee: Any = None, dead_letters: DeadLetters | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name, self._sink, self._buffer, self._telemetry, self._guarantee = name, sink, buffer, telemetry, guarantee
        self._clock: Clock = clock or SystemClock()
        self._later = spec.confirms == "later"
        self._concurrency = 1 if self._later else max(1, spec.concurrency or common.concurrency)
        self._routed = Route(common.when)
        self._former = Former(
            self._routed, common.max_request_bytes or spec.request_bytes, common.max_request_records or spec.request_records
        )
        self._progress = Progress(name, buffer, sink, telemetry)
        self._window = self._progress.window
        self._refusals = Refusals()
        self._trouble = Troubles(name, telemetry, self._clock)
        self._naps = Naps(self._clock)
        self._goals = Goals(self._clock, self._held_back)
        self._letters = dead_letters or DeadLetters(f"{context.state_dir}/dead-letters/{name}", name, telemetry)
        self._patient = Persistence(self._clock, self._naps, uniform=uniform)
        self._overflow = Overflow(
            Limits(common.when_full == "drop_oldest", common.max_backlog, common.max_backlog_age),
            sink, buffer, self._routed, self._progress, self._former, self._trouble, self._clock, telemetry)
        self._refusing = Refusing(
            name, sink, buffer, self._window, self._routed, self._refusals, self._trouble, self._goals)
        self._courier = Courier(
            name, sink, buffer, self._routed, self._window, self._refusals,
            Persistence(self._clock, self._naps, common.give_up_after, uniform=uniform), telemetry, self._is_called_off,
            self._refusing.accepted, self._trouble, self._former,
        )
        self._settling = Settling(
            self._window, self._refusals, self._letters, self._patient, self._trouble, self._clock, self._later,
            self._is_called_off, self._advance)
        self._replaying = Replaying(self._progress, self._courier, self._later, self._advance)
        self._replays = self._replaying.replays
        context.confirmed, context.resend = self._confirmed, self._resend_from_cursor
        self._wake, self._finished = asyncio.Event(), asyncio.Event()
        self._supply = Supply(buffer, self._former, self._clock, float(common.linger), self._wake.set)
        self._main: asyncio.Task[Any] | None = None
        self._tasks = Tasks(name, telemetry, self._wake.set, lambda error: self._resend_from_cursor(Retryable(describe(error))))
        self._stopping = self._draining = False
        self._starting = Starting(sink, self._progress, self._patient, self._trouble, self._tasks, lambda: self._stopping)
        self._resending = Resending(self._patient.backoff, uniform)
        self._not_before_s = 0.0
        context.plans = PlanDesk(
            self._progress, buffer, self._patient, self._trouble, lambda: self._stopping, self._read_from_end,
            Burial(name, buffer, self._letters, self._replays, self._clock, telemetry))

    # ------------------------------------------------------------ life

    async def run(self) -> None:
        """Deliver until drained or cancelled (X5). Raises nothing but CancelledError, and what is a bug of ours."""
        self._main = asyncio.current_task()
        try:
            self._progress.open()
            self._read_from_end()
            self._buffer.encode_early(self._courier.key, self._early)
            while not self._stopping:
                await self._turn_or_wait()
        finally:
            await self._close()

    def _early(self, batch: Batch) -> Any:
        well = self._starting.done and self._resending.asked is None and not self._refusing.active
        return self._courier.early(batch) if well and self._trouble.state is SinkState.OK else None

    async def _close(self) -> None:
        self._buffer.encode_early(self._courier.key, None)
        self._stopping = self._trouble.stopping = True
        await self._end_tasks()
        try:
            await self._sink.close()
        except (ShipperError, OSError) as error:
            self._telemetry.say("warning", "sink_not_closed", about=self.name, why=describe(error))
        finally:
            self._trouble.stopped = True
            self._goals.fail(f"sink {self.name} was stopped")
            self._replays.fail(Retryable(f"sink {self.name} was stopped"))
            self._finished.set()

    async def drain(self, deadline_s: float, *, while_well: bool = False) -> dict[str, Any]:
        """Shutdown: back-offs end, what is in the buffer is tried for `deadline_s` seconds and flushed; then `run` returns.

        while_well  a sink that is in trouble, or gets into it, is stopped at once: somebody else goes on from its cursor
        Returns what stays: {"records", "source_bytes", "records_exact"}; `records` is an estimate where not all was read.
        """
        if self._main is not None and not self._finished.is_set():
            if while_well:
                self._trouble.on_note = lambda: self._goals.fail(f"sink {self.name} is in trouble")
            if not while_well or self._trouble.state is SinkState.OK:
                await self._drain(deadline_s)
            self._stopping = self._trouble.stopping = True
            self._wake_all()
            timer = self._clock.call_later(2.0, self._main.cancel)
            await self._finished.wait()
            timer.cancel()
        return self._progress.remaining()

    async def _drain(self, deadline_s: float) -> None:
        self._draining = self._refusing.draining = self._naps.hurry = True
        self._not_before_s = 0.0
        try:
            await self.caught_up(self._buffer.appended_seq, deadline_s)
        except Retryable as error:
            self._telemetry.say("warning", "sink_not_drained", about=self.name, why=describe(error))

    async def caught_up(self, seq: int, timeout_s: float | None = None) -> None:
        """Return once everything up to frame `seq` is confirmed and flushed. Retryable, naming what is held, after
        `timeout_s` seconds, when the sink stops, or when it refuses everything while draining."""
        if self._finished.is_set():
            raise Retryable(f"sink {self.name} was stopped; {self._held_back()}")
        self._wake_all()
        await self._goals.reach(Position(seq + 1, 0), timeout_s)

    async def replay(self, letters: Sequence[tuple[Batch, str]]) -> list[Candidate]:
        """Send dead letters (one record each, and the reason they died of) to the sink, beside the stream.

        Returns, once the sink has the others as it has any record, those that it refused again: they are still in the
        store, and so are the others: whoever asked removes them. Retryable where the sink stops before. May be called off;
        what was launched goes on.
        """
        if self._finished.is_set():
            raise Retryable(f"sink {self.name} was stopped")
        replay = self._replays.add(letters)
        self._wake.set()
        return await asyncio.shield(replay.done)

    @property
    def letters(self) -> DeadLetters:
        """Its dead letters."""
        return self._letters

    def _wake_all(self) -> None:
        self._naps.wake_all()
        self._wake.set()

    # ------------------------------------------------------------ the loop

    async def _turn_or_wait(self) -> None:
        """A buffer that cannot be read is trouble like any other: said, and tried again."""
        try:
            await self._turn()
        except OSError as error:
            self._trouble.note("buffer", error)
            self._naps.park(False)
            await self._naps.nap(LOOK_S)
        else:
            self._trouble.clear("buffer")

    async def _turn(self) -> None:
        """One decision. Whatever it waits for ends with `_wake`."""
        self._wake.clear()
        busy = bool(self._tasks)
        drop = self._overflow.due()
        self._naps.park(drop is not None)        # X4: nothing that pauses goes on before what is due has gone
        if drop is not None:
            await (self._pause() if len(self._naps) < len(self._tasks) else self._give_away(drop))
        elif not self._starting.done:
            if self._starting.under_way:
                await self._pause()
            else:
                self._starting.launch()
        elif self._resending.due or self._refusals.over:
            await (self._pause() if busy else self._go_back())
        elif self._clock.now_s() < self._not_before_s:
            await self._pause()
        elif self._refusing.active and not self._later:
            await self._probe()
        elif self._replays.waiting and len(self._tasks) < self._concurrency:
            self._tasks.spawn(self._replaying.launch())
        elif len(self._tasks) < self._concurrency and await self._launch_next():
            await asyncio.sleep(0)
        elif not busy and self._settling and self._held_long_enough():
            await self._decide_held()
        elif not busy and self._goals.needs_flush(self._window.end):
            await self._flush()
        else:
            await self._pause()

    async def _pause(self) -> None:
        """Until something happens, or something is due."""
        self._goals.look(self._window.position)
        if self._stopping or self._wake.is_set():
            return
        now_s = self._clock.now_s()
        delays_s = [delay_s for delay_s in (
            self._not_before_s - now_s,
            self._supply.due_in_s(now_s),
            self._settling.since_s + REFUSING_PAUSE_S - now_s if self._settling else 0.0,
            LOOK_S if self._overflow.limits.any else 0.0,
        ) if delay_s > 0]
        timer = self._clock.call_later(min(delays_s), self._wake.set) if delays_s else None
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _launch_next(self) -> bool:
        """Form the next request and start it; False where there is nothing to send yet."""
        span = await self._supply.next(hurried=bool(self._goals))
        if span is None:
            return False
        if span.records:
            self._tasks.spawn(self._carry(self._window.launch(span.end, span.tally, span.read_ns), span))
        else:
            self._window.skip(span.end, span.tally, span.read_ns)
            self._advance()
        return True

    async def _end_tasks(self) -> None:
        await self._tasks.end(self._supply.stop_waiting())

    # ------------------------------------------------------------ one request

    async def _carry(self, entry: Entry, span: Span) -> None:
        outcome = await self._courier.carry(entry, span)
        if outcome.refused:
            self._resending.short = True
            self._window.hold(entry)
        else:
            await self._settling.decided(entry, outcome, span.start)
        if outcome.accepted and self._settling:
            await self._settling.proven()

    def _is_called_off(self) -> bool:
        return self._stopping or self._resending.asked is not None

    def _confirmed(self, number: int, state: Any = None) -> None:
        """SinkContext.confirmed."""
        if self._progress.confirm(number, state):
            self._moved()

    def _advance(self) -> None:
        if self._progress.advance():
            self._moved()

    def _moved(self) -> None:
        self._resending.confirmed()
        self._replaying.finish()
        self._trouble.clear("resend")
        if self._goals:
            self._wake.set()

    # ------------------------------------------------------------ going back

    def _resend_from_cursor(self, why: Exception) -> None:
        """SinkContext.resend."""
        self._resending.asked = why
        self._trouble.note("resend", why)
        self._wake_all()

    async def _go_back(self) -> None:
        """Everything unconfirmed is to be sent again, from the cursor; called with nothing being sent."""
        if self._refusals.over:
            self._start_refusing()
        elif self._resending.asked is not None and not self._window.revocable and not self._replays.under_way:
            self._trouble.clear("resend")
        elif self._resending.asked is not None and (delay_s := self._resending.delay_s()):
            self._not_before_s = self._clock.now_s() + (min(delay_s, LOOK_S) if self._draining else delay_s)
        self._rewind()

    def _rewind(self) -> None:
        self._progress.rewind()
        self._replays.rewind()
        self._settling.clear()
        self._resending.went()
        self._read_from_end()

    def _read_from_end(self) -> None:
        """Read on behind what is in flight (with nothing in flight: from the cursor)."""
        self._supply.go_on_from(self._window.end, self._progress.sent_total_bytes)

    # ------------------------------------------------------------ refusing (X6)

    def _start_refusing(self) -> None:
        self._refusing.start(self._courier.last_refusal)
        self._not_before_s = self._clock.now_s() + REFUSING_PAUSE_S

    async def _probe(self) -> None:
        await self._refusing.ask()
        if self._refusing.active:
            self._not_before_s = self._clock.now_s() + REFUSING_PAUSE_S

    def _held_long_enough(self) -> bool:
        return bool(self._goals) or self._clock.now_s() >= self._settling.since_s + REFUSING_PAUSE_S

    async def _decide_held(self) -> None:
        if not await self._settling.decide():
            self._start_refusing()
            self._rewind()

    # ------------------------------------------------------------ dropping

    async def _give_away(self, drop: Drop) -> None:
        """From the cursor on where the sink is in trouble, else behind what is in flight (X4). What is planned is safe in its
        plan: the cursor passes it, else a dead sink's plan would hold the buffer full."""
        if self._trouble.state is not SinkState.OK:
            await self._end_tasks()
            self._rewind()
            if self._overflow.pinned:                   # it was fixed while the tasks ended
                return
            self._window.set_aside()
            self._advance()
        await self._overflow.give_away(drop)
        self._read_from_end()

    # ------------------------------------------------------------ flush and status

    async def _flush(self) -> None:
        end = self._window.end
        try:
            await self._sink.flush(FLUSH_S)
            if len(self._window) and self._resending.asked is None:
                raise Retryable("flushed, but not all that was sent is confirmed")
        except (ShipperError, OSError) as error:
            self._trouble.note("flush", error)
            await self._naps.nap(0.5)
            return
        self._trouble.clear("flush")
        if self._resending.asked is None:
            self._goals.flushed(end)
            self._goals.look(end)

    def _held_back(self) -> str:
        return f"held in the buffer: {self._progress.backlog_bytes} source bytes (state {self._trouble.state.value})"

    def status(self) -> dict[str, Any]:
        """For /status and audit: names, numbers and reasons, no record content."""
        progress = self._progress
        oldest_ns = self._window.oldest_ns or self._former.oldest_ns
        waiting = bool(oldest_ns and progress.backlog_bytes)
        proof = getattr(self._sink, "status", None)
        return {
            "sink": self.name, "state": self._trouble.state.value, "last_error": self._trouble.last_error,
            "last_error_ns": self._trouble.last_error_ns, "next_try_s": self._trouble.next_try_s,
            "backlog_bytes": progress.backlog_bytes,
            "oldest_age_s": max(self._clock.wall_ns() - oldest_ns, 0) / 1e9 if waiting else 0.0,
            "in_flight_requests": len(self._tasks), "unconfirmed_records": self._window.unconfirmed_records,
            "held_records": self._settling.held_records,
            "guarantee": self._guarantee, "proof": proof() if proof is not None else None,
            "counters": progress.counters.to_json(self._window.position),
        }
