"""RFC 5424 and RFC 3164 by equality, and as a strict reader would take them apart again."""
from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.encode.syslog import (
    FACILITIES,
    Rfc3164Encoder,
    Rfc5424Encoder,
    SyslogOptions,
    app_name,
    header_field,
    read_time,
    rfc3164_time,
    sd_value,
)
from shipper.model import Batch, Source

READ_NS = 1795165993298593000            # 2026-11-20T09:13:13.298593Z
T1, T2 = b"2026-11-20T09:04:05.123456789Z", b"2026-11-20T09:04:06.000000001Z"
SD = b'[shipper@32473 id="KEY:%b" ns="default" pod="web-0" container="web"]'


def batch(messages: list[bytes], **changed: Any) -> Batch:
    rows = len(messages)
    where: dict[str, Any] = {
        "kind": "containers", "name": "c", "path": "/var/log/containers/x.log", "lineage": "/l", "node": "node1",
        "namespace": "default", "pod": "web-0", "container": "web", **changed.pop("source", {}),
    }
    columns: dict[str, Any] = {
        "times": [T1] * rows, "streams": [b"stdout"] * rows, "ids": [b"%x+64" % (i * 100) for i in range(rows)], **changed,
    }
    return Batch(Source(**where), "KEY", messages=messages, read_ns=READ_NS, **columns)


def encode(given: Batch | list[Batch], **options: Any) -> Any:
    encoder = Rfc5424Encoder(SyslogOptions(**{"framing": "newline", **options}))
    return encoder.encode([given] if isinstance(given, Batch) else given)


# ---------------------------------------------------------------- RFC 5424

def test_a_message_has_its_own_time_where_it_comes_from_and_its_id() -> None:
    got = encode(batch([b"hello"]))
    assert got == b"<14>1 2026-11-20T09:04:05.123456Z node1 web - - " + SD % b"0+64" + b" hello\n"


def test_octet_counts_count_the_message_and_nothing_else() -> None:
    one = b"<14>1 2026-11-20T09:04:05.123456Z node1 web - - " + SD % b"0+64" + b" one\nline"
    two = b"<14>1 2026-11-20T09:04:05.123456Z node1 web - - " + SD % b"64+64" + b" "
    got = encode(batch([b"one\nline", b""]), framing="octet-counted")
    assert got == b"%d %b%d %b" % (len(one), one, len(two), two)


def test_a_datagram_is_one_message_without_framing() -> None:
    got = encode([batch([b"a\nb"]), batch([b"c"])], framing="datagram")
    head = b"<14>1 2026-11-20T09:04:05.123456Z node1 web - - " + SD % b"0+64"
    assert got == [head + b" a\nb", head + b" c"]


def test_streams_have_their_own_severity_and_a_host_file_the_default() -> None:
    streams = [b"stdout", b"stderr", b"", b"stderr"]
    for framing in ("newline", "datagram", "octet-counted"):
        got = encode(batch([b"m"] * 4, streams=streams), framing=framing)
        text = b"\n".join(got) if isinstance(got, list) else got
        assert re.findall(rb"<(\d+)>1 2026-11-20T09:04:05.123456Z node1", text) == [b"14", b"11", b"14", b"11"]
    options = {"facility": FACILITIES["local7"], "severities": ((b"stderr", 0),), "severity": 7}
    got = encode(batch([b"m"] * 4, streams=streams), **options)
    assert re.findall(rb"(?m)^<(\d+)>1 ", got) == [b"191", b"184", b"191", b"184"]


def test_a_line_without_its_own_time_has_the_time_of_reading() -> None:
    assert encode(batch([b"m"], times=[b""])).startswith(b"<14>1 2026-11-20T09:13:13.298593Z node1 ")
    got = encode(batch([b"m", b"m"], times=[b"", T2]))
    assert re.findall(rb"1 (\S+) node1", got) == [b"2026-11-20T09:13:13.298593Z", b"2026-11-20T09:04:06.000000Z"]


def test_nine_digits_are_kept_where_asked_for() -> None:
    assert b" 2026-11-20T09:04:05.123456789Z " in encode(batch([b"m"]), time_digits=9)


def test_newlines_are_escaped_under_newline_framing_as_rsyslog_does() -> None:
    got = encode(batch([b"one\ntwo\n", b"plain"]))
    assert got.endswith(b"] plain\n") and b"] one#012two#012\n" in got and got.count(b"\n") == 2


