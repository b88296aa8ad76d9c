"""The lines of `_bulk`. B: encode/bulk.py. What a real server takes: tests/sinks/test_opensearch.py."""
import orjson
import pytest

from shipper.encode import bulk, record_json
from shipper.encode.template import compile_template
from shipper.model import Batch, Source

SOURCE = Source("containers", "c", "/x", "/x", "n1", "shop", "web-0", "u", "web", "cid")
INDEX = compile_template("logs-{namespace}-{time:%Y.%m}")


def batch(*messages, times=None, **columns):
    rows = len(messages)
    ids = columns.pop("ids", [b"%x+5" % (i * 5) for i in range(rows)])
    times = times or [b"2026-11-20T09:04:05.5Z"] * rows
    return Batch(columns.pop("source", SOURCE), "k" * 16, times, [b"stdout"] * rows, ids, list(messages), **columns)


def pairs(made, merge=False, index=INDEX):
    lines = b"".join(bulk.pieces(made, index, merge)).split(b"\n")
    assert lines.pop() == b""
    return [(orjson.loads(a), orjson.loads(d)) for a, d in zip(lines[::2], lines[1::2])]


def test_b1_a_record_is_an_action_and_a_document_whatever_its_message():
    made = pairs(batch(b"one", b"t\nw\xffo\"\\\x00", b"", read_ns=1_795_165_993_298_593_000))
    assert [a for a, _ in made] == [
        {"create": {"_index": "logs-shop-2026.11", "_id": "k" * 16 + f":{i * 5:x}+5"}} for i in range(3)]
    assert [d["message"] for _, d in made] == ["one", "t\nw\ufffdo\"\\\x00", ""]
    assert bulk.pieces(batch(), INDEX) == []


def test_b4_the_document_is_the_records_json_under_other_names():
    one = batch(b"a", b"b", severities=[b"ERROR", b""], fields=[b'{"x":1}', b""], marks={1: {"truncated": 5}})
    for (_, document), line in zip(pairs(one), record_json.lines(one)):
        record = orjson.loads(line)
        expected = {"@timestamp": record.pop("time")}
        if "severity" in record:
            expected["log"] = {"level": record.pop("severity").lower()}
        assert document == {**expected, **record}


def test_merged_fields_take_no_name_of_ours():
    fields = [b'{"x":1,"@timestamp":"evil","severity":"kept","log":{"level":"evil"}}', b"{}"]
    (_, first), (_, second) = pairs(batch(b"a", b"b", fields=fields), merge=True)
    assert first["x"] == 1 and first["severity"] == "kept" and first["@timestamp"] == "2026-11-20T09:04:05.5Z"
    assert first["fields"] == {"@timestamp": "evil", "log": {"level": "evil"}} and second["message"] == "b"


@pytest.mark.parametrize("size", [511, 512, 513, 600])
def test_b2_ids_over_the_limit_are_short_and_differ(size):
    room = size - 17
    made = pairs(batch(b"a", b"b", ids=[b"0" * room, b"0" * (room - 1) + b"1"]))
    found = [a["create"]["_id"] for a, _ in made]
    assert len(set(found)) == 2 and all(len(one) == (size if size <= 512 else 433) for one in found)
    assert [len(d["id"]) for _, d in made] == [size, size]


def test_b2_an_id_at_the_limit_is_the_same_whatever_stands_beside_it():
    """Else a repeat in another batch would be another document."""
    at_limit, over = b"0" * (512 - 17), b"1" * 600
    alone, beside = pairs(batch(b"a", ids=[at_limit])), pairs(batch(b"a", b"b", ids=[at_limit, over]))
    assert alone[0][0]["create"]["_id"] == beside[0][0]["create"]["_id"] and len(alone[0][0]["create"]["_id"]) == 512


@pytest.mark.parametrize("time", [b"2026-11-20T09:04:05.123456789012345678Z", b"2026-11-20", b"2026-11-20T09:04Z"])
def test_a_time_that_the_server_does_not_read_is_no_lost_record(time):
    """Of more digits than date_nanos has, or of fewer than a time."""
    ((_, document),) = pairs(batch(b"a", times=[time], read_ns=1_795_165_993_298_593_000))
    assert document["@timestamp"] in ("2026-11-20T09:04:05.123456789Z", "2026-11-20T09:13:13.298593000Z")


@pytest.mark.parametrize(("text", "name"), [
    ("logs-Shop", "logs-shop"), ("a b/c", "a-b-c"), ("..", "unnamed"), ("", "unnamed"), ("_-+x", "x"), ("ÄÖ", "äö"),
    ("a\udcff", "a-"), ("x" * 300, "x" * 255), ("ä" * 200, "ä" * 127), ("a:b#c,d", "a-b-c-d"), ("a\nb\x01", "a-b-"),
])
def test_b3_an_index_is_named_as_the_server_takes_it(text, name):
    assert bulk.index_name(text) == name


def test_a_time_that_cannot_be_read_is_the_read_time():
    times = [b"2026-11-20T09:04:05.5Z", b"", b"2026-99-20T09:04:05.5Z", b'"}\n']
    found = [d["@timestamp"] for _, d in pairs(batch(b"a", b"b", b"c", b"d", times=times, read_ns=1_795_165_993_298_593_001))]
    assert found == ["2026-11-20T09:04:05.500000000Z"] + ["2026-11-20T09:13:13.298593001Z"] * 3
