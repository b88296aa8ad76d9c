"""What delivered ids add up to, file by file, and how that is said. `shipper verify` reads; this counts and judges.

    ids ──► Tally: spans by file key ──► walk (ranges.py) ──► FileReport ... ──► Report ──► human text or JSON
    ledger (`shipper audit --json`): {"files": [{"key", "path", "size", "read_bytes", "open_bytes",
        "gaps": [{"start", "end", "reason", "at_least"}], "dropped": {reason: bytes}}], ...}

Invariants (tests/agent/test_verify.py):
  V3  whole means: no byte before a record's start is missing, none is in two records with different ids, every line
      has an id, and there is something. With a ledger also: the distinct records and what it declares add up to
      what was read, to the byte
  V4  a repeat (equal id) is counted and breaks nothing: sinks deliver at least once
  V5  memory is 8 bytes per distinct record
  V6  nothing of a record but its id is kept or printed
Plane: pure. `Tally.add_lines` is hot: once per line.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..model import Piece
from .ids import id_in_line, match_piece, of_the_agent, parse_id
from .ranges import Span, Spans, Walk, walk
from .text import printable

SHOWN_LINES = 5
SHOWN_HOLES = 5
SHOWN_FILES = 20
TOTALS = ("covered_bytes", "missing_bytes", "overlap_bytes", "declared_bytes", "pending_bytes", "unread_bytes")


@dataclass(slots=True)
class Tally:
    """What was seen: spans by file key, ids with pieces in several files, and lines without a readable id."""

    spans: dict[bytes, Spans] = field(default_factory=dict)
    joined: dict[tuple[Piece, ...], int] = field(default_factory=dict)
    records: int = 0
    of_the_agent: int = 0
    unparsed: int = 0
    unparsed_at: list[str] = field(default_factory=list)

    def add_lines(self, lines: Iterable[bytes], name: str = "-") -> None:
        """Count every line of one input; `name` is for pointing at those without an id."""
        spans = self.spans
        for number, line in enumerate(lines, 1):
            self.records += 1
            found = id_in_line(line)
            piece = match_piece(found) if found is not None else None
            if piece is None or not (size := int(piece[3], 16)):
                self._add_rare(found, name, number)
                continue
            key = piece[1]
            own = spans.get(key)
            if own is None:
                own = spans[key] = Spans()
            own.add(int(piece[2], 16), size)

    def _add_rare(self, found: bytes | None, name: str, number: int) -> None:
        if found is not None and of_the_agent(found):
            self.of_the_agent += 1                           # it says what was dropped: no file's bytes
            self.records -= 1
            return
        pieces = parse_id(found) if found is not None else None
        if pieces is not None:
            self.joined[pieces] = self.joined.get(pieces, 0) + 1
            return
        self.unparsed += 1
        if len(self.unparsed_at) < SHOWN_LINES:
            self.unparsed_at.append(f"{name}:{number}")


@dataclass(slots=True)
class FileReport:
    """One file key. Bytes are source bytes, uncompressed.

    declared       bytes by reason that the ledger says no record holds
    pending_bytes  read, in records that are not whole yet; unread_bytes: not read yet (both from the ledger)
    ahead_bytes    see ranges.Walk: 0, or interleaved pieces at the end, or an overlap that only a ledger shows
    """

    key: str
    path: str = ""
    records: int = 0
    distinct: int = 0
    repeated: int = 0
    covered_bytes: int = 0
    missing_bytes: int = 0
    overlap_bytes: int = 0
    ahead_bytes: int = 0
    read_bytes: int | None = None
    unread_bytes: int = 0
    pending_bytes: int = 0
    declared: dict[str, int] = field(default_factory=dict)
    holes: list[Span] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.missing_bytes and not self.overlap_bytes

    @property
    def declared_bytes(self) -> int:
        return sum(self.declared.values())


@dataclass(slots=True)
class Report:
    """The sum over all files."""

    files: list[FileReport]
    records: int
    unparsed: int
    unparsed_at: list[str]
    with_ledger: bool

    @property
    def distinct(self) -> int:
        return self.total("distinct")

    @property
    def repeated(self) -> int:
        return self.total("repeated")

    @property
    def whole(self) -> bool:
        """V3."""
        return not self.unparsed and bool(self.files) and all(file.whole for file in self.files)

    def total(self, name: str) -> int:
        """The sum of one number of all files."""
        return sum(getattr(file, name) for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The report of --json; keys are added, never renamed."""
        return {
            "whole": self.whole, "records": self.records, "distinct": self.distinct, "repeated": self.repeated,
            **{name: self.total(name) for name in TOTALS}, "unparsed": self.unparsed, "unparsed_at": self.unparsed_at,
            "files": [{"whole": file.whole, **asdict(file)} for file in self.files],
        }


# ---------------------------------------------------------------- judging

def make_report(tally: Tally, ledger: dict[str, Any] | None = None) -> Report:
    """What the tally says, file by file; with a ledger also about ends and drops.

    Raises KeyError, TypeError or ValueError where the ledger is not one.
    """
    extra: dict[str, list[Span]] = {}
    times_joined: dict[str, list[int]] = {}
    for pieces, times in tally.joined.items():
        times_joined.setdefault(pieces[0].key, []).append(times)
        for piece in pieces:
            extra.setdefault(piece.key, []).append((piece.start, piece.length))
    entries = {str(entry["key"]): entry for entry in (ledger or {}).get("files", ())}
    files = []
    for key in {key.decode("ascii") for key in tally.spans} | set(extra) | set(entries):
        spans, times_seen = tally.spans.get(key.encode("ascii"), Spans()), times_joined.get(key, [])
        file = FileReport(key, distinct=len(spans) + len(times_seen))
        file.repeated = spans.repeated + sum(times_seen) - len(times_seen)
        file.records = file.distinct + file.repeated
        distinct = spans.distinct() if key not in extra else iter(sorted([*spans.distinct(), *extra[key]]))
        entry = entries.get(key)
        if entry is not None:
            _settle(file, distinct, entry)
        else:
            _copy_walk(file, walk(distinct))
            if ledger is not None:
                file.notes.append("not in the ledger: only holes were looked for")
        files.append(file)
    files.sort(key=lambda file: (file.whole, file.path, file.key))
    return Report(files, tally.records, tally.unparsed, tally.unparsed_at, ledger is not None)


