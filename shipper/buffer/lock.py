"""One process per state directory: flock on state_dir/lock, with the holder's name in it. Driver.

Invariants (tests/buffer/test_lock.py):
  K1  while a Lock is held no other process gets one for that directory; it ends with the process, however that ends
  K2  waiting is bounded (`wait_s`), said once, and then Fatal names the holder: pid, command, since when
  K3  the file itself is never removed: two processes could then lock two files of one name
"""
from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable

from .. import exact_json
from ..errors import Fatal, Usage
from ..telemetry import Telemetry

POLL_S = 0.2


class Lock:
    """A held lock. `release` gives it back; so does the end of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    async def take(
        cls, directory: str, wait_s: float, telemetry: Telemetry, *, now_s: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> Lock:
        """Wait up to `wait_s` for the process that holds it (a rolling update overlaps). Fatal: it still does (K2)."""
        path = os.path.join(directory, "lock")
        fd = _open(path)
        deadline_s, said = now_s() + wait_s, False
        try:
            while not _try(fd):
                if now_s() >= deadline_s:
                    raise Fatal(f"state_dir {directory} is in use by {holder(path)}; waited {wait_s:g} s (lock_wait). "
                                "Stop that process, or give this one a state_dir of its own")
                if not said:
                    telemetry.say("info", "waiting_for_lock", about=path, holder=holder(path), wait_s=wait_s)
                    said = True
                await asyncio.sleep(min(poll_s, max(0.001, deadline_s - now_s())))
        except BaseException:
            os.close(fd)
            raise
        _sign(fd)
        return cls(fd)

    @classmethod
    def try_take(cls, directory: str) -> Lock | None:
        """At once, for commands that work offline; None where another process holds it."""
        fd = _open(os.path.join(directory, "lock"))
        if not _try(fd):
            os.close(fd)
            return None
        _sign(fd)
        return cls(fd)

    def release(self) -> None:
        """Closing the descriptor ends the flock. Twice is fine."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.ftruncate(fd, 0)
            os.close(fd)


def holder(path: str) -> str:
    """Who holds the lock, as it wrote itself down: `pid 7 (shipper run -c x.yaml), since 2026-11-20T09:04:05Z`."""
    try:
        with open(path, "rb") as file:
            found = exact_json.loads(file.read(4096))
        return f"pid {found['pid']} ({found['command']}), since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process (it has not written its name yet)"


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        directory = os.path.dirname(path)
        mend = f"run: chown -R {os.geteuid()} {directory}/"
        if error.errno not in (errno.EACCES, errno.EPERM):
            mend = f"make {directory} a place to write, or name another state_dir"
        raise Usage(f"{path}: cannot be opened: {error.strerror}; {mend}") from error


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(fd: int) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # The command's words, never its environment: arguments hold paths, secrets come from files or the environment.
    signed = exact_json.dumps({"pid": os.getpid(), "command": " ".join(sys.argv)[:1000], "since": since})
    os.ftruncate(fd, 0)
    os.pwrite(fd, signed + b"\n", 0)
