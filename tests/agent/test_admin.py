"""N1 to N7: who may ask what (as a table), and the real sockets with a real client."""
from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from shipper.agent import admin_server
from shipper.agent.admin import PAGE_FILES, Admin, Door, Refusal, Views, allowed, bind_tcp, bind_unix, parse_listen
from shipper.agent.client import ask
from shipper.config.types import Admin as AdminSettings
from shipper.errors import Fatal, Usage
from shipper.telemetry import Telemetry

SOCKET, LOOPBACK = Door("socket"), Door("loopback", "127.0.0.1")
OPEN, EXPOSED = Door("open", "node.example"), Door("open", "node.example", expose_status=True)


def asked(door: Door, path: str, method: str = "GET", **headers: str) -> int:
    given = CIMultiDict({"Host": "127.0.0.1:3903"} | {name.replace("_", "-"): value for name, value in headers.items()})
    refused = allowed(door, method, path, given)
    return 200 if refused is None else refused.status


@pytest.mark.parametrize(("path", "on_socket", "on_loopback", "on_open", "on_exposed"), [
    ("/metrics", 200, 200, 200, 200),
    ("/healthz", 200, 200, 200, 200),
    ("/readyz", 200, 200, 200, 200),
    ("/status", 200, 200, 403, 200),
    ("/", 200, 200, 403, 200),
    ("/page.json", 200, 200, 403, 200),
    ("/page.js", 200, 200, 403, 200),
    ("/page.html", 404, 404, 404, 404),
    ("/audit", 200, 403, 403, 403),
    ("/etc/passwd", 404, 404, 404, 404),
    ("/status/", 404, 404, 404, 404),
])
def test_each_door_serves_its_pages(path: str, on_socket: int, on_loopback: int, on_open: int, on_exposed: int) -> None:
    assert [asked(door, path) for door in (SOCKET, LOOPBACK, OPEN, EXPOSED)] == [on_socket, on_loopback, on_open, on_exposed]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"])
def test_only_reading_is_possible(method: str) -> None:
    assert asked(LOOPBACK, "/status", method) == asked(SOCKET, "/audit", method) == 405


@pytest.mark.parametrize("host", ["127.0.0.1:3903", "127.0.0.1", "localhost:3903", "LOCALHOST", "[::1]:39", "[::1]", "10.0.0.7"])
def test_an_address_or_localhost_is_our_host(host: str) -> None:
    assert asked(LOOPBACK, "/status", Host=host) == 200


@pytest.mark.parametrize("host", ["evil.example:3903", "evil.example", "127.0.0.1.evil.example", "localhost.evil", "", ":3903"])
def test_a_name_that_was_rebound_to_us_is_refused(host: str) -> None:
    assert asked(LOOPBACK, "/status", Host=host) == asked(LOOPBACK, "/", Host=host) == 403
    assert asked(LOOPBACK, "/healthz", Host=host) == 200


def test_the_configured_name_is_our_host() -> None:
    assert asked(EXPOSED, "/status", Host="node.example:3903") == 200
    assert asked(EXPOSED, "/status", Host="other.example:3903") == 403


@pytest.mark.parametrize(("headers", "status"), [
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:8080"}, 403),
    ({"Origin": "http://127.0.0.1:3903"}, 200),
    ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
    ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"}, 403),
    ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),       # a link that was clicked
    ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}, 200),
    ({"Sec_Fetch_Site": "none"}, 200),
])
def test_a_page_of_another_site_cannot_read_the_status(headers: dict[str, str], status: int) -> None:
    assert asked(LOOPBACK, "/status", **headers) == status


def test_a_refusal_names_the_mend() -> None:
    assert allowed(OPEN, "GET", "/status", {}) == Refusal(
        403, "/status is not served on this address; set admin.expose_status: true, or run `shipper status`")


@pytest.mark.parametrize(("listen", "want"), [
    ("127.0.0.1:3903", ("127.0.0.1", 3903)), ("[::1]:0", ("::1", 0)), (":3903", ("", 3903)), ("localhost:1", ("localhost", 1)),
])
def test_listen_is_address_and_port(listen: str, want: tuple[str, int]) -> None:
    assert parse_listen(listen) == want


