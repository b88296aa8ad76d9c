"""Taking over: finds the files that another agent's positions speak of, and puts frames with gaps into the buffer. Driver.

    entries ─► by lineage (paths resolved) ─► takeover.decide ─► Section(start = end = offset, gap IMPORTED from 0) ─► buffer

Invariants (tests/agent/test_takeover.py):
  I1  nothing is written but frames and sources.json; positions stay derived from frames, so audit and verify know of it
  I2  a lineage that has positions of its own stays as it is; with `force` its position is moved on, never back (MOVED_ON)
  I4  a file whose last line in front of the position is younger than the positions is not the one that was read: its inode came
      again (the kubelet compresses rotated files, which frees theirs). Where lines carry no time it is told by when the file was
      made; where its file system does not know that, a position in the middle of a line is no position of this file
  I3  the state lock is held by whoever calls; a dry run writes nothing
"""
from __future__ import annotations

import os
from base64 import b32encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from ..buffer.driver import Buffer
from ..buffer.positions import FilePosition, Positions
from ..config.journal import JournalSource
from ..config.types import Config
from ..decode import Budget
from ..discover.globs import compile_pattern
from ..discover.lineage import LogFile
from ..discover.scan import Discoverer
from ..errors import GapReason, Usage
from ..model import FileRef, Gap, Section
from ..tail.definition import define
from ..tail.file import TailFile
from ..tail.identity import digest
from ..tail.lineage import Lineage
from ..tail.ports import Refused, Seen, Settings
from ..telemetry import Telemetry
from .birth import birth_ns
from .directory import NodeDirectory
from .formats import DecodeFormats, decoder_for
from .journals import signature_of, source_of
from .seen_sources import SeenSources
from .sources import settings_of, specs_of
from .takeover import BEGIN, CONTINUE, CUT, PASSED, Candidate, Entry, Take, came_again, decide, open_pieces

BACK_BYTES = 1 << 20
LONGEST_BYTES = 64 * BACK_BYTES
WINDOW_BYTES = 64 * 1024
FRAME_SECTIONS = 500
YOUNGER_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """What happens to one file. `what`: continue, passed over, from the beginning, ..., kept, gone, not read, refused."""

    path: str
    what: str
    offset: int
    size: int
    why: str = ""


@dataclass(slots=True)
class Plan:
    """`sections` go into the buffer, in order; `sources`: those that had any entry here."""

    rows: list[Row] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)


