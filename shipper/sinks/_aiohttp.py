"""aiohttp, imported without the certificates that it reads for contexts which hardly anybody uses. Driver; once.

At import aiohttp makes two TLS contexts and reads all the system's certificates into both: 70 of the 180 ms that the import
takes, and 0.8 MB. Every sink over HTTP gives a context of its own. So nothing is read at import, and the context that verifies
reads them at its first handshake.

Invariants (tests/sinks/test_aiohttp_import.py):
  AI1  a context that verifies has the system's certificates when it shakes hands; until then it has none, which trusts nobody
  AI2  contexts that other threads make meanwhile are as ever
"""
from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Late(ssl.SSLContext):
    """AI1."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        self._read()
        return self.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self._read()
        return self.wrap_socket(*args, **kwargs)

    def _read(self) -> None:
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]
        self.set_default_verify_paths()


def load() -> None:
    """Import aiohttp, where nobody has yet."""
    if "aiohttp" in sys.modules:
        return
    with _without_certificates() as contexts:
        import aiohttp  # noqa: F401
    for context in contexts:
        context.__class__ = _Late


@contextmanager
def _without_certificates() -> Iterator[list[ssl.SSLContext]]:
    """Contexts that this thread makes meanwhile read none; those of them that verify."""
    found: list[ssl.SSLContext] = []
    ours = threading.get_ident()
    read_all = ssl.SSLContext.load_default_certs
    read = ssl.SSLContext.set_default_verify_paths

    def later(context: ssl.SSLContext) -> None:
        if threading.get_ident() != ours:
            read(context)
        elif context.verify_mode != ssl.CERT_NONE:
            found.append(context)

    def later_all(context: ssl.SSLContext, purpose: Any = ssl.Purpose.SERVER_AUTH) -> None:
        if threading.get_ident() != ours:
            read_all(context, purpose)
        else:
            later(context)

    context_class: Any = ssl.SSLContext                  # mypy takes a method for what cannot be assigned
    context_class.load_default_certs, context_class.set_default_verify_paths = later_all, later
    try:
        yield found
    finally:
        context_class.load_default_certs = read_all
        del context_class.set_default_verify_paths       # inherited from C
