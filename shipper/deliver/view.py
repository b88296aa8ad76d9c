"""What delivery needs of its neighbours, as small protocols: the buffer, a sink, the clock. Shapes only.

Delivery knows neither shipper.buffer nor shipper.sinks; the agent hands both in, tests hand in strict fakes.
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..model import Batch, Frame, Request
from ..telemetry import Telemetry


class CursorView(Protocol):
    """Where a sink stands: record `index` of frame `seq` is the next one.

    total_bytes  source bytes of everything before it;  counters: what was given to `advance` with it, or empty
    """

    @property
    def seq(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def state(self) -> Any: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def counters(self) -> Any: ...


class BufferView(Protocol):
    """The reading side of the buffer."""

    @property
    def uuid(self) -> str:
        """Of this buffer and no other: sequence numbers mean nothing elsewhere."""

    @property
    def full(self) -> bool: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def appended_seq(self) -> int:
        """The newest frame that can be read; smaller than any cursor where there is none."""

    def cursor(self, name: str) -> CursorView: ...

    def furthest_behind(self, name: str) -> bool:
        """True where no other cursor keeps the oldest frames in the buffer."""

    async def read(self, seq: int, max_bytes: int) -> list[Frame]:
        """Frames from `seq` on, at least one where there is one; [] where there is none yet."""

    async def wait_beyond(self, seq: int) -> None:
        """Return once frame `seq` or a later one can be read."""

    async def wait_synced(self, seq: int) -> None:
        """Return once frame `seq` is on disk; BufferLost where it was taken back (its ranges come in later frames)."""

    def advance(self, name: str, seq: int, index: int, state: Any, counters: Any) -> None: ...

    def encode_early(self, key: Any, encode: Callable[[Batch], bytes | None] | None) -> None:
        """From now on call `encode` for each batch that is appended, while its columns are in the cache; None: no more. What
        it gives stands under `key` in `batch.encoded`; None: it needs the columns later."""

    def on_durable(self, name: str, callback: Callable[[int, int], None]) -> None: ...


class SinkView(Protocol):
    """shipper.sinks.Sink, as delivery calls it."""

    async def start(self, state: Any) -> None: ...
    def encode(self, batches: Sequence[Batch]) -> Any: ...
    async def send(self, request: Request, payload: Any) -> None: ...
    async def flush(self, deadline_s: float) -> None: ...
    def durable(self, number: int) -> None: ...
    async def close(self) -> None: ...


class SpecView(Protocol):
    """The part of shipper.sinks.SinkSpec that delivery reads."""

    @property
    def confirms(self) -> str: ...
    @property
    def request_bytes(self) -> int: ...
    @property
    def request_records(self) -> int: ...
    @property
    def concurrency(self) -> int | None: ...


class ContextView(Protocol):
    """shipper.sinks.SinkContext; delivery fills in `confirmed`, `resend` and `plans`."""

    name: str
    state_dir: str
    confirmed: Callable[..., None]
    resend: Callable[[Exception], None]
    plans: Any


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as delivery sees it; tests turn it by hand."""

    def now_s(self) -> float:
        """Monotonic seconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""

    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> Handle:
        """Call `callback` in the loop after `delay_s` seconds."""


class SystemClock:
    """The real one."""

    def now_s(self) -> float:
        return time.monotonic()

    def wall_ns(self) -> int:
        return time.time_ns()

    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> Handle:
        return asyncio.get_running_loop().call_later(delay_s, callback)


__all__ = ["BufferView", "Clock", "ContextView", "CursorView", "Handle", "SinkView", "SpecView", "SystemClock", "Telemetry"]