@pytest.mark.parametrize("listen", ["3903", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "::1:3903", "a:65536", ""])
def test_anything_else_is_refused_with_an_example(listen: str) -> None:
    with pytest.raises(Usage, match=r"is not ADDRESS:PORT; write for example 127\.0\.0\.1:3903 or"):
        parse_listen(listen)


# ---------------------------------------------------------------- the sockets

@pytest.fixture
def state_dir(tmp_path: Path) -> str:
    deep = tmp_path / ("a" * 60) / ("b" * 60)                   # longer than the 107 bytes of sun_path
    deep.mkdir(parents=True)
    return str(deep)


def test_a_port_in_use_is_an_error_at_start_with_the_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(Fatal) as caught:
            bind_tcp(listen)
    assert str(caught.value) == (f"admin.listen: cannot listen on {listen}: Address already in use; stop what uses it, "
                                 "or set admin.listen to a free address (or to null)")


def test_the_socket_is_for_its_owner_alone_and_replaces_a_stale_one(state_dir: str) -> None:
    bind_unix(state_dir).close()                                # left behind, as by kill -9
    before = os.umask(0)
    try:
        with bind_unix(state_dir):
            assert stat.S_IMODE(os.stat(f"{state_dir}/admin.sock").st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "admin.sock").mkdir()
    with pytest.raises(Fatal, match="state_dir must be writable"):
        bind_unix(str(tmp_path))


class World:
    """An admin whose views can be set."""

    def __init__(self) -> None:
        self.telemetry, self.problems, self.ready = Telemetry(), list[str](), True
        self.status: dict[str, object] = {
            "running": True, "version": "1", "node": "n<1>", "pid": 1, "uptime_s": 1, "healthy": True, "ready": True,
            "sinks": {}, "buffer": {}, "files": [],
        }

    def views(self) -> Views:
        return Views(
            metrics=lambda: b"shipper_x 1\n", problems=lambda: self.problems, ready=lambda: self.ready,
            status=lambda: self.status, audit=lambda: {"files": []}, page=self.page,
        )

    @staticmethod
    def page(asked: Mapping[str, str]) -> Mapping[str, object]:
        if "state" in asked:
            raise Usage("state: one of reading")
        return {"asked": dict(asked)}


@asynccontextmanager
async def serving(world: World, state_dir: str, **settings: object) -> AsyncIterator[str]:
    admin = Admin(state_dir, AdminSettings(**({"listen": "127.0.0.1:0"} | settings)), world.telemetry)  # type: ignore[arg-type]
    admin.serve(world.views())
    assert admin.address is not None
    try:
        yield f"http://127.0.0.1:{admin.address[1]}"
    finally:
        await admin.close()


async def get(url: str, **settings: object) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **settings) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.text()


async def test_every_page_answers_over_tcp(state_dir: str) -> None:
    async with serving(World(), state_dir) as url:
        assert await get(f"{url}/healthz") == (200, "ok\n")
        assert await get(f"{url}/readyz") == (200, "ok\n")
        assert await get(f"{url}/metrics") == (200, "shipper_x 1\n")
        status, body = await get(f"{url}/status")
        assert status == 200 and body.startswith('{"running":true,')
        assert (await get(f"{url}/"))[1].startswith("shipper 1 on n<1>, pid 1,")             # as text, for curl
        status, body = await get(f"{url}/", headers={"Accept": "text/html,*/*;q=0.8"})
        assert status == 200 and body.startswith("<!doctype html>")
        assert (await get(f"{url}/audit"))[0] == 403
        assert (await get(f"{url}/status", headers={"Host": "evil.example"}))[0] == 403


async def test_the_page_is_made_of_files_that_may_load_nothing_from_outside(state_dir: str) -> None:
    async with serving(World(), state_dir) as url, aiohttp.ClientSession() as session:
        for path, kind in {"/": "text/html", **PAGE_FILES}.items():
            async with session.get(f"{url}{path}", headers={"Accept": "text/html"}) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                policy = dict(each.strip().split(" ", 1) for each in answer.headers["Content-Security-Policy"].split(";"))
                assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
                assert {policy[f"{what}-src"] for what in ("script", "style", "img", "connect")} == {"'self'"}


