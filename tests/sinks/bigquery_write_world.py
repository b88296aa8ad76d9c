"""The sink of BigQuery's Storage Write API with a real delivery, a buffer of frames and a fake BigQuery."""
from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import shipper.encode.bigquery_proto as proto_module
import shipper.sinks._bigquery_write_append as append_module
import shipper.sinks._bigquery_write_plans as plans_module
import shipper.sinks._bigquery_write_range as range_module
from shipper.sinks._bigquery_write import StorageWriteSink
from tests.deliver.support import MemoryLetters, source
from tests.sinks.http_world import entry_of
from tests.sinks.spool_world import SpoolWorld
from tests.support.fake_bigquery_write import TABLE, FakeBigQueryWrite


class Letters(MemoryLetters):
    def read(self) -> list[dict[str, Any]]:
        return [{"record": {"id": name}} for name in self.records]


class WriteWorld(SpoolWorld):
    """`run` starts a sink with these keys on it, `kill` ends it as kill -9 does (what is not awaited is cancelled and nothing is
    tidied up), `stop` in good order."""

    kept = ("kept.json",)

    def __init__(self, root: Path, fake: FakeBigQueryWrite, **common: Any) -> None:
        super().__init__(root, fake, Letters(), **common)
        self.expected: list[str] = []
        self.sink: StorageWriteSink

    def run(self, **keys: Any) -> None:
        keys = {"dataset": "p1.logs", "table": "nodes", "method": "storage_write", "anonymous": True, "proxy": "none",
                "write_endpoint": self.fake.url, "request_timeout": "5s", **keys}
        entry = entry_of("type: bigquery, " + ", ".join(f"{key}: {json.dumps(value)}" for key, value in keys.items()))
        context = self.context
        built = entry.spec.build(entry.config, context)
        assert isinstance(built, StorageWriteSink)
        self.sink = built
        self.deliver(entry.spec, self.sink, context)

    async def kill(self) -> None:
        """Nothing is tidied up: what is on disk now is what the next one finds."""
        planner = self.sink._planner

        async def close() -> None:
            self.sink._appender.drop()
            if planner._timer is not None:
                planner._timer.cancel()
            for task in planner._tasks:
                task.cancel()
            await asyncio.gather(*planner._tasks, return_exceptions=True)
            if planner.thread.executor is not None:     # a thread of the dead would write into the spool of the living
                thread, planner.thread.executor = planner.thread.executor, None
                await asyncio.to_thread(thread.shutdown, cancel_futures=True)
            await self.sink._channel.close()

        self.sink.close = close  # type: ignore[method-assign]
        await self.stop()

    def write(self, count: int, *, namespace: str = "default", padding: int = 0, text: str = "") -> None:
        """One frame."""
        messages = []
        for _ in range(count):
            token = f"m{len(self.expected):06d}"
            messages.append(f"{token} {text}".encode() + b"x" * padding)
            self.expected.append(token)
        self.buffer.write(source("web", namespace), *messages)

    def heard(self) -> list[str]:
        return list(self.fake.answers[-5:])

    def rows(self, table: str = TABLE) -> list[dict[str, Any]]:
        return self.fake.tables[table].rows

    def counts(self) -> Counter[str]:
        """How many rows each record is in, all tables together."""
        return Counter(row["message"].split()[0] for table in self.fake.tables.values() for row in table.rows)

    @property
    def dead(self) -> set[str]:
        return {message.split()[0].decode() for _, message, _ in self.letters.records.values()}

    def assert_exactly_once(self) -> None:
        assert self.fake.wrong == []
        found, dead = self.counts(), self.dead
        assert {t: found[t] for t in self.expected if found[t] + (t in dead) != 1} == {}
        assert found.keys() | dead == set(self.expected)


def short_ranges(monkeypatch: Any, *, range_bytes: int = 2_000, block_bytes: int = 800, range_s: float = 0.02) -> None:
    """So that a test of few records has several plans of several blocks, and one more on its way than is usual."""
    monkeypatch.setattr(plans_module, "RANGE_BYTES", range_bytes)
    monkeypatch.setattr(plans_module, "RANGE_S", range_s)
    monkeypatch.setattr(proto_module, "PIECE_BYTES", block_bytes // 2)
    monkeypatch.setattr(append_module, "IN_FLIGHT", 3)
    monkeypatch.setattr(range_module, "BLOCK_BYTES", block_bytes)
