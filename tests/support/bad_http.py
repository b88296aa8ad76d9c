"""An HTTP server that misbehaves on schedule, and reads requests strictly. Raw sockets: nothing is mended on the way.

    async with BadServer(codec, schedule=iter(["ok", "reset_in", "429_date"])) as server:
        ...                                 # http://127.0.0.1:{server.port}
        server.stored                       # token -> the record's bytes: what it has
        server.seen                         # each whole request

A record is known by the token m000123 in its message. A codec (tests/sinks/codecs.py) says how a sink's requests are read and
answered. What is wrong with a request (no length, broken gzip, another body under the same Idempotency-Key, another content of
the same record) goes to `server.wrong`, which every test asserts to be empty.
"""
from __future__ import annotations

import asyncio
import gzip
import random
import re
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

TOKEN = re.compile(rb"m\d{6}")
_LINE = re.compile(rb"(POST|PUT|GET) (/[!-~]*) HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~]*)")

FAULTS = (
    "refuse", "reset_before", "reset_in", "reset_after", "stored_then_reset", "late_100", "ok_then_reset", "408", "413", "429_s",
    "429_date", "500", "500", "503", "307", "403", "404", "drip", "wrong_type", "endless_500", "endless_200", "early_close",
    "half", "bad_http", "100_mb",
)
"""Not among them: `hang`, which costs a whole request_timeout; `login`, a 200 that stores nothing: it is a sink's own business
whether it believes that."""


@dataclass
class Seen:
    """One whole request. body: decompressed; wire: as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    wire: bytes


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class BadServer:
    """`schedule`: a fault for each connection or request; when it ends, all is well. `refuses(record)`: words for a record that
    it never takes, else "". `limit_bytes`: 413 above. `delay_s`: before each answer."""

    def __init__(
        self, codec: Any, schedule: Iterator[str] | None = None, *, refuses: Callable[[bytes], str] | None = None, seed: int = 0,
        limit_bytes: int | None = None, always: str = "", delay_s: float = 0.0,
    ) -> None:
        self.codec, self.schedule, self.refuses = codec, schedule or iter(()), refuses or _poison
        self.rng, self.limit_bytes, self.always, self.delay_s = random.Random(seed), limit_bytes, always, delay_s
        self.seen: list[Seen] = []
        self.stored: dict[bytes, bytes] = {}
        self.order: list[bytes] = []
        self.wrong: list[str] = []
        self.faults: list[str] = []
        self.connections = 0
        self.hung_long_enough = asyncio.Event()            # who hangs has its connection closed
        self.port = 0
        self.open_requests = 0
        self._content: dict[bytes, bytes] = {}
        self._keys: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> BadServer:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------ one connection

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass                            # the client gave up, which is its right
        except AssertionError as error:
            self.wrong.append(str(error))
        except asyncio.CancelledError:
            pass                            # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False where the connection is over."""
        head = await _head(reader)
        if head is None:
            return False
        fault = self.always or next(self.schedule, "ok")
        self.faults.append(fault)
        method, path, headers = _parse(head)
        length = _length(headers)
        if fault in ("refuse", "reset_before"):
            return _reset(writer)
        if fault == "early_close":
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        if fault == "reset_in":
            await reader.readexactly(length // 2)
            return _reset(writer)
        wire = await reader.readexactly(length)
        seen = Seen(method, path, headers, _decoded(wire, headers), wire)
        self.open_requests += 1
        try:
            return await self._answer(seen, fault, writer)
        finally:
            self.open_requests -= 1

    async def _answer(self, seen: Seen, fault: str, writer: asyncio.StreamWriter) -> bool:
        records = self._check(seen)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if fault == "413" and len(records) == 1:
            fault = "503"                   # said of one record, it would rightly be its death
        if fault in _STATUSES:
            status, more = _STATUSES[fault]
            body = b'{"error":"' + fault.encode() + b'"}'
            return await _write(writer, Reply(status, body, more()))
        if fault == "login":
            return await _write(writer, Reply(200, b"<!doctype html><html>welcome", {"Content-Type": "text/html; charset=utf-8"}))
        if fault == "hang":
            await self.hung_long_enough.wait()
            return False
        if fault == "reset_after":
            return _reset(writer)
        if fault == "bad_http":
            writer.write(b"\x00\x01 what is this\r\n\r\n")
            return False
        if fault in ("endless_500", "100_mb"):
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 100000000\r\n\r\n")
            return await _pour(writer)
        if self.limit_bytes is not None and len(seen.body) > self.limit_bytes:
            return await _write(writer, Reply(413, b"too large"))
        reply = self._reply(seen, records, fault)
        if fault == "late_100":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0)
        if fault == "stored_then_reset":
            return _reset(writer)
        return await _write(writer, reply, fault)

    def _reply(self, seen: Seen, records: list[bytes], fault: str) -> Reply:
        """What the far side stores of it, and says."""
        dead = {i: why for i, record in enumerate(records) if (why := self.refuses(record))}
        retry = {i for i in range(len(records)) if i not in dead and self.rng.random() < 0.5} if fault == "half" else set()
        if not dead and not retry:
            self._store(records)
            return self.codec.taken(seen, records)  # type: ignore[no-any-return]
        reply = self.codec.partial(seen, records, dead, retry)
        if reply is not None:
            self._store([record for i, record in enumerate(records) if i not in dead and i not in retry])
            return reply  # type: ignore[no-any-return]
        if not dead:
            return Reply(503, b"half of it only")
        return Reply(400, f"{len(dead)} bad: {next(iter(dead.values()))}".encode())

    def _store(self, records: list[bytes]) -> None:
        for record in records:
            token = _token(record)
            self.stored[token] = record
            self.order.append(token)

    def _check(self, seen: Seen) -> list[bytes]:
        """Equal records have equal bytes, equal keys equal bodies."""
        self.seen.append(seen)
        records: list[bytes] = self.codec.records(seen)
        for record in records:
            first = self._content.setdefault(_token(record), record)
            assert first == record, f"the same record with other bytes: {first!r} and {record!r}"
        key = seen.headers.get("idempotency-key", "")
        if key:
            assert self._keys.setdefault(key, seen.wire) == seen.wire, "another body under the same Idempotency-Key"
        return records


