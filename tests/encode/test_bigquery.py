"""Rows of insertAll. BQ: encode/bigquery.py."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shipper.encode.bigquery import AUTO_COLUMNS, AUTO_SCHEMA, FRAME, columns_of, own_part, part
from shipper.model import Batch
from tests.sinks.syslog_kit import KEY, batch
from tests.support.discovery import wrong_shape


def rows(pieces: list[bytes]) -> list[dict[str, Any]]:
    body = json.loads(b"".join(FRAME.around([pieces])))
    assert wrong_shape("bigquery.v2", "TableDataInsertAllRequest", body) == []
    assert body["skipInvalidRows"] is True
    return body["rows"]


def own(one: Batch, fields: list[dict[str, Any]], overflow: str | None = None) -> list[dict[str, Any]]:
    return [row["json"] for row in rows(own_part(one, columns_of(fields), overflow))]


def parsed(**fields: Any) -> Batch:
    return replace(batch([b"hello"]), fields=[json.dumps(fields).encode()])


MESSAGE = {"name": "message", "type": "STRING"}


def test_a_row_of_the_automatic_schema_holds_the_whole_record():
    one = replace(
        batch([b"hello", b"\xff\n"], labels={"app": "a"}), fields=[b'{"user":7}', b""], severities=[b"ERROR", b""],
        marks={1: {"truncated": 9}})
    first, second = rows(part(one))
    assert first == {"insertId": f"{KEY}:0+64", "json": {
        "time": "2026-11-20T09:04:05.123456Z", "stream": "stdout", "severity": "ERROR", "message": "hello", "id": f"{KEY}:0+64",
        "fields": '{"user":7}', "node": "node1", "namespace": "default", "pod": "web-0",
        "kubernetes": {"namespace_name": "default", "pod_name": "web-0", "container_name": "web", "labels": '{"app":"a"}'}}}
    assert second["json"]["message"] == "\ufffd\n" and json.loads(second["json"]["marks"]) == {"truncated": 9}
    assert "severity" not in second["json"] and "fields" not in second["json"]


def test_bq1_a_row_has_no_member_that_the_schema_does_not_have():
    of_file = batch([b"x"], kind="files", namespace="", pod="", container="")
    for one in (replace(parsed(a=1), marks={0: {"lost": 1}}), of_file):
        for row in rows(part(one)):
            assert row["json"].keys() <= AUTO_COLUMNS.keys()
            assert row["json"].get("kubernetes", {}).keys() <= AUTO_COLUMNS["kubernetes"].fields.keys()
    assert wrong_shape("bigquery.v2", "TableSchema", {"fields": AUTO_SCHEMA}) == []


@pytest.mark.parametrize(("length", "hashed"), [(127, False), (128, False), (129, True), (500, True)])
def test_bq3_no_insert_id_is_over_128_characters_and_the_column_has_all_of_it(length, hashed):
    one = replace(batch([b"x", b"y"]), ids=[b"k" * (length - len(KEY) - 1), b"k" * 200])
    first, second = rows(part(one))
    assert len(first["json"]["id"]) == length and (first["insertId"] == first["json"]["id"]) is not hashed
    assert len(first["insertId"]) <= 128 and len(second["insertId"]) <= 128
    assert first["insertId"] != second["insertId"]


@pytest.mark.parametrize(("time", "sent"), [
    (b"2026-11-20T09:04:05Z", "2026-11-20T09:04:05.000000Z"), (b"2026-11-20T10:04:05.1+01:00", "2026-11-20T09:04:05.100000Z"),
    (b"yesterday", "2026-11-20T09:13:13.298593Z"), (b"", "2026-11-20T09:13:13.298593Z")])
def test_a_time_is_utc_to_the_microsecond_and_what_is_none_is_the_read_time(time, sent):
    assert rows(part(batch([b"x"], time=time)))[0]["json"]["time"] == sent


def test_an_empty_batch_is_no_row():
    assert part(batch([])) == [] and own_part(batch([]), {}) == []


# ------------------------------------------------------------ a table of one's own (BQ4)


def test_parsed_fields_go_to_the_columns_of_their_name_in_any_case_as_their_types_want_them():
    fields = [MESSAGE, {"name": "User", "type": "INT64"}, {"name": "note", "type": "STRING"}, {"name": "all", "type": "JSON"},
              {"name": "tags", "type": "STRING", "mode": "REPEATED"}, {"name": "gone", "type": "FLOAT"}]
    (row,) = own(parsed(user=7, note={"a": 1}, all=[1], tags="one", gone=None), fields)
    assert row == {"message": "hello", "User": 7, "note": '{"a":1}', "all": "[1]", "tags": ["one"]}


@pytest.mark.parametrize(("kind", "value", "sent"), [
    ("STRING", ["a", None, 7, {"b": 1}], ["a", "7", '{"b":1}']), ("STRING", [None], []), ("INTEGER", [1, None, 2], [1, 2]),
    ("INTEGER", 7, [7]), ("JSON", {"a": 1}, ['{"a":1}']), ("JSON", [{"a": 1}, None, [2], "x"], ['{"a":1}', "null", "[2]", '"x"']),
    ("STRING", [["a"]], ['["a"]']),
])
def test_a_repeated_column_gets_a_list_without_null_which_json_alone_knows(kind, value, sent):
    """BigQuery refuses a row for a NULL in an array, and for JSON that is no array in a repeated column."""
    (row,) = own(parsed(many=value), [MESSAGE, {"name": "many", "type": kind, "mode": "REPEATED"}])
    assert row == {"message": "hello", "many": sent}


def test_fields_without_a_column_go_into_the_overflow_column_nested_ones_too():
    fields = [MESSAGE, {"name": "Rest", "type": "JSON"},
              {"name": "http", "type": "RECORD", "fields": [{"name": "status", "type": "INTEGER"}]},
              {"name": "items", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "n", "type": "INTEGER"}]}]
    (row,) = own(parsed(http={"status": 200, "path": "/x"}, items=[{"n": 1, "m": 2}, {"n": 3}], new=1, rest=2), fields, "rest")
    assert row == {"message": "hello", "http": {"status": 200}, "items": [{"n": 1}, {"n": 3}],
                   "Rest": '{"http":{"path":"/x"},"items":[{"m":2}],"new":1,"rest":2}'}


def test_without_an_overflow_column_an_unknown_field_stays_so_that_bigquery_refuses_that_row():
    assert own(parsed(new=1), [MESSAGE]) == [{"message": "hello", "new": 1}]


def test_with_a_column_fields_nothing_is_unknown():
    (row,) = own(parsed(new=1, user=7), [{"name": "fields", "type": "JSON"}, {"name": "user", "type": "INTEGER"}])
    assert row == {"fields": '{"new": 1, "user": 7}', "user": 7}


def test_ours_win_over_parsed_fields_of_the_same_name():
    fields = [MESSAGE, {"name": "time", "type": "DATETIME"}, {"name": "rest", "type": "JSON"}]
    (row,) = own(parsed(message="other", time="later"), fields, "rest")
    assert row == {"message": "hello", "time": "2026-11-20T09:04:05.123456", "rest": '{"message":"other","time":"later"}'}


def test_two_fields_that_differ_in_case_alone_are_not_two_values_of_one_column():
    (row,) = own(parsed(User=1, user=2), [MESSAGE, {"name": "user", "type": "INTEGER"}, {"name": "rest", "type": "JSON"}], "rest")
    assert row == {"message": "hello", "user": 1, "rest": '{"user":2}'}


def test_numbers_that_are_too_large_for_64_bits_or_a_double_are_not_changed():
    one = replace(batch([b"hello"]), fields=[b'{"n":123456789012345678901234567890,"m":1e999,"k":9223372036854775807}'])
    fields = [MESSAGE, {"name": "n", "type": "NUMERIC"}, {"name": "rest", "type": "JSON"}]
    (row,) = own(one, fields, "rest")
    assert row["n"] == "123456789012345678901234567890"
    assert json.loads(row["rest"]) == {"m": "1e999", "k": 9223372036854775807}


@pytest.mark.parametrize(("value", "sent"), [
    (1 << 53, 1 << 53), ((1 << 53) + 1, "9007199254740993"), (-(1 << 63), "-9223372036854775808"),
    ([1, (1 << 63) - 1], [1, "9223372036854775807"])])
def test_an_integer_that_json_readers_round_is_a_text(value, sent):
    """Numbers in the JSON of BigQuery's API are doubles on their way; its docs ask for texts beyond 2^53."""
    column = {"name": "order", "type": "INTEGER", "mode": "REPEATED" if isinstance(value, list) else "NULLABLE"}
    assert own(parsed(order=value), [MESSAGE, column])[0]["order"] == sent
    inside = {"name": "cart", "type": "RECORD", "fields": [column]}
    assert own(parsed(cart={"order": value}), [MESSAGE, inside])[0]["cart"] == {"order": sent}


@pytest.mark.parametrize(("column", "value"), [
    ({"type": "RECORD", "fields": [{"name": "POD_NAME", "type": "STRING"}]}, {"POD_NAME": "web-0"}),
    ({"type": "JSON"}, '{"namespace_name":"default","pod_name":"web-0","container_name":"web","labels":{"app":"a"}}')])
def test_kubernetes_is_a_record_with_what_that_has_or_json(column, value):
    (row,) = own(batch([b"hello"], labels={"app": "a"}), [MESSAGE, {"name": "kubernetes", **column}])
    assert row["kubernetes"] == value
