"""Records as rows of BigQuery's Storage Write API: protocol buffers, written by hand. Pure. Hot: once per batch.

    ProtoRows    0x0a <length> row  0x0a <length> row ...      messages of this kind joined are one such message
    row          1 time: int64 microseconds   2 stream   3 severity   4 message   5 id   6 node   7 namespace   8 pod   9 file
                 10 kubernetes {1 namespace_name .. 5 container_id, 6 labels, 7 metadata}   11 fields   12 marks
    DESCRIPTOR   google.protobuf.DescriptorProto of such a row; its names are those of bigquery.AUTO_SCHEMA

Invariants (tests/encode/test_bigquery_proto.py):
  BP1  what protobuf reads with DESCRIPTOR is what the record holds, for any bytes; texts are UTF-8 (record_json.J2)
  BP2  no row is larger than MAX_ROW_BYTES: those that are are named, and nothing is made
  BP3  a piece is at most PIECE_BYTES, or one row; pieces are whole rows, in order, with one id for each
Cost (CPython 3.11): 0.9 us a line of 200 bytes; one of protobuf's own messages a line: 1.7, and the texts decoded first.
"""
from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

import orjson

from ..model import Batch, Source
from . import bigquery, epoch
from .record_json import _object_inside

_INT64, _STRING, _MESSAGE = 3, 9, 11
_STRINGS = {"stream": 2, "severity": 3, "message": 4, "id": 5, "node": 6, "namespace": 7, "pod": 8, "file": 9, "fields": 11,
            "marks": 12}
_KUBERNETES = {"namespace_name": 1, "pod_name": 2, "pod_id": 3, "container_name": 4, "container_id": 5, "labels": 6,
               "metadata": 7}
_LENGTHS_KEPT = 32 * 1024
_TIME_BYTES = 9
MAX_ROW_BYTES = 9_000_000
TOO_LARGE = "a row too large"
PIECE_BYTES = 512 * 1024


class Rows(NamedTuple):
    """A piece. data: ProtoRows; ids: of its records, with a newline behind each."""

    data: bytes
    ids: bytes
    records: int


class _Varints(dict[int, bytes]):
    """b"\\x85\\x01" for 133, made on first use."""

    def __missing__(self, value: int) -> bytes:
        made = varint(value)
        if value < _LENGTHS_KEPT:
            self[value] = made
        return made


