"""A name server that does not answer. NM: sinks/_names.py."""
from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from shipper.errors import Retryable
from shipper.sinks._names import addresses
from shipper.sinks._syslog_connector import Connector
from tests.support.bad_http import BadServer

from .codecs import HttpNdjson
from .http_world import entry_of
from .test_http_client import client_of

REAL = socket.getaddrinfo


@pytest.fixture
def dead_dns(monkeypatch):
    """Names below `example` hang until the test ends; counts the look-ups under way."""
    released, hanging = threading.Event(), []

    def hangs(host, *args, **more):
        if not str(host).endswith("example"):
            return REAL(host, *args, **more)
        hanging.append(host)
        released.wait(30)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    yield hanging
    released.set()


async def test_names_that_hang_hold_up_no_other_sink_and_their_look_ups_do_not_add_up(dead_dns):
    syslog = Connector(entry_of("type: syslog, address: 'logs.example:6514', connect_timeout: 50ms").config)
    client = client_of("url: 'http://loki.example/', proxy: none, connect_timeout: 50ms, request_timeout: 60ms")

    async def tries(one) -> None:
        for _ in range(5):
            with pytest.raises(Retryable, match=r"resolve|in time|connect"):
                await one()

    await asyncio.gather(*(
        tries(one) for _ in range(8) for one in (
            lambda: syslog.open(lambda connection: None), lambda: client.request("POST", "http://loki.example/", body=[b"x"]))))
    await asyncio.wait_for(asyncio.to_thread(lambda: 1), 15)             # what gzip and dead letters wait for
    assert sorted(dead_dns) == ["logs.example", "loki.example"]
    await client.close()
    async with BadServer(HttpNdjson()) as server:
        good = client_of(f"url: 'http://localhost:{server.port}/ingest', proxy: none")
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "0" * 32}
        line = b'{"time":"t","message":"m000001","id":"a"}\n'
        answer = await good.request("POST", f"http://localhost:{server.port}/ingest", headers=headers, body=[line])
        assert answer.status == 200
        await good.close()


async def test_an_error_and_an_address_come_as_the_c_library_gives_them():
    assert (await addresses("127.0.0.1", 514))[0][4] == ("127.0.0.1", 514)
    with pytest.raises(socket.gaierror):
        await addresses("a name with blanks", 514)
    with pytest.raises(UnicodeError):
        await addresses("a" * 70 + ".example", 514)


def test_a_process_ends_while_a_look_up_hangs():
    code = (
        "import asyncio, socket, time\n"
        "from shipper.sinks._names import addresses\n"
        "socket.getaddrinfo = lambda *a, **k: time.sleep(60)\n"
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(addresses('logs.example', 1), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('gave up')\n"
        "asyncio.run(main())\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=True, text=True)
    assert done.stdout == "gave up\n"
