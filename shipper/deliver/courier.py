"""Carrying one span to a sink: encode, send, try again, halve. Driver: once per request.

    carry ──► [whole span] ──► send ─ok──────────────► accepted
                  ▲              │ TooLarge, Rejected ──► judge ──► candidates for the dead letters
                  └── halves, rest ◄─────────────────────────┘

Invariants (tests/deliver/test_faults.py, test_refusals.py, test_partial.py):
  C1  a record is sent, or a candidate, or the outcome says `refused` (stopped in the middle: it is the sink that is wrong)
  C2  the bytes of a repeated request are equal: the payload is kept, or formed again from the same frames
  C3  during a pause of more than LONG_PAUSE_S neither payload nor batches are held; they are read from the buffer again.
      (Replayed dead letters are not in the buffer: those are held, and there are few of them.)
  C4  `encode` that fails on a record is that record's fault: it is halved out like a rejected one (P6)
  C5  where a payload can be assembled of what each batch alone gives, batches are encoded as soon as they are there
  C6  while a request waits for its answer, what the buffer has is not held as well: batches that the sink does not look at, and
      bytes of the payload that were sent. What has to go again then is made of the same frames (C2)
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import DropReason, Partial, Rejected, Retryable, SinkError, TooLarge
from ..model import Batch, Request
from ..telemetry import Telemetry
from .account import named_bytes
from .form import Former, Span, between
from .gone import say_gone
from .retry import GaveUp, Persistence, describe
from .route import Predicate, pick_of
from .split import Candidate, Refusal, Refusals, judge
from .trouble import Troubles
from .view import BufferView, SinkView
from .window import Entry, Window

LONG_PAUSE_S = 2.0
READ_AGAIN_BYTES = 1024 * 1024


@dataclass(slots=True)
class Outcome:
    """accepted: some records were taken. refused: stopped, nothing is decided. dead: what the far side refused; certain: what is
    dead whatever it takes else, because it never got it (over a known limit) or was given up."""

    dead: list[Candidate] = field(default_factory=list)
    certain: list[Candidate] = field(default_factory=list)
    accepted: bool = False
    refused: bool = False


@dataclass(slots=True)
class Courier:
    """What the tasks of one sink share. `on_accepted` is called after each request that was taken."""

    name: str
    sink: SinkView
    buffer: BufferView
    routed: Predicate
    window: Window
    refusals: Refusals
    persistence: Persistence
    telemetry: Telemetry
    called_off: Callable[[], bool]
    on_accepted: Callable[[], None]
    trouble: Troubles
    former: Former
    last_refusal: str = ""
    key: object = field(default_factory=object)     # what `batch.encoded` has this sink's bytes under

    def early(self, batch: Batch) -> Any:
        """The batch, encoded while its columns are in the cache; None where that has to wait (C5)."""
        encode_one = getattr(self.sink, "encode_one", None)
        if encode_one is None or len(batch) > self.former.limit_records // 2:
            return None
        if not self.routed(batch.source):
            return b""
        if pick_of(self.routed) is not None:
            return None                                  # its records are chosen when it is taken into a request
        try:
            return encode_one(batch)
        except Exception:  # noqa: BLE001 - C4: it fails again when its turn comes, and is judged then
            return None

    async def carry(self, entry: Entry, span: Span) -> Outcome:
        """C1. Raises Interrupted where it was called off."""
        outcome = Outcome()
        lifted = span.replayed or self.refusals.lifted(span.start)
        parcel = Parcel(self, span, entry.number)
        waiting: list[Parcel] = []
        while True:
            try:
                await self.persistence.persist(parcel.attempt, self.called_off, parcel.pausing)
            except (TooLarge, Rejected, Partial) as error:
                if isinstance(error, TooLarge) and not error.indexes and parcel.span is not None and span.records > 1:
                    self.former.too_large(span.message_bytes)
                if isinstance(error, TooLarge) and parcel.payload is None:
                    waiting += self._over_a_limit(error, await parcel.load(), outcome)
                else:
                    waiting += self._refused(error, await parcel.sent(), parcel.number, entry, outcome, lifted)
            except GaveUp as error:
                outcome.certain += [Candidate(batch, DropReason.GAVE_UP, str(error)) for batch in await parcel.load()]
            else:
                if parcel.records:                       # else its frames are gone: nothing was sent, nothing will be confirmed
                    entry.number = parcel.number
                    self._accepted(outcome)
                if parcel.span is not None:
                    self.former.taken()
            finally:
                self.trouble.clear(parcel)
            if not waiting or (self.refusals.over and not lifted):
                outcome.refused = bool(waiting)
                return outcome
            parcel = waiting.pop()
            parcel.number = self.window.next_number()

    def _accepted(self, outcome: Outcome) -> None:
        outcome.accepted = True
        self.refusals.accepted()
        self.on_accepted()

    def _over_a_limit(self, error: TooLarge, batches: list[Batch], outcome: Outcome) -> list[Parcel]:
        """Known before anything was sent: that says nothing of the far side, and a row of such records nothing either."""
        verdict = judge(error, batches)
        outcome.certain += verdict.dead
        if verdict.dead:
            why = describe(error)
            self.telemetry.say("warning", "request_refused", about=self.name, why=why, dead=len(verdict.dead))
        return [Parcel(self, None, 0, again) for again in reversed(verdict.again)]

    def _refused(
        self, error: Refusal, batches: list[Batch], number: int, entry: Entry, outcome: Outcome, lifted: bool
    ) -> list[Parcel]:
        """By the far side. Parcels to send next, the first one last."""
        verdict = judge(error, batches)
        self.last_refusal = describe(error)
        outcome.dead += verdict.dead
        if not lifted:
            self.refusals.refused(len(verdict.dead))
        if verdict.accepted:
            entry.number = number
            self._accepted(outcome)
        then = "" if verdict.dead else "what it refuses in it is looked for in smaller requests"
        self.telemetry.say("warning", "request_refused", about=self.name, why=self.last_refusal,
                           **({"then": then} if then else {"dead": len(verdict.dead)}))
        return [Parcel(self, None, 0, again, pause=verdict.pause) for again in reversed(verdict.again)]


@dataclass(slots=True)
class Parcel:
    """One request on its way. A whole span can be read again (C3); a part of one is small, and kept.

    pause    what its records were put off for: it counts as a first try that failed
    records  in the payload; 0 before it was made
    """

    courier: Courier
    span: Span | None
    number: int
    batches: list[Batch] | None = None
    payload: Any = None
    pause: Retryable | None = None
    records: int = 0
    _estimate_bytes: int = 0

    def __post_init__(self) -> None:
        if self.span is not None:
            self.batches, self.span.batches = self.span.batches, []
            self._estimate_bytes = self.span.message_bytes

    async def attempt(self) -> None:
        """One try; what it raises is the sink's error class."""
        courier = self.courier
        if self.pause is not None:
            pause, self.pause = self.pause, None
            raise pause
        if self.payload is None or getattr(self.payload, "spent", False):
            await self._make()
        if not self.records:
            return
        request = Request(self.number, self.batches or [], self.records, self._estimate_bytes)
        sent_bytes = _size_bytes(self.payload) or request.message_bytes
        courier.telemetry.count("shipper_sink_sent_bytes_total", sent_bytes, courier.name)
        try:
            await courier.sink.send(request, self.payload)
        except Partial as error:
            if error.dead or len(set(error.retry)) < request.records:
                raise
            raise Retryable(str(error), retry_after_s=error.retry_after_s) from error       # nothing was decided

    @property
    def _in_buffer(self) -> bool:
        """Whether its batches can be read again."""
        return self.span is not None and not self.span.replayed

    async def _make(self) -> None:
        """The payload, and what is let go for it (C6)."""
        self.payload = None
        batches = await self.load()
        self.records = sum(map(len, batches))
        if not self.records:
            return
        self.payload = self._encode(batches)
        if self._in_buffer and not getattr(self.courier.sink, "looks_at_batches", True):
            self.batches = None
            if hasattr(self.payload, "once"):
                self.payload.once = True

    def pausing(self, error: BaseException, delay_s: float) -> None:
        """Tried in vain. Hold no bytes during a long pause (C3)."""
        courier = self.courier
        courier.telemetry.count("shipper_sink_retries_total", 1, courier.name)
        courier.trouble.note(self, error, pause_s=delay_s)
        if self._in_buffer and delay_s > LONG_PAUSE_S:
            self.batches = self.payload = None

    async def load(self) -> list[Batch]:
        if self.batches is None:
            assert self.span is not None
            self.batches = await self._read_again(self.span)
        return self.batches

    async def sent(self) -> list[Batch]:
        """What was sent, for an answer that counts its records."""
        batches = await self.load()
        if sum(map(len, batches)) != self.records:
            raise Retryable("frames of a request were lost while it waited for its answer; what is left of it is sent again")
        return batches

    def _encode(self, batches: list[Batch]) -> Any:
        try:
            key = self.courier.key
            if any([key in batch.encoded for batch in batches if batch.encoded]):
                sink: Any = self.courier.sink
                return sink.assemble([self._piece(sink, batch) for batch in batches])
            return self.courier.sink.encode(batches)
        except SinkError:
            raise
        except Exception as error:
            raise Rejected(f"cannot be encoded: {describe(error)}") from error

    def _piece(self, sink: Any, batch: Batch) -> Any:
        piece = batch.encoded.pop(self.courier.key, None) if batch.encoded else None
        return sink.encode_one(batch) if piece is None else piece

    async def _read_again(self, span: Span) -> list[Batch]:
        batches: list[Batch] = []
        seq = span.start.seq
        while seq < span.end.seq or (seq == span.end.seq and span.end.record):
            frames = await self.courier.buffer.read(seq, READ_AGAIN_BYTES)
            if not frames:
                raise Retryable("the frames of a request cannot be read again yet")
            batches += between(frames, span.start, span.end, self.courier.routed)
            seq = frames[-1].seq + 1
        missing = span.records - sum(map(len, batches))
        if missing:
            found_bytes = sum(sum(named_bytes(batch.key, batch.ids).values()) for batch in batches)
            lost_bytes = max(span.tally.source_bytes - found_bytes, 0)
            span.tally.source_bytes -= lost_bytes
            span.tally.lost_bytes += lost_bytes
            span.tally.records -= missing
            span.records -= missing
            say_gone(self.courier.telemetry, self.courier.name, missing)
        return batches


def _size_bytes(payload: Any) -> int:
    """Of a payload of bytes, or one that knows its size; else 0."""
    return len(payload) if isinstance(payload, (bytes, bytearray)) else int(getattr(payload, "size_bytes", 0))