class TakeOver:
    """One import: what is known (positions), what is here (a scan of the config's sources). `written_ns`: when the other agent
    wrote its positions for the last time; 0: not known."""

    def __init__(
        self, config: Config, positions: Positions, telemetry: Telemetry, *, force: bool = False, written_ns: int = 0,
    ) -> None:
        self._written_ns = written_ns
        self._positions, self._force = positions, force
        self._discoverer = Discoverer(specs_of(config), telemetry)
        self._directory = NodeDirectory(self._discoverer, None)
        self._make_decoder = decoder_for(Budget())
        self._formats = DecodeFormats()
        self._claimed: set[str] = set()
        patterns = [compile_pattern(text) for source in config.sources.values() for text in getattr(source, "include", ())]
        self._included: Callable[[str], bool] = lambda path: any(pattern.matches(path) for pattern in patterns)
        self._logfiles = [f for f in self._discoverer.scan(full=True).appeared if f.source.kind in ("containers", "files")]
        self._directory.files.update((logfile.source.lineage, logfile) for logfile in self._logfiles)
        self._by_path = self._paths()

    def _paths(self) -> dict[str, LogFile]:
        found: dict[str, LogFile] = {}
        for logfile in self._logfiles:
            for path in (logfile.source.path, logfile.live_path, *(s.path for s in self._discoverer.siblings(logfile))):
                found.setdefault(path, logfile)
        return found

    def plan(self, entries: Iterable[Entry]) -> Plan:
        """What an import of these would do. Opens files, changes nothing."""
        plan = Plan()
        wanted: dict[str, tuple[LogFile, dict[int, Entry]]] = {}
        for entry in entries:
            logfile = self._by_path.get(entry.path) or self._by_path.get(os.path.realpath(entry.path))
            if logfile is None:
                plan.rows.append(_stray(entry, self._included))
                continue
            wanted.setdefault(logfile.source.lineage, (logfile, {}))[1][entry.inode] = entry
        for logfile, own in wanted.values():
            plan.sources.add(logfile.source_name)
            self._lineage(logfile, own, plan)
        named = set(wanted)
        for logfile in self._logfiles:
            if logfile.source.lineage not in named | self._positions.lineages.keys():
                size = sum(s.size for s in self._discoverer.siblings(logfile))
                plan.rows.append(Row(logfile.live_path, BEGIN, 0, size, "no position for it there"))
        return plan

    def _lineage(self, logfile: LogFile, entries: dict[int, Entry], plan: Plan) -> None:
        source = logfile.source
        settings = settings_of(logfile.source_name, logfile.source_config, logfile.allowed_roots, None)
        lineage = Lineage(source, settings, self._make_decoder(source, settings), self._directory, self._claim)
        seen = self._directory.siblings(source)
        files = [Candidate(s.path, s.inode, 0 if s.compressed else s.size, s.compressed) for s in seen]
        for one in [s for s in seen if not s.compressed]:
            why = self._came_again(one, entries.get(one.inode), settings)
            if why:
                entry = entries.pop(one.inode)
                plan.rows.append(Row(
                    entry.path, "gone", entry.offset or 0, 0, f"another file has its inode now ({one.path}): {why}"))
        inodes = {file.inode for file in files if not file.compressed}
        takes = decide(entries, files)
        for entry in entries.values():
            if entry.inode not in inodes:
                given_up = entry.offset is None
                plan.rows.append(Row(entry.path, "gone", entry.offset or 0, 0, (
                    "the other agent had given it up" if given_up else f"no file with inode {entry.inode} is here any more")))
        if not takes and files:
            plan.rows.append(Row(logfile.live_path, BEGIN, 0, sum(s.size for s in seen),
                                 "nothing here is the file that the position is for: lines may come twice"))
        for take in takes:
            self._file(take, seen[take.index], lineage, settings, plan)
        for file in lineage.done:
            file.close()

    def _came_again(self, seen: Seen, entry: Entry | None, settings: Settings) -> str:
        """I4. In words why; "" where it is the file that was read."""
        if entry is None or not entry.offset or not self._written_ns or entry.offset > seen.size:
            return ""
        file = TailFile(seen.path, seen.device, seen.inode, live=seen.live, compressed=False)
        try:
            file.attach(self._directory.open(seen.path, settings))
        except Refused:
            return ""                                     # said when its turn comes
        try:
            born_ns, changed_ns = birth_ns(file.fd), os.fstat(file.fd).st_ctime_ns
            end = line_start(file, entry.offset)
            lines = file.pread(min(WINDOW_BYTES, end), end - min(WINDOW_BYTES, end)).split(b"\n")[:-1]
        finally:
            file.close()
        line_ns = self._formats.first_ns(lines[-1], self._formats.sniff(lines[-1])) if lines else 0
        return came_again(line_ns, born_ns, changed_ns, self._written_ns + YOUNGER_NS, end != entry.offset)

    def _claim(self, key: str) -> bool:
        """See tail.in_flight.InFlight.claim."""
        if key in self._claimed or key in self._positions.files:
            return False
        self._claimed.add(key)
        return True

    # -------------------------------------------------------- one file

    def _file(self, take: Take, seen: Seen, lineage: Lineage, settings: Settings, plan: Plan) -> None:
        if take.what == CUT:
            plan.rows.append(Row(seen.path, BEGIN, 0, seen.size, (
                f"shorter than its position ({take.offset}): cut or made anew since; what was copied beside it may come twice")))
            return
        file = TailFile(seen.path, seen.device, seen.inode, live=seen.live, compressed=seen.compressed)
        try:
            file.attach(self._directory.open(seen.path, settings))
        except Refused as refused:
            plan.rows.append(Row(seen.path, "refused", 0, seen.size, f"{refused}; what it holds may come twice"))
            return
        lineage.done.append(file)                         # closed with it; define() looks there for equal keys
        size = file.length_bytes()
        file.live, file.size = seen.live, size
        end = size if take.offset is None else line_start(file, take.offset)
        why = "older than the one that the other agent was reading" if take.offset is None else ""
        if take.offset is not None and end != take.offset:
            why = f"its position {take.offset} is in the middle of a line, which begins here"
        if not end:
            plan.rows.append(Row(seen.path, BEGIN, 0, size, why))
            return
        known = self._known(file, lineage.source.lineage)
        if known is None and lineage.source.lineage in self._positions.lineages and not self._force:
            plan.rows.append(Row(seen.path, "kept", 0, size, "shipper has positions of its own in this log"))
        elif known is not None:
            self._move_on(known, file, end, size, why, take, plan)
        else:
            self._pass_over(file, end, size, why, take, lineage, plan)

    def _pass_over(
        self, file: TailFile, end: int, size: int, why: str, take: Take, lineage: Lineage, plan: Plan
    ) -> None:
        ref = define(lineage, file, self._formats)
        if ref is None or (file.compressed and file.guard_at(end) is None):
            plan.rows.append(Row(file.path, BEGIN, 0, size, "it cannot be told from others yet, or is damaged"))
            return
        window = file.pread(min(WINDOW_BYTES, end), end - min(WINDOW_BYTES, end))
        if take.what == CONTINUE and file.form == "cri" and open_pieces(window):
            why = why or "in the middle of a record in pieces: the rest of it comes as a record of its own"
        last_line = window[:-1].rpartition(b"\n")[2]
        plan.sections.append(self._section(
            ref, file, end, size, Gap(0, end, GapReason.IMPORTED, end), take,
            self._formats.first_ns(last_line, file.form) if len(window) < WINDOW_BYTES or b"\n" in window[:-1] else 0))
        plan.rows.append(Row(file.path, take.what, end, size, why))

    def _move_on(
        self, known: FilePosition, file: TailFile, end: int, size: int, why: str, take: Take, plan: Plan
    ) -> None:
        """I2."""
        if known.offset >= end:
            plan.rows.append(Row(file.path, "kept", known.offset, size, "shipper has read as far itself, or further"))
        elif not self._force:
            plan.rows.append(Row(file.path, "kept", known.offset, size, (
                f"shipper has a position of its own; --force moves it on to {end}, and what is between is not shipped")))
        else:
            gap = Gap(known.offset, end, GapReason.MOVED_ON, end - known.offset)
            plan.sections.append(self._section(known.file, file, end, size, gap, take, known.last_ns))
            plan.rows.append(Row(file.path, "moved on", end, size, why or f"from {known.offset}"))

    def _section(self, ref: FileRef, file: TailFile, end: int, size: int, gap: Gap, take: Take, last_ns: int) -> Section:
        lineage = self._positions.lineages.get(ref.source.lineage)
        state = lineage.state if lineage is not None else ()
        guard = file.guard_at(end) or digest(b"")
        return Section(ref, end, end, guard, None, state, gaps=(gap,), size=size, last_ns=last_ns, closed=take.what == PASSED)

    def _known(self, file: TailFile, lineage: str) -> FilePosition | None:
        """The position that we have for this very file: inode and head."""
        head = file.head()
        for key in self._positions.keys_of(lineage):
            position = self._positions.files.get(key)
            if position is None or position.file.inode != file.inode:
                continue
            if digest(head[: position.file.head_bytes]) == position.file.head_hash:
                return position
        return None


