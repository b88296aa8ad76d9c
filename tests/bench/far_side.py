"""The receiver as the bench sees it: started once, told what to expect, asked what came; and the proof of what is missing.

Driver; `proof` and `latencies_ms` read the receiver's store after the run, never while it is timed.
"""
from __future__ import annotations

import array
import json
import mmap
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .corpus import Shape
from .receiver import REGION_BYTES, REGIONS

STALLED_S = 30.0
_LOOK_S = 0.5
_NUMBER = re.compile(rb"~(\d{7})")
_STAMPED = re.compile(rb"~(\d{7}) at=(\d{19})")


class Proof(NamedTuple):
    """disordered: lines that came behind a later line of their file."""

    missing: int
    repeated: int
    disordered: int


class FarSide:
    """A receiver process. Use it with `with`."""

    def __init__(self) -> None:
        base = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._directory = tempfile.TemporaryDirectory(prefix="shipper-bench-", dir=base)
        self._store = Path(self._directory.name, "store")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.receiver", str(self._store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self.port: int = self._hear("port", 20.0)

    def __enter__(self) -> FarSide:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._directory.cleanup()

    def begin(self, expected: int, *, marks: bool = False) -> None:
        """Forget the last run; `done` comes at `expected` marks."""
        self._tell(f"begin {expected} {int(marks)}")
        self._hear("begun", 20.0)

    def wait(self, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> dict[str, Any] | None:
        """What it counted when all had come; None where nothing more came for STALLED_S or from a sender that has ended,
        or at the time-out."""
        end_s, count, since_s = time.monotonic() + timeout_s, -1, time.monotonic()
        while time.monotonic() < end_s:
            done = self._hear("done", _LOOK_S * 4, must=False)
            if done is not None:
                return dict(done)
            now = self.report()
            if "done" in now:
                return dict(now["done"])
            if now["count"] > count:
                count, since_s = now["count"], time.monotonic()
            elif time.monotonic() - since_s > STALLED_S or not alive():
                return None
        return None

    def report(self) -> dict[str, Any]:
        """Where it stands."""
        self._tell("report")
        return dict(self._hear("report", 20.0))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self, key: str, timeout_s: float, *, must: bool = True) -> Any:
        """The value of the next line with `key`. A `done` that comes before a report is handed out with it."""
        assert self._process.stdout is not None
        done = None
        while self._selector.select(timeout_s):
            said = json.loads(self._process.stdout.readline())
            if key in said:
                return said[key] | {"done": done} if done is not None else said[key]
            done = said.get("done", done)
        if must:
            raise RuntimeError(f"the receiver did not answer {key!r} within {timeout_s:g} s")
        return None

    # ------------------------------------------------------------ what came

    def _regions(self, facts: dict[str, Any]) -> list[bytes]:
        with self._store.open("rb") as file, mmap.mmap(file.fileno(), REGIONS * REGION_BYTES, access=mmap.ACCESS_READ) as store:
            return [store[i * REGION_BYTES:i * REGION_BYTES + used] for i, used in enumerate(facts["regions"])]

    def proof(self, shape: Shape) -> Proof:
        """Which numbers of the corpus did not come, or came twice, or late, in all that has arrived."""
        numbers = [int(n) for region in self._regions(self.report()) for n in _NUMBER.findall(region)]
        firsts = [shape.first(file + 1) for file in range(shape.files)]
        return prove(numbers, shape.lines, firsts)

    def latencies_ms(self) -> list[float]:
        """From the stamp in a line to the end of the read that brought it, for each stamped line, in order of arrival."""
        facts = self.report()
        marks = array.array("q")
        marks.frombytes(Path(str(self._store) + ".marks").read_bytes())
        found = []
        for region, data in enumerate(self._regions(facts)):
            ends = [end for of, end in zip(marks[::3], marks[1::3]) if of == region]
            times = [ns for of, ns in zip(marks[::3], marks[2::3]) if of == region]
            for match in _STAMPED.finditer(data):
                found.append((times[bisect_left(ends, match.end())] - int(match[2])) / 1e6)
        return found


def prove(numbers: list[int], lines: int, file_ends: list[int]) -> Proof:
    """`numbers` in order of arrival; file f holds the numbers below file_ends[f] that no earlier file holds. Pure."""
    distinct = set(numbers)
    last, disordered = [-1] * len(file_ends), 0
    for number in numbers:
        file = bisect_left(file_ends, number + 1)
        if number < last[file]:
            disordered += 1
        else:
            last[file] = number
    return Proof(lines - len(distinct), len(numbers) - len(distinct), disordered)
