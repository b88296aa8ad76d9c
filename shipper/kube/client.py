"""HTTPS to the API server or the kubelet. Driver; aiohttp is imported with the first client.

Invariants (tests/kube/test_client.py, test_api.py, test_kubelet.py):
  H1  an answer costs at most MOST_ANSWER_BYTES, a line of a stream MOST_LINE_BYTES; both at most their time
  H2  the token is read from its file for each request, the CA whenever its file changed: both are rotated on disk
  H3  no redirect is followed and no proxy used: a token goes to the configured address alone
  H4  no message holds the token
"""
from __future__ import annotations

import asyncio
import importlib
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import ShipperError
from ..telemetry import Telemetry
from .objects import decode_status

if TYPE_CHECKING:
    import aiohttp

MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_LINE_BYTES = 8 * 1024 * 1024
REQUEST_S = 30.0
CONNECT_S = 10.0


class KubeError(ShipperError):
    """The far side did not give what was asked for. `reason` is a metric label: an HTTP status, or what broke."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class KubeClient:
    """One far side. `timeout_s`: of a whole request."""

    def __init__(
        self, base_url: str, telemetry: Telemetry, *, token_file: str, ca_file: str, verify: bool = True,
        timeout_s: float = REQUEST_S,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._telemetry, self._token_file, self._ca_file, self._verify = telemetry, token_file, ca_file, verify
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._ssl: tuple[float, ssl.SSLContext] | None = None
        self._kept = self._before = ""

    async def prepare(self) -> None:
        """Import aiohttp, on a thread: it takes a quarter of a second, and the first lines shall not wait for it."""
        await asyncio.to_thread(importlib.import_module, "aiohttp")

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """The body of a 200. KubeError for everything else."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S)
        body: bytes = await self._guarded(path, lambda: self._get(path, query or {}, timeout))
        return body

    async def _get(self, path: str, query: Mapping[str, str], timeout: aiohttp.ClientTimeout) -> bytes:
        async with await self._request(path, query, timeout) as answer:
            await self._check(path, answer)
            parts, size = [], 0
            async for part in answer.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > MOST_ANSWER_BYTES:
                    raise KubeError("too_large", f"{self.base_url}{path} answers more than {MOST_ANSWER_BYTES} bytes")
            return b"".join(parts)

    async def lines(self, path: str, query: Mapping[str, str], *, silent_s: float) -> AsyncGenerator[list[bytes], None]:
        """The lines of a stream, as they come, several at once; ends where the far side ends it. KubeError as `get`, and
        where nothing comes for `silent_s`."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silent_s)
        answer = await self._guarded(path, lambda: self._request(path, query, timeout))
        try:
            await self._guarded(path, lambda: self._check(path, answer))
            rest = b""
            while part := await self._guarded(path, answer.content.readany):
                *whole, rest = (rest + part).split(b"\n")
                if len(rest) > MOST_LINE_BYTES:
                    raise KubeError("too_large", f"{self.base_url}{path} sends a line over {MOST_LINE_BYTES} bytes")
                if whole:
                    yield whole
        finally:
            answer.close()

    async def close(self) -> None:
        """End all requests."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # ------------------------------------------------------------ one request

    async def _guarded(self, path: str, step: Callable[[], Any]) -> Any:
        """What `step` gives; what breaks on the way becomes a KubeError."""
        import aiohttp

        try:
            return await step()
        except TimeoutError as error:
            raise KubeError("timeout", f"{self.base_url}{path}: no answer in time") from error
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            raise KubeError("tls", f"{self.base_url}{path}: {error}; is {self._ca_file} its CA?") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise KubeError("connection", f"{self.base_url}{path}: {error or type(error).__name__}") from error

    async def _request(
        self, path: str, query: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        context = self._context()
        return await self._opened().get(
            self.base_url + path, params=dict(query), headers=headers, timeout=timeout, ssl=context, allow_redirects=False)

    async def _check(self, path: str, answer: aiohttp.ClientResponse) -> None:
        if answer.status == 200:
            return
        body = await answer.content.read(4096)
        try:
            said = decode_status(body).message[:200]
        except ValueError:
            said = ""
        answer.close()
        raise KubeError(str(answer.status), f"{self.base_url}{path}: {answer.status}{': ' + said if said else ''}"
                                            f"{_MENDS.get(answer.status, '')}")

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=4, keepalive_timeout=15.0), cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"shipper/{__version__}"}, trust_env=False)
        return self._session

    def _token(self) -> str:
        """H2. A few bytes from a tmpfs, a few times a minute."""
        try:
            with open(self._token_file, encoding="ascii") as file:
                token = file.read(65536).strip()
        except (OSError, ValueError) as error:
            raise KubeError("token", f"the token {self._token_file} cannot be read: {error}") from error
        if token != self._kept:
            self._telemetry.keep_secret(token)            # the last two: one that runs out may still be in an answer
            self._telemetry.forget_secret(self._before)
            self._before, self._kept = self._kept, token
        return token

    def _context(self) -> ssl.SSLContext:
        try:
            changed_s = os.stat(self._ca_file).st_mtime if self._verify else 0.0
            if self._ssl is None or self._ssl[0] != changed_s:
                self._ssl = changed_s, self._new_context()
        except (OSError, ssl.SSLError) as error:
            raise KubeError("ca", f"the CA {self._ca_file} cannot be read: {error}") from error
        return self._ssl[1]

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca_file if self._verify else None)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


_MENDS = {
    401: "; the token is not taken: is it this cluster's?",
    403: "; the service account may not: bind it to the ClusterRole of packaging/kubernetes/base/rbac.yaml, or set "
         "kubernetes.metadata: off",
}


def decoded(decode: Callable[[Any], Any], data: Any, what: str) -> Any:
    """`decode(data)`, a KubeError where that is none."""
    try:
        return decode(data)
    except ValueError as error:
        raise KubeError("malformed", f"not {what}: {error}") from error
