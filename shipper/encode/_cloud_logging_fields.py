"""Members of a parsed record that Cloud Logging has fields of its own for: out of the payload, into the LogEntry. Pure.

What has the wrong type for its field stays in the payload: one entry that the API cannot read would have its whole request
refused. Rows: docs/sinks/cloud_logging.md.
"""
from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import orjson

from ..severity import normal

PREFIX = "logging.googleapis.com/"
MAX_LABELS = 64
MAX_LEVELS = 30
"""Of a payload: protobuf reads 100 levels of messages, and an object in a Struct is three."""
MAX_LABEL_NAME_BYTES, MAX_LABEL_BYTES = 512, 64 * 1024
_LATENCY = re.compile(r"\s*(\d{1,11})(?:\.(\d+))?\s*s\s*")
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")
_INT64 = range(-(1 << 63), 1 << 63)
_EXACT = range(-(1 << 53), (1 << 53) + 1)
_MAX_SECONDS = 253_402_300_799
_TEXT, _LONG, _INT, _FLAG = "text", "long", "int", "flag"
_HTTP = {
    "requestMethod": _TEXT, "requestUrl": _TEXT, "userAgent": _TEXT, "remoteIp": _TEXT, "serverIp": _TEXT, "referer": _TEXT,
    "protocol": _TEXT, "requestSize": _LONG, "responseSize": _LONG, "cacheFillBytes": _LONG, "status": _INT, "cacheHit": _FLAG,
    "cacheLookup": _FLAG, "cacheValidatedWithOriginServer": _FLAG, "latency": "latency",
}
_OPERATION = {"id": _TEXT, "producer": _TEXT, "first": _FLAG, "last": _FLAG}
_LOCATION = {"file": _TEXT, "function": _TEXT, "line": _LONG}
_OBJECTS = {
    "httpRequest": ("httpRequest", _HTTP), PREFIX + "operation": ("operation", _OPERATION),
    PREFIX + "sourceLocation": ("sourceLocation", _LOCATION),
}


def take(payload: dict[str, Any], project: str) -> dict[str, Any]:
    """Takes what has a field of its own out of `payload`, and returns those fields of the LogEntry: severity, httpRequest,
    operation, sourceLocation, labels, trace, spanId, traceSampled, insertId, and `ns` (the time, since 1970)."""
    found: dict[str, Any] = {}
    _severity(payload, found)
    ns = _time_ns(payload)
    if ns is not None:
        found["ns"] = ns
    for key, (field, members) in _OBJECTS.items():
        if isinstance(payload.get(key), dict):
            _object(payload, key, field, members, found)
    _labels(payload, found)
    for name in ("spanId", "insertId"):
        _text(payload, name, found)
    trace = _text(payload, "trace", found)
    if _TRACE_ID.fullmatch(trace):
        found["trace"] = f"projects/{project}/traces/{trace}"
    flag = _flag(payload.get(PREFIX + "trace_sampled"))
    if flag is not None:
        found["traceSampled"] = flag
        del payload[PREFIX + "trace_sampled"]
    return found


def storable(value: Any, levels: int = MAX_LEVELS) -> Any:
    """`value` as a google.protobuf.Struct holds it whole: integers that a double does not hold become texts (rounded, an id is
    another one: googleapis/google-cloud-go#1150), and so does what is nested deeper than `levels`, as JSON
    (fluent-plugin-google-cloud#233: all entries of the request were dropped)."""
    if isinstance(value, (dict, list)) and not levels:
        return orjson.dumps(value).decode()
    if isinstance(value, dict):
        return {name: storable(one, levels - 1) for name, one in value.items()}
    if isinstance(value, list):
        return [storable(one, levels - 1) for one in value]
    return str(value) if isinstance(value, int) and value not in _EXACT else value


def _severity(payload: dict[str, Any], found: dict[str, Any]) -> None:
    """One that names none stays in the payload, and the entry has DEFAULT."""
    value = payload.get("severity")
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        name = normal(str(value)).decode()
        found["severity"] = name or "DEFAULT"
        if name or str(value).strip().upper() == "DEFAULT":
            del payload["severity"]


