"""The real agent, made to break on command: `SHIPPER_BREAK=<what> SHIPPER_BREAK_FILE=<path> python -m tests.proof.broken_agent
run -c FILE`. Broken while the file exists; a function per way to break, named as the tests name it.

`SHIPPER_HEALTH_PACE=N` makes the clocks of health N times as fast (30 s silent becomes 30/N s), so that a test of what is
stuck takes seconds; the long tests run with the real times.
"""
from __future__ import annotations

import errno
import os
import sys
import threading
import time
from typing import Any

SLOW_S = 0.2
FILE = os.environ.get("SHIPPER_BREAK_FILE", "/nonexistent")


def broken() -> bool:
    return os.path.exists(FILE)


def hang() -> None:
    """As long as the file is there."""
    while broken():
        time.sleep(0.01)


def _before(owner: Any, name: str, act: Any) -> None:
    """Call `act` before each `owner.name`."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _await_before(owner: Any, name: str) -> None:
    """Hang in the coroutine `owner.name`, without blocking the loop."""
    import asyncio

    original = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        while broken():
            await asyncio.sleep(0.01)
        return await original(*args, **kwargs)

    setattr(owner, name, wrapped)


# ---------------------------------------------------------------- disks

def quota() -> None:
    """Growing a segment is refused."""
    def refuse() -> None:
        if broken():
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    _before(os, "writev", refuse)


def one_failed_sync() -> None:
    failed: list[float] = []

    def refuse() -> None:
        if broken() and (not failed or os.stat(FILE).st_mtime_ns != failed[-1]):
            failed.append(os.stat(FILE).st_mtime_ns)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    _before(os, "fdatasync", refuse)


def slow_sync() -> None:
    """A disk that takes a while, well within its time."""
    def wait() -> None:
        if broken():
            time.sleep(SLOW_S)

    _before(os, "fdatasync", wait)
    _before(os, "writev", wait)


def unreadable_log() -> None:
    """A bad sector below bad.log: reads that touch a byte from the one that stands in FILE on are EIO."""
    original = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if broken() and os.readlink(f"/proc/self/fd/{fd}").endswith("/bad.log"):
            with open(FILE) as said:
                if offset + size > int(said.read() or 0):
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(fd, size, offset)

    os.pread = pread


# ---------------------------------------------------------------- stuck

def loop_blocked() -> None:
    from shipper.tail.driver import Reader

    _before(Reader, "prepare", hang)


def loop_busy_for_ever() -> None:
    """No system call, no await: a computation that does not end."""
    from shipper.tail.driver import Reader

    def spin() -> None:
        while broken():
            pass

    _before(Reader, "prepare", spin)


def loop_in_a_system_call() -> None:
    """The log directory hangs (a dead network mount)."""
    from shipper.discover.listing import Listings

    _before(Listings, "refresh", hang)


def loop_starved() -> None:
    """A task that never gives way for long: each turn of the loop takes longer than it may."""
    import asyncio

    from shipper.agent.run import Pipeline

    original = Pipeline.start

    async def start(self: Any) -> None:
        await original(self)

        def burn() -> None:
            if broken():
                time.sleep(60.0 / PACE)
            loop.call_later(0.01, burn)

        loop = asyncio.get_running_loop()
        burn()

    Pipeline.start = start  # type: ignore[method-assign]


def writer_hung_in_write() -> None:
    _before(os, "writev", hang)


def writer_hung_in_sync() -> None:
    """A disk that does not answer: fdatasync never returns."""
    _before(os, "fdatasync", hang)


def writer_dead() -> None:
    """The thread ended, whatever the reason."""
    from shipper.buffer.engine import Engine

    def die() -> None:
        if broken() and threading.current_thread().name == "shipper-buffer":
            hang_thread_only()

    def hang_thread_only() -> None:
        threading.Event().wait()

    _before(Engine, "step", die)


def writer_hung_on_a_full_disk() -> None:
    """First no room, then no answer at all: being degraded excuses the disk, not the thread."""
    refused: list[int] = []

    def refuse() -> None:
        if broken():
            if len(refused) > 1:
                hang()
            refused.append(1)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _before(os, "writev", refuse)


def reader_starved() -> None:
    """There are unread bytes and room, and nobody reads."""
    from shipper.tail.driver import Reader

    _await_before(Reader, "_turn")


def reader_waits_for_room_that_is_there() -> None:
    """A lost wake-up: the buffer has room, the reader waits on."""
    from shipper.tail.in_flight import InFlight

    _await_before(InFlight, "drained")


def backlog_is_always_seen() -> None:
    """Each look at the sinks falls between a frame's append and the cursor's move over it."""
    from shipper.agent import run

    original = run.stages_of

    def stages_of(reader: Any, buffer: Any, sinks: Any) -> Any:
        if broken():
            sinks = {name: {**facts, "backlog_bytes": facts["backlog_bytes"] or 1} for name, facts in sinks.items()}
        return original(reader, buffer, sinks)

    run.stages_of = stages_of


def reader_paced_for_ever() -> None:
    from shipper.agent import intake

    original = intake.Intake.__init__

    def init(self: Any, config: Any, buffer: Any, telemetry: Any, pace: Any) -> None:
        import asyncio

        async def never() -> None:
            while broken():
                await asyncio.sleep(0.01)
            await pace()

        original(self, config, buffer, telemetry, never)

    intake.Intake.__init__ = init  # type: ignore[method-assign]


def sink_forgets_to_send() -> None:
    """Its loop waits for frames that are there: a lost wake-up."""
    from shipper.agent.buffer_view import BufferForDelivery

    _await_before(BufferForDelivery, "read")


def sink_task_gone() -> None:
    """Its task is held where nobody sees it."""
    from shipper.deliver.driver import Delivery

    _await_before(Delivery, "_turn_or_wait")


PACE = float(os.environ.get("SHIPPER_HEALTH_PACE", "1"))


def hurry_health() -> None:
    """All times of health.py and its users, PACE times as short."""
    from shipper.agent import app, facts, health, loop_watch

    silent_s, stuck_s, sample_s = health.SILENT_AFTER_S / PACE, health.STUCK_AFTER_S / PACE, health.SAMPLE_EVERY_S / PACE
    health.SAMPLE_EVERY_S = app.SAMPLE_EVERY_S = sample_s
    facts.WRITER_SILENT_S = silent_s
    assert health.StageFacts.__init__.__defaults__ == (health.STUCK_AFTER_S,)
    health.StageFacts.__init__.__defaults__ = (stuck_s,)
    assert health.Health.__init__.__defaults__ is not None
    health.Health.__init__.__defaults__ = (silent_s, *health.Health.__init__.__defaults__[1:])
    original = loop_watch.LoopWatch.__init__

    def init(self: Any, telemetry: Any) -> None:
        original(self, telemetry, silent_after_s=silent_s, look_every_s=sample_s)

    loop_watch.LoopWatch.__init__ = init  # type: ignore[method-assign]


if __name__ == "__main__":
    if PACE != 1:
        hurry_health()
    what = os.environ.get("SHIPPER_BREAK")
    if what:
        globals()[what]()
    from shipper.agent.cli import main

    sys.exit(main())
