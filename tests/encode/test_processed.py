"""Severity and fields in what sinks write; without them everything is as it was."""
import orjson
import pytest

from shipper.encode import logfmt, raw, record_json
from shipper.encode.syslog import Rfc3164Encoder, Rfc5424Encoder, SyslogOptions
from shipper.model import Batch, Source

SOURCE = Source("containers", "c", "/x", "/x", "n1", "shop", "web-0", "u", "web", "cid")


def batch(severities=None, fields=None, marks=None):
    return Batch(SOURCE, "k" * 16, [b"2026-11-20T09:04:05.5Z"] * 2, [b"stdout", b"stderr"], [b"0+5", b"5+5"], [b"one", b"two"],
                 marks, 1, False, True, severities, fields)


def test_the_key_order_is_time_stream_severity_message_id_marks_fields_node_kubernetes():
    line = record_json.lines(batch([b"ERROR", b""], [b'{"a":1}', b""], {0: {"partial": True}}))
    assert list(orjson.loads(line[0])) == [
        "time", "stream", "severity", "message", "id", "partial", "fields", "node", "kubernetes"]
    assert orjson.loads(line[0])["severity"] == "ERROR" and orjson.loads(line[0])["fields"] == {"a": 1}
    assert list(orjson.loads(line[1])) == ["time", "stream", "message", "id", "node", "kubernetes"]


@pytest.mark.parametrize("encode", [
    record_json.encode, lambda b: b"".join(logfmt.pieces(b)), lambda b: b"".join(raw.pieces(b)),
    lambda b: Rfc5424Encoder(SyslogOptions()).encode([b]), lambda b: Rfc3164Encoder(SyslogOptions(framing="newline")).encode([b]),
])
def test_columns_that_say_nothing_change_no_byte(encode):
    assert encode(batch([b"", b""], [b"", b""])) == encode(batch())


def test_merged_fields_stand_at_the_top_and_none_takes_the_place_of_ours():
    line = record_json.lines(batch([b"ERROR", b""], [b'{"a":1,"id":"x","b":{"id":2}}', b'{"m\\u0065ssage":3}']), merge=True)
    first, second = map(orjson.loads, line)
    assert first["a"] == 1 and first["b"] == {"id": 2} and first["id"] == "k" * 16 + ":0+5" and first["fields"] == {"id": "x"}
    assert second["message"] == "two" and second["fields"] == {"message": 3}
    assert list(first)[:6] == ["time", "stream", "severity", "message", "id", "a"]


def test_logfmt():
    lines = b"".join(logfmt.pieces(batch([b"ERROR", b""], [b'{"a":1,"b c":"x y","o":{"n":null}}', b""]))).split(b"\n")
    assert lines[0] == (b'time=2026-11-20T09:04:05.5Z stream=stdout severity=ERROR namespace=shop pod=web-0 container=web '
                        b'node=n1 id=kkkkkkkkkkkkkkkk:0+5 fields.a=1 fields.b_c="x y" fields.o="{\\"n\\":null}" message="one"')
    assert b"severity" not in lines[1] and b"fields" not in lines[1]
    merged = b"".join(logfmt.pieces(batch(None, [b'{"a":1,"pod":"evil"}', b""]), merge=True))
    assert b" a=1 fields.pod=evil " in merged


def test_raw_writes_the_fields_of_a_record_that_has_no_message():
    made = batch(None, [b'{"a":1}', b'{"b":2}'])
    made.messages = [b"", b"two"]
    assert b"".join(raw.pieces(made)) == b'{"a":1}\ntwo\n'


@pytest.mark.parametrize("framing", ["newline", "octet-counted", "datagram"])
def test_the_severity_decides_the_priority_and_a_record_without_one_has_its_streams(framing):
    made = batch([b"EMERGENCY", b""], [b'{"a":1}', b""])
    out = Rfc5424Encoder(SyslogOptions(framing=framing)).encode([made])
    lines = out if isinstance(out, list) else [out]
    text = b"\n".join(lines)
    assert b"<8>1 2026" in text and b"<11>1 2026" in text and b'] one {"a":1}' in text
    if framing == "octet-counted":
        size, _, rest = text.partition(b" ")
        assert rest[:int(size)].endswith(b'one {"a":1}') and rest[int(size):].split(b" ")[1].startswith(b"<11>1")


def test_a_split_message_keeps_its_priority_in_every_part():
    made = batch([b"DEBUG", b"DEBUG"])
    made.messages = [b"x" * 900, b"y"]
    out = Rfc5424Encoder(SyslogOptions(framing="datagram", max_message_bytes=480)).encode([made])
    assert len(out) > 2 and all(one.startswith(b"<15>1 ") for one in out)


def test_an_empty_object_of_fields_merges_into_valid_json():
    lines = record_json.encode(batch(fields=[b"{}", b'{"a":1}']), merge=True).splitlines()
    assert "fields" not in orjson.loads(lines[0]) and orjson.loads(lines[1])["a"] == 1
