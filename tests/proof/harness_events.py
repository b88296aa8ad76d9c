"""The table of events: what happened to the agent, how often, how many lines were lost and how many came twice.

Kept in tests/results/hostile_events.json by `make test-long` (SHIPPER_KEEP_RESULTS=1); `make test` leaves the tree as it is.
"""
from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "hostile_events.json"


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parents[2], capture_output=True, text=True,
                          check=False).stdout.strip() or "unknown"


def note(event: str, *, tries: int, lost: int, repeated: int, **figures: Any) -> None:
    """One row, with the commit that it is true of; the newest of an event replaces the one before."""
    if not os.environ.get("SHIPPER_KEEP_RESULTS"):
        return
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        rows = json.loads(file.read() or "{}")
        rows[event] = {"tries": tries, "lost": lost, "repeated": repeated, "commit": _commit(), **figures}
        file.seek(0)
        file.truncate()
        file.write(json.dumps(rows, indent=1, sort_keys=True) + "\n")
