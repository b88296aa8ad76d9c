"""Asking a sink that refuses everything, with single records, whether it takes anything again.

A wrong URL or proxy refuses all of them: then the stream is held. Where one is taken that lies behind the refused ones,
it is those records that are wrong (all of one pod, say), and delivery may go past them into the dead letters.
A record that was taken here is sent once more in its turn: a repeat with the same id.
Driver: at most PROBE_RECORDS requests each 30 s, one after the other.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import Rejected, ShipperError
from ..model import Batch, Frame, Request
from .account import Position
from .form import between
from .retry import describe
from .route import Predicate
from .split import samples
from .view import BufferView, SinkView
from .window import Window

PROBE_BYTES = 4 * 1024 * 1024
PROBE_FRAMES = 8            # the newest ones, if so many fit
PROBE_RECORDS = 8


class Answer(NamedTuple):
    """asked: there was something to ask with. accepted: what was taken lies before this position; None: nothing was."""

    asked: bool
    accepted: Position | None = None
    error: ShipperError | None = None


async def probe(sink: SinkView, buffer: BufferView, window: Window, routed: Predicate) -> Answer:
    """One round, with records from the cursor on and with the newest ones. Errors of a class that sinks may raise are answers,
    and so is a record that cannot be encoded (courier.C4); others are bugs and pass through."""
    start = window.position
    frames = await buffer.read(start.seq, PROBE_BYTES)
    if frames and (behind := max(frames[-1].seq + 1, buffer.appended_seq - PROBE_FRAMES + 1)) <= buffer.appended_seq:
        frames = frames + await buffer.read(behind, PROBE_BYTES)     # a flood of one pod may be longer than what was read
    pieces = located(frames, start, routed)
    last_error = None
    for position, batch in samples(pieces, PROBE_RECORDS):
        request = Request(window.next_number(), [batch])
        try:
            await sink.send(request, _encoded(sink, batch))
        except ShipperError as error:
            last_error = error
        else:
            return Answer(True, position)
    return Answer(bool(pieces), None, last_error)


def _encoded(sink: SinkView, batch: Batch) -> Any:
    try:
        return sink.encode([batch])
    except ShipperError:
        raise
    except Exception as error:
        raise Rejected(f"cannot be encoded: {describe(error)}") from error


def located(frames: Iterable[Frame], start: Position, routed: Predicate) -> list[tuple[Position, Batch]]:
    """The routed batches from `start` on, each with a position at or before its first record, in order. Pure."""
    found: list[tuple[Position, Batch]] = []
    for frame in frames:
        position = max(start, Position(frame.seq, 0))
        for batch in between([frame], position, Position(frame.seq + 1, 0), routed):
            found.append((position, batch))
            position = Position(frame.seq, position.record + len(batch))
    return found
