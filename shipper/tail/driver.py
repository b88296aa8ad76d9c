"""The reader: who is read next, how much, and when nobody is. Driver: one task; the loop, the clock, the files.

    event or tick ──► turns (fair) ──► read one lineage's front file ──► cut ──► sections ──► buffer.submit
                        ▲ more to read       │ at its end
                        └────────────────────┴─► busy: looked at each tick ──► quiet: one-shot watch ──► closed after 5 min

Invariants:
  V1  sections reach the buffer in the order of their reads; an offset advances only with its section
  V2  at everyday rates work is per tick, not per line: what woke within TICK_S is read, framed and appended together;
      a file that was quiet is read at once
  V3  bytes read and not yet appended are bounded (IN_FLIGHT_BYTES); a full buffer stops reading, the log files wait
  V4  records are closed by time only when their lineage is read to its end
  V5  a descriptor of a file that was read to its end is kept until its last frame is synced: a failed sync reads it again
"""
from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from aiofiles.base import wrap

from ..errors import GapReason
from ..model import FileRef, Gap, Section, Source
from ..telemetry import Telemetry
from .cutter import CHUNK_BYTES, LineDecoder
from .file import Changed, TailFile
from .identity import HEAD_BYTES, digest
from .lineage import Lineage
from .ports import BufferPort, Directory, Formats, Refused, Settings
from .turns import Turns

TICK_S = 0.05
SMALL_READ_BYTES = 64 * 1024
BULK_READ_BYTES = 1024 * 1024
FRAME_BYTES = 256 * 1024
IN_FLIGHT_BYTES = 4 * 1024 * 1024
SWEEPS_BEFORE_WATCH = 4
POLL_WITHOUT_WATCH_S = 1.0
CLOSE_QUIET_AFTER_S = 300.0
HELD_DELETED_BYTES = 2 * 1024 * 1024 * 1024
HELD_DELETED_S = 600.0

_pread_on_thread = wrap(os.pread)


