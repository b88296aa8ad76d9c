"""The JSON of a record, and NDJSON of a batch. One key order, always:

    {"time":..,"stream":..,"severity":..,"message":..,"id":"<key>:<item>", marks.., "fields":{..}, "node":..,
     "kubernetes":{"namespace_name","pod_name","pod_id","container_name","container_id","labels",..}} a container's record
    {"time":..,"severity":..,"message":..,"id":..,marks..,"fields":{..},"node":..,"file":path}         a host file's
    with merge, the members of `fields` stand in its place; those with a name of ours stay below `fields`

Invariants:
  J1  one record is one line, whatever bytes its message holds: a JSON string has no raw newline
  J2  bytes that are not UTF-8 become U+FFFD, per message as `bytes.decode("utf-8", "replace")` does it
  J3  equal batches give equal bytes; nothing but the batch is looked at (a line without a time has the batch's read time)
  J4  what is empty is left out (no stream, no severity, no fields, no labels, no uid)
  J5  `times` and `streams` came out of hostile files: they are escaped wherever they are not plain
Pure. Hot: once per batch. No object per line but the JSON strings themselves.
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from ..model import Batch, Source

PIECE_BYTES = 96 * 1024
_BYTES_BESIDE_TAIL = 120            # keys, time and id of a line
_DEL = b"\x7f"
_TIME_CHARACTERS = b"0123456789:-T.Z+"
OWN_KEYS = frozenset((
    "time", "stream", "severity", "message", "id", "partial", "truncated", "malformed", "lost", "fields", "node", "kubernetes",
    "file"))
"""What `merge` puts no field in the place of."""
_OWN_OR_ESCAPE = re.compile(('"(?:' + "|".join(sorted(OWN_KEYS)) + r')"|\\').encode())


def encode(batch: Batch, merge: bool = False) -> bytes:
    """The batch as NDJSON: one JSON object and one newline per record. b"" for an empty batch."""
    return b"".join(pieces(batch, merge))


def pieces(batch: Batch, merge: bool = False) -> list[bytes]:
    """`encode`, in pieces of whole lines and about PIECE_BYTES each, for whoever can write pieces (writev, sendmsg, deflate).

    Cost: 0.25 us a line of 230 bytes (CPython 3.11, one core), 0.15 of it the JSON strings; `orjson.dumps` of a dict per
    line: 0.9. In one piece of 450 kB it was 0.27 to 0.93: from 128 KiB on malloc maps and unmaps memory for each batch, and
    the page faults cost more than the encoding.
    """
    count = len(batch)
    if not count:
        return []
    tail: bytes = batch.source.cached("record_json", source_tail)
    expected_bytes = sum(map(len, batch.messages)) + sum(map(len, batch.fields or ())) + count * (len(tail) + _BYTES_BESIDE_TAIL)
    step = max(1, count * PIECE_BYTES // expected_bytes)
    return [_piece(batch.slice(low, low + step), tail, merge) for low in range(0, count, step)]


def lines(batch: Batch, merge: bool = False) -> list[bytes]:
    """The JSON objects of the batch one by one, without newlines (for bodies that are arrays or have envelopes)."""
    return encode(batch, merge).split(b"\n")[:-1]


def json_strings(messages: Sequence[bytes]) -> list[bytes]:
    """Each message as a JSON string with its quotes (J1, J2).

    All strings are written by one call: indented output puts b",\\n  " between two items, and no JSON string holds a raw
    newline, so cutting there is exact. Decoding all messages at once is what makes it 0.22 us a line; it is exact as well
    (a newline ends any broken UTF-8 sequence), but for messages that have newlines themselves: those are decoded singly.
    """
    if not messages:
        return []
    texts = b"\n".join(messages).decode("utf-8", "replace").split("\n")
    if len(texts) != len(messages):
        texts = [message.decode("utf-8", "replace") for message in messages]
    return orjson.dumps(texts, option=orjson.OPT_INDENT_2)[4:-2].split(b",\n  ")


def json_insides(messages: Sequence[bytes]) -> list[bytes]:
    """The same strings without their quotes, at three quarters of the cost: all messages as one JSON string, with DEL between
    them, which JSON leaves as it stands (RFC 8259 section 7) and which ends any broken UTF-8 sequence. At least one message."""
    found = orjson.dumps(_DEL.join(messages).decode("utf-8", "replace"))[1:-1].split(_DEL)
    return found if len(found) == len(messages) else [string[1:-1] for string in json_strings(messages)]


def time_strings(batch: Batch) -> Sequence[bytes]:
    """The `times` column made safe to stand between quotes: a line without a time gets the batch's read time (J3, J5)."""
    times = batch.times
    if not all(times):
        read = rfc3339(batch.read_ns)
        times = [time or read for time in times]
    if b"".join(times).translate(None, _TIME_CHARACTERS):
        return [string[1:-1] for string in json_strings(times)]
    return times


