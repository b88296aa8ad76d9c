"""A backlog to a fake Cloud Storage on loopback: NDJSON, gzip by isal and by zlib, exactly once. Ours alone."""
from __future__ import annotations

from ..backlog import Case, run_cases
from ..bench import Bench, Scenario

LINES, QUICK_LINES = 1_000_000, 200_000
_SINK = 'type: gcs, bucket: logs, endpoint: "http://127.0.0.1:{port}", anonymous: true, max_bytes: 10MiB, cluster_name: c1'
CASES = tuple(Case(name, ("gcs_receiver",), _SINK, once=True, isal=name == "isal") for name in ("isal", "zlib"))


def run(bench: Bench) -> None:
    run_cases(bench, "gcs", CASES, QUICK_LINES if bench.options.quick else LINES)


SCENARIO = Scenario("gcs", "1,000,000 lines that are there at the start, to a fake Cloud Storage", run)
