"""Lines that are there at the start, to a receiver with a tally (tally.py), by ours alone: one run, one sample. Driver.

Timed is from the start of the process to the last mark at the receiver; CPU is that of the process's whole life.
"""
from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .bench import ENVIRON, Bench, seconds_since
from .corpus import Corpus, Shape
from .process import Measured

TIMEOUT_S, ENDS_S = 120.0, 40.0
_LOOK_S = 0.05


class Case(NamedTuple):
    """receiver: the module of tests.bench, and its words behind the number of lines. sink: its keys in flow style, with {port}.
    once: the agent ends by itself when all is delivered, which ends the last file of a sink that makes files."""

    name: str
    receiver: tuple[str, ...]
    sink: str
    once: bool = False
    isal: bool = True


def run_cases(bench: Bench, scenario: str, cases: tuple[Case, ...], lines: int) -> None:
    """All of them in turns, as often as the bench says."""
    shape = Shape(lines, 20)
    corpus = bench.corpus(shape)
    for number in range(bench.options.rounds):
        for case in cases:
            _run(bench, scenario, case, corpus, shape, number)


def _run(bench: Bench, scenario: str, case: Case, corpus: Corpus, shape: Shape, number: int) -> None:
    module, *words = case.receiver
    with bench.work() as work, Receiver(module, str(shape.lines), *words) as receiver:
        config = _config(corpus, work, case.sink.replace("{port}", str(receiver.port)))
        environ = ENVIRON if case.isal else ENVIRON | _without_isal(work)
        process = Measured([bench.shipper, "run", *(["--once"] if case.once else []), "-c", str(config)], environ, work / "log")
        try:
            peak_mb, until_last_s = _watched(process, receiver, case.once)
        finally:
            cpu_s = process.stop()
        totals = receiver.totals()
    took_s = seconds_since(process.begun_ns, totals["last_ns"]) if totals["last_ns"] else TIMEOUT_S
    bench.add(
        scenario, case.name, "shipper", number, klines_s=(shape.lines - totals["missing"]) / took_s / 1000,
        cpu_s_per_m=cpu_s * 1e6 / shape.lines, cpu_s_per_m_until_last=until_last_s * 1e6 / shape.lines, rss_mb=peak_mb,
        missing=totals["missing"], repeated=totals["repeated"], wrong=totals["wrong"],
        wire_bytes_per_line=totals["wire_bytes"] / shape.lines, requests=totals["requests"],
        receiver_cpu_s_per_m=totals["cpu_s"] * 1e6 / shape.lines,
    )


def _watched(process: Measured, receiver: Receiver, once: bool) -> tuple[float, float]:
    """Until all has come, and where `once` until it has ended. Its peak RSS in MB, looked at while it lives, and its CPU seconds
    until all had come."""
    peak_mb, until_last_s, end_s, all_came = 0.0, 0.0, time.monotonic() + TIMEOUT_S, False
    while process.alive() and time.monotonic() < end_s:
        with contextlib.suppress(KeyError):             # it has ended just now
            peak_mb = max(peak_mb, process.peak_mb())
        if all_came:
            time.sleep(_LOOK_S)
        elif receiver.hear(_LOOK_S):
            all_came, until_last_s, end_s = True, process.cpu_or_total_s(), time.monotonic() + ENDS_S
            if not once:
                break
    if not process.alive() and (process.status or not once):
        process.check()                                 # Ended, with its last words
    return peak_mb, until_last_s


def _config(corpus: Corpus, work: Path, sink: str) -> Path:
    config = work / "shipper.yaml"
    config.write_text(f"""\
node: bench-node
state_dir: {work}/state
sources:
  containers: {{type: containers, include: ["{corpus.containers}/*.log"], allowed_roots: ["{corpus.pods}"]}}
sinks:
  far: {{{sink}, proxy: none, start_at: oldest}}
admin: {{listen: "127.0.0.1:0"}}
""")
    return config


def _without_isal(work: Path) -> Mapping[str, str]:
    """As where it is not installed."""
    directory = work / "without"
    directory.mkdir()
    (directory / "isal.py").write_text("raise ImportError('measured without it')\n")
    return {"PYTHONPATH": str(directory)}


class Receiver:
    """A process with a tally. Use it with `with`."""

    def __init__(self, module: str, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Receiver:
        self.port = int(self._must_hear("port", 20.0))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """Its next words; {} where none come in time."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        return dict(json.loads(self._process.stdout.readline() or b"{}")) if ready else {}

    def totals(self) -> dict[str, Any]:
        """Of all that came. The agent has ended: nothing comes any more but what is on its way."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return dict(self._must_hear("totals", TIMEOUT_S))

    def _must_hear(self, key: str, timeout_s: float) -> Any:
        while said := self.hear(timeout_s):
            if key in said:
                return said[key]
        raise RuntimeError(f"the receiver did not say {key!r} within {timeout_s:g} s")

