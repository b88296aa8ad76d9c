"""Receivers inside the test: what came over TCP (each connection read to its end, then closed, which answers a barrier)
and over UDP. For a receiver that has to be killed see syslog_receiver.py."""
from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.ports import kept_port

from .agent import eventually


class Collector:
    """`data`: bytes per connection, or per datagram, in the order of arrival."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.port: int = sock.getsockname()[1]
        self.data: list[bytes] = []

    def _accept(self) -> None:
        with contextlib.suppress(OSError):          # closed: the test is over
            while True:
                connection, _ = self._sock.accept()
                self.data.append(b"")
                threading.Thread(target=self._read, args=(connection, len(self.data) - 1), daemon=True).start()

    def _read(self, connection: socket.socket, index: int) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                self.data[index] += data

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.data.append(self._sock.recv(1 << 16))

    def lines(self, count: int) -> list[bytes]:
        """The first `count` lines over TCP, without their newlines, once they are there."""
        return eventually(f"{count} lines", lambda: found if len(found := b"".join(self.data).split(b"\n")[:-1]) >= count else [],
                          else_say=lambda: f"{self.data!r:.2000}")

    def datagrams(self, count: int) -> list[bytes]:
        """All datagrams, once there are `count`."""
        return eventually(f"{count} datagrams", lambda: self.data if len(self.data) >= count else [],
                          else_say=lambda: f"{self.data!r:.2000}")


@contextlib.contextmanager
def tcp() -> Iterator[Collector]:
    """A TCP receiver on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        collector = Collector(sock)
        threading.Thread(target=collector._accept, daemon=True).start()
        yield collector
        sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def udp() -> Iterator[Collector]:
    """A UDP receiver on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        collector = Collector(sock)
        threading.Thread(target=collector._receive, daemon=True).start()
        yield collector


def dead_port() -> int:
    """A port where nobody listens, nor will."""
    return kept_port()
