"""What a file held that nobody will read: the section that says so and closes it. Driver: looks for a copy first.

    gone while it was closed ──► a copy, or a .gz, has its content? ──► it goes on there; else lose
    cut                      ──► lose_end: what was seen of it behind the offset
    not found at a start     ──► report_lost: what the positions say was there

Invariants:
  LO1  a loss is a gap, of the bytes that were seen and not read: at least so many were there (P1)
  LO2  its section moves no offset, closes the file, and ends a long line that was being skipped
  LO3  told again to a buffer that went back, it stands where the positions are now: what was read in between is gone too
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import GapReason
from ..model import FileRef, Gap, Section
from . import copies
from .file import TailFile
from .plan import KnownFile
from .ports import KnownPositions

if TYPE_CHECKING:
    from .lineage import Lineage


def closing(
    lineage: Lineage, ref: FileRef, offset: int, guard: str, gap: Gap | None, size: int, *, readable: bool = False
) -> Section:
    """The last section of a file that nobody will go on with, at `offset`; a long line that was being skipped ends in it."""
    batch = lineage.cutter.abandoned(ref.key, readable=readable)
    return Section(
        ref, offset, offset, guard, batch, lineage.decoder.state(), lineage.decoder.take_drops(ref.key),
        gaps=(gap,) if gap else (), size=size, closed=True,
    )


def closing_again(lineage: Lineage, section: Section, positions: KnownPositions) -> Section:
    """`section` closed a file that is gone, and the positions went back since: the same from where they are now (LO3)."""
    known = positions.files.get(section.file.key)
    at, guard = (known.offset, known.guard) if known is not None else (0, "")
    unread = section.end - at
    gap = section.gaps[0] if section.gaps else None
    if gap is None and unread:
        gap = Gap(at, -1, GapReason.ROTATED_AWAY, 0, lineage.last_ns, 0)
    if gap is not None:
        gap = gap._replace(start=at, at_least=gap.at_least + unread)
    return closing(lineage, section.file, at, guard, gap, max(section.size, at))


def report_lost(lineage: Lineage, ref: FileRef, lost: KnownFile, next_ns: int, *, torn: bool = False) -> None:
    """A file of the positions is not there. `torn`: it is, without its end, and goes on under another key; what was never seen of
    it nobody misses."""
    unread = max(0, lost.size - lost.offset)
    reason = GapReason.TRUNCATED if torn else GapReason.ROTATED_AWAY
    gap = Gap(lost.offset, -1, reason, unread, lost.last_ns, next_ns) if unread or not torn else None
    ref = FileRef(ref.key, lineage.source, ref.path, ref.device, ref.inode, ref.head_bytes, ref.head_hash)
    lineage.outbox.append(closing(lineage, ref, lost.offset, lost.guard, gap, lost.size))


def lose_end(lineage: Lineage, file: TailFile, ref: FileRef, seen_ns: int) -> None:
    """It was cut, and no copy has what was not read. Its size now is that of other content; what came behind the last look at it
    nobody knows: at least 0."""
    lost = max(0, file.proven_bytes - file.offset)
    gap = Gap(file.offset, -1, GapReason.TRUNCATED, lost, lineage.last_ns, seen_ns)
    lineage.outbox.append(closing(lineage, ref, file.offset, file.guard_digest, gap, max(file.proven_bytes, file.offset)))


def gone(lineage: Lineage, file: TailFile) -> None:
    """It was closed, and has no name any more. It goes on in the file that has its content (compressed meanwhile), or is lost."""
    found = copies.copy_of(lineage, file) if file.ref is not None else None
    if found is None:
        _lose(lineage, file)
        return
    lineage.files[lineage.files.index(file)] = found
    found.size = max(found.size, file.size)


def _lose(lineage: Lineage, file: TailFile) -> None:
    """It is gone while it was closed. What is known to have stood behind the offset is reported."""
    lineage.files.remove(file)
    if file.ref is None:
        return
    lost = max(0, file.size - file.offset)
    sections = lineage.cutter.finish(file, file.ref, b"")
    if lost:
        sections[-1].gaps = (Gap(file.offset, -1, GapReason.ROTATED_AWAY, lost, lineage.last_ns, 0),)
    lineage.outbox += sections
