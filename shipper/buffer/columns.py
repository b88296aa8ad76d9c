"""The columns of a frame as bytes, and back. Pure. Hot: once per frame; one join and one split per column, not per section.

    joined by newlines ("l"), or with their lengths in front where a value holds a newline itself ("z"); streams as one value
    where all are equal ("c"). severities and fields only where a batch of the frame has them.

Invariants (tests/buffer/test_segment.py):
  BC1  what was joined comes back equal, whatever bytes the values hold
"""
from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from ..model import Batch, Frame, Section

_LENGTH = struct.Struct("<I")
_OPTIONAL = ("severities", "fields")
_GROUP = 128

Joined = tuple[list[list[Any]], list[bytes]]
"""The columns of a frame as the header names them, and their bytes."""


def join_columns(sections: Sequence[Section]) -> Joined:
    """The columns of all sections, joined. The loop does it, as long as the lines are in its core's cache: on the writer
    thread the same join moves every line to the other core and back (measured: a fifth of the CPU in catch-up)."""
    return _encode_columns([s.batch for s in sections if s.batch is not None and len(s.batch)])


def _encode_columns(batches: list[Batch]) -> tuple[list[list[Any]], list[bytes]]:
    if not batches:
        return [], []
    columns: list[list[Any]] = []
    body: list[bytes] = []
    newlines = any(batch.newlines for batch in batches)
    for name in ("ids", "times", "messages"):
        encoding, data = _join([getattr(batch, name) for batch in batches], newlines and name == "messages")
        columns.append([name, encoding, len(data)])
        body.append(data)
    streams = [batch.streams for batch in batches]
    first = streams[0][0]
    if all(values.count(first) == len(values) for values in streams):
        encoding, data = "c", bytes(first)
    else:
        encoding, data = _join(streams, False)
    columns.append(["streams", encoding, len(data)])
    body.append(data)
    for name in _OPTIONAL:
        parts = [getattr(batch, name) for batch in batches]
        if any(part is not None for part in parts):
            filled = [[b""] * len(batch) if part is None else part for part, batch in zip(parts, batches)]
            encoding, data = _join(filled, True)
            columns.append([name, encoding, len(data)])
            body.append(data)
    return columns, body


def _join(parts: list[Sequence[bytes]], newlines: bool) -> tuple[str, bytes]:
    values = parts[0]
    if len(parts) > 1:
        values = list(values)
        for part in parts[1:]:
            values += part
    data = b"\n".join(values)
    # Times, ids and streams have no newlines by construction (decode, M3), and messages that were split at them neither.
    if not newlines or not _has_newline(values):
        return "l", data
    lengths = struct.pack(f"<{len(values)}I", *map(len, values))
    return "z", lengths + b"".join(values)


def _has_newline(values: Sequence[bytes]) -> bool:
    """10 ns a value, joined in groups that stay in the nearest cache; to count them in the whole column costs 60."""
    return any(b"\n" in b"".join(values[at:at + _GROUP]) for at in range(0, len(values), _GROUP))


def read_columns(
    frame: Frame, counts: list[int], columns: list[list[Any]], body: bytes, marks: dict[str, Any] | None
) -> None:
    total = sum(counts)
    if not total:
        return
    values: dict[str, Sequence[bytes]] = {}
    at = 0
    for name, encoding, size in columns:
        values[name] = split_column(encoding, body[at : at + size], total)
        at += size
    newlines = any(name == "messages" and encoding == "z" for name, encoding, _ in columns)
    times, streams, ids, messages = values["times"], values["streams"], values["ids"], values["messages"]
    severities, fields = values.get("severities"), values.get("fields")
    by_index = {int(index): mark for index, mark in marks.items()} if marks else None
    low = 0
    for section, count in zip(frame.sections, counts, strict=True):
        if not count:
            continue
        high = low + count
        own = {i - low: m for i, m in by_index.items() if low <= i < high} if by_index else None
        section.batch = Batch(
            section.file.source, section.file.key, times[low:high], streams[low:high], ids[low:high],
            messages[low:high], own or None, frame.read_ns, newlines, False,
            None if severities is None else severities[low:high], None if fields is None else fields[low:high],
        )
        low = high


def split_column(encoding: str, data: bytes, count: int) -> Sequence[bytes]:
    """The `count` values of a column as `_join` (or "c", a constant) wrote it. ValueError where it is not one."""
    if encoding == "l":
        values = data.split(b"\n")
    elif encoding == "c":
        values = [data] * count
    elif encoding == "z":
        head = _LENGTH.size * count
        values, at = [], head
        for length in struct.unpack_from(f"<{count}I", data):
            values.append(data[at : at + length])
            at += length
    else:
        raise ValueError(f"unknown column encoding {encoding!r}")
    if len(values) != count:
        raise ValueError(f"column of {len(values)} values, {count} records")
    return values
