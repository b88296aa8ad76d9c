"""Parsers of one line: klog, syslog (RFC 3164 and 5424, as they stand in files), logfmt, and the user's own expression. Pure.

Hot: one call per record. Each is a function of (message, near_s) that gives a Row, or None where the line does not parse.
Sources: k8s.io/klog header (klog.go formatHeader), RFC 3164 section 4, RFC 5424 section 6, rsyslog's RSYSLOG_FileFormat.
"""
from __future__ import annotations

import re
from datetime import tzinfo
from typing import Any

import orjson

from ..config.processing import ParseRegex
from ..model import SEVERITIES
from ..severity import normal
from . import times as clock
from .parse import Row, RowParser
from .parse_json import MESSAGE_KEYS, SEVERITY_KEYS, TIME_KEYS

_KLOG = re.compile(
    rb"([IWEF])(\d\d)(\d\d) ([01]\d:[0-5]\d:[0-5]\d|2[0-3]:[0-5]\d:[0-5]\d)\.(\d{1,9}) +(\d{1,18}) ([^\s\]]{1,256}:\d{1,9})\] ?")
_KLOG_SEVERITY = {b"I": b"INFO", b"W": b"WARNING", b"E": b"ERROR", b"F": b"CRITICAL"}
_PLAIN = re.compile(rb"[\w./:@+-]+")
_SYSLOG = re.compile(
    rb"(?:<(\d{1,3})>)?(?:(\d{4}-\d\d-\d\dT\S{1,32})|([A-Z][a-z]{2} [ 0-3]?\d \d\d:\d\d:\d\d)) "
    rb"(\S{1,255}) ([^\s:\[]{1,128})(?:\[([^\]\s]{1,64})\])?: ?")
_SYSLOG_5424 = re.compile(
    rb'<(\d{1,3})>1 (\S{1,64}) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) (-|(?:\[(?:[^"\]]|"(?:[^"\\]|\\.)*")*\])+)(?: |$)',
    re.DOTALL)
_PAIR = re.compile(rb'([^\s="]{1,128})=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)', re.DOTALL)
_DIGITS = re.compile(rb"-?\d{1,18}")
_NUMBER = re.compile(rb"-?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?")
_TRUTH = {b"true": True, b"false": False}
MAX_PAIRS = 256


def klog(zone: tzinfo | None) -> RowParser:
    """`I1120 09:04:05.123456   1 file.go:12] text`: time, severity, pid and source."""
    def row(line: bytes, near_s: int) -> Row | None:
        found = _KLOG.match(line)
        if found is None:
            return None
        letter, month, day, at, fraction, pid, source = found.groups()
        time = clock.without_year(int(month), int(day), at, fraction, zone, near_s)
        if time is None:
            return None
        name = b'"%b"' % source if _PLAIN.fullmatch(source) else orjson.dumps(source.decode("utf-8", "replace"))
        return Row(line[found.end():], time, _KLOG_SEVERITY[letter], b'{"pid":%d,"source":%b}' % (int(pid), name))

    return row


def syslog(zone: tzinfo | None) -> RowParser:
    """Lines of /var/log/syslog and friends: host, ident, pid; severity where the line begins with <PRI>."""
    def row(line: bytes, near_s: int) -> Row | None:
        found = _SYSLOG.match(line)
        if found is None:
            return _row_5424(line, zone, near_s)
        priority, iso, stamp, host, ident, pid = found.groups()
        time = clock.of_text(iso or stamp, zone, near_s)
        if time is None:
            return None
        return Row(line[found.end():], time, of_priority(priority), _written({"host": host, "ident": ident, "pid": pid}))

    return row


def _row_5424(line: bytes, zone: tzinfo | None, near_s: int) -> Row | None:
    found = _SYSLOG_5424.match(line)
    if found is None:
        return None
    priority, stamp, host, ident, pid, kind, data = (None if part == b"-" else part for part in found.groups())
    time = b"" if stamp is None else clock.of_text(stamp, zone, near_s)
    if time is None:
        return None
    names = {"host": host, "ident": ident, "pid": pid, "msgid": kind, "structured_data": data}
    return Row(line[found.end():].removeprefix(b"\xef\xbb\xbf"), time, of_priority(priority), _written(names))


def of_priority(digits: bytes | None) -> bytes:
    """The severity of a syslog PRI (RFC 5424 section 6.2.1), b"" for none."""
    return SEVERITIES[7 - int(digits) % 8] if digits is not None else b""


def logfmt(zone: tzinfo | None) -> RowParser:
    """`time="..." level=info msg="..." key=value`: a line that is nothing but pairs, such as dockerd's."""
    def row(line: bytes, near_s: int) -> Row | None:
        pairs: dict[str, Any] = {}
        at = 0
        while at < len(line):
            found = _PAIR.match(line, at)
            if found is None or len(pairs) >= MAX_PAIRS:
                return None
            name, quoted, plain = found.groups()
            key = name.decode("utf-8", "replace")
            if key in pairs:
                return None
            pairs[key] = plain if quoted is None else _unquoted(quoted)
            at = found.end()
        return taken(pairs, zone, near_s) if pairs else None

    return row


def _unquoted(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    return re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(m[1], m[1]), text, flags=re.DOTALL)


def regex(settings: ParseRegex, zone: tzinfo | None) -> RowParser:
    """The named groups of the user's expression, found anywhere in the line."""
    from .patterns import compile_pattern

    pattern = compile_pattern(settings.regex)
    groups = [(_name(name), number - 1) for name, number in sorted(pattern.groupindex.items(), key=lambda item: item[1])]
    search, types = pattern.search, settings.types
    own = (settings.message, settings.severity, settings.time)

    def row(line: bytes, near_s: int) -> Row | None:
        found = search(line)
        if found is None:
            return None
        values = found.groups()
        names = {name: values[at] for name, at in groups if values[at] is not None}
        return taken(names, zone, near_s, own, types)

    return row


def _name(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def taken(
    names: dict[str, Any], zone: tzinfo | None, near_s: int,
    own: tuple[str | None, str | None, str | None] = (None, None, None), types: Any = None,
) -> Row:
    """Message, severity and time out of texts by name (the usual names, or `own`); what is left are the fields."""
    text_key, level_key, time_key = own
    text_key = next((key for key in ([text_key] if text_key else MESSAGE_KEYS) if key in names), None)
    message = names.pop(text_key) if text_key is not None else b""
    level, time = b"", b""
    for key in [level_key] if level_key else SEVERITY_KEYS:
        if key in names and (level := normal(names[key].decode("utf-8", "replace"))):
            del names[key]
            break
    for key in [time_key] if time_key else TIME_KEYS:
        if key in names and (time := clock.of_text(names[key], zone, near_s) or b""):
            del names[key]
            break
    return Row(message, time, level, _written(names, types))


def _written(names: dict[str, Any], types: Any = None) -> bytes:
    values = {name: _typed(value, types.get(name, "string") if types else "string")
              for name, value in names.items() if value is not None}
    return orjson.dumps(values) if values else b""


def _typed(text: bytes, kind: str) -> Any:
    """`text` as the type, or as text where it is not of that type."""
    if kind == "integer" and _DIGITS.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean" and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    return text.decode("utf-8", "replace")
