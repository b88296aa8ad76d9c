"""Driver: one TCP or TLS connection to a syslog receiver, on a raw non-blocking socket.

    open ──► write ... write ──► half_close ──► the peer's FIN ──► close
               │ error, peer's FIN, cancelled in the middle of a request: `ended` holds why

Why not asyncio's streams: they buffer in user space, cannot half-close TLS, and do not say how many bytes (ciphertext
included) the kernel was given; all three are needed to know what the peer has read (_syslog_confirm.py).

Invariants (tests/sinks/test_syslog.py):
  N1  `written_bytes` is what the kernel took on this connection, TLS handshake included
  N2  what the peer sends is read and thrown away at once: unread bytes would turn our close into a reset
  N3  a request that was cut short (cancelled, failed) ends the connection; nothing is written behind it
"""
from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable

from ..errors import Retryable
from ._syslog_facts import Facts, facts_of
from ._tls import reason

SEAL_BYTES = 256 * 1024              # what is encrypted at once: bounds the ciphertext that is held
_READ_BYTES = 64 * 1024
YOUNG_S = 5.0                        # a plain connection that its peer ends sooner may lead to a port that wants TLS
_READS_AT_ONCE = 16                  # a peer that talks without end does not hold up the loop


class Connection:
    """Plain TCP. `on_end(self)` is called once, from the loop, when the peer closes or the connection fails.

    `on_data`: is given what the peer sends (deciphered), from the loop; without it that is thrown away (N2).
    """

    def __init__(
        self, sock: socket.socket, peer: str, on_end: Callable[[Connection], None],
        on_data: Callable[[bytes], None] | None = None,
    ) -> None:
        self.sock, self.peer, self.on_end, self.on_data = sock, peer, on_end, on_data
        self.written_bytes = 0
        self.half_closed = False
        self.peer_closed = False
        self.ended: Retryable | None = None
        self.ended_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._room: asyncio.Future[None] | None = None
        self._tail = b""
        self._closed = False
        self._opened_s = self._loop.time()

    def watch(self) -> None:
        """Notice from now on what the peer sends, closes or resets (N2)."""
        self._loop.add_reader(self.sock.fileno(), self.poll)

    def poll(self) -> None:
        """Read what is there, without waiting. Sets `ended` where the peer closed or the connection failed."""
        for _ in range(_READS_AT_ONCE):
            if self.ended is not None or self._closed:
                return
            try:
                data = self.sock.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                return self._ended_by_peer(f"broke the connection ({reason(error)})")
            if not data:
                self.peer_closed = True
                return self._ended_by_peer("closed the connection")
            self._take(data)

    def end(self, why: str) -> None:
        """This connection takes nothing more. The first reason stays."""
        if self.ended is not None or self._closed:
            return
        self.ended, self.ended_s = Retryable(f"{why}; what is unconfirmed is sent again"), self._loop.time()
        self._loop.remove_reader(self.sock.fileno())
        if self._room is not None and not self._room.done():
            self._room.set_exception(self.ended)
        self.on_end(self)

    async def write(self, payload: bytes) -> None:
        """Returns when the kernel has all of `payload`. Retryable where the connection is at its end.

        Cancelled or failed with a part written, it ends the connection (N3).
        """
        self.poll()
        if self.ended is not None:
            raise self.ended
        before = self.written_bytes
        whole = False
        try:
            for chunk in self._sealed(payload):
                await self._push(chunk)
            whole = True
        finally:
            if not whole and (self.written_bytes != before or self._seals):
                self.end(f"a request to {self.peer} was cut short")

    async def _push(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self.ended is not None:
                raise self.ended
            try:
                sent = self.sock.send(view)
            except (BlockingIOError, InterruptedError):
                await self._wait_room()
                continue
            except OSError as error:
                self._ended_by_peer(f"broke the connection ({reason(error)})")
                continue
            self.written_bytes += sent
            view = view[sent:]

    async def _wait_room(self) -> None:
        self._room = self._loop.create_future()
        self._loop.add_writer(self.sock.fileno(), _resolve, self._room)
        try:
            await self._room
        finally:
            self._room = None
            if not self._closed:
                self._loop.remove_writer(self.sock.fileno())

    def half_close(self) -> None:
        """Nothing more from us: close_notify (TLS), then FIN, behind what is still to go. Never waits."""
        self.half_closed = True
        self._tail = self._farewell()
        self._send_tail()

    def _send_tail(self) -> None:
        try:
            while self._tail:
                sent = self.sock.send(self._tail)
                self.written_bytes += sent
                self._tail = self._tail[sent:]
            self.sock.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self.sock.fileno(), self._send_tail)
            return
        except OSError as error:
            self.end(f"{self.peer} broke the connection ({reason(error)})")
        if not self._closed:
            self._loop.remove_writer(self.sock.fileno())

    def facts(self) -> Facts:
        """What the kernel knows now."""
        return facts_of(self.sock)

    def close(self) -> None:
        """Free the socket. What the kernel has is still sent; an open TLS session is ended as one, where there is room."""
        if self._closed:
            return
        if self.ended is None and not self.half_closed and self._room is None:
            with contextlib.suppress(OSError):           # no room, or gone: nothing depends on it
                self.sock.send(self._farewell())
        self._loop.remove_reader(self.sock.fileno())
        self._loop.remove_writer(self.sock.fileno())
        self._closed = True
        if self._room is not None and not self._room.done():
            self._room.set_exception(Retryable(f"the connection to {self.peer} was closed"))
        self.sock.close()

    def _ended_by_peer(self, what: str) -> None:
        early = not self._seals and self._loop.time() - self._opened_s < YOUNG_S
        self.end(f"{self.peer} {what}{'; if it does so each time, it may want TLS or another framing' if early else ''}")

    # What TLS does otherwise.

    _seals = False

    def _sealed(self, payload: bytes) -> Iterable[bytes]:
        return (payload,)

    def _take(self, data: bytes) -> None:
        if self.on_data is not None:
            self.on_data(data)

    def _farewell(self) -> bytes:
        return b""

    async def handshake(self) -> None:
        """Nothing to do for plain TCP."""


