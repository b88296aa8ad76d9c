"""The bytes of the forward protocol, read back with PyPI's msgpack. F: encode/forward.py, U: encode/msgpack.py."""
from __future__ import annotations

import gzip as stdlib_gzip
import random
import struct
import zlib
from typing import Any

import msgpack
import pytest
from isal import isal_zlib

from shipper.encode.forward import ForwardEncoder, entries, event_times, gzip
from shipper.encode.msgpack import unpack
from shipper.encode.template import compile_template
from shipper.model import Batch, Source

WEB = Source("containers", "c", "/var/log/containers/web.log", "/l", "n1", "default", "web-0", "uid-1", "web", "abc",
             labels={"app": "web"})
HOST = Source("files", "f", "/var/log/sys\udcfflog", "/l", "n1")
READ_NS = 1795165993298593000


def batch(messages: list[bytes], source: Source = WEB, **changed: Any) -> Batch:
    rows = len(messages)
    values: dict[str, Any] = {
        "times": [b"2026-11-20T09:04:05.123456789Z"] * rows, "streams": [b"stdout"] * rows,
        "ids": [b"%x+%x" % (i * 100, 100) for i in range(rows)], "messages": messages, "read_ns": READ_NS,
    }
    return Batch(source, "k3v9q2f7abcdefgh", **{**values, **changed})


def read(packed: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="strict", ext_hook=msgpack.ExtType)
    unpacker.feed(packed)
    return list(unpacker)


def test_f1_an_entry_holds_the_record_as_fluentds_kubernetes_users_know_it():
    [[time, record]] = read(entries(batch([b"hello"])))
    assert time == msgpack.ExtType(0, struct.pack(">II", 1795165445, 123456789))
    assert record == {
        "log": "hello", "stream": "stdout", "id": "k3v9q2f7abcdefgh:0+64",
        "kubernetes": {"namespace_name": "default", "pod_name": "web-0", "pod_id": "uid-1", "container_name": "web",
                       "container_id": "abc", "labels": {"app": "web"}, "host": "n1"},
    }


def test_a_host_files_record_has_its_path_and_node():
    [[_, record]] = read(entries(batch([b"x"], HOST, streams=[b""]), "message"))
    assert record == {"message": "x", "id": "k3v9q2f7abcdefgh:0+64", "node": "n1", "file": "/var/log/sys?log"}


def test_f1_all_bytes_of_a_message_are_there_and_what_is_no_utf8_is_marked_as_such():
    messages = [b"", b"a" * 31, b"b" * 32, b"c" * 255, b"d" * 256, b"e" * 70_000]
    messages += [b"two\nlines", b"caf\xe9 \x00 end", "naïve €".encode()]
    found = [record["log"] for _, record in read(entries(batch(messages)))]
    assert found == [m.decode("utf-8", "replace") for m in messages]


def test_marks_and_parsed_fields_stand_beside_the_message():
    rows = batch([b"one", b"two", b"three"], marks={1: {"partial": True, "lost": 1 << 70}}, severities=[b"", b"ERROR", b""],
                 fields=[b'{"a":1}', b"", b'{"b":[2.5,null]}'])
    found = [record for _, record in read(entries(rows))]
    assert [record.get("fields") for record in found] == [{"a": 1}, None, {"b": [2.5, None]}]
    assert [record.get("severity") for record in found] == [None, "ERROR", None]
    assert found[1]["partial"] is True and found[1]["lost"] == str(1 << 70) and "partial" not in found[0]


