"""A state directory becomes a buffer: made where it is not there, recovered, and ready to be written to. Driver: on a thread.

    prepare ─► recover ─► Engine ─► its first step (positions.json after damage, room)

Invariants (tests/buffer/test_driver.py, test_recovery.py):
  OP1  Usage, Fatal: no thread runs, and nothing is appended behind damage of which positions.json does not know
  OP2  cancelled, it ends when recovery, which changes files, has ended: the state lock is given back behind it
Plane: once per start.
"""
from __future__ import annotations

import asyncio
import os
import time
from typing import NamedTuple, TypeVar

from ..config.types import BufferSettings
from ..errors import Fatal
from .engine import Engine
from .files import Files
from .jobs import Outcome
from .recovery import CURSORS, SEGMENTS, Recovered, recover

T = TypeVar("T")


class Opened(NamedTuple):
    """What a Buffer begins with. `outcome`: of the engine's first step."""

    found: Recovered
    engine: Engine
    outcome: Outcome


async def opened(directory: str, settings: BufferSettings, files: Files) -> Opened:
    """OP1, OP2."""
    try:
        found, engine, outcome = await _to_its_end(
            asyncio.get_running_loop().run_in_executor(None, _prepared, directory, settings, files))
    except OSError as error:
        raise Fatal(f"state_dir {directory}: {error.strerror or error} ({error.filename or 'buffer'}); "
                    "mend the disk or its mount, or move state_dir") from error
    if found.damaged_frames and engine.unwritten:
        raise Fatal(f"state_dir {directory}: positions.json cannot be written after damage was found "
                    f"({'; '.join(outcome.degraded.values())}); make room or mend the disk")
    return Opened(found, engine, outcome)


def _prepared(directory: str, settings: BufferSettings, files: Files) -> Opened:
    files.prepare(directory)
    for name in (SEGMENTS, CURSORS):
        files.make_dir(os.path.join(directory, name))
    found = recover(files, directory, os.urandom(16))
    engine = Engine(files, directory, settings, found, time.time)
    return Opened(found, engine, engine.step((), time.monotonic()))


async def _to_its_end(work: asyncio.Future[T]) -> T:
    """What a thread gives; cancelled, only when that has ended."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        work.exception()                                  # heard: nobody else asks
        raise
