"""Driver: the fluent forward protocol (v1) over TCP or TLS: to fluentd, Fluent Bit, or an aggregator that speaks it.

      connect ──► [HELO, PING, PONG where a shared key is given] ──► [tag, entries, {chunk}] ... ◄── {"ack": chunk} ...

Invariants (tests/sinks/test_forward.py):
  W1  a request is delivered when every chunk of it was acknowledged; a repeat sends only the others, the same bytes
  W2  a connection that ends, is silent for `ack_timeout`, or says what cannot be makes what waits on it Retryable
  W3  nothing is sent before the receiver has proven that it knows the shared key, where one is given
  W4  a chunk over `max_chunk` is never sent
Driver: once per request.
"""
from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import msgspec

from ..encode.forward import Chunk, ForwardEncoder, gzip
from ..encode.msgpack import unpack
from ..encode.template import compile_template
from ..errors import Retryable, TooLarge
from ..model import Batch, Request
from . import SinkContext, SinkSpec
from ._forward_config import ForwardConfig, guarantee, problems, secret
from ._syslog_connection import Connection
from ._syslog_connector import Connector


@dataclass(slots=True)
class Payload:
    """The chunks of a request, and which of them were acknowledged (W1)."""

    chunks: list[Chunk]
    acknowledged: set[str] = field(default_factory=set)


class Session:
    """One connection: handshake, then chunks and their acknowledgements."""

    def __init__(self, config: ForwardConfig, node: str, keep_secret: Callable[[str], None]) -> None:
        self._config, self._node, self._keep_secret = config, node, keep_secret
        self._held = b""
        self._words: asyncio.Queue[Any] | None = None         # what comes during the handshake
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._writing = asyncio.Lock()
        self.connection: Connection | None = None

    async def open(self, connector: Connector) -> Session:
        """Connected, and both sides know each other (W3). Retryable otherwise."""
        self._words = asyncio.Queue()
        self.connection = await connector.open(self._on_end, self._on_data)
        try:
            shared_key = secret(self._config.shared_key, self._config.shared_key_file)
            if shared_key:
                async with asyncio.timeout(self._config.connect_timeout):
                    await self._handshake(shared_key)
        except TimeoutError:
            self.connection.close()
            raise Retryable(f"{self._config.address} did not finish the handshake within {self._config.connect_timeout:g} s; "
                            "does it have a <security> section with a shared_key?") from None
        except BaseException:
            self.connection.close()
            raise
        self._words = None
        return self

    async def deliver(self, payload: Payload) -> None:
        """Send what is not acknowledged, and wait until it is (W1)."""
        assert self.connection is not None
        if not self._config.require_ack:
            async with self._writing:
                return await self.connection.write(b"".join([chunk.data for chunk in payload.chunks]))
        left = [chunk for chunk in payload.chunks if chunk.id not in payload.acknowledged]
        waits = {chunk.id: self._waiting.setdefault(chunk.id, asyncio.get_running_loop().create_future()) for chunk in left}
        try:
            async with asyncio.timeout(self._config.ack_timeout):
                async with self._writing:
                    for chunk in left:
                        await self.connection.write(chunk.data)
                await asyncio.gather(*waits.values())
        except TimeoutError:
            self.connection.end(f"{self._config.address} did not acknowledge within {self._config.ack_timeout:g} s")
            assert self.connection.ended is not None
            raise self.connection.ended from None
        finally:
            for name, wait in waits.items():
                self._waiting.pop(name, None)
                if wait.done() and not wait.cancelled() and wait.exception() is None:
                    payload.acknowledged.add(name)

    @property
    def usable(self) -> bool:
        assert self.connection is not None
        self.connection.poll()
        return self.connection.ended is None

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()

    # ------------------------------------------------------------ handshake

    async def _handshake(self, shared_key: str) -> None:
        config = self._config
        self._keep_secret(shared_key)
        password = secret(config.password, config.password_file)
        self._keep_secret(password)
        options = self._expect(await self._word(), b"HELO", 2)[1]
        if not isinstance(options, dict):
            raise self._foreign("a HELO without options")
        nonce, salt = _bytes_of(options.get(b"nonce")), os.urandom(16)
        user, digest = "", ""
        if auth_salt := _bytes_of(options.get(b"auth")):
            if config.username is None:
                raise Retryable(f"{config.address} wants a user name; give username and password")
            user = config.username
            digest = _digest(auth_salt, user.encode(), password.encode())
        proof = _digest(salt, self._node.encode(), nonce, shared_key.encode())
        assert self.connection is not None
        await self.connection.write(msgspec.msgpack.encode(["PING", self._node, salt, proof, user, digest]))
        pong = self._expect(await self._word(), b"PONG", 5)
        if pong[1] is not True:
            why = _bytes_of(pong[2]).decode("utf-8", "replace")[:200]
            raise Retryable(f"{config.address} refused this node ({why}); check shared_key, username and password")
        if not hmac.compare_digest(_digest(salt, _bytes_of(pong[3]), nonce, shared_key.encode()).encode(), _bytes_of(pong[4])):
            raise Retryable(f"{config.address} does not know the shared key; is it the right receiver?")

    async def _word(self) -> Any:
        assert self._words is not None
        word = await self._words.get()
        if isinstance(word, Exception):
            raise word
        return word

    def _expect(self, word: Any, name: bytes, size: int) -> list[Any]:
        if not isinstance(word, list) or len(word) < size or word[0] != name:
            raise self._foreign(f"no {name.decode()}")
        return word

    def _foreign(self, what: str) -> Retryable:
        return Retryable(f"{self._config.address} does not speak the forward protocol ({what}); is it the port of in_forward?")

    # ------------------------------------------------------------ from the connection

    def _on_data(self, data: bytes) -> None:
        assert self.connection is not None
        self._held += data
        try:
            while self._held and (found := unpack(self._held)) is not None:
                self._held = self._held[found[1]:]
                self._on_word(found[0])
        except ValueError as error:
            self.connection.end(str(self._foreign(str(error))))

    def _on_word(self, word: Any) -> None:
        if self._words is not None:
            return self._words.put_nowait(word)
        if isinstance(word, list) and word[:1] == [b"HELO"]:
            raise ValueError("it asks for a shared key; give shared_key_file")
        if not isinstance(word, dict) or b"ack" not in word:
            raise ValueError("neither an acknowledgement nor a handshake")
        wait = self._waiting.get(_bytes_of(word[b"ack"]).decode("ascii", "replace"))
        if wait is not None and not wait.done():       # else: of a request that was called off
            wait.set_result(None)

    def _on_end(self, connection: Connection) -> None:
        assert connection.ended is not None
        if self._words is not None:
            self._words.put_nowait(connection.ended)
        for wait in self._waiting.values():
            if not wait.done():
                wait.set_exception(connection.ended)
                wait.exception()                       # seen: a request that was called off asks no more


