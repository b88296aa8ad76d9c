"""Records as OTLP's ExportLogsServiceRequest in JSON (its "JSON Protobuf Encoding"). Pure. Hot: once per batch.

    {"resourceLogs":[{"resource":{"attributes":[..]},"scopeLogs":[{"scope":{"name":"shipper"},"logRecords":[
      {"timeUnixNano":"..","observedTimeUnixNano":"..","severityNumber":17,"severityText":"ERROR","body":{"stringValue":".."},
       "attributes":[{"key":"log.record.uid","value":{"stringValue":"<key>:<item>"}}, ..]}, ..]}]}, ..]}

Invariants (tests/encode/test_otlp.py, against the official messages):
  O1  what is the same for all records of a source is its resource's attributes, made once per source
  O2  attribute names are unique within a record: a parsed field with a name of ours gets `fields.` in front
  O3  64 bit integers are texts, as the encoding wants them; larger ones become string values
Cost (CPython 3.11): 0.65 us a line of 200 bytes; 5 more where five fields were parsed out of it.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..model import Batch, Source
from . import epoch
from .frame import Frame
from .record_json import _object_inside, json_strings
from .template import Template

FRAME = Frame(b'{"resourceLogs":[', b",", b"]}")
SEVERITY_NUMBERS = {
    b"DEBUG": 5, b"INFO": 9, b"NOTICE": 10, b"WARNING": 13, b"ERROR": 17, b"CRITICAL": 18, b"ALERT": 19, b"EMERGENCY": 21,
}
"""The specification's mapping of syslog's severities (logs data model, appendix B)."""

_MAX_DEPTH = 12                 # each is four levels of JSON and three messages; parsers take a hundred
_OWN = frozenset((
    "", "log.record.uid", "log.iostream", "shipper.partial", "shipper.truncated", "shipper.malformed", "shipper.lost"))
_SCALARS = {str: "stringValue", bool: "boolValue", float: "doubleValue"}


class OtlpEncoder:
    """resource: attribute name -> template without {time}, beside those of Kubernetes and the host."""

    def __init__(self, resource: Mapping[str, Template]) -> None:
        self._resource = dict(resource)
        self._key = tuple((name, template.text) for name, template in self._resource.items())

    def pieces(self, batches: Sequence[Batch]) -> list[bytes]:
        """The whole body, in pieces."""
        return FRAME.around(map(self.part, batches))

    def part(self, batch: Batch) -> list[bytes]:
        """What a batch gives: its ResourceLogs; nothing for an empty one."""
        return [self._head(batch.source), records(batch), b"]}]}"] if len(batch) else []

    def _head(self, source: Source) -> bytes:
        made: bytes = source.cached(("otlp", self._key), self._make_head)
        return made

    def _make_head(self, source: Source) -> bytes:
        attributes = {**resource_attributes(source), **{
            name: value for name, template in self._resource.items() if (value := template.render_source(source))}}
        listed = _object_inside({"attributes": [{"key": name, "value": _value(value)} for name, value in attributes.items()]})
        return b'{"resource":{' + listed + b'},"scopeLogs":[{"scope":{"name":"shipper"},"logRecords":['


def resource_attributes(source: Source) -> dict[str, Any]:
    """O1, under the names of the semantic conventions; what is empty is left out."""
    if source.kind == "files":
        found: dict[str, Any] = {"host.name": source.node, "log.file.path": source.path}
    else:
        found = {
            "k8s.node.name": source.node, "k8s.namespace.name": source.namespace, "k8s.pod.name": source.pod,
            "k8s.pod.uid": source.pod_uid, "k8s.container.name": source.container, "container.id": source.container_id,
            "k8s.container.restart_count": source.restart,
            **{f"k8s.pod.label.{name}": str(value) for name, value in (source.labels or {}).items()},
        }
    return {name: value for name, value in found.items() if value != ""}


def records(batch: Batch) -> bytes:
    """The LogRecords of a batch that is not empty, joined by commas."""
    rows = len(batch)
    middle = b'","observedTimeUnixNano":"%d"' % max(batch.read_ns, 0)
    lead = b'},"attributes":[{"key":"log.record.uid","value":{"stringValue":"' + batch.key.encode() + b":"
    parts = [b'{"timeUnixNano":"', b"", middle, b',"body":{"stringValue":', b"", lead, b"", b'"}}', b"]},"] * rows
    parts[1::9], parts[4::9], parts[6::9] = epoch.nanoseconds(batch), json_strings(batch.messages), batch.ids
    if batch.severities is not None:
        known = {severity: _severity(severity) for severity in set(batch.severities)}
        parts[3::9] = [known[severity] + b',"body":{"stringValue":' for severity in batch.severities]
    parts[7::9] = _attributes(batch)
    parts[-1] = b"]}"
    return b"".join(parts)


def _severity(severity: bytes) -> bytes:
    if severity not in SEVERITY_NUMBERS:
        return b""
    return b',"severityNumber":%d,"severityText":"%b"' % (SEVERITY_NUMBERS[severity], severity)


def _attributes(batch: Batch) -> list[bytes]:
    """From the quote that ends the id: stream, marks and fields of each record."""
    streams = {s: b'"}}' + (_pair("log.iostream", s.decode("utf-8", "replace")) if s else b"") for s in set(batch.streams)}
    found = [streams[stream] for stream in batch.streams]
    if batch.fields is not None:
        found = [one + _fields(parsed) if parsed else one for one, parsed in zip(found, batch.fields)]
    for row, mark in (batch.marks or {}).items():
        found[row] += b"".join([_pair(f"shipper.{name}", value) for name, value in mark.items()])
    return found


def _fields(parsed: bytes) -> bytes:
    """O2."""
    values: dict[str, Any] = orjson.loads(parsed)
    if not _OWN.isdisjoint(values):
        renamed = {f"fields.{name}" if name in _OWN else name: value for name, value in values.items()}
        values = renamed if len(renamed) == len(values) else {"fields": values}     # both "x" and "fields.x" were there
    listed = orjson.dumps([{"key": name, "value": _value(value)} for name, value in values.items()])
    return b"," + listed[1:-1] if values else b""


def _pair(name: str, value: Any) -> bytes:
    return b"," + orjson.dumps({"key": name, "value": _value(value)})


def _value(value: Any, depth: int = 0) -> dict[str, Any]:
    """An AnyValue (O3). Null is the empty one; what is nested too deep for protobuf's parsers becomes a text."""
    scalar = _SCALARS.get(type(value))
    if scalar is not None:
        return {scalar: value}
    if isinstance(value, int):
        return {"intValue": str(value)} if -(1 << 63) <= value < 1 << 63 else {"stringValue": str(value)}
    if depth > _MAX_DEPTH and value is not None:
        return {"stringValue": orjson.dumps(value).decode()}
    if isinstance(value, Mapping):
        pairs = [{"key": str(name), "value": _value(inner, depth + 1)} for name, inner in value.items()]
        return {"kvlistValue": {"values": pairs}}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(inner, depth + 1) for inner in value]}}
    return {} if value is None else {"stringValue": str(value)}
