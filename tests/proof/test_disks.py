"""Full and failing disks under the state directory of the real agent.

In every case: reading stops, /healthz stays well, shipper_degraded says why, delivery drains, reading resumes by itself,
nothing is lost. Repeats are counted; a full disk makes none.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.proof.harness_broken_agent import BrokenAgent
from tests.proof.harness_disk import MIB, fill, free_bytes, read_only, small_disk
from tests.proof.harness_events import note
from tests.proof.harness_far_side import FarSide, far_side
from tests.support.agent import Agent, eventually

DISK_MIB = 24
PAD = "x" * 1000


class World:
    """An agent with its state on a disk of its own, a far side that is down, and a log file that grows."""

    def __init__(self, root: Path, far: FarSide) -> None:
        self.agent, self.far = BrokenAgent(root), far
        self.agent.configure(
            sinks={"central": Agent.syslog_sink(far.port, framing="newline", barrier_idle="200ms", connect_timeout="1s")},
            buffer={"max_size": "1GiB", "segment_size": "1MiB", "sync_interval": "100ms"},
        )
        self.written = 0

    def write(self, lines: int) -> None:
        with open(self.agent.logs / "app.log", "a") as log:
            log.writelines(f"line {n} {PAD}\n" for n in range(self.written, self.written + lines))
        self.written += lines

    def holds(self, lines: int) -> None:
        """Waits until these are in the buffer, synced."""
        def held(status: dict) -> bool:
            buffer = status["buffer"]
            return buffer["use"]["segments"] > lines * len(PAD) and buffer["synced_seq"] == buffer["last_seq"]

        self.agent.until("all is in the buffer", held)

    def stops_reading(self, *reasons: str) -> str:
        """Waits until the agent says why it reads no further; it is well all the while. The reason."""
        def why(status: dict) -> bool:
            return any(entry["reason"] in reasons for entry in status["degraded"])

        status = self.agent.until(f"degraded by {reasons}", why)
        reason = next(entry["reason"] for entry in status["degraded"] if entry["reason"] in reasons)
        assert self.agent.get("/healthz") == b"ok\n"
        assert self.agent.metrics()[f'shipper_degraded{{reason="{reason}"}}'] == 1
        return reason

    def arrives(self, count: int, within_s: float = 30.0) -> None:
        """Until the first `count` lines have come, from an agent that runs."""
        def look() -> bool:
            assert self.agent.process.poll() is None, f"the agent ended\n{self.agent.last_words()}"
            return self.far.lost_and_repeated(count)[0] == 0

        eventually(f"{count} lines arrive", look, within_s,
                   lambda: f"{self.far.lost_and_repeated(count)} lost and repeated\n{self.agent.last_words()}")

    def all_arrives(self, event: str, tries: int = 1, within_s: float = 60.0) -> int:
        """Until every line has come and nothing is degraded; (repeated)."""
        self.arrives(self.written, within_s)
        self.agent.until("nothing is degraded any more", lambda status: not status["degraded"], within_s)
        lost, repeated = self.far.lost_and_repeated(self.written)
        note(event, tries=tries, lost=lost, repeated=repeated)
        return repeated


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with far_side() as far:
        made = World(tmp_path, far)
        yield made
        made.agent.close()


@pytest.fixture
def disk(world: World) -> Iterator[Path]:
    with small_disk(world.agent.state, DISK_MIB) as mounted:
        yield mounted
        world.agent.close()


def test_a_sink_that_is_down_fills_the_disk_and_nothing_is_lost(world: World, disk: Path) -> None:
    world.agent.start()
    world.write(40_000)                                               # 40 MB, where 24 are to be had
    world.stops_reading("buffer_full")
    read_bytes = world.agent.until("all that was read is synced", lambda status: (
        status["buffer"]["synced_seq"] == status["buffer"]["last_seq"]))["buffer"]["source_bytes"]
    assert free_bytes(disk) >= 2 * MIB                                # never past 90 %, which are 2.4 MiB, but for small files
    world.write(1)
    assert world.agent.status()["buffer"]["source_bytes"] == read_bytes
    world.far.up()
    assert world.all_arrives("disk filled by ourselves, sink down") == 0


LEFT = [0, 4096, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 4095, 100_000, 3_000_000))]


@pytest.mark.parametrize("left", LEFT)
def test_others_fill_the_disk_to_the_last_byte_and_nothing_is_lost(world: World, disk: Path, left: int) -> None:
    world.agent.start()
    world.write(2000)
    world.holds(2000)
    fill(disk / "somebody-elses", left)
    world.write(4000)
    world.stops_reading("buffer_full", "disk_full")
    world.far.up()
    world.arrives(2000)
    fill(disk / "somebody-elses", left)                               # whatever was given free, they take
    assert world.agent.get("/healthz") == b"ok\n"
    os.unlink(disk / "somebody-elses")
    assert world.all_arrives(f"disk filled by others, {left} bytes left") == 0


def test_an_agent_that_is_killed_on_a_full_disk_starts_again_on_it_and_drains(world: World, disk: Path) -> None:
    world.agent.start()
    world.write(3000)
    world.holds(3000)
    fill(disk / "somebody-elses")
    world.write(3000)
    world.stops_reading("buffer_full", "disk_full")
    for _ in range(3):
        world.agent.kill()
        fill(disk / "somebody-elses")
        world.agent.start()
    world.far.up()
    world.arrives(3000)
    os.unlink(disk / "somebody-elses")
    world.all_arrives("kill -9 and start on a full disk", tries=3)


def _the_segments(world: World) -> AbstractContextManager[None]:
    return read_only(world.agent.state / "buffer")


def _the_cursors(world: World) -> AbstractContextManager[None]:
    return read_only(world.agent.state / "cursors")


@pytest.mark.parametrize("which", [_the_segments, _the_cursors])
def test_a_directory_turns_read_only_and_back_and_nothing_is_lost(world: World, which) -> None:
    world.agent.start()
    world.write(1000)
    world.holds(1000)
    with which(world):
        world.far.up()
        world.write(1000)
        world.stops_reading("buffer_error")
        world.arrives(1000)
    world.all_arrives(f"read-only: {which.__name__.removeprefix('_the_')}")


def test_a_quota_is_a_full_disk(world: World) -> None:
    """EDQUOT is simulated at the system call: quotas need a kernel and a filesystem made for them."""
    world.agent.start(breaks="quota")
    world.write(1000)
    world.holds(1000)
    world.agent.break_now()
    world.write(1000)
    world.stops_reading("disk_full")
    world.far.up()
    world.arrives(1000)
    world.agent.mend()
    assert world.all_arrives("quota") == 0


def test_a_sync_that_fails_once_loses_nothing(world: World) -> None:
    """fsyncgate: EIO once, and the kernel calls the pages clean. The segment is abandoned, its range read again."""
    world.far.up()
    world.agent.start(breaks="one_failed_sync")
    for _ in range(5):
        world.write(500)
        world.agent.break_now()
        world.agent.event("buffer_lost")
        world.agent.mend()
        world.agent.until("well again", lambda s: not s["degraded"])
    world.all_arrives("fdatasync fails once", tries=5)


@pytest.mark.long
def test_a_disk_that_fills_and_empties_two_hundred_times_loses_nothing(world: World, disk: Path) -> None:
    world.agent.start()
    for n in range(200):
        if n == 20:
            world.far.up()
        world.write(200)
        fill(disk / "somebody-elses", n * 997 % 300_000)
        world.write(200)
        if n % 7 == 0:
            world.agent.kill()
            world.agent.start()
        os.unlink(disk / "somebody-elses")
    world.all_arrives("disk fills and empties, killed at times", tries=200, within_s=300)
