"""One container's (or host file's) log as one ordered stream, whatever files hold it: its files, and how they go on or end.
Driver; looking.py looks for its files, copies.py for their content, definition.py says which is which, losses.py what is gone.

    files   [oldest … live]   read from the front; a file is done when it was read to its end and a successor is there,
                              or when it is deleted
    done    read to their end, still in the directory: a late write to one brings it back to the front

Invariants:
  W1  files are read one after the other; what is open at the end of one goes on in the next (P4)
  W2  a descriptor with unread bytes is never closed, but for the limit of held deleted bytes (P7)
  W3  a file is looked at by its inode, never by its name alone: names move
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ..errors import GapReason
from ..model import FileRef, Gap, Open, Piece, Section, Source
from ..telemetry import Telemetry
from . import copies
from .cutter import Cutter, LineDecoder
from .definition import define
from .file import Changed, TailFile
from .ignored import Ignored
from .looking import Look
from .losses import closing_again, lose_end
from .ports import Directory, Formats, FormerNames, KnownPositions, Settings
from .zeros import pass_over_zeros

MOST_SALTED = 64


class Mark(NamedTuple):
    """See Lineage.mark."""

    file: TailFile
    offset: int
    guard: bytes | None
    scanned: int
    rest_bytes: int
    state: tuple[Open, ...]


class Lineage:
    """State of one stream. The Reader drives it; nothing here waits."""

    __slots__ = (
        "armed", "claim", "cutter", "decoder", "directory", "done", "elsewhere", "eof_ticks", "files", "ignored", "last_ns",
        "look_due", "lost_due", "next_source", "outbox", "passed_over", "salted", "settings", "settings_due", "source",
        "torn", "truncations", "vanished", "wait_until_s",
    )

    def __init__(
        self, source: Source, settings: Settings, decoder: LineDecoder, directory: Directory,
        claim: Callable[[str], bool] = lambda key: True, elsewhere: FormerNames | None = None,
    ) -> None:
        """`claim(key)`: True where no other file has this key; it is this lineage's from then on. `elsewhere`: the other ones."""
        self.source, self.settings, self.decoder, self.directory = source, settings, decoder, directory
        self.claim, self.elsewhere = claim, elsewhere
        self.cutter = Cutter(decoder, self.reread)
        self.files: list[TailFile] = []
        self.done: list[TailFile] = []
        self.ignored = Ignored()
        self.outbox: list[Section] = []
        self.salted: dict[str, str] = {}
        self.torn: set[str] = set()                      # keys of files that a power cut took the end of
        self.last_ns = 0
        self.eof_ticks = self.truncations = 0
        self.armed: TailFile | None = None               # of whose next write the kernel tells
        self.vanished = False
        self.look_due = True
        self.lost_due = False                            # another lineage's file was renamed to here: who stood here is untold
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
        return Look(self, positions, skip_old=skip_old, formats=formats, now_ns=now_ns).run()

    def is_cut(self, file: TailFile, size_bytes: int) -> bool:
        """Seen now, not at its next read, its rest goes on in front of whatever else is new (W1). `size_bytes` is older than
        this check: where the content is still the one that was read, so much of it there was."""
        if file.handle is None or file.compressed or file not in self.files:
            return False
        try:
            file.check_all()
        except Changed:
            return True
        file.proven_bytes = max(file.proven_bytes, size_bytes)
        return False

    def told_apart(self, file: TailFile, now_ns: int) -> bool:
        """Before a rotated file gets its key: is it what a live one has, or had until it was cut? Then it is no file of its
        own, `files` is another list, and this is True."""
        if file.ref is not None or file.live:
            return False
        for other in self.files:
            if other.live and self.is_cut(other, 0):
                self.replaced(other, now_ns)
                return True
        if copies.is_copy(self, file):
            self.files.remove(file)
            self.ignored.add(file)
            file.close()
            return True
        return False

    # -------------------------------------------------------- reading

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
                and file.stat_size() == file.offset + file.rest_bytes)

    def tell_truncations(self, telemetry: Telemetry) -> None:
        """Count those since it was last asked."""
        if self.truncations:
            telemetry.count("shipper_rotations_total", self.truncations, "truncated")
            self.truncations = 0

    def take_outbox(self) -> list[Section]:
        """Sections that were made beside a read: losses, closings."""
        sections, self.outbox = self.outbox, []
        return sections

    def place_of(self, key: str, positions: KnownPositions) -> tuple[FileRef, int, str, int] | None:
        """(definition, offset, guard, size) of one of its files, where it stands now: sections may be on their way."""
        file = self.file_of(key)
        if file is not None and file.ref is not None:
            return file.ref, file.offset, file.guard_digest, max(file.size, file.offset)
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
            if known is None:
                self.claim(file.ref.key)                  # it is this file's still (in_flight.B3)
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
        self.outbox += [closing_again(self, section, positions) for section in gone]

    def finish(self, file: TailFile, formats: Formats) -> list[Section]:
        """The closing sections of a file that nobody will go on with; its unfinished last line becomes a record."""
        ref = file.ref or (define(self, file, formats, ending=True) if file.rest_bytes else None)
        if ref is None:
            return []
        self.decoder.form = file.form or self.decoder.form
        passed = [pass_over_zeros(self, file, ref, file.offset + file.rest_bytes)] if file.in_zeros and file.rest_bytes else []
        rest = file.pread(file.rest_bytes, file.offset) if file.rest_bytes else b""
        sections = passed + self.cutter.finish(file, ref, rest)
        if file.damaged:
            sections[-1].gaps = (Gap(file.offset, -1, GapReason.GZIP_DAMAGED, 0, self.last_ns, 0),)
        return sections

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
            copy = copies.copy_of(self, file)
            if copy is not None:
                successors.insert(0, copy)
            else:
                copies.ignore_shorter(self, file)
                lose_end(self, file, file.ref, last_seen_ns)
        handle, file.handle = file.handle, None
        fresh.handle = handle
        at = self.files.index(file)
        self.files[at : at + 1] = successors
        self.look_due = True
        return successors

    # -------------------------------------------------------- reading again

    def reread(self, piece: Piece) -> bytes:
        """Source bytes that were read before, b"" where their file is gone or its disk does not give them."""
        try:
            return self._reread(piece)
        except OSError:                                  # what is missing is counted in the record's mark (decode)
            return b""

    def _reread(self, piece: Piece) -> bytes:
        file = self.file_of(piece.key)
        if file is not None and file.handle is not None:
            return file.pread(piece.length, piece.start)
        again = copies.open_again(self, file) if file is not None else copies.open_ignored(self, piece.key)
        if again is None:
            return b""
        try:
            return again.pread(piece.length, piece.start)
        finally:
            again.close()

    def file_keys(self) -> list[str]:
        """Of every file that is there, also of those that are never to be read again."""
        return [*(f.ref.key for f in [*self.files, *self.done] if f.ref is not None), *self.ignored.keys]

    def file_of(self, key: str) -> TailFile | None:
        """The file with this key, as long as the lineage knows it."""
        return next((f for f in [*self.files, *self.done] if f.ref is not None and f.ref.key == key), None)
