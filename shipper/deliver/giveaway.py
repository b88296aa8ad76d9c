"""Dropping a sink's oldest records, on purpose and counted. Driver: reads what it drops, to count it.

Invariants (tests/deliver/test_dropping.py):
  Y1  whole frames go, from the window's end on; each record in them is counted, with its bytes, by file and reason
  Y2  at most READ_BYTES of frames are in memory at a time
"""
from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ..model import Frame
from ..telemetry import Telemetry
from .account import bytes_by_file
from .ages import Ages
from .backlog import Drop, Facts, Limits
from .backlog import due as drop_due
from .form import Former
from .progress import Progress
from .route import Predicate, pick_of
from .trouble import SinkState, Troubles
from .view import BufferView, Clock, SinkView

READ_BYTES = 1024 * 1024
PAUSE_S = 2.0


@dataclass(slots=True)
class Overflow:
    """When one sink's oldest records have to go, and that they go."""

    limits: Limits
    sink: SinkView
    buffer: BufferView
    routed: Predicate
    progress: Progress
    former: Former
    trouble: Troubles
    clock: Clock
    telemetry: Telemetry
    not_before_s: float = 0.0
    ages: Ages = field(default_factory=Ages)

    @property
    def pinned(self) -> bool:
        """The sink has a plan in the making, through which nothing is dropped."""
        return bool(getattr(self.sink, "pinned", False))

    def due(self) -> Drop | None:
        """What has to go now. What is in flight to a sink that is well does not count."""
        if not self.limits.any:
            return None
        self._look_at_the_clock()
        if self.clock.now_s() < self.not_before_s or self.pinned:
            return None
        progress, window = self.progress, self.progress.window
        well = self.trouble.state is SinkState.OK
        backlog_bytes = progress.backlog_bytes - (window.total_bytes if well else 0)
        oldest_ns = (0 if well else window.oldest_ns) or self.former.oldest_ns
        full = self.buffer.full
        drop = drop_due(self.limits, Facts(
            backlog_bytes, oldest_ns and self.ages.by_todays_clock(oldest_ns), self.clock.wall_ns(), full,
            full and self.buffer.furthest_behind(progress.name)))
        return drop and drop._replace(read_before_ns=self.ages.as_written(drop.read_before_ns))

    def _look_at_the_clock(self) -> None:
        if self.limits.max_age_s is None:
            return
        ahead_s = self.ages.look(self.clock.now_s(), self.clock.wall_ns())
        if ahead_s:
            self.telemetry.say(
                "warning", "clock_jumped", about=self.progress.name, ahead_s=round(ahead_s, 1),
                why="the wall clock was set forward, or the machine was suspended; that counts as no age for max_backlog_age")

    async def give_away(self, drop: Drop) -> None:
        """From the window's end on (Y1)."""
        await give_away(drop, self.progress, self.buffer, self.routed, self.telemetry)
        self.not_before_s = self.clock.now_s() + PAUSE_S


async def give_away(drop: Drop, progress: Progress, buffer: BufferView, routed: Predicate, telemetry: Telemetry) -> int:
    """Drop what `drop` says; returns how many records went. They are passed as soon as all before them is confirmed."""
    window = progress.window
    start, start_bytes = window.end, progress.sent_total_bytes
    former = Former(routed)
    former.reset(start, start_bytes)
    records = given_bytes = 0
    while given_bytes < drop.source_bytes:
        frames = await buffer.read(former.next_seq, READ_BYTES)
        chosen = _oldest(frames, drop, start_bytes)
        former.add(chosen)
        span = former.take(force=True)
        if span is None:
            break
        entry = window.skip(span.end, span.tally, span.read_ns)
        entry.dropped_for, entry.files = drop.reason.value, bytes_by_file(chosen, start, routed, pick_of(routed))
        telemetry.count("shipper_sink_dropped_records_total", span.records, progress.name, drop.reason.value)
        progress.advance()
        records += span.records
        given_bytes = chosen[-1].total_bytes - start_bytes
        if len(chosen) < len(frames):
            break
        await asyncio.sleep(0)
    if given_bytes:
        telemetry.say(
            "warning", "records_dropped", about=progress.name, reason=drop.reason.value, records=records, source_bytes=given_bytes
        )
    return records


def _oldest(frames: list[Frame], drop: Drop, start_bytes: int) -> list[Frame]:
    """The frames from the first on that have to go: until enough bytes have, or one is young enough."""
    chosen = []
    for frame in frames:
        if frame.read_ns > drop.read_before_ns:
            break
        chosen.append(frame)
        if frame.total_bytes - start_bytes >= drop.source_bytes:
            break
    return chosen
