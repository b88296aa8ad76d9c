"""The same lines in 10 files and in 5,000: what a file costs. The ratio of the two stands in the second case's row."""
from __future__ import annotations

from statistics import median

from ..bench import Bench, Scenario, seconds_since
from ..corpus import Shape

LINES, QUICK_LINES = 500_000, 100_000
TIMEOUT_S = 300.0


def run(bench: Bench) -> None:
    lines, many = (QUICK_LINES, 1000) if bench.options.quick else (LINES, 5000)
    for files in (10, many):
        shape = Shape(lines, files, big_every=0)
        for number, contender in bench.in_turns(bench.options.rounds):
            _once(bench, shape, contender, number)


def _once(bench: Bench, shape: Shape, contender: str, number: int) -> None:
    corpus = bench.corpus(shape)
    bench.far.begin(shape.lines)
    with bench.work() as work, bench.running(contender, corpus.containers, corpus.pods, work) as process:
        facts = bench.far.wait(TIMEOUT_S, process.alive) or bench.far.report()
        peak_mb = process.peak_mb()
        cpu_s = process.stop()
    values = {
        "klines_s": facts["count"] / seconds_since(process.begun_ns, facts["last_ns"]) / 1000, "cpu_s": cpu_s,
        "rss_mb": peak_mb, "missing": bench.far.proof(shape).missing,
    }
    few = [s.values["cpu_s"] for s in bench.samples if (s.scenario, s.case, s.contender) == ("spread", "10 files", contender)]
    if shape.files > 10 and few:
        values["cpu_ratio_to_10_files"] = cpu_s / median(few)
    bench.add("spread", f"{shape.files:,} files", contender, number, **values)


SCENARIO = Scenario("spread", "the same lines in 10 files and in 5,000", run)
