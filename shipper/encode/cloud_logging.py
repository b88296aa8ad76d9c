"""Records as Cloud Logging's LogEntry (entries:write). Pure. Hot: once per batch.

    {"timestamp":..,"severity":..,"logName":"projects/P/logs/stdout","resource":{..},"labels":{..},"insertId":"<key>:<item>",
     "textPayload":".."}        or "jsonPayload":{"message":..,fields..} where something was parsed out of the record

Invariants (tests/encode/test_cloud_logging.py):
  CL1  the quick way, in columns, gives what the careful one gives; careful is what has a member with a field of its own
       (httpRequest, logging.googleapis.com/...), a long integer, many levels, a mark, a time out of reach or a long id
  CL2  no entry is refused for its time: where that is none, more than a day ahead or before 1970, the read time stands in, and
       the label `shipper/time` has it
  CL3  an entry has at most 64 labels, its insertId fewer than 512 characters, its log's id only characters that the API takes
Cost (CPython 3.11): 1.5 us a line of 200 bytes, most of it moving the 600 bytes of an entry; 16 for one that is looked at
carefully.
"""
from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from ..model import SEVERITIES, Batch, Source
from . import epoch
from ._cloud_logging_fields import MAX_LABELS, MAX_LEVELS, storable, take
from .frame import Frame
from .record_json import _object_inside, json_strings, rfc3339
from .template import Template

FRAME = Frame(b'{"partialSuccess":true,"entries":[', b",", b"]}")
DAY_NS = 86_400 * 1_000_000_000
MAX_INSERT_ID = 511
NOWHERE = "global"
_MAX_LOG_ID = 511
_BESIDE_BYTES = 1024
_STREAM_SEVERITIES = {b"stderr": "ERROR", b"stdout": "INFO"}
_OWN = re.compile(
    rb'"(?:httpRequest|message|severity|timestamp|timestampSeconds|timeNanos|time)":|logging\.googleapis\.com|\\u')
_LONG = re.compile(rb"[:,\[\s]-?\d{16}")
_DIGITS = bytes(48 if 48 <= byte < 58 else 1 for byte in range(256))
_SIXTEEN = b"0" * 16


class Place(NamedTuple):
    """Who writes. cluster, location, instance_id, zone: "" where there is none."""

    project: str = ""
    cluster: str = ""
    location: str = ""
    instance_id: str = ""
    zone: str = ""


