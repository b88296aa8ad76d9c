"""What goes between the event loop and the writer thread. Shapes only.

    loop ── Job ──► writer thread ── Outcome ──► loop
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..model import Frame, Lost
from .cursors import CursorPosition
from .limits import Usage
from .log import Damaged
from .positions import Delta, Positions

DISK_FULL, BUFFER_ERROR, BUFFER_FULL = "disk_full", "buffer_error", "buffer_full"
"""Why the buffer does not take frames at present: the reasons of telemetry.degraded."""


@dataclass(slots=True)
class Job:
    """A change of the positions, with the frame that says it; or one without: files seen, damage found.

    `epoch`: how many losses the loop had heard of when it planned this; older jobs than the newest loss are void.
    """

    delta: Delta
    frame: Frame | None = None
    lost: tuple[Lost, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    epoch: int = 0


@dataclass(slots=True)
class Outcome:
    """What a step did, for the loop. `lost`: the positions to go back to, and why; `lost_ranges`: to be planned again."""

    written: list[Frame] = field(default_factory=list)
    synced_seq: int = 0
    lost: tuple[Positions, str] | None = None
    lost_ranges: list[Lost] = field(default_factory=list)
    cursors: list[CursorPosition] = field(default_factory=list)
    degraded: dict[str, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    limit_bytes: int = 0
    notes: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    counts: list[tuple[str, float, tuple[str, ...]]] = field(default_factory=list)
