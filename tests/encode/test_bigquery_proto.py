"""Rows for BigQuery's Storage Write API: what protobuf reads is what the record holds."""
from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode import bigquery, bigquery_proto, record_json
from shipper.encode.bigquery import columns_of
from shipper.encode.bigquery_own_proto import Layout
from shipper.model import Batch, Source

POD = Source("containers", "c", "/p", "l", "n1", "default", "web-0", "uid", "web", "cid", labels={"app": "wéb"})
HOST = Source("files", "h", "/var/log/\udcff.log", "l", "n1")


def message_class(descriptor: bytes) -> Any:
    described = descriptor_pb2.DescriptorProto.FromString(descriptor)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto(name="row.proto", message_type=[described]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(described.name))


ROW = message_class(bigquery_proto.DESCRIPTOR)


def read(rows: list[bigquery_proto.Rows]) -> list[Any]:
    """Each row as protobuf reads it."""
    found = []
    for piece in rows:
        for framed in bigquery_proto.split_rows(piece.data):
            size, start = bigquery_proto.read_varint(framed, 1)
            assert framed[:1] == b"\x0a" and start + size == len(framed)
            found.append(ROW.FromString(framed[start:]))
    return found


def batch_of(messages: list[bytes], source: Source = POD, **more: Any) -> Batch:
    rows = len(messages)
    more.setdefault("times", [b"2026-11-20T09:04:05.123456789Z"] * rows)
    times = more.pop("times")
    return Batch(source, "k3v9q2f7abcdefgh", times, [b"stdout"] * rows, [b"%x+5" % n for n in range(rows)], messages,
                 read_ns=1_700_000_000_000_000_000, **more)


def test_bp1_a_row_has_all_that_the_record_has() -> None:
    batch = batch_of([b"one", b"two\xff"], severities=[b"ERROR", b""], fields=[b'{"a":1}', b""], marks={1: {"partial": True}})
    one, two = read(bigquery_proto.rows(batch)[0])
    assert (one.time, one.stream, one.severity, one.message, one.id) == (
        1795165445123456, "stdout", "ERROR", "one", "k3v9q2f7abcdefgh:0+5")
    assert (one.node, one.namespace, one.pod, json.loads(one.fields)) == ("n1", "default", "web-0", {"a": 1})
    assert (two.message, json.loads(two.marks), two.HasField("severity"), two.HasField("fields")) == (
        "two�", {"partial": True}, False, False)
    kubernetes = one.kubernetes
    assert (kubernetes.namespace_name, kubernetes.pod_id, kubernetes.container_id) == ("default", "uid", "cid")
    assert json.loads(kubernetes.labels) == {"app": "wéb"}


def test_bp1_a_host_file_has_its_path_and_no_pod() -> None:
    (one,) = read(bigquery_proto.rows(batch_of([b"x"], HOST))[0])
    assert one.file == "/var/log/�.log" and not one.HasField("kubernetes") and not one.HasField("pod")


def test_the_descriptor_names_the_columns_of_the_automatic_schema() -> None:
    described = ROW.DESCRIPTOR
    assert {field.name for field in described.fields} == {one["name"] for one in bigquery.AUTO_SCHEMA}
    inner = next(one for one in bigquery.AUTO_SCHEMA if one["name"] == "kubernetes")["fields"]
    assert {field.name for field in described.fields_by_name["kubernetes"].message_type.fields} == {one["name"] for one in inner}


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=6))
@settings(max_examples=60)
def test_bp1_any_bytes_arrive_as_they_do_in_json(messages: list[bytes]) -> None:
    batch = batch_of(messages)
    expected = [json.loads(line)["message"] for line in record_json.lines(batch)]
    assert [row.message for row in read(bigquery_proto.rows(batch)[0])] == expected


