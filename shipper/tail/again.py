"""Ranges whose frame was damaged are read again from their log file, with the same ids; else they are a gap. Pure: the
reader reads the bytes.

Invariants:
  A1  a lost range ends as records or as a gap with reason buffer_damaged, never in silence (P1)
  A2  the decoder's state of the running stream is not touched: what was open at the range's end was joined long ago
  A3  where lines are joined, what stands in front of the range is looked at, so that a record that began there is whole and has
      its id again; at the range's end all ends. Where a record was closed by time, or went on behind the range, its lines can
      come once more under another id: at least once, never not at all
"""
from __future__ import annotations

import time
from typing import Protocol

from ..errors import GapReason
from ..model import FileRef, Gap, Piece, Section
from .cutter import LineDecoder, Reread
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
    reread = lineage.reread if lineage is not None else _nothing
    _look_back(lost, decoder, reread, now_s)
    if lost.start + len(whole) == lost.end:
        decoder.end_with_next()
    batch = decoder.decode(lost.file.key, lost.start, _lines(whole), read_ns=time.time_ns(), now_s=now_s, reread=reread)
    section = Section(lost.file, lost.start, lost.start + len(whole), "", batch, (), decoder.take_drops())
    decoder.restore((), now_s)                           # gives back what its open records hold of the budget
    return section


def _look_back(lost: LostRange, decoder: LineDecoder, reread: Reread, now_s: float) -> None:
    """What is open at the range's start, as a decoder would know it that had read what stands in front of it (A3)."""
    size = min(decoder.look_back_bytes, lost.start)
    before = reread(Piece(lost.file.key, lost.start - size, size)) if size else b""
    if size < lost.start:
        before = before[before.find(b"\n") + 1 :]
    if before.endswith(b"\n"):
        decoder.decode(
            lost.file.key, lost.start - len(before), _lines(before), read_ns=time.time_ns(), now_s=now_s, reread=reread)
        decoder.take_drops()                              # counted when they were read


def _lines(whole: bytes) -> list[bytes]:
    lines = whole.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _nothing(piece: Piece) -> bytes:
    return b""
