"""H1 and H3 of the client to API server and kubelet, against a far side that is none. H: kube/client.py."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shipper.kube import client as module
from shipper.kube.beside import Beside
from shipper.kube.client import KubeClient, KubeError
from shipper.kube.objects import Names
from shipper.kube.source import Trouble
from shipper.telemetry import HIDDEN, Telemetry


class Raw:
    """A server that answers every request with the same bytes. heads: what it was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.heads = answer, list[bytes]()

    async def __aenter__(self) -> Raw:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[list[KubeClient]]:
    clients: list[KubeClient] = []
    (tmp_path / "token").write_text("the-token")
    yield clients
    for one in clients:
        await one.close()


def client_of(url: str, tmp_path: Path, made: list[KubeClient]) -> KubeClient:
    made.append(KubeClient(url, Telemetry(), token_file=str(tmp_path / "token"), ca_file="", verify=False, timeout_s=10.0))
    return made[-1]


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def test_h4_a_token_that_the_far_side_quotes_is_not_in_the_status() -> None:
    telemetry = Telemetry()
    telemetry.keep_secret("the-token")
    trouble = Trouble(telemetry, "pods")
    trouble.note(KubeError("401", "https://api/v1/pods: 401: not a token: the-token"))
    assert trouble.status()["last_error"] == f"https://api/v1/pods: 401: not a token: {HIDDEN}"


def test_b1_names_of_namespaces_come_from_log_directories_and_so_many_of_them_are_asked_for(
    tmp_path: Path, made: list[KubeClient], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shipper.kube.beside.MOST_NAMESPACES", 3)
    beside = Beside(client_of("http://127.0.0.1:1", tmp_path, made), "n1", Names(()), Names(("*",)), Telemetry())
    assert [beside.namespace(f"ns{number}") for number in range(50)] == [{}] * 50 and len(beside._things) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_h3_a_redirect_takes_the_token_nowhere(tmp_path: Path, made: list[KubeClient], status: int) -> None:
    async with Raw(OK) as elsewhere, Raw(b"") as server:
        server.answer = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        with pytest.raises(KubeError) as caught:
            await client_of(server.url, tmp_path, made).get("/api/v1/pods")
        assert caught.value.reason == str(status) and b"Bearer the-token" in server.heads[0] and elsewhere.heads == []


async def test_h3_no_proxy_of_the_environment_sees_the_token(
    tmp_path: Path, made: list[KubeClient], monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Raw(OK) as proxy, Raw(OK + b"here") as server:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert await client_of(server.url, tmp_path, made).get("/pods") == b"here" and proxy.heads == []


async def test_h1_an_answer_and_a_line_cost_no_more_than_their_bounds(
    tmp_path: Path, made: list[KubeClient], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ANSWER_BYTES", 1000)
    monkeypatch.setattr(module, "MOST_LINE_BYTES", 1000)
    async with Raw(OK + b"x" * 5000) as server:
        client = client_of(server.url, tmp_path, made)
        with pytest.raises(KubeError, match="answers more than 1000 bytes"):
            await client.get("/pods")
        with pytest.raises(KubeError, match="sends a line over 1000 bytes"):
            async for _ in client.lines("/pods", {}, silent_s=5.0):
                pass
