"""`parse: json`. Pure. Hot: once per batch, in columns where all messages are alike, which they are nearly always.

Invariants, beside parse.py's:
  J1  the straight path gives what the careful one gives; it only saves the work
  J2  what JSON in the hands of orjson would change is not parsed, but stays text: integers over 64 bits (they would become
      floats), keys that stand twice (one would go), NaN, lone surrogates, and what is nested too deeply to be written again
Cost (CPython 3.11, 225 bytes and 8 members a line): see docs/processing/parse.md. `loads` is half of it. One `dumps` of a list
of dicts with a newline between is 0.24 us a line, a `dumps` for each 1.6: every result is a new KiB for malloc.
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import tzinfo
from itertools import compress
from typing import Any

import orjson

from ..model import Batch
from ..severity import KEYS, normal, of_number
from . import times as clock
from .parse import Parsed, Row, RowParser, columns, near

MESSAGE_KEYS = ("message", "msg", "log")
SEVERITY_KEYS = KEYS
TIME_KEYS = ("time", "ts", "timestamp", "@timestamp")
_PINO = {10: b"DEBUG", 20: b"DEBUG", 30: b"INFO", 40: b"WARNING", 50: b"ERROR", 60: b"CRITICAL"}
_NEWLINE = orjson.Fragment(b"\n")
_DEEP = 200                         # orjson reads 1024 levels, and writes 254
_SPACED_COLON = re.compile(rb'"[ \t\r\n]{1,16}:|"[ \t\r\n]{17}')
_DIGITS = bytes(48 if 48 <= byte < 58 else 1 for byte in range(256))
_RUN = b"0" * 19
_BEFORE_A_NUMBER = (b":", b",", b"[", b" ", b"\t", b"\r", b"\n")
_KEPT_SEVERITIES = 512
_LONGEST_SEVERITY = 32
_LATER = b"later"
_NUMBERS = frozenset((int, float))
_LEVELS = frozenset((int, str))


class _Severities(dict[Any, bytes]):
    """A value of a level key to its severity, made on first use; bounded, since values come from log files."""

    def __missing__(self, value: Any) -> bytes:
        found = severity_of(value)
        is_short = isinstance(value, int) or (isinstance(value, str) and len(value) <= _LONGEST_SEVERITY)
        if is_short and len(self) < _KEPT_SEVERITIES:
            self[value] = found
        return found


class _OfCloudLogging(_Severities):
    """Numbers as Cloud Logging has them, and no others."""

    def __missing__(self, value: Any) -> bytes:
        return b"" if isinstance(value, int) and value < 100 else super().__missing__(value)


_severities = _Severities()
_severities_of_google = _OfCloudLogging()


def severity_of(value: Any) -> bytes:
    """Names and numbers as severity.normal; 10 to 60 in tens as bunyan and pino write them."""
    if isinstance(value, str):
        return normal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _PINO.get(value) or of_number(value)
    return b""


class JsonParser:
    """See parse.Parser. `others`: what is tried where a message is no JSON object."""

    message_keys: tuple[str, ...] = MESSAGE_KEYS
    severity_keys: tuple[str, ...] = SEVERITY_KEYS
    time_keys: tuple[str, ...] = TIME_KEYS
    severities: _Severities = _severities

    def __init__(self, zone: tzinfo | None, others: RowParser | None = None) -> None:
        self._zone, self._others = zone, others

    def __call__(self, batch: Batch) -> Parsed:
        lines = batch.messages
        objects = [line[:1] == b"{" for line in lines]
        count = objects.count(True)
        if count == len(lines):
            return self._straight(lines) or self._careful(batch)
        if count and (found := self._straight(list(compress(lines, objects)))) is not None:
            return self._among_others(batch, objects, found)
        return self._careful(batch)

    def _among_others(self, batch: Batch, objects: Sequence[bool], found: Parsed) -> Parsed:
        """The objects' columns with the other lines, which are no JSON, in their places."""
        made = self._plain(batch, objects)
        messages, times, severities, fields = made[:4]
        places = list(compress(range(len(objects)), objects))
        values: list[dict[str, Any] | None] = [None] * len(objects)
        for at, text, time, severity, rest, value in zip(places, *found[:4], found.values or ()):
            messages[at], times[at], severities[at], fields[at], values[at] = text, time, severity, rest, value
        return made._replace(
            values=values if self._others is None else None, unparsed=made.unparsed - len(places), utc=made.utc and found.utc,
            newlines=made.newlines or found.newlines)

    def _plain(self, batch: Batch, objects: Sequence[bool]) -> Parsed:
        """What the lines become that are no objects."""
        if self._others is None:
            none = [b""] * len(objects)
            return Parsed(
                list(batch.messages), list(batch.times), none, none.copy(), None, len(objects), batch.utc, batch.newlines)
        near_s, others = near(batch), self._others
        return columns(batch, [None if one else others(line, near_s) for one, line in zip(objects, batch.messages)])

    # -------------------------------------------------------- all alike

    def _straight(self, lines: Sequence[bytes]) -> Parsed | None:
        """The columns where all lines are objects with the same three keys to take, of the usual types; else None."""
        blob = b"\n".join(lines)
        if has_long_number(blob):
            return None
        try:
            values = list(map(orjson.loads, lines))
            text_key, level_key, time_key = (
                _key_of(values, keys) for keys in (self.message_keys, self.severity_keys, self.time_keys))
            if not (text_key and level_key and time_key):
                return None
            texts = [value.pop(text_key).encode() for value in values]
            levels = [value.pop(level_key) for value in values]
            if not _LEVELS.issuperset(map(type, levels)):    # 30.0 is equal to 30, and no severity
                return None
            found = {level: self.severities[level] for level in set(levels)}     # an item of a subclass of dict costs twice that
            severities = [found[level] for level in levels]
            times = [value.pop(time_key) for value in values]
            stamps, colons = self._stamps(times)
            if not all(severities) or not all(stamps):
                return None
            fields = _dumped(values)
        except (KeyError, AttributeError, TypeError, ValueError, RecursionError):
            return None
        all_texts = b"".join(texts)
        left = b"".join(fields).count(b":") + all_texts.count(b":") + colons
        if left + 3 * len(lines) != blob.count(b":"):      # a key that stood twice is gone; or an escape: a closer look
            return None
        return Parsed(texts, stamps, severities, fields, values, 0, True, b"\n" in all_texts)

    # -------------------------------------------------------- one by one

    def _careful(self, batch: Batch) -> Parsed:
        rows: list[Row | None] = []
        values: list[dict[str, Any] | None] = []
        near_s = near(batch)
        for line in batch.messages:
            value = loaded(line) if line[:1] == b"{" else None
            row = None if value is None else self._row(value, line, near_s)
            if row is None:
                value = None
                row = self._others(line, near_s) if self._others is not None else None
            rows.append(row)
            values.append(value)
        _fill(rows, values)
        return Parsed(
            [m if row is None else row[0] for row, m in zip(rows, batch.messages)],
            [t if row is None else row[1] or t for row, t in zip(rows, batch.times)],
            [b"" if row is None else row[2] for row in rows], [b"" if row is None else row[3] for row in rows],
            None if self._others is not None else values, rows.count(None),
        )

    def _row(self, value: dict[str, Any], line: bytes, near_s: int) -> Row:
        """Takes its keys out of `value`. Its fields are _LATER where what is left is to be written again."""
        text, level, time = b"", b"", b""
        members = len(value)
        text_key = next((key for key in self.message_keys if isinstance(value.get(key), str)), None)
        if text_key is not None:
            text = value.pop(text_key).encode()
        for key in self.severity_keys:
            if key in value and (level := self._severity(value[key])):
                del value[key]
                break
        for key in self.time_keys:
            if key in value and (time := self._time(value[key], near_s)):
                del value[key]
                break
        if len(value) == members and b"\n" not in line and (
                line.count(b"[") + line.count(b"{") < _DEEP or _dumped_or_none(value) is not None):     # J2
            return Row(text, time, level, line)
        return Row(text, time, level, _LATER if value else b"")


    def _stamps(self, times: Sequence[Any]) -> tuple[list[bytes], int]:
        return _times(times)

    def _severity(self, value: Any) -> bytes:
        return self.severities[value] if isinstance(value, str) else severity_of(value)

    def _time(self, value: Any, near_s: int) -> bytes:
        return time_of(value, self._zone, near_s) or b""


