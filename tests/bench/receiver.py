"""The far side, as its own process: takes bytes as fast as a core can, keeps them in memory, counts marks. Driver.

    python -m tests.bench.receiver STORE_FILE        STORE_FILE lies on a tmpfs; the first line printed is the port

    told on stdin          answers on stdout (one JSON object a line)
    begin EXPECTED MARKS   {"begun": true}                  forgets all; MARKS 1: remember when each read came (latency)
                           {"done": ...}                    by itself, once EXPECTED marks were counted
    report                 {"report": ...}                  where it stands

Invariants:
  R1  one recv_into, one count of one byte and no copy a read: it has to be faster than every agent (`ceiling` shows it)
  R2  no two connections write into one region of the store at a time, so that lines are never torn by each other
  R3  what arrived is checked afterwards (proof.py), not here
"""
from __future__ import annotations

import array
import json
import mmap
import os
import selectors
import socket
import sys
import time
from typing import Any

from .corpus import MARK

REGION_BYTES = 1 << 30
REGIONS = 64
READ_BYTES = 1 << 20


class Receiver:
    """State of one run; `begin` starts the next."""

    def __init__(self, store: str) -> None:
        self.store_path = store
        fd = os.open(store, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        os.ftruncate(fd, REGIONS * REGION_BYTES)            # sparse: only what is written takes memory
        self.map = mmap.mmap(fd, REGIONS * REGION_BYTES)
        self.view = memoryview(self.map)
        os.close(fd)
        self.run = 0
        self.begin(0, False)

    def begin(self, expected: int, marks: bool) -> None:
        self.run += 1
        self.expected, self.with_marks = expected, marks
        self.count = self.bytes = self.first_ns = self.last_ns = 0
        self.used: list[int] = []                           # bytes in each region
        self.free: list[int] = []                           # regions without a connection
        self.marks = array.array("q")                       # region, end, wall clock ns, for each read
        self.said = expected == 0

    def connected(self) -> tuple[int, int]:
        """A region: one whose connection has ended, else a new one (rsyslogd opens connections all the time)."""
        if self.free:
            return self.run, self.free.pop()
        if len(self.used) == REGIONS:
            raise SystemExit(f"more than {REGIONS} connections at once")
        self.used.append(0)
        return self.run, len(self.used) - 1

    def closed(self, place: tuple[int, int]) -> None:
        if place[0] == self.run:
            self.free.append(place[1])

    def read(self, sock: socket.socket, place: tuple[int, int]) -> bool:
        """One read into the region; False at the end of the connection, and for one that is left of the run before."""
        run, region = place
        if run != self.run:
            return False
        used = self.used[region]
        at = region * REGION_BYTES + used
        try:
            size = sock.recv_into(self.view[at:at + min(READ_BYTES, REGION_BYTES - used)])
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not size:
            return False
        self.last_ns = time.monotonic_ns()
        if not self.first_ns:
            self.first_ns = self.last_ns
        if self.with_marks:
            self.marks.extend((region, used + size, time.time_ns()))
        self.used[region] = used + size
        self.bytes += size
        self.count += bytes(self.view[at:at + size]).count(MARK)
        return True

    def facts(self) -> dict[str, Any]:
        return {
            "count": self.count, "bytes": self.bytes, "first_ns": self.first_ns, "last_ns": self.last_ns,
            "regions": self.used, "cpu_s": time.process_time(),
        }

    def report(self) -> dict[str, Any]:
        if self.with_marks:
            with open(self.store_path + ".marks", "wb") as out:
                self.marks.tofile(out)
        return self.facts()


def serve(receiver: Receiver) -> None:
    """Until stdin ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ, None)
    selector.register(sys.stdin.buffer, selectors.EVENT_READ, "stdin")
    _say({"port": listening.getsockname()[1]})
    while True:
        for key, _ in selector.select():
            if key.data == "stdin":
                if not _told(receiver, sys.stdin.buffer.readline()):
                    return
            elif key.data is None:
                sock, _ = listening.accept()
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ, receiver.connected())
            elif not receiver.read(key.fileobj, key.data):  # type: ignore[arg-type]
                receiver.closed(key.data)
                selector.unregister(key.fileobj)
                key.fileobj.close()                         # type: ignore[union-attr]
        if receiver.count >= receiver.expected and not receiver.said:
            receiver.said = True
            _say({"done": receiver.facts()})


def _told(receiver: Receiver, line: bytes) -> bool:
    words = line.split()
    if not words:
        return False
    if words[0] == b"begin":
        receiver.begin(int(words[1]), words[2] == b"1")
        _say({"begun": True})
    else:
        _say({"report": receiver.report()})
    return True


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Receiver(sys.argv[1]))
