"""Records encoded for a sink while their columns are in the core's cache, and columns kept as the bytes they were joined to.

    submit ──► columns joined for the disk ──► each sink that keeps up encodes ──► columns let go, the joined bytes stay

A request is formed several chunks later, when the columns have left the second-level cache: encoding them then costs twice
as much, and the million small objects a second that wait for it keep malloc from giving the same memory out again. Measured
in catch-up: 20 to 25 % less CPU, and no more memory.

Invariants (tests/buffer/test_early.py):
  E1  what is encoded early is what would have been encoded later: the sink's own `encode`, on the same batch
  E2  a folded column is equal to the one it stands for, at every index and slice; it is split again on first use
  E3  an encoder that fails, or does not want to, changes nothing: its columns stay
  E4  what waits is bounded: pieces are made while a sink is at most 3 MiB of source bytes behind (agent.buffer_view), for
      MOST_SINKS at most, and not of lines that are so short that a piece is many times their size; a sink that ends takes
      its pieces along (ring.forget)
Pure. Hot: once per frame; batches of fewer than MIN_RECORDS are left alone (everyday rates: it would not pay).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from ..model import Batch, Frame
from .columns import split_column

MIN_RECORDS = 64
MIN_RECORD_BYTES = 32
MOST_SINKS = 3
_COLUMNS = ("times", "streams", "ids", "messages", "severities", "fields")

Early = Callable[[Batch], Any]
"""The batch, encoded; b"" where this sink will not read it from memory; None where it will, later."""


def encode_early(frame: Frame, early: Mapping[Any, Early]) -> None:
    """Give every batch of `frame` to `early`, and fold the frame's columns where no sink will need them soon."""
    batches = [(section, section.batch) for section in frame.sections if section.batch is not None and len(section.batch)]
    wanted = not batches
    for section, batch in batches:
        if len(batch) < MIN_RECORDS or section.end - section.start < MIN_RECORD_BYTES * len(batch):
            wanted = True
            continue
        for key, encode in early.items():
            piece = encode(batch) if batch.encoded is None or len(batch.encoded) < MOST_SINKS else None
            if piece is None:
                wanted = True
            elif piece:
                batch.encoded = batch.encoded or {}
                batch.encoded[key] = piece
    if not wanted:
        for section, _ in batches:
            section.held_bytes                           # noqa: B018 - measured while the columns are still there
        fold(frame.joined, [batch for _, batch in batches])


def fold(joined: Any, batches: Sequence[Batch]) -> None:
    """The columns of `batches` become views of `joined`, segment.join_columns of just these (E2)."""
    whole = _Joined(joined, sum(map(len, batches)))
    low = 0
    for batch in batches:
        high = low + len(batch)
        for name in _COLUMNS:
            if getattr(batch, name) is not None:
                setattr(batch, name, Folded(whole, name, low, high))
        low = high


class _Joined:
    """The joined columns of one frame; each is split once, if ever."""

    __slots__ = ("_bytes", "_count", "_values")

    def __init__(self, joined: tuple[list[list[Any]], list[bytes]], count: int) -> None:
        columns, body = joined
        self._bytes = {name: (encoding, data) for (name, encoding, _), data in zip(columns, body) if name in _COLUMNS}
        self._values: dict[str, Sequence[bytes]] = {}
        self._count = count

    def values(self, name: str) -> Sequence[bytes]:
        if name not in self._values:
            encoding, data = self._bytes.pop(name)
            self._values[name] = split_column(encoding, data, self._count)
        return self._values[name]


class Folded(Sequence[bytes]):
    """Rows [low, high) of one joined column."""

    __slots__ = ("_high", "_joined", "_low", "_name", "_rows")

    def __init__(self, joined: _Joined, name: str, low: int, high: int) -> None:
        self._joined, self._name, self._low, self._high = joined, name, low, high
        self._rows: Sequence[bytes] | None = None

    def rows(self) -> Sequence[bytes]:
        """The column itself."""
        if self._rows is None:
            self._rows = self._joined.values(self._name)[self._low : self._high]
        return self._rows

    def __len__(self) -> int:
        return self._high - self._low

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        return self.rows()[index]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.rows())

    def count(self, value: Any) -> int:
        return self.rows().count(value)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Iterable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
