"""Fakes that are strict: a buffer that refuses a cursor going back, a sink that checks what it is given, a turned clock."""
from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shipper.config.types import SinkCommon
from shipper.deliver.account import Position
from shipper.deliver.driver import Delivery
from shipper.model import Batch, FileRef, Frame, Request, Section, Source
from shipper.telemetry import Telemetry

START_NS = 1_700_000_000_000_000_000


class TurnedClock:
    """Time stands still until `until` finds nothing else to do; then it jumps to the next timer."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def now_s(self) -> float:
        return self.elapsed_s

    def wall_ns(self) -> int:
        return START_NS + int(self.elapsed_s * 1e9)

    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.elapsed_s + max(delay_s, 0.0), next(self._numbers), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        event = asyncio.Event()
        timer = self.call_later(delay_s, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()

    async def until(self, met: Callable[[], bool], limit_s: float = 10_000.0) -> None:
        """Let things happen until `met()`; fails after `limit_s` turned seconds, or when nothing is going to happen."""
        end_s = self.elapsed_s + limit_s
        for_threads = 0
        while not met():
            await asyncio.sleep(0)
            if asyncio.get_running_loop()._ready or met():  # type: ignore[attr-defined]
                continue                                         # somebody else has something to do now
            if self.turn(end_s):
                for_threads = 0
                continue
            await asyncio.sleep(0.001)                           # only a thread can change anything now
            for_threads += 1
            assert for_threads < 2_000, f"nothing happens any more, {self.elapsed_s:.1f} s in"

    def turn(self, end_s: float = 1e12) -> bool:
        while self._timers:
            at_s, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                assert at_s <= end_s, f"not met by {end_s} s"
                self.elapsed_s = max(self.elapsed_s, at_s)
                callback, timer.callback = timer.callback, None
                callback()
                return True
        return False

    async def finish(self, work: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(work)
        await self.until(task.done)
        return await task


@dataclass
class Timer:
    callback: Callable[[], Any] | None

    def cancel(self) -> None:
        self.callback = None


def source(name: str = "web", namespace: str = "default", **more: Any) -> Source:
    path = f"/var/log/pods/{namespace}_{name}/0.log"
    return Source("containers", "containers", path, path, "n1", namespace, name, f"uid-{name}", "app", "cid", 0, **more)


def section(src: Source, start: int, messages: Sequence[bytes], *, extra_bytes: int = 10, key: str = "") -> Section:
    """A section whose record i was made of its message and `extra_bytes` more."""
    key = key or f"key-{src.namespace}-{src.pod}"
    file = FileRef(key, src, src.path, 1, 1, 0, "")
    ids, at = [], start
    for message in messages:
        ids.append(b"%x+%x" % (at, len(message) + extra_bytes))
        at += len(message) + extra_bytes
    batch = None
    if messages:
        count = len(ids)
        batch = Batch(src, key, [b"2026-11-20T09:04:05.1Z"] * count, [b"stdout"] * count, ids, list(messages), None, START_NS)
    return Section(file, start, at if messages else start + extra_bytes, "", batch)


@dataclass
class Cursor:
    seq: int = 0
    index: int = 0
    state: Any = None
    total_bytes: int = 0
    counters: Any = field(default_factory=dict)


class FakeBuffer:
    """Frames in a list. Refuses a cursor that goes back, or beyond what was appended."""

    def __init__(self, clock: TurnedClock | None = None) -> None:
        self.uuid = "00112233445566778899aabbccddeeff"
        self.synced_seq: int | None = None          # None: every frame is synced at once
        self.frames: list[Frame] = []
        self.total_bytes = 0
        self.full = False
        self.next_seq = 0
        self.cursors: dict[str, Cursor] = {}
        self.durable: dict[str, Cursor] = {}
        self.reads: list[int] = []
        self.early: dict[Any, Callable[[Batch], bytes | None]] = {}
        self._callbacks: dict[str, Callable[[int, int], None]] = {}
        self._appended = asyncio.Event()
        self._clock = clock
        self._ends: dict[str, int] = {}

    @property
    def appended_seq(self) -> int:
        return self.next_seq - 1

    async def wait_synced(self, seq: int) -> None:
        while self.synced_seq is not None and self.synced_seq < seq:
            await asyncio.sleep(0.001)

    def append(self, *sections: Section) -> int:
        self.total_bytes += sum(s.end - s.start for s in sections)
        read_ns = self._clock.wall_ns() if self._clock else START_NS
        for batch in [s.batch for s in sections if s.batch is not None]:
            made = {key: encode(batch) for key, encode in self.early.items()}
            batch.encoded = {key: piece for key, piece in made.items() if piece} or None
        self.frames.append(Frame(self.next_seq, list(sections), self.total_bytes, read_ns))
        self.next_seq += 1
        self._appended.set()
        self._appended = asyncio.Event()
        return self.next_seq - 1

    def write(self, src: Source, *messages: bytes) -> int:
        """One frame with one section that goes on where that source's last one ended."""
        made = section(src, self._ends.get(src.path, 0), messages)
        self._ends[src.path] = made.end
        return self.append(made)

    def cursor(self, name: str) -> Cursor:
        return self.cursors.setdefault(name, Cursor())

    def furthest_behind(self, name: str) -> bool:
        return min(self.cursors, key=lambda n: (self.cursors[n].seq, self.cursors[n].index)) == name

    async def read(self, seq: int, max_bytes: int) -> list[Frame]:
        self.reads.append(seq)
        found, size = [], 0
        for frame in self.frames:
            if frame.seq >= seq and (not found or size < max_bytes):
                found.append(frame)
                size += sum(s.end - s.start for s in frame.sections)
        return found

    async def wait_beyond(self, seq: int) -> None:
        while self.appended_seq < seq:
            await self._appended.wait()

    def advance(self, name: str, seq: int, index: int, state: Any, counters: Any) -> None:
        old = self.cursor(name)
        assert (seq, index) >= (old.seq, old.index), f"cursor goes back from {old} to {seq, index}"
        assert (seq, index) <= (self.next_seq, 0), f"cursor beyond what was appended: {seq, index}"
        assert balance(counters) == 0, counters
        self.cursors[name] = Cursor(seq, index, state, counters["total_bytes"], counters)

    def encode_early(self, key: Any, encode: Callable[[Batch], bytes | None] | None) -> None:
        if encode is None:
            self.early.pop(key, None)
        else:
            self.early[key] = encode

    def on_durable(self, name: str, callback: Callable[[int, int], None]) -> None:
        self._callbacks[name] = callback

    def sync(self) -> None:
        """All cursors reach the disk."""
        for name, cursor in self.cursors.items():
            self.durable[name] = cursor
            if name in self._callbacks:
                self._callbacks[name](cursor.seq, cursor.index)

    def trim(self) -> None:
        """Forget what all cursors have passed."""
        oldest = min(cursor.seq for cursor in self.cursors.values())
        self.frames = [frame for frame in self.frames if frame.seq >= oldest]