class Reader:
    """Reads every lineage that it was told of, for ever. `make_decoder(source, settings)` gives a fresh decoder."""

    def __init__(
        self, buffer: BufferPort, directory: Directory, formats: Formats, make_decoder: Callable[[Source, Settings], LineDecoder],
        telemetry: Telemetry, *, max_open_files: int, now_s: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._buffer, self._directory, self._formats, self._make_decoder = buffer, directory, formats, make_decoder
        self._telemetry, self._now_s, self._now_ns = telemetry, now_s, now_ns
        self._max_open = max_open_files
        self.lineages: dict[str, Lineage] = {}
        self._turns: Turns[str] = Turns()
        self._busy: dict[str, Lineage] = {}
        self._quiet: dict[str, float] = {}                 # lineage -> quiet since; oldest first
        self._unwatched: set[str] = set()
        self._waiting: dict[str, Lineage] = {}             # something of theirs ends by time
        self._look: dict[str, Lineage] = {}
        self._in_flight: deque[tuple[asyncio.Future[int], int]] = deque()
        self._in_flight_bytes = 0
        self._retired: deque[tuple[asyncio.Future[int], Lineage, TailFile]] = deque()
        self._wake = asyncio.Event()
        self._next_tick_s = self._next_poll_s = 0.0
        self._goal: dict[str, dict[tuple[int, int], int]] | None = None
        self.rounds = 0
        self.blocked = False

    # -------------------------------------------------------- what the agent tells

    def add(self, source: Source, settings: Settings, *, skip_old: bool = False) -> None:
        """A lineage exists. `skip_old`: its source is new and says start_at: end."""
        known = self.lineages.get(source.lineage)
        if known is not None:
            known.vanished = False
            known.look_due = True
            self._look[source.lineage] = known
            return
        lineage = Lineage(source, settings, self._make_decoder(source, settings), self._directory)
        position = self._buffer.positions.lineages.get(source.lineage)
        if position is not None:
            lineage.decoder.restore(position.state, self._now_s())
            lineage.last_ns = position.last_ns
        self.lineages[source.lineage] = lineage
        self._refusals(lineage.look(self._buffer.positions, skip_old=skip_old, formats=self._formats))
        self._ready(source.lineage, lineage)

    def vanish(self, name: str) -> None:
        """Its directory is gone: read what is still open to its end, then forget it."""
        lineage = self.lineages.get(name)
        if lineage is not None:
            lineage.vanished = lineage.look_due = True
            self._look[name] = lineage
            self._wake.set()

    def changed(self, name: str) -> None:
        """Something was created, renamed or removed beside this lineage's files."""
        lineage = self.lineages.get(name)
        if lineage is not None:
            lineage.look_due = True
            self._look[name] = lineage
            self._wake.set()

    def written(self, name: str) -> None:
        """The one-shot watch of this lineage fired."""
        lineage = self.lineages.get(name)
        if lineage is not None:
            lineage.armed = False
            self._ready(name, lineage)

    def lost_lineage(self, name: str) -> list[Section]:
        """A lineage of the positions whose directory is gone: what it still held is reported, its files are closed."""
        sections = []
        for key in self._buffer.positions.keys_of(name):
            known = self._buffer.positions.files[key]
            if known.closed:
                continue
            gap = Gap(known.offset, -1, GapReason.ROTATED_AWAY, max(0, known.size - known.offset), known.last_ns, 0)
            sections.append(Section(
                known.file, known.offset, known.offset, known.guard, None, (), gaps=(gap,), size=known.size, closed=True
            ))
        if sections:
            self._submit(sections, 0)
        return sections

    # -------------------------------------------------------- the loop

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`, then sweep once more and wait for what is in flight."""
        while not stop.is_set():
            await self._round(stop)
        for name, lineage in self.lineages.items():
            self._turns.add(lineage.source.namespace, name)
        end_s = self._now_s() + 1.5
        while self._turns and self._now_s() < end_s and not self._buffer.full:
            await self._turn()
        await self._settle()

    async def once(self) -> None:
        """Read every file to the size that it has now, then close what is open as `partial` (`run --once`)."""
        self._goal = {}
        while True:
            self._look_where_due()
            for name, lineage in self.lineages.items():
                goal = self._goal.setdefault(name, {})
                for file in lineage.files:
                    goal.setdefault(file.node_id, file.stat_size())
                if self._short_of_goal(lineage):
                    self._turns.add(lineage.source.namespace, name)
            if not self._turns and not self._look:
                break
            while self._turns:
                await self._room()
                await self._turn()
        for lineage in self.lineages.values():
            self._end(lineage)
        await self._settle()

    async def _round(self, stop: asyncio.Event) -> None:
        now = self._now_s()
        self.prepare(now)
        if not self._turns:
            await self._sleep(stop, now)
            return
        await self._room(stop)
        if not stop.is_set():
            await self._turn()
            await asyncio.sleep(0)

    def prepare(self, now: float) -> bool:
        """What is due by time or by event is queued; is anything?"""
        self.rounds += 1
        self._look_where_due()
        if now >= self._next_tick_s:
            self._next_tick_s = now + TICK_S
            for name, lineage in self._busy.items():
                self._turns.add(lineage.source.namespace, name)
            self._by_time(now)
        return bool(self._turns)

    async def step(self) -> bool:
        """One round without waiting for anything outside; False where there was nothing to read. For tests and --once."""
        ready = self.prepare(self._now_s())
        await self._room()
        if ready:
            await self._turn()
        return ready

    async def _sleep(self, stop: asyncio.Event, now: float) -> None:
        self._wake.clear()
        if self._busy or self._waiting:
            delay_s = max(0.0, self._next_tick_s - now)
        else:
            delay_s = POLL_WITHOUT_WATCH_S
        if stop.is_set():
            return
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Leave the wait (the stop event was set)."""
        self._wake.set()

    async def _room(self, stop: asyncio.Event | None = None) -> None:
        """Wait until the buffer takes more and the bytes in flight are within their bound (V3)."""
        while self._in_flight and (self._in_flight[0][0].done() or self._in_flight_bytes > IN_FLIGHT_BYTES):
            future, size = self._in_flight.popleft()
            self._in_flight_bytes -= size
            try:
                await future
            except OSError as error:
                self._telemetry.say("warning", "append_failed", about=type(error).__name__)
                self._rewind()
        self._release()
        while self._buffer.full and not (stop is not None and stop.is_set()):
            self.blocked = True
            await self._buffer.wait_room()
        self.blocked = False

    async def _settle(self) -> None:
        while self._in_flight:
            await self._room()
            if self._in_flight:
                future, size = self._in_flight.popleft()
                self._in_flight_bytes -= size
                await future

    def _submit(self, sections: list[Section], size: int) -> asyncio.Future[int]:
        future = self._buffer.submit(sections)
        self._in_flight.append((future, size))
        self._in_flight_bytes += size
        for section in sections:
            self._account(section)
        return future

    def _account(self, section: Section) -> None:
        source = section.file.source
        count = self._telemetry.count
        if section.end > section.start:
            count("shipper_read_bytes_total", section.end - section.start, source.name)
        if section.batch is not None:
            count("shipper_read_records_total", len(section.batch), source.name)
            if section.batch.marks:
                self._account_marks(section, source.name)
        for gap in section.gaps:
            known = gap.end - gap.start if gap.end >= 0 else gap.at_least
            count("shipper_gaps_total", 1, gap.reason)
            count("shipper_gap_bytes_total", known, gap.reason)
            if gap.reason != GapReason.START_AT_END:
                self._telemetry.say(
                    "warning", "bytes_not_read", about=section.file.path, reason=gap.reason, file_key=section.file.key,
                    at_least_bytes=known, from_time_ns=gap.first_ns, to_time_ns=gap.last_ns,
                )

    def _account_marks(self, section: Section, name: str) -> None:
        assert section.batch is not None and section.batch.marks is not None
        for mark in section.batch.marks.values():
            for key, metric in _MARK_METRICS.items():
                if key in mark:
                    self._telemetry.count(metric, 1, name)

    # -------------------------------------------------------- one turn

    async def _turn(self) -> None:
        """Read from who is next until a frame's worth is there or nobody is left."""
        sections: list[Section] = []
        size = 0
        finished: list[tuple[Lineage, TailFile]] = []
        while self._turns and size < FRAME_BYTES:
            namespace, name = self._turns.take()
            lineage = self.lineages.get(name)
            if lineage is None:
                continue
            found, more = await self._step(name, lineage, finished)
            read = sum(s.end - s.start for s in found)
            size += read
            self._turns.spent(namespace, max(read, 1))
            sections += found
            if more:
                self._turns.add(namespace, name)
        if sections:
            for part in _frames_of(sections):
                future = self._submit(part, sum(s.end - s.start for s in part))
            for lineage, file in finished:
                self._retired.append((future, lineage, file))

    async def _step(
        self, name: str, lineage: Lineage, finished: list[tuple[Lineage, TailFile]]
    ) -> tuple[list[Section], bool]:
        """One read of the front file. (sections, is there more to read at once)"""
        now = self._now_s()
        sections = self._outbox(lineage)
        if not lineage.files:
            self._forget_if_gone(name, lineage)
            return sections, False
        file = lineage.files[0]
        if file.handle is None and not self._open(name, lineage, file, now):
            return sections, False
        cutter = lineage.cutter
        cutter.now_s, cutter.read_ns = now, self._now_ns()
        if file.form and lineage.decoder.form != file.form:
            lineage.decoder.form = file.form
        try:
            data, full = await self._read(file)
        except Changed:
            self._telemetry.count("shipper_rotations_total", 1, "truncated")
            lineage.replaced(file, cutter.read_ns)
            self._look[name] = lineage
            return sections + self._outbox(lineage), True
        if data:
            ref = self._definition(lineage, file)
            if lineage.outbox:                           # start_at: end moved the offset
                return sections + self._outbox(lineage), True
            if ref is None:
                file.rest_bytes = len(data)
            else:
                sections += cutter.cut(file, ref, data)
                if sections and sections[-1].last_ns:
                    lineage.last_ns = sections[-1].last_ns
        if full:
            self._busy[name] = lineage
            return sections, True
        return self._at_end(name, lineage, file, sections, bool(data) and bool(sections), now, finished)

    def _definition(self, lineage: Lineage, file: TailFile) -> FileRef | None:
        ref = file.ref
        if ref is None:
            ref = lineage.define(file, self._formats)
            if ref is not None:
                lineage.decoder.form = file.form
                self._skip_old(lineage, file, ref)
            return ref
        if not file.form:
            lineage.define_form(file, self._formats)
            lineage.decoder.form = file.form
        if ref.head_bytes < HEAD_BYTES and file.offset >= ref.head_bytes:
            ref = file.ref = file.grown_head(ref)
        return ref

    def _skip_old(self, lineage: Lineage, file: TailFile, ref: FileRef) -> None:
        """start_at: end. What is there is passed over up to its last newline, and said to be."""
        if file.gap_start is None:
            return
        file.gap_start = None
        size = file.stat_size()
        tail = file.pread(BULK_READ_BYTES, max(0, size - BULK_READ_BYTES))
        end = max(0, size - BULK_READ_BYTES) + tail.rfind(b"\n") + 1
        if not end:
            return
        guard = file.pread(min(64, end), end - min(64, end))
        gap = Gap(0, end, GapReason.START_AT_END, end)
        file.offset, file.guard = end, guard
        lineage.outbox.append(Section(ref, end, end, digest(guard), None, lineage.decoder.state(), gaps=(gap,), size=size))

    async def _read(self, file: TailFile) -> tuple[bytes, bool]:
        """(bytes behind offset and scanned, did it fill the read). Bulk reads run on a thread: no waiting for a disk here."""
        if file.compressed:
            return await asyncio.to_thread(self._read_compressed, file)
        if file.scanned:
            file.check()
            data = file.pread(CHUNK_BYTES, file.offset + file.scanned)
            return data, len(data) == CHUNK_BYTES
        if file.size - file.offset < SMALL_READ_BYTES:
            data = file.read(SMALL_READ_BYTES)
            full = len(data) == SMALL_READ_BYTES
            if full:
                file.stat_size()
            else:
                file.size = file.offset + len(data)
            return data, full
        file.check()
        data = await _pread_on_thread(file.fd, BULK_READ_BYTES, file.offset)
        full = len(data) == BULK_READ_BYTES
        if full:
            file.stat_size()
        else:
            file.size = file.offset + len(data)
        return data, full

    @staticmethod
    def _read_compressed(file: TailFile) -> tuple[bytes, bool]:
        if file.scanned:
            data = file.pread(CHUNK_BYTES, file.offset + file.scanned)
            return data, len(data) == CHUNK_BYTES
        data = file.read(BULK_READ_BYTES)
        file.size = file.offset + len(data)
        return data, len(data) == BULK_READ_BYTES

    def _outbox(self, lineage: Lineage) -> list[Section]:
        sections, lineage.outbox = lineage.outbox, []
        return sections

    # -------------------------------------------------------- the end of a file

    def _at_end(
        self, name: str, lineage: Lineage, file: TailFile, sections: list[Section], progress: bool, now: float,
        finished: list[tuple[Lineage, TailFile]],
    ) -> tuple[list[Section], bool]:
        sections += self._outbox(lineage)
        if progress:
            lineage.eof_ticks = 0
            self._busy[name] = lineage
            self._quiet.pop(name, None)
            file.rest_since_s = now
        if lineage.decoder.oldest_open_s() is not None:
            self._waiting[name] = lineage
        if not file.live or file.compressed:
            done, ended = self._maybe_finish(name, lineage, file, progress, now)
            if done:
                finished.append((lineage, file))
            return sections + ended, done and bool(lineage.files)
        if not progress:
            self._quieten(name, lineage, file, now)
        return sections, False

    def _maybe_finish(
        self, name: str, lineage: Lineage, file: TailFile, progress: bool, now: float
    ) -> tuple[bool, list[Section]]:
        """A rotated, deleted or compressed file at its end: is it done, and what is left of it?"""
        gone = file.deleted_since_s is not None
        if gone and file.deleted_since_s == 0.0:
            file.deleted_since_s = now
        successor = len(lineage.files) > 1
        if progress and not file.compressed:
            self._busy[name] = lineage
            return False, []
        if not (successor or gone or file.compressed or lineage.vanished):
            self._busy[name] = lineage                   # renamed, the new one is not there yet: the writer may still use it
            return False, []
        if file.rest_bytes and not file.compressed and now - max(file.rest_since_s, file.deleted_since_s or 0.0) < (
            lineage.settings.partial_timeout_s
        ):
            self._waiting[name] = self._busy[name] = lineage
            return False, []
        sections = self._finish(lineage, file)
        lineage.files.remove(file)
        if file.compressed or gone:
            lineage.ignored.add(file.node_id)
        else:
            lineage.done.append(file)
        self._telemetry.count("shipper_rotations_total", 1, "deleted" if gone else "rotated")
        return True, sections

    def _finish(self, lineage: Lineage, file: TailFile) -> list[Section]:
        rest = file.pread(file.rest_bytes, file.offset) if file.rest_bytes else b""
        ref = file.ref or (lineage.define(file, self._formats, ending=True) if rest else None)
        if ref is None:
            return []
        lineage.decoder.form = file.form or lineage.decoder.form
        sections = lineage.cutter.finish(file, ref, rest[: lineage.decoder.max_line])
        if file.damaged:
            sections[-1].gaps = (Gap(file.offset, -1, GapReason.GZIP_DAMAGED, 0, lineage.last_ns, 0),)
        return sections

    def _forget_if_gone(self, name: str, lineage: Lineage) -> None:
        self._busy.pop(name, None)
        if not lineage.vanished and (lineage.done or not lineage.look_due):
            return
        if lineage.vanished and not lineage.files:
            sections = self._flush(lineage, self._now_s())
            if sections:
                self._submit(sections, 0)
            self._drop(name, lineage)

    def _drop(self, name: str, lineage: Lineage) -> None:
        self._directory.disarm(name)
        for queue in (self._busy, self._quiet, self._waiting, self._look):
            queue.pop(name, None)
        self._unwatched.discard(name)
        self._turns.discard(name)
        for file in [*lineage.files, *lineage.done]:
            file.close()
        del self.lineages[name]

    def _quieten(self, name: str, lineage: Lineage, file: TailFile, now: float) -> None:
        """Nothing new, again: after some ticks the kernel shall tell."""
        lineage.eof_ticks += 1
        if lineage.eof_ticks < SWEEPS_BEFORE_WATCH or lineage.armed:
            return
        if file.fd >= 0 and self._directory.arm(file.fd, name):
            lineage.armed = True
            lineage.eof_ticks = SWEEPS_BEFORE_WATCH - 1
            # One more look: what was written between the last read and the watch made no event.
            self._turns.add(lineage.source.namespace, name)
        else:
            self._unwatched.add(name)
        self._busy.pop(name, None)
        self._quiet[name] = now

    # -------------------------------------------------------- by time

    def _by_time(self, now: float) -> None:
        for name, lineage in list(self._waiting.items()):
            oldest = lineage.decoder.oldest_open_s()
            file = lineage.files[0] if lineage.files else None
            unfinished = file is not None and not file.live and file.rest_bytes
            if oldest is None and not unfinished:
                del self._waiting[name]
            elif file is not None and file.live and file.size > file.offset + file.rest_bytes:
                continue                                 # not read to its end: we are late, not the writer (V4)
            elif oldest is not None and now - oldest >= lineage.settings.partial_timeout_s and len(lineage.files) <= 1:
                sections = self._flush(lineage, now - lineage.settings.partial_timeout_s)
                if sections:
                    self._submit(sections, 0)
        if now >= self._next_poll_s:
            self._next_poll_s = now + POLL_WITHOUT_WATCH_S
            for name in self._unwatched:
                polled = self.lineages[name]
                self._turns.add(polled.source.namespace, name)
            self._close_quiet(now)
            self._bound_deleted(now)
            for name, lineage in self.lineages.items():
                if lineage.retry_open_s and now >= lineage.retry_open_s:
                    lineage.retry_open_s = 0.0
                    self._turns.add(lineage.source.namespace, name)

    def _flush(self, lineage: Lineage, before_s: float) -> list[Section]:
        sections = []
        cutter = lineage.cutter
        for key, batch in lineage.decoder.flush(before_s=before_s, read_ns=self._now_ns(), reread=cutter.reread):
            known = self._buffer.positions.files.get(key)
            if known is None:
                continue
            sections.append(Section(
                known.file, known.offset, known.offset, known.guard, batch, lineage.decoder.state(),
                size=max(known.size, known.offset), last_ns=lineage.decoder.newest_ns(batch), closed=known.closed,
            ))
        return sections

    def _end(self, lineage: Lineage) -> None:
        """--once: nobody waits for more."""
        sections: list[Section] = []
        for file in lineage.files:
            ref = file.ref
            if file.rest_bytes and file.handle is not None:
                rest = file.pread(file.rest_bytes, file.offset)
                ref = ref or lineage.define(file, self._formats, ending=True)
                if ref is not None and rest:
                    lineage.decoder.form = file.form or lineage.decoder.form
                    lineage.cutter.now_s, lineage.cutter.read_ns = self._now_s(), self._now_ns()
                    ended = lineage.cutter.finish(file, ref, rest[: lineage.decoder.max_line])
                    ended[-1].closed = False
                    sections += ended
        sections = self._outbox(lineage) + sections
        if sections:
            self._submit(sections, 0)
        sections = self._flush(lineage, self._now_s())
        if sections:
            self._submit(sections, 0)

    # -------------------------------------------------------- descriptors

    def _open(self, name: str, lineage: Lineage, file: TailFile, now: float) -> bool:
        if self._open_count() >= self._max_open:
            self._close_some(now)
        try:
            fd = self._directory.open(file.path, lineage.settings)
        except Refused as refused:
            if refused.reason == "vanished":
                lineage.look_due = True
                self._look[name] = lineage
                if file.deleted_since_s is not None:
                    lineage.files.remove(file)           # it was closed because it was read to its end
            elif refused.again:
                lineage.retry_open_s = now + POLL_WITHOUT_WATCH_S
            else:
                lineage.files.remove(file)
                lineage.ignored.add(file.node_id)
            self._refusals([(refused.reason, str(refused))])
            return False
        stat = os.fstat(fd)
        if (stat.st_dev, stat.st_ino) != file.node_id:
            os.close(fd)
            lineage.look_due = True
            self._look[name] = lineage
            return False
        file.attach(fd)
        return True

    def _open_count(self) -> int:
        return sum(f.handle is not None for x in self.lineages.values() for f in x.files) if len(self.lineages) > 64 else 0

    def _close_quiet(self, now: float) -> None:
        for name, since_s in list(self._quiet.items()):
            if now - since_s < CLOSE_QUIET_AFTER_S:
                break
            del self._quiet[name]
            self._close_files(self.lineages[name])

    def _close_some(self, now: float) -> None:
        """Over the limit of open files: close those that have been quiet longest; they keep their watch."""
        for name in list(self._quiet)[: max(1, self._max_open // 8)]:
            del self._quiet[name]
            self._close_files(self.lineages[name])

    def _close_files(self, lineage: Lineage) -> None:
        for file in [*lineage.files, *lineage.done]:
            if file.handle is not None and not file.unlinked and file.stat_size() <= file.offset + file.rest_bytes:
                file.close()

    def _bound_deleted(self, now: float) -> None:
        held = 0
        for lineage in self.lineages.values():
            for file in lineage.files:
                if file.deleted_since_s is None or file.handle is None:
                    continue
                file.deleted_since_s = file.deleted_since_s or now
                unread = file.stat_size() - file.offset
                held += unread
                if unread and (held > HELD_DELETED_BYTES or now - file.deleted_since_s > HELD_DELETED_S):
                    self._let_go(lineage, file, unread)
                    break

    def _let_go(self, lineage: Lineage, file: TailFile, unread: int) -> None:
        ref = file.ref or lineage.define(file, self._formats, ending=True)
        if ref is not None:
            guard = digest(file.guard) if file.guard is not None else file.guard_hash
            gap = Gap(file.offset, file.offset + unread, GapReason.HELD_TOO_LONG, unread, lineage.last_ns, 0)
            self._submit([Section(
                ref, file.offset, file.offset, guard, None, lineage.decoder.state(), gaps=(gap,), size=file.size, closed=True
            )], 0)
        lineage.files.remove(file)
        file.close()

    def _release(self) -> None:
        while self._retired and self._retired[0][0].done():
            future, lineage, file = self._retired[0]
            failed = future.cancelled() or future.exception() is not None
            if not failed and future.result() > self._buffer.synced_seq:
                return
            self._retired.popleft()
            if file not in lineage.files and (file not in lineage.done or not file.unlinked):
                file.close()

    def _refusals(self, refusals: Iterable[tuple[str, str]]) -> None:
        for reason, message in refusals:
            self._telemetry.count("shipper_refused_files_total", 1, reason)
            self._telemetry.say("warning", "file_refused", about=message, reason=reason)

    # -------------------------------------------------------- looking and going back

    def _look_where_due(self) -> None:
        if not self._look:
            return
        due, self._look = self._look, {}
        for name, lineage in due.items():
            if name not in self.lineages:
                continue
            self._refusals(lineage.look(self._buffer.positions, skip_old=False, formats=self._formats))
            self._ready(name, lineage)

    def _ready(self, name: str, lineage: Lineage) -> None:
        lineage.eof_ticks = 0
        self._quiet.pop(name, None)
        self._unwatched.discard(name)
        self._busy[name] = lineage
        self._turns.add(lineage.source.namespace, name)
        self._wake.set()

    def _rewind(self) -> None:
        """An append or sync failed: the positions went back to the last good frame, and so does every file (V5)."""
        positions = self._buffer.positions
        now = self._now_s()
        for _, lineage, file in self._retired:
            if file.handle is not None and file not in lineage.files and file not in lineage.done:
                lineage.done.append(file)
        self._retired.clear()
        for name, lineage in self.lineages.items():
            for file in [*lineage.done, *lineage.files]:
                if file.ref is None:
                    continue
                known = positions.files.get(file.ref.key)
                at = known.offset if known is not None else 0
                if file.offset != at:
                    file.resume(file.ref, at, known.guard if known is not None else "")
                    if file in lineage.done:
                        lineage.done.remove(file)
                        lineage.files.insert(0, file)
            state = positions.lineages.get(name)
            lineage.decoder.restore(state.state if state is not None else (), now)
            self._ready(name, lineage)

    # -------------------------------------------------------- facts

    def _short_of_goal(self, lineage: Lineage) -> bool:
        if lineage.outbox:
            return True
        assert self._goal is not None
        goal = self._goal.get(lineage.source.lineage, {})
        return any(
            file.offset + file.rest_bytes < goal.get(file.node_id, 0) or (file.compressed or not file.live)
            for file in lineage.files[:1]
        ) or len(lineage.files) > 1

    def lag_bytes(self) -> int:
        """Bytes in open files behind their offsets, as of the last look at each."""
        return sum(max(0, f.size - f.offset) for x in self.lineages.values() for f in x.files)

    def facts(self) -> list[dict[str, Any]]:
        """One row per file, for /status and `positions show`."""
        rows = []
        for lineage in self.lineages.values():
            for file in [*lineage.done, *lineage.files]:
                size = file.stat_size()
                rows.append({
                    "path": file.path, "key": file.ref.key if file.ref else "", "source": lineage.source.name,
                    "namespace": lineage.source.namespace, "pod": lineage.source.pod, "container": lineage.source.container,
                    "size": size, "position": file.offset, "lag_bytes": max(0, size - file.offset),
                    "last_record_ns": lineage.last_ns, "state": _state_of(lineage, file),
                })
        return rows


def _state_of(lineage: Lineage, file: TailFile) -> str:
    if file in lineage.done:
        return "done"
    if file.deleted_since_s is not None:
        return "deleted"
    if file is not lineage.files[0]:
        return "waiting"
    return "quiet" if lineage.armed else "reading"


def _frames_of(sections: list[Section]) -> list[list[Section]]:
    """A frame's worth each; a bulk read of 1 MiB is several frames, so that delivery starts with the first."""
    parts: list[list[Section]] = [[]]
    size = 0
    for section in sections:
        if size >= FRAME_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(section)
        size += section.end - section.start
    return parts


_MARK_METRICS = {
    "malformed": "shipper_malformed_records_total",
    "truncated": "shipper_truncated_records_total",
    "partial": "shipper_partial_records_total",
}
