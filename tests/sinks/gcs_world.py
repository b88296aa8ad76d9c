"""The gcs sink with a real delivery, a buffer of frames and a fake Cloud Storage."""
from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from shipper.sinks.gcs import GcsSink
from tests.deliver.support import MemoryLetters, source
from tests.sinks.http_world import entry_of
from tests.sinks.spool_world import SpoolWorld
from tests.support.fake_gcs import FakeGcs


class GcsWorld(SpoolWorld):
    """`run` starts a sink with these keys on it, `stop` ends it: what is not awaited is cancelled."""

    def __init__(self, root: Path, gcs: FakeGcs, **common: Any) -> None:
        super().__init__(root, gcs, MemoryLetters(), **common)
        self.gcs = gcs
        self.expected: list[bytes] = []
        self.sink: GcsSink

    def run(self, *, age_s: float | None = None, **keys: Any) -> None:
        """`age_s`: max_age below what a config may say."""
        keys = {"bucket": "logs", "anonymous": True, "endpoint": f"http://127.0.0.1:{self.gcs.port}", "proxy": "none",
                "prefix": "{namespace}", "request_timeout": "5s", **keys}
        entry = entry_of("type: gcs, " + ", ".join(f"{key}: {json.dumps(value)}" for key, value in keys.items()))
        config = entry.config if age_s is None else msgspec.structs.replace(entry.config, max_age=age_s)
        context = self.context
        self.sink = GcsSink(config, context)
        self.deliver(entry.spec, self.sink, context)

    def write(self, count: int, *, namespace: str = "default", padding: int = 0) -> None:
        """One frame."""
        messages = []
        for _ in range(count):
            number = len(self.expected)
            filler = random.Random(number).randbytes(padding // 2).hex()
            messages.append(b"m%06d " % number + filler.encode())
            self.expected.append(b"m%06d" % number)
        self.buffer.write(source("web", namespace), *messages)

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
