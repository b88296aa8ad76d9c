"""Carrying out what is planned: appends to a stream at their offsets, in order, a few on their way at a time. Driver.

    plans ─► next block ─► read from the spool ─► append ──► answer ─► WRITTEN, EXISTS   acknowledged, the next one
                                                              │        ROWS              the rest answered ─► dead letters ─►
                                                              │                          manifest without them ─► the same offset
                                                              │        BEHIND            from the first one without an answer
                                                              │        INVALID           halved in the manifest, down to the row
                                                              │        LOST              finalised ─► rows counted ─► new stream
                                                              └─ else  Retryable, Fatal  the same again, later

Invariants (tests/sinks/test_bigquery_write.py, test_bigquery_write_faults.py):
  BA1  nothing is appended before the manifest *and* the stream that it goes to are on disk
  BA2  WC1 to WC4 of _bigquery_write_chain.py
  BA3  where the stream is lost, or could still take what must not be there, a new one is moved to (_bigquery_write_streams.py)
  BA4  where every row of a request is refused, and of the one before, or a hundred rows in a row, nothing is buried: it is the
       table
  BA5  a row is buried only where all that was sent of its block and behind it was answered, and without words of its own only
       where a new stream does not take it either: BigQuery says INVALID_ARGUMENT of a stream that it takes nothing for, too
"""
from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ..errors import Fatal, Retryable
from ._bigquery_write_chain import Plan, Refusals, Verdict, judge
from ._bigquery_write_channel import UNAUTHENTICATED, Connection, WriteChannel
from ._bigquery_write_range import Block, halves, read_ids, read_rows
from ._bigquery_write_streams import Streams, World, words_of
from ._bigquery_write_wire import Answer, Refused
from ._http_status import shorten

IN_FLIGHT = 2
IDLE_S = 30.0


class Sent(NamedTuple):
    """An append without an answer yet. skip: rows of the block that an earlier stream has; tried: it may have been sent
    before."""

    plan: Plan
    block_index: int
    offset: int
    skip: int
    tried: bool

    @property
    def block(self) -> Block:
        return self.plan.blocks[self.block_index]