async def test_what_the_page_asks_for_and_makes_no_sense_is_400_with_the_mend(state_dir: str) -> None:
    async with serving(World(), state_dir) as url:
        assert await get(f"{url}/page.json?q=a&limit=7") == (200, '{"asked":{"q":"a","limit":"7"}}\n')
        assert await get(f"{url}/page.json?state=rotten") == (400, "state: one of reading\n")
        assert (await get(f"{url}/page.json", headers={"Host": "evil.example"}))[0] == 403
        assert (await get(f"{url}/page.json", headers={"Origin": "http://evil.example"}))[0] == 403


async def test_stuck_and_not_ready_are_503_with_the_reason(state_dir: str) -> None:
    world = World()
    async with serving(world, state_dir) as url:
        world.problems, world.ready = ["loop silent for 31 s"], False
        assert await get(f"{url}/healthz") == (503, "loop silent for 31 s\n")
        assert await get(f"{url}/readyz") == (503, "the first scan of the log files is not done yet\n")


async def test_a_command_asks_over_the_unix_socket(state_dir: str) -> None:
    world = World()
    async with serving(world, state_dir):
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, ask, state_dir, "/status") == world.status
        assert await loop.run_in_executor(None, ask, state_dir, "/audit") == {"files": []}
        with pytest.raises(Fatal, match="answered 404 to /nope: no such page"):
            await loop.run_in_executor(None, ask, state_dir, "/nope")
    assert not os.path.exists(f"{state_dir}/admin.sock")
    assert ask(state_dir, "/status") is None


async def test_with_listen_null_only_the_socket_answers(state_dir: str) -> None:
    admin = Admin(state_dir, AdminSettings(listen=None), Telemetry())
    admin.serve(World().views())
    try:
        assert admin.address is None
        assert await asyncio.get_running_loop().run_in_executor(None, ask, state_dir, "/audit") == {"files": []}
    finally:
        await admin.close()


async def test_the_first_connections_are_all_answered_however_many_wait(state_dir: str) -> None:
    async with serving(World(), state_dir) as url:
        answers = await asyncio.gather(*(get(f"{url}/healthz") for _ in range(20)))
    assert answers == [(200, "ok\n")] * 20


async def test_an_error_in_a_view_is_500_without_its_text(state_dir: str) -> None:
    world = World()
    del world.status["sinks"]
    async with serving(world, state_dir) as url:
        assert await get(f"{url}/") == (500, "failed: KeyError; see the agent's log\n")
    assert world.telemetry.value("shipper_errors_total", "admin") == 1


async def test_clients_that_say_nothing_do_not_keep_a_probe_out(state_dir: str, silent_limit: int) -> None:
    async with serving(World(), state_dir) as url:
        assert (await get(f"{url}/healthz"))[0] == 200
        port = int(url.rsplit(":", 1)[1])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(silent_limit * 2)]
        assert await asyncio.wait_for(silent[0][0].read(), 5) == b""        # N6: the oldest gave way
        assert await get(f"{url}/healthz") == (200, "ok\n")
        for _, connection in silent:
            connection.close()


@pytest.fixture
def silent_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(admin_server, "CONNECTIONS", 5)
    yield 5


async def test_closing_before_anybody_asked_leaves_nothing(state_dir: str) -> None:
    async with serving(World(), state_dir) as url:
        port = int(url.rsplit(":", 1)[1])
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    assert os.listdir(state_dir) == []


@pytest.mark.parametrize("trouble", [OSError(24, "Too many open files"), AttributeError("a package that is half there")])
async def test_a_server_that_cannot_be_had_at_the_first_question_is_said_and_the_next_one_is_answered(
    state_dir: str, monkeypatch: pytest.MonkeyPatch, trouble: Exception,
) -> None:
    tried: list[str] = []

    def full_once(name: str) -> object:
        tried.append(name)
        if len(tried) == 1:
            raise trouble
        return admin_server

    monkeypatch.setattr("shipper.agent.admin.import_module", full_once)
    monkeypatch.setattr("shipper.agent.admin.AGAIN_S", 0.0)
    world = World()
    async with serving(world, state_dir) as url:
        assert await get(f"{url}/healthz") == (200, "ok\n")
    assert [event for _, event, _ in world.telemetry.lines] == ["admin_not_served"] and len(tried) == 2
