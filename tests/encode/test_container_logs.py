"""The rsyslog template of kubernetes-logging-syslog, byte for byte."""
from __future__ import annotations

from typing import Any

import pytest

from shipper.encode.container_logs import ContainerLogsEncoder, name_of
from shipper.model import Batch, Source

HEX = "0123456789abcdef" * 4
NGINX = f"/var/log/containers/nginx-7d9c_default_nginx-{HEX}.log"
HEAD = b"2026-11-20T09:13:13.298593+00:00 nginx-7d9c_default_nginx "


def batch(lines: list[bytes], path: str = NGINX) -> Batch:
    source = Source("containers", "c", path, "/l", "node1")
    none = [b""] * len(lines)
    return Batch(source, "KEY", none, none, [b"0+1"] * len(lines), lines, None, 1795165993298593000)


def encode(lines: list[bytes], **options: Any) -> Any:
    return ContainerLogsEncoder(**options).encode([batch(lines)])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (NGINX, b"nginx-7d9c_default_nginx"),
        (f"/var/log/containers/etcd-node1.example.com_kube-system_etcd-{HEX}.log", b"etcd"),
        (f"/var/log/containers/web.v1_default_app-{HEX}.log", b"v1_default_app"),
        ("/var/log/containers/nohyphen.log", b"/var/log/containers/nohyphen.log"),
        ("/var/log/containers/a-b--.log", b"a-b-"),
    ],
)
def test_the_name_is_what_the_pattern_finds_in_the_full_path(path: str, name: bytes) -> None:
    assert name_of(batch([], path).source) == name


def test_the_line_of_the_example_is_the_same_byte_for_byte() -> None:
    assert encode([b"2021-09-13T10:53:01.123456789Z stdout F hello world"]) == (
        b"2026-11-20T09:13:13.298593+00:00 nginx-7d9c_default_nginx  2021-09-13T10:53:01.123456789Z stdout F hello world\n"
    )


def test_a_line_that_begins_with_a_blank_gets_no_second_one() -> None:
    assert encode([b" x", b"y", b"\tz"]) == HEAD + b" x\n" + HEAD + b" y\n" + HEAD + b" \tz\n"


def test_k2_empty_lines_give_nothing() -> None:
    assert encode([b"", b"x", b""]) == HEAD + b" x\n"
    assert encode([b"", b""]) == b"" and encode([]) == b""
    assert encode([b""], framing="datagram") == []


def test_k1_control_characters_cr_nul_bom_and_bad_utf8_pass_unchanged() -> None:
    line = b"\x00\x01\x1b[31m \xef\xbb\xbf \xff\xfe \r"
    assert encode([line]) == HEAD + b" " + line + b"\n"


def test_k1_a_line_over_8_kib_is_neither_cut_nor_parted() -> None:
    assert encode([b"x" * 100_000]) == HEAD + b" " + b"x" * 100_000 + b"\n"


def test_k3_a_newline_inside_is_escaped() -> None:
    assert encode([b"a\nb"]) == HEAD + b" a#012b\n"


def test_a_datagram_has_no_newline_at_its_end() -> None:
    assert encode([b"x", b" y"], framing="datagram") == [HEAD + b" x", HEAD + b" y"]


def test_octet_counts_are_written_where_asked_for() -> None:
    assert encode([b"x", b"yy"], framing="octet-counted") == b"60 %b x61 %b yy" % (HEAD, HEAD)


def test_several_batches_follow_each_other() -> None:
    both = ContainerLogsEncoder().encode([batch([b"x"]), batch([]), batch([b"y"])])
    assert both == HEAD + b" x\n" + HEAD + b" y\n"


@pytest.mark.parametrize("framing", ["newline", "datagram"])
def test_a_line_over_the_limit_becomes_several_messages_or_is_cut(framing: str) -> None:
    line = b"0123456789" * 300
    got = encode([line, b"next"], framing=framing, max_message_bytes=1024)
    parts = got if framing == "datagram" else got.split(b"\n")[:-1]
    assert max(map(len, parts)) == 1024 and parts[-1] == HEAD + b" next"
    assert b"".join(p.removeprefix(HEAD + b" ") for p in parts[:-1]) == line
    cut = encode([line], framing="datagram", max_message_bytes=1024, on_oversize="cut")
    assert cut == [HEAD + b" " + line[:1024 - len(HEAD) - 1]]
