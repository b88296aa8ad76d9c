"""A backlog to an HTTP receiver as NDJSON: plain, gzip by isal, gzip by zlib, and with 200 ms until each answer. Ours alone."""
from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..bench import ENVIRON, Bench, Scenario, seconds_since
from ..corpus import Corpus, Shape
from ..process import Measured

LINES, QUICK_LINES = 500_000, 100_000
TIMEOUT_S = 120.0
_WITHOUT_ISAL = "import sys; sys.modules['isal'] = None; from shipper.agent.cli import main; raise SystemExit(main())"


class Case(NamedTuple):
    name: str
    keys: str = ""
    delay_s: float = 0.0
    isal: bool = True


CASES = (
    Case("plain"), Case("isal", "compression: gzip"), Case("zlib", "compression: gzip", isal=False), Case("200 ms", delay_s=0.2),
    Case("200 ms isal", "compression: gzip", delay_s=0.2),
)


def run(bench: Bench) -> None:
    shape = Shape(QUICK_LINES if bench.options.quick else LINES, 20)
    corpus = bench.corpus(shape)
    for number in range(bench.options.rounds):
        for case in CASES:
            _once(bench, corpus, shape, case, number)


def _once(bench: Bench, corpus: Corpus, shape: Shape, case: Case, number: int) -> None:
    with bench.work() as work, _receiver(shape.lines, case.delay_s) as receiver:
        port = int(_hear(receiver, 20.0)["port"])
        argv = ["shipper"] if case.isal else [sys.executable, "-c", _WITHOUT_ISAL]
        argv[0] = str(Path(sys.executable).with_name("shipper")) if case.isal else argv[0]
        process = Measured([*argv, "run", "-c", str(_config(corpus, work, port, case))], ENVIRON, work / "log")
        try:
            done = _hear(receiver, TIMEOUT_S).get("done")
            peak_mb, cpu_s = process.peak_mb(), process.cpu_or_total_s()
        finally:
            process.stop()
    if done is None:
        bench.add("http", case.name, "shipper", number, klines_s=0.0, missing=float(shape.lines))
        return
    took_s = seconds_since(process.begun_ns, done["last_ns"])
    bench.add(
        "http", case.name, "shipper", number, klines_s=shape.lines / took_s / 1000, cpu_s_per_m=cpu_s * 1e6 / shape.lines,
        rss_mb=peak_mb, missing=done["missing"], repeated=done["repeated"], wire_bytes_per_line=done["wire_bytes"] / shape.lines,
        requests=done["requests"], receiver_cpu_s_per_m=done["cpu_s"] * 1e6 / shape.lines,
    )


def _config(corpus: Corpus, work: Path, port: int, case: Case) -> Path:
    config = work / "shipper.yaml"
    keys = f", {case.keys}" if case.keys else ""
    config.write_text(f"""\
node: bench-node
state_dir: {work}/state
sources:
  containers: {{type: containers, include: ["{corpus.containers}/*.log"], allowed_roots: ["{corpus.pods}"]}}
sinks:
  far: {{type: http, url: "http://127.0.0.1:{port}/in", proxy: none, start_at: oldest{keys}}}
admin: {{listen: "127.0.0.1:0"}}
""")
    return config


def _receiver(lines: int, delay_s: float) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return _receiver_of("tests.bench.http_receiver", str(lines), str(delay_s))


@contextlib.contextmanager
def _receiver_of(module: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module, *argv], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _hear(process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
    """Its next line; {} where none comes in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    return dict(json.loads(process.stdout.readline())) if ready else {}


SCENARIO = Scenario("http", "500,000 lines that are there at the start, to an HTTP receiver", run)