class Appender:
    """One task calls `carry_out`, again and again after what it raises (Plans.persist)."""

    def __init__(self, channel: WriteChannel, world: World) -> None:
        self._channel, self._world = channel, world
        self.streams = Streams(channel, world)
        self._connection: Connection | None = None
        self._used_s = 0.0
        self._refusals = Refusals()
        self._behind = 0
        self._steps = 0
        self.appended_rows = self.rows_refused = 0

    # ------------------------------------------------------------ plans

    @property
    def waiting(self) -> Plan | None:
        """The first plan that can be carried out and is not done."""
        return next((plan for plan in self._world.plans if plan.written and not plan.done), None)

    async def carry_out(self) -> None:
        """Until all plans are done, or something is in the way and some of them got further: then whoever pauses longer after
        each error (Plans.persist) begins anew. Raises Retryable and Fatal; what was acknowledged stays so."""
        before = self._steps
        try:
            await self._carry_out()
        except Retryable:
            if self._steps == before:
                raise

    async def _carry_out(self) -> None:
        while (first := self.waiting) is not None:
            try:
                if self.streams.is_torn(first):
                    await self._move(first)
                else:
                    await self._exchange(await self._connected(first), first.chain)
            except Refused as error:
                self.drop()
                raise Retryable(words_of(error.answer)) from error
            except BaseException:
                self.drop()
                raise

    def drop(self) -> None:
        """The connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cancel()

    async def _connected(self, first: Plan) -> Connection:
        """BA1."""
        stream = await self.streams.ready(first)
        if self._connection is not None and (
            self._connection.stream != stream or self._world.now_s() - self._used_s > IDLE_S
        ):
            self.drop()
        if self._connection is None:
            self._connection, self._used_s = await self._channel.connect(stream), self._world.now_s()
        return self._connection

    # ------------------------------------------------------------ appends and answers

    async def _exchange(self, connection: Connection, chain: str) -> None:
        """Appends of one chain until all its plans are done, or something has to be done about an answer."""
        sent: deque[Sent] = deque()
        try:
            while True:
                at_once = 1 if self._behind or self.streams.moved else IN_FLIGHT
                while len(sent) < at_once and (one := self._next(chain, sent)) is not None:
                    rows = await self._world.run(read_rows, self._path(one.plan), one.block, one.skip)
                    one.block.tried = True
                    sent.append(one)
                    await connection.append(one.offset, rows, bytes.fromhex(one.plan.manifest["descriptor"]))
                if not sent:
                    return
                answer = await connection.answer()
                self._used_s = self._world.now_s()
                if not await self._took(sent.popleft(), answer, sent, connection):
                    self.drop()
                    return
        except Refused as error:
            self.drop()
            if not sent or judge(error.answer) in (Verdict.AGAIN, Verdict.WRITTEN):
                raise
            await self._took(sent.popleft(), error.answer, sent, None)
        finally:
            if sent:
                self.streams.unanswered(chain, connection.stream, sent[-1].offset)

    def _next(self, name: str, sent: deque[Sent]) -> Sent | None:
        """The append behind those in `sent`. Blocks that need none are acknowledged in their turn."""
        plans = [plan for plan in self._world.plans if plan.chain == name]
        for plan in plans:
            if not plan.written or self.streams.is_torn(plan):
                return None
            index = plan.acked + sum(1 for one in sent if one.plan is plan)
            while index < len(plan.blocks):
                block = plan.blocks[index]
                offset = self.streams.chains[name].offset_of(plans, plan, index)
                if block.live and offset + block.live > 0:
                    return Sent(plan, index, max(offset, 0), max(-offset, 0), block.tried)
                if sent:
                    return None
                plan.acked = index = index + 1
                self._world.acked()
        return None

    async def _took(self, one: Sent, answer: Answer, behind: deque[Sent], connection: Connection | None) -> bool:
        """Whether the connection can go on. `connection`: None where it is gone."""
        verdict = judge(answer)
        if (verdict is Verdict.EXISTS and not one.tried) or (
            verdict is Verdict.WRITTEN and answer.offset not in (None, one.offset)
        ):
            await self._move(one.plan, one.offset)       # WC3
            return False
        if verdict in (Verdict.WRITTEN, Verdict.EXISTS):
            self._acknowledge(one)
        elif verdict is Verdict.ROWS:
            await self._refuse_rows(one, answer, behind, connection)
            return False
        elif verdict is Verdict.INVALID:
            await self._refuse_all(one, answer, behind, connection)
            return False
        elif verdict is Verdict.LOST or (verdict is Verdict.BEHIND and self._behind):
            await self._move(one.plan)
            return False
        elif verdict is Verdict.BEHIND:
            self._behind += 1
            return False
        else:
            await self._trouble(one, verdict, answer)
        return True

    def _acknowledge(self, one: Sent) -> None:
        one.plan.acked = one.block_index + 1
        self.appended_rows += one.block.live - one.skip
        self._steps += 1
        self._refusals.written()
        self._behind, self.streams.moved = 0, False
        self._world.acked()

    async def _trouble(self, one: Sent, verdict: Verdict, answer: Answer) -> None:
        """Raises."""
        if verdict is Verdict.NO_TABLE:
            await self._world.table_missing(one.plan.manifest["table"])
        if verdict is Verdict.COLUMNS:
            raise Retryable(f"{words_of(answer)}; the table lacks a column that rows have; add it")
        if answer.code == UNAUTHENTICATED:
            self._channel.refused()
        raise Retryable(words_of(answer))

    # ------------------------------------------------------------ rows that are refused

    async def _refuse_rows(self, one: Sent, answer: Answer, behind: deque[Sent], connection: Connection | None) -> None:
        """The dead letters first, then the manifest without them (WC2, BA5)."""
        answered = await self._drain(behind, connection)
        self.drop()
        if not answered or self.streams.late(one.plan) >= one.offset:
            await self._move(one.plan)              # where they are refused again, and nothing is late
            return
        block, living = one.block, one.block.living()[one.skip:]
        refused = {living[index]: shorten(words) for index, words in answer.row_errors if 0 <= index < len(living)}
        if len(refused) != len({index for index, _ in answer.row_errors}):
            raise Retryable(f"BigQuery names rows that were not sent: {words_of(answer)}")
        ids = await self._world.run(read_ids, self._path(one.plan), block)
        dead = {ids[index]: words for index, words in refused.items()}
        if not dead.keys() <= one.plan.buried:
            if self._refusals.is_table(len(refused), len(living)):
                raise Fatal("every row is refused; check that the table has the columns of the docs, with their types, and "
                            "takes rows of their times")               # its words may quote a record (E2)
            self._refusals.refused(len(refused), len(living))
            await self._bury(one.plan, dead)
        block.dead = sorted({*block.dead, *refused})
        block.tried = False
        await self._rewrite(one.plan)
        self.rows_refused += len(refused)
        self._steps += 1

    async def _refuse_all(self, one: Sent, answer: Answer, behind: deque[Sent], connection: Connection | None) -> None:
        """It is not said which row is at fault (P6): halved, down to the row (BA5)."""
        if one.block.live - one.skip == 1:
            if not self.streams.moved:
                await self._move(one.plan)
                return
            self.streams.moved = False          # the next such row gets a new stream of its own
            words = replace(answer, row_errors=((0, answer.message or "the request with this row alone was refused"),))
            await self._refuse_rows(one, words, behind, connection)
            return
        self.drop()
        plan, at = one.plan, one.block_index
        plan.blocks[at:at + 1] = [
            replace(half, tried=one.tried) for half in await self._world.run(halves, self._path(plan), one.block, one.skip)]
        await self._rewrite(plan)

    async def _drain(self, behind: deque[Sent], connection: Connection | None) -> bool:
        """Whether all that was sent behind a refused append was answered, and not taken."""
        try:
            while behind:
                if connection is None:
                    return False
                verdict = judge(await connection.answer())
                behind.popleft()
                if verdict in (Verdict.WRITTEN, Verdict.EXISTS):
                    return False
        except Refused:
            return False
        return True

    async def _bury(self, plan: Plan, dead: Mapping[str, str]) -> None:
        new = {name: words for name, words in dead.items() if name not in plan.buried}
        receipt = await self._world.desk().bury(plan.request, plan.manifest["receipt"], new)
        plan.manifest = {**plan.manifest, "receipt": receipt}
        plan.buried |= new.keys()

    async def _rewrite(self, plan: Plan) -> None:
        plan.manifest = {**plan.manifest, "blocks": [block.to_json() for block in plan.blocks]}
        await self._world.desk().persist(lambda: self._world.run(self._world.store.write, plan.number, plan.manifest))

    async def _move(self, first: Plan, ours_to: int | None = None) -> None:
        """BA3."""
        self.drop()
        if await self.streams.move(first, ours_to):
            self._refusals.written()
        self._behind = 0

    def _path(self, plan: Plan) -> str:
        return self._world.store.path(plan.number, 0)