def _copy_walk(file: FileReport, found: Walk) -> None:
    file.covered_bytes, file.missing_bytes, file.holes = found.covered_bytes, found.missing_bytes, found.holes
    file.overlap_bytes, file.ahead_bytes = found.overlap_bytes, found.ahead_bytes


def _settle(file: FileReport, distinct: Iterator[Span], entry: dict[str, Any]) -> None:
    """Hold the sum against what the ledger says was read, dropped and never held (V3)."""
    gaps, elsewhere = _declared_gaps(entry)
    for start, end, reason in gaps:
        file.declared[reason] = file.declared.get(reason, 0) + end - start
    file.notes += [f"at least {count:,} bytes elsewhere were never read: {reason}" for reason, count in elsewhere]
    placed = file.declared_bytes
    for reason, count in (entry.get("dropped") or {}).items():
        file.declared[str(reason)] = file.declared.get(str(reason), 0) + int(count)
    file.path, size = str(entry.get("path") or ""), int(entry.get("size") or 0)
    file.pending_bytes = int(entry.get("open_bytes") or 0)
    read = file.read_bytes = int(size if entry.get("read_bytes") is None else entry["read_bytes"])
    file.unread_bytes = max(0, size - read)
    found = walk(distinct, [(start, end - start) for start, end, _ in gaps])
    _copy_walk(file, found)
    # Drops are declared as sums without their places, so they pay for holes wherever these are.
    unplaced = file.declared_bytes - placed + file.pending_bytes
    holes = max(0, found.missing_bytes - unplaced)
    balance = read - found.covered_bytes - placed - unplaced
    if found.end - found.ahead_bytes > read:
        file.missing_bytes = holes
        file.notes.append("delivered beyond what the ledger knows, its end was not checked; write the ledger after the data")
    else:
        file.missing_bytes = max(balance, holes)
        file.overlap_bytes += file.missing_bytes - balance
    if not file.missing_bytes:
        file.holes = []


def _declared_gaps(entry: dict[str, Any]) -> tuple[list[tuple[int, int, str]], list[tuple[str, int]]]:
    """Gaps of this file's own bytes, and those whose place is not known (they lie in files that are gone)."""
    here, elsewhere = [], []
    for gap in entry.get("gaps") or ():
        start, end, reason = int(gap["start"]), int(gap["end"]), str(gap.get("reason") or "unknown")
        if end > start:
            here.append((start, end, reason))
        elif gap.get("at_least"):
            elsewhere.append((reason, int(gap["at_least"])))
    return here, elsewhere


# ---------------------------------------------------------------- telling

def human(result: Report) -> str:
    """The report for people: the files that need a word, the sum, the verdict."""
    lines = []
    told = [file for file in result.files if not file.whole or file.declared or file.notes]
    for file in told[:SHOWN_FILES]:
        lines.append(printable(f"{file.key}  {file.path}".rstrip()))
        lines += [f"    {printable(text)}" for text in _about(file)]
    if len(told) > SHOWN_FILES:
        lines.append(f"... and {len(told) - SHOWN_FILES} more files; --json has them all")
    numbers = {
        "files": len(result.files), "records": result.records, "distinct": result.distinct, "repeated": result.repeated,
        "bytes covered": result.total("covered_bytes"), "bytes missing": result.total("missing_bytes"),
        "bytes overlap": result.total("overlap_bytes"),
    }
    rare = {
        "bytes declared": result.total("declared_bytes"), "bytes pending": result.total("pending_bytes"),
        "bytes unread": result.total("unread_bytes"), "without an id": result.unparsed,
    }
    numbers.update({name: number for name, number in rare.items() if number})
    lines += [f"{name:<14} {number:>17,}" for name, number in numbers.items()]
    if result.unparsed:
        lines.append(f"no readable id at: {', '.join(result.unparsed_at)}")
    return "\n".join([*lines, _verdict(result)])


def _about(file: FileReport) -> Iterator[str]:
    if file.missing_bytes:
        read = "" if file.read_bytes is None else f" of {file.read_bytes:,} read"
        yield f"{file.missing_bytes:,} bytes missing{read}"
    yield from (f"hole from {start:,} to {end:,}" for start, end in file.holes[:SHOWN_HOLES])
    if file.overlap_bytes:
        yield f"{file.overlap_bytes:,} bytes are in two records with different ids"
    yield from (f"{count:,} bytes in no record, declared: {reason}" for reason, count in sorted(file.declared.items()))
    yield from file.notes


def _verdict(result: Report) -> str:
    if not result.files and result.records:
        return ("NOT whole: no record has an id. A syslog server writes it with the structured data alone "
                "(docs/sinks/syslog.md has a template); container-logs and RFC 3164 have none")
    if not result.files:
        return "NOT whole: there are no records"
    if not result.whole:
        return "NOT whole"
    if result.with_ledger:
        return "whole: distinct records and declared bytes add up to what was read"
    return "whole: no byte is missing before any record (what came last in a file, only --ledger can tell)"
