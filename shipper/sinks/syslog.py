"""Driver: syslog over TCP and TLS without silent loss (UDP: _syslog_udp.py, RELP: _syslog_relp.py). See docs/sinks/syslog.md.

      send ──► [ current ] ── idle 5 s, or every 60 s ──► next is opened, current is half-closed:
                                [ draining ] ── the peer's FIN ──► all of it is confirmed
               [ current = next ] takes what comes meanwhile; it is confirmed only behind the draining one

What is proven and when is decided in _syslog_confirm.py; here it is looked up, done and reported. Nothing is held for
unconfirmed requests but (number, position) pairs: the disk buffer has the bytes.

Invariants (tests/sinks/test_syslog.py):
  L1  confirmed numbers rise; a request is confirmed only behind all before it, whatever connection they were on
  L2  a connection that ends without proof (reset, FIN without barrier, time-out, a request cut short) means one `resend`,
      if anything was unconfirmed; nothing sent before it is confirmed after it
  L3  at most three connections: current, draining, next
  L4  a FIN behind a barrier proves only while the connection that was opened before it stays open: a receiver that is being
      stopped may shut all of them down with bytes unread, which leaves no reset
"""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..errors import Retryable
from ..model import Batch, Request
from . import Sink, SinkContext, SinkSpec
from ._syslog_config import RELP_PROTOCOLS, SyslogConfig, encoder_of, guarantee, problems
from ._syslog_confirm import BarrierPolicy, Ledger, Step
from ._syslog_connector import Connector
from ._syslog_link import Link
from ._syslog_relp import RelpSink
from ._syslog_udp import UdpSink

LOOK_EVERY_S = 0.25          # how often unconfirmed bytes are looked at; never while all is confirmed
SAMPLE_BYTES = 512 * 1024    # how often they are looked at while data flow: asking the kernel is 5 % of catching up otherwise
OPEN_FOR_FLUSH_S = 2.0       # how long the next connection may take at a flush
FIN_ACK_S = 2.0              # how long after the peer's FIN the acknowledgement of ours may take


