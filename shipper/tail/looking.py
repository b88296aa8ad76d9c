"""One look at a lineage's directory: which file was renamed, which is new, which is gone. Driver of plan.py's verdicts: lists and
opens, waits for nothing.

    siblings ─┬─ known by inode ──► where it is now; cut; other content under its inode
              └─ new ──► opened ──► plan ──► goes on, begins, a copy, lost ──► `files`, in reading order

Invariants:
  X1  an inode says which file it is only while a descriptor is held: else head and guard do (they are given out again)
  X2  nothing is called lost before everything that could be it was looked at
  X3  what a look opened and did not take is closed, also where a disk fails in the middle
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import GapReason, RefusedReason
from ..model import FileRef
from . import plan as planning
from .copies import is_copy, takes_over
from .definition import define, form_by
from .elsewhere import Busy
from .file import TailFile
from .identity import first_line, has_head_of
from .losses import report_lost
from .plan import Begin, Continue, FoundFile, KnownFile
from .ports import Formats, KnownPositions, Refused, Seen
from .zeros import are_zeros

if TYPE_CHECKING:
    from .lineage import Lineage

LAST_LINE_BYTES = 128 * 1024


class Look:
    """See Lineage.look; made for one call of it."""

    def __init__(self, lineage: Lineage, positions: KnownPositions, *, skip_old: bool, formats: Formats, now_ns: int) -> None:
        self._of, self._positions, self._skip_old = lineage, positions, skip_old
        self._formats, self._now_ns = formats, now_ns
        self._refusals: list[tuple[str, str]] = []

    def run(self) -> list[tuple[str, str]]:
        """Refusals as (reason, message)."""
        again, self._of.look_due = self._of.look_due, False
        self._of.cutter.read_ns = self._now_ns                     # what ends here ends now
        seen = self._of.directory.siblings(self._of.source)
        by_node = {(s.device, s.inode): s for s in seen}
        tracked = {f.node_id: f for f in [*self._of.files, *self._of.done]}
        for node_id, file in list(tracked.items()):
            if file not in self._of.files and file not in self._of.done:
                continue                                 # an empty one: another stands for it since
            entry = by_node.get(node_id)
            if entry is not None and self._of.is_cut(file, entry.size):
                del tracked[node_id]
                tracked.update((f.node_id, f) for f in self._of.replaced(file, self._now_ns))
                continue
            if entry is not None and file.handle is None and self._looks_other(file, entry) and not self._is_still(file, entry):
                if tracked.get(node_id) is file:
                    del tracked[node_id]                 # its inode was freed and came again with other content
                entry = None
            self._moved(file, entry)
        new = [
            s for s in seen
            if (s.device, s.inode) not in tracked and not self._of.ignored.has(s)
        ]
        if new or not tracked or again:                  # again: what is lost could not be told
            self._take_in(new, tracked)
        for file in [f for f in self._of.done if f.deleted_since_s == 0.0]:
            file.close()
            self._of.done.remove(file)
        self._of.ignored.keep(by_node)
        if self._of.elsewhere is not None and self._of.settings.host_file:
            self._of.elsewhere.note(self._of)
        return self._refusals

    def _looks_other(self, file: TailFile, seen: Seen) -> bool:
        """Renamed; or, where it was read to its end, of another size: a late write, or the next file of this name and inode."""
        return seen.path != file.path or (file in self._of.done and not file.compressed and seen.size != file.offset)

    def _is_still(self, file: TailFile, seen: Seen) -> bool:
        """Is the entry the closed file that had this inode? By head and guard; ext4 hands an inode out again
        within four rotations."""
        if file.ref is None:
            return False
        try:
            file.attach(self._of.directory.open(seen.path, self._of.settings))
        except Refused:
            return True                                  # nothing is known yet; the next read checks the guard
        same = has_head_of(file.ref, file.head()) and file.guard_at(file.offset) == file.guard_digest
        file.close()
        return same

    def _moved(self, file: TailFile, seen: Seen | None) -> None:
        if seen is None:
            file.live = False                            # deleted, or moved to where no sibling is looked for
            if file.deleted_since_s is None and (file.handle is None or file.unlinked):
                file.deleted_since_s = 0.0               # the reader sets the time when it gets there
            return
        file.path, file.live, file.deleted_since_s = seen.path, seen.live, None      # back, if it was out of sight
        if not file.compressed:
            file.size = max(seen.size, file.offset)
        if file in self._of.done and seen.size > file.offset and not file.compressed:
            self._of.done.remove(file)                   # a late write to a file that we took for finished
            self._of.files.insert(0, file)

    def _take_in(self, new: list[Seen], tracked: dict[tuple[int, int], TailFile]) -> None:
        for file in list(tracked.values()):
            if file in self._of.files and self._of.told_apart(file, self._now_ns):
                continue
            if file.ref is None and file.handle is not None and not file.passes_over:
                define(self._of, file, self._formats)    # else its .gz would be another file
        opened = self._open_all(new)
        open_keys = {f.ref.key for f in tracked.values() if f.ref is not None}
        known = [self._known(f) for f in tracked.values() if f.ref is not None] + self._known_before(open_keys)
        by_node = {file.node_id: file for file, _ in opened}
        try:
            renamed, opened = self._told_by_former_names(opened)
            self._of.lost_due |= bool(renamed)
            if len(opened) == 1 and not known and not renamed and self._begin_alone(*opened[0]):
                return
            found = [self._found(file, seen) for file, seen in opened]
            start_at = "end" if self._skip_old or self._of.settings.start_at == "end" else "beginning"
            verdict = planning.plan(known, found, start_at=start_at, open_keys=frozenset(open_keys))
            for copy in verdict.copies:
                node_id = copy.device, copy.inode
                if not self._replaces(by_node[node_id], verdict.copy_of[node_id]):
                    self._of.ignored.add(by_node[node_id], verdict.copy_of[node_id])
            self._of.torn |= verdict.torn                # this look may leave it to the next one to say so
            first_found_ns = next((v.found.first_ns for v in verdict.files if isinstance(v, Begin)), 0)
            # A file that could not be opened now may be the one: nothing is called lost before it was looked at.
            if not self._refusals and not self._of.look_due:
                for lost in verdict.lost:
                    if lost.key in open_keys or (self._of.lost_due and lost.closed):
                        continue                         # renamed: one stands here that another lineage had; none is missing
                    if self._of.elsewhere is not None and self._of.elsewhere.holds(self._of, lost.key):
                        self._of.look_due = True
                    else:
                        # Where one was renamed to, who stood there was read and was the oldest of a chain (app.4.log).
                        pushed_out = self._of.lost_due and lost.size <= lost.offset
                        report_lost(
                            self._of, self._positions.files[lost.key].file, lost, first_found_ns,
                            torn=pushed_out or lost.key in self._of.torn)
            self._of.lost_due &= self._of.look_due
            self._queue(verdict.files, by_node, renamed)
        finally:                                         # also where a disk answers EIO to a look: each try would keep one
            kept = {f.node_id for f in [*self._of.files, *self._of.done]}
            for node_id, file in by_node.items():
                if node_id not in kept:
                    file.close()

    def _replaces(self, new: TailFile, key: str) -> bool:
        """A new version was renamed over the log with this key (and rotated, perhaps, since): ignored as its copy, what it has
        more would not be read before it is written to."""
        old = self._of.file_of(key)
        if old is None or old.deleted_since_s is None or (new.compressed and new.length_bytes() <= old.stat_size()):
            return False
        if takes_over(self._of, old, new):
            return True
        self._of.look_due |= new.live                    # once the deleted one is read to its end
        return new.live

    def _begin_alone(self, file: TailFile, seen: Seen) -> bool:
        """One live file, and nothing is known of its lineage: what the plan would say. False: this is not so simple."""
        if not seen.live or seen.compressed or self._skip_old or self._of.files or self._of.done:
            return False
        self._define(file, file.head())
        self._of.files.append(file)
        return True

    def _define(self, file: TailFile, head: bytes) -> None:
        file.in_zeros = are_zeros(head)                  # its first read tells whether anything follows
        define(self._of, file, self._formats, head=head)

    def _told_by_former_names(self, opened: list[tuple[TailFile, Seen]]) -> tuple[list[TailFile], list[tuple[TailFile, Seen]]]:
        """Which go on where another lineage had them, and the others. Who has one and is not ready with it: looked at later."""
        renamed: list[TailFile] = []
        others: list[tuple[TailFile, Seen]] = []
        for file, seen in opened:
            try:
                section = self._of.elsewhere.take(self._of, file) if self._of.elsewhere is not None else None
            except Busy:
                self._of.look_due = True
                continue
            if section is None:
                others.append((file, seen))
            else:
                self._of.outbox.append(section)
                renamed.append(file)
        return renamed, others

    def _open_all(self, new: list[Seen]) -> list[tuple[TailFile, Seen]]:
        opened = []
        for seen in new:
            file = TailFile(seen.path, seen.device, seen.inode, live=seen.live, compressed=seen.compressed)
            try:
                fd = self._of.directory.open(seen.path, self._of.settings)
            except Refused as refused:
                if refused.reason != "vanished":
                    self._refusals.append((refused.reason, str(refused)))
                if refused.again or refused.reason == "vanished":    # gone, or under its next name by now
                    self._of.look_due = True
                else:
                    self._of.ignored.add(file, hard_linked=refused.reason == RefusedReason.HARD_LINKED)
                continue
            stat = os.fstat(fd)
            if (stat.st_dev, stat.st_ino) != (seen.device, seen.inode):
                os.close(fd)                             # renamed between listing and open: look again
                self._of.look_due = True
                continue
            file.attach(fd)
            file.size = 0 if seen.compressed else stat.st_size
            opened.append((file, seen))
        return opened

    def _found(self, file: TailFile, seen: Seen) -> FoundFile:
        head = file.head()
        line = first_line(head)
        if line is not None:
            file.form = form_by(self._of.settings, line, self._formats)
        return FoundFile(
            seen.path, seen.device, seen.inode, seen.live, seen.compressed, seen.order, head,
            self._formats.first_ns(line or b"", file.form), file.guard_at, file.length_bytes() if file.compressed else file.size,
            seen.mtime_ns, lambda: file.damaged, lambda: self._last_ns(file),
        )

    def _last_ns(self, file: TailFile) -> int:
        start = max(0, file.size - LAST_LINE_BYTES)
        lines = file.pread(LAST_LINE_BYTES, start).rpartition(b"\n")[0].rpartition(b"\n")
        return self._formats.first_ns(lines[2], file.form) if lines[1] or not start else 0

    def _known_before(self, open_keys: set[str]) -> list[KnownFile]:
        """Files of the positions that nobody has found since the start."""
        keys, files = self._positions.keys_of(self._of.source.lineage), self._positions.files
        return [
            KnownFile(key, p.file.device, p.file.inode, p.file.head_bytes, p.file.head_hash, p.offset, p.guard, p.size,
                      p.last_ns, p.closed)
            for key in keys if key not in open_keys and (p := files.get(key))
        ]

    @staticmethod
    def _known(file: TailFile) -> KnownFile:
        ref = file.ref
        assert ref is not None
        offset, guard = file.evidence
        return KnownFile(ref.key, file.device, file.inode, ref.head_bytes, ref.head_hash, offset, guard, file.size, 0, True)

    def _queue(
        self, verdicts: list[Continue | Begin], by_node: dict[tuple[int, int], TailFile], renamed: list[TailFile]
    ) -> None:
        queued = renamed
        alive = [f for f in by_node.values() if f.live]
        for verdict in verdicts:
            file = by_node[verdict.found.device, verdict.found.inode]
            if isinstance(verdict, Continue):
                position = self._positions.files[verdict.key]
                ref = position.file                      # its source may have had another name in the last config
                ref = FileRef(ref.key, self._of.source, file.path, file.device, file.inode, ref.head_bytes, ref.head_hash)
                file.resume(ref, position.offset, position.guard)
                file.proven_bytes = max(position.size, position.offset)
                if position.closed and not file.live and (file.compressed or file.size <= file.offset):
                    file.close()
                    self._of.done.append(file)
                    continue
            elif is_copy(self._of, file, alive):
                self._of.ignored.add(file)
                continue
            elif self._skip_old and file.live and file.size:
                file.old_bytes = file.size
            elif verdict.read_before and file.size:
                file.old_bytes, file.old_because = file.size, GapReason.READ_BEFORE
            else:
                # Now: renamed or compressed before its first read it is known.
                self._define(file, verdict.found.head)
            queued.append(file)
        old = [f for f in self._of.files if not f.live]
        live = [f for f in self._of.files if f.live]
        self._of.files = [*old, *(f for f in queued if not f.live), *live, *(f for f in queued if f.live)]
