"""The positions went back to the last good frame: an append or a sync failed. Driver; rare.

    files done and not yet safe ──► read again        losses that were told ──► told to the buffer again

Invariants:
  R1  every file goes back to where the positions are, those that ended since included: their descriptors were kept (handles.H2)
  R2  what was told of files that are gone is told to the buffer again, and not again to the log and the metrics (closings.K1)
"""
from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

from ..model import Section
from ..telemetry import Telemetry
from .closings import Closings, gap_bytes
from .handles import Handles
from .in_flight import frames_of
from .lineage import Lineage
from .losses import closing_again
from .ports import BufferPort
from .unfinished import MakeDecoder, lost_sections


class GoingBack:
    """`files`, then whoever reads beside the files, then `tell_again`. `ready(name, lineage)`: read it; `submit_told(sections)`:
    one frame of what log and metrics have already."""

    def __init__(
        self, buffer: BufferPort, lineages: dict[str, Lineage], handles: Handles, closings: Closings, telemetry: Telemetry,
        make_decoder: MakeDecoder, *, now_s: Callable[[], float], now_ns: Callable[[], int],
        ready: Callable[[str, Lineage], None], submit_told: Callable[[list[Section]], Future[int]],
    ) -> None:
        self._buffer, self._lineages, self._handles, self._closings = buffer, lineages, handles, closings
        self._telemetry, self._make_decoder, self._now_s, self._now_ns = telemetry, make_decoder, now_s, now_ns
        self._ready, self._submit_told = ready, submit_told

    def files(self) -> None:
        """An append or sync failed: the positions went back to the last good frame, and so does every file (V5)."""
        now = self._now_s()
        for lineage, file in self._handles.take_back():
            if self._lineages.get(lineage.source.lineage) is None and lineage.vanished:
                self._lineages[lineage.source.lineage] = lineage        # forgotten after its last line, which is to be read again
            if self._lineages.get(lineage.source.lineage) is not lineage:
                file.close()
            elif file not in lineage.files:
                lineage.done = [f for f in lineage.done if f is not file] + [file]   # in the order in which they ended
        for name, lineage in self._lineages.items():
            lineage.rewind(self._buffer.positions, now)
            self._ready(name, lineage)

    def tell_again(self) -> None:
        """What was reported of files that are gone went back with the frames: nobody reads such a file again, so it is said
        to the buffer again, and not a second time to the log and the metrics."""
        told = self._closings.take_back()
        sections, gone = [], dict[str, None]()
        for section in told:
            name = section.file.source.lineage
            lineage = self._lineages.get(name)
            if lineage is None:
                gone[name] = None
            elif lineage.file_of(section.file.key) is None:
                sections.append(closing_again(lineage, section, self._buffer.positions))
        for name in gone:
            if name in self._buffer.positions.lineages:
                sections += lost_sections(name, self._buffer.positions, self._make_decoder, self._now_ns())
        before = {section.file.key: gap_bytes(section) for section in told}
        for section in sections:
            more = gap_bytes(section) - before.get(section.file.key, 0)
            if more > 0:                                  # what had been read, and is gone by now
                self._telemetry.count("shipper_gap_bytes_total", more, section.gaps[0].reason)
        for part in frames_of(sections):
            self._closings.note(self._submit_told(part), part)
