"""What a reader knows, for status, metrics and whoever asks whether it stands still. Changes nothing.

Invariants:
  FA1  what is asked each second costs no system call: sizes are those of the last look at each file
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .attention import Attention
from .file import TailFile
from .lineage import Lineage


class Facts:
    """Of one reader's lineages."""

    def __init__(self, lineages: Mapping[str, Lineage], attention: Attention) -> None:
        self._lineages, self._attention = lineages, attention

    def rows(self) -> list[dict[str, Any]]:
        """One per file, for /status and `positions show`. An fstat each."""
        rows = []
        for lineage in self._lineages.values():
            source = lineage.source
            for file in [*lineage.done, *lineage.files]:
                size = file.offset if file.in_zeros else file.stat_size()       # a preallocated log is as long as what is in it
                rows.append({
                    "path": file.path, "key": file.ref.key if file.ref else "", "source": source.name,
                    "namespace": source.namespace, "pod": source.pod, "container": source.container,
                    "size": size, "position": file.offset, "lag_bytes": max(0, size - file.offset),
                    "last_record_ns": lineage.last_ns, "state": _state_of(lineage, file),
                })
        return rows

    def keys(self) -> list[str]:
        """Of all files that are there, compressed ones that were read included."""
        return [key for lineage in self._lineages.values() for key in lineage.file_keys()]

    def states(self) -> Counter[str]:
        """How many files are in each state (FA1)."""
        return Counter([
            _state_of(lineage, file) for lineage in self._lineages.values() for file in (*lineage.done, *lineage.files)])

    def lag_by_source(self) -> dict[str, int]:
        """Bytes behind the offsets, of each source that has files (FA1). 5,000 files: 1 ms."""
        found: dict[str, int] = {}
        for lineage in self._lineages.values():
            lag = 0
            for file in lineage.files:
                if file.size > file.offset and not file.in_zeros:
                    lag += file.size - file.offset
            name = lineage.source.name
            found[name] = found.get(name, 0) + lag
        return found

    def lag_bytes(self) -> int:
        """Of all sources (FA1)."""
        return sum(self.lag_by_source().values())

    def unread_bytes(self) -> int:
        """Bytes that could be read now (FA1): of open files, without unfinished lines, which only their writer can finish, and
        without files whose last read failed."""
        quiet, tried_again = self._attention.quiet, self._attention.tried_again       # quiet: read to its end, most of them
        found = 0
        for name, lineage in self._lineages.items():
            if name not in quiet and not tried_again(name):
                found += sum([max(0, f.size - f.offset - f.rest_bytes) for f in lineage.files if f.handle is not None])
        return found

    def held_bytes(self) -> int:
        """Unread bytes of deleted files that are still open. An fstat for each of these."""
        return sum(max(0, file.stat_size() - file.offset)
                   for lineage in self._lineages.values() for file in lineage.files if file.deleted_since_s is not None)


def _state_of(lineage: Lineage, file: TailFile) -> str:
    if file in lineage.done:
        return "done"
    if file.deleted_since_s is not None:
        return "deleted"
    if file is not lineage.files[0]:
        return "waiting"
    if lineage.armed is not file or not file.ended:
        return "reading"
    return "unfinished" if file.rest_bytes else "quiet"            # unfinished: what is left has no newline yet
