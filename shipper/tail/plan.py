"""Which of the files found are files that I knew, and in which order the others follow. Pure.

Facts in: what the positions know of a lineage (`KnownFile`), what lies in its directory (`FoundFile`). Out: `Plan`.

    found   head and guard of a known file      -> Continue: that file goes on at its offset, whatever its name is now
            the same, but the known file itself is there too  -> a copy (copytruncate in the middle): ignored
            head of a known one, but shorter than its offset and another inode -> a copy being made: looked at again later
            the same, the known file is gone, and nothing was written to it since its last record -> the copy of a file that was
            read on after it was copied, and then cut: ignored
            the same, or zeros where its guard stood, and nothing in it is newer than what was read -> a power cut took its end:
            Begin behind what there is (it may be written on, so that it is another file from there on)
            else                                -> Begin: a file never read, from its beginning (or its end: start_at)
    known   not found, not closed               -> Lost: what it still held is gone; how much is told as far as it is known
            none of them found, all closed, and something begins -> the newest is Lost: what came between nobody saw

Invariants:
  N1  a found file has one verdict; a known file is continued at most once
  N2  rotated files are read in the order of their first record's time where all have one, else of their names; the live
      file last
  N3  nothing that was read is read again: a file whose head and guard agree is never begun anew
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .identity import GUARD_BYTES, digest, has_head_of

ZEROS = digest(bytes(GUARD_BYTES))
"""What a file system leaves of blocks whose data did not reach the disk."""
OUT_OF_ORDER_NS = 1_000_000_000
"""No machine is back within a second."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    key: str
    device: int
    inode: int
    head_bytes: int
    head_hash: str
    offset: int
    guard: str
    size: int
    last_ns: int
    closed: bool


@dataclass(frozen=True, slots=True)
class FoundFile:
    """`head`: its first bytes, up to 1 KiB. `guard_at(offset)`: digest of the bytes in front of it, None if too short.

    mtime_ns: its last write; 0: unknown. `last_ns`: the time of its last whole line, 0 where lines have none.
    size_bytes: uncompressed (of a .gz what its trailer says, modulo 4 GiB); -1: unknown. `damaged`: a .gz that ends too early,
    as far as it was inflated.
    """

    path: str
    device: int
    inode: int
    live: bool
    compressed: bool
    order: int
    head: bytes
    first_ns: int
    guard_at: Callable[[int], str | None] = field(compare=False)
    size_bytes: int = -1
    mtime_ns: int = 0
    damaged: Callable[[], bool] = field(default=lambda: False, compare=False)
    last_ns: Callable[[], int] = field(default=lambda: 0, compare=False)


@dataclass(frozen=True, slots=True)
class Continue:
    found: FoundFile
    key: str


@dataclass(frozen=True, slots=True)
class Begin:
    """`read_before`: what there is of it now was read, under another key."""

    found: FoundFile
    read_before: bool = False


@dataclass(slots=True)
class Plan:
    """`files` in reading order. `later`: no verdict, so that the next look finds them new again. `copies`: never read; `copy_of`:
    whose, by inode. `lost`: known keys; `torn`: those of them whose file is there, without its end."""

    files: list[Continue | Begin] = field(default_factory=list)
    copies: list[FoundFile] = field(default_factory=list)
    copy_of: dict[tuple[int, int], str] = field(default_factory=dict)
    later: list[FoundFile] = field(default_factory=list)
    lost: list[KnownFile] = field(default_factory=list)
    torn: set[str] = field(default_factory=set)


def plan(
    known: Sequence[KnownFile], found: Sequence[FoundFile], *, start_at: str, open_keys: frozenset[str] = frozenset()
) -> Plan:
    """The verdict on every file of one lineage that is not open yet.

    `open_keys`: known files that are open (or were read to their end while we looked on): what is like one of them is a copy.
    """
    out = Plan()
    owner = {k.key: f for k in known for f in found if (f.device, f.inode) == (k.device, k.inode) and _is(k, f)}
    taken: dict[str, FoundFile | None] = {**owner, **dict.fromkeys(open_keys)}
    verdicts: list[Continue | Begin] = []
    for file in found:
        key, verdict = _match(file, known, taken)
        if verdict == "continue":
            taken[key] = file
            verdicts.append(Continue(file, key))
        elif verdict == "copy":
            out.copies.append(file)
            out.copy_of[file.device, file.inode] = key
        elif verdict == "later":
            out.later.append(file)
        elif verdict == "torn":
            verdicts.append(Begin(file, read_before=True))
            out.torn.add(key)
        else:
            verdicts.append(Begin(file))
    out.lost = [k for k in known if k.key not in taken and not k.closed]
    out.files = _in_order(_wanted(verdicts, known, start_at))
    none_found = known and not out.lost and not out.torn and not any(k.key in taken for k in known)
    if none_found and any(isinstance(v, Begin) for v in out.files):
        # The oldest files are removed first: only as long as one of ours is there, nothing is missing behind it.
        out.lost = [max(known, key=lambda k: k.last_ns)]
    return out