def varint(value: int) -> bytes:
    """Base 128, least significant first. Negative values as protobuf has int64."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_VARINTS = _Varints()


def text(number: int, value: bytes) -> bytes:
    """A string, bytes or message field."""
    return varint(number << 3 | 2) + _VARINTS[len(value)] + value


def whole(number: int, value: int) -> bytes:
    """An integer field."""
    return varint(number << 3) + varint(value)


def field_descriptor(name: str, number: int, kind: int, type_name: str = "", *, repeated: bool = False) -> bytes:
    """google.protobuf.FieldDescriptorProto."""
    made = text(1, name.encode()) + whole(3, number) + whole(4, 3 if repeated else 1) + whole(5, kind)
    return made + (text(6, type_name.encode()) if type_name else b"")


def descriptor() -> bytes:
    """DescriptorProto of the automatic schema."""
    fields = [field_descriptor("time", 1, _INT64), field_descriptor("kubernetes", 10, _MESSAGE, "Kubernetes")]
    fields += [field_descriptor(name, number, _STRING) for name, number in _STRINGS.items()]
    inner = [text(2, field_descriptor(name, number, _STRING)) for name, number in _KUBERNETES.items()]
    nested = text(1, b"Kubernetes") + b"".join(inner)
    return text(1, b"Row") + b"".join([text(2, field) for field in fields]) + text(3, nested)


DESCRIPTOR = descriptor()


def rows(batch: Batch) -> tuple[list[Rows], dict[int, str]]:
    """What a batch gives; or, instead, what is wrong with records in it (BP2)."""
    count = len(batch)
    if not count:
        return [], {}
    lead = batch.key.encode() + b":"
    parts, sizes = _columns(batch, lead)
    if max(sizes) > MAX_ROW_BYTES:
        return [], too_large(sizes)
    lengths = _VARINTS
    width = len(parts) // count
    parts[0::width] = [b"\x0a" + lengths[size] for size in sizes]
    return [
        Rows(b"".join(parts[low * width:high * width]), joined_ids(batch, lead, low, high), high - low)
        for low, high in cuts(sizes)], {}


def too_large(sizes: Sequence[int]) -> dict[int, str]:
    """BP2."""
    return {index: f"{TOO_LARGE}: {size} bytes, and BigQuery takes requests of 10 MB"
            for index, size in enumerate(sizes) if size > MAX_ROW_BYTES}


def cuts(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """BP3: first and last + 1 of each piece."""
    if sum(sizes) + 6 * len(sizes) <= PIECE_BYTES:
        return [(0, len(sizes))]
    found, low, held_bytes = [], 0, 0
    for index, size in enumerate(sizes):
        if held_bytes and held_bytes + size + 6 > PIECE_BYTES:
            found.append((low, index))
            low, held_bytes = index, 0
        held_bytes += size + 6
    return [*found, (low, len(sizes))]


def joined_ids(batch: Batch, lead: bytes, low: int, high: int) -> bytes:
    """See Rows."""
    return lead + (b"\n" + lead).join(batch.ids[low:high]) + b"\n"


def _columns(batch: Batch, lead: bytes) -> tuple[list[bytes], list[int]]:
    """Rows as slots in one flat list, the first slot of each for its length, and how long each row is."""
    messages, lengths = utf8(batch.messages), _VARINTS
    tail: bytes = batch.source.cached("bigquery_proto", source_tail)
    severities = batch.severities if batch.severities is not None else [b""] * len(batch)
    pairs = list(zip(batch.streams, severities))
    known = {pair: _stream(*pair) for pair in set(pairs)}
    text_sizes, item_sizes = list(map(len, messages)), list(map(len, batch.ids))
    named = {size: b"\x2a" + lengths[size + len(lead)] + lead for size in set(item_sizes)}
    if len(known) == 1:
        (head,) = known.values()
        heads = [head + lengths[size] for size in text_sizes]
    else:
        heads = [known[pair] + lengths[size] for pair, size in zip(pairs, text_sizes)]
    beside = _beside(batch, tail)
    parts = [b""] * (7 * len(batch))
    parts[1::7], parts[2::7], parts[3::7] = times(batch), heads, messages
    parts[4::7], parts[5::7], parts[6::7] = [named[size] for size in item_sizes], batch.ids, beside
    id_sizes = {size: _TIME_BYTES + len(named[size]) + size for size in named}
    sizes = [a + len(b) + id_sizes[c] + len(d) for a, b, c, d in zip(text_sizes, heads, item_sizes, beside)]
    return parts, sizes


def _stream(stream: bytes, severity: bytes) -> bytes:
    """What stands before the length of the message."""
    made = text(2, utf8([stream])[0]) if stream else b""
    return made + (text(3, utf8([severity])[0]) if severity else b"") + b"\x22"


def _beside(batch: Batch, tail: bytes) -> list[bytes]:
    """Fields, marks, and what is the same for all records of the source."""
    if batch.fields is None:
        found = [tail] * len(batch)
    else:
        found = [text(11, one) + tail if one else tail for one in batch.fields]
    for index, mark in (batch.marks or {}).items():
        found[index] = text(12, b"{" + _object_inside(mark) + b"}") + found[index]
    return found


def times(batch: Batch) -> list[bytes]:
    """Field 1, always of _TIME_BYTES: microseconds since 1970 as a varint of 8 bytes (up to 1987 with zeros at its end, which
    protobuf reads as well).

    All of them at once, as lanes of 64 bits of one integer: their 56 bits are parted in two, four and eight groups. 0.1 us a
    line; each by itself, with tables: 0.35.
    """
    micros = array("Q", [ns // 1000 for ns in orjson.loads(b"[" + b",".join(epoch.nanoseconds(batch)) + b"]")])
    rows = len(micros)
    if sys.byteorder == "big":
        micros.byteswap()
    lanes = int.from_bytes(micros.tobytes(), "little")
    for low, bits in _PARTED:
        mask = int.from_bytes(low.to_bytes(8, "little") * rows, "little")
        lanes = (lanes & mask) + ((lanes ^ lanes & mask) << bits)
    parted = (lanes + int.from_bytes(_GO_ON * rows, "little")).to_bytes(8 * rows, "little")
    fields = bytearray(b"\x08" * (_TIME_BYTES * rows))
    for place in range(8):
        fields[place + 1::_TIME_BYTES] = parted[place::8]
    return [bytes(field) for (field,) in _FIELD.iter_unpack(fields)]


_PARTED = ((0x0FFFFFFF, 4), (0x00003FFF_00003FFF, 2), (0x007F007F_007F007F, 1))
"""What of each group stays in its place, and how far the rest moves."""
_GO_ON = bytes([128] * 7 + [0])
_FIELD = Struct(f"{_TIME_BYTES}s")


def utf8(texts: Sequence[bytes]) -> Sequence[bytes]:
    """J2 of record_json: what is no UTF-8 becomes U+FFFD. Newlines end a broken sequence, so that one look is enough."""
    try:
        b"\n".join(texts).decode("utf-8")
    except UnicodeDecodeError:
        return [one.decode("utf-8", "replace").encode() for one in texts]
    return texts


def source_tail(source: Source) -> bytes:
    """node, namespace, pod, kubernetes; or node and file."""
    values: dict[str, Any] = {"node": source.node}
    if source.kind == "containers":
        values |= {"namespace": source.namespace, "pod": source.pod}
    else:
        values["file"] = source.path
    made = b"".join([text(_STRINGS[name], _clean(value)) for name, value in values.items() if value])
    if source.kind != "containers":
        return made
    inner: dict[str, Any] = {
        "namespace_name": source.namespace, "pod_name": source.pod, "pod_id": source.pod_uid,
        "container_name": source.container, "container_id": source.container_id,
        "labels": bigquery._json_text(source.labels), "metadata": bigquery._json_text(source.about_pod)}
    return made + text(10, b"".join([text(_KUBERNETES[name], _clean(value)) for name, value in inner.items() if value]))


def _clean(value: str) -> bytes:
    """Names of files may hold lone surrogates: bytes that are no UTF-8."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def split_rows(data: bytes) -> list[bytes]:
    """The rows of a piece, each with its tag and length (so that joining some of them is a piece again)."""
    found, at = [], 0
    while at < len(data):
        size, start = read_varint(data, at + 1)
        found.append(data[at:start + size])
        at = start + size
    return found


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends). IndexError where it does not."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
