"""How far each log file is read: what the frames say, and nothing else. Pure. Hot: once per section.

    plan(sections)  ->  Delta: what changes; refuses (ValueError), touches nothing
    commit(delta)   ->  applies it. A delta is planned once and committed twice: to the reader's positions at once, to the
                        durable ones when its frame is synced

Invariants (tests/buffer/test_positions.py):
  P1  positions are the fold of the frames: they know nothing that no frame (or damage report) said
  P2  a section starts where its file ends, or a gap covers the jump, or it fills a lost range from its start; else refused
  P3  per file: offset == read_bytes + skipped_bytes + bytes of its lost ranges
  P4  sum of all read_bytes + retired_bytes == total_bytes (the source bytes of all frames ever)
  P5  a FilePosition or LineagePosition that was handed out stays as it was: changes replace it. (By convention: frozen
      ones cost 2 us more a section, and there is one a file and frame.)
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..model import FileRef, Gap, Lost, Open, Section, Source

_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(slots=True)
class FilePosition:
    """How far one file is read.

    offset         next byte to read; guard, size, last_ns, closed: as in the newest section
    read_bytes     source bytes of its sections, less those lost to damage
    skipped_bytes  bytes before `offset` that gaps jumped over
    gaps           bytes by GapReason, jumps included; drops: records by DropReason
    seen_s         wall clock when the file was last known to exist; seq: the newest frame that names it
    cursor         Section.cursor at `offset`; "" for files
    """

    file: FileRef
    offset: int
    guard: str = ""
    size: int = 0
    last_ns: int = 0
    closed: bool = False
    read_bytes: int = 0
    skipped_bytes: int = 0
    gaps: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    drops: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    seen_s: float = 0.0
    seq: int = 0
    cursor: str = ""


@dataclass(slots=True)
class LineagePosition:
    """One ordered stream: its open records, and the keys of the files that hold it, oldest first."""

    source: Source
    state: tuple[Open, ...] = ()
    last_ns: int = 0
    keys: tuple[str, ...] = ()


@dataclass(slots=True)
class Delta:
    """What one frame (or damage report, or what is forgotten: unseen.py) changes. `lost`: the new list, None where it stays."""

    seq: int = 0
    read_bytes: int = 0
    retired_bytes: int = 0
    files: dict[str, FilePosition] = field(default_factory=dict)
    lineages: dict[str, LineagePosition] = field(default_factory=dict)
    lost: tuple[Lost, ...] | None = None
    gone: tuple[str, ...] = ()
    gone_lineages: tuple[str, ...] = ()


@dataclass(slots=True)
class Positions:
    """All of them. `seq`: the last frame that they cover."""

    seq: int = 0
    total_bytes: int = 0
    retired_bytes: int = 0
    files: dict[str, FilePosition] = field(default_factory=dict)
    lineages: dict[str, LineagePosition] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()

    def copy(self) -> Positions:
        """Independent of this one; shares the immutable entries (P5)."""
        return Positions(
            self.seq, self.total_bytes, self.retired_bytes, dict(self.files), dict(self.lineages), self.lost
        )

    def go_back(self, to: Positions) -> None:
        """Become equal to `to`, in place: others hold this object."""
        self.seq, self.total_bytes, self.retired_bytes = to.seq, to.total_bytes, to.retired_bytes
        self.files, self.lineages, self.lost = dict(to.files), dict(to.lineages), to.lost

    def keys_of(self, lineage: str) -> list[str]:
        """The keys of a lineage's files, oldest first; [] where it is not known."""
        found = self.lineages.get(lineage)
        return list(found.keys) if found else []

    # ------------------------------------------------------------ frames

    def plan(self, seq: int, sections: Iterable[Section], read_ns: int) -> Delta:
        """What a frame would change. ValueError where P2 does not hold."""
        delta = Delta(seq)
        for section in sections:
            key = section.file.key
            found = delta.files.get(key) or self.files.get(key)
            last = found.offset if found is not None else 0
            if section.start == last:
                self._go_on(delta, found, section, 0, read_ns)
            elif section.start > last and _covered(section.gaps, last, section.start):
                self._go_on(delta, found, section, section.start - last, read_ns)
            elif found is None or not self._fill(delta, found, section):
                raise ValueError(
                    f"{section.file.path} (key {key}): the section starts at byte {section.start}, the last one ended at "
                    f"{last}, and no gap covers the difference; read the file from {last}"
                )
        return delta

    def plan_replay(
        self, seq: int, sections: Iterable[Section], read_ns: int, total_bytes: int, *, whole: bool = True,
        lose: bool = True,
    ) -> Delta:
        """As `plan`, for a frame found on disk, which is never refused: a jump is a lost range, since the frame that held
        it is damaged; a repeated range moves nothing. `total_bytes` is what the frame says and holds (P4: what damaged
        frames had of it is retired). `lose` False: what jumps over was in frames that every sink had, it counts as read.
        `whole` False: frames before this one are gone, so a file that begins at byte n was read up to n."""
        delta, assumed = Delta(seq), 0
        for section in sections:
            key = section.file.key
            found = delta.files.get(key) or self.files.get(key)
            if found is None and not whole and section.start:
                found = FilePosition(section.file, section.start, read_bytes=section.start)
                assumed += section.start
            last = found.offset if found is not None else 0
            jump = section.start - last
            if jump < 0:
                if found is not None:
                    self._fill(delta, found, section)
                continue
            if jump and not _covered(section.gaps, last, section.start):
                found = found or FilePosition(section.file, 0)
                if lose:
                    known = self.lost if delta.lost is None else delta.lost
                    delta.lost = (*known, Lost(section.file, last, section.start))
                else:
                    found = replace(found, read_bytes=found.read_bytes + jump)
                    assumed += jump
                found = replace(found, offset=section.start)
                jump = 0
            self._go_on(delta, found, section, jump, read_ns)
        told = total_bytes - self.total_bytes
        delta.read_bytes, delta.retired_bytes = told, told - delta.read_bytes - assumed
        return delta

    def commit(self, delta: Delta) -> None:
        """Apply a plan. Never fails."""
        self.files.update(delta.files)
        self.lineages.update(delta.lineages)
        if delta.lost is not None:
            self.lost = delta.lost
        for key in delta.gone:
            self.files.pop(key, None)
        for lineage in delta.gone_lineages:
            self.lineages.pop(lineage, None)
        self.total_bytes += delta.read_bytes
        self.retired_bytes += delta.retired_bytes
        self.seq = max(self.seq, delta.seq)

    def _go_on(
        self, delta: Delta, found: FilePosition | None, section: Section, jump: int, read_ns: int
    ) -> None:
        file, source = section.file, section.file.source
        read_bytes, skipped, gaps, drops = section.end - section.start, jump, _NOTHING, _NOTHING
        if found is not None:
            read_bytes += found.read_bytes
            skipped += found.skipped_bytes
            gaps, drops = found.gaps, found.drops
        if section.gaps:
            gaps = _add_gaps(gaps, section.gaps)
        if section.drops:
            drops = _add(drops, section.drops)
        last_ns = section.last_ns or (found.last_ns if found is not None else 0)
        delta.files[file.key] = FilePosition(
            file, section.end, section.guard, section.size, last_ns, section.closed, read_bytes, skipped, gaps, drops,
            read_ns / 1e9, delta.seq, section.cursor or (found.cursor if found is not None else ""),
        )
        delta.read_bytes += section.end - section.start
        lineage = delta.lineages.get(source.lineage) or self.lineages.get(source.lineage)
        keys: tuple[str, ...] = (file.key,)
        if lineage is not None:
            last_ns = last_ns or lineage.last_ns
            keys = lineage.keys if file.key in lineage.keys else (*lineage.keys, file.key)
        delta.lineages[source.lineage] = LineagePosition(source, tuple(section.state), last_ns, keys)
        if found is not None and found.file.source.lineage != source.lineage:
            self._leave(delta, found.file.source.lineage, file.key)

    def _leave(self, delta: Delta, name: str, key: str) -> None:
        """The file was renamed: its former lineage has it no more."""
        former = delta.lineages.get(name) or self.lineages.get(name)
        if former is not None:
            delta.lineages[name] = replace(former, keys=tuple(each for each in former.keys if each != key))

    def _fill(self, delta: Delta, found: FilePosition, section: Section) -> bool:
        """A section that reads a lost range again, from its start, or says by a gap that it cannot."""
        lost = self.lost if delta.lost is None else delta.lost
        reached = max([section.end, *(gap.end for gap in section.gaps)])
        for index, entry in enumerate(lost):
            if entry.file.key != section.file.key or not entry.start == section.start <= reached <= entry.end:
                continue
            rest = (Lost(section.file, reached, entry.end),) if reached < entry.end else ()
            delta.lost = (*lost[:index], *rest, *lost[index + 1 :])
            delta.read_bytes += section.source_bytes
            delta.files[found.file.key] = replace(
                found,
                read_bytes=found.read_bytes + section.source_bytes,
                skipped_bytes=found.skipped_bytes + reached - section.end,
                gaps=_add_gaps(found.gaps, section.gaps) if section.gaps else found.gaps,
                drops=_add(found.drops, section.drops) if section.drops else found.drops,
                seq=delta.seq,
            )
            return True
        return False

    # ------------------------------------------------------------ damage

    def plan_lost(self, ranges: Iterable[Lost]) -> Delta:
        """A damaged frame's ranges that the positions cover already: to be read again. Unknown files and bytes that are
        beyond the offset (they will be read anyway) or lost already are left out."""
        delta = Delta(self.seq)
        lost = list(self.lost)
        for file, start, end in ranges:
            found = delta.files.get(file.key) or self.files.get(file.key)
            if found is None:
                continue
            for low, high in _without(start, min(end, found.offset), lost, file.key):
                lost.append(Lost(found.file, low, high))
                found = replace(found, read_bytes=found.read_bytes - (high - low))
                delta.retired_bytes += high - low
                delta.files[file.key] = found
        if len(lost) > len(self.lost):
            delta.lost = tuple(lost)
        return delta


