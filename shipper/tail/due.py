"""What is due by time, not by an event: records that end, logs that nobody tells of, deleted files over a limit. Driver.

    each tick    records open for longer than partial_timeout, where their lineage is read to its end (V4)
    each second  who is not watched or is tried again; quiet files are closed; deleted ones held too long are let go

Invariants:
  DU1  a tick ends with a frame's worth of closed records: the others have the next one (their pieces are read again for it)
  DU2  nothing here waits
"""
from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping

from ..model import Section
from ..telemetry import Telemetry
from .accounting import say_read_failed
from .attention import Attention
from .definition import define
from .ending import may_close_open_records
from .file import TailFile
from .handles import Handles
from .in_flight import FRAME_BYTES, weight_bytes
from .lineage import Lineage
from .ports import Formats


class Due:
    """Of one reader. `flush(lineage, before_s)`: what was open before that, as sections. `queue(name)`: read it."""

    def __init__(
        self, lineages: Mapping[str, Lineage], attention: Attention, handles: Handles, formats: Formats, telemetry: Telemetry, *,
        flush: Callable[[Lineage, float], list[Section]], submit: Callable[[list[Section]], Future[int] | None],
        queue: Callable[[str], None],
    ) -> None:
        self._lineages, self._attention, self._handles, self._formats = lineages, attention, handles, formats
        self._telemetry, self._flush, self._submit, self._queue = telemetry, flush, submit, queue
        self._polled = False

    def tick(self, now: float) -> None:
        """At each tick of `Attention`."""
        self._close_records(now)
        due = self._attention.poll(now)
        if due is not None:
            for name in due:
                self._queue(name)
            self.poll(now)

    def take_polled(self) -> bool:
        """Was there a poll since it was last asked?"""
        polled, self._polled = self._polled, False
        return polled

    def _close_records(self, now: float) -> None:
        closed_bytes = 0
        for name in list(self._attention.waiting):
            if closed_bytes >= FRAME_BYTES:               # DU1
                break
            lineage = self._lineages[name]
            file = lineage.files[0] if lineage.files else None
            oldest_s = lineage.decoder.oldest_open_s()
            if oldest_s is None:
                if file is None or file.live or not file.rest_bytes:
                    del self._attention.waiting[name]
                continue
            unread = max(0, file.size - file.offset - file.rest_bytes) if file is not None else 0
            patience_s = lineage.settings.partial_timeout_s
            if may_close_open_records(
                oldest_age_s=now - oldest_s, patience_s=patience_s, files=len(lineage.files), unread_bytes=unread
            ):
                sections = self._flush(lineage, now - patience_s)
                closed_bytes += weight_bytes(sections)
                self._submit(sections)

    def poll(self, now: float) -> None:
        """Once a second: what nobody tells us of."""
        self._polled = True
        self._handles.close_quiet(now)
        for lineage, file, unread in list(self._handles.over_limit(self._attention.deleted, now)):
            self._submit(self._let_go(lineage, file, unread))

    def _let_go(self, lineage: Lineage, file: TailFile, unread: int) -> list[Section]:
        try:
            ref = file.ref or define(lineage, file, self._formats, ending=True)
        except OSError as error:                          # half a first line, and a disk that does not give it: no key, no gap
            ref = None
            say_read_failed(self._telemetry, file.path, error)
        return self._handles.let_go(lineage, file, ref, unread)
