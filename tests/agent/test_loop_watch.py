"""A blocked loop is said once, with the place where it hangs, and never while it moves."""
from __future__ import annotations

import threading
from typing import Any

from shipper.agent.loop_watch import LoopWatch
from shipper.telemetry import Telemetry


class Clock:
    """A clock that a test sets, and that tells when it was looked at often enough."""

    def __init__(self) -> None:
        self.time_s, self.looks, self.looked = 0.0, 0, threading.Semaphore(0)

    def __call__(self) -> float:
        self.looked.release()
        return self.time_s

    def wait_for_looks(self, count: int) -> None:
        while self.looked.acquire(blocking=False):
            pass
        for _ in range(count):
            assert self.looked.acquire(timeout=10)


def watching(clock: Clock) -> tuple[LoopWatch, list[tuple[str, str, dict[str, Any]]]]:
    telemetry = Telemetry()
    watch = LoopWatch(telemetry, silent_after_s=30.0, look_every_s=0.001, now_s=clock)
    watch.start()
    return watch, telemetry.lines


def test_a_loop_that_hangs_is_said_once_with_its_place() -> None:
    clock = Clock()
    watch, lines = watching(clock)
    for clock.time_s in range(0, 50, 10):
        clock.wait_for_looks(3)
    watch.close()
    (level, event, fields), = lines
    assert (level, event) == ("error", "loop_blocked")
    assert "test_loop_watch.py:" in fields["about"] and "test_a_loop_that_hangs_is_said_once_with_its_place" in fields["about"]


def test_a_loop_that_beats_is_not_said() -> None:
    clock = Clock()
    watch, lines = watching(clock)
    for clock.time_s in range(0, 200, 10):
        watch.beat()
        clock.wait_for_looks(3)
    watch.close()
    assert lines == []


def test_a_process_that_was_stopped_is_not_said() -> None:
    clock = Clock()
    watch, lines = watching(clock)
    clock.wait_for_looks(2)
    clock.time_s = 3600.0
    clock.wait_for_looks(3)
    watch.close()
    assert lines == []