def journal_plan(config: Config, positions: Positions, name: str, cursor: str, *, force: bool = False) -> Plan:
    """The journal source `name` goes on behind the entry that `cursor` names. Usage where it is no journal source."""
    settings = config.sources.get(name)
    if not isinstance(settings, JournalSource):
        journals = ", ".join(n for n, s in config.sources.items() if isinstance(s, JournalSource)) or "none"
        raise Usage(f"source {name!r} is no journal of this config; it has {journals}")
    source = source_of(name, settings, config.node)
    if positions.keys_of(source.lineage) and not force:
        return Plan([Row(source.path, "kept", 0, 0, f"source {name} has a position of its own; --force moves it")])
    key = b32encode(blake2b(f"{source.lineage}\0{cursor}\0{config.node}".encode(), digest_size=10).digest()).decode().lower()
    if key in positions.files:
        return Plan([Row(source.path, "kept", 0, 0, "taken over before")])
    gap = Gap(0, -1, GapReason.IMPORTED)
    ref = FileRef(key, source, source.path, 0, 0, 0, signature_of(settings))
    return Plan([Row(source.path, CONTINUE, 0, 0, f"source {name}, behind {cursor.split(';b=')[0]}")],
                [Section(ref, 0, 0, "", None, gaps=(gap,), cursor=cursor)], {name})


def line_start(file: TailFile, offset: int) -> int:
    """The start of the line that `offset` stands in; `offset` itself at a line's start (K1), or in a line over 64 MiB."""
    high = offset
    while high > 0 and offset - high < LONGEST_BYTES:
        low = max(0, high - BACK_BYTES)
        at = file.pread(high - low, low).rfind(b"\n")
        if at >= 0:
            return low + at + 1
        high = low
    return offset if high > 0 else 0


def _stray(entry: Entry, included: Callable[[str], bool]) -> Row:
    """Of a file that no scan found."""
    what, why = "not read", "no source of this config includes it"
    if not _may_be_seen(entry.path):                      # first: of a directory that is closed all files are "not there"
        why = "it may not be looked at; run this as root (sudo), or as the agent's user"
    elif not os.path.lexists(entry.path):
        what, why = "gone", "the other agent had given it up" if entry.offset is None else "there is no such file any more"
    elif not os.path.exists(entry.path):
        what, why = "gone", "its link leads to no file any more"
    elif included(entry.path):
        why = "a source includes it, but excludes or refuses it: see exclude and allowed_roots"
    return Row(entry.path, what, entry.offset or 0, 0, why)


def _may_be_seen(path: str) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return False
    except OSError:
        return True                                       # told by who asks for more
    return True


async def write(config: Config, plan: Plan, buffer: Buffer, telemetry: Telemetry) -> None:
    """The plan's sections, as frames (I1). What is in them is on disk when the buffer is closed. Its sources are not new any
    more (intake.I1): with start_at: end, what the other agent had not shipped is not passed over."""
    for part in _parts(plan.sections):
        await buffer.append(part)
    seen = SeenSources(config.state_dir, buffer.positions, telemetry)
    seen.add(plan.sources)
    seen.store()


def _parts(sections: Sequence[Section]) -> Iterable[list[Section]]:
    for low in range(0, len(sections), FRAME_SECTIONS):
        yield list(sections[low : low + FRAME_SECTIONS])
