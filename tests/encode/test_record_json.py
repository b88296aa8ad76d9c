"""The JSON of a record: bytes by equality, and by hypothesis against the obvious way of doing it."""
import json
from dataclasses import replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode import record_json
from shipper.model import Batch, Source

POD = Source("containers", "containers", "/var/log/containers/web.log", "/var/log/pods/web/0.log", "n1", "default", "web-0",
             "uid-1", "web", "cid-1", 0, {"app": "web"})
HOST = Source("files", "host", "/var/log/syslog", "/var/log/syslog", "n1")
TIME = b"2026-11-20T09:04:05.123456789Z"
READ_NS = 1795165445_000000042


def batch_of(messages, source=POD, times=None, streams=None, marks=None):
    count = len(messages)
    ids = [b"%x+%x" % (i * 256, 200) for i in range(count)]
    times, streams = times or [TIME] * count, streams or [b"stdout"] * count
    return Batch(source, "k3v9q2f7abcdefgh", times, streams, ids, messages, marks, READ_NS)


def obvious(batch):
    """One dict and one dump per line: slow, and plainly right."""
    out = []
    for i, message in enumerate(batch.messages):
        record = {"time": (batch.times[i] or b"2026-11-20T09:04:05.000000042Z").decode("utf-8", "replace")}
        if batch.streams[i]:
            record["stream"] = batch.streams[i].decode("utf-8", "replace")
        record["message"] = message.decode("utf-8", "replace")
        record["id"] = f"{batch.key}:{batch.ids[i].decode()}"
        record |= (batch.marks or {}).get(i, {})
        record["node"] = "n1"
        record["kubernetes"] = {"namespace_name": "default", "pod_name": "web-0", "pod_id": "uid-1", "container_name": "web",
                                "container_id": "cid-1", "labels": {"app": "web"}}
        out.append(orjson.dumps(record) + b"\n")
    return b"".join(out)


def test_a_container_record_has_the_one_key_order():
    assert record_json.encode(batch_of([b"hello"])) == (
        b'{"time":"2026-11-20T09:04:05.123456789Z","stream":"stdout","message":"hello","id":"k3v9q2f7abcdefgh:0+c8","node":"n1",'
        b'"kubernetes":{"namespace_name":"default","pod_name":"web-0","pod_id":"uid-1","container_name":"web",'
        b'"container_id":"cid-1","labels":{"app":"web"}}}\n')


def test_a_host_record_has_its_path_and_the_read_time_where_the_line_has_none():
    batch = batch_of([b"a", b"b"], HOST, [b"", TIME], [b"", b""])
    assert record_json.encode(batch) == (
        b'{"time":"2026-11-20T09:04:05.000000042Z","message":"a","id":"k3v9q2f7abcdefgh:0+c8","node":"n1","file":"/var/log/syslog"}\n'
        b'{"time":"2026-11-20T09:04:05.123456789Z","message":"b","id":"k3v9q2f7abcdefgh:100+c8","node":"n1",'
        b'"file":"/var/log/syslog"}\n')


def test_marks_stand_behind_the_id_of_their_own_record_only():
    marks = {0: {"partial": True}, 2: {"truncated": 2_000_000, "malformed": True}}
    first, second, third = record_json.lines(batch_of([b"a", b"b", b"c"], marks=marks))
    assert b'"id":"k3v9q2f7abcdefgh:0+c8","partial":true,"node"' in first
    assert b'"id":"k3v9q2f7abcdefgh:100+c8","node"' in second
    assert b'"id":"k3v9q2f7abcdefgh:200+c8","truncated":2000000,"malformed":true,"node"' in third


def test_empty_metadata_is_left_out():
    bare = Source("containers", "c", "/x", "/x", "", namespace="default", labels={})
    assert record_json.encode(batch_of([b""], bare)) == (
        b'{"time":"2026-11-20T09:04:05.123456789Z","stream":"stdout","message":"","id":"k3v9q2f7abcdefgh:0+c8",'
        b'"kubernetes":{"namespace_name":"default"}}\n')


