"""The HTTP client and its config, with real sockets: sinks/_http_client.py (HC), _http_auth.py, _http_config.py."""
from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from shipper.errors import Fatal, Retryable, Usage
from shipper.sinks import SinkContext, find
from shipper.sinks._http_client import HttpClient, place
from shipper.telemetry import Telemetry
from tests.support.bad_http import BadServer

from .codecs import HttpNdjson
from .http_world import World, entry_of
from .syslog_kit import batch


def client_of(keys: str, telemetry: Telemetry | None = None, **more) -> HttpClient:
    return HttpClient(entry_of(f"type: http, {keys}").config, "far", telemetry or Telemetry(), **more)


async def answered(fault: str, *, needs_body: bool = True, keys: str = "request_timeout: 20s"):
    """(answer or error, seconds it took) of one small POST."""
    async with BadServer(HttpNdjson(), always=fault) as server:
        url = f"http://127.0.0.1:{server.port}/ingest"
        client = client_of(f"url: '{url}', proxy: none, {keys}")
        started_s = time.monotonic()
        try:
            body = [b'{"time":"t","message":"m000001","id":"a"}\n']
            return await client.request("POST", url, headers={
                "Content-Type": "application/x-ndjson", "Idempotency-Key": "0" * 32,
            }, body=body, needs_body=needs_body), time.monotonic() - started_s
        except (Retryable, Fatal) as error:
            return error, time.monotonic() - started_s
        finally:
            await client.close()


@pytest.mark.parametrize(("fault", "says"), [
    ("refuse", "closed|reset"), ("reset_before", "closed|reset"), ("reset_after", "closed|reset"),
    ("hang", "did not answer in time"),
    ("bad_http", "does not speak HTTP"), ("ok_then_reset", "broke off"),
])
async def test_what_is_no_answer_is_retryable_and_says_what_broke(fault, says):
    error, _ = await answered(fault, keys="request_timeout: 300ms" if fault == "hang" else "request_timeout: 20s")
    assert isinstance(error, Retryable)
    assert any(word in str(error).lower() for word in says.lower().split("|")), error


async def test_hc2_a_put_on_a_connection_that_was_kept_is_not_sent_twice_by_the_library_below():
    """The far side may have kept half of it: a piece of an upload."""
    seen: list[bytes] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(5)
            seen.append(head.split(b" ", 1)[0])
            if number == 0:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()                                  # without an answer to the second one

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/o"
    client = client_of(f"url: '{url}', proxy: none")
    assert (await client.request("PUT", url, body=[b"first"])).status == 200
    with pytest.raises(Retryable, match="closed the connection without an answer"):
        await client.request("PUT", url, body=[b"again"])
    assert seen == [b"PUT", b"PUT"]
    await client.close()
    server.close()


def test_hc5_a_message_names_a_far_side_without_its_user_and_query():
    assert place("https://user:secret@h.example:8080/in?token=secret#x") == "https://h.example:8080/in"


@pytest.mark.parametrize("fault", ["100_mb", "endless_500"])
async def test_an_answer_of_100_mb_is_read_up_to_64_kib(fault):
    answer, took_s = await answered(fault)
    assert answer.status == 500 and len(answer.body) == 64 * 1024 and not answer.whole and took_s < 15


async def test_a_2xx_is_enough_for_who_needs_no_body():
    answer, _ = await answered("ok_then_reset", needs_body=False)
    assert answer.status == 200
    answer, took_s = await answered("endless_200", needs_body=False)
    assert answer.status == 200 and took_s < 15


async def test_a_dead_port_says_where(unused_port=1):
    client = client_of("url: 'http://127.0.0.1:1/in?token=secret1', proxy: none")
    with pytest.raises(Retryable, match=r"^cannot connect to http://127.0.0.1:1/in: Connect") as caught:
        await client.request("POST", "http://127.0.0.1:1/in?token=secret1", body=[b"x"])
    assert "secret1" not in str(caught.value)
    await client.close()


