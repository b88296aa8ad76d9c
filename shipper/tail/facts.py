"""What the reader knows, as rows. Pure: reads attributes and sizes, changes nothing."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .file import TailFile
from .lineage import Lineage


def rows_of(lineages: Iterable[Lineage]) -> list[dict[str, Any]]:
    """One row per file."""
    rows = []
    for lineage in lineages:
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


def states_of(lineages: Iterable[Lineage]) -> Counter[str]:
    """How many files are in each state; no system call."""
    return Counter([_state_of(lineage, file) for lineage in lineages for file in (*lineage.done, *lineage.files)])


def held_bytes_of(lineages: Iterable[Lineage]) -> int:
    """Unread bytes of files that were deleted."""
    return sum(max(0, file.stat_size() - file.offset)
               for lineage in lineages for file in lineage.files if file.deleted_since_s is not None)


def lag_by_source(lineages: Iterable[Lineage]) -> dict[str, int]:
    """Unread bytes per source as of the last look at each file; no system call. 5,000 files: 1 ms."""
    found: dict[str, int] = {}
    for lineage in lineages:
        lag = 0
        for file in lineage.files:
            if file.size > file.offset and not file.in_zeros:
                lag += file.size - file.offset
        name = lineage.source.name
        found[name] = found.get(name, 0) + lag
    return found


def unread_bytes_of(lineages: Iterable[Lineage]) -> int:
    """Bytes that could be read now: open files, without the unfinished lines that only their writer can finish."""
    return sum(max(0, f.size - f.offset - f.rest_bytes) for x in lineages for f in x.files if f.handle is not None)


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
