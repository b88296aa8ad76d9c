"""What we send arrives whole at the real rsyslogd and is parsed into the fields that it was made of."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from shipper.sinks._tls import TlsConfig
from tests.sinks.syslog_kit import batch, config, send_all
from tests.support.rsyslogd import Rsyslogd

pytestmark = pytest.mark.rsyslogd

MESSAGES = [
    b"plain", b"", b"a \"quoted\" ] \\ line", b"tab\there \xff\xfe not UTF-8", b"x" * 9000, b"ends in CR\r", "naïve €".encode(),
]
SD = '[shipper@32473 id="k3v9q2f7abcdefgh:0+64" ns="de\\"fa\\]ult" pod="web-0" container="web"]'


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("certs")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, issued in (("server", ca.issue_cert("localhost", "127.0.0.1")), ("client", ca.issue_cert("client.example"))):
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        for pem in issued.cert_chain_pems:
            pem.write_to_path(folder / f"{name}.pem", append=True)
    return {"ca": str(folder / "ca.pem"), "folder": folder}


@pytest.mark.parametrize("framing", ["octet-counted", "newline"])
@pytest.mark.parametrize("module", ["imtcp", "imptcp"])
async def test_rfc5424_is_parsed_into_the_fields_it_was_made_of(tmp_path: Path, module: str, framing: str) -> None:
    async with Rsyslogd(tmp_path, **{module: True}) as daemon:
        sent = batch(MESSAGES, namespace='de"fa]ult', node="node 1")
        await send_all(config(daemon.ports[module], framing=framing), [sent])
        records = await daemon.records(len(MESSAGES))
    assert [r["msg"] for r in records] == [text(m) for m in MESSAGES]
    fields = {(r["host"], r["app"], r["pri"], r["time"]) for r in records}
    assert fields == {("node_1", "web", "14", "2026-11-20T09:04:05.123456Z")}
    assert records[0]["sd"] == SD


async def test_newlines_stay_when_octet_counted_and_are_escaped_when_newline_framed(tmp_path: Path) -> None:
    async with Rsyslogd(tmp_path, imtcp=True) as daemon:
        await send_all(config(daemon.ports["imtcp"]), [batch([b"one\ntwo"])])
        await send_all(config(daemon.ports["imtcp"], framing="newline"), [batch([b"three\nfour"])])
        records = await daemon.records(2)
    assert sorted(r["msg"] for r in records) == ["one\ntwo", "three#012four"]


@pytest.mark.parametrize("framing", ["octet-counted", "newline"])
async def test_rfc3164_is_parsed_into_the_fields_it_was_made_of(tmp_path: Path, framing: str) -> None:
    async with Rsyslogd(tmp_path, imptcp=True) as daemon:
        await send_all(config(daemon.ports["imptcp"], framing=framing, format="rfc3164"), [batch([b"hello", b"x: y"])])
        records = await daemon.records(2)
    # rsyslogd takes the blank behind the colon as part of the message
    assert [(r["host"], r["tag"], r["msg"], r["pri"]) for r in records] == [
        ("node1", "web:", " hello", "14"), ("node1", "web:", " x: y", "14"),
    ]
    assert records[0]["time"][4:19] == "-11-20T09:04:05"


@pytest.mark.parametrize("mutual", [False, True])
async def test_tls_with_and_without_a_client_certificate_brings_everything(
    tmp_path: Path, certs: dict[str, Any], mutual: bool
) -> None:
    folder = certs["folder"]
    server = {"ca": certs["ca"], "cert": folder / "server.pem", "key": folder / "server.key", "client": mutual}
    mine = {"cert": str(folder / "client.pem"), "key": str(folder / "client.key")} if mutual else {}
    async with Rsyslogd(tmp_path, tls=server, imtcp=True) as daemon:
        wanted = config(daemon.ports["imtcp"], protocol="tls", tls=TlsConfig(ca=certs["ca"], server_name="localhost", **mine))
        log = await send_all(wanted, [batch([b"%d" % i for i in range(i, i + 500)]) for i in range(0, 2000, 500)])
        records = await daemon.records(2000)
    assert [r["msg"] for r in records] == [str(i) for i in range(2000)]
    assert log.confirmed[-1] == 4 and not log.resends


async def test_container_logs_lines_arrive_byte_for_byte(tmp_path: Path) -> None:
    lines = [b"2021-09-13T10:53:01.123456789Z stdout F hello world", b" leading blank", b"", b"\xef\xbb\xbfbom \xff"]
    async with Rsyslogd(tmp_path, imtcp=True, octet_counted=False) as daemon:
        path = "/var/log/containers/nginx-7d9c_default_nginx-" + "a" * 64 + ".log"
        await send_all(config(daemon.ports["imtcp"], format="container-logs"), [batch(lines, path=path)])
        records = await daemon.records(3)
    head = "2026-11-20T09:13:13.298593+00:00 nginx-7d9c_default_nginx "
    assert [r["raw"] for r in records] == [head + " " + text(lines[0]), head + text(lines[1]), head + " " + text(lines[3])]


async def test_udp_brings_one_record_per_datagram(tmp_path: Path) -> None:
    async with Rsyslogd(tmp_path, imudp=True) as daemon:
        log = await send_all(config(daemon.ports["imudp"], protocol="udp"), [batch([b"one", b"two\nlines"])])
        records = await daemon.records(2)
    assert [r["msg"] for r in records] == ["one", "two\nlines"]
    assert log.confirmed == [1]


async def test_a_message_over_the_limit_arrives_in_numbered_parts_with_one_id(tmp_path: Path) -> None:
    async with Rsyslogd(tmp_path, imptcp=True) as daemon:
        await send_all(config(daemon.ports["imptcp"], max_message=1024), [batch([b"0123456789" * 300])])
        records = await daemon.records(4)
    assert "".join(r["msg"] for r in records) == "0123456789" * 300
    assert [r["sd"].split(" ")[1:3] for r in records] == [
        ['id="k3v9q2f7abcdefgh:0+64"', f'part="{n}/4"'] for n in range(1, 5)
    ]
    assert all(len(r["raw"]) <= 1024 for r in records)
