"""The admin port and socket: who may ask what, and the sockets themselves. The HTTP server is admin_server.py.

    path                   admin.sock   loopback   other address
    /metrics               yes          yes        yes
    /healthz  /readyz      yes          yes        yes
    /  /status  /page.*    yes          yes *      with admin.expose_status
    /audit                 yes          no         no
    POST /dead-letters     yes          no         no         (orders: dead_letter_desk.py)
      * Host must be an IP address, localhost or the configured name, and the request not from another site's page

Invariants (tests/agent/test_admin.py):
  N1  a port that cannot be had is an error at start, with the mend; the sockets are bound by us, before the pipeline
  N2  aiohttp (0.2 s, 18 MB) is imported when the first connection comes in, not before; that connection waits in the
      listen queue meanwhile
  N3  admin.sock is 0600 from its first moment; one left by a killed agent is replaced (the caller holds the state lock)
  N4  a web page in an operator's browser cannot read /status, neither by DNS rebinding nor across origins
  N5  record contents are never served
Plane: `allowed` and `parse_listen` are pure; Admin is a driver.
"""
from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from ..config.types import Admin as AdminSettings
from ..errors import Fatal, Usage
from ..telemetry import Telemetry
from . import SOCKET_NAME

OPEN_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
PAGE_FILES = {
    "/page.css": "text/css", "/page.js": "text/javascript", "/page_parts.js": "text/javascript", "/page.svg": "image/svg+xml",
}
"""What the page at / is made of, beside page.html: files in page/."""
STATUS_PATHS = frozenset({"/", "/status", "/page.json", *PAGE_FILES})
SOCKET_PATHS = frozenset({"/audit"})
ORDER_PATHS = frozenset({"/dead-letters"})
BACKLOG = 64
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Views:
    """What is served. `problems`: [] means healthy. `order`: carries out what is POSTed to the socket. `page`: what
    /page.json answers to these parameters; Usage where they make no sense."""

    metrics: Callable[[], bytes]
    problems: Callable[[], list[str]]
    ready: Callable[[], bool]
    status: Callable[[], Mapping[str, Any]]
    audit: Callable[[], Mapping[str, Any]]
    order: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]] | None = None
    page: Callable[[Mapping[str, str]], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Where a request came in. `kind`: "socket" | "loopback" | "open"; `host`: the configured name or address."""

    kind: str
    host: str = ""
    expose_status: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    why: str


def allowed(door: Door, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
    """None: serve it. `headers` is asked in any case (a case-insensitive mapping). See the table above."""
    if path in ORDER_PATHS and door.kind == "socket":
        return None if method == "POST" else Refusal(405, "only POST")
    if path not in OPEN_PATHS | STATUS_PATHS | SOCKET_PATHS:
        return Refusal(404, "no such page; there are /metrics /healthz /readyz /status and /")
    if method not in ("GET", "HEAD"):
        return Refusal(405, "only GET and HEAD")
    if door.kind == "socket" or path in OPEN_PATHS:
        return None
    if path in SOCKET_PATHS:
        return Refusal(403, f"{path} is answered on state_dir/{SOCKET_NAME} only; run `shipper audit`")
    if door.kind == "open" and not door.expose_status:
        return Refusal(403, f"{path} is not served on this address; set admin.expose_status: true, or run `shipper status`")
    if not _own_host(headers.get("Host", ""), door.host):
        return Refusal(403, "the Host header names no address of this agent; ask by IP address or as localhost")
    if _other_site(headers):
        return Refusal(403, "requests from other sites' pages are refused")
    return None


def _own_host(header: str, configured: str) -> bool:
    """A name that an attacker's DNS can point at us (rebinding) is not ours; an address is."""
    name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    name = name.strip("[]").lower().rstrip(".")
    if name in ("localhost", configured.lower()) and name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _other_site(headers: Mapping[str, str]) -> bool:
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{headers.get('Host', '')}":
        return True
    return headers.get("Sec-Fetch-Site", "none") in ("cross-site", "same-site") and headers.get("Sec-Fetch-Mode") != "navigate"


def parse_listen(listen: str) -> tuple[str, int]:
    """`127.0.0.1:3903`, `[::1]:3903`, `:3903` (all addresses) as host and port; Usage otherwise."""
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in host and not listen.startswith("[")):
        raise Usage(f"admin.listen: {listen!r} is not ADDRESS:PORT; write for example 127.0.0.1:3903 or [::1]:3903")
    return host, int(port)


