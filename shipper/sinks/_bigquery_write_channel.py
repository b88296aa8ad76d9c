"""BigQuery's Storage Write API over gRPC: streams, and connections to one. Driver. grpcio is imported at the first call.

Invariants (tests/sinks/test_bigquery_write.py):
  CH1  whatever goes wrong is Refused with a code of google.rpc.Code; nothing is tried again here
  CH2  a token is asked for per call; one that is refused (UNAUTHENTICATED) is forgotten
  CH3  the first request of a connection has the rows' descriptor, and each whose descriptor is another than the last one's
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from ..errors import Fatal
from . import _bigquery_write_wire as wire
from ._bigquery_config import EXTRA_MEND
from ._bigquery_write_wire import Answer, Refused

DEADLINE, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 4, 13, 14, 16
_OPTIONS = [
    ("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 20_000), ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 5_000),
]


_T = TypeVar("_T")


class Who(Protocol):
    """Credentials (_gcp_auth.py)."""

    async def headers(self) -> Mapping[str, str]: ...
    def refused(self) -> None: ...


class WriteChannel:
    """`url`: https://host[:port], or http:// for an emulator. `ca`: PEM file of the authority, else the usual ones."""

    def __init__(self, url: str, who: Who, timeout_s: float, *, ca: str | None = None, proxy: bool = True) -> None:
        self._url, self._who, self._timeout_s, self._ca, self._proxy = urlsplit(url), who, timeout_s, ca, proxy
        self._channel: Any = None

    async def create_stream(self, table: str) -> str:
        """The name of a new committed stream of projects/P/datasets/D/tables/T."""
        answer = await self._unary("CreateWriteStream", wire.create_request(table), f"parent={quote(table, safe='')}")
        return _read_as(wire.read_name, answer)

    async def finalize(self, stream: str) -> int:
        """No append can succeed from now on; how many rows it has. Again and again is safe."""
        answer = await self._unary("FinalizeWriteStream", wire.name_request(stream), f"name={quote(stream, safe='')}")
        return _read_as(wire.read_row_count, answer)

    async def connect(self, stream: str) -> Connection:
        """For appends to one stream."""
        metadata = await self._metadata(f"write_stream={quote(stream, safe='')}")
        call = self._open().stream_stream(wire.SERVICE + "AppendRows")(metadata=metadata)
        return Connection(call, stream, self._timeout_s, self._who)

    def refused(self) -> None:
        """The token was, in an answer (CH2)."""
        self._who.refused()

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _unary(self, method: str, request: bytes, route: str) -> bytes:
        metadata = await self._metadata(route)
        call = self._open().unary_unary(wire.SERVICE + method)
        answer: bytes = await _said(call(request, metadata=metadata, timeout=self._timeout_s), self._who)
        return answer

    async def _metadata(self, route: str) -> list[tuple[str, str]]:
        """CH2."""
        headers = await self._who.headers()
        return [("x-goog-request-params", route), *((name.lower(), value) for name, value in headers.items())]

    def _open(self) -> Any:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")             # it writes to stderr, past our log
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")      # children (journalctl) are exec'ed, and could hang before
        try:
            from grpc import aio, ssl_channel_credentials
        except ImportError as error:
            raise Fatal(EXTRA_MEND) from error
        if self._channel is None:
            options = [*_OPTIONS, ("grpc.enable_http_proxy", int(self._proxy))]
            place = f"{self._url.hostname}:{self._url.port or (443 if self._url.scheme == 'https' else 80)}"
            if self._url.scheme == "http":
                self._channel = aio.insecure_channel(place, options)
            else:
                self._channel = aio.secure_channel(place, ssl_channel_credentials(_read(self._ca)), options)
        return self._channel


class Connection:
    """Requests go out one after the other, answers come in the same order."""

    def __init__(self, call: Any, stream: str, timeout_s: float, who: Who) -> None:
        self._call, self._timeout_s, self._who, self.stream = call, timeout_s, who, stream
        self._descriptor: bytes | None = None

    async def append(self, offset: int, rows: bytes, descriptor: bytes) -> None:
        """CH3. Returns when the connection has taken it; the answer comes by `answer`."""
        new = None if descriptor == self._descriptor else descriptor
        await self._within(self._call.write(wire.append_request(self.stream, offset, rows, new)))
        self._descriptor = descriptor

    async def answer(self) -> Answer:
        """To the oldest request without one."""
        data = await self._within(self._call.read())
        if not isinstance(data, bytes):
            raise await self._how_it_ended()
        try:
            return wire.read_answer(data)
        except ValueError as error:
            raise Refused(Answer(INTERNAL, f"an answer that is none: {error}")) from error

    def cancel(self) -> None:
        self._call.cancel()

    async def _within(self, work: Awaitable[Any]) -> Any:
        """What a write or read that failed says of the reason is often nothing: the call's own status knows."""
        from grpc import RpcError

        try:
            async with asyncio.timeout(self._timeout_s):
                return await work
        except TimeoutError:
            raise Refused(Answer(DEADLINE, f"no answer in {self._timeout_s:g} s")) from None
        except (RpcError, asyncio.InvalidStateError):
            raise await self._how_it_ended() from None
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Refused(Answer(UNAVAILABLE, "the connection was ended")) from None

    async def _how_it_ended(self) -> Refused:
        call = self._call
        try:
            async with asyncio.timeout(1.0):
                answer = status_of(await call.code(), await call.details(), await call.trailing_metadata())
        except TimeoutError:
            answer = Answer(UNAVAILABLE, "the connection was ended")
        if answer.code == UNAUTHENTICATED:
            self._who.refused()
        return Refused(answer if answer.code else Answer(UNAVAILABLE, "the connection was ended by the far side"))


async def _said(work: Awaitable[Any], who: Who) -> Any:
    """CH1."""
    from grpc import RpcError

    try:
        return await work
    except RpcError as error:
        said: Any = error
        answer = status_of(said.code(), said.details(), said.trailing_metadata())
    if answer.code == UNAUTHENTICATED:
        who.refused()
    raise Refused(answer)


def status_of(code: Any, details: str | None, trailer: Any) -> Answer:
    """What the end of a call says."""
    number: int = code.value[0]
    for name, value in trailer or ():
        if name == "grpc-status-details-bin":
            try:
                found = wire.read_status(value)
            except ValueError:
                break
            return Answer(number, found.message or details or "", found.storage_code)
    return Answer(number, details or "")


def _read_as(read: Callable[[bytes], _T], answer: bytes) -> _T:
    try:
        return read(answer)
    except ValueError as error:
        raise Refused(Answer(INTERNAL, f"an answer that is none: {error}")) from error


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Fatal(f"tls.ca {path} cannot be read: {error.strerror}") from error


