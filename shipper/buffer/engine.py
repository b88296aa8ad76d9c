"""What the writer thread does, one step after the other. Synchronous: tests play it against a faulty filesystem.

    step:  mend what broke ─► append what waits ─► group commit, when due ─► limits

    group commit, in this order (a power cut between any two leaves a state that recovery understands):
      1 fdatasync the segment    2 cursors up to the synced frames    3 positions.json, now and then    4 unlink

Invariants (tests/buffer/test_buffer_machine.py):
  B1  `durable` is the fold of the synced frames; positions.json and cursors never say more than synced frames prove
  B2  after a failed write or sync: Outcome.lost, the durable positions, and nothing unsynced on disk once it is mended
  B3  for want of room nothing is lost or abandoned: frames wait here and are tried again
  B4  an error of the filesystem never leaves this module as an exception: it is degraded{reason}, and tried again
"""
from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..model import Frame
from .damage import KEPT, Quarantine
from .files import NO_ROOM, Files, Space
from .jobs import BUFFER_ERROR, BUFFER_FULL, DISK_FULL, Job, Outcome
from .keeper import Keeper
from .limits import Usage, effective_segment_bytes, is_full, limit_bytes
from .log import Damaged, Log
from .positions import Positions
from .recovery import QUARANTINE, SEGMENTS, Recovered

SYNC_BYTES = 4 * 1024 * 1024
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 5.0
CLOSE_TRIES = 3


