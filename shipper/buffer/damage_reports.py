"""Damage that a read met: set aside, counted once, and its ranges lost unless every sink is beyond it. Driver; rare.

Invariants (tests/buffer/test_driver.py):
  DR1  the same damage is reported once, whoever reads over it, a start that had found it included
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from ..errors import GapReason
from ..telemetry import Telemetry
from .damage import Cost
from .engine import Engine
from .jobs import Job
from .log import Damaged
from .positions import Positions


@dataclass(slots=True)
class DamageReports:
    """Of one buffer. `put`: gives a job to the writer. `known`: (first seq, start) of what was reported already."""

    directory: str
    engine: Engine
    positions: Positions
    reading: Executor
    put: Callable[[Job], None]
    telemetry: Telemetry
    known: set[tuple[int, int]]

    async def report(self, damage: list[Damaged]) -> None:
        """DR1."""
        fresh = [d for d in damage if (d.first_seq, d.bad.start) not in self.known]
        self.known.update((d.first_seq, d.bad.start) for d in fresh)
        for damaged in fresh:
            lost, unknown_bytes, unknown_frames = await asyncio.get_running_loop().run_in_executor(
                self.reading, self._cost, damaged)
            delta = self.positions.plan_lost(lost)
            self.positions.commit(delta)
            self.put(Job(delta, lost=tuple(lost), damaged=(damaged,)))
            self.telemetry.count("shipper_buffer_damaged_frames_total", max(1, len(damaged.bad.heads)))
            self.telemetry.say(
                "error", "frame_damaged", about=damaged.path, start=damaged.bad.start, end=damaged.bad.end,
                then="set aside in quarantine/, read again from the log files, or the journal",
                files=len({e.file.key for e in lost}),
            )
            self._count_unknown(unknown_bytes, unknown_frames)

    def _count_unknown(self, unknown_bytes: int, unknown_frames: int) -> None:
        if unknown_bytes or unknown_frames:
            self.telemetry.count("shipper_gaps_total", 1, GapReason.BUFFER_DAMAGED.value)
            self.telemetry.count("shipper_gap_bytes_total", unknown_bytes, GapReason.BUFFER_DAMAGED.value)
            self.telemetry.say("error", "damaged_ranges_unknown", about=self.directory, bytes=unknown_bytes,
                               frames=unknown_frames, then="which files they are of is not known; shipper verify shows it")

    def _cost(self, damaged: Damaged) -> Cost:
        with self.engine.lock:
            held = self.engine.cursors.held_from()
        return self.engine.log.lost_in(damaged, self.positions, held)