class CloudLoggingEncoder:
    """place: may be changed (the metadata server is asked at start). log_name: without {time}; None: stream, else source.
    labels: name -> template, on each entry."""

    def __init__(self, place: Place, log_name: Template | None = None, labels: Mapping[str, Template] = {}) -> None:
        self.place = place
        self._log_name, self._labels = log_name, dict(labels)
        self._key = (log_name and log_name.text, tuple((name, one.text) for name, one in self._labels.items()))

    def part(self, batch: Batch) -> list[bytes]:
        """What a batch gives: its entries with commas between them; nothing for an empty one."""
        return [b"".join(self._parts(batch))[:-1]] if len(batch) else []

    def too_long(self, batch: Batch, most_bytes: int) -> list[int]:
        """Indexes of the records whose entry is longer. Cost: next to nothing where all messages are short."""
        if not len(batch) or self._bound(batch) <= most_bytes:
            return []
        parts = self._parts(batch)
        return [row for row in range(len(batch)) if sum(map(len, parts[row * 6:row * 6 + 6])) - 1 > most_bytes]

    def _bound(self, batch: Batch) -> int:
        """No entry of the batch is longer: a byte of a message is at most six in JSON."""
        fields = max(map(len, batch.fields)) * 6 if batch.fields is not None else 0
        middles = max(len(self._middle(batch.source, stream, b"EMERGENCY")) for stream in set(batch.streams))
        return max(map(len, batch.messages)) * 6 + max(map(len, batch.ids)) + fields + middles + _BESIDE_BYTES + (
            1024 if batch.marks else 0)

    def _parts(self, batch: Batch) -> list[bytes]:
        """Six items a record; each record ends with its comma. CL1."""
        rows = len(batch)
        times, ahead = times_of(batch)
        parts = [b'{"timestamp":"', b"", b"", b"", b"", b"},"] * rows
        pairs = list(zip(batch.streams, batch.severities or [b""] * rows))
        key = batch.key.encode() + b":"
        known = {pair: self._middle(batch.source, *pair) + key for pair in set(pairs)}
        texts = json_strings(batch.messages)
        parts[1::6], parts[2::6], parts[3::6] = times, [known[pair] for pair in pairs], batch.ids
        parts[4::6] = [b'","textPayload":' + text for text in texts]
        careful = {*ahead, *(batch.marks or ())}
        if batch.fields is not None:
            long = _may_have_long_numbers(batch.fields)
            for row, fields in enumerate(batch.fields):
                if len(fields) > 2:
                    if (_OWN.search(fields) or fields.count(b"{") + fields.count(b"[") > MAX_LEVELS
                            or (long and _SIXTEEN in fields.translate(_DIGITS) and _LONG.search(fields))):
                        careful.add(row)
                    else:
                        parts[row * 6 + 4] = b'","jsonPayload":{' + (
                            b'"message":' + texts[row] + b"," if batch.messages[row] else b"") + fields[1:-1] + b"}"
        if max(map(len, batch.ids)) + len(key) > MAX_INSERT_ID:
            careful.update(row for row, item in enumerate(batch.ids) if len(item) + len(key) > MAX_INSERT_ID)
        for row in careful:
            parts[row * 6:row * 6 + 6] = [self.entry(batch, row) + b",", b"", b"", b"", b"", b""]
        return parts

    # ------------------------------------------------------------ one by one

    def entry(self, batch: Batch, row: int) -> bytes:
        """One entry, the careful way."""
        payload: dict[str, Any] = orjson.loads(batch.fields[row]) if batch.fields is not None and batch.fields[row] else {}
        own = take(payload, self.place.project)
        payload = storable(payload)
        said = batch.severities[row].decode() if batch.severities is not None else ""
        severity = said or own.pop("severity", "") or _STREAM_SEVERITIES.get(batch.streams[row], "")
        own.pop("severity", None)
        labels = own.pop("labels", {})
        entry: dict[str, Any] = {"timestamp": self._time(batch, row, own.pop("ns", None), labels)}
        if severity and severity != "DEFAULT":
            entry["severity"] = severity
        marks = {f"shipper/{name}": _word(value) for name, value in (batch.marks or {}).get(row, {}).items()}
        whole = f"{batch.key}:{batch.ids[row].decode()}"
        insert_id = insert_id_of(own.pop("insertId", "") or whole)
        if insert_id != whole:
            marks["shipper/id"] = whole
        constant = orjson.loads(self._constant(batch.source, batch.streams[row]))
        constant["labels"] = dict(list({**labels, **marks, **constant.get("labels", {}), **labels}.items())[:MAX_LABELS])
        if not constant["labels"]:
            del constant["labels"]
        entry |= constant | {"insertId": insert_id} | own
        message = batch.messages[row].decode("utf-8", "replace")
        if not payload:
            return orjson.dumps({**entry, "textPayload": message})
        if message:
            theirs = {"fields.message": payload.pop("message")} if "message" in payload else {}
            payload = {"message": message, **payload, **theirs}
        return orjson.dumps({**entry, "jsonPayload": payload})

    def _time(self, batch: Batch, row: int, ns: int | None, labels: dict[str, str]) -> str:
        """CL2."""
        one = batch.slice(row, row + 1)
        (time,), ahead = times_of(one)
        if ns is not None and ns <= batch.read_ns + DAY_NS:
            return rfc3339(ns).decode()
        if ahead or ns is not None:
            labels["shipper/time"] = batch.times[row].decode("utf-8", "replace") if ns is None else rfc3339(ns).decode()
        return time.decode()

    # ------------------------------------------------------------ once per source

    def _middle(self, source: Source, stream: bytes, severity: bytes) -> bytes:
        """From the quote that ends the timestamp to the one that begins the insertId."""
        made: bytes = source.cached(("cloud_logging", self.place, self._key, stream, severity),
                                    lambda one: self._make_middle(one, stream, severity))
        return made

    def _make_middle(self, source: Source, stream: bytes, severity: bytes) -> bytes:
        name = severity.decode() if severity in SEVERITIES else _STREAM_SEVERITIES.get(stream, "")
        said = b'","severity":"' + name.encode() if name else b""
        return said + b'",' + self._constant(source, stream)[1:-1] + b',"insertId":"'

    def _constant(self, source: Source, stream: bytes) -> bytes:
        made: bytes = source.cached(("cloud_logging", self.place, self._key, stream),
                                    lambda one: self._make_constant(one, stream))
        return made

    def _make_constant(self, source: Source, stream: bytes) -> bytes:
        if self._log_name is not None:
            name = self._log_name.render_source(source)
        else:
            name = stream.decode("utf-8", "replace") or source.name
        resource = resource_of(source, self.place)
        labels = {key: value for key, one in self._labels.items() if (value := one.render_source(source))}
        labels |= labels_of(source, resource["type"])
        constant: dict[str, Any] = {"logName": f"projects/{self.place.project}/logs/{log_id(name)}", "resource": resource}
        if labels:
            constant["labels"] = dict(list(labels.items())[:MAX_LABELS])
        return b"{" + _object_inside(constant) + b"}"