def door_of(host: str, bound: str, settings: AdminSettings) -> Door:
    """Loopback is decided on the address that was bound, not on its name."""
    kind = "loopback" if ipaddress.ip_address(bound).is_loopback else "open"
    return Door(kind, host, settings.expose_status)


def bind_tcp(listen: str) -> socket.socket:
    """A bound, non-blocking socket (N1). Fatal where the address cannot be had."""
    host, port = parse_listen(listen)
    try:
        found = socket.getaddrinfo(host or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise Fatal(f"admin.listen: {listen}: {error.strerror}; give an address of this machine") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not host:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise Fatal(f"admin.listen: cannot listen on {listen}: {error.strerror}; stop what uses it, or set admin.listen "
                    "to a free address (or to null)") from None
    return made


def bind_unix(state_dir: str) -> socket.socket:
    """admin.sock in `state_dir`, 0600 (N3). Bound by way of a descriptor: sun_path holds 107 bytes only."""
    directory_fd = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    umask = os.umask(0o177)
    try:
        _unlink_if_there(SOCKET_NAME, directory_fd)
        made.bind(f"/proc/self/fd/{directory_fd}/{SOCKET_NAME}")
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise Fatal(f"cannot listen on {state_dir}/{SOCKET_NAME}: {error.strerror}; state_dir must be writable") from None
    finally:
        os.umask(umask)
        os.close(directory_fd)
    return made


def _unlink_if_there(name: str, directory_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=directory_fd)
    except FileNotFoundError:
        return


class Server(Protocol):
    """What admin_server.py gives."""

    async def add(self, listening: socket.socket, door: Door) -> None: ...

    async def close(self) -> None: ...


class Admin:
    """Listening sockets that wake an HTTP server at their first connection (N2)."""

    def __init__(self, state_dir: str, settings: AdminSettings, telemetry: Telemetry) -> None:
        """Binds; raises Fatal or Usage and leaves nothing open (N1)."""
        self._state_dir, self._telemetry = state_dir, telemetry
        self._views: Views | None = None
        self._waking: asyncio.Task[None] | None = None
        self._server: Server | None = None
        self.address: tuple[str, int] | None = None
        self._sockets: list[tuple[socket.socket, Door]] = []
        if settings.listen is not None:
            listening = bind_tcp(settings.listen)
            self.address = listening.getsockname()[:2]
            self._sockets.append((listening, door_of(parse_listen(settings.listen)[0], self.address[0], settings)))
        try:
            self._sockets.append((bind_unix(state_dir), Door("socket")))
        except Fatal:
            self._close_sockets()
            raise

    @property
    def shows_page(self) -> bool:
        """May a browser see the page at /? Not over the socket, nor where `allowed` says no."""
        return any(door.kind == "loopback" or door.expose_status for _, door in self._sockets)

    def serve(self, views: Views) -> None:
        """Answer from now on. Costs nothing until somebody asks."""
        self._views = views
        loop = asyncio.get_running_loop()
        for listening, _ in self._sockets:
            loop.add_reader(listening, self._on_first_connection)

    def _on_first_connection(self) -> None:
        self._stop_waiting()
        self._waking = asyncio.create_task(self._wake(), name="admin")

    async def _wake(self) -> None:
        assert self._views is not None
        loop = asyncio.get_running_loop()
        # On a thread: other tasks get their turns while aiohttp is imported.
        try:
            module = await loop.run_in_executor(None, import_module, f"{__package__}.admin_server")
        except Exception as error:  # noqa: BLE001 - no descriptor left, a damaged package: whoever knocks next is answered, else
            # a probe that is never answered would have the agent killed without a word
            self._telemetry.say("error", "admin_not_served", why=f"{type(error).__name__}: {error}")
            await asyncio.sleep(AGAIN_S)
            self._waking = None
            self.serve(self._views)
            return
        server: Server = module.AdminServer(self._views, self._telemetry)
        self._server = server
        for listening, door in self._sockets:
            await server.add(listening, door)

    def _stop_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        for listening, _ in self._sockets:
            loop.remove_reader(listening)

    async def close(self) -> None:
        """End the server, close the sockets, remove admin.sock. Call it while the state lock is held."""
        if self._waking is None:
            self._stop_waiting()
        else:
            self._waking.cancel()
            await asyncio.wait([self._waking])
        if self._server is not None:
            await self._server.close()
        self._close_sockets()
        directory_fd = os.open(self._state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _unlink_if_there(SOCKET_NAME, directory_fd)
        finally:
            os.close(directory_fd)

    def _close_sockets(self) -> None:
        for listening, _ in self._sockets:
            listening.close()
