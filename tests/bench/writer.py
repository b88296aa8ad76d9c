"""Writes at a steady rate, one write() a line, each line with the time of its writing. Its own process.

    python -m tests.bench.writer RUN_S BUSY < paths        prints by how many ms it was late at worst

The first BUSY paths share LINES_PER_S, in turns; each other one gets a line every QUIET_EVERY_S.
"""
from __future__ import annotations

import os
import sys
import time

LINES_PER_S = 10_000
QUIET_EVERY_S = 15.0
SLICE_S = 0.001
_FILLER = b'10.42.7.9 - - "GET /api/v1/orders HTTP/1.1" 200 5120 "https://shop.example.com/" "Mozilla/5.0 (X11; Linux)" rt=0.012'


def plan(run_s: float, busy: int, quiet: int) -> int:
    """How many lines there will be."""
    return int(run_s * LINES_PER_S) + len(quiet_times(run_s, quiet))


def quiet_times(run_s: float, quiet: int) -> list[tuple[float, int]]:
    """(second, quiet file), in order: spread evenly, so that one comes now and then."""
    times = []
    for file in range(quiet):
        at_s = QUIET_EVERY_S * file / quiet
        while at_s < run_s:
            times.append((at_s, file))
            at_s += QUIET_EVERY_S
    return sorted(times)


def line(number: int) -> bytes:
    now_ns = time.time_ns()
    second, fraction = divmod(now_ns, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{fraction:09d}".rstrip("0.") + "Z"
    stream = b"stderr" if number % 15 == 0 else b"stdout"
    return b"%b %b F %b ~%07d at=%d\n" % (stamp.encode(), stream, _FILLER, number % 10_000_000, now_ns)


def main(run_s: float, busy: int) -> float:
    fds = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in sys.stdin.read().split("\n")]
    total, quiet = int(run_s * LINES_PER_S), quiet_times(run_s, len(fds) - busy)
    written, number, worst_s, began_s = 0, 0, 0.0, time.monotonic()
    while written < total or quiet:
        since_s = time.monotonic() - began_s
        due = min(total, int(since_s * LINES_PER_S))
        worst_s = max(worst_s, (due - written) / LINES_PER_S)
        while written < due:
            os.write(fds[written % busy], line(number))
            written += 1
            number += 1
        while quiet and quiet[0][0] <= since_s:
            os.write(fds[busy + quiet.pop(0)[1]], line(number))
            number += 1
        time.sleep(SLICE_S)
    return worst_s * 1000


if __name__ == "__main__":
    print(f"{main(float(sys.argv[1]), int(sys.argv[2])):.1f}")
