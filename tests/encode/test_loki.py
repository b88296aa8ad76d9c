"""Loki's push JSON. L: encode/loki.py."""
import orjson
import pytest

from shipper.encode.loki import MAX_FIELDS, LokiEncoder
from shipper.encode.template import compile_template
from shipper.model import Batch, Source

SOURCE = Source("containers", "c", "/x", "/x", "n1", "shop", "web-0", "u-1", "web", "cid")
TIME = b"2026-11-20T09:04:05.5Z"


def encoder(**options):
    labels = {"namespace": "{namespace}", "app": "{labels.app}", "job": "x"}
    return LokiEncoder({name: compile_template(text) for name, text in labels.items()}, **options)


def batch(*messages, source=SOURCE, **columns):
    rows = len(messages)
    ids = [b"%x+5" % (i * 5) for i in range(rows)]
    return Batch(source, "k" * 16, [TIME] * rows, [b"stdout"] * rows, ids, list(messages), **columns)


def body(batches, **options):
    return orjson.loads(b"".join(encoder(**options).pieces(batches)))


def metadata(**columns):
    return [entry[2] for entry in body([batch(b"one", b"two", **columns)])["streams"][0]["values"]]


def test_a_batch_is_one_stream_with_labels_of_its_source():
    [stream] = body([batch(b"one", b"t\xffo\n")])["streams"]
    assert stream["stream"] == {"job": "x", "namespace": "shop"}                    # an empty one is left out
    assert [entry[:2] for entry in stream["values"]] == [["1795165445500000000", "one"], ["1795165445500000000", "t\ufffdo\n"]]
    assert stream["values"][1][2] == {
        "id": "k" * 16 + ":5+5", "stream": "stdout", "node": "n1", "pod": "web-0", "pod_uid": "u-1", "container": "web",
        "container_id": "cid"}


def test_a_source_for_which_all_labels_are_empty_has_one_all_the_same():
    """Loki refuses a stream without any."""
    assert LokiEncoder({"app": compile_template("{labels.app}")}).labels(SOURCE) == {"job": "shipper"}


def test_several_batches_are_several_streams_and_an_empty_one_is_none():
    assert len(body([batch(b"a"), batch(), batch(b"b", b"c")])["streams"]) == 2
    assert body([batch()]) == {"streams": []}


def test_severity_is_the_level_and_marks_are_texts():
    first, second = metadata(severities=[b"ERROR", b""], marks={1: {"truncated": 12, "partial": True}})
    assert first["level"] == "error" and "level" not in second
    assert second["truncated"] == "12" and second["partial"] == "true"


def test_fields_are_flat_texts_and_take_no_name_of_ours():
    fields = b'{"http":{"status":500,"tags":["a",1]},"id":"x","ok":true,"1st":null,"a-b":"c"}'
    first, second = metadata(fields=[fields, b""])
    assert {k: first[k] for k in ("http_status", "http_tags", "fields_id", "ok", "fields_1st", "a_b")} == {
        "http_status": "500", "http_tags": '["a",1]', "fields_id": "x", "ok": "true", "fields_1st": "null", "a_b": "c"}
    assert first["id"] == "k" * 16 + ":0+5" and "ok" not in second


@pytest.mark.parametrize("fields", [
    orjson.dumps({f"f{i}": i for i in range(MAX_FIELDS + 1)}), orjson.dumps({"x": "y" * 40_000}), b'{"a.b":1,"a_b":2}'])
def test_fields_that_cannot_be_flat_stand_together_and_none_is_lost(fields):
    first, _ = metadata(fields=[fields, b""])
    assert orjson.loads(first["fields"]) == orjson.loads(fields)


def test_two_encoders_with_other_labels_do_not_share_what_is_cached_on_the_source():
    one = LokiEncoder({"a": compile_template("{pod}")})
    other = LokiEncoder({"a": compile_template("{container}")})
    made = [orjson.loads(b"".join(e.pieces([batch(b"m")])))["streams"][0]["stream"] for e in (one, other)]
    assert made == [{"a": "web-0"}, {"a": "web"}]
    one, other = (LokiEncoder({"pod": compile_template(text)}) for text in ("{pod}", "{namespace}"))
    made = [orjson.loads(b"".join(e.pieces([batch(b"m")])))["streams"][0]["values"][0][2].get("pod") for e in (one, other)]
    assert made == [None, "web-0"]                          # metadata says what no label says


def test_the_line_can_be_the_record_and_metadata_can_be_left_out():
    [stream] = body([batch(b"one", b"two")], metadata=False, whole_line=True)["streams"]
    assert [len(entry) for entry in stream["values"]] == [2, 2]
    assert orjson.loads(stream["values"][1][1])["message"] == "two"


@pytest.mark.parametrize("message", [
    b"x" * 99, b"x" * 100, b"x" * 101, b"\xff" * 33, b"\xff" * 34, "ä".encode() * 50, "ä".encode() * 51])
def test_l3_the_limit_of_a_line_is_met_to_the_byte_as_loki_counts_it(message):
    one = batch(b"short", message)
    size = len(body([one])["streams"][0]["values"][1][1].encode())
    assert encoder().too_long([batch(b"a"), one], 100) == ([2] if size > 100 else [])


def test_fields_over_all_bounds_are_too_long():
    one = batch(b"a", b"b", fields=[b"", orjson.dumps({"x": "y" * 60_000})])
    assert encoder().too_long([one], 1000) == [1]
    assert encoder(metadata=False).too_long([one], 1000) == []