async def test_connections_past_their_age_take_no_new_request_and_are_closed():
    now = [0.0]
    async with BadServer(HttpNdjson()) as server:
        url = f"http://127.0.0.1:{server.port}/ingest"
        client = client_of(f"url: '{url}', proxy: none, max_connection_age: 5m", now_s=lambda: now[0])
        head = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "0" * 32}
        body = [b'{"time":"t","message":"m000001","id":"a"}\n']
        for now_s in (0, 1, 299):
            now[0] = now_s
            await client.request("POST", url, headers=head, body=body)
        assert server.connections == 1
        now[0] = 301
        await client.request("POST", url, headers=head, body=body)
        assert server.connections == 2 and server.wrong == []
        await client.close()


async def test_a_receiver_that_takes_nothing_of_a_body_runs_into_the_write_timeout():
    async def never_read(reader, writer):
        await asyncio.sleep(30)

    server = await asyncio.start_server(never_read, "127.0.0.1", 0, limit=1)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    client = client_of(f"url: '{url}', proxy: none, write_timeout: 200ms, request_timeout: 20s")
    with pytest.raises(Retryable, match=r"write_timeout 0\.2 s"):
        await client.request("POST", url, body=[bytes(1024 * 1024)] * 30)
    await client.close()
    server.close()


@pytest.mark.parametrize("reads_on", [True, False])
async def test_a_413_that_comes_before_the_body_was_read_is_seen(reads_on):
    """A server may answer and close in the middle of a large body; taken for a broken connection, it would go again for ever."""
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        while reads_on and await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    client = client_of(f"url: '{url}', proxy: none")
    assert (await client.request("POST", url, body=[bytes(100_000)] * 50)).status == 413
    await client.close()
    server.close()


# ------------------------------------------------------------ who we are, and who they are


def test_a_token_file_is_read_again_when_it_changes_and_masked_everywhere(tmp_path):
    path = tmp_path / "token"
    path.write_text("first-token\n")
    telemetry = Telemetry()
    client = client_of(f"url: 'https://far/', auth: {{bearer_file: {path}}}", telemetry)

    def sent() -> str:
        return asyncio.run(_headers(client))["Authorization"]

    assert sent() == "Bearer first-token"
    replacement = tmp_path / "next"
    replacement.write_text("second-token\n")
    os.replace(replacement, path)
    assert sent() == "Bearer second-token"
    assert telemetry.scrub("said second-token and first-token") == "said *** and ***"
    path.unlink()
    with pytest.raises(Retryable, match=r"cannot read .*token: No such file"):
        sent()


async def _headers(client: HttpClient) -> dict[str, str]:
    return dict(await client._credentials.headers())


def test_basic_auth_and_a_header_of_ones_own(tmp_path):
    (tmp_path / "p").write_text("pass word")
    basic = client_of(f"url: 'https://far/', auth: {{user: me, password_file: {tmp_path}/p}}")
    assert asyncio.run(_headers(basic)) == {"Authorization": "Basic bWU6cGFzcyB3b3Jk"}
    own = client_of(f"url: 'https://far/', auth: {{header_name: X-Api-Key, header_value_file: {tmp_path}/p}}")
    assert asyncio.run(_headers(own)) == {"X-Api-Key": "pass word"}


async def test_http_to_a_port_that_resets_each_request_is_asked_whether_it_wants_tls_and_the_query_stays_out_of_the_message():
    async def reset(reader, writer):
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in"
    client = client_of(f"url: '{url}', proxy: none")
    with pytest.raises(Retryable) as caught:
        await client.request("POST", f"{url}?key=sesame", body=[b"x" * 60_000] * 200)
    await client.close()
    server.close()
    assert "if it does so each time, it may want https" in str(caught.value)
    assert "reset" in str(caught.value) or "pipe" in str(caught.value) or "without an answer" in str(caught.value)
    assert "sesame" not in str(caught.value) and "Can not write" not in str(caught.value)