class CloudLoggingParser(JsonParser):
    """Takes what Google's own agents take, and leaves the rest where it stands: `message`, `severity`, and a `time` in ISO 8601.
    What else Cloud Logging has fields for is the sink's business (encode/_cloud_logging_fields.py)."""

    message_keys = ("message",)
    severity_keys = ("severity",)
    time_keys = ("time",)
    severities = _severities_of_google

    def _stamps(self, times: Sequence[Any]) -> tuple[list[bytes], int]:
        return _times(times) if isinstance(times[0], str) else ([b""], 0)

    def _severity(self, value: Any) -> bytes:
        return self.severities[value] if isinstance(value, (str, int)) and not isinstance(value, bool) else b""

    def _time(self, value: Any, near_s: int) -> bytes:
        is_iso = isinstance(value, str) and value[10:11] == "T"
        return super()._time(value, near_s) if is_iso else b""


def _times(times: Sequence[Any]) -> tuple[list[bytes], int]:
    """RFC 3339 of members that are all text of one hour, or all numbers, and how many colons stand in their JSON; a b"" where a
    closer look is needed. AttributeError likewise."""
    if type(times[0]) in _NUMBERS:
        if not _NUMBERS.issuperset(map(type, times)):
            return [b""], 0
        return [found or b"" for found in clock.of_numbers(times)], 0
    stamps = [text.encode() for text in times]
    return (stamps, b"".join(stamps).count(b":")) if clock.one_hour_of_utc(stamps) else ([b""], 0)


