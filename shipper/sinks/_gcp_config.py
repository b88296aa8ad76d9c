"""The keys that every Google Cloud sink takes, where its requests go, and what is wrong with them. See docs/gcp-auth.md.

A sink's Struct inherits from GcpConfig; its `check` begins with `problems(config, "storage")`, its `warn` with `warnings`. With
HttpSink:  super().__init__(http_config(config, service), context, credentials(config, service, context))   (_gcp_auth.py)

Invariants:
  GC1  nothing of Google's and no aiohttp is imported here, and no request is made: `check` works anywhere
  GC2  where requests go: `endpoint`, else the emulator variable, else Google. At an emulator's nobody asks who we are
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

import msgspec

from ..config.units import Seconds
from . import _gcp_key
from ._http_config import HttpConfig, Problems, url_problems
from ._http_config import problems as http_problems
from ._tls import TlsConfig

EXTRA_MEND = "its libraries are not installed here; pip install 'shipper[gcp]'"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class GcpConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/gcp-auth.md.

    project, cluster_name, location, instance_id   None: what the metadata server says
    credentials_file   None: application default credentials
    anonymous          no credentials are sent (an emulator, a proxy that adds its own)
    endpoint           None: the emulator variable, else Google's own
    """

    project: str | None = None
    cluster_name: str | None = None
    location: str | None = None
    instance_id: str | None = None
    credentials_file: str | None = None
    anonymous: bool = False
    endpoint: str | None = None
    tls: TlsConfig = TlsConfig()
    proxy: str | None = None
    connect_timeout: Seconds = Seconds(10.0)
    write_timeout: Seconds = Seconds(30.0)
    request_timeout: Seconds = Seconds(60.0)
    max_connection_age: Seconds = Seconds(300.0)


@dataclass(frozen=True, slots=True)
class Service:
    """`scope`: what a token is asked for."""

    url: str
    scope: str
    emulator_variable: str = ""


SERVICES = {
    "storage": Service(
        "https://storage.googleapis.com", "https://www.googleapis.com/auth/devstorage.read_write", "STORAGE_EMULATOR_HOST"),
    "pubsub": Service("https://pubsub.googleapis.com", "https://www.googleapis.com/auth/pubsub", "PUBSUB_EMULATOR_HOST"),
    "bigquery": Service("https://bigquery.googleapis.com", "https://www.googleapis.com/auth/bigquery", "BIGQUERY_EMULATOR_HOST"),
    "logging": Service("https://logging.googleapis.com", "https://www.googleapis.com/auth/logging.write"),
}


def endpoint(config: GcpConfig, service: str, environ: Mapping[str, str] = os.environ) -> str:
    """scheme://host[:port][/path] without a slash at the end (GC2)."""
    found = config.endpoint or _emulator(service, environ) or SERVICES[service].url
    return found.rstrip("/")


def is_anonymous(config: GcpConfig, service: str, environ: Mapping[str, str] = os.environ) -> bool:
    """GC2: no token is sent."""
    return config.anonymous or (config.endpoint is None and bool(_emulator(service, environ)))


def _emulator(service: str, environ: Mapping[str, str]) -> str:
    """The emulator's URL; most are given without a scheme."""
    value = environ.get(SERVICES[service].emulator_variable, "").strip()
    return value if not value or "://" in value else f"http://{value}"


def http_config(config: GcpConfig, service: str, environ: Mapping[str, str] = os.environ) -> HttpConfig:
    """What HttpClient and HttpSink need to know; `url` is the endpoint."""
    return HttpConfig(
        url=endpoint(config, service, environ), tls=config.tls, proxy=config.proxy, connect_timeout=config.connect_timeout,
        write_timeout=config.write_timeout, request_timeout=config.request_timeout, max_connection_age=config.max_connection_age,
    )


def problems(config: GcpConfig, service: str, environ: Mapping[str, str] = os.environ) -> Problems:
    """What `shipper check` says: (key path below the sink, problem; mend)."""
    variable = SERVICES[service].emulator_variable
    if config.endpoint is not None:
        found = url_problems(config.endpoint, "endpoint")
    else:
        found = [("endpoint", f"{variable} {text}") for _, text in url_problems(endpoint(config, service, environ))]
    if not found:
        found += [(key, text) for key, text in http_problems(http_config(config, service, environ)) if key != "url"]
    if not _installed():
        found.append(("", EXTRA_MEND))
    return found + _credential_problems(config, service, environ)


def _credential_problems(config: GcpConfig, service: str, environ: Mapping[str, str]) -> Problems:
    if is_anonymous(config, service, environ):
        return [("credentials_file", "has no effect with anonymous: true; keep one of them")] \
            if config.anonymous and config.credentials_file else []
    place = _gcp_key.find(config.credentials_file, environ)
    try:
        data = _gcp_key.read(place.path) if place is not None else {}
    except ValueError as error:
        assert place is not None
        return [("credentials_file" if config.credentials_file else "", place.blame(str(error)))]
    domain = _gcp_key.universe(environ, data)
    if domain == _gcp_key.GOOGLES_UNIVERSE or config.endpoint is not None:
        return []
    named = f"{place.path} is" if place is not None and data.get("universe_domain") else "GOOGLE_CLOUD_UNIVERSE_DOMAIN says it is"
    ours = SERVICES[service].url.replace(_gcp_key.GOOGLES_UNIVERSE, domain)
    return [("endpoint", f"{named} of the cloud {domain}, and requests would go to Google's own; set endpoint: {ours}")]


def warnings(config: GcpConfig, service: str, environ: Mapping[str, str] = os.environ) -> Problems:
    """What starts, and should not stay as it is."""
    found: Problems = []
    if not config.tls.verify:
        found.append(("tls.verify", "false: anyone between here and there can read and fake the receiver; give its CA as tls.ca"))
    where = urlsplit(endpoint(config, service, environ))
    if config.endpoint is None and _emulator(service, environ):
        variable = SERVICES[service].emulator_variable
        found.append(("", f"{variable} is set: everything goes to {where.netloc}, and nothing to Google"))
    elif where.scheme == "http" and where.hostname not in _LOOPBACK and not config.anonymous:
        found.append(("endpoint", "tokens go over plain http, where anyone on the way can read them; use https"))
    return found


def _installed() -> bool:
    try:
        return find_spec("gcloud.aio.auth") is not None and find_spec("google_crc32c") is not None
    except ModuleNotFoundError:
        return False