def check(positions: Positions) -> None:
    """ValueError where P3 or P4 does not hold: then a positions file was damaged or edited."""
    lost: dict[str, int] = {}
    for entry in positions.lost:
        lost[entry.file.key] = lost.get(entry.file.key, 0) + entry.end - entry.start
    for key, found in positions.files.items():
        if found.offset != found.read_bytes + found.skipped_bytes + lost.get(key, 0):
            raise ValueError(
                f"file {key}: offset {found.offset} is not read {found.read_bytes} + skipped {found.skipped_bytes} "
                f"+ lost {lost.get(key, 0)}"
            )
    read_bytes = sum(found.read_bytes for found in positions.files.values())
    if read_bytes + positions.retired_bytes != positions.total_bytes:
        raise ValueError(f"read {read_bytes} + retired {positions.retired_bytes} is not total {positions.total_bytes}")


def _covered(gaps: Sequence[Gap], start: int, end: int) -> bool:
    """Whether the gaps, together, cover [start, end)."""
    for gap in sorted(gaps):
        if gap.start <= start < gap.end:
            start = gap.end
    return start >= end


def _without(start: int, end: int, lost: Iterable[Lost], key: str) -> list[tuple[int, int]]:
    """[start, end) less what is in `lost` for this key."""
    out = []
    for entry in sorted((e for e in lost if e.file.key == key), key=lambda e: e.start):
        if entry.end <= start or entry.start >= end:
            continue
        if entry.start > start:
            out.append((start, entry.start))
        start = max(start, entry.end)
    if start < end:
        out.append((start, end))
    return out


def _add_gaps(known: Mapping[str, int], gaps: Iterable[Gap]) -> Mapping[str, int]:
    return _add(known, {}, [(gap.reason, gap.end - gap.start if gap.end >= 0 else gap.at_least) for gap in gaps])


def _add(known: Mapping[str, int], more: Mapping[str, int], pairs: Iterable[tuple[str, int]] = ()) -> Mapping[str, int]:
    out = dict(known)
    for reason, amount in (*more.items(), *pairs):
        out[str(reason)] = out.get(str(reason), 0) + amount
    return out