def _fill(rows: list[Row | None], values: list[dict[str, Any] | None]) -> None:
    """Fields for the rows that wait for them; a row that cannot be written again is none (J2)."""
    waiting = [at for at, row in enumerate(rows) if row is not None and row.fields is _LATER]
    if not waiting:
        return
    try:
        made: list[bytes | None] = list(_dumped([values[at] or {} for at in waiting]))
    except (TypeError, RecursionError):
        made = [_dumped_or_none(values[at] or {}) for at in waiting]
    for at, fields in zip(waiting, made):
        row = rows[at]
        rows[at] = row._replace(fields=fields) if row is not None and fields is not None else None
        if fields is None:
            values[at] = None


def _dumped_or_none(value: dict[str, Any]) -> bytes | None:
    try:
        return orjson.dumps(value)
    except (TypeError, RecursionError):
        return None


def time_of(value: Any, zone: tzinfo | None, near_s: int) -> bytes | None:
    """RFC 3339 of a member that says when; None where it does not."""
    if isinstance(value, str):
        if len(value) > 64:
            return None
        text = value.encode()
        return text if clock.one_hour_of_utc([text]) else clock.of_text(text, zone, near_s)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return clock.of_number(value)
    return None


def loaded(line: bytes) -> dict[str, Any] | None:
    """The object that `line` is, None where it is none or where J2 says so."""
    try:
        value = orjson.loads(line)
        if not isinstance(value, dict):
            return None
        if has_long_number(line) or line.count(b'":') != len(value) or _SPACED_COLON.search(line):
            _exact(line)
        return value
    except (ValueError, RecursionError):
        return None


def has_long_number(blob: bytes) -> bool:
    """May there be an integer over 64 bits in this JSON? Digits in strings, such as those of trace ids, are none.

    Cost: 40 ns a line where nothing has digits at four places of every fourth byte, as 19 in a row would; else 0.2 us. An
    expression that looks for them takes 1.4.
    """
    if blob[::4].translate(_DIGITS).find(b"0000") < 0:
        return False
    marked = blob.translate(_DIGITS)
    at = marked.find(_RUN)
    while at >= 0:
        end = marked.find(b"\x01", at)
        length = (end if end >= 0 else len(marked)) - at
        before = blob[at - 1:at]
        if before == b"-" or (length > len(_RUN) and before in _BEFORE_A_NUMBER):
            return True
        at = marked.find(_RUN, at + length)
    return False


def _exact(line: bytes) -> None:
    """ValueError where J2 says so; the standard library sees pairs and digits."""
    json.loads(line, object_pairs_hook=_pairs, parse_int=_integer)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError("over 64 bits")
    return number


def _key_of(values: Sequence[dict[str, Any]], keys: Sequence[str]) -> str | None:
    """The key that is taken from all values, as the first one says; None where another has one that goes in front of it."""
    found = next((key for key in keys if key in values[0]), None)
    if found is None:
        return None
    return None if any(True in [key in value for value in values] for key in keys[:keys.index(found)]) else found


def _dumped(values: Sequence[dict[str, Any]]) -> list[bytes]:
    """Each dict as JSON on one line, b"" for an empty one. No JSON string holds a raw newline, so cutting there is exact."""
    flat: list[Any] = [_NEWLINE] * (2 * len(values) - 1)
    flat[::2] = values
    fields = orjson.dumps(flat)[1:-1].split(b",\n,")
    return fields if b"{}" not in fields else [b"" if field == b"{}" else field for field in fields]
