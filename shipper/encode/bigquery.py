"""Records as rows of BigQuery's insertAll. Pure. Hot: once per batch.

    {"insertId":"<key>:<item>","json":{"time":..,"stream":..,"severity":..,"message":..,"id":..,"fields":"{..}","node":..,
     "namespace":..,"pod":..,"kubernetes":{..}}}

Invariants (tests/encode/test_bigquery.py):
  BQ1  a row of the automatic schema has no member that AUTO_SCHEMA does not have
  BQ2  columns of type JSON are given as texts of JSON, as insertAll wants them
  BQ3  no insertId is over 128 characters: a longer one is its beginning and a hash, the column `id` has all of it
  BQ4  a row for a table of one's own has the table's columns alone, with values as its types want them; what has no column goes
       to the overflow column, or below `fields`. Where there is neither it stays in the row: BigQuery then refuses that row
Cost (CPython 3.11): 1.6 us a line of 200 bytes for the automatic schema, 6 with parsed fields into a table of one's own.
"""
from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from ..model import Batch, Source
from . import epoch
from .cloud_logging import seconds_text
from .frame import Frame
from .record_json import _object_inside, json_strings

FRAME = Frame(b'{"skipInvalidRows":true,"rows":[', b",", b"]}")
MAX_INSERT_ID = 128
_EXACT = range(-(1 << 53), (1 << 53) + 1)
_LONG_NUMBER = re.compile(rb"[0-9]{18}|[0-9][eE][+]?[0-9]{3}")


def _column(name: str, kind: str = "STRING", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "mode": "NULLABLE", **more}


AUTO_SCHEMA: list[dict[str, Any]] = [
    _column("time", "TIMESTAMP"), _column("stream"), _column("severity"), _column("message"), _column("id"),
    _column("node"), _column("namespace"), _column("pod"), _column("file"),
    _column("kubernetes", "RECORD", fields=[
        _column("namespace_name"), _column("pod_name"), _column("pod_id"), _column("container_name"), _column("container_id"),
        _column("labels", "JSON"), _column("metadata", "JSON")]),
    _column("fields", "JSON"), _column("marks", "JSON"),
]
"""namespace and pod stand at the top as well, since only top-level columns can be clustered by."""
OWN_NAMES = frozenset(one["name"] for one in AUTO_SCHEMA)


class Column(NamedTuple):
    """Of a table. name: spelled as there; kind: the API's older name of its type (RECORD, INTEGER, BOOLEAN ...); fields: of a
    RECORD, by their names in lower case."""

    name: str
    kind: str = "STRING"
    repeated: bool = False
    required: bool = False
    fields: Mapping[str, Column] = {}


_KINDS = {"STRUCT": "RECORD", "INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "DECIMAL": "NUMERIC",
          "BIGDECIMAL": "BIGNUMERIC"}


