"""A backlog to a fake of BigQuery's Storage Write API on loopback: rows, exactly once. Ours alone.

`--once` ends the last range; timed is from the start of the process until the last row is there."""
from __future__ import annotations

import sys
from pathlib import Path

from ..bench import ENVIRON, Bench, Scenario, seconds_since
from ..corpus import Corpus, Shape
from ..process import Measured
from .gcs import _wait
from .http import _hear, _receiver_of

LINES, QUICK_LINES = 1_000_000, 200_000


def run(bench: Bench) -> None:
    shape = Shape(QUICK_LINES if bench.options.quick else LINES, 20)
    corpus = bench.corpus(shape)
    for number in range(bench.options.rounds):
        _once(bench, corpus, shape, number)


def _once(bench: Bench, corpus: Corpus, shape: Shape, number: int) -> None:
    with bench.work() as work, _receiver_of("tests.bench.bigquery_receiver", str(shape.lines)) as receiver:
        port = int(_hear(receiver, 20.0)["port"])
        command = [str(Path(sys.executable).with_name("shipper")), "run", "--once", "-c", str(_config(corpus, work, port))]
        process = Measured(command, ENVIRON, work / "log")
        try:
            done, peak_mb = _wait(receiver, process)
            cpu_s = process.cpu_or_total_s()
        finally:
            process.stop()
    if done is None:
        bench.add("bigquery", "storage_write", "shipper", number, klines_s=0.0, missing=float(shape.lines))
        return
    took_s = seconds_since(process.begun_ns, done["last_ns"])
    bench.add(
        "bigquery", "storage_write", "shipper", number, klines_s=shape.lines / took_s / 1000,
        cpu_s_per_m=cpu_s * 1e6 / shape.lines, rss_mb=peak_mb, missing=done["missing"], repeated=done["repeated"],
        wire_bytes_per_line=done["wire_bytes"] / shape.lines, requests=done["requests"],
        receiver_cpu_s_per_m=done["cpu_s"] * 1e6 / shape.lines,
    )


def _config(corpus: Corpus, work: Path, port: int) -> Path:
    config = work / "shipper.yaml"
    config.write_text(f"""\
node: bench-node
state_dir: {work}/state
sources:
  containers: {{type: containers, include: ["{corpus.containers}/*.log"], allowed_roots: ["{corpus.pods}"]}}
sinks:
  far: {{type: bigquery, method: storage_write, dataset: p1.logs, table: nodes, write_endpoint: "http://127.0.0.1:{port}",
        anonymous: true, proxy: none, start_at: oldest}}
admin: {{listen: "127.0.0.1:0"}}
""")
    return config


SCENARIO = Scenario("bigquery", "1,000,000 lines that are there at the start, to a fake of BigQuery's Storage Write API", run)