class TlsConnection(Connection):
    """TLS through memory buffers, so that ciphertext is counted and can be half-closed."""

    _seals = True

    def __init__(
        self, sock: socket.socket, peer: str, on_end: Callable[[Connection], None], context: ssl.SSLContext, name: str,
        on_data: Callable[[bytes], None] | None = None,
    ) -> None:
        super().__init__(sock, peer, on_end, on_data)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)

    async def handshake(self) -> None:
        """Retryable where the certificate or the handshake is refused: certificates get renewed."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._push(self._out.read())
                data = await self._loop.sock_recv(self.sock, _READ_BYTES)
                if not data:
                    raise Retryable(f"{self.peer} closed the connection during the TLS handshake; is it a TLS port?") from None
                self._in.write(data)
            except ssl.SSLError as error:
                raise Retryable(_tls_message(self.peer, error)) from error
        await self._push(self._out.read())

    def _sealed(self, payload: bytes) -> Iterable[bytes]:
        view = memoryview(payload)
        while view:
            try:
                taken = self._tls.write(view[:SEAL_BYTES])
            except ssl.SSLError as error:
                self.end(_tls_message(self.peer, error))
                raise Retryable(_tls_message(self.peer, error)) from error
            view = view[taken:]
            yield self._out.read()

    def _take(self, data: bytes) -> None:
        """Tickets, key updates, alerts. What they make us answer goes out in front of the next write.

        Behind our half-close too: a peer that refuses the session may well have read all bytes, and closes like one
        that took them. Its own close_notify is then what we wait for; its FIN follows.
        """
        self._in.write(data)
        try:
            while plain := self._tls.read(_READ_BYTES):
                if self.on_data is not None:
                    self.on_data(plain)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            return self.end(_tls_message(self.peer, error))
        if not self.half_closed:
            self.end(f"{self.peer} closed the TLS session")

    def _farewell(self) -> bytes:
        try:
            self._tls.unwrap()
        except ssl.SSLError:             # always: it wants the peer's answer, which `poll` waits for
            return self._out.read()
        return self._out.read()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _tls_message(peer: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {peer} was refused ({reason(error)}); give its CA in tls.ca, the name that it carries in "
            "tls.server_name, or renew it"
        )
    mend = "give tls.cert and tls.key" if "certificate" in reason(error) else "is it a TLS port, with a version that both know?"
    return f"TLS with {peer} failed ({reason(error)}); {mend}"
