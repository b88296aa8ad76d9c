"""The keys that every sink over HTTP takes, and what is wrong with them. `problems` reads the files that are named.

A sink's Struct inherits from HttpConfig and adds its own keys; its `check` begins with `problems(config)`, its `warn` is
`warnings(config)`. Nothing here imports aiohttp.
"""
from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from ..config.units import Seconds
from ._tls import TlsConfig, file_problems, unreadable

Compression = Literal["none", "gzip", "zstd"]
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_PORT = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")
_OURS = frozenset(("content-length", "content-encoding", "transfer-encoding", "host", "connection", "expect", "idempotency-key"))
ZSTD_MEND = "zstd is not installed here; pip install 'shipper[zstd]', or use gzip"


class AuthConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One way of saying who we are. A file's content is stripped, and read again when the file changes.

    bearer | bearer_file                  Authorization: Bearer ...
    user + password | password_file       Authorization: Basic ...
    header_name + header_value_file       any header (a fixed value stands in `headers`)
    """

    bearer: str | None = None
    bearer_file: str | None = None
    user: str | None = None
    password: str | None = None
    password_file: str | None = None
    header_name: str | None = None
    header_value_file: str | None = None


class HttpConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/http.md.

    proxy               None: HTTPS_PROXY, HTTP_PROXY, NO_PROXY of the environment; "none": no proxy whatever they say
    write_timeout       how long the far side may take nothing of a body; request_timeout: from the first byte to the answer
    max_connection_age  connections older than that take no new request: names are looked up again, certificates read again
    """

    url: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    auth: AuthConfig = AuthConfig()
    compression: Compression = "none"
    tls: TlsConfig = TlsConfig()
    proxy: str | None = None
    connect_timeout: Seconds = Seconds(10.0)
    write_timeout: Seconds = Seconds(30.0)
    request_timeout: Seconds = Seconds(60.0)
    max_connection_age: Seconds = Seconds(300.0)
    retry_statuses: list[int] = msgspec.field(default_factory=list)
    reject_statuses: list[int] = msgspec.field(default_factory=list)


Problems = list[tuple[str, str]]


def problems(config: HttpConfig) -> Problems:
    """What `shipper check` says: (key path below the sink, problem; mend)."""
    return [
        *url_problems(config.url), *_header_problems(config.headers), *_auth_problems(config), *_tls_problems(config),
        *_proxy_problems(config.proxy), *_status_problems(config), *_time_problems(config), *_zstd_problems(config.compression),
    ]


def warnings(config: HttpConfig) -> Problems:
    """What starts, and should not stay as it is."""
    found: Problems = []
    if not config.tls.verify:
        found.append(("tls.verify", "false: anyone between here and there can read and fake the receiver; give its CA as tls.ca"))
    plain = urlsplit(config.url).scheme == "http"
    secret = config.auth != AuthConfig() or any(name.lower() == "authorization" for name in config.headers)
    if plain and secret and urlsplit(config.url).hostname not in ("127.0.0.1", "::1", "localhost"):
        found.append(("url", "credentials go over plain http, where anyone on the way can read them; use https"))
    return found


def url_problems(url: str, key: str = "url") -> Problems:
    """Whether requests can go to `url`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable or any(c.isspace() or ord(c) < 32 for c in url):
        return [(key, f"is not the URL of a server; {_url_mend(url)}")]
    if parts.username or parts.password:
        return [(key, "holds a password; put it into auth.user and auth.password_file")]
    return [(key, "has a fragment (#...), which is never sent; remove it")] if parts.fragment else []


def _url_mend(url: str) -> str:
    """What to write. Only what can hold no secret is quoted: a host's name and port."""
    scheme, found, _ = url.partition("://")
    if not found and _HOST_PORT.fullmatch(url):
        return f"it has no scheme: write https://{url} or http://{url}"
    if found and scheme.isalnum() and scheme not in ("http", "https"):
        return f"{scheme}:// is not spoken here: write https:// or http://"
    return "write for example https://logs.example.com/ingest"


def _header_problems(headers: dict[str, str]) -> Problems:
    found: Problems = []
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            found.append((f"headers.{name}", "is not the name of a header; use letters, digits and -"))
        elif name.lower() in _OURS:
            found.append((f"headers.{name}", "is set by the sink itself; remove it"))
        elif any(c in value for c in "\r\n\0") or not value.isascii():
            found.append((f"headers.{name}", "has a line break or a character outside ASCII; remove it"))
    return found


def _auth_problems(config: HttpConfig) -> Problems:
    auth = config.auth
    found: Problems = []
    ways = [bool(auth.bearer or auth.bearer_file), auth.user is not None, auth.header_name is not None]
    if sum(ways) > 1:
        found.append(("auth", "names more than one way; keep one of bearer, user and password, header_name"))
    for one, other in (("bearer", "bearer_file"), ("password", "password_file")):
        if getattr(auth, one) is not None and getattr(auth, other) is not None:
            found.append((f"auth.{one}", f"stands beside auth.{other}; keep one of them"))
    if (auth.user is None) != (auth.password is None and auth.password_file is None):
        found.append(("auth", "user and password (or password_file) go together; give both"))
    if (auth.header_name is None) != (auth.header_value_file is None):
        found.append(("auth", "header_name and header_value_file go together; give both"))
    if auth.header_name is not None and (not _TOKEN.fullmatch(auth.header_name) or auth.header_name.lower() in _OURS):
        found.append(("auth.header_name", "cannot be used; give the name of a header such as X-Api-Key"))
    if any(ways[:2]) and any(name.lower() == "authorization" for name in config.headers):
        found.append(("headers", "Authorization stands here and in auth; keep one of them"))
    for name in ("bearer_file", "password_file", "header_value_file"):
        found += unreadable(f"auth.{name}", getattr(auth, name))
    return found


def _tls_problems(config: HttpConfig) -> Problems:
    tls = config.tls
    if urlsplit(config.url).scheme == "http":
        return [("tls", "has no effect with an http:// url; use https://, or leave it out")] if tls != TlsConfig() else []
    return file_problems(tls)


def _proxy_problems(proxy: str | None) -> Problems:
    if proxy is None or proxy == "none":
        return []
    parts = urlsplit(proxy)
    usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    return [] if usable else [("proxy", "is not the URL of a proxy; write http://proxy.example.com:3128, or none")]


def _status_problems(config: HttpConfig) -> Problems:
    found: Problems = []
    for name in ("retry_statuses", "reject_statuses"):
        for status in getattr(config, name):
            if not 300 <= status <= 599:
                found.append((name, f"{status} is no status that a request can fail with; use 300 to 599"))
    for status in set(config.retry_statuses) & set(config.reject_statuses):
        found.append(("reject_statuses", f"{status} stands in retry_statuses too; keep it in one of them"))
    return found


def _time_problems(config: HttpConfig) -> Problems:
    names = ("connect_timeout", "write_timeout", "request_timeout", "max_connection_age")
    return [(n, "must be longer than 0s; leave it out for the default") for n in names if getattr(config, n) <= 0]


def _zstd_problems(compression: str) -> Problems:
    return [("compression", ZSTD_MEND)] if compression == "zstd" and not _installed("compression.zstd", "backports.zstd") else []


def _installed(*modules: str) -> bool:
    def there(name: str) -> bool:
        try:
            return find_spec(name) is not None
        except ModuleNotFoundError:         # its parent is not there either
            return False
    return any(map(there, modules))
