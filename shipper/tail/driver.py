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
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ..errors import BufferLost, GapReason
from ..model import FileRef, Gap, Section, Source
from ..telemetry import Telemetry
from .accounting import account
from .again import read_again
from .cutter import LineDecoder
from .ending import AtEnd, Verdict, may_close_open_records, verdict
from .file import Changed, TailFile
from .handles import Handles
from .identity import HEAD_BYTES
from .lineage import Lineage
from .ports import BufferPort, Directory, Formats, Refused, Settings
from .reading import pass_over, read
from .turns import Turns

TICK_S = 0.05
FRAME_BYTES = 256 * 1024
IN_FLIGHT_BYTES = 4 * 1024 * 1024
SWEEPS_BEFORE_WATCH = 4
POLL_WITHOUT_WATCH_S = 1.0
LAST_SWEEP_S = 1.5
LATE_WRITES_S = 30.0
ONCE_TRIES = 40

_NO_SETTINGS = Settings("", "raw", "beginning", 1 << 20, 1 << 20, 2.0, (), False)


async def _no_pace() -> None:
    await asyncio.sleep(0)


class Reader:
    """Reads every lineage that it was told of, for ever. `make_decoder(source, settings)` gives a fresh decoder."""

    def __init__(
        self, buffer: BufferPort, directory: Directory, formats: Formats, make_decoder: Callable[[Source, Settings], LineDecoder],
        telemetry: Telemetry, *, max_open_files: int, now_s: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns, pace: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._buffer, self._directory, self._formats, self._make_decoder = buffer, directory, formats, make_decoder
        self._telemetry, self._now_s, self._now_ns = telemetry, now_s, now_ns
        self._pace = pace or _no_pace
        self.lineages: dict[str, Lineage] = {}
        self._handles = Handles(self.lineages, max_open_files)
        self._turns: Turns[str] = Turns()
        self._busy: dict[str, Lineage] = {}
        self._unwatched: set[str] = set()
        self._trailing: dict[str, float] = {}              # a file of theirs was renamed and read to its end, until then
        self._waiting: dict[str, Lineage] = {}             # something of theirs ends by time
        self._look: dict[str, Lineage] = {}
        self._in_flight: deque[tuple[asyncio.Future[int], int]] = deque()
        self._in_flight_bytes = 0
        self._claimed: set[str] = set()                   # keys that are in no frame yet
        self._wake = asyncio.Event()
        self._next_tick_s = self._next_poll_s = 0.0
        self._goal: dict[str, dict[tuple[int, int], int]] | None = None
        self.rounds = self.read_bytes = 0
        self.blocked = False
        self.complete = False                             # every lineage that there is was told: what is not found is gone

    # -------------------------------------------------------- what the agent tells

    def add(self, source: Source, settings: Settings, *, skip_old: bool = False) -> None:
        """A lineage exists. `skip_old`: its source is new and says start_at: end."""
        known = self.lineages.get(source.lineage)
        if known is not None:
            known.vanished, known.settings = False, settings
            known.look_due = True
            self._look[source.lineage] = known
            return
        lineage = Lineage(source, settings, self._make_decoder(source, settings), self._directory, self._claim)
        position = self._buffer.positions.lineages.get(source.lineage)
        if position is not None:
            lineage.decoder.restore(position.state, self._now_s())
            lineage.last_ns = position.last_ns
        self.lineages[source.lineage] = lineage
        self._look_at(source.lineage, lineage, skip_old=skip_old)

    def vanish(self, name: str) -> None:
        """Its directory is gone: read what is still open to its end, then forget it."""
        lineage = self.lineages.get(name)
        if lineage is not None:
            lineage.vanished = lineage.look_due = True
            self._look[name] = lineage
            self._wake.set()

    def drop(self, name: str) -> None:
        """Its source left the config: nothing more is read from it. Its positions stay."""
        lineage = self.lineages.get(name)
        if lineage is not None:
            self._drop(name, lineage)

    def close(self) -> None:
        """Every descriptor."""
        self._handles.close_all()

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
        end_s = self._now_s() + LAST_SWEEP_S
        while self._turns and self._now_s() < end_s and not self._buffer.full:
            await self._turn()
        await self._settle()

    async def once(self) -> None:
        """Read every file to the size that it has now, then close what is open as `partial` (`run --once`)."""
        self._goal = {}
        tries = 0
        while tries < ONCE_TRIES:
            self._look_where_due()
            short = [name for name, lineage in self.lineages.items() if self._short_of_goal(lineage)]
            if not short and not self._look:
                break
            before = self._progress()
            for name in short:
                self._turns.add(self.lineages[name].source.namespace, name)
            while self._turns:
                await self._room()
                await self._turn()
                await self._pace()
            if self._progress() == before:                # a file that cannot be opened just now, a gz that is replaced
                tries += 1
                await asyncio.sleep(TICK_S)
        for lineage in self.lineages.values():
            self._end(lineage)
        await self._settle()

    def _progress(self) -> tuple[int, int]:
        return self.read_bytes, sum(len(x.files) for x in self.lineages.values())

    async def _round(self, stop: asyncio.Event) -> None:
        now = self._now_s()
        self.prepare(now)
        if not self._turns:
            await self._sleep(stop, now)
            return
        await self._room(stop)
        if not stop.is_set():
            await self._turn()
            await self._pace()

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
            except (BufferLost, OSError):                 # said by the buffer
                self._rewind()
        self._handles.release(self._buffer.synced_seq)
        while self._buffer.full and not (stop is not None and stop.is_set()):
            self.blocked = True
            await self._buffer.wait_room()
        self.blocked = False

    async def _settle(self) -> None:
        while self._in_flight:
            await self._room()
            if self._in_flight:
                await asyncio.wait([self._in_flight[0][0]])

    def _submit(self, sections: list[Section], size: int) -> asyncio.Future[int]:
        try:
            future = self._buffer.submit(sections)
        except BufferLost as lost:                        # positions went back since: `_room` finds it and rewinds
            future = asyncio.get_running_loop().create_future()
            future.set_exception(lost)
        else:
            self._claimed -= {section.file.key for section in sections}     # the positions have them from here on
        self._in_flight.append((future, size))
        self._in_flight_bytes += size
        self.read_bytes += size
        for section in sections:
            account(section, self._telemetry)
        return future

    def _claim(self, key: str) -> bool:
        """Lineage.claim: two files of one key would be one file with jumps to the buffer, which refuses them."""
        if key in self._claimed or key in self._buffer.positions.files:
            return False
        self._claimed.add(key)
        return True

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
                self._handles.retire(future, lineage, file)

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
            data, full = await read(file)
        except OSError as error:
            self._unreadable(name, lineage, file, error)
            return sections, False
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
                if file.gap_start is not None and (passed := pass_over(lineage, file, ref)) is not None:
                    lineage.outbox.append(passed)
            return ref
        if not file.form:
            lineage.define_form(file, self._formats)
            lineage.decoder.form = file.form
        if ref.head_bytes < HEAD_BYTES and file.offset >= ref.head_bytes:
            ref = file.ref = file.grown_head(ref)
        return ref

    def _unreadable(self, name: str, lineage: Lineage, file: TailFile, error: OSError) -> None:
        """EIO and its like: said, and tried again; the other files go on."""
        self._telemetry.count("shipper_errors_total", 1, "read")
        self._telemetry.say("error", "read_failed", about=file.path, why=str(error))
        self._busy.pop(name, None)
        lineage.retry_open_s = self._now_s() + POLL_WITHOUT_WATCH_S

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
            self._handles.quiet.pop(name, None)
            file.rest_since_s = now
        if lineage.decoder.oldest_open_s() is not None:
            self._waiting[name] = lineage
        if self._is_done(lineage, file, progress, now):
            sections += self._finish(lineage, file)
            finished.append((lineage, file))
            return sections, bool(lineage.files)
        if not file.live and file.rest_bytes:
            self._waiting[name] = self._busy[name] = lineage
        elif not progress:
            self._quieten(name, lineage, file, now)
        return sections, False

    def _is_done(self, lineage: Lineage, file: TailFile, progress: bool, now: float) -> bool:
        if file.deleted_since_s == 0.0:
            file.deleted_since_s = now
        since_s = max(file.rest_since_s, file.deleted_since_s or 0.0)
        facts = AtEnd(
            live=file.live, compressed=file.compressed, deleted=file.deleted_since_s is not None,
            successor=len(lineage.files) > 1, lineage_gone=lineage.vanished, progress=progress, rest_bytes=file.rest_bytes,
            rest_age_s=now - since_s, patience_s=0.0 if self._goal is not None else lineage.settings.partial_timeout_s,
        )
        return verdict(facts) is Verdict.FINISH

    def _finish(self, lineage: Lineage, file: TailFile) -> list[Section]:
        sections = lineage.finish(file, self._formats)
        lineage.files.remove(file)
        deleted = file.deleted_since_s is not None
        if file.compressed or deleted:
            lineage.ignored.add(file.node_id)
        else:
            lineage.done.append(file)
            self._trailing[lineage.source.lineage] = self._now_s() + LATE_WRITES_S
        self._telemetry.count("shipper_rotations_total", 1, "deleted" if deleted else "rotated")
        return sections

    def _forget_if_gone(self, name: str, lineage: Lineage) -> None:
        self._busy.pop(name, None)
        if lineage.vanished:
            self._submit_some(self._flush(lineage, self._now_s()))
            self._drop(name, lineage)

    def _drop(self, name: str, lineage: Lineage) -> None:
        self._directory.disarm(name)
        for queue in (self._busy, self._waiting, self._look):
            queue.pop(name, None)
        self._handles.quiet.pop(name, None)
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
        self._handles.quiet[name] = now

    # -------------------------------------------------------- by time

    def _by_time(self, now: float) -> None:
        for name, lineage in list(self._waiting.items()):
            oldest_s = lineage.decoder.oldest_open_s()
            file = lineage.files[0] if lineage.files else None
            if oldest_s is None:
                if file is None or file.live or not file.rest_bytes:
                    del self._waiting[name]
                continue
            unread = max(0, file.size - file.offset - file.rest_bytes) if file is not None else 0
            patience_s = lineage.settings.partial_timeout_s
            if may_close_open_records(
                oldest_age_s=now - oldest_s, patience_s=patience_s, files=len(lineage.files), unread_bytes=unread
            ):
                self._submit_some(self._flush(lineage, now - patience_s))
        if now >= self._next_poll_s:
            self._next_poll_s = now + POLL_WITHOUT_WATCH_S
            self._poll(now)

    def _poll(self, now: float) -> None:
        """Once a second: what nobody tells us of."""
        for name in self._unwatched:
            self._turns.add(self.lineages[name].source.namespace, name)
        for name, until_s in list(self._trailing.items()):
            if now > until_s or name not in self.lineages:
                del self._trailing[name]
            else:
                self._look[name] = self.lineages[name]     # no event tells of a late write to a renamed file
        self._handles.close_quiet(now)
        if self.complete:
            self._read_lost(now)
        for lineage, file, unread in list(self._handles.over_limit(now)):
            ref = file.ref or lineage.define(file, self._formats, ending=True)
            self._submit_some(self._handles.let_go(lineage, file, ref, unread))
        for name, lineage in self.lineages.items():
            if lineage.retry_open_s and now >= lineage.retry_open_s:
                lineage.retry_open_s = 0.0
                if lineage.retry_look:
                    lineage.retry_look = False
                    self._look[name] = lineage
                self._turns.add(lineage.source.namespace, name)

    def _read_lost(self, now: float) -> None:
        """Frames that were found damaged: a part of each lost range a second."""
        for lost in list(self._buffer.positions.lost):
            lineage = self.lineages.get(lost.file.source.lineage)
            file = lineage.file_of(lost.file.key) if lineage is not None else None
            settings = lineage.settings if lineage is not None else _NO_SETTINGS
            form = (file.form if file is not None else "") or "raw"
            decoder = self._make_decoder(lost.file.source, settings)
            self._submit_some([read_again(lost, lineage, decoder, form, now)])

    def _submit_some(self, sections: list[Section]) -> None:
        if sections:
            self._submit(sections, 0)

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
        lineage.cutter.now_s, lineage.cutter.read_ns = self._now_s(), self._now_ns()
        sections = self._outbox(lineage)
        for file in lineage.files:
            if file.rest_bytes and file.handle is not None:
                ended = lineage.finish(file, self._formats)
                for section in ended:
                    section.closed = False
                sections += ended
        self._submit_some(sections)
        self._submit_some(self._flush(lineage, self._now_s()))

    # -------------------------------------------------------- descriptors

    def _open(self, name: str, lineage: Lineage, file: TailFile, now: float) -> bool:
        self._handles.make_room()
        try:
            fd = self._directory.open(file.path, lineage.settings)
        except Refused as refused:
            self._not_opened(name, lineage, file, refused, now)
            return False
        stat = os.fstat(fd)
        if (stat.st_dev, stat.st_ino) != file.node_id:
            os.close(fd)
            lineage.look_due = True
            self._look[name] = lineage
            return False
        file.attach(fd)
        return True

    def _not_opened(self, name: str, lineage: Lineage, file: TailFile, refused: Refused, now: float) -> None:
        if refused.reason == "vanished":
            if file.deleted_since_s is not None:          # it was closed because it was read to its end
                lineage.files.remove(file)
                if file.ref is not None:
                    self._submit_some(lineage.cutter.finish(file, file.ref, b""))
            lineage.look_due = True
            self._look[name] = lineage
            return
        if refused.again:
            lineage.retry_open_s = now + POLL_WITHOUT_WATCH_S
        else:
            lineage.files.remove(file)
            lineage.ignored.add(file.node_id)
        self._refusals([(refused.reason, str(refused))])

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
            if name in self.lineages:
                self._look_at(name, lineage)

    def _look_at(self, name: str, lineage: Lineage, *, skip_old: bool = False) -> None:
        try:
            self._refusals(lineage.look(self._buffer.positions, skip_old=skip_old, formats=self._formats))
        except OSError as error:
            self._telemetry.count("shipper_errors_total", 1, "look")
            self._telemetry.say("error", "look_failed", about=name, why=str(error))
            lineage.look_due = True
        if lineage.look_due:                              # something was refused for now, or moved while we looked
            lineage.retry_look = True
            lineage.retry_open_s = self._now_s() + POLL_WITHOUT_WATCH_S
        self._ready(name, lineage)

    def _ready(self, name: str, lineage: Lineage) -> None:
        lineage.eof_ticks = 0
        self._handles.quiet.pop(name, None)
        self._unwatched.discard(name)
        self._busy[name] = lineage
        self._turns.add(lineage.source.namespace, name)
        self._wake.set()

    def _rewind(self) -> None:
        """An append or sync failed: the positions went back to the last good frame, and so does every file (V5)."""
        positions = self._buffer.positions
        now = self._now_s()
        for lineage, file in self._handles.take_back():
            if file not in lineage.files and file not in lineage.done:
                lineage.done.append(file)
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
        assert self._goal is not None
        goal = self._goal.setdefault(lineage.source.lineage, {})
        for file in lineage.files:
            goal.setdefault(file.node_id, file.stat_size())
        if lineage.outbox or len(lineage.files) > 1 or any(f.compressed for f in lineage.files):
            return True
        return any(f.offset + f.rest_bytes < goal[f.node_id] for f in lineage.files)

    def lag_bytes(self) -> int:
        """Bytes in open files behind their offsets, as of the last look at each."""
        return sum(max(0, f.size - f.offset) for x in self.lineages.values() for f in x.files)

    def unread_bytes(self) -> int:
        """As lag_bytes, less the unfinished lines that only their writer can finish."""
        return sum(
            max(0, f.size - f.offset - f.rest_bytes) for x in self.lineages.values() for f in x.files if f.handle is not None
        )

    def keys(self) -> list[str]:
        """The keys of all files that are there."""
        return [f.ref.key for x in self.lineages.values() for f in [*x.files, *x.done] if f.ref is not None]

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

