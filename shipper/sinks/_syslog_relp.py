"""Driver: syslog over RELP. One message per transaction; delivered means that the receiver answered 200 for it.

    send ──► [ session: open, offers ] ──► up to `relp_window` transactions without answer ──► all answered ──► confirmed

Invariants (tests/sinks/test_syslog_relp.py):
  P1  a request is confirmed when every message of it was answered with 200, or refused by name (Rejected)
  P2  a request that is tried again sends only what was not answered: repeats are what was in the window
  P3  a session that says anything unexpected, closes, or is silent for `ack_timeout` is ended; the request is Retryable
  P4  no more than `relp_window` transactions are unanswered
"""
from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from ..errors import Rejected, Retryable
from ..model import Batch, Request
from . import SinkContext
from ._relp_frames import OFFERS, BrokenStream, Frame, Reader, Response, bodies, body, numbered, numbers, response
from ._syslog_config import SyslogConfig, encoder_of
from ._syslog_connection import Connection
from ._syslog_connector import Connector

OK = 200
CLOSE_S = 1.0                # how long a receiver may take to answer `close`


class Session:
    """One connection's transactions. `answered(index, response)` for each message of the request that is being sent."""

    def __init__(self, config: SyslogConfig) -> None:
        self._config = config
        self._reader = Reader()
        self._next = 1
        self._waiting: dict[int, int] = {}
        self._news = asyncio.Event()
        self.answers: dict[int, Response] = {}
        self.connection: Connection | None = None

    async def open(self, connector: Connector) -> Session:
        """Connected, and the receiver takes syslog. Retryable otherwise."""
        self.connection = await connector.open(lambda ended: self._news.set(), self._on_data)
        try:
            answer = await self._ask(body(b"open", OFFERS), self._config.connect_timeout)
            offers = dict(line.partition(b"=")[::2] for line in answer.lines)
            if answer.code != OK or b"syslog" not in offers.get(b"commands", b"syslog").split(b","):
                raise Retryable(f"{self._config.address} refused the RELP session ({answer.code} {answer.text}); see its log")
        except BaseException:
            self.connection.close()
            raise
        return self

    async def deliver(self, made: Sequence[bytes], indexes: Sequence[int]) -> None:
        """Send these bodies; returns when each has an answer, under its index in `answers`. Retryable (P3)."""
        at, window = 0, self._config.relp_window
        while at < len(made) or self._waiting:
            room = min(window - len(self._waiting), len(made) - at)
            if room:                             # what the answers of one read freed goes out in one write
                await self._write(made[at:at + room], indexes[at:at + room])
                at += room
            else:
                await self._wait(self._config.ack_timeout)

    async def close(self) -> None:
        """As a client ends a session; waits CLOSE_S at most."""
        if self.connection is None:
            return
        if self.connection.ended is None and not self._waiting:
            with contextlib.suppress(Retryable, TimeoutError):      # nothing depends on it: all was answered
                async with asyncio.timeout(CLOSE_S):
                    await self._ask(body(b"close", b""), CLOSE_S)
        self.connection.close()

    @property
    def usable(self) -> bool:
        """Nothing is under way, and the receiver has not closed."""
        assert self.connection is not None
        self.connection.poll()
        return self.connection.ended is None and not self._waiting

    async def _ask(self, made: bytes, timeout_s: float) -> Response:
        await self._write([made], [-1])
        while self._waiting:
            await self._wait(timeout_s)
        return self.answers.pop(-1)

    async def _write(self, made: Sequence[bytes], indexes: Sequence[int]) -> None:
        """The receiver may be stalled and take nothing: that is silence too."""
        assert self.connection is not None
        first, used = self._next, numbers(self._next, len(made))
        self._next = numbers(used[-1], 2)[1]
        self._waiting.update(zip(used, indexes, strict=True))
        try:
            async with asyncio.timeout(self._config.ack_timeout):
                await self.connection.write(numbered(first, made))
        except TimeoutError:
            self._silent(self._config.ack_timeout)
            raise self._ended() from None

    async def _wait(self, timeout_s: float) -> None:
        """For the next word of the receiver."""
        self._news.clear()
        assert self.connection is not None
        if self.connection.ended is None:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                if not self._news.is_set():          # else it spoke in time, and it is we who were busy
                    self._silent(timeout_s)
        if self.connection.ended is not None and self._waiting:
            raise self._ended()

    def _silent(self, timeout_s: float) -> None:
        assert self.connection is not None
        self.connection.end(f"{self._config.address} left {len(self._waiting)} messages without an answer for {timeout_s:g} s")

    def _ended(self) -> Retryable:
        assert self.connection is not None and self.connection.ended is not None
        return self.connection.ended

    def _on_data(self, data: bytes) -> None:
        """P3: what cannot be is the end of the session."""
        assert self.connection is not None
        self._acknowledge_at_once()
        try:
            for frame in self._reader.feed(data):
                self._on_frame(frame)
        except BrokenStream as error:
            self.connection.end(f"{self._config.address} does not speak RELP ({error}); is it the port of imrelp?")
        self._news.set()

    def _acknowledge_at_once(self) -> None:
        """librelp writes each answer by itself with Nagle's algorithm on: the second one waits until our kernel acknowledges the
        first, which takes 40 ms unless it is told, again and again: 2,800 messages/s without, 67,000 to 95,000 with it."""
        assert self.connection is not None
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _on_frame(self, frame: Frame) -> None:
        assert self.connection is not None
        if frame.command == b"serverclose":
            return self.connection.end(f"{self._config.address} closed the RELP session")
        if frame.command != b"rsp" or frame.txnr not in self._waiting:
            raise BrokenStream(f"unexpected {frame.command.decode()} for transaction {frame.txnr}")
        if not frame.data and self._waiting[frame.txnr] >= 0:        # librelp answers `close` so, and nothing else
            raise BrokenStream(f"an answer without a code for transaction {frame.txnr}")
        self.answers[self._waiting.pop(frame.txnr)] = response(frame.data) if frame.data else Response(OK, "", ())


