"""What the proofs share: agents made by the launcher, a node that writes and rotates beside them, the two counts.

    fleet = Fleet()                                     one launcher process for all tests of a session
    agent = ForkedAgent(tmp_path, fleet)                tests/support/agent.py, but its processes come from the launcher
    node  = RunningNode(agent, fleet, seed=7, ...)      the node simulator by the clock, in a process of its own
    node.finish() -> ledger;  judge(agent, ledger) -> Verdict: the own count, and `shipper verify` with the audit

A kill is SIGKILL to that process through a pidfd, so that it can hit no other.
"""
from __future__ import annotations

import json
import os
import queue
import random
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shipper.agent.simulator.count import Count, Counted
from shipper.agent.verify import verify_files
from tests.support.agent import WITHIN_S, Agent, eventually

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = -1000


class Fleet:
    """The launcher. Used from several threads."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.proof.launcher"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._started: queue.Queue[int] = queue.Queue()
        self._codes: dict[int, int] = {}
        self._news = threading.Condition()
        self._one_at_a_time = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "started" in said:
                self._started.put(said["started"])
            else:
                with self._news:
                    self._codes[said["ended"]] = said["code"]
                    self._news.notify_all()

    def start(self, module: str, argv: list[str], log: Path, clock: Path | None = None, **more: Any) -> Forked:
        """`more`: see launcher.py."""
        order = {"module": module, "argv": argv, "log": str(log), "clock": str(clock) if clock else None, **more}
        with self._one_at_a_time:
            assert self._process.stdin is not None
            with self._news:
                self._codes.clear() if len(self._codes) > 10_000 else None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return Forked(self._started.get(timeout=WITHIN_S), self)

    def code(self, pid: int, within_s: float) -> int:
        """The exit code, taken out: pids come again."""
        with self._news:
            assert self._news.wait_for(lambda: pid in self._codes, within_s), f"no news of the end of {pid}"
            return self._codes.pop(pid)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(WITHIN_S)


class Forked:
    """As much of Popen as Agent uses."""

    def __init__(self, pid: int, fleet: Fleet) -> None:
        self.pid, self.returncode = pid, None
        self._fleet = fleet
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:              # ended and reaped already
            self._fd = -1

    returncode: int | None

    def poll(self) -> int | None:
        """The exit code where it has ended."""
        if self.returncode is None and self._ended(0):
            self._reaped()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not self._ended(timeout):
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
            self._reaped()
        assert self.returncode is not None
        return self.returncode

    def _ended(self, timeout_s: float | None) -> bool:
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))

    def _reaped(self) -> None:
        self.returncode = self._fleet.code(self.pid, WITHIN_S)
        if self._fd >= 0:
            os.close(self._fd)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedAgent(Agent):
    """An Agent whose processes come from the launcher. `clock`: see launcher.py."""

    def __init__(self, root: Path, fleet: Fleet, *, clock: bool = False) -> None:
        super().__init__(root)
        self.fleet = fleet
        self.clock = root / "clock" if clock else None
        if clock:
            self.set_clock(0.0)

    def set_clock(self, offset_s: float) -> None:
        """The agent's wall clock from now on, against the machine's."""
        assert self.clock is not None
        with open(self.clock, "r+b" if self.clock.exists() else "w+b") as file:
            file.write(struct.pack("d", offset_s))

    def start(self, *argv: str, ready: bool = True, **other: Any) -> ForkedAgent:
        assert not any(other.values()), "forked agents have the launcher's environment"
        self._log_start_bytes = self.log_path.stat().st_size if self.log_path.exists() else 0
        process = self.fleet.start("shipper", ["run", "-c", str(self.config_path), *argv], self.log_path, self.clock)
        self._processes[:] = [p for p in self._processes if p.poll() is None]
        self._processes.append(process)  # type: ignore[arg-type]
        if ready:
            self.until("the agent is ready", lambda status: status["ready"])
        return self

    def hit(self) -> bool:
        """kill -9; False where it had ended by itself before."""
        self.process.kill()
        return self.process.wait(WITHIN_S) == -signal.SIGKILL

    def spoke(self, event: str, within_s: float = WITHIN_S) -> bool:
        """True when the newest run has said `event`; False where it ended before."""
        return eventually(f"{event} or its end", lambda: (
            1 if self.said(event) else 2 if self.process.poll() is not None else 0), within_s, self.last_words) == 1


class RunningNode:
    """The node simulator as a process, on `agent.root/node`."""

    def __init__(self, agent: ForkedAgent, fleet: Fleet, *, seed: int, rate: float, seconds: float, max_bytes: int,
                 max_files: int = 20, gc_s: float = 30.0) -> None:
        self.root, self._log = agent.root / "node", agent.root / "node.log"
        self._process = fleet.start("simulator", [
            "--root", str(self.root), "--rate", str(rate), "--seconds", str(seconds), "--seed", str(seed), "--max-bytes",
            str(max_bytes), "--max-files", str(max_files), "--gc-s", str(gc_s)], self._log)
        eventually("the node writes", lambda: self._log.exists() and self._log.read_bytes().count(b"\n") > 1)

    def sources(self, agent: Agent, **keys: Any) -> dict[str, Any]:
        """Both kinds of logs. No record is closed by time: the writer may be slow on a busy machine."""
        return {
            "pods": agent.containers_source(self.root, partial_timeout="120s", **keys),
            "host": {"type": "files", "include": [f"{self.root}/host/*.log"], "partial_timeout": "120s", **keys},
        }

    def finish(self) -> dict[str, Any]:
        """Settle and end; the last report, with its ledger."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(WITHIN_S) == 0, self._log.read_text()
        summary: dict[str, Any] = json.loads(self._log.read_bytes().splitlines()[-1])
        return summary

    def close(self) -> None:
        self._process.kill()


