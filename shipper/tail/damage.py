"""Frames that were found damaged: their ranges are read again, a part of each a second. Driver of again.py: reads on a thread.

Invariants:
  A1, A4 of again.py; and
  G1  a lineage that waits for its labels is not read again before they are there: a rule may say what to redact
  G2  what nobody knows as a file (a lineage that is gone) is a gap; a journal's is read again by its own reader
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ..model import FileRef, Section
from .again import not_read_again, piece_of, read_again
from .definition import form_at
from .lineage import Lineage
from .ports import BufferPort, Formats
from .unfinished import MakeDecoder


class LostRanges:
    """`submit(sections)` gives them to the buffer."""

    def __init__(
        self, buffer: BufferPort, lineages: Mapping[str, Lineage], formats: Formats, make_decoder: MakeDecoder, *,
        now_s: Callable[[], float], now_ns: Callable[[], int], submit: Callable[[list[Section]], object],
        elsewhere: Callable[[str], bool],
    ) -> None:
        """`elsewhere`: whether somebody else reads this lineage."""
        self._buffer, self._lineages, self._formats, self._make_decoder = buffer, lineages, formats, make_decoder
        self._now_s, self._now_ns, self._submit, self._elsewhere = now_s, now_ns, submit, elsewhere

    async def read(self) -> None:
        """A part of each lost range, from a disk that may be slow."""
        for lost in list(self._buffer.positions.lost):
            lineage = self._lineages.get(lost.file.source.lineage)
            if lineage is None and self._elsewhere(lost.file.source.lineage):
                continue
            if lineage is None:                           # nobody knows what to redact in it
                self._submit([not_read_again(lost)])
                continue
            if lineage.wait_until_s > self._now_s():      # a rule that is not decided yet may say to
                continue
            form = form_at(lineage, lost.file.key, self._formats)
            data = await asyncio.to_thread(lineage.reread, piece_of(lost))
            decoder = self._make_decoder(lost.file.source, lineage.settings)
            previous = self._file_before(lost.file)
            self._submit([read_again(
                lost, data, lineage, decoder, form, self._now_s(), now_ns=self._now_ns(), previous=previous)])

    def _file_before(self, file: FileRef) -> tuple[str, int] | None:
        """Key of the file in front of this one in its lineage, and how far it was read."""
        keys = self._buffer.positions.keys_of(file.source.lineage)
        at = keys.index(file.key) if file.key in keys else 0
        known = self._buffer.positions.files.get(keys[at - 1]) if at else None
        return (keys[at - 1], known.offset) if known is not None else None