class Engine:
    """One buffer, as its writer thread sees it. `cursors` and `inherited` are shared with the loop, under `lock`."""

    def __init__(
        self, files: Files, directory: str, settings: Any, found: Recovered, wall_s: Callable[[], float],
    ) -> None:
        self._files, self._directory = files, directory
        self.max_size, self._interval_s = int(settings.max_size), float(settings.sync_interval)
        segment_bytes = effective_segment_bytes(int(settings.segment_size), self.max_size)
        self._degraded: dict[str, str] = {}
        self._keeper = Keeper(files, directory, found, self._degraded, wall_s)
        self.log = Log(
            files, os.path.join(directory, SEGMENTS), found.uuid, segment_bytes, found.segments, found.last_seq,
            self._keeper.file,
        )
        self.cursors, self.lock, self.inherited = self._keeper.cursors, self._keeper.lock, self._keeper.inherited
        self.others: Callable[[], int] = lambda: 0
        self._others_bytes = 0
        self._quarantine = Quarantine(files, os.path.join(directory, QUARANTINE))
        self._queue: deque[Job] = deque()
        self._frames: deque[Frame] = deque()
        self._pending: deque[tuple[int, Job]] = deque()
        self._broken, self._epoch = False, 0
        self._retry_at_s, self._retry_s = 0.0, RETRY_FIRST_S
        self._commit_s = -1e9
        self._space: Space | None = None
        self._space_used_bytes = 0              # by us, when `_space` was looked at
        # Since the last commit. Not log.dirty_bytes: that is 0 again after each full segment, so that a reader in
        # catch-up put 60 MB into a buffer of 8 MiB between two commits.
        self._base_bytes, self._appended_bytes = self.log.used_bytes, 0
        self._usage = Usage()

    @property
    def unwritten(self) -> bool:
        """Whether positions.json should be on disk now and is not."""
        return self._keeper.urgent

    @property
    def durable(self) -> Positions:
        """What the synced frames say."""
        return self._keeper.durable

    # ------------------------------------------------------------ the step

    def step(self, jobs: Sequence[Job], now_s: float) -> Outcome:
        """Take `jobs`, do what is due. Never raises for the filesystem (B4)."""
        out = Outcome()
        self._take(out, jobs)
        self._go_on(out, now_s)
        if self._commit_due(now_s):
            self._commit(out, now_s)
        self._limits(out)
        return out

    def _go_on(self, out: Outcome, now_s: float) -> None:
        if self._broken and now_s >= self._retry_at_s:
            self._mend(now_s)
        if self._queue and not self._broken and now_s >= self._retry_at_s:
            self._append(out, now_s)

    def _take(self, out: Outcome, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.damaged:
                self._set_aside(out, job.damaged)
            if job.epoch == self._epoch:
                self._queue.append(job)
                if job.frame is not None:
                    self._frames.append(job.frame)
            elif job.lost:
                self._keeper.take_lost(job)
                out.lost_ranges += job.lost

    def wait_s(self, now_s: float) -> float | None:
        """How long the thread may sleep when no job comes; None: for ever."""
        if self._broken or self._degraded or self._queue:
            return max(0.01, min(self._interval_s, self._retry_at_s - now_s if self._queue or self._broken else 1e9))
        if self._pending or self.log.dirty_bytes or self.cursors.waiting() or self._keeper.urgent:
            return max(0.01, self._commit_s + self._interval_s - now_s)
        wait_s = self._keeper.wait_s(now_s)
        return None if wait_s is None else max(0.01, wait_s)

    def close(self, now_s: float) -> Outcome:
        """The last step: everything written, synced, and the positions and cursors on disk."""
        out = Outcome()
        for _ in range(CLOSE_TRIES):
            self._retry_at_s = now_s  # no time to wait for a disk that may have recovered
            self._go_on(out, now_s)
            if not self._queue:
                break
        self._end_segment(out, now_s)
        self._keeper.urgent = self._keeper.changed
        self._commit(out, now_s)
        self._commit(out, now_s)  # the first one made the cursors and positions durable that the unlink needs
        self._limits(out)
        return out

    def _end_segment(self, out: Outcome, now_s: float) -> None:
        """So that the segment can be unlinked."""
        if self._broken:
            return
        try:
            self.log.close_segment()
        except OSError as error:
            self._lose(out, error, now_s)
            return
        self._apply_pending(self.log.synced_seq)

    # ------------------------------------------------------------ append

    def _append(self, out: Outcome, now_s: float) -> None:
        try:
            self.log.append(self._frames, out.written)
        except OSError as error:
            out.counts.append(("shipper_buffer_errors_total", 1, ("write",)))
            if error.errno not in NO_ROOM:
                self._lose(out, error, now_s)
                return
            self._back_off(now_s)
            self._degraded[DISK_FULL] = f"{self._directory}: {error.strerror}; frames wait until there is room"
        else:
            self._degraded.pop(DISK_FULL, None)
        self._settle()
        stored_bytes = sum(frame.stored_bytes for frame in out.written)
        self._appended_bytes += stored_bytes
        out.counts.append(("shipper_buffer_frames_total", len(out.written), ()))
        out.counts.append(("shipper_buffer_appended_bytes_total", stored_bytes, ()))

    def _settle(self) -> None:
        """Move the jobs that are in the page cache to those that wait for the sync."""
        appended = self.log.appended_seq
        while self._queue:
            frame = self._queue[0].frame
            if frame is not None and frame.seq > appended:
                break
            self._pending.append((appended if frame is None else frame.seq, self._queue.popleft()))

    def _lose(self, out: Outcome, error: OSError, now_s: float) -> None:
        """B2: back to the durable positions. What damage reports said stays said."""
        synced = self.log.synced_seq
        self._settle()
        self._apply_pending(synced)
        for job in [*(job for _, job in self._pending), *self._queue]:
            if job.frame is None and job.lost:
                self._keeper.take_lost(job)
        self._pending.clear()
        self._queue.clear()
        self._frames.clear()
        self._epoch += 1
        out.written = [frame for frame in out.written if frame.seq <= synced]
        out.lost = self.durable.copy(), f"{error.strerror or error}"
        reason = DISK_FULL if error.errno in NO_ROOM else BUFFER_ERROR
        self._degraded[reason] = f"{self._directory}: {error.strerror or error}; tried again until it works"
        self._broken, self._retry_at_s = True, now_s
        self._mend(now_s)

    def _mend(self, now_s: float) -> None:
        try:
            self.log.abandon()
        except OSError as error:
            self._degraded[BUFFER_ERROR] = f"{self._directory}: cannot cut the failed segment: {error.strerror or error}"
            self._back_off(now_s)
            return
        self._broken = False
        self._back_off(now_s)  # the first try of new frames waits too: the disk has just failed

    def _back_off(self, now_s: float) -> None:
        self._retry_at_s = now_s + self._retry_s
        self._retry_s = min(RETRY_MAX_S, self._retry_s * 2)

    def _worked(self, *reasons: str) -> None:
        for reason in reasons:
            self._degraded.pop(reason, None)
        self._retry_s, self._retry_at_s = RETRY_FIRST_S, 0.0

    # ------------------------------------------------------------ group commit

    def _commit_due(self, now_s: float) -> bool:
        return self.log.dirty_bytes >= SYNC_BYTES or now_s - self._commit_s >= self._interval_s

    def _commit(self, out: Outcome, now_s: float) -> None:
        self._commit_s = now_s
        if not self._broken:
            self._sync(out, now_s)
        self._keeper.write(out, self.log, now_s)
        self._make_room(out, now_s)
        self._base_bytes, self._appended_bytes = self.log.used_bytes, 0
        self._look_at_space(out)

    def _sync(self, out: Outcome, now_s: float) -> None:
        dirty = self.log.dirty_bytes
        try:
            self.log.sync()
        except OSError as error:
            out.counts.append(("shipper_buffer_errors_total", 1, ("sync",)))
            self._lose(out, error, now_s)
            return
        if dirty:
            out.counts.append(("shipper_buffer_syncs_total", 1, ()))
        if not self._queue:
            self._worked(BUFFER_ERROR, DISK_FULL)
        self._apply_pending(self.log.synced_seq)

    def _apply_pending(self, synced: int) -> None:
        while self._pending and self._pending[0][0] <= synced:
            self._keeper.take(self._pending.popleft()[1])

    def _make_room(self, out: Outcome, now_s: float) -> None:
        self._keeper.drop_removed(out, self.log)
        held = self._keeper.held_seq()
        if held is not None and BUFFER_FULL in self._degraded and not self._broken and self.log.covered(held):
            self._end_segment(out, now_s)  # the segment that is being written holds nothing that anybody needs
        self._keeper.unlink(out, self.log)

    # ------------------------------------------------------------ limits

    def _look_at_space(self, out: Outcome) -> None:
        # Our use first: what is written meanwhile makes the limit lower, not higher.
        self._space_used_bytes = self._count_used(out).total
        try:
            self._space = self._files.space(self._directory)
            if self._keeper.small.restore_ballast(self._space):
                self._space = self._files.space(self._directory)  # without the ballast that was just made
        except OSError:
            self._space = None  # then max_size alone limits

    def _limits(self, out: Outcome) -> None:
        self._usage = self._count_used(out)
        used = self._usage.total
        # The free bytes are as old as the last commit, and so must be the use that they are added to: else the limit
        # rises with what is appended, and a reader in catch-up takes the last byte of the disk.
        allowed = limit_bytes(self.max_size, self._space_used_bytes, self._space)
        if is_full(BUFFER_FULL in self._degraded, used, allowed, self.max_size):
            what = "max_size" if allowed == self.max_size else "90 % of the filesystem"
            self._degraded[BUFFER_FULL] = f"{self._directory}: {used} of {allowed} bytes used ({what}); reading waits"
        else:
            self._degraded.pop(BUFFER_FULL, None)
        out.usage, out.limit_bytes = self._usage, allowed
        out.degraded, out.synced_seq = dict(self._degraded), self.log.synced_seq

    def _count_used(self, out: Outcome) -> Usage:
        return Usage(self._base_bytes + self._appended_bytes, self._quarantine.bytes, self._count_others(out))

    def _count_others(self, out: Outcome) -> int:
        try:
            self._others_bytes = self.others()
        except OSError as error:  # as many as last time, then: a directory that cannot be listed must not stop the writer
            out.notes.append(("warning", "spools_not_counted", self._directory, {"why": str(error.strerror or error)}))
        return self._others_bytes

    def _set_aside(self, out: Outcome, damaged: Sequence[Damaged]) -> None:
        for path, bad in ((d.path, d.bad) for d in damaged):
            try:
                data = self._files.read(path, bad.start, bad.end - bad.start)
            except OSError as error:
                out.notes.append(("warning", "not_quarantined", path, {"why": str(error.strerror or error)}))
                continue
            kept = self._quarantine.keep(os.path.basename(path), bad.start, data)
            if kept != KEPT:
                out.notes.append(("warning", "not_quarantined", path, {"why": kept}))