def _text(payload: dict[str, Any], name: str, found: dict[str, Any]) -> str:
    value = payload.get(PREFIX + name)
    if not isinstance(value, str) or not value:
        return ""
    found[name] = payload.pop(PREFIX + name)
    return value


def _object(payload: dict[str, Any], key: str, field: str, members: dict[str, str], found: dict[str, Any]) -> None:
    """The known members; the others stay."""
    made, rest = {}, {}
    for name, value in payload[key].items():
        kept = _member(members.get(name, ""), value)
        if kept is None:
            rest[name] = value
        else:
            made[name] = kept
    if made:
        found[field] = made
    if rest:
        payload[key] = rest
    else:
        del payload[key]


def _member(kind: str, value: Any) -> Any:
    """`value` as the API takes it; None where it is nothing of that kind."""
    if kind == _FLAG:
        return _flag(value)
    if kind in (_LONG, _INT):
        number = _integer(value)
        if number is None:
            return None
        return str(number) if kind == _LONG else number if -(1 << 31) <= number < 1 << 31 else None
    if not kind or not isinstance(value, str):
        return None
    return value if kind == _TEXT else _latency(value)


def _latency(text: str) -> str | None:
    """A Duration: at most nine digits behind the point, and no blanks."""
    parts = _LATENCY.fullmatch(text)
    if parts is None:
        return None
    return f"{parts[1]}.{parts[2][:9]}s" if parts[2] else f"{parts[1]}s"


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)              # JSON that went through Lua or JavaScript
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INT64 else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _labels(payload: dict[str, Any], found: dict[str, Any]) -> None:
    """All values as texts. Those that the API would cut or refuse stay in the payload: more than an entry may have, and names
    and values that are too long."""
    value = payload.get(PREFIX + "labels")
    if not isinstance(value, dict):
        return
    taken: dict[str, str] = {}
    rest = {}
    for name, one in value.items():
        text = _as_text(one)
        if len(taken) < MAX_LABELS and len(name.encode()) <= MAX_LABEL_NAME_BYTES and len(text.encode()) <= MAX_LABEL_BYTES:
            taken[name] = text
        else:
            rest[name] = one
    found["labels"] = taken
    if rest:
        payload[PREFIX + "labels"] = rest
    else:
        del payload[PREFIX + "labels"]


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else "" if value is None else str(value)


def _time_ns(payload: dict[str, Any]) -> int | None:
    """The first of the sources that says one; it is taken out of the payload."""
    pair = payload.get("timestamp")
    if isinstance(pair, dict) and "seconds" in pair:
        ns = _of_pair(pair["seconds"], pair.get("nanos", 0))
        if ns is not None:
            del payload["timestamp"]
            return ns
    if "timestampSeconds" in payload:
        ns = _of_pair(payload["timestampSeconds"], payload.get("timestampNanos", 0))
        if ns is not None:
            del payload["timestampSeconds"]
            payload.pop("timestampNanos", None)
            return ns
    ns = _integer(payload.get("timeNanos"))
    if ns is not None and 0 < ns < _MAX_SECONDS * 1_000_000_000:
        del payload["timeNanos"]
        return ns
    return _iso(payload)


def _of_pair(seconds: Any, nanos: Any) -> int | None:
    whole, rest = _integer(seconds), _integer(nanos)
    if whole is None or rest is None or not 0 < whole < _MAX_SECONDS or not 0 <= rest < 1_000_000_000:
        return None
    return whole * 1_000_000_000 + rest


def _iso(payload: dict[str, Any]) -> int | None:
    """`time` in ISO 8601, which says its zone: nine digits behind the point count."""
    text = payload.get("time")
    if not isinstance(text, str) or "T" not in text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None or not 1970 <= when.year < 9999:
        return None
    fraction = re.search(r"[.,](\d+)", text)
    nanos = int((fraction[1] if fraction else "0")[:9].ljust(9, "0"))
    del payload["time"]
    return int(when.replace(microsecond=0).timestamp()) * 1_000_000_000 + nanos
