"""From process start to the first line at the receiver, with 1,000 files of 10 lines."""
from __future__ import annotations

import time

from ..bench import Bench, Scenario, seconds_since
from ..corpus import Shape

FILES, LINES_EACH = 1000, 10
TIMEOUT_S = 60.0


def run(bench: Bench) -> None:
    shape = Shape(FILES * LINES_EACH, FILES, big_every=0)
    for number, contender in bench.in_turns(bench.options.rounds):
        corpus = bench.corpus(shape)
        bench.far.begin(1)
        with bench.work() as work, bench.running(contender, corpus.containers, corpus.pods, work) as process:
            first = bench.far.wait(TIMEOUT_S, process.alive)
            cpu_s = process.cpu_or_total_s()
            all_s = _all(bench, shape.lines, process.begun_ns) if first else TIMEOUT_S
        bench.add(
            "start", "1,000 files", contender, number,
            first_line_s=seconds_since(process.begun_ns, first["first_ns"]) if first else TIMEOUT_S,
            cpu_s_until_first=cpu_s, all_lines_s=all_s,
        )


def _all(bench: Bench, lines: int, begun_ns: int) -> float:
    end_s = time.monotonic() + TIMEOUT_S
    while (facts := bench.far.report())["count"] < lines and time.monotonic() < end_s:
        time.sleep(0.02)
    return seconds_since(begun_ns, facts["last_ns"])


SCENARIO = Scenario("start", "first line out with 1,000 files", run)
