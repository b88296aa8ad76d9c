"""A process that is measured: started by exec from a small parent, its CPU by its own clock, its memory by the kernel's mark.

Invariants:
  M1  CPU time is the whole process with all its threads, ended ones too: its CPU clock while it runs, wait4's rusage in the end
  M2  peak RSS is VmHWM of the program itself: ru_maxrss would inherit what the parent had at the fork
  M3  only the process that was started here is ever signalled
"""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_S = 40.0


class Ended(RuntimeError):
    """It ended by itself; its log says why."""


class Measured:
    """One run of one program. `begun_ns` is CLOCK_MONOTONIC, which is the same for all processes."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.argv, self.log = list(argv), log
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        self.begun_ns = time.monotonic_ns()
        self.pid = os.posix_spawn(argv[0], self.argv, dict(environ), file_actions=actions)
        self._ended: tuple[int, float] | None = None

    def cpu_s(self) -> float:
        """Until now, to the nanosecond (the kernel's clock id of another process is made of its pid)."""
        self.check()
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_mb(self) -> tuple[float, float]:
        """(now, peak) in MB of 10^6 bytes, as design and peers count."""
        self.check()
        facts = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return tuple(int(facts[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]

    def cpu_or_total_s(self) -> float:
        """As `cpu_s`, or what it took in all where it has ended."""
        return self._ended[1] if self._reap(os.WNOHANG) and self._ended else time.clock_gettime((~self.pid << 3) | 2)

    def peak_mb(self) -> float:
        """Peak RSS; 0 where it has ended (a program that stops by itself is not asked in time)."""
        return 0.0 if self._reap(os.WNOHANG) else self.rss_mb()[1]

    def alive(self) -> bool:
        return not self._reap(os.WNOHANG)

    @property
    def status(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._ended[0] if self._reap(os.WNOHANG) and self._ended else None

    def check(self) -> None:
        """Raises Ended where it is gone."""
        if self._ended is None and not self._reap(os.WNOHANG):
            return
        assert self._ended is not None
        raise Ended(f"{self.argv[0]} ended with status {self._ended[0]}: {self.log.read_text()[-2000:]}")

    def stop(self) -> float:
        """SIGTERM, and the CPU seconds of its whole life (M1). Killed where it does not end."""
        if self._ended is None:
            os.kill(self.pid, signal.SIGTERM)
            end_s = time.monotonic() + _STOP_S
            while not self._reap(os.WNOHANG):
                if time.monotonic() > end_s:
                    os.kill(self.pid, signal.SIGKILL)
                    self._reap(0)
                    break
                time.sleep(0.01)
        assert self._ended is not None
        return self._ended[1]

    def _reap(self, flags: int) -> bool:
        if self._ended is not None:
            return True
        pid, status, usage = os.wait4(self.pid, flags)
        if not pid:
            return False
        self._ended = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        return True