@pytest.mark.parametrize(("time", "micros"), [
    (b"2026-11-20T09:04:05.1Z", 1795165445100000), (b"1970-01-01T00:00:01Z", 1_000_000),
    (b"1987-11-05T00:00:00Z", 563068800000000),
    (b"nonsense", 1_700_000_000_000_000), (b"2261-01-01T00:00:00.999999999+01:00", 9183106800999999)])
def test_times_are_microseconds_of_any_size(time: bytes, micros: int) -> None:
    assert [row.time for row in read(bigquery_proto.rows(batch_of([b"a"], times=[time]))[0])] == [micros]


def test_bp3_pieces_are_whole_rows_with_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigquery_proto, "PIECE_BYTES", 1_000)
    batch = batch_of([b"x" * size for size in (10, 500, 3_000, 10, 10, 700)])
    pieces, bad = bigquery_proto.rows(batch)
    assert bad == {} and [len(row.message) for row in read(pieces)] == [10, 500, 3_000, 10, 10, 700]
    assert all(len(piece.data) <= 1_000 or piece.records == 1 for piece in pieces) and len(pieces) >= 3
    ids = b"".join(piece.ids for piece in pieces).decode().splitlines()
    assert ids == [f"k3v9q2f7abcdefgh:{n:x}+5" for n in range(6)]
    assert [piece.ids.count(b"\n") for piece in pieces] == [piece.records for piece in pieces]


def test_bp2_a_row_over_the_limit_is_named_and_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigquery_proto, "MAX_ROW_BYTES", 2_000)
    pieces, bad = bigquery_proto.rows(batch_of([b"a", b"x" * 3_000, b"b"]))
    assert pieces == [] and list(bad) == [1] and bigquery_proto.TOO_LARGE in bad[1]


# ------------------------------------------------------------ a table of one's own


COLUMNS = columns_of([
    {"name": "Message", "type": "STRING"}, {"name": "time", "type": "TIMESTAMP"}, {"name": "user", "type": "INTEGER"},
    {"name": "score", "type": "FLOAT"}, {"name": "ok", "type": "BOOLEAN"}, {"name": "at", "type": "TIMESTAMP"},
    {"name": "raw", "type": "BYTES"}, {"name": "tags", "type": "STRING", "mode": "REPEATED"},
    {"name": "price", "type": "NUMERIC"},
    {"name": "item", "type": "RECORD", "fields": [{"name": "sku", "type": "STRING"}, {"name": "n", "type": "INTEGER"}]},
    {"name": "rest", "type": "JSON"}, {"name": "not-for-proto", "type": "STRING"},
])


def own(fields: dict[str, Any], overflow: str | None = "rest") -> tuple[list[Any], dict[int, str]]:
    layout = Layout(COLUMNS)
    pieces, bad = layout.rows(batch_of([b"hello"], fields=[json.dumps(fields).encode()]), overflow)
    reads = message_class(layout.descriptor)
    rows = []
    for framed in [row for piece in pieces for row in bigquery_proto.split_rows(piece.data)]:
        rows.append(reads.FromString(framed[bigquery_proto.read_varint(framed, 1)[1]:]))
    return rows, bad


def test_bo1_values_stand_in_their_columns_with_their_types() -> None:
    (row,), bad = own({"user": 7, "score": 1, "ok": True, "at": "2026-11-20T10:04:05.5+01:00", "raw": "AP8=", "tags": ["a", "b"],
                       "price": 1.25, "item": {"sku": "x", "n": -3}, "more": {"deep": 1}})
    assert bad == {} and (row.Message, row.user, row.score, row.ok, row.raw) == ("hello", 7, 1.0, True, b"\x00\xff")
    assert (row.at, row.time, list(row.tags), row.price) == (1795165445500000, 1795165445123456, ["a", "b"], "1.25")
    assert (row.item.sku, row.item.n, json.loads(row.rest)) == ("x", -3, {"more": {"deep": 1}})


