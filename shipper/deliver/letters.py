"""Dead letters as values: which of them are wanted, the line that a record becomes, and the record that it was made of. Pure.

Invariants (tests/deliver/test_letters.py):
  E1  `batch_of(dead_line(batch))` encodes to the bytes that `batch` encodes to, in JSON and in syslog: the same id, the same
      message (what was not UTF-8 too), time, marks and fields
  E2  a letter that cannot be a record is None, never an exception
"""
from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from .. import exact_json
from ..encode.record_json import encode, rfc3339
from ..model import Batch, Source

_OWN_KEYS = frozenset(("time", "stream", "message", "id", "node", "file", "kubernetes", "severity", "fields"))
_ITEM = re.compile(r"[0-9a-f]+\+[0-9a-f]+(,[^,:]+:[0-9a-f]+\+[0-9a-f]+)*")
_EXCERPT_CHARACTERS = 512
_SECRETS = re.compile(
    r"(?i)\b(authorization|bearer|basic|splunk|(?:access_|api_)?(?:token|key)|api-?key|password|passwd|secret|sig(?:nature)?)"
    r"([\"']?\s*[:=]\s*[\"']?|\s+)(?:(?:bearer|basic|splunk|token)\s+)?[^\s\"'&,;<>]{6,}"
)
_USER_INFO = re.compile(r"://[^/\s@]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters: all that is given must hold. Times are RFC 3339 in UTC, of when they became dead letters.

    source   a glob on `namespace/pod/container`, on the file's path, or on the source's name in the config
    """

    ids: tuple[str, ...] = ()
    reason: str = ""
    source: str = ""
    since: str = ""
    until: str = ""

    def matches(self, letter: Mapping[str, Any]) -> bool:
        at = str(letter.get("at", ""))
        return bool(
            (not self.ids or letter["record"]["id"] in self.ids)
            and (not self.reason or letter.get("reason") == self.reason)
            and (not self.since or at >= self.since) and (not self.until or at < self.until)
            and (not self.source or any(fnmatch.fnmatchcase(name, self.source) for name in names_of(letter)))
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Wanted:
        """ValueError where it is none."""
        ids = data.get("ids", ())
        if not isinstance(ids, (list, tuple)):
            raise ValueError("ids is a list")
        texts = {name: str(data.get(name, "")) for name in ("reason", "source", "since", "until")}
        return cls(ids=tuple(map(str, ids)), **texts)


def names_of(letter: Mapping[str, Any]) -> list[str]:
    """What `--source` is compared with; the first is what is shown."""
    source = letter.get("source")
    if not isinstance(source, Mapping):
        return [""]
    found = [str(source.get("path", "")), str(source.get("name", ""))]
    if source.get("pod"):
        found.insert(0, "/".join(str(source.get(key, "")) for key in ("namespace", "pod", "container")))
    return found


def comparable_time(at_s: float) -> str:
    """Seconds since 1970 as letters have it."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def batch_of(letter: Mapping[str, Any]) -> Batch | None:
    """The one record of a letter (E1, E2)."""
    record, source, key = letter.get("record"), letter.get("source"), letter.get("key")
    if not isinstance(record, dict) or not isinstance(source, Mapping) or not isinstance(key, str):
        return None
    whole_id, message, time = record.get("id"), record.get("message"), record.get("time")
    if not isinstance(whole_id, str) or not isinstance(message, str) or not isinstance(time, str):
        return None
    item = whole_id.removeprefix(f"{key}:")
    if item == whole_id or _ITEM.fullmatch(item) is None:
        return None
    try:
        raw = base64.b64decode(letter["message_base64"], validate=True) if "message_base64" in letter else message.encode()
        fields = _fields(letter)
        made = Source.from_json(_source(letter))
    except (binascii.Error, ValueError, TypeError):
        return None
    marks = letter.get("marks")
    if "read_ns" not in letter:                  # written by a release that kept marks in the record alone
        marks = {name: value for name, value in record.items() if name not in _OWN_KEYS}
    severity, read_ns = letter.get("severity"), letter.get("read_ns")
    return Batch(
        made, key, [time.encode()], [str(record.get("stream", "")).encode()], [item.encode()], [raw],
        {0: marks} if isinstance(marks, dict) and marks else None, read_ns if isinstance(read_ns, int) else 0,
        severities=[str(severity).encode()] if severity else None, fields=[fields] if fields else None,
    )


def _source(letter: Mapping[str, Any]) -> Mapping[str, Any]:
    """As it was, names that are not UTF-8 too. ValueError or TypeError where it cannot be had."""
    exact = letter.get("source_base64")
    found = letter["source"] if exact is None else exact_json.loads(base64.b64decode(exact, validate=True))
    if not isinstance(found, Mapping):
        raise ValueError("no source")
    return found


def _fields(letter: Mapping[str, Any]) -> bytes:
    """As they were parsed; b"" for none (E1). ValueError or TypeError where they cannot be had."""
    if "fields_base64" in letter:
        return base64.b64decode(letter["fields_base64"], validate=True)
    return orjson.dumps(letter["fields"]) if letter.get("fields") is not None else b""


# ---------------------------------------------------------------- lines of the store

def scrub(response: str) -> str:
    """An excerpt of a server's answer that is safe to keep (L5)."""
    text = _SECRETS.sub(r"\1\2***", response[: 8 * 1024])
    return " ".join(_USER_INFO.sub("://***@", text).split())[:_EXCERPT_CHARACTERS]


def dead_line(batch: Batch, reason: str, response: str, at_ns: int) -> bytes:
    """One line for the one record in `batch`. Pure."""
    source = batch.source.to_json()
    line: dict[str, Any] = {
        "at": rfc3339(at_ns).decode(), "reason": reason, "response": scrub(response),
        "key": batch.key, "source": _plain(source), "read_ns": batch.read_ns,
    }
    if line["source"] != source:                         # a name that is not UTF-8
        line["source_base64"] = base64.b64encode(exact_json.dumps(source)).decode()
    if batch.marks and batch.marks.get(0):
        line["marks"] = _plain(batch.marks[0])
    if batch.severities and batch.severities[0]:
        line["severity"] = batch.severities[0].decode("ascii", "replace")
    if batch.fields and batch.fields[0]:
        line["fields"] = orjson.Fragment(batch.fields[0])
        if not _survives(batch.fields[0]):
            line["fields_base64"] = base64.b64encode(batch.fields[0]).decode()
    message = batch.messages[0]
    try:
        message.decode("utf-8")
    except UnicodeDecodeError:
        line["message_base64"] = base64.b64encode(message).decode()
    line["record"] = orjson.Fragment(encode(batch)[:-1])
    return orjson.dumps(line) + b"\n"


def _survives(fields: bytes) -> bool:
    """Whether reading the JSON and writing it again gives these very bytes: not with integers over 64 bits, 1.10, escapes."""
    try:
        return orjson.dumps(orjson.loads(fields)) == fields
    except (orjson.JSONDecodeError, TypeError):
        return False


def _plain(value: Any) -> Any:
    """What orjson can write. Names from the file system may hold lone surrogates, which are no UTF-8: escaped as Python shows
    them; integers over 64 bits become floats."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -1 << 63 <= value < 1 << 64:
        return float(value) if abs(value) < 1 << 1000 else str(value)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    return value


def letter_of(line: bytes) -> Any:
    """A line of the store; None where it is none. Parsed fields may hold numbers that orjson does not take (1e999)."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return _plain(json.loads(line))
    except (ValueError, RecursionError):
        return None
