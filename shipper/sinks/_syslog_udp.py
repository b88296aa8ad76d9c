"""Driver: syslog over UDP. One message per datagram; `send` means handed to the kernel, nothing more can be known."""
from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Any

from ..errors import Retryable, TooLarge
from ..model import Batch, Request
from . import SinkContext
from ._names import addresses
from ._syslog_config import SyslogConfig, encoder_of, host_port
from ._tls import reason

_DATAGRAMS_PER_TURN = 256        # 0.5 ms; then others get their turn


class UdpSink:
    """Confirms each request when `send` returns. A port that is closed on a host that says so (ICMP) is Retryable."""

    def __init__(self, config: SyslogConfig, context: SinkContext) -> None:
        self._config, self._context = config, context
        self._encoder = encoder_of(config)
        self._sock: socket.socket | None = None

    async def start(self, state: Any) -> None:
        """Nothing is opened before the first send."""

    def encode(self, batches: Sequence[Batch]) -> list[bytes]:
        """The datagrams."""
        made = self._encoder.encode(batches)
        assert isinstance(made, list)
        return made

    async def send(self, request: Request, payload: list[bytes]) -> None:
        """Resolves the address again after an error."""
        sock = self._sock or await self._open()
        try:
            for start in range(0, len(payload), _DATAGRAMS_PER_TURN):
                for datagram in payload[start:start + _DATAGRAMS_PER_TURN]:
                    await self._send_one(sock, datagram)
                await asyncio.sleep(0)
        except OSError as error:
            self._drop()
            if error.errno == errno.EMSGSIZE:
                raise TooLarge(f"a datagram to {self._config.address} is over the network's limit; lower max_message") from error
            raise Retryable(f"cannot send to {self._config.address} ({reason(error)}); does the receiver listen?") from error
        self._context.confirmed(request.number)

    async def _send_one(self, sock: socket.socket, datagram: bytes) -> None:
        try:
            sock.send(datagram)
        except BlockingIOError:
            await asyncio.get_running_loop().sock_sendall(sock, datagram)

    async def _open(self) -> socket.socket:
        host, port = host_port(self._config.address)
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                found = await addresses(host, port, socket.SOCK_DGRAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise Retryable(f"cannot resolve {host} ({reason(error)}); check `address` and the DNS") from error
        family, kind, protocol, _, target = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.connect(target)
        except OSError as error:
            sock.close()
            raise Retryable(f"cannot reach {self._config.address} ({reason(error)}); check the route") from error
        self._sock = sock
        return sock

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def flush(self, deadline_s: float) -> None:
        """All that was sent is confirmed already."""

    def durable(self, number: int) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Free the socket."""
        self._drop()
