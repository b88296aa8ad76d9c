"""One container's (or host file's) log as one ordered stream, whatever files hold it. Driver: opens, looks, decides by plan.py.

    files   [oldest … live]   read from the front; a file is done when it was read to its end and a successor is there,
                              or when it is deleted
    done    read to their end, still in the directory: a late write to one brings it back to the front

Invariants:
  W1  files are read one after the other; what is open at the end of one goes on in the next (P4)
  W2  a descriptor with unread bytes is never closed, but for the limit of held deleted bytes (P7)
  W3  a file is looked at by its inode, never by its name alone: names move
"""
from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from ..errors import GapReason
from ..model import FileRef, Gap, Open, Piece, Section, Source
from . import plan as planning
from .cutter import Cutter, LineDecoder
from .file import Changed, TailFile
from .identity import HEAD_BYTES, digest, file_key, first_line
from .plan import Begin, Continue, FoundFile, KnownFile
from .ports import Directory, Formats, KnownPositions, Refused, Seen, Settings

MOST_SALTED = 64


class Mark(NamedTuple):
    """See Lineage.mark."""

    file: TailFile
    offset: int
    guard: bytes | None
    scanned: int
    rest_bytes: int
    state: tuple[Open, ...]


class Looks(NamedTuple):
    """Of a file that is not to be read, as far as it could be opened: a rename changes none of it."""

    live: bool
    compressed: bool
    size: int | None
    mtime_ns: int | None


