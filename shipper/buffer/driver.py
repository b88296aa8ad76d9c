"""The buffer as the reader and the sinks see it. Driver: the event loop here, the Engine on one writer thread, cold reads
on another.

    reader ──submit──► positions, queue ══► writer thread: engine.step ══► loop: ring, futures, cursors' callbacks
    sinks  ◄──read───  ring (the same objects), else the reading thread

Invariants (tests/buffer/test_driver.py):
  D1  positions change when a frame is submitted; they go back, whole, when BufferLost is raised
  D2  a frame can be read once its bytes are in the page cache, in order, with the Batch objects that were appended
  D3  after `close` returns no thread is left and all that was appended is synced
  D4  in memory is only what some sink has yet to take: one that confirms late (syslog) held 4 MiB of frames, 5 MB at everyday
      rates, for a resend that hardly ever comes, and then is read from disk
"""
from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ..config.types import BufferSettings
from ..errors import BufferLost, Fatal, GapReason
from ..model import Frame, Section
from ..telemetry import Telemetry
from .columns import join_columns
from .cursors import CursorPosition
from .damage_reports import DamageReports
from .early import Early, encode_early
from .engine import Engine
from .files import Files, OsFiles
from .jobs import Job, Outcome
from .limits import Usage
from .opening import opened
from .positions import Positions
from .recovery import Recovered
from .ring import Ring
from .room import Room
from .unseen import plan_seen
from .waiting import Waiting
from .writer import WriterThread

OnDurable = Callable[[int, int], None]


