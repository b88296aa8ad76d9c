"""Ranges whose frame was damaged are read again from their log file, with the same ids; else they are a gap. Pure: the
reader reads the bytes.

Invariants:
  A1  a lost range ends as records or as a gap with reason buffer_damaged, never in silence (P1)
  A2  the decoder's state of the running stream is not touched: what was open at the range's end was joined long ago
"""
from __future__ import annotations

import time
from typing import Protocol

from ..errors import GapReason
from ..model import FileRef, Gap, Piece, Section
from .cutter import LineDecoder
from .lineage import Lineage

AGAIN_BYTES = 1024 * 1024


class LostRange(Protocol):
    """buffer.positions.Lost."""

    @property
    def file(self) -> FileRef: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


def piece_of(lost: LostRange) -> Piece:
    """What is read of it at once."""
    return Piece(lost.file.key, lost.start, min(lost.end - lost.start, AGAIN_BYTES))


def read_again(
    lost: LostRange, data: bytes, lineage: Lineage | None, decoder: LineDecoder, form: str, now_s: float
) -> Section:
    """One section for the beginning of a lost range, of which `data` was read; the rest of it stays lost and is asked for
    again. `decoder` is of no use after."""
    whole = data if lost.start + len(data) == lost.end else data[: data.rfind(b"\n") + 1]
    if not whole:
        gap = Gap(lost.start, lost.end, GapReason.BUFFER_DAMAGED, lost.end - lost.start)
        return Section(lost.file, lost.start, lost.start, "", None, gaps=(gap,))
    decoder.form = form
    lines = whole.split(b"\n")
    if not lines[-1]:
        lines.pop()
    batch = decoder.decode(
        lost.file.key, lost.start, lines, read_ns=time.time_ns(), now_s=now_s,
        reread=lineage.reread if lineage is not None else lambda piece: b"",
    )
    section = Section(lost.file, lost.start, lost.start + len(whole), "", batch, (), decoder.take_drops())
    decoder.restore((), now_s)                           # gives back what its open records hold of the budget
    return section
