"""Where the content of a file is, too: copytruncate's copy, a .gz, the same file under another name. Driver: opens and preads.

    before the cut   the copy holds what the live file holds, as far as it goes ──► it is nothing of its own (is_copy)
    after it         the copy holds head and guard of what was read ──► it goes on with that key and offset (copy_of)
    renamed over it  the new version of a log that is deleted by that goes on with its key and offset (takes_over)

Invariants:
  Y1  a file is what it contains: head and guard decide, name and inode only say where to look
  Y2  who is being written while it is looked at gets no key: the next look decides
"""
from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..model import FileRef
from .file import TailFile
from .identity import HEAD_BYTES, has_head_of
from .plan import ends_before
from .ports import Refused

if TYPE_CHECKING:
    from .lineage import Lineage


def is_being_copied(lineage: Lineage, file: TailFile, head: bytes) -> bool:
    """Asked once more when its head is there: it may have been empty, or cut for the second half of its content, when
    `told_apart` looked. Then it has no key yet, and the next read looks again."""
    if file.live or file.compressed or file.handle is None:
        return False
    cut = any(other.live and lineage.is_cut(other, 0) for other in lineage.files)
    return cut or os.fstat(file.fd).st_size < len(head) or is_copy(lineage, file)


def is_copy(lineage: Lineage, file: TailFile, others: Iterable[TailFile] = ()) -> bool:
    """copytruncate before the truncation: a rotated name whose content, as far as it is there, a live file has as well.
    What is missing in it when its original is cut is found by `replaced`."""
    if file.ref is not None or file.live or file.compressed or file.handle is None:
        return False
    seen = os.fstat(file.fd)
    return seen.st_size > 0 and any(_has(lineage, other, file, seen) for other in [*lineage.files, *others] if other.live)


def _has(lineage: Lineage, other: TailFile, file: TailFile, seen: os.stat_result) -> bool:
    if other.handle is None:                         # quiet for long
        if other.ref is None or (again := open_again(lineage, other)) is None:
            return False
        try:
            return _has(lineage, again, file, seen)
        finally:
            again.close()
    head = file.head()
    if other.pread(len(head), 0) != head:
        return False
    if seen.st_size <= HEAD_BYTES and lineage.settings.host_file and seen.st_mtime_ns < os.fstat(other.fd).st_mtime_ns:
        return False                                 # two short files that begin alike: a program without timestamps
    return other.guard_at(seen.st_size) == file.guard_at(seen.st_size)


def copy_of(lineage: Lineage, file: TailFile) -> TailFile | None:
    """Where its content goes on: in a file that was taken in while it was empty (and may be unlinked by now), or beside."""
    begun = [f for f in [*lineage.files, *lineage.done] if f.ref is None and f.handle is not None and not f.live]
    for taken in begun:
        if taken is not file and _goes_on(lineage, file, taken):
            (lineage.files if taken in lineage.files else lineage.done).remove(taken)
            return taken
    for seen in lineage.directory.siblings(lineage.source):
        if (seen.device, seen.inode) == file.node_id:
            continue
        copy = _opened(lineage, seen.path, (seen.device, seen.inode), seen.compressed)
        if copy is None:
            continue                                 # counted when it was looked at
        if _goes_on(lineage, file, copy):
            lineage.ignored.forget(copy.node_id)
            for files in (lineage.files, lineage.done):    # taken in while it was empty, and closed since
                files[:] = [f for f in files if f.node_id != copy.node_id or f.ref is not None]
            return copy
        copy.close()
    return None


def takes_over(lineage: Lineage, file: TailFile, new: TailFile) -> bool:
    """`file` is deleted, and `new`, which has its name, holds what was read of it: is it its new version (rsync, sed -i)? Then it
    goes on in its place, unread bytes and half a line included. False where `new` has not all that `file` still holds."""
    whole = not file.compressed and (file.handle is None or _same_to(file.stat_size(), file, new))
    if not whole or not _goes_on(lineage, file, new):
        return False
    new.in_old_line, new.passed = file.in_old_line, file.passed
    if file in lineage.files:
        lineage.files[lineage.files.index(file)] = new
    else:
        lineage.done.remove(file)
        lineage.files.append(new)
    file.close()
    return True


