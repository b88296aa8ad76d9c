"""A backlog to a fake of BigQuery's Storage Write API on loopback: rows, exactly once. Ours alone."""
from __future__ import annotations

from ..backlog import Case, run_cases
from ..bench import Bench, Scenario

LINES, QUICK_LINES = 1_000_000, 200_000
_SINK = ('type: bigquery, method: storage_write, dataset: p1.logs, table: nodes, write_endpoint: "http://127.0.0.1:{port}", '
         "anonymous: true")
CASES = (Case("storage_write", ("bigquery_receiver",), _SINK, once=True),)


def run(bench: Bench) -> None:
    run_cases(bench, "bigquery", CASES, QUICK_LINES if bench.options.quick else LINES)


SCENARIO = Scenario("bigquery", "1,000,000 lines that are there at the start, to a fake of BigQuery's Storage Write API", run)
