"""What the receivers that are processes of their own have in common: counting marks, and a few words with the bench. Driver.

    {"port": n}         on stdout: it listens
    {"all": true}       as many marks have come as were expected; it goes on listening
    {"totals": {...}}   the bench has closed its stdin, because the agent has ended: what was on its way is read by then

Which numbers are missing or came twice is looked up when all is over, not while it is timed. gzip is inflated by isal where that
is installed: counting costs a receiver, on the same two cores, what a real one would pay.
"""
from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

try:
    from isal import isal_zlib as inflating
except ImportError:
    inflating = zlib                        # type: ignore[assignment]

NUMBER = re.compile(rb"~(\d{7})")
DRAINED_S = 10.0


class Tally:
    """`last_ns`: when the mark came with which there were as many as expected, or the last one of fewer."""

    def __init__(self, expected: int) -> None:
        self.expected, self.count, self.last_ns = expected, 0, 0

    def add(self, count: int, at_ns: int = 0) -> None:
        """So many marks have come, at `at_ns` of the monotonic clock or just now."""
        if not count or self.count >= self.expected:
            return
        self.count, self.last_ns = self.count + count, at_ns or time.monotonic_ns()
        if self.count >= self.expected:
            say(all=True)

    def totals(self, numbers: Iterable[int], **others: Any) -> dict[str, Any]:
        """`numbers`: of all that has come."""
        rows = list(numbers)
        distinct = len(set(rows))
        return {"last_ns": self.last_ns, "missing": self.expected - distinct, "repeated": len(rows) - distinct,
                "cpu_s": time.process_time(), **others}


def inflated(data: bytes) -> bytes:
    """Of gzip."""
    return bytes(inflating.decompress(data, 31))


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


async def told_to_end() -> None:
    """Returns when the bench has closed this process's stdin."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def until(met: Callable[[], bool]) -> None:
    """Bounded. Not at once: what was sent is in this host's sockets, connections that wait to be accepted among them."""
    async with asyncio.timeout(DRAINED_S):
        await asyncio.sleep(0.01)
        while not met():
            await asyncio.sleep(0.01)