class RelpSink:
    """Requests one after the other; each is confirmed when `send` returns."""

    def __init__(self, config: SyslogConfig, context: SinkContext) -> None:
        self._config, self._context = config, context
        self._encoder = encoder_of(config)
        self._connector = Connector(config)
        self._session: Session | None = None
        self._number = -1
        self._answers: dict[int, Response] = {}      # of request `_number`, from sessions that ended

    async def start(self, state: Any) -> None:
        """Connects at the first send."""
        if self._config.protocol == "relp-tls" and not self._config.tls.verify:
            self._context.telemetry.say(
                "warning", "tls_not_verified", about=self._context.name,
                mend="anyone on the way can read and fake the receiver; give its CA in tls.ca and remove `verify: false`",
            )

    def encode(self, batches: Sequence[Batch]) -> list[bytes]:
        """The frames of all messages, without their numbers: those belong to a session."""
        made = self._encoder.encode(batches)
        assert isinstance(made, list)
        return bodies(made)

    async def send(self, request: Request, payload: list[bytes]) -> None:
        """P1, P2. Rejected with the receiver's words for what it refused."""
        if request.number != self._number:
            self._number, self._answers = request.number, {}
        left = [index for index in range(len(payload)) if index not in self._answers]
        if left:
            await self._deliver([payload[index] for index in left], left)
        refused = {index: answer for index, answer in self._answers.items() if answer.code != OK}
        self._number, self._answers = -1, {}
        if not refused:
            return self._context.confirmed(request.number)
        dead = self._records_of(request.batches, sorted(refused))
        if len(dead) < request.records:
            # What was taken is confirmed once delivery knows of the rest: a request is not passed while it is being sent.
            asyncio.get_running_loop().call_soon(self._context.confirmed, request.number)
        answer = next(iter(refused.values()))
        raise Rejected(f"{self._config.address} answered {answer.code} {answer.text}", indexes=dead, rest_delivered=True)

    async def _deliver(self, made: Sequence[bytes], indexes: Sequence[int]) -> None:
        session = await self._ready()
        try:
            await session.deliver(made, indexes)
        finally:
            self._answers.update(session.answers)
            session.answers.clear()
            assert session.connection is not None
            if not session.usable:                   # failed, or cancelled in the middle: what was sent is unanswered
                session.connection.close()
                self._session = None

    async def _ready(self) -> Session:
        """A session that is open. One that the receiver closed meanwhile is replaced: nothing was unanswered on it."""
        if self._session is not None and not self._session.usable:
            assert self._session.connection is not None
            self._session.connection.close()
            self._session = None
        if self._session is None:
            self._session = await Session(self._config).open(self._connector)
            self._context.telemetry.count("shipper_sink_connections_total", 1, self._context.name)
        return self._session

    def _records_of(self, batches: Sequence[Batch], messages: Sequence[int]) -> tuple[int, ...]:
        """The records that these messages are parts of: long ones are split, empty lines give none. Rare: encodes again."""
        owners: list[int] = []
        singles = (batch.slice(i, i + 1) for batch in batches for i in range(len(batch)))
        for record, single in enumerate(singles):
            owners += [record] * len(self._encoder.encode([single]))
        return tuple(sorted({owners[message] for message in messages}))

    async def flush(self, deadline_s: float) -> None:
        """All that was sent is confirmed already."""

    def durable(self, number: int) -> None:
        """Nothing is kept."""

    def status(self) -> dict[str, Any]:
        """For /status."""
        return {"connected": self._session is not None, "answered_of_request": len(self._answers)}

    async def close(self) -> None:
        """Ends the session as a client does."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
