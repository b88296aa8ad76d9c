"""Dropping a sink's oldest records, on purpose and counted. Driver: reads what it drops, to count it.

Invariants:
  Y1  whole frames go, from the window's end on; each record in them is counted, with its bytes, by file and reason
  Y2  at most READ_BYTES of frames are in memory at a time
"""
from __future__ import annotations

import asyncio

from ..model import Frame
from ..telemetry import Telemetry
from .account import bytes_by_file
from .backlog import Drop
from .form import Former
from .progress import Progress
from .route import Predicate, pick_of
from .view import BufferView

READ_BYTES = 1024 * 1024


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
