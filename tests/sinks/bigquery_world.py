"""The bigquery sink (insert_all) with a real delivery, a buffer of frames and a fake BigQuery. Back-offs are nothing."""
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from shipper.config.types import SinkCommon
from shipper.deliver.driver import Delivery
from shipper.sinks import SinkContext
from shipper.sinks._bigquery_insert_all import InsertAllSink
from shipper.sinks.bigquery import SINK
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters, section, source
from tests.sinks.delivery_world import DeliveryWorld
from tests.sinks.http_world import entry_of
from tests.support.fake_bigquery import FakeBigquery

WITHIN_S = 60.0


def sink_of(port: int, **keys: Any) -> InsertAllSink:
    """Checked as the agent does it."""
    keys = {"dataset": "logs", "table": "all", "project": "p1", "anonymous": True, "method": "insert_all",
            "endpoint": f"http://127.0.0.1:{port}", "proxy": "none", "request_timeout": "5s", **keys}
    entry = entry_of("type: bigquery, " + ", ".join(f"{key}: {json.dumps(value)}" for key, value in keys.items()))
    made = SINK.build(entry.config, SinkContext("far", "n1", "", Telemetry()))
    assert isinstance(made, InsertAllSink)
    return made


class BigqueryWorld(DeliveryWorld):
    """`common`: keys of every sink. `now_s` turns the clock of the table's look."""

    def __init__(self, far: FakeBigquery, *, keys: dict[str, Any] | None = None, **common: Any) -> None:
        self.far, self.buffer, self.letters, self.now_s = far, FakeBuffer(), MemoryLetters(), 1000.0
        self.sink = sink_of(far.port, **(keys or {}))
        self.sink.table._clock = lambda: self.now_s
        context = SinkContext("far", "n1", "", Telemetry())
        self.delivery = Delivery(
            "far", SinkCommon(**{"concurrency": 1, **common}), SINK, self.sink, self.buffer, context,  # type: ignore[arg-type]
            context.telemetry, dead_letters=self.letters, uniform=lambda low, high: 0.005,
        )
        self.expected: list[str] = []
        self._end = 0

    async def __aenter__(self) -> BigqueryWorld:
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def write(
        self, count: int, fields: dict[int, dict[str, Any]] | None = None, *, times: dict[int, bytes] | None = None,
    ) -> None:
        """One frame of `count` records; `fields`: what was parsed of some; `times`: of some."""
        messages = [f"m{len(self.expected) + i:06}" for i in range(count)]
        self.expected += messages
        made = section(source("web"), self._end, [m.encode() for m in messages])
        self._end = made.end
        if fields is not None:
            made.batch.fields = [json.dumps(fields[i]).encode() if i in fields else b"" for i in range(count)]
        for index, one in (times or {}).items():
            made.batch.times[index] = one
        self.buffer.append(made)

    async def until(self, met: Callable[[], Any]) -> None:
        end_s = time.monotonic() + WITHIN_S
        while not met():
            assert time.monotonic() < end_s, f"{self.delivery.status()}; {self.far.wrong}; {self.far.seen[-20:]}"
            await asyncio.sleep(0.002)

    async def until_done(self) -> None:
        await self.until(lambda: self.done)
        assert self.far.wrong == []

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.far.tables["all"].rows

    @property
    def stored(self) -> list[str]:
        return [row["message"] for row in self.rows]

    @property
    def dead(self) -> dict[str, str]:
        """Message and the words that it was refused with."""
        return {message.decode(): why for message, (_, _, why) in zip(self.letters.messages, self.letters.records.values())}
