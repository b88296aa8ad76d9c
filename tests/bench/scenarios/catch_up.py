"""A backlog of a million lines in 20 files and in 1, from process start to the last line at the receiver.

CPU is that of the whole life of the process, start and stop included. The corpus is read from the page cache.
"""
from __future__ import annotations

from ..bench import Bench, Scenario, seconds_since
from ..corpus import Shape

LINES, QUICK_LINES = 1_000_000, 200_000
TIMEOUT_S = 300.0
CASES = (("20 files", 20, ""), ("1 file", 1, ""), ("octet-counted", 20, "octet-counted"))


def run(bench: Bench) -> None:
    lines = QUICK_LINES if bench.options.quick else LINES
    for case, files, variant in CASES:
        shape = Shape(lines, files)
        for number, contender in bench.in_turns(bench.options.rounds):
            if variant and contender != "shipper":
                continue
            _once(bench, shape, case, contender, number, variant)


def _once(bench: Bench, shape: Shape, case: str, contender: str, number: int, variant: str) -> None:
    corpus = bench.corpus(shape)
    bench.far.begin(shape.lines)
    with bench.work() as work, bench.running(contender, corpus.containers, corpus.pods, work, variant) as process:
        done = bench.far.wait(TIMEOUT_S, process.alive)
        facts = done or bench.far.report()
        cpu_s = process.cpu_or_total_s()
        peak_mb = process.peak_mb()
        total_cpu_s = process.stop()
    proof = bench.far.proof(shape)
    per_million = 1_000_000 / shape.lines
    took_s = seconds_since(process.begun_ns, facts["last_ns"]) if facts["last_ns"] else TIMEOUT_S
    bench.add(
        "catchup", case, contender, number,
        klines_s=facts["count"] / took_s / 1000, cpu_s_per_m=total_cpu_s * per_million,
        cpu_s_per_m_until_last=cpu_s * per_million, rss_mb=peak_mb, **proof._asdict(),
    )


SCENARIO = Scenario("catchup", "1,000,000 lines that are there at the start", run)