def balance(counters: dict[str, Any]) -> int:
    named = sum(n for part in ("dead", "dropped") for _, n in counters[part].values())
    known = counters["before_start_bytes"] + counters["delivered_bytes"] + counters["unrouted_bytes"]
    return int(counters["total_bytes"] - known - named)


@dataclass(frozen=True)
class FakeSpec:
    confirms: str = "on_send"
    request_bytes: int = 1_000
    request_records: int = 10_000
    concurrency: int | None = None


@dataclass
class FakeContext:
    name: str = "central"
    state_dir: str = "/nonexistent"
    confirmed: Callable[..., None] = lambda number, state=None: None
    resend: Callable[[Exception], None] = lambda why: None


class FakeSink:
    """Takes requests. `answer(request)` may raise what a server would say, or wait. Refuses what a sink must never see:
    overlapping sends at concurrency 1, numbers that do not rise, a payload that differs for the same records."""

    def __init__(self, concurrency: int = 1) -> None:
        self.answer: Callable[[Request], Awaitable[None] | None] = lambda request: None
        self.sent: list[Request] = []
        self.tries: list[Request] = []
        self.started: list[Any] = []
        self.flushes = 0
        self.on_flush: Callable[[], None] = lambda: None
        self.durable_numbers: list[int] = []
        self.closed = False
        self._open = 0
        self._concurrency = concurrency
        self._payloads: dict[tuple[str, ...], bytes] = {}

    async def start(self, state: Any) -> None:
        self.started.append(state)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        return b"\n".join(m for batch in batches for m in batch.messages)

    async def send(self, request: Request, payload: bytes) -> None:
        assert self._open < self._concurrency, "sends overlap"
        assert request.records == len(ids_of(request)) > 0
        if self._concurrency == 1 and self.tries:
            assert request.number >= self.tries[-1].number, "numbers must rise"
        seen = self._payloads.setdefault(tuple(ids_of(request)), payload)
        assert seen == payload, "a repeat with other bytes"
        self._open += 1
        try:
            self.tries.append(request)
            await asyncio.sleep(0)
            waits = self.answer(request)
            if waits is not None:
                await waits
            self.sent.append(request)
        finally:
            self._open -= 1

    async def flush(self, deadline_s: float) -> None:
        self.flushes += 1
        self.on_flush()

    def durable(self, number: int) -> None:
        self.durable_numbers.append(number)

    async def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        """Ids of all that was taken, repeats included, in order."""
        return [record_id for request in self.sent for record_id in ids_of(request)]

    @property
    def messages(self) -> list[bytes]:
        return [m for request in self.sent for batch in request.batches for m in batch.messages]


