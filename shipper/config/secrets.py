"""Which values are secret, and how a config is shown without them (P9). Pure.

Invariants:
  S1  a value is secret by the name of its key or of a key above it; a key that names a file (`..._file`) is not
  S2  credentials inside a URL are cut out wherever they stand
"""
from __future__ import annotations

import re
from typing import Any

import msgspec

from .tree import Path
from .types import Config, SinkEntry, SourceSettings

HIDDEN = "***"
_SECRET = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|token|bearer|credentials?|authorization|cookie|headers?)($|_)"
    r"|(api|access|private|secret|shared|auth|encryption)_?key", re.IGNORECASE)
_NO_SECRET = re.compile(r"_(file|path|dir|url|type|name)$", re.IGNORECASE)
_URL_CREDENTIALS = re.compile(r"(://)[^/@\s]*@")


def is_secret(path: Path) -> bool:
    """May the value at this key path be a secret (S1)? The names that a user gave to sources and sinks say nothing."""
    keys = path[2:] if path[:1] in (("sinks",), ("sources",)) else path
    return any(_SECRET.search(key) and not _NO_SECRET.search(key) for key in keys)


def scrub(text: str, secrets: set[str]) -> str:
    """`text` without these values and without credentials in URLs (S2). Values under 4 characters are no secrets."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= 4:
            text = text.replace(value, HIDDEN)
    return _URL_CREDENTIALS.sub(rf"\1{HIDDEN}@", text)


def redacted(config: Config) -> dict[str, Any]:
    """The config as JSON values without secrets, keys as in the YAML file, defaults included."""
    shown = _plain(config, (), secrets_of(config))       # a value may also stand inside another one
    assert isinstance(shown, dict)
    return shown


def secrets_of(config: Config) -> set[str]:
    """Every secret value of the config, for Telemetry.keep_secret."""
    secrets: set[str] = set()
    _plain(config, (), secrets)
    return secrets


def _plain(value: Any, path: Path, secrets: set[str]) -> Any:
    if is_secret(path) and not isinstance(value, (dict, list, msgspec.Struct)):
        if value is None or value == "":
            return None
        secrets.add(str(value))
        return HIDDEN
    if isinstance(value, SinkEntry):
        return {"type": value.type, **_fields(value.common, path, secrets), **_fields(value.config, path, secrets)}
    if isinstance(value, SourceSettings):
        return {"type": value.type, **_fields(value, path, secrets)}
    if isinstance(value, msgspec.Struct):
        return _fields(value, path, secrets)
    if isinstance(value, dict):
        return {str(key): _plain(item, (*path, str(key)), secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, path, secrets) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return scrub(str(value), secrets)


def _fields(struct: Any, path: Path, secrets: set[str]) -> dict[str, Any]:
    return {name: _plain(getattr(struct, name), (*path, name), secrets) for name in struct.__struct_fields__}
