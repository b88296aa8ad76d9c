"""What discovery hands out. Shapes only.

    SourceSpec   one configured source, as discovery needs it
    LogFile      one lineage: a live path and its directory, found and claimed by one source
    SiblingStat  one file of a lineage, with what stat says
    Changes      what one scan found

Plane: pure.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shipper.discover.siblings import OrderHint
from shipper.model import Source


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source of the config. `kind`: "containers" or "files". `config` is passed through to LogFile untouched.

    `allowed_roots`: for "files" the directories of the includes (before the first wildcard) are allowed as well.
    """

    name: str
    kind: str
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    allowed_roots: tuple[str, ...] = ()
    node: str = ""
    config: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class LogFile:
    """One lineage. Compared by identity; the same object from `appeared` to `vanished`.

    live_path     resolved; it may not exist (rotation window) while directory or siblings do
    directory     of live_path; where the siblings are
    name          base name of live_path, as the file system has it (surrogate escapes for bytes that are not UTF-8)
    allowed_roots resolved once; what `open_log` takes
    """

    source: Source
    live_path: str
    directory: str
    name: str
    source_name: str
    source_config: Any = field(repr=False)
    allowed_roots: tuple[str, ...] = ()


class SiblingStat(NamedTuple):
    """One file of a lineage as it was a moment ago: siblings.Sibling's fields, then stat's."""

    path: str
    name: str
    compressed: bool
    rotated: bool
    order_hint: OrderHint
    device: int
    inode: int
    size: int
    mtime_ns: int
    links: int = 1


@dataclass(slots=True)
class Changes:
    """What a scan found. `changed`: known lineages whose directory has other entries than before (rotation)."""

    appeared: list[LogFile] = field(default_factory=list)
    vanished: list[LogFile] = field(default_factory=list)
    changed: list[LogFile] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.appeared or self.vanished or self.changed)
