"""Opens connections to receivers as a config says: names, addresses, time-outs, TLS. Driver: once per connection.

Invariants (tests/sinks/test_syslog.py):
  N4  certificates and keys are read again when their files change
"""
from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from ..config.units import Seconds
from ..errors import Retryable
from ._names import addresses
from ._syslog_config import TLS_PROTOCOLS, host_port
from ._syslog_connection import Connection, TlsConnection
from ._tls import TlsConfig, make_context, reason

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)


class ConnectionSettings(Protocol):
    """The part of a sink's config that a Connector reads; see SyslogConfig."""

    @property
    def address(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def tls(self) -> TlsConfig: ...
    @property
    def connect_timeout(self) -> Seconds: ...
    @property
    def tcp_user_timeout(self) -> Seconds: ...


class Connector:
    """Opens connections as a config says. Resolves the name each time; tries every address."""

    def __init__(self, config: ConnectionSettings) -> None:
        self._config = config
        self._host, self._port = host_port(config.address)
        self._context: tuple[Any, ssl.SSLContext] | None = None

    async def open(
        self, on_end: Callable[[Connection], None], on_data: Callable[[bytes], None] | None = None,
    ) -> Connection:
        """A connection that is ready for `write`. Retryable, with the mend, where no address can be reached."""
        address, timeout_s = self._config.address, self._config.connect_timeout
        try:
            async with asyncio.timeout(timeout_s):
                found = await addresses(self._host, self._port)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise Retryable(f"cannot resolve {self._host} ({_text(error)}); check `address` and the DNS") from error
        failure: BaseException = OSError("it has no address")
        for family, kind, protocol, _, target in found:
            try:
                return await self._try(socket.socket(family, kind, protocol), target, on_end, on_data)
            except (OSError, TimeoutError, Retryable) as error:
                failure = error
        if isinstance(failure, Retryable):
            raise failure
        raise Retryable(
            f"cannot connect to {address} ({_text(failure)}); check that the receiver runs and that `address` and the network "
            "policy let this node reach it"
        ) from failure

    async def _try(
        self, sock: socket.socket, target: Any, on_end: Callable[[Connection], None], on_data: Callable[[bytes], None] | None,
    ) -> Connection:
        made: Connection | None = None
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._config.connect_timeout
        try:
            sock.setblocking(False)
            set_options(sock, self._config.tcp_user_timeout)
            async with asyncio.timeout_at(deadline_s):
                await loop.sock_connect(sock, target)
            made = self._wrap(sock, on_end, on_data)
            try:
                async with asyncio.timeout_at(deadline_s):
                    await made.handshake()
            except TimeoutError:
                raise Retryable(f"{self._config.address} took the connection and did not answer the TLS handshake within "
                                f"{self._config.connect_timeout:g} s; is it a TLS port?") from None
            made.watch()
            return made
        except BaseException:
            made.close() if made is not None else sock.close()
            raise

    def _wrap(
        self, sock: socket.socket, on_end: Callable[[Connection], None], on_data: Callable[[bytes], None] | None,
    ) -> Connection:
        if self._config.protocol not in TLS_PROTOCOLS:
            return Connection(sock, self._config.address, on_end, on_data)
        name = self._config.tls.server_name or self._host
        return TlsConnection(sock, self._config.address, on_end, self._tls_context(), name, on_data)

    def _tls_context(self) -> ssl.SSLContext:
        """Kept while its files stay the same (N4): reading the system's CAs takes 20 ms."""
        tls = self._config.tls
        stamp = _stamp(tls)
        if self._context is None or self._context[0] != stamp:
            try:
                self._context = stamp, make_context(tls)
            except (ssl.SSLError, OSError) as error:
                raise Retryable(f"the files of `tls` are unusable ({reason(error)}); give PEM files that fit together") from error
        return self._context[1]


def _stamp(tls: TlsConfig) -> Any:
    stats = [os.stat(path) if path is not None and os.path.exists(path) else None for path in (tls.ca, tls.cert, tls.key)]
    return [stat and (stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]


def set_options(sock: socket.socket, user_timeout_s: float) -> None:
    """Keepalive finds a dead peer while idle (2 minutes), TCP_USER_TIMEOUT while bytes are under way."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, max(1, int(user_timeout_s * 1000)))


def _text(error: BaseException) -> str:
    return "timed out" if isinstance(error, TimeoutError) and not str(error) else reason(error)
