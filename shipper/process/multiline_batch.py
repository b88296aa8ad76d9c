"""A batch some of whose lines became records of several lines: ids made of pieces, columns made anew. Pure.

    [front records] + [row, row, record in the place of its first line, row, (gone), (gone), row ...]

Invariants (tests/process/test_multiline_batch.py):
  MB1  the columns stay parallel, and marks stay with their records; what is not changed keeps its order and its bytes
  MB2  an id names every byte of its record: this file's first byte and how many, then those of other files (model M3)
Plane: hot, once per batch in which something was joined.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from ..model import Batch, Marks, Piece


@dataclass(slots=True)
class Record:
    """One record of several lines, or one line that came with an earlier batch. `mark`: see model.Marks."""

    time: bytes
    message: bytes
    pieces: list[Piece]
    mark: dict[str, Any] | None = None


@dataclass(slots=True)
class Changes:
    """What becomes of a batch.

    front  (stream, record) that stand in front of it, in this order
    at     rows that become another record
    gone   rows that are taken out; a row in `at` is not among them, below 0 are lines of an earlier batch
    """

    now_s: float
    front: list[tuple[bytes, Record]] = field(default_factory=list)
    at: dict[int, Record] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces that touch each other as one."""
    out: list[Piece] = []
    for piece in pieces:
        if out and out[-1].key == piece.key and out[-1].start + out[-1].length == piece.start:
            out[-1] = Piece(piece.key, out[-1].start, out[-1].length + piece.length)
        else:
            out.append(piece)
    return out


def item_of(key: str, pieces: Sequence[Piece]) -> bytes:
    """The id item relative to `key` (model M3): this file's bytes first, then those of other files."""
    sums: dict[str, list[int]] = {key: [0, 0]}
    for piece in pieces:
        entry = sums.setdefault(piece.key, [piece.start, 0])
        if not entry[1]:
            entry[0] = piece.start
        entry[1] += piece.length
    (start, length), *_ = sums.values()
    others = [b",%b:%x+%x" % (other.encode(), at, size) for other, (at, size) in sums.items() if other != key]
    return b"%x+%x" % (start, length) + b"".join(others)


def pieces_of(key: str, item: bytes) -> tuple[Piece, ...]:
    """The source bytes of a record that is one line of file `key`."""
    start, _, length = item.partition(b"+")
    return (Piece(key, int(start, 16), int(length, 16)),)


def applied(batch: Batch, changes: Changes) -> Batch | None:
    """A batch of its own (MB1); None where nothing is left. `batch` stays as it is."""
    times, streams, ids, messages = list(batch.times), list(batch.streams), list(batch.ids), list(batch.messages)
    marks: Marks = dict(batch.marks or {})
    utc = batch.utc
    for index, record in changes.at.items():
        ids[index], messages[index] = item_of(batch.key, record.pieces), record.message
        if record.mark:
            marks[index] = record.mark
    if changes.gone:
        keep = [True] * len(ids)
        for index in changes.gone:
            if index >= 0:
                keep[index] = False
        order = {old: new for new, old in enumerate(compress(range(len(ids)), keep))} if marks else {}
        marks = {order[index]: mark for index, mark in marks.items() if index in order}
        times, streams, ids, messages = [list(compress(column, keep)) for column in (times, streams, ids, messages)]
    front = len(changes.front)
    if front:
        marks = {index + front: mark for index, mark in marks.items()}
        marks |= {index: record.mark for index, (_, record) in enumerate(changes.front) if record.mark}
        times[:0] = [record.time for _, record in changes.front]
        streams[:0] = [stream for stream, _ in changes.front]
        ids[:0] = [item_of(batch.key, record.pieces) for _, record in changes.front]
        messages[:0] = [record.message for _, record in changes.front]
        utc = utc and all(record.time.endswith(b"Z") for _, record in changes.front)
    if not ids:
        return None
    return Batch(batch.source, batch.key, times, streams, ids, messages, marks or None, batch.read_ns, True, utc)
