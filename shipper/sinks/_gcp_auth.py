"""Google's tokens for sinks over HTTP: an OAuth 2.0 access token per scope, by gcloud-aio-auth, which is imported at the first
request with a credentials file (the metadata server needs none of it).

What a sink does (config inherits from _gcp_config.GcpConfig; service is a key of _gcp_config.SERVICES):

    class PubsubSink(HttpSink):
        def __init__(self, config, context):
            super().__init__(http_config(config, "pubsub"), context, credentials(config, "pubsub", context.telemetry))
            self._identity = Identity(config)             # _gcp_identity.py: project, cluster name, location, instance id
        async def start(self, state):
            self._project = await self._identity.project() # Retryable saying which key to set where it cannot be had
        url = property(lambda self: f"{endpoint(self.config, 'pubsub')}/v1/projects/{self._project}/topics/...:publish")
        async def close(self): await self.credentials.close(); await super().close()

    SINK = SinkSpec(..., check=lambda c: problems(c, "pubsub"), warn=lambda c: warnings(c, "pubsub"))

Invariants (tests/sinks/test_gcp_auth.py):
  GA1  a token is renewed before it expires: beside the requests while the old one is good, which goes on being used where the
       token service is down
  GA2  a token that was refused (401, 403) is asked for anew once; again only after REFUSED_AGAIN_S, so that a missing right
       makes no storm of token requests
  GA3  credentials that cannot be read are an error that names their file, never replaced by others (_gcp_key.GK1); a file that
       changes is read again when the next token is due
  GA4  nothing is tried again here (S3); messages hold no token, no key and nothing of the answer but OAuth's error code
Driver: per request one comparison of times.
"""
from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Fatal, Retryable
from ..telemetry import Telemetry
from . import _gcp_key
from ._gcp_config import EXTRA_MEND, SERVICES, GcpConfig, is_anonymous
from ._gcp_identity import metadata_base, metadata_token
from ._http_client import place as place_of

RENEW_BEFORE_S = 225.0      # the metadata server gives a new token from 5 minutes before the end on
LAST_S = 10.0               # a token that has less left is not used any more
REFUSED_AGAIN_S = 30.0
RENEW_AGAIN_S = 10.0
TIMEOUT_S = 10
_UNKNOWN_LIFE_S = 3600
_IMPERSONATED_LIFE_S = 3600                 # the longest that is given without an organisation's policy
_IAM_SCOPE = "https://www.googleapis.com/auth/iam"


class Anonymous:
    """Nobody asks who we are."""

    async def headers(self) -> Mapping[str, str]:
        return {}

    def refused(self) -> None:
        return

    async def close(self) -> None:
        return


