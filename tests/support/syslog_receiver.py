"""A strict syslog receiver, as a process of its own, so that it can be killed with bytes unread.

Strict: a frame that is not exactly what RFC 6587 says is reported in `bad`, never guessed at. What it has read and found
whole it writes to `out` (one JSON string per message, latin-1) with one write(2) per read(2): a message that it read is
stored, whatever kills it.

    process   python syslog_receiver.py JSON-OPTIONS     commands on standard input, answers on standard output
    handle    Receiver(tmp_path); await .start(); .port; await .wait(n); .messages(); await .kill()
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

WAIT_S = 15


# ---------------------------------------------------------------- the process

class Framer:
    """Bytes in, whole messages out."""

    def __init__(self, framing: str) -> None:
        self.framing, self.held, self.bad = framing, b"", ""

    def feed(self, data: bytes) -> list[bytes]:
        self.held += data
        return self._lines() if self.framing == "newline" else self._counted()

    def _lines(self) -> list[bytes]:
        *whole, self.held = self.held.split(b"\n")
        return whole

    def _counted(self) -> list[bytes]:
        whole, at = [], 0
        while True:
            head = re.compile(rb"([1-9]\d{0,6}) ").match(self.held, at)
            if head is None:
                if len(self.held) - at > 8 or (self.held[at:] and not self.held[at:].isdigit()):
                    self.bad = self.bad or f"no octet count: {self.held[at:at + 40]!r}"
                break
            end = head.end() + int(head[1])
            if end > len(self.held):
                break
            whole.append(self.held[head.end():end])
            at = end
        self.held = self.held[at:]
        return whole


class Server:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.out = os.open(options["out"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self.changed = threading.Condition()
        self.count = self.connections = self.fins = self.bytes = 0
        self.bad = ""
        self.stalled = threading.Event()
        if not options.get("stalled"):
            self.stalled.set()              # set: reading goes on
        self.open: list[socket.socket] = []
        self.listener = socket.create_server((options.get("host", "127.0.0.1"), options.get("port", 0)))
        self.context: ssl.SSLContext | None = None
        if tls := options.get("tls"):
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls["cert"], tls.get("key"))
            if tls.get("client_ca"):
                self.context.verify_mode = ssl.CERT_REQUIRED
                self.context.load_verify_locations(tls["client_ca"])
            if tls.get("max_version"):
                self.context.maximum_version = ssl.TLSVersion[tls["max_version"]]

    def accept(self) -> None:
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        with self.changed:
            self.connections += 1
            self.open.append(sock)
            self.changed.notify_all()
        try:
            if self.context is not None:
                plain, sock = sock, self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
                self.open[self.open.index(plain)] = sock
            self.read(sock)
        except OSError as error:
            self.note_bad(f"connection: {error}" if not isinstance(error, ConnectionError) else "")
        if self.options.get("never_fin"):
            return                          # `self.open` keeps the socket
        sock.close()

    def read(self, sock: socket.socket) -> None:
        framer, rate = Framer(self.options["framing"]), self.options.get("rate")
        while True:
            self.stalled.wait()
            data = sock.recv(min(65536, rate // 20) if rate else 65536)
            whole = framer.feed(data)
            if whole:
                os.write(self.out, b"".join(json.dumps(m.decode("latin-1")).encode() + b"\n" for m in whole))
            with self.changed:
                self.count += len(whole)
                self.bytes += len(data)
                self.fins += not data
                self.bad = self.bad or framer.bad
                self.changed.notify_all()
            if not data:
                return
            if rate:                        # not between read and write: killed there it would have read, and answered for, more
                select.select([], [], [], len(data) / rate)

    def note_bad(self, why: str) -> None:
        with self.changed:
            self.bad = self.bad or why

    def shut(self, how: int) -> None:
        """Below TLS. A peer that is gone already is none of our business."""
        for sock in self.alive():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, how)

    def alive(self) -> list[socket.socket]:
        return [sock for sock in self.open if sock.fileno() != -1]

    def command(self, line: str) -> None:
        name, _, argument = line.strip().partition(" ")
        if name == "wait":
            with self.changed:
                self.changed.wait_for(lambda: self.count >= int(argument), WAIT_S)
        elif name == "wait_connections":
            with self.changed:
                self.changed.wait_for(lambda: self.connections >= int(argument), WAIT_S)
        elif name == "wait_fins":
            with self.changed:
                self.changed.wait_for(lambda: self.fins >= int(argument), WAIT_S)
        elif name == "stall":
            self.stalled.clear()
        elif name == "resume":
            self.stalled.set()
        elif name == "half_close":
            self.shut(socket.SHUT_WR)
        elif name == "reset":
            for sock in self.alive():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.shut(socket.SHUT_RD)                  # its thread wakes up and closes it: with linger 0, a reset
        elif name == "shut_down":
            self.shut(socket.SHUT_RDWR)
        elif name == "certificate" and self.context is not None:
            self.context.load_cert_chain(argument)     # for connections from now on
        state = {"count": self.count, "connections": self.connections, "fins": self.fins, "bytes": self.bytes, "bad": self.bad}
        print(json.dumps(state), flush=True)

    def run(self) -> None:
        threading.Thread(target=self.accept, daemon=True).start()
        print(json.dumps({"port": self.listener.getsockname()[1]}), flush=True)
        for line in sys.stdin:
            self.command(line)


# ---------------------------------------------------------------- the handle

class Receiver:
    """options: framing, tls {cert, key, client_ca, max_version}, rate (bytes/s), stalled, never_fin, host, port."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.out = directory / "received.jsonl"
        self.options = {"framing": "octet-counted", **options, "out": str(self.out)}
        self.port = 0

    async def start(self, **changed: Any) -> Receiver:
        """Starts it, again on the same port after `kill`."""
        from tests.support.ports import kept_port  # here: the process started below knows this file alone

        self.options = {"port": kept_port()} | self.options | changed
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, json.dumps(self.options), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        self.port = self.options["port"] = (await self._answer())["port"]
        return self

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), WAIT_S + 5)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, command: str) -> dict[str, Any]:
        """stats | wait N | wait_connections N | wait_fins N | stall | resume | half_close | shut_down | reset |
        certificate PEM-FILE. Returns the counts."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        return await self._answer()

    async def wait(self, messages: int) -> dict[str, Any]:
        """Until so many messages were stored by this process (bounded)."""
        answer = await self.ask(f"wait {messages}")
        assert answer["count"] >= messages, answer
        return answer

    def messages(self) -> list[bytes]:
        """All that was stored, by processes killed since too."""
        return [json.loads(line).encode("latin-1") for line in self.out.read_bytes().splitlines()] if self.out.exists() else []

    async def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """As a receiver without ceremony ends: its connections are closed, whatever is unread."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)
        await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]
        if self.out.exists():                          # a write that the kill tore: not stored
            data = self.out.read_bytes()
            os.truncate(self.out, data.rfind(b"\n") + 1)


if __name__ == "__main__":
    Server(json.loads(sys.argv[1])).run()