@dataclass
class Verdict:
    """The own count, and what `shipper verify` found with the ledger of `shipper audit`."""

    counted: Counted
    whole: bool
    balanced: bool
    repeated_ids: int
    gaps: list[dict[str, Any]]
    problems: list[str]

    @property
    def exact(self) -> bool:
        return self.counted.exact and self.whole and self.balanced and not self.repeated_ids

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def judge(agent: Agent, ledger: Mapping[str, int], pattern: str = "**/archive.ndjson*", sink: str = "archive") -> Verdict:
    """Of a stopped agent whose file sink has all."""
    count = Count()
    for path in sorted(agent.out.glob(pattern)):
        count.add_lines(path.read_bytes().splitlines())
    found = agent.command("audit", "--json", "--sink", sink)
    assert found.returncode in (0, 1), found.stderr.decode()
    audit = json.loads(found.stdout)
    report = verify_files([str(p) for p in sorted(agent.out.glob(pattern))], audit)
    gaps = [{"path": f["path"], **gap} for f in audit["files"] for gap in f["gaps"]]
    return Verdict(count.result(ledger), report.whole, audit["totals"]["balanced"], report.repeated, gaps,
                   [*audit["totals"]["problems"], *(note for file in report.files if not file.whole for note in (
                       f"{file.path} {file.key}: missing {file.missing_bytes} overlap {file.overlap_bytes} {file.notes}",))])


@dataclass
class Row:
    """One line of the results: what happened how often, and what it cost."""

    event: str
    tries: int = 0
    lost: int = 0
    repeated: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


class Results:
    """Rows by event, summed up; written at the end of a long run (conftest.py)."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._lock = threading.Lock()

    def add(self, event: str, *, tries: int = 1, lost: int = 0, repeated: int = 0, **notes: Any) -> None:
        with self._lock:
            row = self.rows.setdefault(event, Row(event))
            row.tries, row.lost, row.repeated = row.tries + tries, row.lost + lost, row.repeated + repeated
            for name, value in notes.items():
                row.notes[name] = row.notes.get(name, 0) + value if isinstance(value, int | float) else value

    def write(self, directory: Path, commit: str, dirty: bool) -> Path:
        """`<date>-<commit>.json` and `.md`. Events that another part of the run on this commit has left there stay."""
        path = directory / f"{time.strftime('%Y-%m-%d')}-{commit}.json"
        directory.mkdir(exist_ok=True)
        found = json.loads(path.read_text())["rows"] if path.exists() else []
        rows = sorted([*(row for row in found if row["event"] not in self.rows), *map(asdict, self.rows.values())],
                      key=lambda row: str(row["event"]))
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        whole = {"date": now, "commit": commit, "dirty": dirty, "rows": rows}
        path.write_text(json.dumps(whole, indent=1) + "\n")
        lines = [f"Commit {commit}{' with uncommitted changes' if dirty else ''}, {now}", "",
                 "| event | tries | lost | repeated | |", "|---|---|---|---|---|"]
        for row in rows:
            notes = ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in row["notes"].items())
            lines.append(f"| {row['event']} | {row['tries']:,} | {row['lost']:,} | {row['repeated']:,} | {notes} |")
        path.with_suffix(".md").write_text("\n".join(lines) + "\n")
        return path


def commit_of(root: Path) -> tuple[str, bool]:
    """Short commit, and whether anything under shipper/ differs from it."""
    def git(*argv: str) -> str:
        return subprocess.run(["git", *argv], cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") or "unknown", bool(git("status", "--porcelain", "--", "shipper"))


def seeds(base: int, count: int) -> list[int]:
    """`count` seeds; SHIPPER_TEST_SEED moves them all."""
    rng = random.Random(base + int(os.environ.get("SHIPPER_TEST_SEED", "0")))
    return [rng.randrange(1 << 30) for _ in range(count)]
