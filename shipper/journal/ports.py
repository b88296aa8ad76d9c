"""What the journal stage asks of the others, and its backends of each other, as small protocols. Plane: shapes only."""
from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..model import Batch, FileRef, Lost, Open, Section
from .export import Entry
from .places import Place


class Trouble(Exception):
    """The entries cannot be read now; the message says why and the mend. Tried again, after a while."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One source, as this stage takes it. `signature`: equal where the same entries are read in the same form; ids go on counting
    only then."""

    name: str
    start_at: str
    signature: str
    unfiltered: bool          # every entry comes, so that a hole in their numbers is a loss


class Stream(Protocol):
    """Entries in their order, as they come."""

    async def read(self, quiet_s: float = ...) -> list[Entry] | None:
        """Entries, [] where there was none for `quiet_s` or somebody interrupted, None at the end. Trouble."""

    def interrupt(self) -> None:
        """The `read` that waits returns."""

    async def close(self) -> None: ...


class Backend(Protocol):
    """Where entries come from."""

    def stream(self, cursor: str, *, follow: bool) -> Awaitable[Stream]:
        """From the entry at `cursor` on (that one included, where it is there still), or from the first one."""

    def backwards(self, cursor: str) -> Awaitable[Stream]:
        """From the entry at `cursor` back to the first one, filtered as `stream`. Where that one is gone another comes first."""

    def first_at(self, cursor: str) -> Awaitable[Entry | None]:
        """The first entry at or behind `cursor`, whatever is filtered; None where there is none."""

    def newest(self) -> Awaitable[Entry | None]:
        """The newest entry, whatever is filtered."""

    def place_of(self, cursor: str | bytes) -> Place: ...


class Decoder(Protocol):
    """records.EntryDecoder, or the same with processing steps behind it."""

    @property
    def hold_until_s(self) -> float: ...
    def decode(self, key: str, start: int, lines: list[Any], *, read_ns: int, now_s: float, reread: Any) -> Batch | None: ...
    def flush(self, *, before_s: float, read_ns: int, reread: Any) -> list[tuple[str, Batch]]: ...
    def look_back(self, key: str, start: int, lines: list[Any], *, read_ns: int, now_s: float, reread: Any) -> None: ...
    @property
    def look_back_bytes(self) -> int: ...
    def oldest_open_s(self) -> float | None: ...
    def take_drops(self) -> dict[str, int] | None: ...
    def state(self) -> tuple[Open, ...]: ...
    def restore(self, state: tuple[Open, ...], now_s: float) -> None: ...


class Known(Protocol):
    """One file of the positions."""

    @property
    def file(self) -> FileRef: ...
    @property
    def offset(self) -> int: ...
    @property
    def last_ns(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    @property
    def cursor(self) -> str: ...


class KnownLineage(Protocol):
    @property
    def state(self) -> tuple[Open, ...]: ...


class KnownPositions(Protocol):
    @property
    def files(self) -> Mapping[str, Known]: ...
    @property
    def lineages(self) -> Mapping[str, KnownLineage]: ...
    @property
    def lost(self) -> Sequence[Lost]: ...
    def keys_of(self, lineage: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Output:
    """The way into the buffer that all sources share.

    positions  what the buffer knows
    submit     one frame; its future fails where the buffer went back. Only then `rewind` of the driver is called
    claim      take a key that is new; False where it is another's
    full       whether the buffer takes no more at present; room: returns when it does
    pace       returns when sinks that keep up have had their turn
    """

    positions: Callable[[], KnownPositions]
    submit: Callable[[list[Section]], Future[int]]
    claim: Callable[[str], bool]
    full: Callable[[], bool]
    room: Callable[[], Coroutine[Any, Any, None]]
    pace: Callable[[], Awaitable[None]]
