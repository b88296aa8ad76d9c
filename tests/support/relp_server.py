"""A strict RELP receiver on loopback, in this process: it notes every frame, and what librelp would not take, in `bad`.

    async with RelpServer() as server: server.port; server.messages; server.most_unanswered

Answers as told: `hold` (until `release()`), `answer(message) -> "200 OK" | "500 ..." | None (says nothing)`, `backwards`
(the answers of what came in one read in reverse order), `say` (bytes in place of the first answer), `offers`,
`close_after` (serverclose and the end of the connection after so many messages), `cut_after` (a reset, answers unsent).
"""
from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections.abc import Callable
from typing import Any

_HEAD = re.compile(rb"(\d{1,9}) ([A-Za-z]{1,32}) (\d{1,9})( |\n)")


class RelpServer:
    def __init__(
        self, *, answer: Callable[[bytes], str | None] = lambda message: "200 OK", backwards: bool = False, say: bytes = b"",
        offers: bytes = b"200 OK\nrelp_version=0\nrelp_software=fake\ncommands=syslog", close_after: int = 0, cut_after: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer, self.backwards, self.say, self.offers, self.tls = answer, backwards, say, offers, tls
        self.close_after, self.cut_after = close_after, cut_after
        self.troubles: list[dict[str, Any]] = []         # one per connection, as long as there are some: attributes to set
        self.messages: list[bytes] = []
        self.answered: list[bytes] = []
        self.opened: list[bytes] = []
        self.bad: list[str] = []
        self.closes = self.most_unanswered = 0
        self.port = 0
        self.free = asyncio.Event()
        self.free.set()
        self.arrived = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> RelpServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def until(self, count: int) -> None:
        """So many messages have come."""
        async with asyncio.timeout(15):
            while len(self.messages) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self.troubles:
            trouble = self.troubles.pop()
            for name in ("cut_after", "close_after"):
                setattr(self, name, len(self.messages) + trouble[name] if name in trouble else 0)
            self.say, self.backwards = trouble.get("say", b""), trouble.get("backwards", False)
        try:
            await self._read(reader, writer)
        except ConnectionError:
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held, expected = b"", 1
        while data := await reader.read(65536):
            held += data
            frames: list[tuple[int, bytes, bytes]] = []
            while (found := self._one(held)) is not None:
                number, command, body, held = found
                if number != expected:
                    self.bad.append(f"transaction {number}, expected {expected}")
                expected = number % 999_999_999 + 1
                frames.append((number, command, body))
            new = [body for _, command, body in frames if command == b"syslog"]
            self.messages += new
            self.most_unanswered = max(self.most_unanswered, len(new))
            self.arrived.set()
            await self.free.wait()
            if self.cut_after and len(self.messages) >= self.cut_after:
                self.cut_after = 0
                writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))     # SO_LINGER: a reset
                return
            if not await self._answer(frames, writer):
                return

    async def _answer(self, frames: list[tuple[int, bytes, bytes]], writer: asyncio.StreamWriter) -> bool:
        for number, command, body in reversed(frames) if self.backwards else frames:
            words: str | None
            if command == b"open":
                self.opened.append(body)
                words = self.offers.decode()
            elif command == b"close":
                self.closes += 1
                writer.write(b"%d rsp 0\n0 serverclose 0\n" % number)
                await writer.drain()
                return False
            elif self.say:
                writer.write(self.say)
                self.say = b""
                continue
            else:
                words = self.answer(body)
            if words is not None:
                writer.write(b"%d rsp %d %b\n" % (number, len(words), words.encode()))
                if command == b"syslog":
                    self.answered.append(body)
        if self.close_after and len(self.messages) >= self.close_after:
            self.close_after = 0
            writer.write(b"0 serverclose 0\n")
            await writer.drain()
            return False
        await writer.drain()
        return True

    def _one(self, held: bytes) -> Any:
        found = _HEAD.match(held)
        if found is None:
            if len(held) > 53:
                self.bad.append(f"no frame: {held[:40]!r}")
            return None
        length = int(found[3])
        if not length:
            if found[4] != b"\n":
                self.bad.append("a blank behind a length of 0: librelp wants the newline there")
            return int(found[1]), found[2], b"", held[found.end():]
        end = found.end() + length
        if len(held) <= end:
            return None
        if held[end:end + 1] != b"\n":
            self.bad.append(f"no newline behind frame {found[1]!r}")
        return int(found[1]), found[2], held[found.end():end], held[end + 1:]