class MemoryLetters:
    """Dead letters without a disk."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, bytes, str]] = {}
        self.writes = 0
        self.fail: Exception | None = None

    async def write(self, candidates: Sequence[Any], now_ns: int) -> int:
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        self.writes += 1
        for batch, reason, response in candidates:
            for item, message in zip(batch.ids, batch.messages):
                self.records.setdefault(f"{batch.key}:{item.decode()}", (reason.value, message, response))
        return len(self.records)

    @property
    def messages(self) -> list[bytes]:
        return [message for _, message, _ in self.records.values()]


def ids_of(request: Request) -> list[str]:
    return [f"{batch.key}:{item.decode()}" for batch in request.batches for item in batch.ids]


def messages_of(request: Request) -> list[bytes]:
    return [m for batch in request.batches for m in batch.messages]


class Rig:
    """One delivery with everything around it."""

    def __init__(
        self, *, confirms: str = "on_send", spec: FakeSpec | None = None, sink: FakeSink | None = None,
        letters: MemoryLetters | None = None, **common: Any,
    ) -> None:
        common.setdefault("concurrency", 1)
        self.clock = TurnedClock()
        self.buffer = FakeBuffer(self.clock)
        self.sink = sink or FakeSink(1 if confirms == "later" else common["concurrency"])
        self.context = FakeContext()
        self.telemetry = Telemetry(now_s=self.clock.now_s)
        self.letters = letters or MemoryLetters()
        self.delays_s: list[float] = []
        self.delivery = Delivery(
            "central", SinkCommon(**common), spec or FakeSpec(confirms), self.sink, self.buffer, self.context, self.telemetry,
            self.clock, dead_letters=self.letters, uniform=lambda low, high: high,  # type: ignore[arg-type]
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> Rig:
        self.task = asyncio.create_task(self.delivery.run())
        return self

    @property
    def position(self) -> Position:
        cursor = self.buffer.cursor("central")
        return Position(cursor.seq, cursor.index)

    @property
    def done(self) -> bool:
        return self.position == (self.buffer.next_seq, 0)

    async def until_done(self, limit_s: float = 10_000.0) -> None:
        await self.clock.until(lambda: self.done, limit_s)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()      # X5
        assert self.sink.closed

    async def __aenter__(self) -> Rig:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