class GcpCredentials:
    """`Credentials` of _http_auth.py, for one service. `now_s`: wall clock, for tests. `close` ends its connections."""

    def __init__(
        self, config: GcpConfig, service: str, telemetry: Telemetry, environ: Mapping[str, str] = os.environ,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._telemetry, self._environ, self._now_s = config, telemetry, environ, now_s
        self._scope = SERVICES[service].scope
        self._value, self._expires_s = "", 0.0
        self._headers: Mapping[str, str] = {}
        self._more: dict[str, str] = {}
        self._forgot_s = self._tried_s = -1e9
        self._renewing: asyncio.Task[None] | None = None
        self._session: Any = None
        self._secrets: list[str] = []

    async def headers(self) -> Mapping[str, str]:
        """Authorization. Retryable where no token is to be had, saying what is wrong (GA1, GA3)."""
        left_s = self._expires_s - self._now_s()
        if left_s > self._renew_before_s:
            return self._headers
        if left_s > LAST_S and self._value:
            if self._renewing is None and self._now_s() - self._tried_s > RENEW_AGAIN_S:
                self._begin()
            return self._headers
        await asyncio.shield(self._renewing or self._begin())
        return self._headers

    def refused(self) -> None:
        """GA2."""
        if self._now_s() - self._forgot_s > REFUSED_AGAIN_S:
            self._forgot_s = self._now_s()
            self._expires_s = 0.0

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # ------------------------------------------------------------ one token

    _renew_before_s = RENEW_BEFORE_S

    def _begin(self) -> asyncio.Task[None]:
        self._tried_s = self._now_s()
        task = self._renewing = asyncio.create_task(self._renew())
        task.add_done_callback(self._renewed)
        return task

    def _renewed(self, task: asyncio.Task[None]) -> None:
        if self._renewing is task:
            self._renewing = None
        _look(task)

    async def _renew(self) -> None:
        found = _gcp_key.find(self._config.credentials_file, self._environ)
        data = self._read(found)
        try:
            value, life_s = await (self._of_file(data) if data else metadata_token(self._environ))
            if data.get(_gcp_key.IMPERSONATION):
                value, life_s = await self._impersonated(data, value)
        except Exception as error:
            raise self._trouble(error, found, data) from error
        self._value, self._expires_s = value, self._now_s() + life_s
        self._renew_before_s = min(RENEW_BEFORE_S, life_s / 4)
        self._keep([value])
        self._headers = {"Authorization": f"Bearer {value}", **self._more}

    def _read(self, found: _gcp_key.Place | None) -> dict[str, Any]:
        """The credentials file; {} for the metadata server (GA3)."""
        if found is None:
            return {}
        try:
            data = _gcp_key.read(found.path)
        except ValueError as error:
            raise Retryable(f"no token: {found.blame(str(error))}") from None
        for name in _gcp_key.SECRET_FIELDS:
            for part in (data, data.get("source_credentials") or {}):
                self._telemetry.keep_secret(str(part.get(name) or ""))
        quota = data.get("quota_project_id")
        self._more = {"X-Goog-User-Project": str(quota)} if quota else {}
        return data

    async def _of_file(self, data: dict[str, Any]) -> tuple[str, float]:
        try:
            from gcloud.aio.auth.token import Token
        except ImportError as error:
            raise Fatal(EXTRA_MEND) from error
        logging.getLogger("gcloud.aio.auth").setLevel(logging.CRITICAL)    # it logs the bodies of answers
        scope = _IAM_SCOPE if data.get(_gcp_key.IMPERSONATION) else self._scope
        token = Token(io.StringIO(json.dumps(_of_library(data))), session=self._open(), scopes=[scope])
        answer = await token.refresh(timeout=TIMEOUT_S)
        return answer.value, float(answer.expires_in or _UNKNOWN_LIFE_S)

    async def _impersonated(self, data: dict[str, Any], value: str) -> tuple[str, float]:
        """The token of the account that the one of `value` may act as. Asked for here: gcloud-aio-auth does not know the file's
        `delegates`, and what it raises does not say which of the two requests was refused."""
        self._telemetry.keep_secret(value)
        wanted = {"lifetime": f"{_IMPERSONATED_LIFE_S}s", "scope": [self._scope], "delegates": data.get("delegates") or []}
        url = data[_gcp_key.IMPERSONATION]
        try:
            async with self._open().post(url, json=wanted, headers={"Authorization": f"Bearer {value}"}) as response:
                if response.status != 200:
                    raise Retryable(f"no token: {place_of(url)} answered {response.status} when asked to act as "
                                    f"{_account(url)}; check that the account exists, and grant roles/iam.workloadIdentityUser "
                                    "(federation) or roles/iam.serviceAccountTokenCreator on it")
                return str((await response.json())["accessToken"]), float(_IMPERSONATED_LIFE_S)
        finally:
            self._telemetry.forget_secret(value)

    def _open(self) -> Any:
        import aiohttp

        if self._session is None:
            proxy = self._config.proxy
            self._session = aiohttp.ClientSession(
                trust_env=proxy is None, proxy=None if proxy == "none" else proxy,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _keep(self, values: list[str]) -> None:
        """Tokens are secrets; those before the last one are not worth keeping."""
        for value in values:
            self._telemetry.keep_secret(value)
            self._secrets.append(value)
        while len(self._secrets) > 2:
            self._telemetry.forget_secret(self._secrets.pop(0))

    def _trouble(self, error: Exception, found: _gcp_key.Place | None, data: Mapping[str, Any]) -> Exception:
        """GA4."""
        if isinstance(error, (Fatal, Retryable)):
            return error
        who = f"with the credentials of {found.path}" if found is not None else "from the metadata server"
        url = str(data.get("token_url") or data.get("token_uri") or "") if found is not None else metadata_base(self._environ)
        where = place_of(url) if url else "the token service"
        status = getattr(error, "status", 0)
        if status:
            said = _oauth_error(str(getattr(error, "message", "")))
            mend = "check that the account exists and may be used here" if status < 500 else "it is down"
            return Retryable(f"no token {who}: {where} answered {status}{said}; {mend}")
        if isinstance(error, TimeoutError):
            return Retryable(f"no token {who}: {where} did not answer in {TIMEOUT_S} s; check the network")
        if isinstance(error, OSError):
            return Retryable(f"no token {who}: cannot connect to {where}; check address and network")
        if isinstance(error, ValueError) and "subject token" in str(error):
            return Retryable(f"no token {who}: the subject token's file cannot be read; check credential_source and its mount")
        return Retryable(f"no token {who}: {where} gave an answer that is none ({type(error).__name__})")


def _of_library(data: dict[str, Any]) -> dict[str, Any]:
    """The credentials as gcloud-aio-auth takes them: those that impersonate, not what they act as. gcloud writes no `type` into
    credential_source, and the library before 5.6 (Python before 3.11.3) wants one."""
    if data["type"] == "impersonated_service_account":
        return dict(data["source_credentials"])
    data = {name: value for name, value in data.items() if name != _gcp_key.IMPERSONATION}
    source = data.get("credential_source")
    if not isinstance(source, dict) or "type" in source:
        return data
    return {**data, "credential_source": {**source, "type": "file" if "file" in source else "url"}}


def _account(url: str) -> str:
    """Of .../serviceAccounts/NAME:generateAccessToken."""
    return url.rpartition("/")[2].partition(":")[0][:100]


def _oauth_error(text: str) -> str:
    """OAuth's short error code (RFC 6749, 5.2) out of an answer that a library quotes; "" where there is none."""
    start = text.find("{")
    try:
        code = json.loads(text[start:])["error"] if start >= 0 else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({code[:60]})" if isinstance(code, str) and code.isascii() and code.isprintable() else ""


def _look(task: asyncio.Task[None]) -> None:
    """A renewal failed, and perhaps nobody waits for it: the old token is good (GA1), or the request was called off."""
    if not task.cancelled():
        task.exception()


def credentials(
    config: GcpConfig, service: str, telemetry: Telemetry, environ: Mapping[str, str] = os.environ,
) -> GcpCredentials | Anonymous:
    """What HttpClient takes as `credentials`."""
    return Anonymous() if is_anonymous(config, service, environ) else GcpCredentials(config, service, telemetry, environ)

