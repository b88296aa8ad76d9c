"""Batches, configs and a tiny delivery for the syslog tests."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shipper.config.units import Bytes, Seconds
from shipper.errors import Retryable
from shipper.model import Batch, Request, Source
from shipper.sinks import SinkContext
from shipper.sinks.syslog import SINK, SyslogConfig
from shipper.telemetry import Telemetry

READ_NS = 1795165993298593000            # 2026-11-20T09:13:13.298593Z
TIME = b"2026-11-20T09:04:05.123456789Z"
KEY = "k3v9q2f7abcdefgh"
WITHIN_S = 15


def source(**changed: Any) -> Source:
    values: dict[str, Any] = {
        "kind": "containers", "name": "c", "path": "/var/log/containers/web-0_default_web-abc.log", "lineage": "/l",
        "node": "node1", "namespace": "default", "pod": "web-0", "container": "web",
    }
    return Source(**{**values, **changed})


def batch(messages: Sequence[bytes], *, first: int = 0, time: bytes = TIME, stream: bytes = b"stdout", **of_source: Any) -> Batch:
    """One record per message; ids count up from `first` in steps of 100 source bytes."""
    rows = len(messages)
    ids = [b"%x+%x" % ((first + i) * 100, 100) for i in range(rows)]
    return Batch(source(**of_source), KEY, [time] * rows, [stream] * rows, ids, list(messages), None, READ_NS)


def config(port: int, **changed: Any) -> SyslogConfig:
    """For 127.0.0.1, with short times."""
    for name in ("barrier_idle", "barrier_interval", "barrier_timeout", "connect_timeout", "tcp_user_timeout", "ack_timeout"):
        if name in changed:
            changed[name] = Seconds(changed[name])
    for name in ("resend_window", "max_message"):
        if name in changed:
            changed[name] = Bytes(changed[name])
    return SyslogConfig(address=f"127.0.0.1:{port}", **{"barrier_idle": Seconds(0.1), **changed})


@dataclass
class FakeDelivery:
    """Sends batches in order, goes back to the first unconfirmed one on `resend`; numbers are never used twice."""

    batches: Sequence[Batch]
    settings: SyslogConfig
    telemetry: Telemetry = field(default_factory=Telemetry)
    confirmed: list[int] = field(default_factory=list)
    resends: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.number = 0
        self.cursor = 0                              # batches before it are confirmed
        self.next = 0
        self.in_flight: dict[int, int] = {}          # number -> batch index
        self.moved = asyncio.Event()
        context = SinkContext("central", "node1", "", self.telemetry, self._on_confirmed, self._on_resend)
        self.sink: Any = SINK.build(self.settings, context)

    def _on_confirmed(self, number: int, state: object = None) -> None:
        assert not self.confirmed or number > self.confirmed[-1], "confirmed numbers rise"
        self.confirmed.append(number)
        for sent in [n for n in self.in_flight if n <= number]:
            self.cursor = max(self.cursor, self.in_flight.pop(sent) + 1)
        self.moved.set()

    def _on_resend(self, why: Exception) -> None:
        assert isinstance(why, Retryable)
        self.resends.append(str(why))
        self.in_flight.clear()
        self.next = self.cursor
        self.moved.set()

    async def send_one(self) -> None:
        index, self.next = self.next, self.next + 1
        self.number += 1
        self.in_flight[self.number] = index
        try:
            await self.sink.send(Request(self.number, [self.batches[index]]), self.sink.encode([self.batches[index]]))
        except Retryable as error:
            self.failures.append(str(error))
            self.in_flight.pop(self.number, None)
            self.next = min(self.next, index)
            await asyncio.sleep(0.02)                # its back-off

    async def send(self) -> None:
        """Until all was handed over."""
        while self.next < len(self.batches):
            await self.send_one()

    async def until_confirmed(self, count: int | None = None) -> None:
        """Until `count` batches (default: all) are confirmed, sending again what has to be."""
        wanted = len(self.batches) if count is None else count
        async with asyncio.timeout(WITHIN_S):
            while self.cursor < wanted:
                while self.next < wanted:
                    await self.send_one()
                self.moved.clear()
                if self.cursor < wanted <= self.next:
                    await self.moved.wait()


async def send_all(settings: SyslogConfig, batches: Sequence[Batch]) -> FakeDelivery:
    """One request per batch, each confirmed by the end."""
    delivery = FakeDelivery(batches, settings)
    await delivery.sink.start(None)
    try:
        async with asyncio.timeout(WITHIN_S):
            await delivery.send()
            await delivery.sink.flush(WITHIN_S)
        assert delivery.cursor == len(batches)
    finally:
        await delivery.sink.close()
    return delivery