class ForwardSink:
    """Requests over one connection, several at once."""

    def __init__(self, config: ForwardConfig, context: SinkContext) -> None:
        self._config, self._context = config, context
        compress = _compressor() if config.compression == "gzip" else None
        self._encoder = ForwardEncoder(compile_template(config.tag), config.message_key, compress, config.require_ack)
        self._connector = Connector(config)
        self._session: Session | None = None
        self._opening = asyncio.Lock()

    async def start(self, state: Any) -> None:
        """Connects at the first send."""
        if self._config.protocol == "tls" and not self._config.tls.verify:
            self._context.telemetry.say(
                "warning", "tls_not_verified", about=self._context.name,
                mend="anyone on the way can read and fake the receiver; give its CA in tls.ca and remove `verify: false`",
            )

    def encode(self, batches: Sequence[Batch]) -> Payload:
        """One chunk per tag (W4)."""
        payload = Payload(self._encoder.encode(batches))
        largest = max((len(chunk.data) for chunk in payload.chunks), default=0)
        if largest > self._config.max_chunk:
            raise TooLarge(f"a chunk of {largest} bytes is over max_chunk ({int(self._config.max_chunk)})")
        return payload

    async def send(self, request: Request, payload: Payload) -> None:
        """W1."""
        if payload.chunks:
            session = await self._ready()
            await session.deliver(payload)

    async def _ready(self) -> Session:
        async with self._opening:
            if self._session is not None and not self._session.usable:
                self._session.close()
                self._session = None
            if self._session is None:
                made = Session(self._config, self._context.node, self._context.telemetry.keep_secret)
                self._session = await made.open(self._connector)
                self._context.telemetry.count("shipper_sink_connections_total", 1, self._context.name)
            return self._session

    async def flush(self, deadline_s: float) -> None:
        """All that was sent is acknowledged already."""

    def durable(self, number: int) -> None:
        """Nothing is kept."""

    def status(self) -> dict[str, Any]:
        """For /status."""
        return {"connected": self._session is not None and self._session.usable}

    async def close(self) -> None:
        """Free the socket."""
        if self._session is not None:
            self._session.close()
            self._session = None


def _compressor() -> Callable[[bytes], bytes]:
    """With isal where it is installed (extra `fast`)."""
    try:
        library = import_module("isal.isal_zlib")
    except ImportError:
        return gzip
    return lambda data: gzip(data, library)


def _bytes_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


SINK = SinkSpec(
    summary="The fluent forward protocol with acknowledgements: fluentd, Fluent Bit, or an aggregator of them.",
    config=ForwardConfig,
    build=ForwardSink,
    check=problems,
    guarantee=guarantee,
    request_bytes=1024 * 1024,
)
