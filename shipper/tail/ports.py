"""What the tail stage asks of the others, as small protocols: the agent hands in the real ones, tests fakes.

Plane: shapes only.
"""
from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..model import FileRef, Lost, Open, Section, Source


@dataclass(frozen=True, slots=True)
class Settings:
    """What a source's config says about reading (config.types)."""

    source_name: str
    form: str                  # auto | cri | docker | raw
    start_at: str              # beginning | end
    max_line: int
    max_record: int
    partial_timeout_s: float
    allowed_roots: tuple[str, ...]
    host_file: bool
    processing: Any = None     # config.processing.Processing: for whoever makes decoders; the tail stage does not look at it


@dataclass(frozen=True, slots=True)
class Seen:
    """One directory entry that belongs to a lineage. `order` rises from the oldest to the live file; `links`: how many names it
    has."""

    path: str
    device: int
    inode: int
    size: int
    live: bool
    compressed: bool
    order: int
    mtime_ns: int = 0
    links: int = 1


class Refused(Exception):
    """A file that may not or cannot be opened now. `reason` is a metric label; `again`: worth another try."""

    def __init__(self, reason: str, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.reason, self.again = reason, again


class Directory(Protocol):
    """The discover stage, as the tail stage sees it."""

    def siblings(self, source: Source) -> list[Seen]:
        """The live file and its rotated siblings, oldest first; [] where the directory is gone."""

    def open(self, path: str, settings: Settings) -> int:
        """A descriptor that was proven to be an allowed regular file (P10), or Refused."""

    def arm(self, fd: int, token: Any) -> bool:
        """One event when the file changes next; False where there is no inotify."""

    def disarm(self, token: Any) -> None:
        """Forget the token."""


class Formats(Protocol):
    """What the decode stage knows of a file's first line."""

    def taken_as_plain(self, line: bytes, source: str) -> None:
        """The first line of a file whose source says `plain`. It is said where it looks like a container's."""

    def sniff(self, line: bytes) -> str:
        """cri, docker or raw."""

    def first_ns(self, line: bytes, form: str) -> int:
        """The time of the record that begins so, in ns; 0 where its format has none."""


class Known(Protocol):
    """One file of the positions."""

    @property
    def file(self) -> FileRef: ...
    @property
    def offset(self) -> int: ...
    @property
    def guard(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def last_ns(self) -> int: ...
    @property
    def closed(self) -> bool: ...


class KnownLineage(Protocol):
    """One lineage of the positions."""

    @property
    def source(self) -> Source: ...
    @property
    def state(self) -> tuple[Open, ...]: ...
    @property
    def last_ns(self) -> int: ...


class KnownPositions(Protocol):
    """buffer.positions, as the tail stage sees it."""

    @property
    def files(self) -> Mapping[str, Known]: ...
    @property
    def lineages(self) -> Mapping[str, KnownLineage]: ...
    @property
    def lost(self) -> Sequence[Lost]: ...
    def keys_of(self, lineage: str) -> list[str]: ...


class FormerNames(Protocol):
    """elsewhere.Elsewhere, as a lineage asks for it."""

    def take(self, mine: Any, file: Any) -> Section | None: ...
    def holds(self, mine: Any, key: str) -> bool: ...
    def note(self, mine: Any) -> None: ...


class BufferPort(Protocol):
    """The buffer, as the tail stage sees it."""

    @property
    def positions(self) -> KnownPositions: ...
    @property
    def full(self) -> bool: ...
    @property
    def synced_seq(self) -> int: ...
    def submit(self, sections: list[Section]) -> Future[int]: ...
    def went_back(self) -> bool: ...
    async def wait_room(self) -> None: ...

