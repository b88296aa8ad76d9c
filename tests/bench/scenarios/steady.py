"""Where nodes live: 10,000 lines a second, one write() a line, over 50 files, and over 20 busy and 300 quiet ones.

A line carries the time of its writing; the receiver notes when each read came. CPU is taken from after WARM_S on, so that the
start is not in it. A quiet file gets a line each 15 s.
"""
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from ..bench import ENVIRON, Bench, Scenario
from ..corpus import lay_out
from ..writer import LINES_PER_S, plan

WARM_S = 4.0
RUN_S, QUICK_RUN_S = 30.0, 8.0
CASES = (("50 files", 50, 0), ("20 + 300 quiet", 20, 300))


def run(bench: Bench) -> None:
    run_s = QUICK_RUN_S if bench.options.quick else RUN_S
    for case, busy, quiet in CASES:
        for number, contender in bench.in_turns(1 if bench.options.quick else min(bench.options.rounds, 2)):
            _once(bench, case, busy, quiet, contender, number, run_s)


def _once(bench: Bench, case: str, busy: int, quiet: int, contender: str, number: int, run_s: float) -> None:
    expected = plan(WARM_S + run_s, busy, quiet)
    with bench.work() as work:
        root = work / "node"
        paths = [lay_out(root, file) for file in range(busy + quiet)]
        for path in paths:
            path.touch()
        bench.far.begin(expected, marks=True)
        with bench.running(contender, root / "containers", root / "pods", work) as process:
            time.sleep(1.0)
            writing = _writer(paths, busy, WARM_S + run_s)
            time.sleep(WARM_S)
            before_s, began_s = process.cpu_s(), time.monotonic()
            time.sleep(run_s - 0.5)
            cores = (process.cpu_s() - before_s) / (time.monotonic() - began_s)
            rss_mb, _ = process.rss_mb()
            late_ms = _finish(writing)
            bench.far.wait(15.0)
        found = bench.far.latencies_ms()
    ranked = sorted(found[int(len(found) * WARM_S / (WARM_S + run_s)):]) or [0.0]
    bench.add(
        "steady", case, contender, number, cores=cores, rss_mb=rss_mb,
        p50_ms=ranked[len(ranked) // 2], p99_ms=ranked[len(ranked) * 99 // 100], max_ms=ranked[-1],
        missing=expected - len(found), writer_late_ms=late_ms, lines_s=LINES_PER_S,
    )


def _writer(paths: list[Path], busy: int, run_s: float) -> subprocess.Popen[bytes]:
    writing = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.writer", str(run_s), str(busy)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=ENVIRON | {"PYTHONPATH": os.getcwd()},
    )
    assert writing.stdin is not None
    writing.stdin.write("\n".join(map(str, paths)).encode())
    writing.stdin.close()
    return writing


def _finish(writing: subprocess.Popen[bytes]) -> float:
    """How late the writer was at its worst: with a busy machine the rate was not what it says."""
    assert writing.stdout is not None
    late_ms = float(writing.stdout.read() or b"nan")
    writing.wait(30)
    return late_ms


SCENARIO = Scenario("steady", "10,000 lines/s over 50 files, and over 20 busy and 300 quiet ones", run)
