"""Keys that services hand out (API keys, tokens), each in the header that the service wants: given in the config, or in a
file that is read again when it changes. For sinks that have such keys beside `auth`.
"""
from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..telemetry import Telemetry
from ._http_auth import ConfigCredentials, Credentials, SecretFile
from ._http_config import AuthConfig, HttpConfig, Problems
from ._tls import unreadable


class KeyCredentials:
    """`header`: its name; `lead`: what stands in front of the key in it."""

    def __init__(self, telemetry: Telemetry, header: str, lead: str, key: str | None, path: str | None) -> None:
        self._header, self._lead, self._key = header, lead, key or ""
        self._file = SecretFile(path, telemetry) if path else None
        telemetry.keep_secret(self._key)

    async def headers(self) -> Mapping[str, str]:
        return {self._header: self._lead + (self._file.read() if self._file is not None else self._key)}

    def refused(self) -> None:
        if self._file is not None:
            self._file.forget()


def credentials(
    auth: AuthConfig, telemetry: Telemetry, header: str, lead: str, key: str | None, path: str | None,
) -> Credentials:
    """The key where one is given, else what `auth` says."""
    if key is None and path is None:
        return ConfigCredentials(auth, telemetry)
    return KeyCredentials(telemetry, header, lead, key, path)


def key_problems(config: HttpConfig, name: str, *, needed: bool = False) -> Problems:
    """What is wrong with the keys `name` and `<name>_file` of the config."""
    key, path = getattr(config, name), getattr(config, f"{name}_file")
    found = unreadable(f"{name}_file", path)
    if key is not None and path is not None:
        found.append((f"{name}_file", f"stands beside {name}; keep one of them"))
    given = key is not None or path is not None
    if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
        found.append((name, "is empty, or holds what cannot stand in a header; write the key alone"))
    if given and config.auth != AuthConfig():
        found.append(("auth", f"stands beside {name}; keep one of them"))
    if needed and not given and config.auth == AuthConfig() and "authorization" not in map(str.lower, config.headers):
        found.append((f"{name}_file", f"is needed; give the path of a file that holds it, or {name}: ${{VARIABLE}}"))
    return found


def key_warnings(config: HttpConfig, name: str) -> Problems:
    """A key that goes over plain HTTP to another machine."""
    given = getattr(config, name) is not None or getattr(config, f"{name}_file") is not None
    parts = urlsplit(config.url)
    if given and parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        return [("url", f"the {name} goes over plain http, where anyone on the way can read it; use https")]
    return []


def base_url(url: str, path: str) -> str:
    """`url` with `path` at its end, unless it ends so already; a query stays."""
    head, mark, query = url.partition("?")
    head = head.rstrip("/")
    return (head if head.endswith(path) else head + path) + mark + query
