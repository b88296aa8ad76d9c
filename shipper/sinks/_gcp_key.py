"""Application default credentials: which file it is, and whether it is one. Reads files; makes no request.

    credentials_file of the sink ─► GOOGLE_APPLICATION_CREDENTIALS ─► gcloud's own file ─► (none) the metadata server

Invariants (tests/sinks/test_gcp_auth.py):
  GK1  a file that is named, or that is there, is either good credentials or a ValueError that says what is wrong with it: it
       is never passed over for the metadata server (that would be another identity than the one that was asked for)
  GK2  no message holds any of its content but the values of `type` and `universe_domain`
"""
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_MAX_BYTES = 64 * 1024
IMPERSONATION = "service_account_impersonation_url"
GOOGLES_UNIVERSE = "googleapis.com"
_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_FIELDS = {
    "service_account": ("client_email", "private_key", "token_uri"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "external_account": ("audience", "subject_token_type", "token_url", "credential_source"),
    "impersonated_service_account": ("service_account_impersonation_url", "source_credentials"),
}
_URLS = ("token_uri", "token_url", "service_account_impersonation_url")
SECRET_FIELDS = ("private_key", "client_secret", "refresh_token")
_MEND = "give a service account's key, or what `gcloud iam workload-identity-pools create-cred-config` writes"


@dataclass(frozen=True, slots=True)
class Place:
    """Where credentials come from. `named_by`: the key or variable that names the file; "" for gcloud's own."""

    path: str
    named_by: str

    def blame(self, what: str) -> str:
        """`what` is wrong, with the path and who named it."""
        named = f" (named by {self.named_by})" if self.named_by == _VARIABLE else ""
        return f"{self.path}{named} {what}"


def find(configured: str | None, environ: Mapping[str, str] = os.environ) -> Place | None:
    """The credentials file; None where the metadata server is asked."""
    if configured is not None:
        return Place(configured, "credentials_file")
    if environ.get(_VARIABLE):
        return Place(environ[_VARIABLE], _VARIABLE)
    directory = environ.get("CLOUDSDK_CONFIG") or os.path.join(environ.get("HOME") or "/nonexistent", ".config", "gcloud")
    path = os.path.join(directory, "application_default_credentials.json")
    return Place(path, "") if os.path.exists(path) else None


def read(path: str) -> dict[str, Any]:
    """The credentials in the file. ValueError saying what is wrong, and the mend (GK1, GK2)."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}; give the path of a file that this process may read") from None
    except UnicodeDecodeError:
        raise ValueError(f"is not JSON; {_MEND}") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        what = "is empty" if not text.strip() else "is too long" if len(text) > _MAX_BYTES else "is not JSON"
        raise ValueError(f"{what}; {_MEND}") from None
    _check(found)
    return found  # type: ignore[no-any-return]


def _check(found: Any) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"holds no credentials; {_MEND}")
    kind = found.get("type")
    if kind not in _FIELDS:
        named = "has no `type`" if kind is None else f"is of type {str(kind)[:60]!r}, which is not supported"
        raise ValueError(f"{named}; use one of {', '.join(_FIELDS)}")
    _whole(found, str(kind))
    for name in _URLS:
        _check_url(name, found.get(name))
    if kind == "service_account":
        _check_key(found["private_key"])
    if kind == "external_account":
        _check_source(found["credential_source"])
    if kind == "impersonated_service_account":
        source = found["source_credentials"]
        if not isinstance(source, dict) or source.get("type") != "authorized_user":
            raise ValueError("impersonates from credentials that are not authorized_user; use a service account's key instead")
        _whole(source, "source_credentials of type authorized_user")


def _whole(found: dict[str, Any], what: str) -> None:
    missing = [name for name in _FIELDS[found["type"]] if not found.get(name)]
    if missing:
        raise ValueError(f"is no whole {what}: {', '.join(missing)} missing; download it again")


def universe(environ: Mapping[str, str], found: Mapping[str, Any]) -> str:
    """The domain of the cloud that credentials are of: googleapis.com, or that of a sovereign one."""
    return str(found.get("universe_domain") or environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN") or GOOGLES_UNIVERSE)[:100]


def _check_url(name: str, url: Any) -> None:
    if url is None:
        return
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        raise ValueError(f"has a {name} that is not https; download it again")


def _check_key(pem: Any) -> None:
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        return                              # the extra is missing, which is said elsewhere
    try:
        usable = isinstance(load_pem_private_key(pem.encode(), None), RSAPrivateKey)
    except Exception:  # noqa: BLE001 - whatever the parser says, it may quote the key (GK2)
        usable = False
    if not usable:
        raise ValueError("has a private_key that is no RSA key in PEM; download it again (newlines are often lost in copying)")


def _check_source(source: Any) -> None:
    if not isinstance(source, dict):
        raise ValueError(f"has a credential_source that is no object; {_MEND}")
    if str(source.get("environment_id", "")).startswith("aws"):
        raise ValueError("federates from AWS, which is not supported; use a file or url source")
    if "executable" in source:
        raise ValueError("runs a program for its token, which is not supported; use a file or url source")
    form = source.get("format")
    if "file" in source and isinstance(form, dict) and form.get("type", "text") != "text":
        raise ValueError("has a credential_source whose file is JSON, which would be sent whole as the token; have the token "
                         "alone written to the file, or use a url source")
    if not ("file" in source or "url" in source or source.get("type") == "environment"):
        raise ValueError("has a credential_source with neither file nor url; create it again")