_STATUSES: dict[str, tuple[int, Callable[[], dict[str, str]]]] = {
    "400": (400, dict), "401": (401, dict), "403": (403, dict), "404": (404, dict), "408": (408, dict), "413": (413, dict),
    "500": (500, dict), "503": (503, dict),
    "429_s": (429, lambda: {"Retry-After": "2"}),
    "429_date": (429, lambda: {"Date": formatdate(1_000_000, usegmt=True), "Retry-After": formatdate(1_000_003, usegmt=True)}),
    "307": (307, lambda: {"Location": "http://127.0.0.1:1/elsewhere"}),
    "308": (308, lambda: {"Location": "http://127.0.0.1:1/elsewhere?token=abc"}),
}


def _poison(record: bytes) -> str:
    return "mapper_parsing_exception: poison" if b"poison" in record else ""


def _token(record: bytes) -> bytes:
    found = TOKEN.search(record)
    assert found is not None, f"no token in {record!r}"
    return found[0]


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return (await reader.readuntil(b"\r\n\r\n"))[:-4]
    except asyncio.IncompleteReadError as error:
        assert not error.partial, f"half a request head: {error.partial!r}"
        return None


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *rest = head.split(b"\r\n")
    found = _LINE.fullmatch(first)
    assert found is not None, f"not a request line: {first!r}"
    headers: dict[str, str] = {}
    for line in rest:
        field_ = _HEADER.fullmatch(line)
        assert field_ is not None, f"not a header: {line!r}"
        name = field_[1].decode().lower()
        assert name not in headers, f"{name} twice"
        headers[name] = field_[2].decode()
    assert "host" in headers, "no Host"
    return found[1].decode(), found[2].decode(), headers


def _length(headers: Mapping[str, str]) -> int:
    assert "transfer-encoding" not in headers and headers.get("content-length", "").isdigit(), f"no length: {headers}"
    return int(headers["content-length"])


def _decoded(wire: bytes, headers: Mapping[str, str]) -> bytes:
    encoding = headers.get("content-encoding", "")
    assert encoding in ("", "gzip", "zstd"), encoding
    if encoding == "zstd":
        from backports import zstd

        return zstd.decompress(wire)
    return gzip.decompress(wire) if encoding else wire


def _reset(writer: asyncio.StreamWriter) -> bool:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def _pour(writer: asyncio.StreamWriter, most_bytes: int = 100_000_000) -> bool:
    """Bytes without end, until the client hangs up."""
    for _ in range(most_bytes // 65536):
        writer.write(b"x" * 65536)
        await writer.drain()
    return False


async def _write(writer: asyncio.StreamWriter, reply: Reply, fault: str = "") -> bool:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
    body = reply.body
    if fault == "wrong_type":
        body = b"<!doctype html><html>welcome to the proxy</html>"
        headers |= {"Content-Type": "text/html", "Content-Length": str(len(body))}
    if fault == "ok_then_reset":
        headers["Content-Length"] = str(len(body) + 100)
    if fault == "endless_200":
        headers["Content-Length"] = "100000000"
    head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    if fault == "drip":
        for byte in (head.encode() + body)[:300]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        writer.write((head.encode() + body)[300:])
        return True
    writer.write(head.encode() + body)
    await writer.drain()
    if fault == "ok_then_reset":
        await asyncio.sleep(0.01)
        return _reset(writer)
    return await _pour(writer) if fault == "endless_200" else True
