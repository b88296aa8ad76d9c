"""Where a journal source stands: the entry that was read last, the key and offset of the next one, what is gone in between.
Pure but for the nonce of a key: the driver asks the journal, and gives the sections to the buffer.

    take_up    the positions ─┬─ nothing known ─────► no entry was read, the first section begins a key
                              ├─ read with this filter ──► the same key goes on at its offset
                              └─ with another one ──► that key is closed in the frame of the first section of the next
    lost_before               the first entry that is there is not the next one ──► gap, its key is closed
    unread, holes, advance    one read: what of it is new, what was jumped over, its section

Invariants (W1 to W3 of driver.py; tests/journal/test_standing.py):
  ST1  a key goes on only with the filter and behind the entry that it was read with; else the next section has a new one
  ST2  a gap is told once: behind it nothing is counted as missing until an entry was read
  ST3  a gap lies between two times: of the last entry in front of it, in this read or before, and of the first one behind it
"""
from __future__ import annotations

import secrets
from base64 import b32encode
from collections.abc import Callable
from hashlib import blake2b

from ..errors import GapReason
from ..model import Batch, FileRef, Gap, Open, Section, Source
from .export import Entry
from .places import Place, is_read, missing
from .ports import Known, Settings, Trouble
from .records import CURSOR, time_ns


class Standing:
    """Of one source. `place_of(cursor)`: ValueError where it is none; `claim(key)`: False where it is another's.
    `state`, wherever it is asked for: the decoder's, for the section.

    ref     of the key that is being read; None: the next section makes one
    last    the place of the entry read last; None: none was
    """

    def __init__(
        self, source: Source, settings: Settings, place_of: Callable[[str | bytes], Place], claim: Callable[[str], bool],
        lost_reason: GapReason,
    ) -> None:
        self.source, self.settings = source, settings
        self._place_of, self._claim, self._lost_reason = place_of, claim, lost_reason
        self.ref: FileRef | None = None
        self.last: Place | None = None
        self.offset, self.cursor, self.last_ns = 0, "", 0
        self._before: Place | None = None                 # whose number the next one follows; None where a gap is told (ST2)
        self._closing: Section | None = None              # of the key before, in the frame of the new one's first section

    # ---------------------------------------------------------------- at the beginning

    def take_up(self, known: Known | None, state: tuple[Open, ...]) -> None:
        """Stand where the positions say."""
        self.ref = self._closing = self.last = self._before = None
        self.offset, self.cursor, self.last_ns = 0, "", 0
        if known is None:
            return
        self.cursor, self.last_ns = known.cursor, known.last_ns
        self.last = self._place_of(known.cursor) if known.cursor else None
        if known.closed:                                  # its gap is told, and nothing was read since
            return
        self._before = self.last
        if known.file.head_hash == self.settings.signature:
            self.ref, self.offset = known.file, known.offset
        else:
            self._closing = self._close(known, (), state)

    def lost_before(self, first: Entry, known: Known, state: tuple[Open, ...]) -> Section | None:
        """`first` is the first entry that is there, from the last one read on: what closes the key of `known` where entries are
        gone in between."""
        assert self.last is not None
        place = self.place(first)
        entries = 0 if is_read(place, self.last) else missing(self.last, place)
        if not entries:
            return None
        gap = self._gap(known.offset, entries, self.last_ns, time_ns(first))
        self.ref = self._closing = self._before = None
        self.offset = 0
        return self._close(known, (gap,), state)

    def pass_over(self, newest: Entry) -> Section:
        """start_at: end. All up to `newest` is passed over, as a section that says so."""
        self.cursor = newest.get(CURSOR, b"").decode("ascii", "replace")
        self.last = self._before = self.place(newest)
        self.last_ns = time_ns(newest)
        gap = Gap(0, -1, GapReason.START_AT_END, 0, 0, self.last_ns)
        return Section(self.definition(), 0, 0, "", None, gaps=(gap,), last_ns=self.last_ns, cursor=self.cursor)

    # ---------------------------------------------------------------- each read

    def unread(self, entries: list[Entry]) -> list[Entry]:
        """Where a stream begins at the cursor's own entry: what is behind it."""
        assert self.last is not None
        for index, entry in enumerate(entries):
            if not is_read(self.place(entry), self.last):
                return entries[index:]
        return []

    def holes(self, entries: list[Entry]) -> tuple[Gap, ...]:
        """Numbers that were jumped over while the stream went on: the journal was vacuumed faster than it was read."""
        first, newest = self.place(entries[0]), self.place(entries[-1])
        if not self.settings.unfiltered:
            return ()
        before = self._before or first
        expected = len(entries) - (self._before is None)
        if newest.numbering == before.numbering and newest.number - before.number == expected:
            return ()
        gaps, before_ns = [], self.last_ns
        for entry in entries:
            place, at_ns = self.place(entry), time_ns(entry)
            if missing(before, place) > 0:
                gaps.append(self._gap(self.offset, missing(before, place), before_ns, at_ns))
            before, before_ns = place, at_ns or before_ns
        return tuple(gaps)

    def definition(self) -> FileRef:
        """A key of its own for each numbering of bytes (ST1)."""
        while self.ref is None:
            mixed = blake2b(digest_size=10)
            for part in (self.source.node, self.source.lineage, self.cursor, secrets.token_hex(8)):
                mixed.update(part.encode("utf-8", "surrogateescape") + b"\0")
            key = b32encode(mixed.digest()).decode().lower()
            if self._claim(key):
                self.ref = FileRef(key, self.source, self.source.path, 0, 0, 0, self.settings.signature)
        return self.ref

    def advance(
        self, entries: list[Entry], batch: Batch | None, gaps: tuple[Gap, ...], end: int, state: tuple[Open, ...],
        drops: dict[str, int] | None,
    ) -> list[Section]:
        """`entries` are read, as `batch`, up to offset `end`: their section, behind that of a key that ends with them."""
        ref, start, last = self.definition(), self.offset, entries[-1]
        self.offset, self.cursor = end, last[CURSOR].decode("ascii", "replace")
        self.last = self._before = self.place(last)
        self.last_ns = time_ns(last) or self.last_ns
        section = Section(ref, start, end, "", batch, state, drops, gaps, end, self.last_ns, cursor=self.cursor)
        closing, self._closing = self._closing, None
        return [closing, section] if closing is not None else [section]

    # ---------------------------------------------------------------- parts

    def place(self, entry: Entry) -> Place:
        """Of one entry. Trouble where it has none."""
        try:
            return self._place_of(entry.get(CURSOR, b""))
        except ValueError as error:
            raise Trouble(str(error)) from None

    def _gap(self, offset: int, entries: int, before_ns: int, behind_ns: int) -> Gap:
        """At least a byte for each entry that is known to be missing and to be wanted."""
        at_least = entries if entries > 0 and self.settings.unfiltered else 0
        return Gap(offset, -1, self._lost_reason, at_least, before_ns, behind_ns)

    def _close(self, known: Known, gaps: tuple[Gap, ...], state: tuple[Open, ...]) -> Section:
        at = known.offset
        return Section(known.file, at, at, "", None, state, gaps=gaps, size=at, closed=True, cursor=self.cursor)
