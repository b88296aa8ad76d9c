"""A strict receiver of the forward protocol on loopback, in this process. Payloads are checked with PyPI's msgpack.

    async with ForwardServer() as server: server.port; server.events: [(tag, (seconds, nanoseconds), record)]

Told to: `shared_key`, `users` {name: password}, `fluent_bit` (HELO's nonce as text, as Fluent Bit has it), `ack(chunk)` ->
bytes or None (silence), `cut_after` (a reset after so many chunks, unacknowledged), `hold` until `free` is set.
"""
from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import ssl
import struct
from collections.abc import Callable
from typing import Any

import msgpack


class ForwardServer:
    def __init__(
        self, *, shared_key: str = "", users: dict[str, str] | None = None, fluent_bit: bool = False, cut_after: int = 0,
        ack: Callable[[str], bytes | None] = lambda chunk: msgpack.packb({"ack": chunk}), tls: ssl.SSLContext | None = None,
        hello: bytes | None = None, prove_with: str | None = None,
    ) -> None:
        self.shared_key, self.users, self.fluent_bit, self.ack, self.tls = shared_key, users, fluent_bit, ack, tls
        self.cut_after, self.hello, self.prove_with = cut_after, hello, prove_with or shared_key
        self.chunks: list[tuple[str, str, bytes]] = []               # tag, chunk, message
        self.events: list[tuple[str, tuple[int, int], dict[str, Any]]] = []
        self.connections = 0
        self.troubles: list[dict[str, Any]] = []         # one per connection, as long as there are some
        self.bad: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.arrived = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._answers: list[bytes | None] = []

    async def __aenter__(self) -> ForwardServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def until(self, chunks: int) -> None:
        async with asyncio.timeout(15):
            while len(self.chunks) < chunks:
                self.arrived.clear()
                await self.arrived.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        if self.troubles:
            trouble = self.troubles.pop()
            self.cut_after = len(self.chunks) + trouble["cut_after"] if "cut_after" in trouble else 0
            self._answers = list(trouble.get("answers", ()))
        try:
            await self._read(reader, writer)
        except ConnectionError:
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonce, salt = os.urandom(16), os.urandom(16) if self.users else b""
        if self.hello is not None:
            writer.write(self.hello)
        elif self.shared_key:
            packer = msgpack.Packer(use_bin_type=not self.fluent_bit)
            writer.write(packer.pack(["HELO", {"nonce": nonce, "auth": salt, "keepalive": True}]))
        known = not self.shared_key
        unpacker = msgpack.Unpacker(raw=False, unicode_errors="strict", ext_hook=msgpack.ExtType, strict_map_key=True)
        while data := await reader.read(65536):
            unpacker.feed(data)
            start = unpacker.tell()
            for word in unpacker:
                size, start = unpacker.tell() - start, unpacker.tell()
                if not known:
                    known = self._ping(word, nonce, salt, writer)
                    if not known:
                        await writer.drain()
                        return
                elif not await self._message(word, size, writer):
                    return

    def _ping(self, word: list[Any], nonce: bytes, auth_salt: bytes, writer: asyncio.StreamWriter) -> bool:
        name, host, salt, proof, user, digest = word
        if name != "PING" or len(word) != 6:
            self.bad.append(f"no PING: {word!r}")
        wanted = hashlib.sha512(salt + host.encode() + nonce + self.shared_key.encode()).hexdigest()
        reason = "" if proof == wanted else "shared_key mismatch"
        if not reason and self.users:
            password = self.users.get(user, "")
            if digest != hashlib.sha512(auth_salt + user.encode() + password.encode()).hexdigest():
                reason = "username/password mismatch"
        ours = hashlib.sha512(salt + b"server" + nonce + self.prove_with.encode()).hexdigest()
        writer.write(msgpack.packb(["PONG", not reason, reason, "" if reason else "server", "" if reason else ours]))
        return not reason

    async def _message(self, word: Any, size: int, writer: asyncio.StreamWriter) -> bool:
        tag, packed, option = word
        if option.get("compressed") == "gzip":
            packed = gzip.decompress(packed)
        found = []
        for time, record in self._entries(packed):
            found.append((tag, time, record))
        if option["size"] != len(found) or not isinstance(tag, str):
            self.bad.append(f"size {option['size']} for {len(found)} entries of {tag!r}")
        await self.free.wait()
        self.chunks.append((tag, option.get("chunk", ""), packed))
        self.arrived.set()
        if self.cut_after and len(self.chunks) >= self.cut_after:
            self.cut_after = 0
            writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))         # SO_LINGER: a reset
            return False
        self.events += found
        if "chunk" in option and (answer := self._answers.pop() if self._answers else self.ack(option["chunk"])) is not None:
            writer.write(answer)
            await writer.drain()
        return True

    def _entries(self, packed: bytes) -> Any:
        unpacker = msgpack.Unpacker(raw=False, unicode_errors="strict", ext_hook=msgpack.ExtType)
        unpacker.feed(packed)
        for time, record in unpacker:
            if not isinstance(time, msgpack.ExtType) or time.code != 0 or len(time.data) != 8:
                self.bad.append(f"no EventTime: {time!r}")
            yield struct.unpack(">II", time.data), record