class Lineage:
    """State of one stream. The Reader drives it; nothing here waits."""

    __slots__ = (
        "armed", "claim", "cutter", "decoder", "directory", "done", "eof_ticks", "files", "ignored", "ignored_keys", "last_ns",
        "look_due", "next_source", "opener", "outbox", "passed_over", "salted", "settings", "settings_due", "source",
        "truncations", "vanished", "wait_until_s",
    )

    def __init__(
        self, source: Source, settings: Settings, decoder: LineDecoder, directory: Directory,
        claim: Callable[[str], bool] = lambda key: True,
    ) -> None:
        """`claim(key)`: True where no other file has this key; it is this lineage's from then on."""
        self.source, self.settings, self.decoder, self.directory = source, settings, decoder, directory
        self.claim = claim
        self.cutter = Cutter(decoder, self.reread)
        self.files: list[TailFile] = []
        self.done: list[TailFile] = []
        self.ignored: dict[tuple[int, int], Looks] = {}
        self.ignored_keys: dict[tuple[int, int], str] = {}
        self.outbox: list[Section] = []
        self.salted: dict[str, str] = {}
        self.last_ns = 0
        self.eof_ticks = self.truncations = 0
        self.armed: TailFile | None = None               # of whose next write the kernel tells
        self.vanished = False
        self.look_due = True
        self.passed_over = self.settings_due = False
        self.next_source: Source | None = None           # more is known of it: from the next read on
        self.wait_until_s = 0.0                          # not read before then: a rule asks for what is not known yet

    def rename(self, source: Source) -> None:
        """More is known of this lineage (labels). Keys and positions stay: each file is defined anew with the same key. What
        waits in the outbox was given to nobody yet, and must not stand in one frame with two definitions."""
        self.source, self.next_source = source, None
        for file in [*self.files, *self.done]:
            if file.ref is not None:
                file.ref = replace(file.ref, source=source)
        for section in self.outbox:
            section.file = replace(section.file, source=source)
            if section.batch is not None:
                section.batch.source = source

    def renew(self, decoder: LineDecoder, now_s: float) -> None:
        """Other settings: a fresh decoder goes on where the old one stands, between two reads."""
        state, form = self.decoder.state(), self.decoder.form
        self.decoder.restore((), now_s)                  # gives back what its open records hold of the budget
        self.decoder = self.cutter.decoder = decoder
        decoder.restore(state, now_s)
        decoder.form = form
        self.settings_due = False

    # -------------------------------------------------------- looking

    def look(
        self, positions: KnownPositions, *, skip_old: bool, formats: Formats, now_ns: int = 0,
    ) -> list[tuple[str, str]]:
        """Compare the directory with what is known: renamed, new, gone. Returns refusals as (reason, message).

        `skip_old`: the source is new and says start_at: end; what is in its files now is passed over.
        """
        self.look_due = False
        self.cutter.read_ns = now_ns                     # what ends here ends now
        refusals: list[tuple[str, str]] = []
        seen = self.directory.siblings(self.source)
        by_node = {(s.device, s.inode): s for s in seen}
        tracked = {f.node_id: f for f in [*self.files, *self.done]}
        for node_id, file in list(tracked.items()):
            if file not in self.files and file not in self.done:
                continue                                 # an empty one: another stands for it since
            entry = by_node.get(node_id)
            if entry is not None and self._is_cut(file, entry.size):
                del tracked[node_id]
                tracked.update((f.node_id, f) for f in self.replaced(file, now_ns))
                continue
            if entry is not None and file.handle is None and self._looks_other(file, entry) and not self._is_still(file, entry):
                if tracked.get(node_id) is file:
                    del tracked[node_id]                 # its inode was freed and came again with other content
                entry = None
            self._moved(file, entry)
        new = [
            s for s in seen
            if (s.device, s.inode) not in tracked and not self._is_ignored(s)
        ]
        if new or not tracked:
            self._take_in(new, tracked, positions, skip_old, formats, refusals, now_ns)
        for file in [f for f in self.done if f.deleted_since_s == 0.0]:
            file.close()
            self.done.remove(file)
        self.ignored = {n: looks for n, looks in self.ignored.items() if (s := by_node.get(n)) and self._is_ignored(s)}
        self.ignored_keys = {node_id: key for node_id, key in self.ignored_keys.items() if node_id in self.ignored}
        return refusals

    def _is_cut(self, file: TailFile, size_bytes: int) -> bool:
        """Seen now, not at its next read, its rest goes on in front of whatever else is new (W1). `size_bytes` is older than
        this check: where the content is still the one that was read, so much of it there was."""
        if file.handle is None or file.compressed or file not in self.files:
            return False
        try:
            file.check()
        except Changed:
            return True
        file.proven_bytes = max(file.proven_bytes, size_bytes)
        return False

    def _looks_other(self, file: TailFile, seen: Seen) -> bool:
        """Renamed; or, where it was read to its end, of another size: a late write, or the next file of this name and inode."""
        return seen.path != file.path or (file in self.done and not file.compressed and seen.size != file.offset)

    def _is_still(self, file: TailFile, seen: Seen) -> bool:
        """Is the entry the closed file that had this inode? By head and guard; ext4 hands an inode out again
        within four rotations."""
        if file.ref is None:
            return False
        try:
            file.attach(self.directory.open(seen.path, self.settings))
        except Refused:
            return True                                  # nothing is known yet; the next read checks the guard
        head = file.head()
        guard = digest(file.guard) if file.guard is not None else file.guard_hash
        same = digest(head[: file.ref.head_bytes]) == file.ref.head_hash and file.guard_at(file.offset) == guard
        file.close()
        return same

    def _moved(self, file: TailFile, seen: Seen | None) -> None:
        if seen is None:
            file.live = False                            # deleted, or moved to where no sibling is looked for
            if file.deleted_since_s is None and (file.handle is None or file.unlinked):
                file.deleted_since_s = 0.0               # the reader sets the time when it gets there
            return
        file.path, file.live = seen.path, seen.live
        if not file.compressed:
            file.size = max(seen.size, file.offset)
        if file in self.done and seen.size > file.offset and not file.compressed:
            self.done.remove(file)                       # a late write to a file that we took for finished
            self.files.insert(0, file)

    def _take_in(
        self, new: list[Seen], tracked: dict[tuple[int, int], TailFile], positions: KnownPositions, skip_old: bool,
        formats: Formats, refusals: list[tuple[str, str]], now_ns: int,
    ) -> None:
        for file in list(tracked.values()):
            if file in self.files and self.told_apart(file, now_ns):
                continue
            if file.ref is None and file.handle is not None and not file.passes_over:
                self.define(file, formats)               # else its .gz would be another file
        opened = self._open_all(new, refusals)
        open_keys = {f.ref.key for f in tracked.values() if f.ref is not None}
        known = [self._known(f) for f in tracked.values() if f.ref is not None]
        known += [
            KnownFile(k, p.file.device, p.file.inode, p.file.head_bytes, p.file.head_hash, p.offset, p.guard, p.size,
                      p.last_ns, p.closed)
            for k in positions.keys_of(self.source.lineage) if k not in open_keys and (p := positions.files.get(k))
        ]
        by_node = {file.node_id: file for file, _ in opened}
        try:
            if len(opened) == 1 and not known and self._begin_alone(*opened[0], skip_old, formats):
                return
            found = [self._found(file, seen, formats) for file, seen in opened]
            start_at = "end" if skip_old or self.settings.start_at == "end" else "beginning"
            verdict = planning.plan(known, found, start_at=start_at, open_keys=frozenset(open_keys))
            for copy in verdict.copies:
                self.ignore(by_node[copy.device, copy.inode], verdict.copy_of[copy.device, copy.inode])
            first_found_ns = next((v.found.first_ns for v in verdict.files if isinstance(v, Begin)), 0)
            # A file that could not be opened now may be the one: nothing is called lost before it was looked at.
            if not refusals and not self.look_due:
                for lost in verdict.lost:
                    if lost.key not in open_keys:
                        self._report_lost(positions.files[lost.key].file, lost, first_found_ns)
            self._queue(verdict.files, by_node, positions, skip_old, formats)
        finally:                                         # also where a disk answers EIO to a look: each try would keep one
            kept = {f.node_id for f in [*self.files, *self.done]}
            for node_id, file in by_node.items():
                if node_id not in kept:
                    file.close()

    def _begin_alone(self, file: TailFile, seen: Seen, skip_old: bool, formats: Formats) -> bool:
        """One live file, and nothing is known of its lineage: what the plan would say. False: this is not so simple."""
        if not seen.live or seen.compressed or skip_old or self.files or self.done:
            return False
        self.define(file, formats, head=file.head())
        self.files.append(file)
        return True

    def _open_all(self, new: list[Seen], refusals: list[tuple[str, str]]) -> list[tuple[TailFile, Seen]]:
        opened = []
        for seen in new:
            file = TailFile(seen.path, seen.device, seen.inode, live=seen.live, compressed=seen.compressed)
            try:
                fd = self.directory.open(seen.path, self.settings)
            except Refused as refused:
                if refused.reason != "vanished":
                    refusals.append((refused.reason, str(refused)))
                if refused.again or refused.reason == "vanished":    # gone, or under its next name by now
                    self.look_due = True
                else:
                    self.ignore(file)
                continue
            stat = os.fstat(fd)
            if (stat.st_dev, stat.st_ino) != (seen.device, seen.inode):
                os.close(fd)                             # renamed between listing and open: look again
                self.look_due = True
                continue
            file.attach(fd)
            file.size = 0 if seen.compressed else stat.st_size
            opened.append((file, seen))
        return opened

    def _found(self, file: TailFile, seen: Seen, formats: Formats) -> FoundFile:
        head = file.head()
        line = first_line(head)
        if line is not None:
            file.form = self._form(line, formats)
        return FoundFile(
            seen.path, seen.device, seen.inode, seen.live, seen.compressed, seen.order, head,
            formats.first_ns(line or b"", file.form), file.guard_at, file.length_bytes() if file.compressed else file.size,
            lambda: file.damaged,
        )

    def _form(self, line: bytes, formats: Formats) -> str:
        if self.settings.form != "auto":
            return "raw" if self.settings.form == "plain" else self.settings.form
        # Among container logs a line that is neither is a damaged CRI line, not a third format.
        form = formats.sniff(line)
        return form if form != "raw" or self.settings.host_file else "cri"

    @staticmethod
    def _known(file: TailFile) -> KnownFile:
        ref = file.ref
        assert ref is not None
        offset, guard = file.evidence
        return KnownFile(ref.key, file.device, file.inode, ref.head_bytes, ref.head_hash, offset, guard, file.size, 0, True)

    def _queue(
        self, verdicts: list[Continue | Begin], by_node: dict[tuple[int, int], TailFile], positions: KnownPositions,
        skip_old: bool, formats: Formats,
    ) -> None:
        queued: list[TailFile] = []
        alive = [f for f in by_node.values() if f.live]
        for verdict in verdicts:
            file = by_node[verdict.found.device, verdict.found.inode]
            if isinstance(verdict, Continue):
                position = positions.files[verdict.key]
                ref = position.file                      # its source may have had another name in the last config
                ref = FileRef(ref.key, self.source, file.path, file.device, file.inode, ref.head_bytes, ref.head_hash)
                file.resume(ref, position.offset, position.guard)
                file.proven_bytes = max(position.size, position.offset)
                if position.closed and not file.live and (file.compressed or file.size <= file.offset):
                    file.close()
                    self.done.append(file)
                    continue
            elif self.is_copy(file, alive):
                self.ignore(file)
                continue
            elif skip_old and file.live and file.size:
                file.old_bytes = file.size
            else:
                # Now: renamed or compressed before its first read it is known.
                self.define(file, formats, head=verdict.found.head)
            queued.append(file)
        old = [f for f in self.files if not f.live]
        live = [f for f in self.files if f.live]
        self.files = [*old, *(f for f in queued if not f.live), *live, *(f for f in queued if f.live)]

    def ignore(self, file: TailFile, key: str = "") -> None:
        """Never to be read. By its looks now, too: an inode that is freed comes again, as a live file or another .gz.

        `key`: of the file whose content it has; as long as it is there, that file's position must be kept.
        """
        stat = os.fstat(file.fd) if file.handle is not None else None
        self.ignored[file.node_id] = Looks(file.live, file.compressed, stat and stat.st_size, stat and stat.st_mtime_ns)
        key = key or (file.ref.key if file.ref is not None else "")
        if key:
            self.ignored_keys[file.node_id] = key

    def _is_ignored(self, seen: Seen) -> bool:
        looks = self.ignored.get((seen.device, seen.inode))
        if looks is None or (looks.live, looks.compressed) != (seen.live, seen.compressed):
            return False
        return looks.size in (None, seen.size) and looks.mtime_ns in (None, seen.mtime_ns)

    def told_apart(self, file: TailFile, now_ns: int) -> bool:
        """Before a rotated file gets its key: is it what a live one has, or had until it was cut? Then it is no file of its
        own, `files` is another list, and this is True."""
        if file.ref is not None or file.live:
            return False
        for other in self.files:
            if other.live and self._is_cut(other, 0):
                self.replaced(other, now_ns)
                return True
        if self.is_copy(file):
            self.files.remove(file)
            self.ignore(file)
            file.close()
            return True
        return False

    def _is_being_copied(self, file: TailFile, head: bytes) -> bool:
        """Asked once more when its head is there: it may have been empty, or cut for the second half of its content, when
        `told_apart` looked. Then it has no key yet, and the next read looks again."""
        if file.live or file.compressed or file.handle is None:
            return False
        cut = any(other.live and self._is_cut(other, 0) for other in self.files)
        return cut or os.fstat(file.fd).st_size < len(head) or self.is_copy(file)

    def is_copy(self, file: TailFile, others: Iterable[TailFile] = ()) -> bool:
        """copytruncate before the truncation: a rotated name whose content, as far as it is there, a live file has as well.
        What is missing in it when its original is cut is found by `replaced`."""
        if file.ref is not None or file.live or file.compressed or file.handle is None:
            return False
        seen = os.fstat(file.fd)
        return seen.st_size > 0 and any(self._has(other, file, seen) for other in [*self.files, *others] if other.live)

    def _has(self, other: TailFile, file: TailFile, seen: os.stat_result) -> bool:
        if other.handle is None:                         # quiet for long
            if other.ref is None or (again := self._open_again(other)) is None:
                return False
            try:
                return self._has(again, file, seen)
            finally:
                again.close()
        head = file.head()
        if other.pread(len(head), 0) != head:
            return False
        if seen.st_size <= HEAD_BYTES and self.settings.host_file and seen.st_mtime_ns < os.fstat(other.fd).st_mtime_ns:
            return False                                 # two short files that begin alike: a program without timestamps
        return other.guard_at(seen.st_size) == file.guard_at(seen.st_size)

    def _report_lost(self, ref: FileRef, lost: KnownFile, next_ns: int) -> None:
        gap = Gap(lost.offset, -1, GapReason.ROTATED_AWAY, max(0, lost.size - lost.offset), lost.last_ns, next_ns)
        ref = FileRef(ref.key, self.source, ref.path, ref.device, ref.inode, ref.head_bytes, ref.head_hash)
        self.outbox.append(self.closing(ref, lost.offset, lost.guard, gap, lost.size))

    def closing_again(self, section: Section, positions: KnownPositions) -> Section:
        """`section` closed a file that is gone, and the positions went back since: the same from where they are now. What
        was read in between is gone too."""
        known = positions.files.get(section.file.key)
        at, guard = (known.offset, known.guard) if known is not None else (0, "")
        unread = section.end - at
        gap = section.gaps[0] if section.gaps else None
        if gap is None and unread:
            gap = Gap(at, -1, GapReason.ROTATED_AWAY, 0, self.last_ns, 0)
        if gap is not None:
            gap = gap._replace(start=at, at_least=gap.at_least + unread)
        return self.closing(section.file, at, guard, gap, max(section.size, at))

    def closing(
        self, ref: FileRef, offset: int, guard: str, gap: Gap | None, size: int, *, readable: bool = False
    ) -> Section:
        """The last section of a file that nobody will go on with, at `offset`; a long line that was being skipped ends in it."""
        batch = self.cutter.abandoned(ref.key, readable=readable)
        return Section(
            ref, offset, offset, guard, batch, self.decoder.state(), self.decoder.take_drops(ref.key), gaps=(gap,) if gap else (),
            size=size, closed=True,
        )

    # -------------------------------------------------------- definitions

    def define(
        self, file: TailFile, formats: Formats, *, ending: bool = False, head: bytes | None = None
    ) -> FileRef | None:
        """The file's key and definition; None while its first line is not complete (no frame is written before).

        `ending`: nobody will finish that line; what is there counts. `head`: its first bytes, where they were just read.
        """
        if file.ref is not None:
            return file.ref
        if head is None:
            head = file.head()
        line = first_line(head)
        if line is None and ending and head:
            line = head
        if line is None or (not ending and self._is_being_copied(file, head)):
            return None
        file.form = file.form or self._form(line, formats)
        taken = {f.ref.key for f in [*self.files, *self.done] if f.ref is not None}
        salt = secrets.token_hex(5) if self.settings.host_file else ""
        key = file_key(self.source, line, salt)
        again = 1
        # Another file begins with the same line (F2): of this lineage, or of a copy of the pod's directory.
        while key in taken or key in self.salted or not self.claim(key):
            key = file_key(self.source, line, f"{salt}{again}")
            again += 1
        file.begin(FileRef(key, self.source, file.path, file.device, file.inode, len(head), digest(head)), head)
        return file.ref

    def form_of(self, file: TailFile, formats: Formats) -> str:
        """The format of a file, also of one that was resumed: its definition says which file, not how it is written."""
        if not file.form and file.handle is not None:
            file.form = self._form(first_line(file.head()) or b"", formats)
        return file.form or self._form(b"", formats)

    def begin_read(self, file: TailFile, now_s: float, read_ns: int) -> None:
        """Before each read of `file`: the decoder and the cutter know where they are."""
        self.cutter.now_s, self.cutter.read_ns = now_s, read_ns
        if file.form and self.decoder.form != file.form:
            self.decoder.form = file.form

    def mark(self) -> Mark | None:
        """Where the front file and the decoder stand, for `back_to`."""
        if not self.files:
            return None
        file = self.files[0]
        return Mark(file, file.offset, file.guard, file.scanned, file.rest_bytes, self.decoder.state())

    def back_to(self, mark: Mark | None, now_s: float) -> str:
        """A read failed half-way: what it had cut already was given to nobody. Returns the file's path."""
        if mark is None:
            return self.source.lineage
        file = mark.file
        if file.offset != mark.offset:
            file.offset, file.guard, file.scanned, file.rest_bytes = mark.offset, mark.guard, mark.scanned, mark.rest_bytes
            self.decoder.restore(mark.state, now_s)
        return file.path

    def at_rest(self) -> bool:
        """Read to the end, as far as its size says: a sweep need not read it (a tenth of what that costs)."""
        if len(self.files) != 1 or self.outbox or self.vanished:
            return False
        file = self.files[0]
        return (file.ended and not file.compressed and file.handle is not None and file.deleted_since_s is None
                and os.fstat(file.fd).st_size == file.offset + file.rest_bytes)

    def take_outbox(self) -> list[Section]:
        """Sections that were made beside a read: losses, closings."""
        sections, self.outbox = self.outbox, []
        return sections

    def place_of(self, key: str, positions: KnownPositions) -> tuple[FileRef, int, str, int] | None:
        """(definition, offset, guard, size) of one of its files, where it stands now: sections may be on their way."""
        file = self.file_of(key)
        if file is not None and file.ref is not None:
            guard = digest(file.guard) if file.guard is not None else file.guard_hash
            return file.ref, file.offset, guard, max(file.size, file.offset)
        known = positions.files.get(key)
        return None if known is None else (known.file, known.offset, known.guard, max(known.size, known.offset))

    def rewind(self, positions: KnownPositions, now_s: float) -> None:
        """Every file back to where the positions are, and what was open with them."""
        waiting, self.outbox = self.outbox, []
        for file in [*reversed(self.done), *self.files]:
            if file.ref is None:
                continue
            known = positions.files.get(file.ref.key)
            at, guard = (known.offset, known.guard) if known is not None else (0, "")
            if known is None and file.passed is not None:
                at, guard = file.passed.end, file.passed.guard
                self.outbox.append(file.passed)
            if file.offset != at:
                file.resume(file.ref, at, guard)
                if file in self.done:
                    self.done.remove(file)
                    self.files.insert(0, file)
        state = positions.lineages.get(self.source.lineage)
        self.decoder.restore(state.state if state is not None else (), now_s)
        gone = [s for s in waiting if s.closed and self.file_of(s.file.key) is None]
        self.outbox += [self.closing_again(section, positions) for section in gone]

    def finish(self, file: TailFile, formats: Formats) -> list[Section]:
        """The closing sections of a file that nobody will go on with; its unfinished last line becomes a record."""
        rest = file.pread(file.rest_bytes, file.offset) if file.rest_bytes else b""
        ref = file.ref or (self.define(file, formats, ending=True) if rest else None)
        if ref is None:
            return []
        self.decoder.form = file.form or self.decoder.form
        sections = self.cutter.finish(file, ref, rest)
        if file.damaged:
            sections[-1].gaps = (Gap(file.offset, -1, GapReason.GZIP_DAMAGED, 0, self.last_ns, 0),)
        return sections

    def gone(self, file: TailFile) -> None:
        """It was closed, and has no name any more. It goes on in the file that has its content (compressed meanwhile), or is
        lost."""
        found = self._copy_of(file) if file.ref is not None else None
        if found is None:
            self.lose(file)
            return
        self.files[self.files.index(file)] = found
        found.size = max(found.size, file.size)

    def lose(self, file: TailFile) -> None:
        """It is gone while it was closed. What is known to have stood behind the offset is reported."""
        self.files.remove(file)
        if file.ref is None:
            return
        lost = max(0, file.size - file.offset)
        sections = self.cutter.finish(file, file.ref, b"")
        if lost:
            sections[-1].gaps = (Gap(file.offset, -1, GapReason.ROTATED_AWAY, lost, self.last_ns, 0),)
        self.outbox += sections

    # -------------------------------------------------------- a file that is no longer what it was

    def replaced(self, file: TailFile, last_seen_ns: int) -> list[TailFile]:
        """The content under the offset changed: truncated, copied and truncated, or a reused inode.

        What was not read goes on in a copy where there is one, else it is reported; the file itself begins anew. Returns
        what stands in its place.
        """
        self.truncations += 1
        self.cutter.read_ns = last_seen_ns
        fresh = TailFile(file.path, file.device, file.inode, live=file.live, compressed=file.compressed)
        successors: list[TailFile] = [fresh]
        if file.ref is not None:
            self.salted[file.ref.key] = file.path
            if len(self.salted) > MOST_SALTED:           # as soon as their last section is in the positions, those know
                del self.salted[next(iter(self.salted))]
            copy = self._copy_of(file)
            if copy is not None:
                successors.insert(0, copy)
            else:
                # Its size now is that of other content. What came behind the last look at it nobody knows: at least 0.
                lost = max(0, file.proven_bytes - file.offset)
                gap = Gap(file.offset, -1, GapReason.TRUNCATED, lost, self.last_ns, last_seen_ns)
                guard = digest(file.guard) if file.guard is not None else file.guard_hash
                self.outbox.append(
                    self.closing(file.ref, file.offset, guard, gap, max(file.proven_bytes, file.offset)))
        handle, file.handle = file.handle, None
        fresh.handle = handle
        at = self.files.index(file)
        self.files[at : at + 1] = successors
        self.look_due = True
        return successors

    def _copy_of(self, file: TailFile) -> TailFile | None:
        """Where its content goes on: in a file that was taken in while it was empty (and may be unlinked by now), or beside."""
        begun = [f for f in [*self.files, *self.done] if f.ref is None and f.handle is not None and not f.live]
        for copy in begun:
            if copy is not file and self._goes_on(file, copy):
                (self.files if copy in self.files else self.done).remove(copy)
                return copy
        for seen in self.directory.siblings(self.source):
            if (seen.device, seen.inode) == file.node_id:
                continue
            copy = TailFile(seen.path, seen.device, seen.inode, live=False, compressed=seen.compressed)
            try:
                copy.attach(self.directory.open(seen.path, self.settings))
            except Refused:
                continue                                 # counted when it was looked at
            if self._goes_on(file, copy):
                self.ignored.pop(copy.node_id, None)
                for files in (self.files, self.done):    # taken in while it was empty, and closed since
                    files[:] = [f for f in files if f.node_id != copy.node_id or f.ref is not None]
                return copy
            copy.close()
        return None

    def _goes_on(self, file: TailFile, copy: TailFile) -> bool:
        """Does `copy` hold what `file` held? Then it takes over its key and offset."""
        ref = file.ref
        assert ref is not None
        if not self._holds(file, copy):
            return False
        moved = FileRef(ref.key, self.source, copy.path, copy.device, copy.inode, ref.head_bytes, ref.head_hash)
        copy.resume(moved, file.offset, digest(file.guard) if file.guard is not None else file.guard_hash)
        copy.form, copy.begun = file.form, file.begun
        return True

    @staticmethod
    def _holds(file: TailFile, copy: TailFile) -> bool:
        """Does `copy` begin as `file` did, and has it what stood in front of the offset?"""
        ref = file.ref
        assert ref is not None
        offset, guard = file.evidence
        head = copy.head()
        same_head = len(head) >= ref.head_bytes and digest(head[: ref.head_bytes]) == ref.head_hash
        return same_head and copy.guard_at(offset) == guard

    # -------------------------------------------------------- reading again

    def reread(self, piece: Piece) -> bytes:
        """Source bytes that were read before, b"" where their file is gone or its disk does not give them."""
        try:
            return self._reread(piece)
        except OSError:                                  # what is missing is counted in the record's mark (decode)
            return b""

    def _reread(self, piece: Piece) -> bytes:
        file = self.file_of(piece.key)
        if file is None:
            return b""
        if file.handle is not None:
            return file.pread(piece.length, piece.start)
        again = self._open_again(file)
        if again is None:
            return b""
        try:
            return again.pread(piece.length, piece.start)
        finally:
            again.close()

    def _open_again(self, file: TailFile) -> TailFile | None:
        """A closed file by its name, or, where that is gone or another file's since the last look, by its content."""
        places = [(file.path, file.compressed)]
        places += [(seen.path, seen.compressed) for seen in self.directory.siblings(self.source)]
        for path, compressed in places:
            again = TailFile(path, file.device, file.inode, live=False, compressed=compressed)
            try:
                again.attach(self.directory.open(path, self.settings))
            except Refused:
                continue
            if self._holds(file, again):
                return again
            again.close()
        return None

    def file_keys(self) -> list[str]:
        """Of every file that is there, also of those that are never to be read again."""
        return [*(f.ref.key for f in [*self.files, *self.done] if f.ref is not None), *self.ignored_keys.values()]

    def file_of(self, key: str) -> TailFile | None:
        """The file with this key, as long as the lineage knows it."""
        return next((f for f in [*self.files, *self.done] if f.ref is not None and f.ref.key == key), None)

