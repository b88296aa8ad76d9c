"""A syslog receiver that is down until `up`, and counts what came by the numbers in the lines.

    far = FarSide(); config: Agent.syslog_sink(far.port, framing="newline", barrier_idle="200ms")
    far.up(); far.down(); far.numbers -> Counter of the numbers behind "line "

Down means refused: the port is bound and nobody listens, so nobody else can take it.
"""
from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator

_NUMBER = re.compile(rb"line (\d+)\b")


class FarSide:
    """`numbers`: how often each line came. Reads each connection to its end, then closes it (which answers a barrier)."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self.numbers: Counter[int] = Counter()
        self._lock = threading.Lock()

    def up(self) -> None:
        self._sock.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):          # closed: the test is over
            while True:
                connection, _ = self._sock.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        held = b""
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 18):
                *whole, held = (held + data).split(b"\n")
                with self._lock:
                    self.numbers.update(int(found[1]) for line in whole if (found := _NUMBER.search(line)))

    def lost_and_repeated(self, count: int) -> tuple[int, int]:
        """Of the lines 0 to count - 1."""
        with self._lock:
            return sum(n not in self.numbers for n in range(count)), sum(self.numbers.values()) - len(self.numbers)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@contextlib.contextmanager
def far_side() -> Iterator[FarSide]:
    """Down at first."""
    far = FarSide()
    yield far
    far.close()
