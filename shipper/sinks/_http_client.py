"""The HTTP client that all sinks share: one request, one bounded answer. Driver; aiohttp is imported at the first request.

    request ─► pool (keep-alive; a new one each max_connection_age) ─► Answer, or Retryable saying what broke

Invariants (tests/sinks/test_http_client.py):
  HC1  an answer costs at most its bound in memory and request_timeout in time, whatever the far side sends, and how slowly
  HC2  nothing is tried again here, and no redirect is followed
  HC3  a request that is cancelled or fails leaves no connection that another one could meet with half an answer on it
  HC4  a pool past its age takes no new request, and is closed when its last one ends: names are resolved and certificates
       read again; so they are after a handshake that failed
  HC5  no message holds a secret, a query string or a user of a URL
"""
from __future__ import annotations

import asyncio
import os
import ssl
import time
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import __version__
from ..errors import Fatal, Retryable, ShipperError
from ..telemetry import Telemetry
from ._http_auth import ConfigCredentials, Credentials
from ._http_config import HttpConfig
from ._http_pieces import Later, as_payload
from ._http_status import Answer
from ._names import resolver
from ._tls import make_context, reason

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER_BYTES = 64 * 1024
KEEP_ALIVE_S = 15.0
DNS_TTL_S = 30
IDLE_BODY_S = 2.0           # how long the rest of an answer that nobody needs may take, so that the connection can be kept


@dataclass(slots=True, eq=False)
class Pool:
    """A session and what is known of it. Closed when it is old and nobody uses it."""

    session: aiohttp.ClientSession
    born_s: float
    users: int = 0
    old: bool = False


class HttpClient:
    """One per sink. `credentials`: instead of what `config.auth` says; `now_s`: for tests."""

    def __init__(
        self, config: HttpConfig, name: str, telemetry: Telemetry, credentials: Credentials | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._name, self._telemetry, self._now_s = config, name, telemetry, now_s
        self._credentials = credentials or ConfigCredentials(config.auth, telemetry)
        self._pool: Pool | None = None
        self._closed = False
        self.requests = self.last_status = 0
        for secret in (config.auth.bearer, config.auth.password):
            telemetry.keep_secret(secret or "")

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Sequence[bytes | Later] = (),
        max_answer_bytes: int = MAX_ANSWER_BYTES, needs_body: bool = True,
    ) -> Answer:
        """Send one request. Raises Retryable for everything that is no answer, and what the credentials raise.

        needs_body  False: a 2xx is enough; what of its body is not there within IDLE_BODY_S is left unread
        """
        where = place(url)
        all_headers = {**(headers or {}), **self._config.headers, **await self._credentials.headers()}
        pool = self._take()
        self.requests += 1
        try:
            async with asyncio.timeout(self._config.request_timeout):
                answer = await self._exchange(pool.session, method, url, all_headers, body, max_answer_bytes, needs_body)
        except ShipperError:
            raise
        except Exception as error:
            if isinstance(_inner(error), ssl.SSLError):
                self._retire(pool)              # its files may have been renewed meanwhile
            raise self._trouble(error, where) from error
        finally:
            await self._give_back(pool)
        self.last_status = answer.status
        if answer.status in (401, 403):
            self._credentials.refused()
        return answer

    async def close(self) -> None:
        """End all connections, also those of requests under way."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.session.close()

    def status(self) -> dict[str, Any]:
        """For /status."""
        found: dict[str, Any] = {"requests": self.requests, "last_status": self.last_status}
        if not self._config.tls.verify:
            found["tls"] = "not verified: anyone on the way can read and fake the receiver"
        return found

    # ------------------------------------------------------------ one exchange

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, url: str, headers: Mapping[str, str], body: Sequence[bytes | Later],
        max_answer_bytes: int, needs_body: bool,
    ) -> Answer:
        data = as_payload(body, self._config.write_timeout) if body or method in ("POST", "PUT", "PATCH") else None
        server_name = self._config.tls.server_name if url.startswith("https:") else None
        response = await session.request(
            method, _plain_url(url), headers=headers, data=data, allow_redirects=False, proxy=self._proxy(url),
            server_hostname=server_name,
        )
        try:
            if needs_body or not 200 <= response.status < 300:
                content, whole = await _read(response, max_answer_bytes)
            else:
                content, whole = await _skim(response, max_answer_bytes)
        except BaseException:
            response.close()
            raise
        if whole:
            response.release()
        else:
            response.close()                # HC1, HC3
        if not whole and needs_body and 200 <= response.status < 300 and len(content) < max_answer_bytes:
            raise Retryable(f"{place(url)} answered {response.status} and broke off; sent again, as nobody knows what was taken")
        content, fits = _inflated(content, response.headers, max_answer_bytes)
        return Answer(response.status, response.headers, content, whole and fits)

    def _proxy(self, url: str) -> str | None:
        """The config's, else the environment's (as curl and every other program on the node takes it)."""
        if self._config.proxy is not None:
            return None if self._config.proxy == "none" else self._config.proxy
        parts = urlsplit(url)
        proxies: dict[str, str] = urllib.request.getproxies_environment()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if not proxy or urllib.request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined]
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    # ------------------------------------------------------------ pools (HC4)

    def _take(self) -> Pool:
        if self._closed:
            raise Retryable("this sink is being closed")
        pool = self._pool
        if pool is not None and self._now_s() - pool.born_s >= self._config.max_connection_age:
            self._retire(pool)
            pool = None
        if pool is None:
            pool = self._pool = Pool(self._open(), self._now_s())
        pool.users += 1
        return pool

    def _retire(self, pool: Pool) -> None:
        """No new request for it."""
        pool.old = True
        if self._pool is pool:
            self._pool = None

    async def _give_back(self, pool: Pool) -> None:
        pool.users -= 1
        if (pool.old or self._closed) and not pool.users:
            await pool.session.close()
        elif self._pool is pool and self._now_s() - pool.born_s >= self._config.max_connection_age and not pool.users:
            self._pool = None
            await pool.session.close()

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        tls: ssl.SSLContext | bool = True
        if self._config.url.startswith("https:"):
            try:
                tls = make_context(self._config.tls)
            except (ssl.SSLError, OSError, ValueError) as error:
                # Half of a renewal, perhaps: `check` has seen them whole.
                raise Retryable(f"the TLS files cannot be used: {reason(error)}; mend tls.ca, tls.cert or tls.key") from error
            if not self._config.tls.verify:
                self._telemetry.say("warning", "tls_not_verified", about=self._name,
                                    why="anyone on the way can read and fake the receiver; set tls.ca and verify: true")
        connector = aiohttp.TCPConnector(
            ssl=tls, limit=0, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=DNS_TTL_S, enable_cleanup_closed=False,
            resolver=resolver(),
        )
        self._telemetry.count("shipper_sink_connections_total", 1, self._name)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_timeout),
            skip_auto_headers=("Content-Type",),
            headers={"User-Agent": f"shipper/{__version__}", "Accept-Encoding": "identity"},
        )
        # HC2: else aiohttp sends a PUT on a reused connection that was reset once more, though the far side may have kept half
        # of it (a piece of an upload). There is no public switch (3.14).
        session._retry_connection = False
        return session

    # ------------------------------------------------------------ what broke (HC5)

    def _trouble(self, error: Exception, where: str) -> ShipperError:
        import aiohttp

        inner = _inner(error)
        if isinstance(error, aiohttp.InvalidURL):
            return Fatal(f"{where} is not a URL that can be used; mend it")
        if isinstance(inner, ssl.SSLError):
            return Retryable(f"{where}: TLS failed ({reason(inner)}); check tls.ca, tls.server_name and both certificates")
        if isinstance(error, TimeoutError):
            waited = _waited(error, self._config)
            tls = " and speaks TLS" if where.startswith("https:") and waited.startswith("connect") else ""
            return Retryable(f"{where} did not answer in time ({waited}); see that it is up{tls}, or raise the time-out")
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return Retryable(f"{where}: the proxy answered {error.status}; check `proxy`")
        if isinstance(error, aiohttp.ClientConnectorError):
            why = inner.strerror or type(inner).__name__
            return Retryable(f"cannot connect to {where}: {why}; check address, name and network")
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return Retryable(f"{where} closed the connection without an answer{_perhaps_tls(where)}")
        if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
            return Retryable(f"{where} does not speak HTTP as it should ({type(error).__name__}); check its url")
        if isinstance(error, (OSError, aiohttp.ClientError)):
            number = getattr(inner, "errno", None)          # the text that aiohttp gives has the whole URL in it, query and all
            why = os.strerror(number) if number and number > 0 else type(inner).__name__
            return Retryable(f"{where}: {why}{_perhaps_tls(where)}")
        return Retryable(f"{where}: unexpected {type(error).__name__}")


def _perhaps_tls(where: str) -> str:
    return "; if it does so each time, it may want https" if where.startswith("http:") else ""


def place(url: str) -> str:
    """scheme://host:port/path of a URL: what may be said of it (HC5)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _inner(error: Exception) -> Any:
    """What aiohttp has wrapped."""
    return getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error


