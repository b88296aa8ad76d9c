"""The real agent as a process, for whole-agent tests: `python -m shipper`, its config, its log, its answers.

    agent = Agent(tmp_path)
    agent.configure(sinks={"archive": agent.file_sink()})       # sources: files below tmp_path/logs, unless given
    agent.start(); agent.drained(); agent.audit(); agent.kill(); agent.terminate()

Every wait has a bound and looks at what the agent shows: its log, /status on the admin socket, the files that it
delivers. A bound that is over, or an agent that ended, fails with the end of the agent's log.
"""
from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from shipper.agent.client import UnixConnection, ask
from shipper.errors import Fatal

T = TypeVar("T")
WITHIN_S = 20.0
POLL_S, LONGEST_POLL_S = 0.01, 0.05


def eventually(what: str, look: Callable[[], T], within_s: float = WITHIN_S, else_say: Callable[[], str] = str) -> T:
    """What `look` gives as soon as it is true. Polls: what another process does cannot be awaited."""
    end_s, pause_s = time.monotonic() + within_s, POLL_S
    while not (found := look()):
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {within_s:g} s: {what}\n{else_say()}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, LONGEST_POLL_S)  # a question costs the agent, too
    return found


class Agent:
    """One state directory and whoever runs on it. `start` may be called again after `kill` or `terminate`."""

    module = "shipper"
    prefix: tuple[str, ...] = ()
    """What stands in front of the agent's command, for example setpriv and its arguments."""

    def __init__(self, root: Path) -> None:
        self.root, self.config_path = root, root / "shipper.yaml"
        self.state, self.logs, self.out = root / "state", root / "logs", root / "out"
        self.log_path = root / "agent.log"
        for made in (self.logs, self.out):
            made.mkdir(exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log_start_bytes = 0

    # ---------------------------------------------------------------- config

    def file_sink(self, name: str = "delivered.ndjson", **keys: Any) -> dict[str, Any]:
        return {"type": "file", "path": f"{self.out}/{name}", "start_at": "oldest", **keys}

    @staticmethod
    def syslog_sink(port: int, **keys: Any) -> dict[str, Any]:
        return {"type": "syslog", "address": f"127.0.0.1:{port}", "protocol": "tcp", "start_at": "oldest", **keys}

    def files_source(self, pattern: str = "*.log", **keys: Any) -> dict[str, Any]:
        return {"type": "files", "include": [f"{self.logs}/{pattern}"], **keys}

    def containers_source(self, node: Path, **keys: Any) -> dict[str, Any]:
        """Of the simulated node at `node`."""
        roots = [f"{node}/pods", f"{node}/docker/containers"]
        return {"type": "containers", "include": [f"{node}/containers/*.log"], "allowed_roots": roots, **keys}

    def configure(
        self, *, sinks: Mapping[str, Any], sources: Mapping[str, Any] | None = None, path: Path | None = None, **top: Any,
    ) -> None:
        """Write the config in one step, as a ConfigMap's update is. JSON is YAML."""
        config = {
            "node": "n1", "state_dir": str(self.state), "sources": sources or {"logs": self.files_source()}, "sinks": sinks,
            "admin": {"listen": None}, "shutdown_grace": "5s", "lock_wait": "200ms", **top,
        }
        self.write_config(json.dumps(config, indent=1))

    def write_config(self, text: str) -> None:
        new = self.config_path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config_path)

    # ---------------------------------------------------------------- life

    def start(
        self, *argv: str, ready: bool = True, env: Mapping[str, str] | None = None, open_files: int | None = None,
    ) -> Agent:
        """`shipper run`; returns when its first scan is done. `open_files`: RLIMIT_NOFILE, soft and hard."""
        self._log_start_bytes = self.log_path.stat().st_size if self.log_path.exists() else 0
        config = ["-c", str(self.config_path)] if self.config_path is not None else []          # None: the environment's
        self._processes.append(self._spawn(["run", *config, *argv], {**os.environ, **(env or {})}, open_files))
        if ready:
            self.until("the agent is ready", lambda status: status["ready"])
        return self

    def _spawn(self, argv: list[str], env: dict[str, str], open_files: int | None) -> subprocess.Popen[bytes]:
        """The process, its standard error at the end of the log."""
        def limit() -> None:
            if open_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

        with open(self.log_path, "ab") as log:
            return subprocess.Popen(
                [*self.prefix, sys.executable, "-m", self.module, *argv], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log, env=env, preexec_fn=limit,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._processes[-1]

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        self.process.kill()
        self.process.wait(WITHIN_S)

    def terminate(self, within_s: float = WITHIN_S) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended(within_s)

    def ended(self, within_s: float = WITHIN_S) -> int:
        """The exit code, once it has ended by itself."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent still runs after {within_s:g} s\n{self.last_words()}") from None

    def once(self, *argv: str, env: Mapping[str, str] | None = None) -> int:
        """`shipper run --once`; the exit code."""
        return self.start("--once", "--timeout", "20s", *argv, ready=False, env=env).ended(40)

    def close(self) -> None:
        """End what this has started."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def command(self, *argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Another `shipper` command."""
        return self._run(list(argv), stdin, {**os.environ, "SHIPPER_STATE_DIR": str(self.state), **(env or {})})

    def _run(self, argv: list[str], stdin: bytes, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "shipper", *argv]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False, env=env)

    # ---------------------------------------------------------------- its log

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line of its log so far, of the newest run."""
        data = self.log_path.read_bytes()[self._log_start_bytes:] if self.log_path.exists() else b""
        return [json.loads(line) for line in data.split(b"\n")[:-1] if line.startswith(b"{")]

    def log_text(self) -> str:
        """All that it ever said."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def said(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of this event with these fields so far."""
        return [x for x in self.lines() if x["event"] == event and all(x.get(k) == v for k, v in fields.items())]

    def event(self, event: str, within_s: float = WITHIN_S, **fields: Any) -> dict[str, Any]:
        """The newest line of this event with these fields, once there is one."""
        what = f"the log says {event} {fields or ''}"
        return eventually(what, lambda: self.said(event, **fields), within_s, self.last_words)[-1]

    def last_words(self) -> str:
        return self.log_text()[-3000:]

    # ---------------------------------------------------------------- its answers

    def get(self, path: str) -> bytes:
        """What it answers on the admin socket, as bytes."""
        connection = UnixConnection(str(self.state), WITHIN_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """`name{labels}` -> value."""
        lines = self.get("/metrics").decode().splitlines()
        return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if x and not x.startswith("#"))}

    def status(self) -> dict[str, Any]:
        found = self._ask("/status")
        assert found is not None, f"no agent answers\n{self.last_words()}"
        return found

    def audit(self) -> dict[str, Any]:
        found = self._ask("/audit")
        assert found is not None, f"no agent answers\n{self.last_words()}"
        return found

    def _ask(self, path: str) -> dict[str, Any] | None:
        if not self.state.is_dir():
            return None
        try:
            found: dict[str, Any] | None = ask(str(self.state), path)
        except Fatal:
            return None
        return found

    def until(self, what: str, wanted: Callable[[dict[str, Any]], Any], within_s: float = WITHIN_S) -> dict[str, Any]:
        """/status as soon as `wanted` holds of it."""
        seen: list[dict[str, Any]] = []

        def look() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"the agent ended with {self.process.returncode}\n{self.last_words()}"
            found = self._ask("/status")
            seen[:] = [found] if found is not None else seen
            return found if found is not None and wanted(found) else None

        found = eventually(what, look, within_s, lambda: f"{json.dumps(seen)[:3000]}\n{self.last_words()}")
        assert found is not None
        return found

    def drained(self, *sinks: str, size: int | None = None, within_s: float = WITHIN_S) -> dict[str, Any]:
        """/status once all that is in the files (or `size` source bytes) is read, and confirmed by these sinks (or all)."""
        def done(status: dict[str, Any]) -> bool:
            names = sinks or tuple(status["sinks"])
            read = status["lag_bytes"] == 0 and all(f["state"] != "waiting" for f in status["files"])
            enough = size is None or status["buffer"]["source_bytes"] >= size
            return read and enough and all(status["sinks"][name]["backlog_bytes"] == 0 for name in names)

        return self.until(f"everything is delivered to {sinks or 'all sinks'}", done, within_s)

    # ---------------------------------------------------------------- what was delivered

    def delivered_lines(self, pattern: str = "**/*.ndjson*") -> list[bytes]:
        """Of the file sinks, in the order of the files' names; a torn last line is left out."""
        found: list[bytes] = []
        for path in sorted(self.out.glob(pattern)):
            found += path.read_bytes().split(b"\n")[:-1]
        return found

    def delivered(self, pattern: str = "**/*.ndjson*") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.delivered_lines(pattern)]

    def messages(self, pattern: str = "**/*.ndjson*") -> list[str]:
        return [record["message"] for record in self.delivered(pattern)]

    def arrived(self, count: int, pattern: str = "**/*.ndjson*", within_s: float = WITHIN_S) -> list[str]:
        """The delivered messages, once there are `count` of them."""
        return eventually(f"{count} records in {self.out}", lambda: (
            found if len(found := self.messages(pattern)) >= count else []), within_s,
            lambda: f"there are {len(self.messages(pattern))}\n{self.last_words()}")


def agents(root: Path) -> Iterator[Agent]:
    """For a fixture."""
    agent = Agent(root)
    yield agent
    agent.close()
