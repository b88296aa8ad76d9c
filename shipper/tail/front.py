"""One read of the file that is at the front of a lineage, and what of it becomes sections. Driver: reads, opens, asks the kernel.

    other labels, other settings ─► held? opened? a copy of another? ─► read ─► passed over (old, zeros) or cut ─┬─► more of it
                                                                                                                 └─► at_end.py
Invariants:
  FR1  a disk that fails anywhere in it costs this lineage a second and no line: file and decoder go back to where they stood
  FR2  nothing of a file is in a section before it has its key (identity.py)
Plane: once per read; per line only what the cutter does.
"""
from __future__ import annotations

from collections.abc import Callable

from ..model import FileRef, Section, Source
from ..telemetry import Telemetry
from .accounting import say_read_failed
from .at_end import Ends
from .attention import Attention
from .cutter import LineDecoder
from .definition import define, form_of
from .file import Changed, TailFile
from .identity import HEAD_BYTES
from .lineage import Lineage
from .opening import Opener
from .ports import Formats, Settings
from .reading import pass_over, pass_over_line, read
from .zeros import end_of_zeros, pass_over_zeros, stand_at_line, without_zeros

Finished = list[tuple[Lineage, TailFile]]


class Front:
    """Of one reader. `without_files(name, lineage)`: the sections of a lineage that has none. `hurried`: nobody waits for the
    rest of a line (`run --once`)."""

    def __init__(
        self, attention: Attention, opener: Opener, ends: Ends, formats: Formats, telemetry: Telemetry,
        make_decoder: Callable[[Source, Settings], LineDecoder], without_files: Callable[[str, Lineage], list[Section]], *,
        now_s: Callable[[], float], now_ns: Callable[[], int],
    ) -> None:
        self._attention, self._opener, self._ends, self._formats = attention, opener, ends, formats
        self._telemetry, self._make_decoder, self._without_files = telemetry, make_decoder, without_files
        self._now_s, self._now_ns = now_s, now_ns
        self.hurried = False

    async def read(self, name: str, lineage: Lineage, finished: Finished) -> tuple[list[Section], bool]:
        """(sections, is there more to read at once). Files that are done are added to `finished`. FR1."""
        before = lineage.mark()
        try:
            return await self._read(name, lineage, finished)
        except OSError as error:
            say_read_failed(self._telemetry, lineage.back_to(before, self._now_s()), error)
            self._attention.again(name, self._now_s(), look=False)
            return lineage.take_outbox(), False

    async def _read(self, name: str, lineage: Lineage, finished: Finished) -> tuple[list[Section], bool]:
        now = self._now_s()
        if lineage.next_source is not None:
            lineage.rename(lineage.next_source)
        if lineage.settings_due:
            lineage.renew(self._make_decoder(lineage.source, lineage.settings), now)
        if not lineage.files:
            return self._without_files(name, lineage), False
        hold_until_s = max(lineage.decoder.hold_until_s, lineage.wait_until_s)
        file = lineage.files[0]
        if hold_until_s > now and not file.passes_over:   # to pass over what is old nothing needs to be known
            self._attention.hold(name, hold_until_s)
            return lineage.take_outbox(), False
        if file.handle is None and not self._opener.open(name, lineage, file, now):
            return lineage.take_outbox(), False
        if lineage.told_apart(file, self._now_ns()):
            lineage.tell_truncations(self._telemetry)
            return lineage.take_outbox(), bool(lineage.files)
        lineage.begin_read(file, now, self._now_ns())
        if lineage.armed is not file and not file.passes_over and self._ends.rests_behind_this_read(name, file):
            self._ends.arm(name, lineage, file)           # in front of the read: no other look is needed behind it
        try:
            data, full = await read(file)
        except Changed:
            lineage.replaced(file, self._now_ns())
            lineage.tell_truncations(self._telemetry)
            self._attention.look_at(name)
            return lineage.take_outbox(), True
        sections = self._cut(lineage, file, data)
        if sections is None:
            return lineage.take_outbox(), True            # something was passed over
        if full and not file.in_zeros:
            self._attention.busy[name] = None
            return lineage.take_outbox() + sections, True
        return self._ends.reached(
            name, lineage, file, lineage.take_outbox() + sections, bool(sections), now, finished, hurried=self.hurried)

    def _cut(self, lineage: Lineage, file: TailFile, data: bytes) -> list[Section] | None:
        """Sections of what was read; None where the data do not stand at the offset any more."""
        if not data:
            return []
        zeros_end = end_of_zeros(file, data) if stand_at_line(lineage, file, data) else 0
        file.in_zeros = zeros_end is None
        if file.in_zeros:
            file.rest_bytes = file.stat_size() - file.offset
            return []
        ref = self._definition(lineage, file)
        if lineage.passed_over:
            lineage.passed_over = False
            return None
        if ref is None:
            if len(data) != file.rest_bytes:              # it grows: its patience begins now
                file.rest_bytes, file.rest_since_s = len(data), lineage.cutter.now_s
            return []
        if file.in_old_line:
            return [pass_over_line(lineage, file, ref, data)]
        if zeros_end:
            lineage.outbox.append(pass_over_zeros(lineage, file, ref, zeros_end))
            return None
        sections = lineage.cutter.cut(file, ref, without_zeros(data))
        if sections and sections[-1].last_ns:
            lineage.last_ns = sections[-1].last_ns
        return sections

    def _definition(self, lineage: Lineage, file: TailFile) -> FileRef | None:
        ref = file.ref or define(lineage, file, self._formats)
        if ref is None:
            return None
        lineage.decoder.form = form_of(lineage, file, self._formats)
        if file.passes_over:
            passed = pass_over(lineage, file, ref)
            if passed is not None:
                lineage.outbox.append(passed)
                lineage.passed_over = True
        elif ref.head_bytes < HEAD_BYTES and file.offset >= ref.head_bytes:
            ref = file.ref = file.grown_head(ref)
        return ref
