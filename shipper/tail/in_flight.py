"""Sections on their way into the buffer: how many bytes at most, and what to do when a write or sync failed. Driver.

Invariants:
  B1  bytes read and not yet appended are bounded by IN_FLIGHT_BYTES (P7)
  B2  after a failed append `on_lost` is called before anything else is submitted: the positions went back, and so must
      every file
  B3  a key belongs to one file: two files of one key would be one file with jumps, which the buffer refuses
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from ..errors import BufferLost
from ..model import Section
from ..telemetry import Telemetry
from .accounting import account
from .ports import BufferPort

IN_FLIGHT_BYTES = 4 * 1024 * 1024
FRAME_BYTES = 128 * 1024


def weight_bytes(sections: Iterable[Section]) -> int:
    """What these hold in memory.

    300 pods whose open records of 1 MiB end in one tick made one frame of 300 MiB out of 15 KB.
    """
    return sum([section.held_bytes for section in sections])


def frames_of(sections: list[Section]) -> list[list[Section]]:
    """As frames of FRAME_BYTES, so that delivery starts with the first."""
    parts: list[list[Section]] = []
    size = FRAME_BYTES
    for section in sections:
        if size >= FRAME_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(section)
        size += section.held_bytes
    return parts


class InFlight:
    """`read_bytes`: source bytes submitted since the start."""

    def __init__(self, buffer: BufferPort, telemetry: Telemetry, on_lost: Callable[[], None]) -> None:
        self._buffer, self._telemetry, self._on_lost = buffer, telemetry, on_lost
        self._waiting: deque[tuple[asyncio.Future[int], int]] = deque()
        self._bytes = 0
        self._claimed: set[str] = set()                   # keys that are in no frame yet
        self.read_bytes = 0
        self._lost = False                                # a submit failed and `on_lost` was not called since

    def claim(self, key: str) -> bool:
        """Take `key` for a file that is new; False where it is another's (B3)."""
        if key in self._claimed or key in self._buffer.positions.files:
            return False
        self._claimed.add(key)
        return True

    def submit(self, sections: list[Section], *, told: bool = False) -> asyncio.Future[int]:
        """One frame. Its future fails where the buffer went back; `drained` then calls `on_lost`. `told`: the log and the
        metrics have these sections already."""
        size = weight_bytes(sections)
        try:
            if self._lost:                                # the next part of a read whose first part was refused (B2)
                raise BufferLost("made from offsets that went back")
            future = self._buffer.submit(sections)
        except BufferLost as lost:
            self._lost = True
            future = asyncio.get_running_loop().create_future()
            future.set_exception(lost)
        else:
            self._claimed -= {section.file.key for section in sections}
        self._waiting.append((future, size))
        self._bytes += size
        self.read_bytes += sum(section.end - section.start for section in sections)
        for section in [] if told else sections:
            account(section, self._telemetry)
        return future

    async def drained(self, *, all_of_it: bool = False) -> None:
        """Wait until the bound holds again (B1), or until nothing is in flight."""
        while self._waiting and (all_of_it or self._waiting[0][0].done() or self._bytes > IN_FLIGHT_BYTES):
            future, size = self._waiting.popleft()
            self._bytes -= size
            try:
                await future
            except (BufferLost, OSError):                 # said by the buffer
                self._lost = False
                self._on_lost()
        if self._buffer.went_back():                      # frames whose futures had told that they were appended
            self._lost = False
            self._on_lost()