def test_marks_stand_behind_the_id() -> None:
    marked = batch([b"a", b"b", b"c"])
    marked.marks = {0: {"partial": True}, 2: {"truncated": 2097152}}
    lines = encode(marked).split(b"\n")
    assert b'[shipper@32473 id="KEY:0+64" partial="true" ns="default"' in lines[0]
    assert b'id="KEY:64+64" ns=' in lines[1]
    assert b'id="KEY:c8+64" truncated="2097152" ns=' in lines[2]


def test_a_host_file_has_its_name_and_path_instead_of_a_pod() -> None:
    where = {"kind": "files", "namespace": "", "pod": "", "container": "", "path": "/var/log/app [1].log"}
    got = encode(batch([b"m"], source=where))
    assert b' node1 app_[1] - - [shipper@32473 id="KEY:0+64" file="/var/log/app [1\\].log"] m\n' in got


def test_y2_hostile_names_end_no_field_early() -> None:
    where = {"pod": 'p"]\\ x\n<0>1', "container": "c d\x00\u20ac" + "x" * 99, "node": "n 1\n" + "y" * 300}
    got = encode(batch([b"m"], source=where))
    header, sd = got.split(b" [", 1)
    pri_version, _, host, app, procid, msgid = header.split(b" ")
    assert (pri_version, procid, msgid, got.count(b"\n")) == (b"<14>1", b"-", b"-", 1)
    assert host == b"n_1_" + b"y" * 251 and len(host) == 255
    assert app == b"c_d__" + b"x" * 43 and len(app) == 48
    assert sd.startswith(b'shipper@32473 id="KEY:0+64" ns="default" pod="p\\"\\]\\\\ x_<0>1" container=')


def test_empty_names_are_a_dash() -> None:
    assert header_field("", 10) == b"-"
    assert b"Z - - - - [" in encode(batch([b"m"], source={"node": "", "container": "", "path": ""}))
    assert app_name(batch([]).source) == "web"


def test_values_that_are_not_unicode_are_replaced() -> None:
    assert sd_value("/var/log/\udcff.log") == b"/var/log/?.log"


def test_no_records_give_no_bytes() -> None:
    assert encode([]) == b"" and encode(batch([])) == b"" and encode(batch([]), framing="datagram") == []


def test_an_empty_batch_between_others_leaves_no_trace() -> None:
    a, none, b = batch([b"a"]), batch([]), batch([b"b"])
    assert encode([none, a, none, b]) == encode(a) + encode(b)


# ---------------------------------------------------------------- limits

def messages_of(data: bytes) -> list[bytes]:
    """A strict RFC 6587 3.4.1 reader."""
    out = []
    while data:
        count, _, data = data.partition(b" ")
        out.append(data[:int(count)])
        assert len(out[-1]) == int(count)
        data = data[int(count):]
    return out


@pytest.mark.parametrize("framing", ["octet-counted", "newline", "datagram"])
def test_y3_a_message_over_the_limit_is_split_into_whole_messages_with_the_same_id(framing: str) -> None:
    long = bytes(range(97, 123)) * 200
    got = encode(batch([b"before", long, b"after"]), framing=framing, max_message_bytes=1024)
    parts = got if framing == "datagram" else messages_of(got) if framing == "octet-counted" else got.split(b"\n")[:-1]
    assert max(map(len, parts)) <= 1024
    assert parts[0].endswith(b"] before") and parts[-1].endswith(b"] after")
    middle = [re.fullmatch(rb'.* \[shipper@32473 id="KEY:64\+64" part="(\d+)/(\d+)" ns=[^\]]*\] (.*)', p) for p in parts[1:-1]]
    assert all(middle)
    assert [int(m[1]) for m in middle if m] == list(range(1, len(middle) + 1))
    assert {int(m[2]) for m in middle if m} == {len(middle)}
    assert b"".join(m[3] for m in middle if m) == long


def test_the_limit_is_the_whole_message_and_its_last_byte_still_fits() -> None:
    one = encode(batch([b"x" * 2000]), framing="datagram")[0]
    assert encode(batch([b"x" * 2000]), framing="datagram", max_message_bytes=len(one)) == [one]
    assert len(encode(batch([b"x" * 2000]), framing="datagram", max_message_bytes=len(one) - 1)) == 2
    assert len(encode(batch([b"x" * 2000]), framing="newline", max_message_bytes=len(one))) == len(one) + 1


def test_cut_keeps_the_beginning_and_says_how_long_it_was() -> None:
    got = encode(batch([b"x" * 5000]), max_message_bytes=1024, on_oversize="cut")
    assert len(got) == 1025 and got.count(b"\n") == 1
    assert b'id="KEY:0+64" truncated="5000" ns=' in got


