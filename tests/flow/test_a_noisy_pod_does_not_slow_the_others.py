"""One log at 200,000 lines/s beside 50 at 100 and a sink that takes 5 MB/s: the 50 are not slowed, nothing is uncounted.

Turns are fair up to the buffer; behind it frames go out in order. With a sink that is slower than the noise a limit is what keeps
the others' lag: what a log brings over it waits in that log (`delay`), or is counted and told (`drop`).
"""
from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Agent, eventually

SINK_BYTES_PER_S = 5_000_000
NOISE_PER_S, QUIET_PER_S, QUIET_LOGS = 200_000, 100, 50
TICK_S = 0.05
WARM_UP_S = 2.0
RESULTS = Path(__file__).parents[1] / "results" / "fairness.json"
_QUIET = re.compile(rb"quiet (\d+) (\d+)")
_TOLD = re.compile(rb"([\d,]+) records of \S+ dropped by limit")


class SlowSink(threading.Thread):
    """A TCP receiver that takes SINK_BYTES_PER_S, and counts noise, quiet lines with their lag, and what it was told of drops."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.noise = self.quiet = self.told = self.taken_bytes = 0
        self.lags_s: list[tuple[float, float]] = []        # when sent, how late
        self.repeats = 0
        self._seen: set[bytes] = set()

    def run(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        rest, began_s, taken = b"", time.monotonic(), 0
        while data := connection.recv(64 * 1024):
            taken += len(data)
            self.taken_bytes += len(data)
            early_s = taken / SINK_BYTES_PER_S - (time.monotonic() - began_s)
            if early_s > 0:
                time.sleep(early_s)
            elif early_s < -0.1:                          # idle time is not saved up
                began_s, taken = time.monotonic(), 0
            *lines, rest = (rest + data).split(b"\n")
            self._count(lines)

    def _count(self, lines: list[bytes]) -> None:
        now_s = time.time()
        self.noise += sum([b" noise " in line for line in lines])
        for line in lines:
            if (found := _QUIET.search(line)) is not None:
                key = found[0]
                self.repeats += key in self._seen
                self._seen.add(key)
                self.quiet = len(self._seen)
                sent_s = int(found[2]) / 1e9
                self.lags_s.append((sent_s, now_s - sent_s))
            elif b" dropped by limit" in line and (told := _TOLD.search(line)) is not None:
                self.told += int(told[1].replace(b",", b""))


def write_for(agent: Agent, seconds: float) -> tuple[int, int]:
    """Both kinds of logs, at their rates; (noise, quiet lines) written."""
    block = b" noise 0123456789\n" * int(NOISE_PER_S * TICK_S)
    noisy = (agent.logs / "noisy.log").open("ab", buffering=0)
    quiet = [(agent.logs / f"quiet{n}.log").open("ab", buffering=0) for n in range(QUIET_LOGS)]
    noise = said = 0
    end_s = next_s = time.monotonic()
    end_s += seconds
    while next_s < end_s:
        noisy.write(block)
        noise += block.count(b"\n")
        for n, log in enumerate(quiet):
            now_ns = time.time_ns()
            log.write(b"".join(b"quiet %d %d\n" % (n, now_ns + i) for i in range(int(QUIET_PER_S * TICK_S))))
            said += int(QUIET_PER_S * TICK_S)
        next_s += TICK_S
        time.sleep(max(0.0, next_s - time.monotonic()))
    for log in (noisy, *quiet):
        log.close()
    return noise, said


@pytest.mark.long
@pytest.mark.parametrize(("action", "seconds"), [("drop", 12.0), ("delay", 4.0)])
def test_beside_200000_lines_a_second_and_a_slow_sink_50_quiet_logs_keep_their_lag(
    agent: Agent, action: str, seconds: float
) -> None:
    sink = SlowSink()
    sink.start()
    limit = {"by": "pod", "records_per_s": 10_000, "burst": "500ms", "action": action, "name": "quota"}
    agent.configure(
        sources={"logs": agent.files_source(limit=limit)}, sinks={"far": agent.syslog_sink(sink.port, framing="newline")})
    for name in ("noisy", *[f"quiet{n}" for n in range(QUIET_LOGS)]):
        (agent.logs / f"{name}.log").write_bytes(b"")
    agent.start()
    began_s = time.time()
    noise, said = write_for(agent, seconds)
    try:
        eventually("every quiet line", lambda: sink.quiet == said, 60.0, agent.last_words)
        eventually("every noisy line, here or counted", lambda: sink.noise + sink.told == noise, 150.0,
                   lambda: f"{sink.noise} + {sink.told} of {noise}\n{agent.last_words()}")
    finally:
        lags_ms = sorted(lag * 1e3 for sent, lag in sink.lags_s if sent > began_s + WARM_UP_S)
        p50, p99 = lags_ms[len(lags_ms) // 2], lags_ms[len(lags_ms) * 99 // 100]
        figures = {"noise": noise, "noise_delivered": sink.noise, "noise_told": sink.told, "quiet": said, "p50_ms": round(p50),
                   "p99_ms": round(p99), "load": round(os.getloadavg()[0], 1), "sink_bytes_per_s": SINK_BYTES_PER_S}
        print(action, figures)
        keep(action, figures)
    assert p99 < 1000.0, figures
    assert not sink.repeats


def keep(action: str, figures: dict[str, Any]) -> None:
    if not os.environ.get("SHIPPER_KEEP_RESULTS"):
        return
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[action] = figures
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