def test_an_empty_batch_is_no_bytes():
    assert record_json.encode(batch_of([])) == b"" and record_json.lines(batch_of([])) == []


def test_a_source_without_any_metadata_still_gives_whole_objects():
    line = record_json.encode(batch_of([b"x"], Source("containers", "", "", "", "")))
    assert line.endswith(b'"id":"k3v9q2f7abcdefgh:0+c8"}\n') and json.loads(line)["message"] == "x"


def test_path_names_that_are_not_utf8_become_replacement_characters():
    odd = replace(HOST, path="/var/log/caf\udce9.log", cache={})
    assert json.loads(record_json.encode(batch_of([b"x"], odd)))["file"] == "/var/log/caf\ufffd.log"


def test_a_mark_with_an_integer_over_64_bits_is_written():
    marks = {0: {"fields": {"n": 2**70}}}
    assert json.loads(record_json.encode(batch_of([b"x"], marks=marks)))["fields"] == {"n": 2**70}


def test_large_batches_come_in_pieces_of_whole_lines_that_join_to_the_same_bytes():
    batch = batch_of([b"m%d" % i + b"x" * 400 for i in range(1000)])
    pieces = record_json.pieces(batch)
    assert len(pieces) > 3 and max(map(len, pieces)) < 128 * 1024
    assert all(piece.endswith(b"}}\n") for piece in pieces)
    assert b"".join(pieces) == obvious(batch)


TRAPS = [b"\xe2", b"\x82", b"\xf0\x9f", b"\xed\xa0\x80", b"\xc0", b"\n", b'"', b"\\", b",\n  ", b"a", b"\x00", b"\xff"]
MESSAGES = st.lists(st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(TRAPS), max_size=8).map(b"".join)), max_size=8)


@settings(max_examples=200, deadline=None)
@given(messages=MESSAGES, data=st.data())
def test_any_bytes_in_messages_times_and_streams_give_what_a_dump_per_line_gives(messages, data):
    count = len(messages)
    times = data.draw(st.lists(st.one_of(st.just(TIME), st.binary(max_size=12)), min_size=count, max_size=count))
    streams = data.draw(st.lists(st.sampled_from([b"stdout", b"stderr", b"", b'"\xff\n']), min_size=count, max_size=count))
    batch = batch_of(messages, times=times, streams=streams)
    encoded = record_json.encode(batch)
    assert encoded == obvious(batch)
    assert encoded.count(b"\n") == count


@settings(max_examples=200, deadline=None)
@given(MESSAGES)
def test_decoding_all_messages_at_once_is_the_same_as_one_by_one(messages):
    assert record_json.json_strings(messages) == [orjson.dumps(m.decode("utf-8", "replace")) for m in messages]


@settings(max_examples=200, deadline=None)
@given(st.lists(
    st.one_of(st.binary(max_size=12), st.sampled_from([b"\x7f", b"a\x7f", b'"\x7f\\', b"\xe2\x82", b"\n"])),
    min_size=1, max_size=6,
))
def test_without_quotes_it_is_the_same_string_whatever_stands_between_the_messages(messages):
    assert [b'"%b"' % inside for inside in record_json.json_insides(messages)] == record_json.json_strings(messages)


def test_what_else_is_known_of_a_pod_stands_behind_its_labels() -> None:
    source = Source("containers", "c", "/p", "/p", "n1", "default", "web-0", "uid", "web", "", 0, {"app": "web"},
                    {"x": "not shown"}, {"owner": {"kind": "Deployment", "name": "web"}, "namespace_labels": {"team": "t\u00fc"}})
    batch = Batch(source, "k" * 16, [b"2026-11-20T09:04:05Z"], [b"stdout"], [b"0+1"], [b"m"])
    assert list(orjson.loads(record_json.encode(batch))["kubernetes"].items())[-3:] == [
        ("labels", {"app": "web"}), ("owner", {"kind": "Deployment", "name": "web"}), ("namespace_labels", {"team": "t\u00fc"})]
    assert Source.from_json(source.to_json()).to_json() == source.to_json()
