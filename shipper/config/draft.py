"""What the rules look at and what they say. Pure; shapes and two small words for numbers."""
from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

from .kubernetes import Kubernetes
from .processing import ProcessRule, TestCase
from .tree import Path
from .types import Admin, BufferSettings, SinkCommon, SinkEntry, SourceSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""Names of sources and sinks: metric labels and file names."""


@dataclass(slots=True)
class Draft:
    """What of a config could be converted; None and left-out names stand for what was wrong and is already reported.

    given        the key paths that the file has
    commons      what every sink takes; also of sinks whose own keys are wrong
    """

    given: Container[Path]
    node: str | None = ""
    state_dir: str | None = None
    sources: dict[str, SourceSettings] = field(default_factory=dict)
    buffer: BufferSettings | None = None
    sinks: dict[str, SinkEntry] = field(default_factory=dict)
    commons: dict[str, SinkCommon] = field(default_factory=dict)
    admin: Admin | None = None
    source_names: list[str] = field(default_factory=list)
    sink_names: list[str] = field(default_factory=list)
    shutdown_grace: float | None = None
    lock_wait: float | None = None
    process: tuple[ProcessRule, ...] | None = ()
    tests: tuple[TestCase, ...] | None = ()
    kubernetes: Kubernetes | None = None


@dataclass(slots=True)
class Findings:
    errors: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)

    def error(self, path: Path, text: str) -> None:
        self.errors.append((path, text))

    def warn(self, path: Path, text: str) -> None:
        self.warnings.append((path, text))


def size(size_bytes: int) -> str:
    """As people write it: 16MiB."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = 1024 ** (1 + ("KiB", "MiB", "GiB", "TiB").index(unit))
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + unit
    return f"{size_bytes}B"


def duration(seconds: float) -> str:
    """About how long: 17 minutes."""
    for unit, factor in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds:.0f} seconds"