class SyslogSink:
    """One stream of requests, in order, over one connection after the other."""

    def __init__(self, config: SyslogConfig, context: SinkContext) -> None:
        self._config, self._context = config, context
        self._encoder = encoder_of(config)
        self._connector = Connector(config)
        self._policy = BarrierPolicy(config.barrier_idle, config.barrier_interval, config.barrier_timeout)
        self._current: Link | None = None
        self._draining: Link | None = None
        self._next: Link | None = None
        self._generation = 0             # how often `resend` was called
        self._sending = False
        self._last_send_s = 0.0
        self._look_s = min(LOOK_EVERY_S, *(each / 2 for each in (
            config.barrier_idle, config.barrier_interval, config.barrier_timeout)))
        self._looking = False            # every look_s, without being woken
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._tender: asyncio.Task[None] | None = None

    async def start(self, state: Any) -> None:
        """Connects at the first send. Nothing is stored: what is unconfirmed is behind the cursor."""
        if self._config.protocol == "tls" and not self._config.tls.verify:
            self._context.telemetry.say(
                "warning", "tls_not_verified", about=self._context.name,
                mend="anyone on the way can read and fake the receiver; give its CA in tls.ca and remove `verify: false`",
            )
        self._tender = asyncio.create_task(self._tend(), name=f"syslog {self._context.name}")

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The bytes of all records, framed."""
        made = self._encoder.encode(batches)
        assert isinstance(made, bytes)
        return made

    def encode_one(self, batch: Batch) -> bytes:
        """See sinks."""
        return self.encode([batch])

    def assemble(self, pieces: Sequence[bytes]) -> bytes:
        return b"".join(pieces)

    async def send(self, request: Request, payload: bytes) -> None:
        """Returns when the kernel has all of it; `confirmed` comes later. Waits as long as the receiver is stalled."""
        self._raise_tender()
        if not payload:
            return self._note_nothing(request.number)
        generation = self._generation
        self._sending = True
        try:
            link = await self._ready()
            await self._write(link, payload)
        finally:
            self._sending = False
        self._last_send_s = self._now_s()
        link.since_s = link.since_s or self._last_send_s
        if generation == self._generation:       # L2: after a resend this request comes again under another number
            link.ledger.note(request.number, link.connection.written_bytes)
        if link.connection.written_bytes - link.sampled_bytes >= SAMPLE_BYTES:
            self._advance()
        if not self._looking:
            self._wake.set()

    async def _write(self, link: Link, payload: bytes) -> None:
        connection = link.connection
        try:
            await connection.write(payload)
        finally:
            if connection.ended is not None:
                self._lost(link, connection.ended)
        if connection.ended is not None:
            raise connection.ended

    def _note_nothing(self, number: int) -> None:
        """A request without bytes (only empty lines) is confirmed with the one before it."""
        for link in (self._current, self._draining):
            if link is not None and link.ledger.unconfirmed:
                return link.ledger.note(number, link.connection.written_bytes)
        self._context.confirmed(number)

    async def flush(self, deadline_s: float) -> None:
        """Half-close and wait for the proof. Retryable where it does not come, or the connection is lost."""
        generation = self._generation
        try:
            async with asyncio.timeout(deadline_s):
                while self._unconfirmed():
                    self._raise_tender()
                    self._changed.clear()
                    if self._draining is None and not self._sending:
                        await self._swap_for_flush(deadline_s)
                    await self._changed.wait()
        except TimeoutError:
            raise Retryable(
                f"{self._config.address} has not confirmed everything within {deadline_s:g} s; the rest is sent again"
            ) from None
        if generation != self._generation:
            raise Retryable(f"the connection to {self._config.address} was lost; what is unconfirmed is sent again")

    async def _swap_for_flush(self, deadline_s: float) -> None:
        """A receiver that takes no second connection is believed without (L4): `nc -l` is one."""
        link = self._current
        try:
            async with asyncio.timeout(min(OPEN_FOR_FLUSH_S, deadline_s / 2)):
                opened = await self._open()
        except (Retryable, TimeoutError):
            opened = None
        self._take_next(link, opened)

    def durable(self, number: int) -> None:
        """Nothing is kept."""

    def status(self) -> dict[str, Any]:
        """For /status: how far the proof is. `asked_again_in_s`: of a receiver that did not close when it was asked."""
        now_s, draining, policy = self._now_s(), self._draining, self._policy
        links = [link for link in (self._current, draining) if link is not None]
        return {
            "connected": bool(links),
            "unconfirmed_bytes": sum(link.unconfirmed_bytes for link in links),
            "can_lie_unread_bytes": max((link.ledger.unread_bound() for link in links), default=0),
            "asked_for_proof_s": round(now_s - draining.asked_s, 3) if draining is not None else None,
            "asked_again_in_s": round(max(policy.not_before_s - now_s, 0.0), 3) if policy.unanswered else None,
        }

    async def close(self) -> None:
        """Free everything. Unconfirmed requests stay unconfirmed."""
        if self._tender is not None:
            self._tender.cancel()
            await asyncio.wait([self._tender])
        for link in (self._current, self._draining, self._next):
            if link is not None:
                link.connection.close()
        self._current = self._draining = self._next = None

    # ------------------------------------------------------------ connections

    async def _ready(self) -> Link:
        """The connection to write to; opened where there is none. Retryable where the last one ended unproven."""
        if self._next is not None:
            self._swap()
        link = self._current
        if link is not None:
            link.connection.poll()
            if (ended := link.connection.ended) is not None and self._lost(link, ended):
                raise ended
        if self._current is None:
            opened = await self._open()
            if self._current is None:
                self._current = opened
            else:
                opened.connection.close()
        return self._current

    async def _open(self) -> Link:
        connection = await self._connector.open(lambda ended: self._wake.set())
        self._context.telemetry.count("shipper_sink_connections_total", 1, self._context.name)
        return Link(connection, Ledger(self._config.resend_window), progress_s=self._now_s())

    def _swap(self) -> None:
        """The barrier begins: what was current is half-closed, what comes next goes to `next` (or a new one)."""
        old, self._current, self._next = self._current, self._next, None
        if old is None:
            return
        if not old.ledger.unconfirmed:
            return old.connection.close()
        self._draining, old.beside = old, self._current
        old.progress_s = old.asked_s = self._now_s()
        old.connection.half_close()
        self._wake.set()

    def _lost(self, link: Link, why: Retryable) -> bool:
        """`link` ended without proof. True where that left something unconfirmed: then all of it is sent again (L2)."""
        if link is self._current:
            self._current = None
        elif link is self._draining:
            self._draining = None
        else:
            return False
        link.connection.close()
        self._policy.lost()
        self._changed.set()
        if not link.ledger.unconfirmed:
            return False
        if self._draining is not None:
            self._draining.connection.close()
            self._draining = None
        if self._current is not None:
            self._current.ledger.forget()
        self._generation += 1
        self._context.resend(why)
        return True

    # ------------------------------------------------------------ proof

    def _unconfirmed(self) -> bool:
        return any(link is not None and link.ledger.unconfirmed for link in (self._current, self._draining))

    def _advance(self) -> None:
        """The window rule, in order: behind a draining connection nothing is confirmed (L1)."""
        current, draining = self._current, self._draining
        if draining is not None and (draining.connection.ended is None or draining.connection.peer_closed):
            self._confirm(draining.confirmed(self._now_s()))
        if current is not None and current.connection.ended is None:
            if draining is not None:
                current.ledger.observe(*current.look())
            else:
                self._confirm(current.confirmed(self._now_s()))

    def _confirm(self, number: int | None) -> None:
        if number is not None:
            self._changed.set()
            self._context.confirmed(number)

    async def _tend(self) -> None:
        """Looks after unconfirmed bytes until `close`. Asleep while there are none."""
        while True:
            self._looking = self._unconfirmed() or self._draining is not None
            try:
                async with asyncio.timeout(self._look_s if self._looking else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._look_ended()
            self._advance()
            if self._draining is not None:
                self._look_draining(self._draining)
            elif self._next is not None and not self._sending:
                self._swap()
            elif self._next is None and self._current is not None:
                await self._look_current(self._current)

    def _look_ended(self) -> None:
        if self._next is not None and self._next.connection.ended is not None:
            self._next.connection.close()
            self._next = None
        if self._current is not None and (ended := self._current.connection.ended) is not None:
            self._lost(self._current, ended)

    def _look_draining(self, link: Link) -> None:
        connection, now_s = link.connection, self._now_s()
        if connection.ended is not None:
            return self._look_fin(link, now_s)
        all_acked = link.acked_bytes >= connection.written_bytes
        step = self._policy.when_closing(now_s, last_progress_s=link.progress_s, all_acked=all_acked)
        if step is Step.GIVE_UP:
            self._policy.not_answered(now_s)
            self._count_barrier("unanswered")
            self._lost(link, Retryable(
                f"{connection.peer} did not close within {self._config.barrier_timeout:g} s after we did; what is unconfirmed is "
                "sent again and confirmed by its window alone (docs/sinks/syslog.md)"
            ))

    def _look_fin(self, link: Link, now_s: float) -> None:
        """The peer closed after us: proof, once it has acknowledged our FIN."""
        connection = link.connection
        assert connection.ended is not None
        link.fin_s = link.fin_s or now_s
        if link.stopped_with_the_next():
            return self._unproven(link, connection.ended)
        if link.read_to_the_end():
            if now_s - link.fin_s < self._look_s / 2:
                return                           # L4: looked at once more
            self._draining = None
            connection.close()
            self._policy.answered()
            self._count_barrier("proven")
            self._confirm(link.ledger.on_barrier())
            self._changed.set()
            self._wake.set()                     # what is on the current connection may be confirmed now
        elif not connection.peer_closed or now_s - link.fin_s > FIN_ACK_S:
            self._unproven(link, connection.ended)

    def _unproven(self, link: Link, why: Retryable) -> None:
        self._count_barrier("lost")
        self._lost(link, why)

    async def _look_current(self, link: Link) -> None:
        """Begin a barrier where it is due. A send in progress swaps itself, at its end or at the next one."""
        now_s = self._now_s()
        last_send_s = now_s if self._sending else self._last_send_s      # one that waits for room is not idle
        step = self._policy.when_open(
            now_s, unconfirmed=link.ledger.unconfirmed, last_send_s=last_send_s, since_s=link.since_s)
        if step is not Step.BEGIN:
            return
        try:
            opened = await self._open()
        except Retryable as error:
            if link is not self._current:
                return                           # lost meanwhile, and this failure was its: the next one is asked in its own time
            self._policy.postponed(self._now_s())
            self._context.telemetry.say("warning", "barrier_postponed", about=self._context.name, why=str(error))
            return
        self._take_next(link, opened)

    def _take_next(self, link: Link | None, opened: Link | None) -> None:
        """The barrier begins, unless `link` was lost or half-closed meanwhile. A send in progress swaps at its end."""
        if self._current is not link or self._draining is not None or self._next is not None:
            if opened is not None:
                opened.connection.close()
            return
        self._next = opened
        if not self._sending:
            self._swap()

    def _count_barrier(self, result: str) -> None:
        self._context.telemetry.count("shipper_sink_barriers_total", 1, self._context.name, result)

    def _raise_tender(self) -> None:
        """A defect in `_tend` must not stay unseen."""
        if self._tender is not None and self._tender.done():
            self._tender.result()

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def _build(config: SyslogConfig, context: SinkContext) -> Sink:
    if config.protocol in RELP_PROTOCOLS:
        return RelpSink(config, context)
    return UdpSink(config, context) if config.protocol == "udp" else SyslogSink(config, context)


SINK = SinkSpec(
    summary="Syslog over TCP, TLS, UDP or RELP: RFC 5424, RFC 3164, or rsyslog's container log lines.",
    config=SyslogConfig,
    build=_build,
    check=problems,
    guarantee=guarantee,
    confirms="later",
    needs_raw=lambda config: bool(config.format == "container-logs"),
    concurrency=1,
)
