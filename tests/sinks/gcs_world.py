"""The gcs sink with a real delivery, a buffer of frames and a fake Cloud Storage. Time is real; back-offs are nothing."""
from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from shipper.config.types import SinkCommon
from shipper.deliver.account import Position
from shipper.deliver.driver import Delivery
from shipper.sinks import SinkContext
from shipper.sinks import gcs as module
from shipper.sinks.gcs import GcsSink
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters, source
from tests.sinks.http_world import entry_of
from tests.support.fake_gcs import FakeGcs

WITHIN_S = 20.0


class GcsWorld:
    """One buffer and state directory; `run` starts a sink with these keys on it, `kill` ends it as kill -9 does (what is not
    awaited is cancelled and nothing is tidied up), `stop` in good order."""

    def __init__(self, root: Path, gcs: FakeGcs, **common: Any) -> None:
        self.root, self.gcs, self.buffer, self.letters = root, gcs, FakeBuffer(), MemoryLetters()
        self.common, self.telemetry, self.buffer_bytes = common, Telemetry(), 1 << 30
        self.expected: list[bytes] = []
        self.delivery: Delivery
        self.sink: GcsSink
        self._task: asyncio.Task[None] | None = None

    def run(self, *, age_s: float | None = None, **keys: Any) -> None:
        """`age_s`: max_age below what a config may say."""
        keys = {"bucket": "logs", "anonymous": True, "endpoint": f"http://127.0.0.1:{self.gcs.port}", "proxy": "none",
                "prefix": "{namespace}", "request_timeout": "5s", **keys}
        entry = entry_of("type: gcs, " + ", ".join(f"{key}: {json.dumps(value)}" for key, value in keys.items()))
        context = SinkContext("far", "n1", str(self.root), self.telemetry, buffer_bytes=self.buffer_bytes)
        config = entry.config if age_s is None else msgspec.structs.replace(entry.config, max_age=age_s)
        self.sink = GcsSink(config, context)
        self.delivery = Delivery(
            "far", SinkCommon(**self.common), module.SINK, self.sink, self.buffer, context,  # type: ignore[arg-type]
            self.telemetry, dead_letters=self.letters, uniform=lambda low, high: 0.01,
        )
        self._task = asyncio.create_task(self.delivery.run())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def write(self, count: int, *, namespace: str = "default", padding: int = 0) -> None:
        """One frame."""
        messages = []
        for _ in range(count):
            number = len(self.expected)
            filler = random.Random(number).randbytes(padding // 2).hex()
            messages.append(b"m%06d " % number + filler.encode())
            self.expected.append(b"m%06d" % number)
        self.buffer.write(source("web", namespace), *messages)

    @property
    def position(self) -> Position:
        cursor = self.buffer.cursor("far")
        return Position(cursor.seq, cursor.index)

    @property
    def done(self) -> bool:
        return self.position == (self.buffer.next_seq, 0)

    async def until(self, met: Callable[[], Any], what: str = "") -> None:
        end_s = time.monotonic() + WITHIN_S
        while not met():
            self.buffer.sync()
            assert time.monotonic() < end_s, f"not met: {what or met}; {self.delivery.status()}; {self.gcs.wrong}"
            await asyncio.sleep(0.002)

    async def flushed(self) -> None:
        """All that was written is in objects."""
        task = asyncio.create_task(self.delivery.caught_up(self.buffer.appended_seq, WITHIN_S))
        await self.until(task.done, "flushed")
        await task
        await self.until(lambda: self.spool == [], "manifests and files are gone")

    @property
    def spool(self) -> list[str]:
        directory = self.root / "spool" / "far"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def records(self) -> Counter[bytes]:
        """How many objects each record is in."""
        found: Counter[bytes] = Counter()
        for stored in self.gcs.objects.values():
            found.update(tokens(stored.data))
        return found

    def assert_exactly_once(self) -> None:
        assert self.gcs.wrong == []
        found = self.records()
        assert [t for t in self.expected if found[t] != 1] == [] and len(found) == len(self.expected)


def tokens(data: bytes) -> list[bytes]:
    """The records of an object, by the token in their message."""
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return [json.loads(line)["message"].split()[0].encode() for line in text.splitlines()]