def _plain_url(url: str) -> Any:
    from yarl import URL

    return URL(url, encoded=True)


def _waited(error: Exception, config: HttpConfig) -> str:
    text = str(error)
    if "onnect" in text:
        return f"connect_timeout {config.connect_timeout:g} s"
    return f"write_timeout {config.write_timeout:g} s" if "taken" in text else f"request_timeout {config.request_timeout:g} s"


async def _read(response: Any, max_bytes: int) -> tuple[bytes, bool]:
    """At most `max_bytes` of the body, and whether that is all of it. What breaks off is not whole."""
    import aiohttp

    parts: list[bytes] = []
    size = 0
    try:
        while size <= max_bytes:
            part = await response.content.read(max_bytes + 1 - size)
            if not part:
                return b"".join(parts), True
            parts.append(part)
            size += len(part)
    except (aiohttp.ClientError, OSError):
        return b"".join(parts)[:max_bytes], False
    return b"".join(parts)[:max_bytes], False


async def _skim(response: Any, max_bytes: int) -> tuple[bytes, bool]:
    """The body of an answer whose status says all: read only so that the connection can be used again."""
    try:
        async with asyncio.timeout(IDLE_BODY_S):
            return await _read(response, max_bytes)
    except TimeoutError:
        return b"", False


def _inflated(content: bytes, headers: Mapping[str, str], max_bytes: int) -> tuple[bytes, bool]:
    """We ask for no compression; a server that compresses all the same is understood, up to the bound; and whether it fits."""
    encoding = headers.get("Content-Encoding", "").lower()
    if encoding not in ("gzip", "deflate"):
        return content, True
    try:
        made = zlib.decompressobj(47)
        return made.decompress(content, max_bytes), not made.unconsumed_tail
    except zlib.error:
        return content, True