def columns_of(listed: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """By name in lower case, of TableSchema.fields; BigQuery's names differ in more than case."""
    found = {}
    for one in listed:
        name, kind, mode = (str(one.get(key) or "") for key in ("name", "type", "mode"))
        inner = one.get("fields")
        fields = columns_of([f for f in inner if isinstance(f, dict)]) if isinstance(inner, list) else {}
        found[name.lower()] = Column(
            name, _KINDS.get(kind.upper(), kind.upper()), mode.upper() == "REPEATED", mode.upper() == "REQUIRED", fields)
    return found


AUTO_COLUMNS = columns_of(AUTO_SCHEMA)


def part(batch: Batch) -> list[bytes]:
    """What a batch gives for the automatic schema: its rows with commas between them."""
    return [b"".join(_auto(batch))[:-1]] if len(batch) else []


def own_part(batch: Batch, columns: Mapping[str, Column], overflow: str | None = None) -> list[bytes]:
    """The same for a table with these columns (columns_of). overflow: the column for fields that it does not have."""
    if not len(batch):
        return []
    ids = _insert_ids(batch)
    return [b",".join([b'{"insertId":' + i + b',"json":' + _dump(row) + b"}"
                       for i, row in zip(ids, own_rows(batch, columns, overflow))])]


def _auto(batch: Batch) -> list[bytes]:
    rows = len(batch)
    parts = [b'{"insertId":', b"", b',"json":', b"", b"},"] * rows
    parts[1::5], parts[3::5] = _insert_ids(batch), _bodies(batch)
    return parts


def _bodies(batch: Batch) -> list[bytes]:
    """The rows' values for the automatic schema."""
    tail: bytes = batch.source.cached("bigquery", _tail)
    severities = batch.severities if batch.severities is not None else [b""] * len(batch)
    pairs = list(zip(batch.streams, severities))
    known = {pair: _stream(*pair) for pair in set(pairs)}
    lead = b',"id":"' + batch.key.encode() + b":"
    beside = [b'"' + (b',"fields":' + one if one else b"") for one in _field_texts(batch)]
    for row, mark in (batch.marks or {}).items():
        beside[row] += b',"marks":' + json_strings([b"{" + _object_inside(mark) + b"}"])[0]
    return [
        b'{"time":"' + time + known[pair] + text + lead + item + rest + tail
        for time, pair, text, item, rest in zip(times(batch), pairs, json_strings(batch.messages), batch.ids, beside)]


def times(batch: Batch) -> list[bytes]:
    """To the microsecond, which is what TIMESTAMP holds; what is no time is the read time."""
    return [seconds_text(int(ns[:-9] or b"0")) + b"." + ns[-9:].rjust(9, b"0")[:6] + b"Z" for ns in epoch.nanoseconds(batch)]


def _stream(stream: bytes, severity: bytes) -> bytes:
    made = b'","stream":' + json_strings([stream])[0] if stream else b'"'
    return made + (b',"severity":' + json_strings([severity])[0] if severity else b"") + b',"message":'


def _fields(batch: Batch) -> Sequence[bytes]:
    return batch.fields if batch.fields is not None else [b""] * len(batch)


def _field_texts(batch: Batch) -> list[bytes]:
    """BQ2."""
    if batch.fields is None:
        return [b""] * len(batch)
    return [text if fields else b"" for text, fields in zip(json_strings(batch.fields), batch.fields)]


def _insert_ids(batch: Batch) -> list[bytes]:
    """BQ3, as JSON strings."""
    key = batch.key.encode() + b":"
    if len(key) + max(map(len, batch.ids)) <= MAX_INSERT_ID:
        return [b'"' + key + item + b'"' for item in batch.ids]
    return [b'"' + _short(key + item) + b'"' for item in batch.ids]


def _short(whole: bytes) -> bytes:
    if len(whole) <= MAX_INSERT_ID:
        return whole
    return whole[:64] + b"~" + hashlib.blake2b(whole, digest_size=16).hexdigest().encode()


def _tail(source: Source) -> bytes:
    """What is the same for all records of a source, with the row's last brace."""
    values: dict[str, Any] = {"node": source.node}
    if source.kind == "containers":
        kubernetes = {
            "namespace_name": source.namespace, "pod_name": source.pod, "pod_id": source.pod_uid,
            "container_name": source.container, "container_id": source.container_id,
            "labels": _json_text(source.labels), "metadata": _json_text(source.about_pod),
        }
        values |= {"namespace": source.namespace, "pod": source.pod,
                   "kubernetes": {name: value for name, value in kubernetes.items() if value}}
    else:
        values["file"] = source.path
    inside = _object_inside({name: value for name, value in values.items() if value})
    return (b"," + inside if inside else b"") + b"}"


def _json_text(value: Mapping[str, Any] | None) -> str:
    return (b"{" + _object_inside(dict(value)) + b"}").decode() if value else ""


# ------------------------------------------------------------ a table of one's own


def own_rows(batch: Batch, columns: Mapping[str, Column], overflow: str | None = None) -> list[dict[str, Any]]:
    """BQ4. Each record's row: ours where the table has a column of that name, its parsed fields beside it."""
    rest = columns.get((overflow or "").lower())
    return [
        _own(orjson.loads(body), _load(fields) if fields else {}, columns, rest)
        for body, fields in zip(_bodies(batch), _fields(batch))]


def _own(row: dict[str, Any], parsed: dict[str, Any], columns: Mapping[str, Column], rest: Column | None) -> dict[str, Any]:
    out = {}
    for name, value in row.items():
        column = columns.get(name)
        if column is not None:
            out[column.name] = _ours(name, value, column)
    unknown = _fill(out, {name: v for name, v in parsed.items() if name.lower() not in OWN_NAMES}, columns, rest)
    unknown |= {name: value for name, value in parsed.items() if name.lower() in OWN_NAMES}
    if "fields" in columns or not unknown:
        return out                                  # all of them are in `fields`
    if rest is not None:
        out[rest.name] = _json(unknown)
    else:
        out |= {name: value for name, value in unknown.items() if name.lower() not in OWN_NAMES}
    return out


def _ours(name: str, value: Any, column: Column) -> Any:
    """A value of the automatic schema for a column of another type."""
    if name == "time" and column.kind == "DATETIME":
        return value[:-1]                           # it has no zone
    if name != "kubernetes":
        return value
    if column.kind == "RECORD":
        return {column.fields[inner].name: one for inner, one in value.items() if inner in column.fields}
    return _json({inner: orjson.loads(one) if inner in ("labels", "metadata") else one for inner, one in value.items()})


def _fill(out: dict[str, Any], values: dict[str, Any], columns: Mapping[str, Column], rest: Column | None) -> dict[str, Any]:
    """Put `values` into `out` where there are columns for them. Returns the others, nested as they were."""
    unknown: dict[str, Any] = {}
    for name, value in values.items():
        column = columns.get(name.lower())
        if column is None or column is rest or column.name in out:
            unknown[name] = value
        elif value is not None:
            out[column.name], left = _fit(value, column, rest)
            if left:
                unknown[name] = left
    return unknown


def _fit(value: Any, column: Column, rest: Column | None) -> tuple[Any, Any]:
    """`value` as insertAll takes it for that column, and what of it has no column there. What is of another type stays as it is:
    to refuse it is BigQuery's."""
    if column.repeated:
        single = column._replace(repeated=False)
        values = value if isinstance(value, list) else [value]
        fitted = [_fit(one, single, rest) for one in values if one is not None or column.kind == "JSON"]   # no NULL in an array
        return [one for one, _ in fitted], [one for _, one in fitted if one]
    if column.kind == "RECORD" and isinstance(value, dict):
        inside: dict[str, Any] = {}
        left_inside = _fill(inside, value, column.fields, None)
        return (inside, left_inside) if rest is not None else (inside | left_inside, None)
    if column.kind == "JSON":
        return _json(value), None
    if column.kind == "STRING" and not isinstance(value, str):
        return _json(value), None
    if isinstance(value, int) and value not in _EXACT:
        return str(value), None                 # as a number it would be rounded to a double on its way
    return value, None


def _json(value: Any) -> str:
    return _dump(value).decode()


def _load(fields: bytes) -> dict[str, Any]:
    """Integers over 64 bits as they are, numbers that no double holds as texts."""
    if _LONG_NUMBER.search(fields) is None:
        found: dict[str, Any] = orjson.loads(fields)
    else:
        found = json.loads(fields, parse_float=lambda text: number if math.isfinite(number := float(text)) else text)
    return found


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:                               # an integer over 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
