"""The fake of BigQuery's Storage Write API as a process of its own: takes rows, counts marks. Driver.

    python -m tests.bench.bigquery_receiver EXPECTED        its words: tally.py

Rows are not read one by one (that would be the slowest thing in the room), but each row's number is looked for in its bytes.
"""
from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.support.fake_bigquery_write import FakeBigQueryWrite

from .tally import DRAINED_S, NUMBER, Tally, say, told_to_end


class Counting(FakeBigQueryWrite):
    """`found`: the numbers, once per row that has one."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(keep=False)
        self._tally, self.found, self.wire_bytes = tally, list[int](), 0

    def _rows(self, connection: Any, table: Any, serialized: Any) -> list[dict[str, Any]]:
        data = b"\n".join(serialized)
        found = list(map(int, NUMBER.findall(data)))
        self.found += found
        self.wire_bytes += len(data)
        self._tally.add(len(found))
        return super()._rows(connection, table, serialized)


async def serve(expected: int) -> None:
    tally = Tally(expected)
    async with Counting(tally) as fake:
        say(port=fake.port)
        await told_to_end()
        await fake.server.stop(DRAINED_S)               # the calls that are still open are read to their end
        say(totals=tally.totals(fake.found, wire_bytes=fake.wire_bytes, requests=len(fake.seen), wrong=len(fake.wrong)))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
