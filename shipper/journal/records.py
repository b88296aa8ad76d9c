"""Entries of a journal as columns. Pure. Hot: once per read; one pass per column.

An entry counts in the file's range as its message and a newline, as if the journal were a text file of its messages: ids,
`shipper verify` and every byte counter mean that.

Invariants (tests/journal/test_records.py):
  N1  equal entries at equal offsets give equal records and ids, whatever reads they came in
  N2  bytes of a message stay as they are; in `fields`, which is JSON, what is no UTF-8 is U+FFFD
      (cut at MOST_FIELD_BYTES)
  N3  a message over `max_line` is cut there and marked with its size; its range is that of the whole
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import orjson

from ..model import SEVERITIES, Batch, Marks, Open, Piece, Source
from .export import MESSAGE, SIZE, Entry

CURSOR = b"__CURSOR"
REALTIME = b"__REALTIME_TIMESTAMP"
PRIORITY = b"PRIORITY"
MOST_FIELD_BYTES = 4096
"""Of a value under `fields`; journald takes 768 MiB."""
_SEVERITY = {b"%d" % (7 - index): name for index, name in enumerate(SEVERITIES)}


def time_ns(entry: Entry) -> int:
    """When it was received, in ns since 1970; 0 where it does not say."""
    value = entry.get(REALTIME, b"")
    return int(value) * 1000 if value.isdigit() and len(value) < 19 else 0


def entry_bytes(entry: Entry) -> int:
    """What it counts in the range."""
    return int(entry[SIZE]) + 1 if SIZE in entry else len(entry.get(MESSAGE, b"")) + 1


@lru_cache(maxsize=64)
def _second(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()


def rfc3339(realtime_us: int) -> bytes:
    """2026-11-20T09:04:05.123456Z; b"" for 0 and for what no calendar has."""
    if not 0 < realtime_us < 253_402_300_800_000_000:
        return b""
    return b"%b.%06dZ" % (_second(realtime_us // 1_000_000), realtime_us % 1_000_000)


class EntryDecoder:
    """The decoder of a journal, in the form that processing steps stand behind (process.chain.InnerDecoder). `end`: where the
    last batch ended."""

    form = "journal"
    skipping: Piece | None = None
    look_back_bytes = 0

    def __init__(self, source: Source, fields: Sequence[str], max_line: int) -> None:
        self.source, self.max_line = source, max_line
        self.hold_until_s = 0.0
        self.end = 0
        self._fields = [(name.encode(), name) for name in fields]

    def decode(self, key: str, start: int, lines: list[Any], *, read_ns: int, now_s: float, reread: Any) -> Batch | None:
        """`lines`: Entries."""
        entries: list[Entry] = lines
        sizes = [entry_bytes(entry) for entry in entries]
        starts = list(accumulate(sizes, initial=start))
        self.end = starts.pop()
        messages = [entry.get(MESSAGE, b"") for entry in entries]
        marks: Marks = {}
        for index in [i for i, size in enumerate(sizes) if size > self.max_line + 1]:
            messages[index] = messages[index][: self.max_line]
            marks[index] = {"truncated": sizes[index] - 1}
        times = [rfc3339(time_ns(entry) // 1000) for entry in entries]
        return Batch(
            self.source, key, times, [b""] * len(entries), [b"%x+%x" % item for item in zip(starts, sizes)], messages,
            marks or None, read_ns, True, all(times), [_SEVERITY.get(entry.get(PRIORITY, b""), b"") for entry in entries],
            self._json(entries) if self._fields else None,
        )

    def _json(self, entries: list[Entry]) -> list[bytes]:
        fields, most = self._fields, MOST_FIELD_BYTES
        chosen = [
            {text: entry[name][:most].decode("utf-8", "replace") for name, text in fields if name in entry} for entry in entries]
        return [orjson.dumps(one) if one else b"" for one in chosen]

    # What a decoder of lines has and entries have no use for.

    def oversized(self, key: str, start: int, total: int, head: bytes, **how: Any) -> Batch | None:
        return None

    def unterminated(self, key: str, start: int, rest: bytes, **how: Any) -> Batch | None:
        return None

    def look_back(self, key: str, start: int, lines: list[Any], **how: Any) -> None:
        """No entry depends on another."""

    def flush(self, **how: Any) -> list[tuple[str, Batch]]:
        return []

    def state(self) -> tuple[Open, ...]:
        return ()

    def restore(self, state: tuple[Open, ...], now_s: float) -> None:
        """Nothing is ever open."""

    def oldest_open_s(self) -> float | None:
        return None

    def newest_ns(self, batch: Batch) -> int:
        return 0

    def take_drops(self) -> dict[str, int] | None:
        return None
