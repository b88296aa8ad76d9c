"""Google's metadata server, token services and STS on loopback, as strict as the real ones.

    async with IdentityServer() as google:
        environ = {"GCE_METADATA_HOST": google.host}
        google.key_file(tmp_path)            # a service account's key whose token_uri is here
        google.federation_file(tmp_path)     # Workload Identity Federation: a subject token in a file, exchanged at /sts
        google.user_file(tmp_path)           # what `gcloud auth application-default login` writes, with its token service here
        google.valid(token)                  # what a fake of a service asks

Real: the metadata server answers 403 without `Metadata-Flavor: Google` and with X-Forwarded-For, and gives one token until it is
nearly over; the token service checks the assertion's signature, audience, times and scope; STS checks every parameter; who
impersonates needs a token of the scope iam or cloud-platform.
"""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PEM = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
_EMAIL = "shipper@p1.iam.gserviceaccount.com"
_GRANT = "urn:ietf:params:oauth:grant-type:"
_CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/oidc"


class IdentityServer:
    """life_s: of each token. `broken`: a status that every question is answered with, where it is not 0. flavor: what the
    metadata server says that it is. delegates: of the last impersonation."""

    def __init__(self, *, life_s: float = 3600.0, now_s: Callable[[], float] = time.time) -> None:
        self.life_s, self.now_s = life_s, now_s
        self.attributes: dict[str, str] = {
            "project/project-id": "p1", "instance/id": "4242", "instance/zone": "projects/1/zones/europe-west1-b",
            "instance/attributes/cluster-name": "c1", "instance/attributes/cluster-location": "europe-west1",
        }
        self.broken = 0
        self.tokens: dict[str, float] = {}
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.subject_token = "subject-1"
        self._metadata_token = ""
        self.impersonation_status = 0
        self.scopes: dict[str, str] = {}
        self.delegates: Any = None
        self.flavor = "Google"

    async def __aenter__(self) -> IdentityServer:
        app = web.Application()
        app.router.add_get("/computeMetadata/v1/{path:.*}", self._metadata)
        app.router.add_post("/token", self._token)
        app.router.add_post("/sts", self._sts)
        app.router.add_get("/subject", self._subject)
        app.router.add_post("/impersonate/{account}:generateAccessToken", self._impersonate)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # ------------------------------------------------------------ for tests

    def valid(self, token: str) -> bool:
        return self.tokens.get(token, 0.0) > self.now_s()

    def revoke(self) -> None:
        """No token is good any more."""
        self.tokens.clear()
        self._metadata_token = ""

    def key_file(self, directory: Path, **changed: Any) -> Path:
        data = {
            "type": "service_account", "project_id": "p-of-key", "private_key_id": "k1", "private_key": _PEM,
            "client_email": _EMAIL, "token_uri": f"http://{self.host}/token", **changed,
        }
        return _write(directory / "key.json", {name: value for name, value in data.items() if value is not None})

    def federation_file(self, directory: Path, *, impersonate: bool = False, source: dict[str, Any] | None = None) -> Path:
        (directory / "subject").write_text(self.subject_token + "\n")
        data: dict[str, Any] = {
            "type": "external_account", "audience": AUDIENCE, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"http://{self.host}/sts", "credential_source": source or {"file": str(directory / "subject")},
        }
        if impersonate:
            data["service_account_impersonation_url"] = f"http://{self.host}/impersonate/{_EMAIL}:generateAccessToken"
        return _write(directory / "federation.json", data)

    def user_file(self, directory: Path, *, impersonate: bool = False, **changed: Any) -> Path:
        """A person's login; impersonate: as `login --impersonate-service-account` writes it."""
        user = {"type": "authorized_user", "client_id": "c1.apps", "client_secret": "user-secret", "refresh_token": "1//refresh"}
        data: dict[str, Any] = {**user, "account": "", "universe_domain": "googleapis.com"}
        if impersonate:
            user["token_uri"] = f"http://{self.host}/token"
            data = {"type": "impersonated_service_account", "source_credentials": user, "delegates": [],
                    "service_account_impersonation_url": f"http://{self.host}/impersonate/{_EMAIL}:generateAccessToken"}
        return _write(directory / "user.json", {**data, "token_uri": f"http://{self.host}/token", **changed})

    # ------------------------------------------------------------ answers

    async def _metadata(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.asked.append(path)
        headers = {"Metadata-Flavor": self.flavor, "Server": "Metadata Server for VM"}
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers:
            self.wrong.append(f"{path} without its header, or through a proxy")
            return web.Response(status=403, headers=headers)
        if self.broken:
            return web.Response(status=self.broken, headers=headers)
        if path == "instance/service-accounts/default/token":
            if self.tokens.get(self._metadata_token, 0.0) < self.now_s() + min(300.0, self.life_s / 4):
                self._metadata_token = self._new("metadata")
            left_s = int(self.tokens[self._metadata_token] - self.now_s())
            return web.json_response(
                {"access_token": self._metadata_token, "expires_in": left_s, "token_type": "Bearer"}, headers=headers)
        if path in self.attributes:
            return web.Response(text=self.attributes[path], headers=headers, content_type="application/text")
        return web.Response(status=404, headers=headers)

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        if self.broken:
            return web.Response(status=self.broken)
        form = await request.post()
        if form.get("grant_type") == "refresh_token":
            known = {"client_id": "c1.apps", "client_secret": "user-secret", "refresh_token": "1//refresh"}
            if any(form.get(name) != value for name, value in known.items()):
                return _oauth_error("invalid_grant")
            return web.json_response({"access_token": self._new("user"), "expires_in": int(self.life_s), "token_type": "Bearer"})
        if form.get("grant_type") != f"{_GRANT}jwt-bearer":
            return _oauth_error("unsupported_grant_type")
        try:
            claims = jwt.decode(str(form["assertion"]), _KEY.public_key(), ["RS256"], audience=f"http://{self.host}/token")
        except (jwt.PyJWTError, KeyError):
            return _oauth_error("invalid_grant")
        if claims["iss"] != _EMAIL or claims["exp"] - claims["iat"] > 3600 or not claims.get("scope"):
            return _oauth_error("invalid_scope" if claims["iss"] == _EMAIL else "invalid_grant")
        return web.json_response({"access_token": self._new("key"), "expires_in": int(self.life_s), "token_type": "Bearer"})

    async def _sts(self, request: web.Request) -> web.Response:
        self.asked.append("sts")
        if self.broken:
            return web.Response(status=self.broken)
        form = await request.post()
        needed = {
            "grant_type": f"{_GRANT}token-exchange", "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "audience": AUDIENCE,
        }
        if any(form.get(name) != value for name, value in needed.items()) or not form.get("scope"):
            return _oauth_error("invalid_request")
        if form.get("subject_token") != self.subject_token:
            return _oauth_error("invalid_grant")
        token = self._new("federated")
        self.scopes[token] = str(form["scope"])
        return web.json_response({
            "access_token": token, "expires_in": int(self.life_s), "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        })

    async def _subject(self, request: web.Request) -> web.Response:
        """As the metadata server of another cloud: a header is asked for, and the token is one member of an object."""
        self.asked.append("subject")
        if request.headers.get("Metadata") != "True":
            return web.Response(status=400)
        return web.json_response({"access_token": self.subject_token, "expires_in": "3599"})

    async def _impersonate(self, request: web.Request) -> web.Response:
        self.asked.append("impersonate")
        if not self.valid(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            return web.Response(status=401)
        if self.impersonation_status:
            return web.Response(status=self.impersonation_status)
        scope = self.scopes.get(request.headers["Authorization"].removeprefix("Bearer "), _CLOUD_SCOPE)
        if scope not in (_CLOUD_SCOPE, "https://www.googleapis.com/auth/iam"):
            return web.json_response({"error": {"code": 403, "status": "PERMISSION_DENIED"}}, status=403)
        wanted = await request.json()
        self.delegates = wanted.get("delegates")
        if not wanted.get("scope") or not wanted.get("lifetime", "").endswith("s"):
            return web.Response(status=400)
        return web.json_response({"accessToken": self._new("impersonated"), "expireTime": "2036-01-01T00:00:00Z"})

    def _new(self, kind: str) -> str:
        token = f"ya29.{kind}-{len(self.asked)}"
        self.tokens[token] = self.now_s() + self.life_s
        return token


def _oauth_error(code: str) -> web.Response:
    return web.json_response({"error": code, "error_description": "the words of the far side"}, status=400)


def _write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path
