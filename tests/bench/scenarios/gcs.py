"""A backlog to a fake Cloud Storage on loopback: NDJSON, gzip by isal and by zlib, exactly once. Ours alone.

`--once` ends the last object; timed is from the start of the process until the last object is stored."""
from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..bench import ENVIRON, Bench, Scenario, seconds_since
from ..corpus import Corpus, Shape
from ..process import Measured
from .http import TIMEOUT_S, _hear, _receiver_of

LINES, QUICK_LINES = 1_000_000, 200_000
_WITHOUT_ISAL = "import sys; sys.modules['isal'] = None; from shipper.agent.cli import main; raise SystemExit(main())"
CASES = {"isal": (str(Path(sys.executable).with_name("shipper")),), "zlib": (sys.executable, "-c", _WITHOUT_ISAL)}


def run(bench: Bench) -> None:
    shape = Shape(QUICK_LINES if bench.options.quick else LINES, 20)
    corpus = bench.corpus(shape)
    for number in range(bench.options.rounds):
        for case in CASES:
            _once(bench, corpus, shape, case, number)


def _once(bench: Bench, corpus: Corpus, shape: Shape, case: str, number: int) -> None:
    with bench.work() as work, _receiver_of("tests.bench.gcs_receiver", str(shape.lines)) as receiver:
        port = int(_hear(receiver, 20.0)["port"])
        process = Measured([*CASES[case], "run", "--once", "-c", str(_config(corpus, work, port))], ENVIRON, work / "log")
        try:
            done, peak_mb = _wait(receiver, process)
            cpu_s = process.cpu_or_total_s()
        finally:
            process.stop()
    if done is None:
        bench.add("gcs", case, "shipper", number, klines_s=0.0, missing=float(shape.lines))
        return
    took_s = seconds_since(process.begun_ns, done["last_ns"])
    bench.add(
        "gcs", case, "shipper", number, klines_s=shape.lines / took_s / 1000, cpu_s_per_m=cpu_s * 1e6 / shape.lines,
        rss_mb=peak_mb, missing=done["missing"], repeated=done["repeated"], wire_bytes_per_line=done["wire_bytes"] / shape.lines,
        requests=done["requests"], receiver_cpu_s_per_m=done["cpu_s"] * 1e6 / shape.lines,
    )


def _wait(receiver: subprocess.Popen[bytes], process: Measured) -> tuple[Any, float]:
    """What the receiver says, and the peak of an agent that ends by itself: looked at while it lives."""
    peak_mb, end_s = 0.0, time.monotonic() + TIMEOUT_S
    while time.monotonic() < end_s:
        with contextlib.suppress(KeyError):     # it has ended just now
            peak_mb = max(peak_mb, process.peak_mb())
        if heard := _hear(receiver, 0.05):
            return heard.get("done"), peak_mb
    return None, peak_mb


def _config(corpus: Corpus, work: Path, port: int) -> Path:
    config = work / "shipper.yaml"
    config.write_text(f"""\
node: bench-node
state_dir: {work}/state
sources:
  containers: {{type: containers, include: ["{corpus.containers}/*.log"], allowed_roots: ["{corpus.pods}"]}}
sinks:
  far: {{type: gcs, bucket: logs, endpoint: "http://127.0.0.1:{port}", anonymous: true, proxy: none, start_at: oldest,
        max_bytes: 10MiB, cluster_name: c1}}
admin: {{listen: "127.0.0.1:0"}}
""")
    return config


SCENARIO = Scenario("gcs", "1,000,000 lines that are there at the start, to a fake Cloud Storage", run)
