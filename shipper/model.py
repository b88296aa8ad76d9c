"""The nouns of the data flow. Nothing here decides anything or touches the world.

    Source    what is constant for all records of one log file
    FileRef   one file as the frames define it: key, source, path, device, inode, head
    Open      a record that has begun and is not whole yet (decoder state)
    Gap       bytes of a file that no record will ever hold, and why
    Lost      bytes of a file whose frame was damaged before every sink had it
    Batch     consecutive records of one file, as columns
    Section   a batch with the file range that it covers: what the reader gives to the buffer
    Frame     sections as they lie in the buffer, with a sequence number
    Request   what one sink is asked to send at once

Invariants:
  M1  the columns of a batch are equally long
  M2  nothing here is built per line; a batch of 1,000 lines is one object and five sequences
  M3  an id item names the bytes that its record was made of: b"<start>+<bytes>" in hex; the whole id is
      `<batch.key>:<item>`. A record with pieces in other files goes on with b",<key>:<start>+<bytes>" for each
Plane: hot (shapes only).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What is constant for all records of one lineage. Compared by identity; encoders cache their bytes on it.

    kind       "containers", "files", "journal" or "kmsg"
    name       the source's name in the config
    path       the live path that was matched, before symlinks were resolved
    lineage    names the ordered stream that this log is, across rotations; the resolved live path
    labels     of its pod, as far as known and configured; annotations likewise
    about_pod  further members of `kubernetes` in a record's JSON: annotations, owner, namespace_labels, node_labels
    """

    kind: str
    name: str
    path: str
    lineage: str
    node: str
    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    container: str = ""
    container_id: str = ""
    restart: int = 0
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    about_pod: Mapping[str, Any] | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def cached(self, name: Any, make: Callable[[Source], Any]) -> Any:
        """What `make(self)` gives, made once per source (a JSON tail, a syslog header, a route)."""
        try:
            return self.cache[name]
        except KeyError:
            made = self.cache[name] = make(self)
            return made

    def to_json(self) -> dict[str, Any]:
        """The definition that each segment writes before the source's first use; `from_json` reads it back."""
        out: dict[str, Any] = {}
        for name in _SOURCE_FIELDS:
            value = getattr(self, name)
            if value not in ("", 0, None):
                out[name] = value
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Source:
        """Unknown keys are left out: a later release may write more than this one knows."""
        known = {name: data[name] for name in _SOURCE_FIELDS if name in data}
        for name in ("kind", "name", "path", "lineage", "node"):
            known.setdefault(name, "")
        return cls(**known)


_SOURCE_FIELDS = (
    "kind", "name", "path", "lineage", "node", "namespace", "pod", "pod_uid", "container",
    "container_id", "restart", "labels", "annotations", "about_pod",
)


@dataclass(frozen=True, slots=True, eq=False)
class FileRef:
    """One file, as the frames know it. A change (renamed, head grown) is a new FileRef with the same key.

    key        16 characters of base32: 80 bits over pod uid, container, restart and first line
    head_bytes, head_hash  how much of the file's beginning was hashed, and blake2b-8 of it in hex
    """

    key: str
    source: Source
    path: str
    device: int
    inode: int
    head_bytes: int
    head_hash: str


class Piece(NamedTuple):
    """Source bytes [start, start + length) of the file with this key."""

    key: str
    start: int
    length: int


class Open(NamedTuple):
    """A record that has begun: decoder state of one stream of one lineage.

    kind   "partial"  P pieces that wait for their F
           "skipping" a line over max_line whose end has not been seen; one piece, growing
           "lines"    whole lines that may be continued (half a stack trace)
           "key"      a private key that is being printed line by line: its lines are records, but what they are depends on the
                      ones before; no pieces
    """

    stream: str
    kind: str
    pieces: tuple[Piece, ...]


class Gap(NamedTuple):
    """Bytes of a file that are in no record. `end` < 0: unknown, `at_least` bytes between two times.

    reason   a GapReason value; `first_ns`, `last_ns`: time of the last record read and of the first one found
    """

    start: int
    end: int
    reason: str
    at_least: int = 0
    first_ns: int = 0
    last_ns: int = 0


class Lost(NamedTuple):
    """Source bytes [start, end) whose frame was damaged before every sink had it: to be read again, else a gap."""

    file: FileRef
    start: int
    end: int


SEVERITIES = (b"DEBUG", b"INFO", b"NOTICE", b"WARNING", b"ERROR", b"CRITICAL", b"ALERT", b"EMERGENCY")
"""Rising. The names of Cloud Logging's LogSeverity; syslog's (RFC 5424 section 6.2.1) are the same eight from 7 down to 0."""

Marks = dict[int, dict[str, Any]]
"""Rare facts about single records, by index: {"partial": true}, {"truncated": original bytes}, {"malformed": true};
{"lost": n}: of the source bytes that the id names, n are not in the message, because their file was gone."""


