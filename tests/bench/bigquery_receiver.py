"""The fake of BigQuery's Storage Write API as a process of its own: takes rows, counts marks. Driver.

    python -m tests.bench.bigquery_receiver EXPECTED    prints {"port": n}, and {"done": {...}} when EXPECTED rows are there

Rows are not read one by one (that would be the slowest thing in the room), but each row's number is looked for in its bytes.
"""
from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

from tests.support.fake_bigquery_write import FakeBigQueryWrite

_NUMBER = re.compile(rb"~(\d{7})")


class Counting(FakeBigQueryWrite):
    """`found`: the numbers, once per row that has one."""

    def __init__(self) -> None:
        super().__init__(keep=False)
        self.found: list[int] = []
        self.wire_bytes = self.last_ns = 0

    def _rows(self, connection: Any, table: Any, serialized: Any) -> list[dict[str, Any]]:
        data = b"\n".join(serialized)
        self.found += map(int, _NUMBER.findall(data))
        self.wire_bytes += len(data)
        self.last_ns = time.monotonic_ns()
        return super()._rows(connection, table, serialized)


async def serve(expected: int) -> None:
    async with Counting() as fake:
        print(json.dumps({"port": fake.port}), flush=True)
        while len(fake.found) < expected:
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        rows, distinct = len(fake.found), len(set(fake.found))
        print(json.dumps({"done": {
            "last_ns": fake.last_ns, "missing": expected - distinct, "repeated": rows - distinct,
            "wire_bytes": fake.wire_bytes, "requests": len(fake.seen), "wrong": fake.wrong, "cpu_s": time.process_time(),
        }}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