async def test_https_to_a_port_that_does_not_answer_the_handshake_is_asked_whether_it_speaks_tls():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/in"
        client = client_of(f"url: '{url}', proxy: none, connect_timeout: 200ms")
        with pytest.raises(Retryable, match="see that it is up and speaks TLS"):
            await client.request("POST", url, body=[b"x"])
        await client.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    for name, identity in (("server", "localhost"), ("client", "agent@node")):
        made = authority.issue_cert(identity)
        made.private_key_and_cert_chain_pem.write_to_path(str(directory / f"{name}.pem"))
    yield directory


async def test_tls_files_that_are_renewed_are_used_at_the_next_try_and_half_of_a_renewal_is_no_failed_sink(tls, tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(tls / "server.pem"))

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))                 # of yesterday
    client = client_of(f"url: '{url}', proxy: none, tls: {{ca: {ca}}}")
    with pytest.raises(Retryable, match="TLS failed"):
        await client.request("POST", url, body=[b"x"])
    ca.write_text("-----BEGIN CERTIFICATE-----\n")               # being written
    with pytest.raises(Retryable, match="TLS files cannot be used"):
        await client.request("POST", url, body=[b"x"])
    ca.write_bytes((tls / "ca.pem").read_bytes())
    assert (await client.request("POST", url, body=[b"x"])).status == 200
    await client.close()
    server.close()


@pytest.mark.parametrize(("keys", "says"), [
    ("tls: {{ca: {d}/ca.pem, cert: {d}/client.pem}}", ""),
    ("tls: {{verify: false, cert: {d}/client.pem}}", ""),
    ("tls: {{ca: {d}/ca.pem, cert: {d}/client.pem, server_name: other}}", "TLS failed"),
    ("tls: {{cert: {d}/client.pem}}", "TLS failed"),
    ("tls: {{ca: {d}/ca.pem}}", "http"),
])
async def test_tls_with_own_ca_and_client_certificate(tls, keys, says):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls / "ca.pem"))
    context.load_cert_chain(str(tls / "server.pem"))
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    telemetry = Telemetry()
    client = client_of(f"url: '{url}', proxy: none, " + keys.format(d=tls), telemetry)
    try:
        if says:
            with pytest.raises(Retryable, match=says):
                await client.request("POST", url, body=[b"x"])
        else:
            assert (await client.request("POST", url, body=[b"x"])).status == 200
        unverified = "verify: false" in keys
        assert any(event == "tls_not_verified" for _, event, _ in telemetry.lines) is unverified
        assert ("tls" in client.status()) is unverified
    finally:
        await client.close()
        server.close()


