"""The two processes of the demo, and the count of what they deliver. Driver: processes, files.

    Writer     python -m shipper.agent.node_simulator     says its counts on stdout
    Agent      python -m shipper run -c demo.yaml         answers on state_dir/admin.sock
    Delivered  newlines in the files that the agent delivers to, counted as they grow

Invariants (tests/agent/test_demo.py):
  D1  only these two processes are ever signalled, by their handle
  D2  they do not outlive the demo: the kernel sends them SIGTERM when it dies, however it dies
"""
from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from ..errors import Fatal
from .client import ask

ASK_TIMEOUT_S = 0.5
CHUNK_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _start(command: list[str], stdout: int, stderr: Any) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches the demo alone, which then ends the others in order.
    # preexec_fn is safe here: the demo has one thread.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
                            preexec_fn=_die_with_parent)


class Writer:
    """The node that writes. `said`: its newest report; `ledger` once it has settled."""

    def __init__(self, command: list[str]) -> None:
        self.said: dict[str, Any] = {}
        self._process = _start(command, subprocess.PIPE, None)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._rest = b""
        self._ended = False

    @property
    def ledger(self) -> dict[str, int] | None:
        """Lines written by log, once all are in the files."""
        return self.said.get("ledger")

    @property
    def running(self) -> bool:
        return not self._ended

    def listen(self, timeout_s: float) -> None:
        """Take what it says within `timeout_s`."""
        if self._ended:
            time.sleep(timeout_s)
            return
        if self._selector.select(timeout_s):
            data = self._output.read(CHUNK_BYTES)
            if data == b"":
                self._ended = True
                self._process.wait()
            *lines, self._rest = (self._rest + (data or b"")).split(b"\n")
            if lines:
                self.said = orjson.loads(lines[-1])

    def stop(self) -> None:
        """Ask it to settle and end; go on listening until `ledger` is there."""
        if not self._ended:
            self._process.terminate()

    def close(self) -> None:
        """End it now."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output.close()
        self._selector.close()


class Agent:
    """The real agent. Its own log goes to `log_path`."""

    def __init__(self, command: list[str], state_dir: Path, log_path: Path) -> None:
        self._command, self._state_dir, self._log_path = command, state_dir, log_path
        self._process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        with open(self._log_path, "ab") as log:
            self._process = _start(self._command, subprocess.DEVNULL, log)
        self.started_s = time.monotonic()

    def kill(self) -> None:
        """kill -9, wherever it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout_s: float) -> int:
        """SIGTERM; its exit code, or -9 where it had to be killed after `timeout_s`."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def ask(self, path: str) -> dict[str, Any] | None:
        """What it answers, or None while it does not (it may be starting, or dead)."""
        try:
            found = ask(str(self._state_dir), path, ASK_TIMEOUT_S)
        except (Fatal, OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            lines = self._log_path.read_bytes().split(b"\n")
        except OSError as error:
            return f"no log: {error.strerror}"
        return next((text.decode(errors="replace")[:500] for text in reversed(lines) if text.strip()), "its log is empty")


class Delivered:
    """Lines in the delivered files, counted as they grow; a file that became shorter is counted again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[Path, tuple[int, int]] = {}       # path -> bytes read, newlines in them

    @property
    def lines(self) -> int:
        return sum(lines for _, lines in self._seen.values())

    @property
    def files(self) -> list[Path]:
        """All delivered files."""
        return sorted(path for path in self._directory.rglob("*.ndjson") if path.is_file())

    def look(self) -> None:
        """Count what is new."""
        for path in self.files:
            offset, lines = self._seen.get(path, (0, 0))
            with open(path, "rb") as file:
                if file.seek(0, os.SEEK_END) < offset:
                    offset = lines = 0
                file.seek(offset)
                while chunk := file.read(CHUNK_BYTES):
                    offset, lines = offset + len(chunk), lines + chunk.count(b"\n")
            self._seen[path] = (offset, lines)


def agent_command(config: Path) -> list[str]:
    """How the real agent is started."""
    return [sys.executable, "-m", "shipper", "run", "-c", str(config)]


def writer_command(root: Path, rate: float, seconds: float, seed: int) -> list[str]:
    """How the node is started."""
    return [sys.executable, "-m", "shipper.agent.node_simulator", "--root", str(root), "--rate", f"{rate:g}",
            "--seconds", f"{seconds:g}", "--seed", str(seed)]