@dataclass(slots=True)
class Batch:
    """Consecutive records of one file as columns of bytes, equally long (M1).

    times      RFC 3339, as the runtime wrote them; b"" where a line has none of its own
    streams    b"stdout", b"stderr", or b"" for a host file
    ids        id items (M3)
    messages   the content, without its newline; may hold newlines of its own
    key        the file key that the id items belong to
    read_ns    wall clock of the read, in ns since 1970
    newlines   False: proven that no message holds a newline (they were split at newlines); saves a pass of 60 ns a line
    utc        True: proven that every time is RFC 3339 and ends with Z
    severities names of SEVERITIES, or b"" where a record says none; None where nobody looked for them
    encoded    by sink, what it made of this very batch already (buffer.early)
    fields     what was parsed out of each record: a JSON object without newlines, b"" for none; None where nothing was parsed
    """

    source: Source
    key: str
    times: Sequence[bytes]
    streams: Sequence[bytes]
    ids: Sequence[bytes]
    messages: Sequence[bytes]
    marks: Marks | None = None
    read_ns: int = 0
    newlines: bool = True
    utc: bool = False
    severities: Sequence[bytes] | None = None
    fields: Sequence[bytes] | None = None
    encoded: dict[Any, bytes] | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def slice(self, low: int, high: int) -> Batch:
        """Records [low, high) as a batch of their own. Cost: copies of references."""
        if low <= 0 and high >= len(self.messages):
            return self
        marks = {i - low: m for i, m in self.marks.items() if low <= i < high} if self.marks else None
        return Batch(
            self.source, self.key, self.times[low:high], self.streams[low:high], self.ids[low:high],
            self.messages[low:high], marks or None, self.read_ns, self.newlines, self.utc,
            None if self.severities is None else self.severities[low:high],
            None if self.fields is None else self.fields[low:high],
        )

    def select(self, keep: Sequence[bool]) -> Batch:
        """The records whose flag is true as a batch of their own. Cost: a pass per column."""
        marks = None
        if self.marks:
            order = {old: new for new, old in enumerate(compress(range(len(self)), keep))}
            marks = {order[index]: mark for index, mark in self.marks.items() if index in order}
        return Batch(
            self.source, self.key, list(compress(self.times, keep)), list(compress(self.streams, keep)),
            list(compress(self.ids, keep)), list(compress(self.messages, keep)), marks or None, self.read_ns, self.newlines,
            self.utc, None if self.severities is None else list(compress(self.severities, keep)),
            None if self.fields is None else list(compress(self.fields, keep)),
        )


@dataclass(slots=True)
class Section:
    """What one read of one file became. It covers source bytes [start, end) of `file`, whole lines or skipped ones.

    guard    blake2b-8 in hex of the up to 64 bytes in front of `end`: what must still stand there at the next read
    batch    the records that were completed; None where none were
    state    the lineage's open records after this section (all streams)
    drops    what was dropped on purpose: by DropReason records, by "<DropReason>:bytes" their source bytes (P11);
             those in another file (a record with pieces in two) by "<DropReason>:bytes@<file key>"
    gaps     ranges inside or before [start, end) that no record holds, and why
    size     the file's size when it was read (bytes, uncompressed), for lag
    last_ns  time of the newest record, 0 where unknown
    closed   True: nothing more will be read from this file (rotated or deleted, and read to its end)
    cursor   where a source that has a position of its own (the journal) stands at `end`, in its words
    """

    file: FileRef
    start: int
    end: int
    guard: str
    batch: Batch | None
    state: tuple[Open, ...] = ()
    drops: dict[str, int] | None = None
    gaps: tuple[Gap, ...] = ()
    size: int = 0
    last_ns: int = 0
    closed: bool = False
    cursor: str = ""
    _held_bytes: int = field(default=-1, repr=False, compare=False)

    @property
    def source_bytes(self) -> int:
        return self.end - self.start

    @property
    def held_bytes(self) -> int:
        """What its records hold in memory, or its source bytes where those are more: a record whose pieces were read
        before brings up to max_record along. Columns that are tuples were cut out of the section's own bytes (decode's
        quick path), so that they need not be measured (13 ns a line); else measured once."""
        if self._held_bytes < 0:
            held, batch = self.end - self.start, self.batch
            if batch is not None and type(batch.messages) is not tuple:
                held = max(held, sum(map(len, batch.messages)))
            if batch is not None and batch.fields is not None:
                held += sum(map(len, batch.fields))
            self._held_bytes = held
        return self._held_bytes


@dataclass(slots=True)
class Frame:
    """Sections as they lie in the buffer. `total_bytes`: source bytes of all frames ever, this one included.

    `joined`: its columns, joined, on the way to the disk (buffer.segment); None before and after.
    """

    seq: int
    sections: list[Section]
    total_bytes: int
    read_ns: int
    stored_bytes: int = 0
    joined: Any = None

    @property
    def records(self) -> int:
        return sum(len(s.batch) for s in self.sections if s.batch is not None)


@dataclass(slots=True)
class Request:
    """What a sink is asked to send at once. `number` rises by one per request of a sink and is never reused."""

    number: int
    batches: list[Batch]
    records: int = 0
    message_bytes: int = 0

    def __post_init__(self) -> None:
        if not self.records:
            self.records = sum(map(len, self.batches))
        if not self.message_bytes:
            self.message_bytes = sum(sum(map(len, b.messages)) for b in self.batches)