def _is(known: KnownFile, found: FoundFile) -> bool:
    return has_head_of(known, found.head) and found.guard_at(known.offset) == known.guard


def _match(file: FoundFile, known: Sequence[KnownFile], taken: dict[str, FoundFile | None]) -> tuple[str, str]:
    unsure, torn = False, ""
    for candidate in known:
        if not has_head_of(candidate, file.head):
            continue
        guard = candidate.guard if _ends_there(candidate, file) else file.guard_at(candidate.offset)
        if guard == candidate.guard:
            if taken.get(candidate.key, file) is file:
                return candidate.key, "continue"
            return candidate.key, "copy"
        if guard is None and not file.live and _cut_short(file, taken.get(candidate.key)):
            unsure = True
        elif guard is None and not file.live and candidate.key not in taken and ends_before(file.mtime_ns, candidate.last_ns):
            return candidate.key, "copy"
        elif guard in (None, ZEROS) and candidate.key not in taken and not file.compressed and _has_nothing_new(file, candidate):
            torn = candidate.key
    return torn, "later" if unsure else "torn" if torn else "begin"


def _has_nothing_new(file: FoundFile, known: KnownFile) -> bool:
    """Lines that a machine wrote after its restart, before we looked, are newer than what we read before it went down. Two
    streams in one file are not in the exact order of their times."""
    last_ns = file.last_ns()
    return last_ns <= known.last_ns + OUT_OF_ORDER_NS if last_ns else ends_before(file.mtime_ns, known.last_ns)


def ends_before(mtime_ns: int, last_record_ns: int) -> bool:
    """Of two files that begin alike, the shorter one: was it finished before the other's last record? Then it is what
    copytruncate took of that (logrotate syncs a copy before it cuts: lines are written and read meanwhile). A file of its own
    that begins alike is written later, or was read in its turn."""
    return 0 < mtime_ns <= last_record_ns


def _ends_there(known: KnownFile, file: FoundFile) -> bool:
    """The .gz of a file that was read to its end is not inflated just to prove it (100 ms per 10 MiB): its length is enough.
    The head alone is not: docker's lines end with their time, so that two files with long first lines have one head."""
    return file.compressed and known.closed and file.size_bytes in (-1, known.offset % 2**32)


def _cut_short(file: FoundFile, whole: FoundFile | None) -> bool:
    """Shorter than what was read of a file that begins alike: half of it, or another one?"""
    if file.compressed:
        return file.damaged()
    size = file.size_bytes if file.size_bytes >= 0 else len(file.head)
    return whole is not None and whole is not file and whole.guard_at(size) == file.guard_at(size)


def _wanted(verdicts: list[Continue | Begin], known: Sequence[KnownFile], start_at: str) -> list[Continue | Begin]:
    """With start_at: end, rotated files that were there before the first look are no business of ours."""
    if start_at == "beginning":
        return verdicts
    newest_ns = max((k.last_ns for k in known), default=0)
    orders = [v.found.order for v in verdicts if isinstance(v, Continue)]
    oldest = min(orders) if orders else None

    def behind(file: FoundFile) -> bool:
        if file.live:
            return True
        if oldest is not None:
            return file.order > oldest
        return bool(known) and (file.first_ns == 0 or file.first_ns >= newest_ns)

    return [v for v in verdicts if isinstance(v, Continue) or behind(v.found)]


def _in_order(verdicts: list[Continue | Begin]) -> list[Continue | Begin]:
    by_name = sorted(verdicts, key=lambda v: (v.found.live, v.found.order))
    if all(v.found.first_ns for v in verdicts if v.found.head and not v.found.live):
        # Names carry local time without a zone: at the end of summer time an hour comes twice. Content decides.
        return sorted(by_name, key=lambda v: (v.found.live, v.found.first_ns))
    return by_name