def _same_to(offset: int, file: TailFile, other: TailFile) -> bool:
    guard = file.guard_at(offset)
    return guard is not None and other.guard_at(offset) == guard


def ignore_shorter(lineage: Lineage, file: TailFile) -> None:
    """`file` was cut, and its content goes on nowhere. A copy that was made before its last lines came is nothing of its own."""
    for begun in [f for f in [*lineage.files, *lineage.done] if f.ref is None and f.handle is not None and not f.live]:
        if _is_shorter(lineage, file, begun, os.fstat(begun.fd).st_mtime_ns):
            (lineage.files if begun in lineage.files else lineage.done).remove(begun)
            _pass_by(lineage, file, begun)
    for seen in lineage.directory.siblings(lineage.source):
        if seen.live or (seen.device, seen.inode) == file.node_id:
            continue
        copy = _opened(lineage, seen.path, (seen.device, seen.inode), seen.compressed)
        if copy is None:
            continue
        if _is_shorter(lineage, file, copy, seen.mtime_ns):
            _pass_by(lineage, file, copy)
        copy.close()


def _is_shorter(lineage: Lineage, file: TailFile, copy: TailFile, mtime_ns: int) -> bool:
    ref = file.ref
    if ref is None or not ends_before(mtime_ns, lineage.last_ns):
        return False
    return has_head_of(ref, copy.head()) and copy.guard_at(file.offset) is None


def _pass_by(lineage: Lineage, file: TailFile, copy: TailFile) -> None:
    assert file.ref is not None
    lineage.ignored.add(copy, file.ref.key)
    copy.close()


def _goes_on(lineage: Lineage, file: TailFile, copy: TailFile) -> bool:
    """Does `copy` hold what `file` held? Then it takes over its key and offset."""
    ref = file.ref
    assert ref is not None
    if not _holds(file, copy):
        return False
    moved = FileRef(ref.key, lineage.source, copy.path, copy.device, copy.inode, ref.head_bytes, ref.head_hash)
    copy.resume(moved, file.offset, file.guard_digest)
    copy.form, copy.begun = file.form, file.begun
    return True


def _holds(file: TailFile, copy: TailFile) -> bool:
    """Does `copy` begin as `file` did, and has it what stood in front of the offset?"""
    ref = file.ref
    assert ref is not None
    offset, guard = file.evidence
    return has_head_of(ref, copy.head()) and copy.guard_at(offset) == guard


def open_again(lineage: Lineage, file: TailFile) -> TailFile | None:
    """A closed file by its name, or, where that is gone or another file's since the last look, by its content."""
    places = [(file.path, file.compressed)]
    places += [(seen.path, seen.compressed) for seen in lineage.directory.siblings(lineage.source)]
    for path, compressed in places:
        again = _opened(lineage, path, file.node_id, compressed)
        if again is None:
            continue
        if _holds(file, again):
            return again
        again.close()
    return None


def open_ignored(lineage: Lineage, key: str) -> TailFile | None:
    """The copy, or the .gz, of a file that was read and is gone: ignored, but its content may be asked for again."""
    for seen in lineage.directory.siblings(lineage.source):
        if lineage.ignored.holds(seen, key):
            copy = _opened(lineage, seen.path, (seen.device, seen.inode), seen.compressed)
            if copy is not None:
                return copy
    return None


def _opened(lineage: Lineage, path: str, node_id: tuple[int, int], compressed: bool) -> TailFile | None:
    """The file there, open for a look; None where it may not be opened. Whoever asks closes it, or keeps it."""
    file = TailFile(path, *node_id, live=False, compressed=compressed)
    try:
        file.attach(lineage.directory.open(path, lineage.settings))
    except Refused:
        return None
    return file
