"""One process per state directory: K1 to K3 of lock.py."""
from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.buffer.lock import Lock, holder
from shipper.errors import Fatal, Usage
from shipper.telemetry import Telemetry

HOLD = """
import asyncio, sys
from shipper.buffer.lock import Lock
from shipper.telemetry import Telemetry
asyncio.run(Lock.take(sys.argv[1], 0, Telemetry()))
print("held", flush=True)
sys.stdin.read()
"""


async def test_k2_the_holder_is_named_when_waiting_was_for_nothing(tmp_path: Path) -> None:
    telemetry, directory = Telemetry(), str(tmp_path)
    held = await Lock.take(directory, 0, telemetry)
    with pytest.raises(Fatal, match=rf"in use by pid {os.getpid()} \(.*\), since 20..-.*lock_wait"):
        await Lock.take(directory, 0.05, telemetry, poll_s=0.01)
    waiting = [fields for _, event, fields in telemetry.lines if event == "waiting_for_lock"]
    assert len(waiting) == 1, "said once"
    held.release()


async def test_k1_waiting_ends_when_the_holder_lets_go(tmp_path: Path) -> None:
    directory = str(tmp_path)
    held = await Lock.take(directory, 0, Telemetry())
    second = asyncio.create_task(Lock.take(directory, 30, Telemetry(), poll_s=0.001))
    await asyncio.sleep(0)
    assert not second.done() and Lock.try_take(directory) is None
    held.release()
    held.release()
    lock = await asyncio.wait_for(second, 5)
    lock.release()
    third = Lock.try_take(directory)
    assert third is not None
    third.release()


async def test_k1_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    try:
        assert process.stdout.readline() == b"held\n"
        assert f"pid {process.pid} " in holder(str(tmp_path / "lock"))
        assert Lock.try_take(str(tmp_path)) is None
        process.kill()
        process.wait(10)
        lock = await Lock.take(str(tmp_path), 5, Telemetry(), poll_s=0.001)
        lock.release()
    finally:
        process.kill()
        process.wait(10)
        process.stdin.close()
        process.stdout.close()


async def test_k3_the_file_stays_and_is_empty_when_nobody_holds_it(tmp_path: Path) -> None:
    (await Lock.take(str(tmp_path), 0, Telemetry())).release()
    assert (tmp_path / "lock").read_bytes() == b""
    assert holder(str(tmp_path / "lock")).startswith("another process")


async def test_a_read_only_file_system_is_not_mended_by_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(Usage, match=f"Read-only file system; make {tmp_path} a place to write, or name another state_dir"):
        await Lock.take(str(tmp_path), 0, Telemetry())


async def test_a_directory_that_cannot_hold_a_lock_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="cannot be opened"):
        await Lock.take(str(tmp_path / "missing"), 0, Telemetry())