def test_cut_leaves_a_mark_of_the_true_length_alone() -> None:
    marked = batch([b"x" * 5000])
    marked.marks = {0: {"truncated": 999999}}
    got = encode(marked, max_message_bytes=1024, on_oversize="cut")
    assert got.count(b"truncated") == 1 and b'truncated="999999"' in got


@given(
    messages=st.lists(st.binary(max_size=3000), min_size=1, max_size=8),
    limit=st.integers(300, 2000),
    framing=st.sampled_from(["octet-counted", "newline", "datagram"]),
    times=st.lists(st.sampled_from([T1, T2, b"", b"2026-11-20T09:04:05.5+09:00"]), min_size=8, max_size=8),
    streams=st.lists(st.sampled_from([b"stdout", b"stderr", b""]), min_size=8, max_size=8),
)
def test_y1_y3_y4_whatever_the_content_every_byte_comes_out_once_in_order(
    messages: list[bytes], limit: int, framing: str, times: list[bytes], streams: list[bytes]
) -> None:
    made = batch(messages, times=times[:len(messages)], streams=streams[:len(messages)])
    got = encode(made, framing=framing, max_message_bytes=limit)
    assert got == encode(replace(made), framing=framing, max_message_bytes=limit)
    parts = got if framing == "datagram" else messages_of(got) if framing == "octet-counted" else got.split(b"\n")[:-1]
    assert all(len(p) <= limit for p in parts)
    joined: dict[bytes, bytes] = {}
    for part in parts:
        found = re.fullmatch(rb'<\d+>1 \S+ node1 web - - \[shipper@32473 id="KEY:([^"]*)"[^\]]*\] (.*)', part, re.DOTALL)
        assert found
        joined[found[1]] = joined.get(found[1], b"") + found[2]
    escape = framing == "newline"
    assert list(joined.values()) == [m.replace(b"\n", b"#012") if escape else m for m in messages]


# ---------------------------------------------------------------- RFC 3164

def encode3164(given: Batch, **options: Any) -> Any:
    return Rfc3164Encoder(SyslogOptions(**{"framing": "newline", **options})).encode([given])


def test_rfc3164_has_the_second_in_utc_the_host_and_the_container() -> None:
    assert encode3164(batch([b"hello"])) == b"<14>Nov 20 09:04:05 node1 web: hello\n"
    assert encode3164(batch([b"a", b"b"], streams=[b"stdout", b"stderr"]), framing="octet-counted") == (
        b"32 <14>Nov 20 09:04:05 node1 web: a32 <11>Nov 20 09:04:05 node1 web: b"
    )


@pytest.mark.parametrize(
    ("time", "stamp"),
    [
        (b"2026-11-05T09:04:05.1Z", b"Nov  5 09:04:05"),
        (b"2026-01-01T03:00:00.000000001+09:00", b"Dec 31 18:00:00"),
        (b"2026-11-20T09:04:05Z", b"Nov 20 09:04:05"),
        (b"2026-13-99T09:04:05Z", b"Jan  1 00:00:00"),
    ],
)
def test_rfc3164_times_are_converted_to_utc(time: bytes, stamp: bytes) -> None:
    assert rfc3164_time(time) == stamp
    assert encode3164(batch([b"m", b"n"], times=[time, T1])).startswith(b"<14>" + stamp + b" node1")


def test_rfc3164_lines_without_time_have_the_time_of_reading() -> None:
    assert encode3164(batch([b"m"], times=[b""])) == b"<14>Nov 20 09:13:13 node1 web: m\n"
    assert encode3164(batch([b"m", b"m"], times=[b"", T1])).startswith(b"<14>Nov 20 09:13:13 node1 web: m\n<14>Nov 20 09:04:05")


def test_a_tag_holds_nothing_that_ends_it() -> None:
    got = encode3164(batch([b"m"], source={"container": "a:b[1] " + "c" * 40}))
    assert got == b"<14>Nov 20 09:04:05 node1 a_b_1__" + b"c" * 25 + b": m\n"


def test_rfc3164_parts_carry_no_number() -> None:
    got = encode3164(batch([b"x" * 2000]), max_message_bytes=1024)
    head = b"<14>Nov 20 09:04:05 node1 web: "
    room = 1024 - len(head)
    assert got == head + b"x" * room + b"\n" + head + b"x" * room + b"\n" + head + b"x" * (2000 - 2 * room) + b"\n"


def test_the_time_of_reading_is_rfc3339_with_six_digits() -> None:
    assert read_time(READ_NS) == b"2026-11-20T09:13:13.298593Z"
    assert read_time(0) == b"1970-01-01T00:00:00.000000Z"