def resource_of(source: Source, place: Place) -> dict[str, Any]:
    """The monitored resource, with all labels that its type has: the API takes none without. Where nobody says a location, and
    only Google's metadata server does by itself, it is `global`."""
    if place.cluster and source.kind == "containers":
        kind, labels = "k8s_container", {
            "namespace_name": source.namespace, "pod_name": source.pod, "container_name": source.container}
    elif place.cluster:
        kind, labels = "k8s_node", {"node_name": source.node}
    elif place.instance_id:
        kind, labels = "gce_instance", {"instance_id": place.instance_id, "zone": place.zone}
    else:
        kind, labels = "generic_node", {"location": place.location or NOWHERE, "namespace": "", "node_id": source.node}
    if place.cluster:
        labels |= {"cluster_name": place.cluster, "location": place.location or NOWHERE}
    return {"type": kind, "labels": {"project_id": place.project} | labels}


def labels_of(source: Source, resource_type: str) -> dict[str, str]:
    """As Google's own agents write them: a pod's labels behind `k8s-pod/`, the node's name; the pod where no cluster is known,
    the path of a host's file."""
    found = {"compute.googleapis.com/resource_name": source.node}
    if source.kind == "containers" and resource_type != "k8s_container":
        found |= {"namespace_name": source.namespace, "pod_name": source.pod, "container_name": source.container}
    if source.kind == "files":
        found["agent.googleapis.com/log_file_path"] = source.path
    found |= {f"k8s-pod/{name}": str(value) for name, value in (source.labels or {}).items()}
    return {name: value for name, value in found.items() if value}


def log_id(name: str) -> str:
    """CL3: other characters become _; / is written %2F."""
    return quote(re.sub(r"[^A-Za-z0-9/_.-]", "_", name)[:_MAX_LOG_ID] or "_", safe="")


def insert_id_of(text: str) -> str:
    """CL3: a longer one (a record of many pieces) is its beginning and a hash."""
    if len(text) <= MAX_INSERT_ID:
        return text
    return f"{text[:128]}~{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def _may_have_long_numbers(fields: Sequence[bytes]) -> bool:
    """16 digits in a row are at four places of every fourth byte. 40 ns a line; an expression takes 3 us."""
    return b"0000" in b"\n".join(fields)[::4].translate(_DIGITS)


def times_of(batch: Batch) -> tuple[Sequence[bytes], list[int]]:
    """CL2: each time as the API takes it, and the rows whose time is more than a day ahead, or before 1970."""
    limit_ns = batch.read_ns + DAY_NS
    times = batch.times
    if epoch._quick(times) is not None and max(times) <= rfc3339(limit_ns):
        return times, []
    numbers = [int(one) for one in epoch.nanoseconds(batch)]
    ahead = [row for row, ns in enumerate(numbers)        # a host file's line has no time: to ask took as long as all else
             if ns > limit_ns or (ns == batch.read_ns and times[row] and _out_of_reach(times[row]))]
    for row in ahead:
        numbers[row] = batch.read_ns
    return [b"%b.%09dZ" % (seconds_text(ns // 1_000_000_000), ns % 1_000_000_000) for ns in numbers], ahead


def _out_of_reach(text: bytes) -> bool:
    """A time, of a year that epoch does not count."""
    try:
        datetime.fromisoformat(text.decode("ascii"))
    except ValueError:
        return False
    return epoch._one(text) is None


@lru_cache(maxsize=4096)
def seconds_text(seconds: int) -> bytes:
    """b"2026-11-20T09:04:05"."""
    return rfc3339(seconds * 1_000_000_000)[:19]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else "true" if value is True else str(value)