async def test_the_proxy_comes_from_the_config_or_else_from_the_environment(monkeypatch):
    asked: list[bytes] = []

    async def proxy(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 204 Fine\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for keys, environ in ((f", proxy: '{address}'", {}), ("", {"http_proxy": address}),
                          ("", {"http_proxy": address, "no_proxy": "far.invalid"}), (", proxy: none", {"http_proxy": address})):
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            client = client_of("url: 'http://far.invalid/in', connect_timeout: 2s" + keys)
            if "no_proxy" in environ or "none" in keys:
                with pytest.raises(Retryable, match=r"cannot connect to http://far\.invalid/in"):
                    await client.request("POST", "http://far.invalid/in", body=[b"x"])
            else:
                assert (await client.request("POST", "http://far.invalid/in", body=[b"x"])).status == 204
            await client.close()
    assert asked == [b"POST http://far.invalid/in HTTP/1.1"] * 2
    server.close()


# ------------------------------------------------------------ the config


@pytest.mark.parametrize(("keys", "says"), [
    ("url: logs.example.com", "url: is not the URL of a server; it has no scheme: write https://logs.example.com or http://logs."),
    ("url: 'logs:9200'", "url: is not the URL of a server; it has no scheme: write https://logs:9200 or http://logs:9200"),
    ("url: 'ftp://logs/'", "url: is not the URL of a server; ftp:// is not spoken here: write https:// or http://"),
    ("url: 'https://logs:99999'", "url: is not the URL of a server; write for example https://logs.example.com/ingest"),
    ("url: 'http://u:p@far/'", "url: holds a password"),
    ("url: 'http://far/', tls: {verify: false}", "tls: has no effect with an http:// url"),
    ("url: 'https://far/', tls: {ca: /nope.pem}", "tls.ca: cannot read /nope.pem"),
    ("url: 'https://far/', auth: {bearer_file: /nope}", "auth.bearer_file: cannot read /nope"),
    ("url: 'https://far/', auth: {user: me}", "auth: user and password"),
    ("url: 'https://far/', auth: {bearer: abcd, user: me, password: abcd}", "auth: names more than one way"),
    ("url: 'https://far/', headers: {Content-Length: '3'}", "headers.Content-Length: is set by the sink itself"),
    ("url: 'https://far/', retry_statuses: [200]", "retry_statuses: 200 is no status that a request can fail with"),
    ("url: 'https://far/', retry_statuses: [409], reject_statuses: [409]", "409 stands in retry_statuses too"),
    ("url: 'https://far/', proxy: 'proxy:3128'", "proxy: is not the URL of a proxy"),
    ("url: 'https://far/', write_timeout: 0s", "write_timeout: must be longer than 0s"),
    ("url: 'https://far/', max_body: 10", "max_body: 10 bytes leave no room"),
])
def test_a_wrong_config_names_the_key_and_the_mend(keys, says):
    with pytest.raises(Usage) as caught:
        entry_of(f"type: http, {keys}")
    assert f"sinks.far.{says}" in str(caught.value) or says in str(caught.value)


def test_check_warns_of_a_receiver_that_is_not_verified_and_of_credentials_over_plain_http():
    warn = find("http").warn
    assert warn(entry_of("type: http, url: 'https://far/', tls: {verify: false}").config)[0][0] == "tls.verify"
    assert warn(entry_of("type: http, url: 'http://far/', auth: {bearer: abcdef}").config)[0][0] == "url"
    assert warn(entry_of("type: http, url: 'https://far/', auth: {bearer: abcdef}").config) == []


def test_a_config_with_an_http_sink_is_checked_without_importing_aiohttp():
    """It costs 17 MB: only a sink that sends pays for it."""
    code = ("import sys; from tests.sinks.http_world import entry_of; from shipper.sinks import _http_client; "
            "entry_of('type: http, url: https://far/'); sys.exit('aiohttp' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_idempotency_key_is_equal_for_equal_records_alone():
    sink = find("http").build(entry_of("type: http, url: 'https://far/'").config, SinkContext("far", "n", "/x", Telemetry()))
    whole, again, other = batch([b"a", b"b"]), batch([b"a", b"b"]), batch([b"a", b"b"], first=1)
    keys = [sink.encode(b).headers["Idempotency-Key"] for b in ([whole], [again], [other], [whole.slice(0, 1)])]
    assert keys[0] == keys[1] and len(set(keys)) == 3
    parts = sink.encode([whole.slice(0, 1), whole.slice(1, 2)])
    assert b"".join(parts.pieces) == b"".join(sink.encode([whole]).pieces)


async def test_no_secret_reaches_errors_status_or_dead_letters():
    """P9. The server quotes what it was shown."""
    class Quoting(HttpNdjson):
        keys = HttpNdjson.keys + ", auth: {bearer: top-secret-token}, headers: {X-Tenant: hidden-tenant}"

        def partial(self, seen, records, dead, retry):
            from tests.support.bad_http import Reply

            return Reply(400, f"bad for {seen.headers['authorization']} {seen.headers['x-tenant']}".encode())

    async with BadServer(Quoting()) as server, World(Quoting(), server) as world:
        world.telemetry.keep_secret("hidden-tenant")              # the agent does so for every secret of the config
        world.write(20, poison=[7])
        await world.until_done()
        text = f"{world.letters.records} {world.telemetry.lines} {world.delivery.status()}"
        assert world.dead == {b"m000007"} and "bad for" in text
        assert "top-secret" not in text and "hidden-tenant" not in text
