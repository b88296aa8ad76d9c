"""Disks that fill, fail and mend, for tests that are root: a tmpfs of so many MiB, a directory that turns read-only.

Where mounting is refused (no CAP_SYS_ADMIN), the tests that need a real disk skip with that name; the state machine
over a simulated filesystem (tests/buffer/test_buffer_machine.py) covers the same events everywhere.
"""
from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1024 * 1024
BLOCK = 64 * 1024


def _run(*argv: str) -> str:
    """"" where it worked, else why not."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr or f"exit {done.returncode}").strip()


@contextlib.contextmanager
def small_disk(at: Path, size_mib: int) -> Iterator[Path]:
    """A tmpfs at `at`."""
    at.mkdir(exist_ok=True)
    why = _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "tmpfs", str(at))
    if why:
        pytest.skip(f"mounting a tmpfs is refused here ({why}); tests/buffer/test_buffer_machine.py simulates it")
    try:
        yield at
    finally:
        assert _run("umount", "-l", str(at)) == ""


def fill(path: Path, leave_bytes: int = 0) -> None:
    """Write a file until the disk has no block left, then give `leave_bytes` back."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for size in (BLOCK, 4096, 1):
            with contextlib.suppress(OSError):       # ENOSPC is what we came for
                while os.write(fd, bytes(size)):
                    pass
        if leave_bytes:
            os.ftruncate(fd, max(0, os.fstat(fd).st_size - leave_bytes))
    finally:
        os.close(fd)


def free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """`directory` and every file in it: no write, no create, no rename, root included (chattr +i)."""
    files = [str(p) for p in directory.iterdir()]
    why = _run("chattr", "+i", *files, str(directory))
    try:
        if why:
            pytest.skip(f"chattr +i is refused here ({why}); tests/buffer/test_buffer_machine.py simulates it")
        yield
    finally:
        mended = _run("chattr", "-i", *files, str(directory))
        assert why or not mended
