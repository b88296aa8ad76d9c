"""Who we say we are: headers made of the config, of files that are read again when they change, or of a token service.

A sink with tokens of its own (Google's) gives HttpClient another `Credentials`; `headers` is awaited before each request,
`refused` is called after a 401 or 403, so that a cached token can be forgotten.
"""
from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Protocol

from ..errors import Retryable
from ..telemetry import Telemetry
from ._http_config import AuthConfig


class Credentials(Protocol):
    """`headers` may raise Retryable (no token to be had) or Fatal."""

    async def headers(self) -> Mapping[str, str]: ...
    def refused(self) -> None: ...


MOST_KEPT = 8


class LastSecrets:
    """Of what is replaced from time to time the last MOST_KEPT values are masked: one that was replaced may still be in an
    answer, and tokens of an hour must not add up."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._kept: list[str] = []

    def keep(self, value: str) -> None:
        if value in self._kept:
            self._kept.remove(value)                      # it may be one that came back: the last again
        self._telemetry.keep_secret(value)
        self._kept.append(value)
        if len(self._kept) > MOST_KEPT:
            self._telemetry.forget_secret(self._kept.pop(0))


class SecretFile:
    """A secret in a file, read again when the file changes (mtime, size or inode; a ConfigMap swap changes the inode)."""

    def __init__(self, path: str, telemetry: Telemetry) -> None:
        self._path, self._secrets = path, LastSecrets(telemetry)
        self._seen: tuple[int, int, int] | None = None
        self._value = ""

    def read(self) -> str:
        """Retryable where it cannot be read or is empty. Cost: one stat; the file is a few hundred bytes."""
        try:
            stat = os.stat(self._path)
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                with open(self._path, encoding="utf-8") as file:
                    self._value = file.read(64 * 1024).strip()
                self._seen = seen
                self._secrets.keep(self._value)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8"
            raise Retryable(f"cannot read {self._path}: {why}; mend the file") from error
        if not self._value or not self._value.isprintable() or not self._value.isascii():
            self._seen = None
            raise Retryable(f"{self._path} holds no usable secret; write one line of ASCII into it")
        return self._value

    def forget(self) -> None:
        """Read it again at the next use, whatever its times say."""
        self._seen = None


class ConfigCredentials:
    """What `auth` says."""

    def __init__(self, auth: AuthConfig, telemetry: Telemetry) -> None:
        self._auth, self._encoded = auth, LastSecrets(telemetry)
        path = auth.bearer_file or auth.password_file or auth.header_value_file
        self._file = SecretFile(path, telemetry) if path else None
        self._make = self._maker()

    async def headers(self) -> Mapping[str, str]:
        return self._make(self._file.read() if self._file is not None else "")

    def refused(self) -> None:
        if self._file is not None:
            self._file.forget()

    def _maker(self) -> Callable[[str], Mapping[str, str]]:
        auth = self._auth
        if auth.header_name is not None:
            name = auth.header_name
            return lambda secret: {name: secret}
        if auth.user is not None:
            return lambda secret: {"Authorization": self._basic(auth.user or "", auth.password or secret)}
        if auth.bearer is not None or auth.bearer_file is not None:
            return lambda secret: {"Authorization": f"Bearer {auth.bearer or secret}"}
        return lambda secret: {}

    def _basic(self, user: str, password: str) -> str:
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._encoded.keep(encoded)
        return f"Basic {encoded}"
