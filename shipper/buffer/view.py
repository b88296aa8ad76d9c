"""The buffer of a stopped agent, looked at: for status, audit and `positions show`. Changes nothing (recovery.R4)."""
from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..errors import Usage
from .cursors import CursorPosition
from .files import Files, OsFiles
from .positions import Positions
from .recovery import recover


class View(NamedTuple):
    """`last_seq` < `first_seq`: no frame is held. `notes`: what a start would mend, as (level, event, about, fields)."""

    positions: Positions
    cursors: dict[str, CursorPosition]
    first_seq: int
    last_seq: int
    notes: list[tuple[str, str, str, dict[str, Any]]]


def inspect(directory: str, files: Files | None = None) -> View:
    """What a start would begin with. Call it holding the lock (Lock.try_take) or for a copy. Usage where there is no
    buffer; Fatal for one of a later release."""
    world = files or OsFiles()
    if "positions.json" not in world.names(directory) and not world.names(os.path.join(directory, "buffer")):
        raise Usage(f"{directory}: no buffer here; is it the state_dir of an agent that ran?")
    found = recover(world, directory, bytes(16), change=False)
    first = found.segments[0].first_seq if found.segments else found.last_seq + 1
    return View(found.positions, found.cursors, first, found.last_seq, found.notes)
