"""TLS as all sinks configure it: the keys, what is wrong with them, and the context that they make.

Reads the files that the keys name; opens no connection. Once per check and per connection.
"""
from __future__ import annotations

import os
import ssl

import msgspec


class TlsConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """ca: PEM file (None: the system's); cert and key: our own, for mutual TLS; server_name: the name that the
    certificate must carry (None: the host of `address`); verify: false lets anyone read and fake the receiver."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool = True


def file_problems(tls: TlsConfig) -> list[tuple[str, str]]:
    """What `shipper check` says of the files: (key path below the sink, problem; mend). Reads them."""
    found = [
        problem for name, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key))
        for problem in unreadable(f"tls.{name}", path, "a PEM file")
    ]
    if tls.key is not None and tls.cert is None:
        found.append(("tls.key", "is of no use without tls.cert; give both"))
    if found:
        return found
    try:
        make_context(tls)
    except (ssl.SSLError, OSError, ValueError) as error:
        where = "tls.cert" if tls.cert else "tls.ca"
        found.append((where, f"is not usable ({reason(error)}); give PEM files, and a key that belongs to the certificate"))
    return found


def unreadable(key: str, path: str | None, what: str = "a file") -> list[tuple[str, str]]:
    """The problem of a file that this process may not read; none where it may, or where no file is named."""
    if path is None or (os.path.isfile(path) and os.access(path, os.R_OK, effective_ids=True)):
        return []
    return [(key, f"cannot read {path}; give the path of {what} that this process may read")]


def reason(error: BaseException) -> str:
    """The short part of an error's message, without OpenSSL's source lines."""
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
    return str(text).lower().replace("_", " ") if isinstance(error, ssl.SSLError) else str(text) or type(error).__name__


def make_context(tls: TlsConfig) -> ssl.SSLContext:
    """A client context. No renegotiation: the receiver's wish for one ends the connection, and a new one is opened."""
    context = ssl.create_default_context(cafile=tls.ca)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context
