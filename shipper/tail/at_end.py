"""What follows when a file was read to its end: is it done, is it watched, does its lineage become quiet? Driver of ending.py's
verdicts: watches and counts; per read that found an end, never per line.

    nothing new for SWEEPS_BEFORE_WATCH looks ──► one-shot watch ──► one look more ──► quiet
    armed in front of a read that found all there is ──► quiet at once

Invariants:
  Z1  between arming a watch and being quiet lies a look: what was written in between made no event, and is seen
  Z2  a done file goes to `done` (late writes bring it back), a deleted or compressed one is ignored from then on
  Z3  a file with another behind it is never quiet: nobody writes to it any more, so that no event would lead to the other
"""
from __future__ import annotations

import os
from collections.abc import Callable

from ..model import Section
from ..telemetry import Telemetry
from .attention import SWEEPS_BEFORE_WATCH, Attention
from .ending import AtEnd, Verdict, verdict
from .file import TailFile
from .lineage import Lineage
from .ports import Directory, Formats

OLD_NS = 2_000_000_000


class Ends:
    """`queue(name)`: a look more. `flush(lineage, before_s)`: what is open ends."""

    def __init__(
        self, attention: Attention, directory: Directory, formats: Formats, telemetry: Telemetry, *, now_ns: Callable[[], int],
        queue: Callable[[str], None], flush: Callable[[Lineage, float], list[Section]],
    ) -> None:
        self._attention, self._directory, self._formats, self._telemetry = attention, directory, formats, telemetry
        self._now_ns, self._queue, self._flush = now_ns, queue, flush

    def reached(
        self, name: str, lineage: Lineage, file: TailFile, sections: list[Section], progress: bool, now: float,
        finished: list[tuple[Lineage, TailFile]], *, hurried: bool,
    ) -> tuple[list[Section], bool]:
        """`file` was read to its end; `progress`: something new was there. (sections, is there more to read at once)
        `hurried`: nobody waits for the rest of a line (`run --once`)."""
        attention = self._attention
        if progress:
            lineage.eof_ticks = 0
            attention.quiet.pop(name, None)
            attention.busy[name] = None
            file.rest_since_s = now
        if lineage.decoder.oldest_open_s() is not None:
            attention.waiting[name] = None
        if self._is_done(lineage, file, progress, now, hurried):
            sections += self._finish(name, lineage, file, now)
            finished.append((lineage, file))
            return sections, bool(lineage.files)
        if not file.live and file.rest_bytes:
            attention.waiting[name] = attention.busy[name] = None
        elif not progress:
            self._quieten(name, lineage, file, now)
        elif lineage.armed is file and not file.rest_bytes and len(lineage.files) == 1:       # Z3
            attention.quieten(name, now, watched=True)                # six looks less: a third of what a quiet file costs
        file.ended = True
        return sections, False

    def rests_behind_this_read(self, name: str, file: TailFile) -> bool:
        """Probably, since nobody wrote to it lately before: most files that are there at the start, and those with a line now
        and then."""
        is_seldom = name in self._attention.seldom
        if is_seldom:
            del self._attention.seldom[name]
        if not file.live or file.compressed:
            return False
        return is_seldom or (not file.ended and self._now_ns() - os.fstat(file.fd).st_mtime_ns > OLD_NS)

    def _is_done(self, lineage: Lineage, file: TailFile, progress: bool, now: float, hurried: bool) -> bool:
        if file.live and not file.compressed and file.deleted_since_s is None:
            return False                                  # as `verdict` says; each busy file comes here each tick
        if file.deleted_since_s == 0.0:
            file.deleted_since_s = now
        since_s = max(file.rest_since_s, file.deleted_since_s or 0.0)
        facts = AtEnd(
            live=file.live, compressed=file.compressed, deleted=file.deleted_since_s is not None,
            successor=len(lineage.files) > 1, lineage_gone=lineage.vanished, progress=progress, rest_bytes=file.rest_bytes,
            rest_age_s=now - since_s, patience_s=0.0 if hurried else lineage.settings.partial_timeout_s,
        )
        return verdict(facts) is Verdict.FINISH

    def _finish(self, name: str, lineage: Lineage, file: TailFile, now: float) -> list[Section]:
        sections = lineage.finish(file, self._formats)
        if lineage.vanished and len(lineage.files) == 1:
            sections += self._flush(lineage, now)         # nothing can follow what is open
        lineage.files.remove(file)
        deleted = file.deleted_since_s is not None
        if file.compressed or deleted:
            lineage.ignored.add(file)
        else:
            lineage.done.append(file)
            self._attention.trail(name, now)
        self._telemetry.count("shipper_rotations_total", 1, "deleted" if deleted else "rotated")
        return sections

    def _quieten(self, name: str, lineage: Lineage, file: TailFile, now: float) -> None:
        """Nothing new, again: after some ticks the kernel shall tell."""
        lineage.eof_ticks += 1
        if lineage.eof_ticks < SWEEPS_BEFORE_WATCH:
            return
        if lineage.armed is file:                         # since before this look
            self._attention.quieten(name, now, watched=True)
        else:
            self._watch(name, lineage, file, now)

    def _watch(self, name: str, lineage: Lineage, file: TailFile, now: float) -> None:
        self.arm(name, lineage, file)
        if lineage.armed is not None:
            # One more look: what was written between the last read and the watch made no event.
            lineage.eof_ticks = SWEEPS_BEFORE_WATCH - 1
            self._queue(name)
        self._attention.quieten(name, now, watched=lineage.armed is not None)

    def arm(self, name: str, lineage: Lineage, file: TailFile) -> None:
        lineage.armed = file if file.fd >= 0 and self._directory.arm(file.fd, name) else None
