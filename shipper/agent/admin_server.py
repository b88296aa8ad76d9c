"""The HTTP server behind the admin sockets, on aiohttp. Imported at the first connection (admin.py, N2).

Invariants (tests/agent/test_admin.py):
  N6  one request per connection; at most CONNECTIONS are open, none longer than CONNECTION_S: a client that opens a
      hundred and says nothing cannot keep a probe from being answered; the oldest connection gives way
  N7  an error in a view is answered with 500 and its type, said and counted; never with a traceback. What is asked too early
      is answered with 503 and what to do, and is no error
Plane: driver.
"""
from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources
from typing import Any

import orjson
from aiohttp import web

from .. import exact_json
from ..errors import ShipperError, Usage
from ..telemetry import Telemetry
from .admin import PAGE_FILES, Door, Views, allowed
from .logging import describe
from .text import json_default

CONNECTIONS = 64
CONNECTION_S = 30.0
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class AdminServer:
    """One aiohttp server per door, so that a request knows which way it came in."""

    def __init__(self, views: Views, telemetry: Telemetry) -> None:
        self._views, self._telemetry = views, telemetry
        self._pages: dict[str, Callable[[web.BaseRequest], web.Response]] = {
            "/": self._index, "/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz,
            "/status": lambda _: _json(self._views.status()), "/audit": lambda _: _json(self._views.audit()),
            "/page.json": self._page_json, **dict.fromkeys(PAGE_FILES, _page_file),
        }
        self._servers: list[tuple[asyncio.Server, web.Server]] = []

    async def add(self, listening: socket.socket, door: Door) -> None:
        """Serve on a socket that is bound and listening."""
        server = web.Server(self._handler(door), access_log=None)
        loop = asyncio.get_running_loop()
        make = _Limited(server, loop)
        if listening.family == socket.AF_UNIX:
            serving = await loop.create_unix_server(make, sock=listening)
        else:
            serving = await loop.create_server(make, sock=listening)
        self._servers.append((serving, server))

    async def close(self) -> None:
        for serving, server in self._servers:
            serving.close()
            await server.shutdown(0.5)

    def _handler(self, door: Door) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            refused = allowed(door, request.method, request.path, request.headers)
            if refused is not None:
                answer = _text(f"{refused.why}\n", refused.status)
            elif request.method == "POST":
                answer = await self._order(request)
            else:
                answer = self._page(request)
            answer.force_close()
            return answer

        return handle

    def _page(self, request: web.BaseRequest) -> web.Response:
        try:
            return self._pages[request.path](request)
        except ShipperError as error:                    # Usage: the question is wrong; else it comes too early
            return _text(f"{error}\n", 400 if isinstance(error, Usage) else 503)
        except Exception as error:  # noqa: BLE001 - N7
            self._telemetry.count("shipper_errors_total", 1, "admin")
            self._telemetry.say("error", "admin_error", about=request.path, **describe(error))
            return _text(f"failed: {type(error).__name__}; see the agent's log\n", 500)

    async def _order(self, request: web.BaseRequest) -> web.Response:
        """What cannot be understood is answered with 400, and anything unexpected as N7 says."""
        try:
            assert self._views.order is not None
            return _json(await self._views.order(orjson.loads(await request.read())))
        except (ShipperError, orjson.JSONDecodeError, web.HTTPException) as error:
            return _text(f"{error}\n", 400)
        except Exception as error:  # noqa: BLE001 - N7
            self._telemetry.count("shipper_errors_total", 1, "admin")
            self._telemetry.say("error", "admin_error", about=request.path, **describe(error))
            return _text(f"failed: {type(error).__name__}; see the agent's log\n", 500)

    def _metrics(self, _: web.BaseRequest) -> web.Response:
        return web.Response(body=self._views.metrics(), headers={
            **HEADERS, "Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def _healthz(self, _: web.BaseRequest) -> web.Response:
        problems = self._views.problems()
        return _text("".join(f"{line}\n" for line in problems) or "ok\n", 503 if problems else 200)

    def _readyz(self, _: web.BaseRequest) -> web.Response:
        ready = self._views.ready()
        return _text("ok\n" if ready else "the first scan of the log files is not done yet\n", 200 if ready else 503)

    def _index(self, request: web.BaseRequest) -> web.Response:
        """The page for a browser; for curl the same as `shipper status`."""
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(body=_read("page.html"), content_type="text/html", charset="utf-8", headers=HEADERS)
        from .status import human

        return _text(f"{human(self._views.status())}\n")

    def _page_json(self, request: web.BaseRequest) -> web.Response:
        assert self._views.page is not None
        return _json(self._views.page(request.query))


class _Limited:
    """A protocol factory that keeps N6."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop = server, loop

    def __call__(self) -> asyncio.BaseProtocol:
        for oldest in self._server.connections[: max(0, len(self._server.connections) - CONNECTIONS + 1)]:
            oldest.force_close()
        made = self._server()
        self._loop.call_later(CONNECTION_S, made.force_close)
        return made


@cache
def _read(name: str) -> bytes:
    """A file of the package's page/ (20 KB together)."""
    return resources.files(__package__).joinpath("page", name).read_bytes()


def _page_file(request: web.BaseRequest) -> web.Response:
    kind, charset = PAGE_FILES[request.path], "utf-8"
    return web.Response(body=_read(request.path.removeprefix("/")), content_type=kind, charset=charset, headers=HEADERS)


def _text(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status, headers=HEADERS)


def _json(value: Any) -> web.Response:
    body = exact_json.dumps(value, default=json_default, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, content_type="application/json", headers=HEADERS)