class Buffer:
    """The disk buffer. Made by `open`; all methods belong to the loop that opened it."""

    def __init__(self, directory: str, found: Recovered, engine: Engine, telemetry: Telemetry) -> None:
        self.directory, self.uuid = directory, found.uuid.hex()
        self.positions: Positions = found.positions.copy()
        self.appended_seq = self.synced_seq = found.last_seq
        self._room, self._waiting = Room(telemetry, engine.max_size), Waiting()
        self._next_seq = found.last_seq + 1
        self._engine, self._telemetry, self._loop = engine, telemetry, asyncio.get_running_loop()
        self._ring = Ring()
        self._futures: dict[int, asyncio.Future[int]] = {}
        self._writer = WriterThread(engine, self._loop, self._apply, self._die, lambda: bool(self._futures))
        self._reading = ThreadPoolExecutor(1, "shipper-buffer-read")
        self._on_durable: dict[str, OnDurable] = {}
        self._damage = DamageReports(directory, engine, self.positions, self._reading, self._put, telemetry, set(found.damaged))
        self._must_reload = self._closing = False
        self.early: dict[Any, Early] = {}                 # by sink: all of them, or columns are let go that one still needs
        self._taken: dict[object, int] = {}
        self._epoch = 0
        self._abandoned_seqs: deque[tuple[int, int]] = deque(maxlen=64)

    @classmethod
    async def open(
        cls, directory: str, settings: BufferSettings, telemetry: Telemetry, *, files: Files | None = None
    ) -> Buffer:
        """Recover the state directory and start the writer. Usage, Fatal: nothing runs (opening.py)."""
        found, engine, outcome = await opened(directory, settings, files or OsFiles())
        buffer = cls(directory, found, engine, telemetry)
        for level, event, about, fields in found.notes:
            telemetry.say(level, event, about=about, **fields)
        if found.damaged_frames:
            telemetry.count("shipper_buffer_damaged_frames_total", found.damaged_frames)
        if found.unknown_bytes:
            telemetry.count("shipper_gap_bytes_total", found.unknown_bytes, GapReason.BUFFER_DAMAGED.value)
        buffer._apply(outcome)
        buffer._writer.start()
        return buffer

    # ------------------------------------------------------------ the reader's side

    def submit(self, sections: list[Section]) -> asyncio.Future[int]:
        """One frame. Positions change at once; the future gives its seq when the bytes are in the page cache.

        ValueError: a section does not begin where its file ends (positions.P2). BufferLost (here or from the future): the
        positions went back; load the offsets from `positions` again. After a loss the next submit always raises it, so
        that sections made from the old offsets never get in.
        """
        self._waiting.check()
        if self._must_reload:
            self._must_reload = False
            raise BufferLost("positions went back to the last synced frame; read on from there")
        batches = [section.batch for section in sections if section.batch is not None]
        read_ns = max((batch.read_ns for batch in batches), default=0) or time.time_ns()
        seq = self._next_seq
        delta = self.positions.plan(seq, sections, read_ns)
        self.positions.commit(delta)
        self._next_seq += 1
        for batch in batches:
            batch.read_ns = read_ns  # a frame has one read time; hot and cold reads must give equal records
        frame = Frame(seq, sections, self.positions.total_bytes, read_ns, joined=join_columns(sections))
        if self.early:
            encode_early(frame, self.early)
        self._room.submitted(seq, sections, sum(map(len, batches)))
        self._put(Job(delta, frame))
        future = self._futures[seq] = self._loop.create_future()  # after `put`, which asks whether there was work before
        return future

    def went_back(self) -> bool:
        """True once after a loss that no `submit` has raised yet: load the offsets again. A frame that was appended, and lost by
        a sync that failed later, has a future that says nothing of it; without this its lines would wait for the next one."""
        went_back, self._must_reload = self._must_reload, False
        return went_back

    async def append(self, sections: list[Section]) -> int:
        """`submit`, after waiting for room, and its seq. Cancelled: the frame is written all the same."""
        await self.wait_room()
        return await asyncio.shield(self.submit(sections))

    @property
    def full(self) -> bool:
        """Whether appending should wait: no room, what is on its way to the disk included, or the disk does not take writes
        at present."""
        return self._room.full

    @property
    def usage(self) -> Usage:
        """As of the writer's last step."""
        return self._room.usage

    @property
    def limit_bytes(self) -> int:
        """What it may use in all, as of the writer's last step."""
        return self._room.limit_bytes

    async def wait_room(self) -> None:
        """Returns at once where `full` is False."""
        await self._waiting.until(lambda: not self.full)

    def seen(self, keys: Collection[str], now_s: float) -> None:
        """Files with these keys exist (wall clock `now_s`). Those unseen for 7 days are forgotten. Call it after a scan of
        the directories, now and then (each hour is enough)."""
        delta = plan_seen(self.positions, keys, now_s)
        if delta.files or delta.gone:
            self.positions.commit(delta)
            self._put(Job(delta))

    async def wait_synced(self, seq: int) -> None:
        """Returns when frame `seq` is on disk for good; BufferLost where it was abandoned."""
        await self._waiting.until(lambda: self.synced_seq >= seq or self._abandoned(seq))
        if self._abandoned(seq):
            raise BufferLost(f"frame {seq} was abandoned after a failed write; its ranges come in a later frame")

    def _abandoned(self, seq: int) -> bool:
        return any(low <= seq < high for low, high in self._abandoned_seqs)

    # ------------------------------------------------------------ the sinks' side

    @property
    def first_seq(self) -> int:
        """The oldest frame that is held; the next one where none is."""
        return self._engine.log.first_seq

    @property
    def total_bytes(self) -> int:
        """Source bytes of all frames ever."""
        return self.positions.total_bytes

    def retain(self, names: Iterable[str]) -> None:
        """The sinks of the config. Cursors of all others are kept 24 h, or until room is needed, then dropped and counted
        (`sink_removed`)."""
        with self._engine.lock:
            marked = self._engine.cursors.retain(names, time.time())
        for name in marked:
            self._telemetry.say("info", "sink_left_config", about=name, kept_for="24h or until room is needed")
        self._writer.nudge()

    def open_cursor(self, name: str, start_at: str = "end", previously: str | None = None) -> CursorPosition:
        """The cursor of sink `name`: as it was stored, else that of `previously` (which is then gone), else new at the end
        of the buffer or at the oldest frame held."""
        engine = self._engine
        oldest = start_at == "oldest" and self.first_seq < self._next_seq
        seq = self.first_seq if oldest else self._next_seq
        before = (engine.log.total_before(seq) or 0) if oldest else self.total_bytes
        with engine.lock:
            found, inherited = engine.cursors.open(CursorPosition(name, seq, total_bytes=before), previously)
            if inherited is not None:
                engine.inherited.add(inherited)
        self._writer.nudge()
        return found

    def cursor(self, name: str) -> CursorPosition:
        """Where sink `name` is confirmed, in memory. KeyError where it was not opened."""
        return self._engine.cursors.now[name]

    def cursors(self) -> dict[str, CursorPosition]:
        """All of them, removed sinks included, by name."""
        with self._engine.lock:
            return dict(self._engine.cursors.now)

    def advance(
        self, name: str, seq: int, index: int, state: Any = None, counters: Mapping[str, Any] | None = None,
        total_bytes: int | None = None,
    ) -> None:
        """Everything before record `index` of frame `seq` is confirmed. Durable with a group commit, never beyond synced
        frames. `total_bytes`: source bytes before it, where known. ValueError where it would go back."""
        engine = self._engine
        with engine.lock:
            before = engine.cursors.now[name]
            if total_bytes is None:
                found = engine.log.total_before(seq) if seq > before.seq else None
                total_bytes = before.total_bytes if found is None else found
            engine.cursors.set(replace(
                before, seq=seq, index=index, state=state, counters=dict(counters or {}),
                total_bytes=max(before.total_bytes, total_bytes),
            ))
            lowest = engine.cursors.furthest_behind()
        if lowest is not None:
            self._ring.trim(lowest.seq)
        self._writer.nudge()

    def on_durable(self, name: str, callback: OnDurable) -> None:
        """`callback(seq, index)` in the loop whenever that sink's cursor has reached the disk."""
        self._on_durable[name] = callback

    def backlog_bytes(self, name: str) -> int:
        """Source bytes between the sink's cursor and the end of the buffer."""
        return max(0, self.total_bytes - self.cursor(name).total_bytes)

    def furthest_behind(self) -> str | None:
        """The sink that holds the oldest frame."""
        with self._engine.lock:
            found = self._engine.cursors.furthest_behind()
        return found.name if found else None

    @property
    def out_of_room(self) -> bool:
        """`full` for want of room in the buffer, which moving a cursor can mend (drop_oldest)."""
        return self._room.out_of_it

    async def count_records(self, seq: int, index: int, last_seq: int) -> int:
        """Records from record `index` of frame `seq` to the end of frame `last_seq`, by the headers on disk."""
        return await self._loop.run_in_executor(self._reading, self._engine.log.count_records, seq, index, last_seq)

    async def read(self, seq: int, max_bytes: int) -> list[Frame]:
        """Frames from `seq` on, about `max_bytes` (stored) of them and at least one where there is one; [] where there is
        none yet. Numbers may be missing (abandoned or damaged frames). OSError where the disk cannot be read."""
        while seq <= self.appended_seq:
            frames = self._ring.read(seq, max_bytes)
            if frames:
                return frames
            if frames is not None:
                return []
            hot = self._ring.first_seq(self.appended_seq + 1)
            frames, damage = await self._loop.run_in_executor(
                self._reading, self._engine.log.read, seq, hot - 1, max_bytes
            )
            if damage:
                await self._damage.report(damage)
            if frames:
                return frames
            seq = max(seq, hot)
        return []

    def end_early(self, key: Any) -> None:
        """Sink `key` encodes nothing early any more; what it made goes."""
        self.early.pop(key, None)
        self._ring.forget(key)

    def taken(self, reader: object, seq: int | None) -> None:
        """`reader`, one for each sink, has the frames before `seq`; None: it reads no more. What all have taken goes (D4)."""
        if seq is None:
            self._taken.pop(reader, None)
        else:
            self._taken[reader] = seq
        if self._taken:
            self._ring.trim(min(self._taken.values()))

    async def wait_beyond(self, seq: int) -> None:
        """Returns when a frame numbered `seq` or higher can be read."""
        await self._waiting.until(lambda: self.appended_seq >= seq)

    # ------------------------------------------------------------ life

    def stalled_s(self) -> float:
        """How long the writer has been silent with work to do (watchdog); 0 where it has none."""
        return self._writer.silent_s()

    @property
    def others(self) -> Callable[[], int]:
        """Bytes of spools and dead letters, which count against max_size. Called on the writer thread."""
        return self._engine.others

    @others.setter
    def others(self, count: Callable[[], int]) -> None:
        self._engine.others = count

    async def close(self) -> None:
        """Final sync, cursors and positions.json; then the threads end (D3)."""
        if self._closing:
            return
        self._closing = True
        await self._writer.stop()
        self._reading.shutdown(wait=False)
        self._waiting.check()

    # ------------------------------------------------------------ between loop and thread

    def _put(self, job: Job) -> None:
        job.epoch = self._epoch
        self._writer.put(job)

    def _apply(self, outcome: Outcome) -> None:
        for name, amount, labels in outcome.counts:
            self._telemetry.count(name, amount, *labels)
        for level, event, about, fields in outcome.notes:
            self._telemetry.say(level, event, about=about, **fields)
        for frame in outcome.written:
            self._ring.add(frame)
            self.appended_seq = frame.seq
            future = self._futures.pop(frame.seq, None)
            if future is not None and not future.done():
                future.set_result(frame.seq)
        self.synced_seq = max(self.synced_seq, outcome.synced_seq)
        self._room.settled(self.appended_seq)
        self._room.told(outcome)
        if outcome.lost is not None:
            self._lose(*outcome.lost)
        if outcome.lost_ranges:
            self.positions.commit(self.positions.plan_lost(outcome.lost_ranges))
        self._room.say(outcome.degraded)
        for cursor in outcome.cursors:
            callback = self._on_durable.get(cursor.name)
            if callback is not None:
                callback(cursor.seq, cursor.index)
        self._waiting.wake()

    def _lose(self, positions: Positions, why: str) -> None:
        self._ring.cut(self.synced_seq)
        self._abandoned_seqs.append((self.synced_seq + 1, self._next_seq))
        self.appended_seq = self.synced_seq
        self.positions.go_back(positions)
        self._epoch += 1
        self._must_reload = True
        futures, self._futures = self._futures, {}
        self._room.settled(self._next_seq)
        for future in futures.values():
            if not future.done():
                future.set_exception(BufferLost(f"{self.directory}: {why}; positions went back to the last synced frame"))
                future.exception()  # heard: a reader that pipelines may look at the first one alone
        self._telemetry.say("error", "buffer_lost", about=self.directory, why=why, frames=len(futures),
                            then="the range is read from the log files again")

    def _die(self, error: BaseException) -> None:
        for future in self._futures.values():
            if not future.done():
                future.set_exception(Fatal(f"the buffer's writer stopped: {error!r}"))
        self._futures.clear()
        self._telemetry.say("error", "buffer_writer_stopped", about=self.directory, why=repr(error))
        self._waiting.die(error)
