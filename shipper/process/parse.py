"""`parse`: fields, time and severity out of messages. Which parser, and what becomes of the columns. Pure. Hot: once per batch.

    message  {"ts":1795165445.1,"level":"warn","msg":"slow","path":"/a"}
    becomes  message slow, time 2026-11-20T09:04:05.1Z, severity WARNING, fields {"path":"/a"}

Invariants (tests/process/test_parse.py):
  G1  what does not parse stays as it was, byte for byte, and is counted
  G2  nothing is in two columns and nothing in none: what is not taken as message, time or severity stands in fields
  G3  fields are one line of JSON; where nothing was taken out of a JSON message they are its own bytes
  G4  every new time is RFC 3339; `utc` is said only where it is proven
  G5  a record's outcome depends on the record (and its read time, for a year) alone, not on where a batch was cut
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from ..config.processing import ParseRegex
from ..model import Batch, Source
from . import times as clock
from .chain import Step, Work


class Parsed(NamedTuple):
    """Columns that replace the batch's. `values`: the fields as dicts where they are at hand; `unparsed`: how many stayed;
    `utc`, `newlines` as model.Batch says them, where the parser knows (None, True: it does not)."""

    messages: list[bytes]
    times: list[bytes]
    severities: list[bytes]
    fields: list[bytes]
    values: Sequence[dict[str, Any] | None] | None
    unparsed: int
    utc: bool | None = None
    newlines: bool = True


Parser = Callable[[Batch], Parsed]


class Row(NamedTuple):
    """What one message became. b"" for a time or severity that it does not say; `fields` b"" for none."""

    message: bytes
    time: bytes
    severity: bytes
    fields: bytes


class Parse:
    """See process.chain.Step."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def __call__(self, work: Work) -> None:
        batch = work.batch
        found = self._parser(batch)
        work.unparsed += found.unparsed
        work.values = found.values
        utc = found.utc
        if utc is None:
            utc = clock.all_utc(found.times) if all(found.times) else False
        work.batch = Batch(
            batch.source, batch.key, found.times, batch.streams, batch.ids, found.messages, batch.marks, batch.read_ns,
            found.newlines, utc, found.severities, found.fields,
        )


def parse_step(settings: Any, source: Source) -> Step | None:
    """The step for a `parse` key (config.processing), None for `off`."""
    if settings == "off":
        return None
    return Parse(_parser(settings, zone_of(source)))


def zone_of(source: Source) -> tzinfo | None:
    """The zone of times that name none: containers run in UTC, a host's own files are in its local time (None)."""
    return UTC if source.kind == "containers" else None


def _parser(settings: Any, zone: tzinfo | None) -> Parser:
    from . import parse_lines

    if settings == "json":
        from .parse_json import JsonParser

        return JsonParser(zone)
    if settings == "auto":
        from .parse_json import JsonParser

        return JsonParser(zone, parse_lines.klog(zone))
    if settings in ("gcp", "gcp-json"):
        from .parse_json import CloudLoggingParser

        return CloudLoggingParser(zone, parse_lines.klog(zone) if settings == "gcp" else None)
    if isinstance(settings, ParseRegex):
        return by_row(parse_lines.regex(settings, zone))
    makers = {"klog": parse_lines.klog, "syslog": parse_lines.syslog, "logfmt": parse_lines.logfmt}
    return by_row(makers[settings](zone))


RowParser = Callable[[bytes, int], Row | None]
"""(message, seconds since 1970 that it was written near to) to what it became; None where it does not parse."""


def by_row(row_of: RowParser) -> Parser:
    """A parser that looks at one message after the other."""
    def parse(batch: Batch) -> Parsed:
        near_s = near(batch)
        return columns(batch, [row_of(message, near_s) for message in batch.messages])

    return parse


def near(batch: Batch) -> int:
    """About when this batch was written (G5: to the day, which only the year of a time without one depends on)."""
    return batch.read_ns // 1_000_000_000


def columns(batch: Batch, rows: Sequence[Row | None]) -> Parsed:
    """Rows as columns; None leaves a record as it was (G1)."""
    return Parsed(
        [m if row is None else row[0] for row, m in zip(rows, batch.messages)],
        [t if row is None else row[1] or t for row, t in zip(rows, batch.times)],
        [b"" if row is None else row[2] for row in rows],
        [b"" if row is None else row[3] for row in rows],
        None, rows.count(None),
    )
