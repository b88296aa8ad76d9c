"""Who and where this node is: project, cluster name, location, instance id. Driver; aiohttp is imported at the first question.

    the sink's own key ─► environment, credentials file (project only) ─► the metadata server

Only what is asked for is looked up, and each answer is kept. The metadata server is at GCE_METADATA_HOST (or the older
GCE_METADATA_ROOT), else metadata.google.internal.

Invariants (tests/sinks/test_gcp_auth.py):
  GI1  nothing is guessed: "" means that there is no such thing here (no metadata server, no cluster); a server that is there and
       does not answer is Retryable, since on GKE it starts seconds after the pod; and so is a name server that does not
  GI2  an answer without `Metadata-Flavor: Google` is not the metadata server's
"""
from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

import orjson

from ..errors import Retryable
from . import _gcp_key
from ._gcp_config import GcpConfig

METADATA_HEADERS = {"Metadata-Flavor": "Google"}
TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 64 * 1024
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


def metadata_base(environ: Mapping[str, str] = os.environ) -> str:
    """The URL below which the metadata server answers."""
    host = environ.get("GCE_METADATA_HOST") or environ.get("GCE_METADATA_ROOT") or "metadata.google.internal"
    return f"http://{host}/computeMetadata/v1"


async def metadata_token(environ: Mapping[str, str] = os.environ) -> tuple[str, float]:
    """An access token of the instance's (or, with Workload Identity, the pod's) service account, and how many seconds it lasts.

    The metadata server is asked here and not through gcloud-aio-auth: that brings cryptography, 11 MB, which one GET needs not.
    aiohttp's errors, TimeoutError and Retryable go to the caller."""
    import aiohttp

    url = f"{metadata_base(environ)}/instance/service-accounts/default/token"
    async with asyncio.timeout(TIMEOUT_S), aiohttp.ClientSession(trust_env=False) as session, \
            session.get(url, headers=METADATA_HEADERS, allow_redirects=False, raise_for_status=True) as response:
        found = orjson.loads(await _answer(response))
    return str(found["access_token"]), float(found["expires_in"])


class Identity:
    """Answers for one sink. Each method: the config's key where it is set; "" where there is no such thing (GI1)."""

    def __init__(self, config: GcpConfig, environ: Mapping[str, str] = os.environ) -> None:
        self._config, self._environ = config, environ
        self._found: dict[str, str] = {}

    async def project(self) -> str:
        """The project id; Retryable, naming the key to set, where there is none."""
        found = self._config.project or self._environ.get("GOOGLE_CLOUD_PROJECT") or self._of_file()
        found = found or await self._ask("project/project-id")
        if not found:
            raise Retryable("which project is this? Neither credentials nor a metadata server say it; set `project`")
        return found

    async def cluster_name(self) -> str:
        return self._config.cluster_name or await self._ask("instance/attributes/cluster-name")

    async def location(self) -> str:
        """The cluster's location; outside a cluster the zone."""
        if self._config.location:
            return self._config.location
        return await self._ask("instance/attributes/cluster-location") or await self.zone()

    async def zone(self) -> str:
        return (await self._ask("instance/zone")).rpartition("/")[2]

    async def instance_id(self) -> str:
        return self._config.instance_id or await self._ask("instance/id")

    def _of_file(self) -> str:
        place = _gcp_key.find(self._config.credentials_file, self._environ)
        if place is None or self._config.anonymous:
            return ""
        try:
            data = _gcp_key.read(place.path)
        except ValueError as error:
            raise Retryable(f"which project is this? {place.blame(str(error))}") from None
        return str(data.get("project_id") or data.get("quota_project_id") or "")

    async def _ask(self, path: str) -> str:
        if path not in self._found:
            found = await self._look_up(path)
            if found is None:
                return ""
            self._found[path] = found
        return self._found[path]

    async def _look_up(self, path: str) -> str | None:
        """None where there is no metadata server."""
        import aiohttp

        url = f"{metadata_base(self._environ)}/{path}"
        named = bool(self._environ.get("GCE_METADATA_HOST") or self._environ.get("GCE_METADATA_ROOT"))
        try:
            async with asyncio.timeout(TIMEOUT_S), aiohttp.ClientSession(trust_env=False) as session, \
                    session.get(url, headers=METADATA_HEADERS, allow_redirects=False) as response:
                return await _answer(response)
        except aiohttp.ClientConnectorError as error:
            if not named and isinstance(error.os_error, socket.gaierror) and error.os_error.errno in _NO_SUCH_NAME:
                return None                 # this is not Google's network
            raise Retryable(f"cannot connect to the metadata server at {metadata_base(self._environ)}; set {_key(path)} "
                            "in the config, or see to the server") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"the metadata server does not answer ({type(error).__name__}); set {_key(path)} in the config, "
                            "or see to the server") from error


async def _answer(response: Any) -> str:
    """GI2."""
    if response.headers.get("Metadata-Flavor") != "Google":
        raise Retryable("what answers as the metadata server is not Google's; set GCE_METADATA_HOST, or the config's keys")
    if response.status == 404:
        return ""
    if response.status != 200:
        raise Retryable(f"the metadata server answered {response.status}")
    content: bytes = await response.content.read(_MAX_ANSWER_BYTES)
    return content.decode("utf-8", "replace").strip()


def _key(path: str) -> str:
    return {
        "project/project-id": "`project`", "instance/attributes/cluster-name": "`cluster_name`", "instance/id": "`instance_id`",
    }.get(path, "`location`")
