"""A file that another lineage has read: renamed to a name that an `include` matches too (app.log to app.1.log under *.log, or
into a directory that is read as well). Driver: fstat and preads; once per file that nobody of its own lineage knows.

    old name   app.log ──► read ──► at its end, or in `done` ──┐ let go
    new name   app.1.log ──► looked at: same inode, head, guard ┴─► goes on there, with key and offset

Invariants:
  E1  what was read under the former name is not read again, also where the rename was while no agent ran (positions)
  E2  one lineage reads a file: as long as the other has something unread or unfinished of it, it is looked at again later
  E3  an inode says where to look, content decides; a file with two names (hard links) is nobody's but its own
  E4  what is remembered is bounded by twice the files that there are; thousands of new files at once cost one pass over the
      positions, not one each
"""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from ..model import FileRef, Section
from .file import TailFile
from .identity import has_head_of
from .ports import Known, KnownPositions

if TYPE_CHECKING:
    from .lineage import Lineage


MOST_NOTED = 10_000


class Busy(Exception):
    """Another lineage still reads the file (E2)."""


class Former(NamedTuple):
    """Where the file stood under its former name."""

    ref: FileRef
    offset: int
    guard: str


class Elsewhere:
    """`complete()`: every lineage that there is was told."""

    def __init__(
        self, lineages: Mapping[str, Lineage], positions: Callable[[], KnownPositions], complete: Callable[[], bool]
    ) -> None:
        self._lineages, self._positions, self._complete = lineages, positions, complete
        self._index: dict[tuple[int, int], list[str]] = {}
        self._index_of: tuple[int, str] | None = None
        self._owner: dict[tuple[int, int], str] = {}      # of what was looked at: who had it last
        self._most = MOST_NOTED

    def take(self, mine: Lineage, file: TailFile) -> Section | None:
        """Makes `file`, which is open and has no key, go on where it stood; the section that says so. None where it is nobody's.
        Raises Busy."""
        if not mine.settings.host_file or file.compressed or os.fstat(file.fd).st_nlink > 1:
            return None
        former = self._tracked(mine, file) or self._known(mine, file)
        if former is None:
            return None
        key, head_bytes, head_hash = former.ref.key, former.ref.head_bytes, former.ref.head_hash
        ref = FileRef(key, mine.source, file.path, file.device, file.inode, head_bytes, head_hash)
        file.resume(ref, former.offset, former.guard)
        return Section(ref, former.offset, former.offset, former.guard, None, mine.decoder.state(), size=former.offset)

    def holds(self, mine: Lineage, key: str) -> bool:
        """Does another lineage go on with this file of ours? True too where nobody can say yet."""
        if not self._complete():
            return mine.settings.host_file
        others = [other for other in self._lineages.values() if other is not mine and other.settings.host_file]
        return any(key in other.file_keys() for other in others)

    def note(self, mine: Lineage) -> None:
        """After a look: these files are this lineage's."""
        for file in [*mine.files, *mine.done]:
            self._owner[file.node_id] = mine.source.lineage
        if len(self._owner) > self._most:                # of files that are gone
            hosts = {name: x for name, x in self._lineages.items() if x.settings.host_file}
            self._owner = {f.node_id: name for name, x in hosts.items() for f in [*x.files, *x.done]}
            self._most = max(MOST_NOTED, 2 * len(self._owner))

    def _tracked(self, mine: Lineage, file: TailFile) -> Former | None:
        other = self._lineages.get(self._owner.get(file.node_id, ""))
        if other is None or other is mine:
            return None
        for tracked in [f for f in [*other.files, *other.done] if f.node_id == file.node_id]:
            former = _former(tracked)
            if former is not None and not _holds(former, file):
                continue
            if former is not None and tracked in other.files and not _is_read(other, tracked):
                raise Busy
            (other.files if tracked in other.files else other.done).remove(tracked)
            tracked.close()
            if former is not None:
                return former
        return None

    def _known(self, mine: Lineage, file: TailFile) -> Former | None:
        files = self._positions().files
        for key in self._keys_at(file.node_id):
            known = files.get(key)
            if known is None or known.file.source.kind != "files" or known.file.source.lineage == mine.source.lineage:
                continue
            former = Former(known.file, known.offset, known.guard)
            if _holds(former, file):
                return former
        return None

    def _keys_at(self, node_id: tuple[int, int]) -> list[str]:
        files = cast("dict[str, Known]", self._positions().files)
        state = len(files), next(reversed(files), "")
        if state != self._index_of:
            self._index, self._index_of = {}, state
            for key, known in files.items():
                self._index.setdefault((known.file.device, known.file.inode), []).append(key)
        return self._index.get(node_id, [])


def _former(tracked: TailFile) -> Former | None:
    """None where nothing was read of it that counts."""
    if tracked.ref is None:
        return None
    return Former(tracked.ref, tracked.offset, tracked.guard_digest)


def _holds(former: Former, file: TailFile) -> bool:
    return has_head_of(former.ref, file.head()) and (not former.offset or file.guard_at(former.offset) == former.guard)


def _is_read(other: Lineage, tracked: TailFile) -> bool:
    """Nothing of it is unread, but for a line without its end, and nothing that began in it is open."""
    return (tracked.handle is not None and other.decoder.oldest_open_s() is None and not other.outbox
            and tracked.stat_size() == tracked.offset + tracked.rest_bytes)
