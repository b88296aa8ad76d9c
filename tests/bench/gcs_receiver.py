"""The fake Cloud Storage as a process of its own: takes objects, counts marks. Driver.

    python -m tests.bench.gcs_receiver EXPECTED             its words: tally.py

Objects are kept as they come, and counted when they end.
"""
from __future__ import annotations

import asyncio
import sys
import time

from tests.support.fake_gcs import FakeGcs

from .corpus import MARK
from .tally import NUMBER, Tally, inflated, say, told_to_end, until

_LOOK_S = 0.02


async def serve(expected: int) -> None:
    tally = Tally(expected)
    async with FakeGcs() as gcs:
        counting = asyncio.create_task(_count(gcs, tally))
        say(port=gcs.port)
        await told_to_end()
        await until(lambda: not gcs.connections)
        counting.cancel()
        found = [int(n) for s in gcs.objects.values() for n in NUMBER.findall(inflated(s.data))]
        say(totals=tally.totals(found, wire_bytes=gcs.bytes_stored, requests=len(gcs.seen), wrong=len(gcs.wrong)))


async def _count(gcs: FakeGcs, tally: Tally) -> None:
    """What is new, again and again: inside a request it would keep the agent waiting for its answer."""
    counted: set[str] = set()
    while True:
        for key in gcs.objects.keys() - counted:
            counted.add(key)
            at_ns = time.monotonic_ns()                 # inflating it is not the agent's time
            tally.add(inflated(gcs.objects[key].data).count(MARK), at_ns)
        await asyncio.sleep(_LOOK_S)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
