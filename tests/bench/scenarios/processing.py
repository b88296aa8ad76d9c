"""What each kind of processing costs, as CPU of the whole agent against all processing off, in turns on the same lines.

Another case is a line in CASES; its budget a line in budgets.py. The lines are ordinary ones (tests/process/ordinary.py), half of
them JSON, in 8 files; the agent reads them all (`--once`), sends them over TCP, and ends.
"""
from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.process import ordinary

from ..bench import ENVIRON, Bench, Scenario
from ..process import Measured

LINES, QUICK_LINES, FILES = 800_000, 160_000, 8
DISTINCT = 20_000
TIMEOUT_S = 120.0
OFF = "off"


class Case(NamedTuple):
    """`keys`: what stands in the source beside its type and paths; `sink_keys`: in the sink."""

    name: str
    keys: dict[str, Any]
    sink_keys: dict[str, Any] = {}


CASES = (
    Case(OFF, {}),
    Case("multiline", {"multiline": "auto"}),
    Case("parse json", {"parse": "json"}),
    Case("redact", {"redact": [
        "email", "ipv4", "ipv6", "credit_card", "jwt", "aws_key", "gcp_key", "github_token", "slack_token", "bearer",
        "private_key"]}),
    Case("routing", {}, {"when": {"namespace": ["default", "shop-*"]}}),
)


def run(bench: Bench) -> None:
    lines = QUICK_LINES if bench.options.quick else LINES
    with bench.work() as root:
        _write(root, lines)
        for number in range(bench.options.rounds):
            for case in CASES:
                _once(bench, root, case, number, lines)


def _write(root: Path, lines: int) -> None:
    block = b"".join(_cri(text) for text in _texts())
    for file in range(FILES):
        directory = root / "pods" / f"default_web-{file}_0000-{file}" / "web"
        directory.mkdir(parents=True)
        (directory / "0.log").write_bytes(block * (lines // FILES // DISTINCT))


def _texts() -> Iterator[bytes]:
    structured = ordinary.alone(DISTINCT // 2, ordinary.json_lines)
    for pair in zip(ordinary.mixed(DISTINCT // 2, programs=ordinary.EVERYDAY), structured):
        yield from pair


def _cri(text: bytes) -> bytes:
    return b"2026-11-20T09:04:05.123456789Z stdout F " + text + b"\n"


def _once(bench: Bench, root: Path, case: Case, number: int, lines: int) -> None:
    with bench.work() as work:
        config = work / "shipper.yaml"
        source = {"type": "containers", "include": [f"{root}/pods/*/*/*.log"], "allowed_roots": [f"{root}/pods"], **case.keys}
        sink = {"type": "syslog", "address": f"127.0.0.1:{bench.far.port}", "protocol": "tcp", "start_at": "oldest",
                **case.sink_keys}
        config.write_text(json.dumps({
            "node": "bench-node", "state_dir": f"{work}/state", "sources": {"containers": source}, "sinks": {"far": sink},
            "admin": {"listen": None},
        }))
        bench.far.begin(lines)
        process = Measured([bench.shipper, "run", "--once", "-c", os.fspath(config)], ENVIRON, work / "log")
        try:
            end_s = time.monotonic() + TIMEOUT_S
            while process.alive() and time.monotonic() < end_s:
                time.sleep(0.05)
        finally:
            cpu_s = process.stop()
        assert process.status == 0, process.log.read_text()[-2000:]
        audit = json.loads(subprocess.run(
            [bench.shipper, "audit", "--json", "-c", os.fspath(config)], capture_output=True, check=True, env=ENVIRON).stdout)
        size = sum(path.stat().st_size for path in root.glob("pods/*/*/*.log"))
        assert audit["sinks"]["far"]["delivered_bytes"] == size, audit["sinks"]
    values = {"cpu_s_per_m": cpu_s / lines * 1e6}
    off = [s.values["cpu_s_per_m"] for s in bench.samples if (s.scenario, s.case) == ("processing", OFF)]
    if case.name != OFF and off:
        values["cpu_ratio_to_off"] = values["cpu_s_per_m"] / median(off)
    bench.add("processing", case.name, "shipper", number, **values)


SCENARIO = Scenario("processing", "parsing, joining, redacting: CPU against all of it off", run)
