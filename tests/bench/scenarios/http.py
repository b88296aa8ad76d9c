"""A backlog to an HTTP receiver as NDJSON: plain, gzip by isal, gzip by zlib, and with 200 ms until each answer. Ours alone."""
from __future__ import annotations

from ..backlog import Case, run_cases
from ..bench import Bench, Scenario

LINES, QUICK_LINES = 1_000_000, 200_000
_PLAIN = 'type: http, url: "http://127.0.0.1:{port}/in"'
_GZIP = f"{_PLAIN}, compression: gzip"
_AT_ONCE, _AFTER_200_MS = ("http_receiver", "0"), ("http_receiver", "0.2")
CASES = (
    Case("plain", _AT_ONCE, _PLAIN), Case("isal", _AT_ONCE, _GZIP), Case("zlib", _AT_ONCE, _GZIP, isal=False),
    Case("200 ms", _AFTER_200_MS, _PLAIN), Case("200 ms isal", _AFTER_200_MS, _GZIP),
)


def run(bench: Bench) -> None:
    run_cases(bench, "http", CASES, QUICK_LINES if bench.options.quick else LINES)


SCENARIO = Scenario("http", "1,000,000 lines that are there at the start, to an HTTP receiver", run)
