"""The far side over HTTP, as its own process: takes each POST, answers 200, counts marks. Driver.

    python -m tests.bench.http_receiver EXPECTED DELAY_S   prints {"port": n}, and {"done": {...}} when EXPECTED marks have come

It keeps the bodies; which numbers are missing or came twice is looked up when all is over, not while it is timed. gzip is
inflated by isal where that is installed: counting costs this process, on the same two cores, what a real receiver would pay.
"""
from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import zlib
from typing import Any

from .corpus import MARK

try:
    from isal import isal_zlib as inflating
except ImportError:
    inflating = zlib                        # type: ignore[assignment]

_NUMBER = re.compile(rb"~(\d{7})")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Tally:
    def __init__(self, expected: int) -> None:
        self.expected, self.count, self.wire_bytes, self.requests = expected, 0, 0, 0
        self.bodies: list[bytes] = []
        self.done = asyncio.Event()

    def take(self, wire: bytes, gzipped: bool) -> None:
        body = inflating.decompress(wire, 31) if gzipped else wire
        self.bodies.append(body)
        self.count += body.count(MARK)
        self.wire_bytes += len(wire)
        self.requests += 1
        if self.count >= self.expected:
            self.done.set()

    def facts(self, last_ns: int) -> dict[str, Any]:
        numbers = [int(n) for body in self.bodies for n in _NUMBER.findall(body)]
        distinct = len(set(numbers))
        return {"last_ns": last_ns, "missing": self.expected - distinct, "repeated": len(numbers) - distinct,
                "wire_bytes": self.wire_bytes, "requests": self.requests, "cpu_s": time.process_time()}


class Connection(asyncio.Protocol):
    """One request after the other; what comes is kept in pieces until a body is whole."""

    def __init__(self, tally: Tally, delay_s: float) -> None:
        self._tally, self._delay_s = tally, delay_s
        self._head, self._pieces, self._wanted, self._have, self._gzipped = b"", [], -1, 0, False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._wanted < 0:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            self._wanted = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            self._gzipped = b"content-encoding: gzip" in lower
            self._head, self._pieces, self._have, data = b"", [], 0, rest
        self._pieces.append(data)
        self._have += len(data)
        if self._have >= self._wanted:
            self._wanted = -1
            self._tally.take(b"".join(self._pieces), self._gzipped)
            self._pieces = []
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, _OK)


async def serve(expected: int, delay_s: float) -> None:
    tally = Tally(expected)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(tally, delay_s), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await tally.done.wait()
    last_ns = time.monotonic_ns()
    await asyncio.sleep(1.0)                # repeats that are on their way
    print(json.dumps({"done": tally.facts(last_ns)}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