@pytest.mark.parametrize(("fields", "words"), [
    ({"user": "seven"}, "user: the value does not fit INTEGER"), ({"user": 2**63}, "user: the value does not fit INTEGER"),
    ({"user": 1.5}, "user"), ({"user": True}, "user"), ({"ok": 1}, "ok: the value does not fit BOOLEAN"), ({"raw": "?"}, "raw"),
    ({"at": "yesterday"}, "at: the value does not fit TIMESTAMP"), ({"item": {"n": "x"}}, "item"), ({"score": "much"}, "score"),
    ({"not-for-proto": "x"}, "no such field: not-for-proto"), ({"score": [1]}, "score"), ({"tags": [None, {"a": 1}]}, ""),
])
def test_bo2_what_does_not_fit_is_named_by_column_and_never_by_value(fields: dict[str, Any], words: str) -> None:
    rows, bad = own(fields)
    if not words:
        assert len(rows) == 1
        return
    assert rows == [] and list(bad) == [0] and words in bad[0]
    assert "seven" not in bad[0] and "yesterday" not in bad[0]


@pytest.mark.parametrize("value", [
    1795165445123456789, 1730112182224132513, "1730112182224132513", 1795165445123456,
    -1 << 80, 1e300, 253402300800, -62135596801, "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00"])
def test_a_number_that_is_no_time_in_seconds_is_refused_and_not_stored_as_another_time(value: Any) -> None:
    """Nanoseconds in a column TIMESTAMP: over 64 bits in microseconds, of which the lower 64 would be a time as good as any. As a
    text, which they are beyond 2^53, some of them are one of the year 1730 to fromisoformat."""
    rows, bad = own({"at": value})
    assert rows == [] and bad == {0: "at: the value does not fit TIMESTAMP"}


@pytest.mark.parametrize(("value", "micros"), [
    (253402300799.5, 253402300799500000), (-62135596800, -62135596800000000), ("0001-01-01T00:00:00Z", -62135596800000000),
    ("1969-12-31T23:59:59.5Z", -500000), (-0.5, -500000)])
def test_a_time_is_stored_where_bigquery_knows_it(value: Any, micros: int) -> None:
    (row,), bad = own({"at": value})
    assert bad == {} and row.at == micros


@pytest.mark.parametrize("fields", [{"user": "1_000"}, {"score": "1_000.5"}, {"user": "\u0661\u0662"}, {"score": "\u0661"}])
def test_a_text_is_a_number_only_as_bigquery_writes_them(fields: dict[str, Any]) -> None:
    """int() and float() take underscores and the digits of all alphabets: 1_000 would be stored as 1000."""
    rows, bad = own(fields)
    assert rows == [] and "the value does not fit" in bad[0]


@pytest.mark.parametrize("value", [(1 << 53) + 1, (1 << 63) - 1, -(1 << 63)])
def test_an_integer_that_json_would_round_arrives_as_it_is(value: int) -> None:
    (row,), bad = own({"user": value, "price": value, "item": {"n": value}})
    assert bad == {} and (row.user, row.price, row.item.n) == (value, str(value), value)


def test_bo2_a_field_without_a_column_is_named_where_there_is_no_overflow() -> None:
    assert own({"more": 1}, None) == ([], {0: "no such field: more"})


def test_the_times_of_a_batch_are_varints_of_eight_bytes_each_for_itself() -> None:
    random_ns = random.Random(3)
    expected = [random_ns.randrange(1 << random_ns.randrange(30, 63)) // 1000 for _ in range(700)]
    times = [datetime.fromtimestamp(us // 10 ** 6, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%06dZ" % (us % 10 ** 6)
             for us in expected]
    expected = [us if us >= 10 ** 6 else 1_700_000_000_000_000 for us in expected]      # the first second of 1970 is no time
    fields = bigquery_proto.times(batch_of([b"a"] * 700, times=times))
    assert [bigquery_proto.read_varint(field, 1) for field in fields] == [(us, 9) for us in expected]
    assert {field[:1] for field in fields} == {b"\x08"}