@pytest.mark.parametrize(("time", "second", "nanosecond"), [
    (b"2026-11-20T09:04:05.123456789Z", 1795165445, 123456789), (b"2026-11-20T09:04:05.5Z", 1795165445, 500_000_000),
    (b"2026-11-20T09:04:05Z", 1795165445, 0), (b"2026-11-20T18:04:05.000000001+09:00", 1795165445, 1),
    (b"2026-11-20T00:04:05-09:00", 1795165445, 0), (b"", READ_NS // 10**9, READ_NS % 10**9),
    (b"not a time", READ_NS // 10**9, READ_NS % 10**9), (b"2026-11-20T09:04:05.xZ", READ_NS // 10**9, READ_NS % 10**9),
    (b"1969-11-20T09:04:05Z", READ_NS // 10**9, READ_NS % 10**9), (b"9999-11-20T09:04:05Z", READ_NS // 10**9, READ_NS % 10**9),
    (b"2026-11-20T09:04:05.1234567891234Z", 1795165445, 123456789),
])
def test_times_keep_their_nanoseconds_and_what_is_none_becomes_the_time_of_reading(time, second, nanosecond):
    assert event_times(batch([b"x"], times=[time])) == [struct.pack(">II", second, nanosecond)]


def test_one_chunk_per_tag_and_f2_the_same_records_give_the_same_chunk():
    encoder = ForwardEncoder(compile_template("kube.{namespace|host}.{pod|file}"))
    made = encoder.encode([batch([b"a"]), batch([b"b"], HOST, streams=[b""]), batch([b"c", b"d"]), batch([])])
    words = [msgpack.unpackb(chunk.data) for chunk in made]
    assert [(tag, option["size"]) for tag, _, option in words] == [("kube.default.web-0", 3), ("kube.host.file", 1)]
    assert [option["chunk"] for _, _, option in words] == [chunk.id for chunk in made]
    assert encoder.encode([batch([b"a"]), batch([b"c", b"d"])])[0] == made[0]
    assert encoder.encode([batch([b"a"]), batch([b"c", b"e"])])[0].id != made[0].id


@pytest.mark.parametrize("library", [zlib, isal_zlib])
def test_f3_compressed_bytes_are_equal_and_anybody_can_read_them(library):
    plain = entries(batch([b"line %d" % i for i in range(1000)]))
    packed = gzip(plain, library)
    assert packed == gzip(plain, library) and stdlib_gzip.decompress(packed) == plain and len(packed) < len(plain) / 3
    assert packed[4:8] == b"\0\0\0\0"
    encoder = ForwardEncoder(compile_template("t"), compress=lambda data: gzip(data, library))
    [chunk] = encoder.encode([batch([b"a"])])
    _, data, option = msgpack.unpackb(chunk.data)
    assert option["compressed"] == "gzip" and read(stdlib_gzip.decompress(data))[0][1]["log"] == "a"


# ---------------------------------------------------------------- reading

WORDS = [
    ["HELO", {"nonce": b"\xff\x00", "auth": b"", "keepalive": True}], {"ack": "AAAA"}, ["PONG", False, "no", "", ""], None, -5,
    70_000, [1.5, -1000, "x" * 300, b"y" * 70, 1 << 40, list(range(20))],
]


def as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return {as_bytes(k): as_bytes(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_u1_messages_are_read_whole_wherever_they_are_cut():
    for word in WORDS:
        packed = msgpack.packb(word)
        assert unpack(packed + b"rest") == (as_bytes(word), len(packed))
        assert [unpack(packed[:cut]) for cut in range(len(packed))] == [None] * len(packed)


def test_text_that_is_not_utf8_is_read_as_fluent_bit_sends_its_nonce():
    assert unpack(msgpack.packb([b"\xff\xfe"], use_bin_type=False)) == ([b"\xff\xfe"], 4)


def test_u2_what_a_receiver_does_not_send_is_refused_before_memory_is_taken():
    many = b"\xff\xff\xff\xff"
    for hostile in (b"\xdf" + many, b"\xdd" + many, b"\xc6" + many, b"\x91" * 20, b"\xc1", b"\xd7\x00"):
        with pytest.raises(ValueError, match=r"msgpack|bytes in|items in"):
            unpack(hostile)


def test_no_bytes_make_it_raise_anything_else():
    chance = random.Random(7)
    for _ in range(3000):
        data = bytes(chance.choices((*range(256), 0x93, 0x82, 0xC4, 0xDC), k=chance.randrange(40)))
        try:
            found = unpack(data)
        except ValueError:
            continue
        assert found is None or 0 < found[1] <= len(data)
