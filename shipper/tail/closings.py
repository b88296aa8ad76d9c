"""The last sections of files, until their frames are synced: a failed sync takes them back, and for a file that is gone nobody
would make them again. Pure but for the buffer's positions; once per closed file.

Invariants:
  K1  a loss that was reported is in the positions, or is reported to the buffer again (P1)
"""
from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Iterable

from ..model import Section
from .ports import BufferPort


class Closings:
    """`note` what was submitted, `release` what is safe, `take_back` the rest after the positions went back."""

    def __init__(self, buffer: BufferPort) -> None:
        self._buffer = buffer
        self._noted: deque[tuple[Future[int], Section]] = deque()

    def note(self, future: Future[int], sections: Iterable[Section]) -> None:
        """`future` is that of the sections' frame."""
        self._noted.extend((future, section) for section in sections if section.closed)

    def forget(self, lineage: str) -> None:
        """Nobody wants its files any more."""
        self._noted = deque(x for x in self._noted if x[1].file.source.lineage != lineage)

    def release(self, synced_seq: int) -> None:
        """Frames up to `synced_seq` are safe."""
        while self._noted and self._noted[0][0].done() and not _failed(self._noted[0][0]):
            if self._noted[0][0].result() > synced_seq:
                return
            self._noted.popleft()

    def take_back(self) -> list[Section]:
        """Those that the positions do not have (any more), oldest first."""
        noted, self._noted = self._noted, deque()
        lost = []
        for future, section in noted:
            known = self._buffer.positions.files.get(section.file.key)
            if known is None or not known.closed:
                lost.append(section)
            elif not future.done() or not _failed(future):
                self._noted.append((future, section))
        return lost


def gap_bytes(section: Section) -> int:
    """What its gaps stand for; where their end is unknown, at least."""
    return sum(gap.end - gap.start if gap.end >= 0 else gap.at_least for gap in section.gaps)


def _failed(future: Future[int]) -> bool:
    return future.cancelled() or future.exception() is not None
