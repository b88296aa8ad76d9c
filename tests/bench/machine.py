"""What the numbers were measured on, and how fast the receiver is without any agent. Driver."""
from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .corpus import Corpus
from .far_side import FarSide

BUSY_LOAD_PER_CORE = 0.3


def about(shipper: str) -> dict[str, Any]:
    """commit, date, versions, CPU, load."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "commit": _out("git", "rev-parse", "HEAD") or "unknown",
        "changed": bool(_out("git", "status", "--porcelain", "--", "shipper")),
        "python": _out(str(Path(shipper).with_name("python")), "--version").removeprefix("Python ") or platform.python_version(),
        "cpu": _cpu(), "cores": os.cpu_count(), "kernel": platform.release(), "load_at_start": os.getloadavg()[0],
        "rsyslogd": _out("/usr/sbin/rsyslogd", "-v").partition(" (")[0].split(" ")[-1],
    }


def warning(load: float) -> str | None:
    """What to say of a machine that is doing something else."""
    cores = os.cpu_count() or 1
    if load <= BUSY_LOAD_PER_CORE * cores:
        return None
    return f"the machine is busy (load {load:.1f} on {cores} cores): trust ratios within this run, not the numbers"


def ceiling(far: FarSide, corpus: Corpus) -> dict[str, float]:
    """The receiver fed by sendfile: lines a second that no agent can exceed here, and its CPU per million lines."""
    far.begin(corpus.shape.lines)
    before_s = far.report()["cpu_s"]
    began_ns = time.monotonic_ns()
    with socket.create_connection(("127.0.0.1", far.port)) as sock:
        for path in sorted(corpus.containers.iterdir()):
            with path.open("rb") as file:
                sock.sendfile(file)
    facts = far.wait(60.0)
    if facts is None:
        raise RuntimeError("the receiver did not get all lines from sendfile")
    return {
        "klines_s": corpus.shape.lines / ((facts["last_ns"] - began_ns) / 1e9) / 1000,
        "cpu_s_per_m": (facts["cpu_s"] - before_s) * 1e6 / corpus.shape.lines,
    }


def _out(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return sys.platform