def rfc3339(time_ns: int) -> bytes:
    """Nanoseconds since 1970 as RFC 3339 in UTC with nine digits: b"2026-11-20T09:04:05.123456789Z"."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return b"%b.%09dZ" % (datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode(), nanoseconds)


def source_tail(source: Source) -> bytes:
    """What follows the id item in each record of the source, from the quote that ends the id to the last brace."""
    record: dict[str, Any] = {"node": source.node}
    if source.kind != "containers":
        record["file"] = source.path
    else:
        record["kubernetes"] = _without_empty({
            "namespace_name": source.namespace, "pod_name": source.pod, "pod_id": source.pod_uid,
            "container_name": source.container, "container_id": source.container_id, "labels": source.labels,
            **(source.about_pod or {}),
        })
    inside = _object_inside(_without_empty(record))
    return b'",' + inside + b"}" if inside else b'"}'


def _piece(batch: Batch, tail: bytes, merge: bool) -> bytes:
    """NDJSON of a batch that is not empty. What each line is made of stands in one list, six items a line, filled column by
    column by slice assignment and joined once; the last item of a line begins the next one."""
    times = batch.times if batch.utc else time_strings(batch)           # utc: proven to be of these characters alone
    parts: list[bytes] = [b"", b"", b"", b'","id":"' + batch.key.encode() + b":", b"", tail + b'\n{"time":"'] * len(batch)
    parts[0::6] = times
    parts[1::6] = _stream_pieces(batch.streams, batch.severities)
    parts[2::6] = json_insides(batch.messages)
    parts[4::6] = batch.ids
    parts[0] = b'{"time":"' + times[0]
    parts[-1] = tail + b"\n"
    if batch.fields is not None:
        members = _merged if merge else _below
        parts[5::6] = [members(one) + rest[1:] if one else rest for one, rest in zip(batch.fields, parts[5::6])]
    for index, mark in (batch.marks or {}).items():
        parts[index * 6 + 5] = b'",' + _object_inside(mark) + parts[index * 6 + 5][1:]
    return b"".join(parts)


def _below(fields: bytes) -> bytes:
    return b'","fields":' + fields


def _merged(fields: bytes) -> bytes:
    """The members of `fields`; what has a name of ours stays below `fields`."""
    if _OWN_OR_ESCAPE.search(fields) is None:
        return b'",' + fields[1:-1] if len(fields) > 2 else b'"'
    values = orjson.loads(fields)
    own = {name: values.pop(name) for name in values.keys() & OWN_KEYS}
    inside = [orjson.dumps(values)[1:-1]] if values else []
    if own:
        inside.append(b'"fields":' + orjson.dumps(dict(sorted(own.items()))))
    return b'",' + b",".join(inside)


def _stream_pieces(streams: Sequence[bytes], severities: Sequence[bytes] | None = None) -> list[bytes]:
    """What stands between the time and the message: mostly one constant, as a batch seldom has both streams."""
    if severities is not None:
        pairs = list(zip(streams, severities))
        both = {pair: _stream_piece(*pair) for pair in set(pairs)}
        return [both[pair] for pair in pairs]
    if streams.count(streams[0]) == len(streams):
        return [_stream_piece(streams[0])] * len(streams)
    known = {stream: _stream_piece(stream) for stream in set(streams)}
    return list(map(known.__getitem__, streams))


def _stream_piece(stream: bytes, severity: bytes = b"") -> bytes:
    made = b'","stream":' + json_strings([stream])[0] if stream else b'"'
    return made + (b',"severity":' + json_strings([severity])[0] if severity else b"") + b',"message":"'


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None) and value != {}}


def _object_inside(values: dict[str, Any]) -> bytes:
    """The members of a JSON object without its braces. Path names may hold lone surrogates (bytes that were not UTF-8)
    and marks integers over 64 bits; orjson refuses both, so those rare ones take the standard library's way."""
    try:
        return orjson.dumps(values)[1:-1]
    except TypeError:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=str)
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()[1:-1]
