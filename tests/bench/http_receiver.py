"""The far side over HTTP, as its own process: takes each POST, answers 200, counts marks. Driver.

    python -m tests.bench.http_receiver EXPECTED DELAY_S    its words: tally.py
"""
from __future__ import annotations

import asyncio
import sys
from typing import Any

from .corpus import MARK
from .tally import NUMBER, Tally, inflated, say, told_to_end, until

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FarSide:
    """What the connections share."""

    def __init__(self, expected: int) -> None:
        self.tally, self.wire_bytes = Tally(expected), 0
        self.bodies: list[bytes] = []
        self.connections: set[Connection] = set()

    def take(self, wire: bytes, gzipped: bool) -> None:
        body = inflated(wire) if gzipped else wire
        self.bodies.append(body)
        self.wire_bytes += len(wire)
        self.tally.add(body.count(MARK))

    def totals(self) -> dict[str, Any]:
        numbers = [int(n) for body in self.bodies for n in NUMBER.findall(body)]
        return self.tally.totals(numbers, wire_bytes=self.wire_bytes, requests=len(self.bodies), wrong=0)


class Connection(asyncio.Protocol):
    """One request after the other; what comes is kept in pieces until a body is whole."""

    def __init__(self, far_side: FarSide, delay_s: float) -> None:
        self._far_side, self._delay_s = far_side, delay_s
        self._head, self._pieces, self._wanted, self._have, self._gzipped = b"", [], -1, 0, False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._far_side.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._far_side.connections.discard(self)

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
            self._far_side.take(b"".join(self._pieces), self._gzipped)
            self._pieces = []
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, _OK)


async def serve(expected: int, delay_s: float) -> None:
    far_side = FarSide(expected)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(far_side, delay_s), "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    await told_to_end()
    await until(lambda: not far_side.connections)
    say(totals=far_side.totals())


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
