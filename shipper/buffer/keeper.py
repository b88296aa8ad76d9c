"""What is on disk beside the frames: cursors, positions.json, and which segments nobody needs. Writer thread.

Invariants (tests/buffer/test_engine.py, test_buffer_machine.py):
  N1  what is written never says more than synced frames prove
  N2  a segment goes only when every durable cursor and positions.json are beyond it
  N3  a write that fails is degraded{reason} and due again; a cursor is put back, positions stay changed
  N4  a removed sink's backlog is counted when it goes; an inherited cursor goes when its heir is on disk
"""
from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

from ..errors import DropReason
from ..model import FileRef
from .cursors import Cursors, encode, file_name
from .files import NO_ROOM, Files
from .jobs import BUFFER_ERROR, BUFFER_FULL, DISK_FULL, Job, Outcome
from .log import Damaged, Log
from .positions_json import Snapshot
from .positions_json import encode as encode_positions
from .recovery import CURSORS, POSITIONS, Recovered
from .smallfiles import SmallFiles

POSITIONS_EVERY_S = 30.0
POSITIONS_SOON_S = 1.0


class Keeper:
    """The durable positions and cursors. `cursors` and `inherited` are shared with the loop, under `lock`."""

    def __init__(
        self, files: Files, directory: str, found: Recovered, degraded: dict[str, str], wall_s: Callable[[], float]
    ) -> None:
        self._files, self._directory, self._degraded, self._wall_s = files, directory, degraded, wall_s
        self.durable = found.positions
        self.cursors, self.lock = Cursors(found.cursors.values()), threading.Lock()
        self.inherited: set[str] = set()  # cursors that live on under another name: dropped without a count
        self.small = SmallFiles(files, directory)
        self._uuid, self._damaged = found.uuid, set(found.damaged)
        self.written_seq = found.written_seq  # what positions.json on disk covers
        self.urgent = found.dirty             # positions.json must be written at the next commit
        self.changed = found.dirty or found.positions.seq > found.written_seq
        self._written_s = -1e9

    def file(self, key: str) -> FileRef | None:
        """A file as the durable positions know it."""
        found = self.durable.files.get(key)
        return found.file if found else None

    def take(self, job: Job) -> None:
        """The job's frame is synced (or it has none): its change is durable from here on."""
        self.durable.commit(job.delta)
        self.changed = True
        self._account(job.damaged)

    def take_lost(self, job: Job) -> None:
        """Damage stays true whatever became of the frames beside its report."""
        self.durable.commit(self.durable.plan_lost(job.lost))
        self._account(job.damaged)

    def _account(self, damaged: Iterable[Damaged]) -> None:
        for each in damaged:
            self._damaged.add((each.first_seq, each.bad.start))
            self.urgent = self.changed = True

    def wait_s(self, now_s: float) -> float | None:
        """When positions.json is due next; None: never."""
        return self._written_s + POSITIONS_EVERY_S - now_s if self.changed else None

    def write(self, out: Outcome, log: Log, now_s: float) -> None:
        """Cursors, then positions.json where it is due (N1, N3)."""
        self._write_cursors(out, log.synced_seq)
        self._write_positions(out, log, now_s)

    def _write_cursors(self, out: Outcome, synced_seq: int) -> None:
        with self.lock:
            due = self.cursors.due(synced_seq)
        for cursor in due:
            path = os.path.join(self._directory, CURSORS, file_name(cursor.name))
            failed = self._write_small(out, path, encode(cursor), "cursor")
            with self.lock:
                if failed:
                    self.cursors.failed(cursor)
                else:
                    self.cursors.written(cursor)
                    out.cursors.append(cursor)

    def _write_positions(self, out: Outcome, log: Log, now_s: float) -> None:
        since_s = now_s - self._written_s
        if not self.changed or not (
            self.urgent or since_s >= POSITIONS_EVERY_S or (since_s >= POSITIONS_SOON_S and self._would_unlink(log))
        ):
            return
        data = encode_positions(Snapshot(self.durable, self._uuid, frozenset(self._damaged)), self._wall_s())
        if self._write_small(out, os.path.join(self._directory, POSITIONS), data, "positions"):
            return
        self._written_s, self.written_seq = now_s, self.durable.seq
        self.changed = self.urgent = False

    def _write_small(self, out: Outcome, path: str, data: bytes, what: str) -> bool:
        """True where it failed: degraded, and due again at the next commit."""
        try:
            self.small.write(path, data)
        except OSError as error:
            out.counts.append(("shipper_buffer_errors_total", 1, (what,)))
            reason = DISK_FULL if error.errno in NO_ROOM else BUFFER_ERROR
            self._degraded[reason] = f"{path}: {error.strerror or error}; tried again until it works"
            return True
        return False

    def held_seq(self) -> int | None:
        """Frames before this one nobody needs; None while there is no cursor: then all are needed."""
        with self.lock:
            held = self.cursors.held_from()
        return None if held is None else min(held, self.written_seq + 1)

    def _would_unlink(self, log: Log) -> bool:
        with self.lock:
            held = self.cursors.held_from()
        return held is not None and bool(log.segments) and self.written_seq <= log.segments[0].last_seq < held

    def unlink(self, out: Outcome, log: Log) -> None:
        """N2."""
        held = self.held_seq()
        if held is None:
            return
        try:
            if log.unlink(held):
                present = {segment.first_seq for segment in log.segments}
                self._damaged = {entry for entry in self._damaged if entry[0] in present}
        except OSError as error:
            out.notes.append(("warning", "segment_not_removed", self._directory, {"why": str(error.strerror or error)}))

    def drop_removed(self, out: Outcome, log: Log) -> None:
        """Sinks that left the config: their backlog goes when its time is over or the room is needed."""
        room_needed = BUFFER_FULL in self._degraded or DISK_FULL in self._degraded
        with self.lock:
            behind = self.cursors.furthest_behind()
            # An inherited cursor goes once its heir is on disk: else a crash would leave neither.
            names = [name for name in self.cursors.expired(self._wall_s(), False)
                     if name not in self.inherited or not self.cursors.waiting()]
            if room_needed and behind is not None and behind.removed_s and behind.name not in names:
                names.append(behind.name)
        for name in names:
            self._drop(out, log, name)

    def _drop(self, out: Outcome, log: Log, name: str) -> None:
        cursor = self.cursors.now[name]
        try:
            inherited = name in self.inherited
            records = 0 if inherited else log.count_records(cursor.seq, cursor.index, log.appended_seq)
            self._files.delete(os.path.join(self._directory, CURSORS, file_name(name)))
        except OSError as error:
            out.notes.append(("warning", "cursor_not_removed", name, {"why": str(error.strerror or error)}))
            return
        with self.lock:
            self.cursors.drop(name)
        if inherited:
            self.inherited.discard(name)
            return
        out.counts.append(("shipper_sink_dropped_records_total", records, (name, DropReason.SINK_REMOVED.value)))
        out.notes.append(("warning", "sink_removed", name, {"dropped_records": records}))
