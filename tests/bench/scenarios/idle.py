"""What 1,000 files cost in which nothing happens: percent of a core over 30 s, once all is read and the agent has settled.

With --long also 5,000 files. Settling: a file that was read to its end may be looked at for a while, and a sink may prove
what it sent; both are over by then.
"""
from __future__ import annotations

import time

from ..bench import Bench, Scenario, say
from ..corpus import Shape

LINES_EACH = 10
READ_S = 120.0
WINDOW_S, SETTLE_S = 30.0, 20.0


def run(bench: Bench) -> None:
    for files in (1000, 5000) if bench.options.long else (1000,):
        shape = Shape(files * LINES_EACH, files, big_every=0)
        for number, contender in bench.in_turns(1):
            _once(bench, shape, contender, number)


def _once(bench: Bench, shape: Shape, contender: str, number: int) -> None:
    corpus = bench.corpus(shape)
    settle_s, window_s = (SETTLE_S / 2, WINDOW_S / 3) if bench.options.quick else (SETTLE_S, WINDOW_S)
    bench.far.begin(shape.lines)
    with bench.work() as work, bench.running(contender, corpus.containers, corpus.pods, work) as process:
        if bench.far.wait(READ_S, process.alive) is None:
            say(f"  {contender} did not ship all of {shape.lines} lines: {bench.far.report()['count']}")
        time.sleep(settle_s)
        before_s, began_s = process.cpu_s(), time.monotonic()
        time.sleep(window_s)
        percent = (process.cpu_s() - before_s) / (time.monotonic() - began_s) * 100
        rss_mb, _ = process.rss_mb()
    bench.add("idle", f"{shape.files:,} files", contender, number, core_percent=percent, rss_mb=rss_mb)


SCENARIO = Scenario("idle", "1,000 files (--long: 5,000 too) in which nothing happens", run)
