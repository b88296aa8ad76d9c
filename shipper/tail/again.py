"""Ranges whose frame was damaged are read again from their log file, with the same ids; else they are a gap. Pure but
for `reread`: what stands in front of the range.

Invariants:
  A1  a lost range ends as records or as a gap with reason buffer_damaged, never in silence (P1)
  A2  the decoder's state of the running stream is not touched: what was open at the range's end was joined long ago
  A3  what stands in front of the range is looked at, so that a record that began there (pieces, a long line, joined lines, a
      private key) is whole and has its id again; at the range's end all joined lines end. Where a record was closed by time, or
      went on behind the range, its lines can come once more under another id: at least once, never not at all
  A4  what nobody reads any more is not read again: its source's settings say what is redacted and dropped, and they are gone
"""
from __future__ import annotations

from ..errors import GapReason
from ..model import Batch, Gap, Lost, Piece, Section
from .cutter import LineDecoder, Reread
from .lineage import Lineage

AGAIN_BYTES = 1024 * 1024
LONGEST_LINE_BYTES = 64 * 1024 * 1024


def piece_of(lost: Lost) -> Piece:
    """What is read of it at once."""
    return Piece(lost.file.key, lost.start, min(lost.end - lost.start, AGAIN_BYTES))


def not_read_again(lost: Lost) -> Section:
    """All of it as a gap (A1)."""
    gap = Gap(lost.start, lost.end, GapReason.BUFFER_DAMAGED, lost.end - lost.start)
    return Section(lost.file, lost.start, lost.start, "", None, gaps=(gap,))


def read_again(
    lost: Lost, data: bytes, lineage: Lineage, decoder: LineDecoder, form: str, now_s: float, *, now_ns: int,
    previous: tuple[str, int] | None = None,
) -> Section:
    """One section for the beginning of a lost range, of which `data` was read; the rest of it stays lost and is asked for
    again. `decoder` is of no use after. `previous`: key and length of the file in front of this one."""
    if not data:
        return not_read_again(lost)
    decoder.form = form
    again = _Again(lost, data, decoder, lineage.reread, now_s, now_ns)
    inside = lost.start > 0 and lineage.reread(Piece(lost.file.key, lost.start - 1, 1)) != b"\n"
    section = again.rest_of_line(previous) if inside else again.lines(previous)
    decoder.restore((), now_s)                           # gives back what its open records hold of the budget
    return section


class _Again:
    """One call of read_again."""

    def __init__(self, lost: Lost, data: bytes, decoder: LineDecoder, reread: Reread, now_s: float, now_ns: int) -> None:
        self._lost, self._data, self._decoder, self._reread = lost, data, decoder, reread
        self._key, self._read_ns, self._now_s = lost.file.key, now_ns, now_s

    def lines(self, previous: tuple[str, int] | None) -> Section:
        """Whole lines; what stands behind the last newline is of a record of a later frame, or the end of the file."""
        lost, data, decoder = self._lost, self._data, self._decoder
        whole_bytes = data.rfind(b"\n") + 1
        self._look_back(lost.start, previous)
        if not whole_bytes:
            ends = self._is_end_of_file()
            return self._section(len(data), self._unterminated(lost.start, data) if ends else None)
        used = whole_bytes
        if lost.start + len(data) == lost.end and not self._is_end_of_file():
            used = len(data)
        if lost.start + used == lost.end:
            decoder.end_with_next()
        lines = data[:whole_bytes].split(b"\n")[:-1]
        if max(map(len, lines)) > decoder.max_line:
            return self._cut_lines(lines)
        return self._section(used, decoder.decode(
            self._key, lost.start, lines, read_ns=self._read_ns, now_s=self._now_s, reread=self._reread))

    def _cut_lines(self, lines: list[bytes]) -> Section:
        """Up to and with the first line over max_line."""
        decoder, start = self._decoder, self._lost.start
        first = next(i for i, line in enumerate(lines) if len(line) > decoder.max_line)
        if first:
            used = sum([len(line) + 1 for line in lines[:first]])
            return self._section(used, decoder.decode(
                self._key, start, lines[:first], read_ns=self._read_ns, now_s=self._now_s, reread=self._reread))
        return self._section(len(lines[0]) + 1, self._long(start, len(lines[0]) + 1))

    def rest_of_line(self, previous: tuple[str, int] | None) -> Section:
        """The range begins inside a long line: its record is in the frame that holds its newline."""
        lost, data = self._lost, self._data
        end = data.find(b"\n") + 1
        ends = not end and self._is_end_of_file()
        if not end and not ends:
            return self._section(len(data), None)
        used = end or len(data)
        start = self._start_of_line()
        if start is None:
            gap = Gap(lost.start, lost.start + used, GapReason.BUFFER_DAMAGED, used)
            return Section(lost.file, lost.start, lost.start, "", None, gaps=(gap,))
        self._look_back(start, previous)
        return self._section(used, self._long(start, lost.start + used - start))

    def _long(self, start: int, total: int) -> Batch | None:
        head = self._reread(Piece(self._key, start, min(total, self._decoder.max_line)))
        if total - 1 <= self._decoder.max_line and head.endswith(b"\n"):
            return self._decoder.decode(
                self._key, start, [head[:-1]], read_ns=self._read_ns, now_s=self._now_s, reread=self._reread)
        return self._decoder.oversized(
            self._key, start, total, head, read_ns=self._read_ns, now_s=self._now_s, reread=self._reread)

    def _unterminated(self, start: int, rest: bytes) -> Batch | None:
        return self._decoder.unterminated(
            self._key, start, rest, read_ns=self._read_ns, now_s=self._now_s, reread=self._reread)

    def _section(self, used_bytes: int, batch: Batch | None) -> Section:
        lost = self._lost
        return Section(lost.file, lost.start, lost.start + used_bytes, "", batch, (), self._decoder.take_drops(self._key))

    def _is_end_of_file(self) -> bool:
        """Does the file end with what was read? Then its last line was a record, newline or not."""
        end = self._lost.start + len(self._data)
        return end == self._lost.end and not self._reread(Piece(self._key, end, 1))

    def _start_of_line(self) -> int | None:
        """Where the line begins that the range's start stands in; None where that is too far away."""
        at = self._lost.start
        while at and self._lost.start - at < LONGEST_LINE_BYTES:
            low = max(0, at - AGAIN_BYTES)
            found = self._reread(Piece(self._key, low, at - low)).rfind(b"\n") + 1
            if found:
                return low + found
            at = low
        return None if at else 0

    def _look_back(self, start: int, previous: tuple[str, int] | None) -> None:
        """What is open at `start`, as a decoder would know it that had read what stands in front of it (A3)."""
        wanted = self._decoder.look_back_bytes
        if wanted > start and previous is not None:
            key, length = previous
            self._look_at(key, length, min(wanted - start, length))
        if wanted:
            self._look_at(self._key, start, min(wanted, start))
        self._decoder.take_drops()                        # counted when they were read

    def _look_at(self, key: str, end: int, size: int) -> None:
        before = self._reread(Piece(key, end - size, size)) if size else b""
        if size < end:
            before = before[before.find(b"\n") + 1 :]
        if before.endswith(b"\n"):
            self._decoder.look_back(key, end - len(before), before.split(b"\n")[:-1], read_ns=self._read_ns,
                                    now_s=self._now_s, reread=self._reread)
