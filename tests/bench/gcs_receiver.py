"""The fake Cloud Storage as a process of its own: takes objects, counts marks. Driver.

    python -m tests.bench.gcs_receiver EXPECTED    prints {"port": n}, and {"done": {...}} when EXPECTED marks are stored

Objects are kept as they come, and counted when they end; which numbers are in them is looked up when all is over.
"""
from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import zlib

from tests.support.fake_gcs import FakeGcs

from .corpus import MARK

try:
    from isal import isal_zlib as inflating
except ImportError:
    inflating = zlib                        # type: ignore[assignment]

_NUMBER = re.compile(rb"~(\d{7})")


async def serve(expected: int) -> None:
    counted: dict[str, int] = {}
    async with FakeGcs() as gcs:
        print(json.dumps({"port": gcs.port}), flush=True)
        while sum(counted.values()) < expected:
            await asyncio.sleep(0.02)
            for key in gcs.objects.keys() - counted.keys():
                last_ns = time.monotonic_ns()
                counted[key] = inflating.decompress(gcs.objects[key].data, 31).count(MARK)
        await asyncio.sleep(1.0)
        found = [int(n) for s in gcs.objects.values() for n in _NUMBER.findall(inflating.decompress(s.data, 31))]
        print(json.dumps({"done": {
            "last_ns": last_ns, "missing": expected - len(set(found)), "repeated": len(found) - len(set(found)),
            "wire_bytes": gcs.bytes_stored, "requests": len(gcs.seen), "objects": len(gcs.objects), "wrong": gcs.wrong,
            "cpu_s": time.process_time(),
        }}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
