"""BigQuery by the Storage Write API: rows exactly once. The sink of `method: storage_write`. See docs/sinks/bigquery.md.

    encode ─► rows ─► send ─► range ─► durable plan (_planner.py, _bigquery_write_plans.py) ─► appended at its offset in a stream
    of our own (_bigquery_write_append.py; where: _bigquery_write_chain.py) ─► confirmed ─► cursor durable ─► chain moved on,
    plan removed

Invariants (tests/sinks/test_bigquery_write.py, test_bigquery_write_faults.py):
  SW1  plans are confirmed in order; a manifest goes when the cursor is durable, all of it is in the table, and the chain, on
       disk, stands behind it
  SW2  what a crash left is sent as it was planned, whatever the config says now; another table is another chain
  SW3  a new buffer has a new stream: nothing that another one wrote is taken for ours
  SW4  where the spool file of a plan is missing or was changed, that plan and those behind it are given up, said as an error, and
       sent again from the buffer, to a new stream: then a row may be there twice, and none is lost
  SW5  with `schema: table` the table is looked at before the first row, and again each REFRESH_S
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..errors import Fatal, Retryable
from ..model import Batch, Request
from . import SinkContext
from ._bigquery_write_append import Appender
from ._bigquery_write_chain import Plan, chain_name, chains_from
from ._bigquery_write_channel import WriteChannel
from ._bigquery_write_plans import Payload, Ranges, joined
from ._bigquery_write_range import Range, measure
from ._bigquery_write_streams import World
from ._plan_store import Manifests
from ._planner import Planner

REFRESH_S = 300.0


class Target(Protocol):
    """The table, by REST (_bigquery_table.py)."""

    async def path(self) -> str:
        """projects/P/datasets/D/tables/T. Retryable where the project cannot be known."""

    async def look(self) -> None:
        """With `schema: table`: its columns. Retryable, or Fatal for one that cannot take records."""

    async def missing(self) -> None:
        """It is not there: created where the config says so. Always raises."""

    @property
    def steady(self) -> bool:
        """Whether rows made now are right whenever they are sent: not where the columns may change."""

    def rows(self, batch: Batch) -> Payload: ...

    async def close(self) -> None: ...


class StorageWriteSink:
    """See the module. `now_s`: for tests."""

    def __init__(
        self, target: Target, channel: WriteChannel, context: SinkContext, now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target, self._channel, self._context, self._now_s = target, channel, context, now_s
        self._ranges = Ranges(context, now_s, self._kick)
        self._planner: Planner[Range, Plan] = Planner(context, self._ranges, now_s)
        self._ranges.store, self._plans = self._planner.store, self._ranges.plans
        self._appender = Appender(channel, World(
            context.name, self._plans, lambda: context.plans, self._planner.store, self._planner.thread.run, context.telemetry,
            now_s, self._table_missing, self._confirm))
        self._streams = self._appender.streams
        if target.steady:
            self.encode_one = target.rows
        self._durable_number = 0
        self._looked_s = -REFRESH_S
        self._work = asyncio.Event()
        self._sending = False

    # ------------------------------------------------------------ what delivery calls

    async def start(self, state: Any) -> None:
        """SW2. Retryable where it cannot be known where this is, or what the table is like."""
        planner, store = self._planner, self._planner.store
        planner.thread.start()
        self._ranges.table = await self._target.path()
        await self._look()
        try:
            found = await planner.thread.run(store.open)
            self._streams.chains = chains_from(await planner.thread.run(store.kept))
            found, damaged = await planner.thread.run(self._whole, found)
        except ValueError as error:
            raise Fatal(str(error)) from error
        if damaged:
            self._context.telemetry.say(
                "error", "plan_damaged", about=self._context.name, path=damaged,
                why="it is gone or was changed; what was planned from there on is sent again, and may be there twice")
        self._take_up(found)
        if not self._sending:
            self._sending = True
            planner.spawn(self._send_plans())

    def encode(self, batches: Sequence[Batch]) -> Payload:
        """Rows, in the order of the batches."""
        return joined([self._target.rows(batch) for batch in batches])

    def assemble(self, pieces: Sequence[Payload]) -> Payload:
        return joined(pieces)

    async def send(self, request: Request, payload: Payload) -> None:
        """Into the spool. Retryable where the disk does not take it."""
        if self._now_s() - self._looked_s > REFRESH_S:
            await self._look()
        await self._planner.take(request, payload)

    async def flush(self, deadline_s: float) -> None:
        """The open range becomes a plan, and all plans are carried out."""
        plans = self._plans
        await self._planner.flush(
            deadline_s, lambda: f"{sum(plan.live for plan in plans if not plan.confirmed)} rows are not in the table",
            lambda: bool(plans))

    @property
    def pinned(self) -> bool:
        """What is fixed and not on disk yet: the cursor must not pass it, else a crash would lose it."""
        return any(not plan.written for plan in self._plans)

    def durable(self, number: int) -> None:
        self._durable_number = max(self._durable_number, number)
        self._tidy()

    def rewound(self, number: int) -> None:
        self._planner.rewound()

    async def close(self) -> None:
        self._appender.drop()
        await self._planner.close()
        await self._channel.close()
        await self._target.close()

    def status(self) -> dict[str, Any]:
        """For /status."""
        waiting = [plan for plan in self._plans if not plan.done]
        return {
            "appended_rows": self._appender.appended_rows, "refused_rows": self._appender.rows_refused,
            "planned_rows": sum(plan.live for plan in waiting), "planned_bytes": sum(p.manifest["size"] for p in waiting),
            "open_bytes": sum(one.size_bytes for one in self._planner.unplanned),
            "streams_created": self._streams.created,
        }

    # ------------------------------------------------------------ the table

    async def _look(self) -> None:
        """SW5."""
        await self._target.look()
        self._looked_s = self._now_s()

    async def _table_missing(self, table: str) -> None:
        if table == self._ranges.table:
            await self._target.missing()
        raise Retryable(f"{table} is not there any more, and rows are planned for it; create it, or remove the sink's spool")

    # ------------------------------------------------------------ plans

    def _whole(self, found: Manifests) -> tuple[Manifests, str]:
        """The manifests up to the first whose file is not what it says, and what is wrong there (SW4). On the thread."""
        store, streams = self._planner.store, self._streams
        index, path = store.damaged(found, _files, measure)
        if path:
            for number, manifest in found[index:]:
                if (chain := streams.chains.get(chain_name(manifest["buffer"], manifest["table"]))) is not None:
                    chain.tear(number)
            store.keep(streams.snapshot())             # WC4, before the first of them goes
            store.give_up(found[index:], _files)
        return found[:index], path

    def _take_up(self, found: Manifests) -> None:
        """Plans of another buffer are finished, and not resumed: their positions mean nothing here (SW3)."""
        desk, streams = self._context.plans, self._streams
        streams.own = chain_name(desk.buffer_id, self._ranges.table)
        ours = [(number, manifest) for number, manifest in found if manifest["buffer"] == desk.buffer_id]
        requests = dict(zip([number for number, _ in ours], desk.resume([manifest["receipt"] for _, manifest in ours])))
        for number, manifest in found:
            plan = Plan(number, manifest, requests.get(number, 0))
            for block in plan.blocks:
                block.tried = True
            chain = streams.chains.get(plan.chain)
            if chain is not None and number < chain.plan:
                plan.acked = len(plan.blocks)
            self._plans.append(plan)
        for chain in streams.chains.values():
            self._planner.store.rise_over(max(chain.plan, chain.torn or 0) - 1)
        streams.found(self._plans)
        self._planner.resumed()
        self._confirm()
        self._kick()

    def _kick(self) -> None:
        self._work.set()

    async def _send_plans(self) -> None:
        """For as long as the sink lives."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._appender.waiting is not None:
                await self._context.plans.persist(self._appender.carry_out)

    def _confirm(self) -> None:
        """SW1."""
        for plan in list(self._plans):
            if not plan.done:
                break
            if not plan.confirmed:
                plan.confirmed = True
                if plan.request:
                    self._context.confirmed(plan.request)
        self._tidy()

    def _tidy(self) -> None:
        """SW1."""
        for plan in [p for p in self._plans if p.confirmed and p.request <= self._durable_number]:
            self._streams.forget(plan)
            self._planner.thread.submit(self._remove, plan.number, self._streams.snapshot())
        self._planner.news()

    def _remove(self, number: int, snapshot: dict[str, Any]) -> None:
        """On the thread. Where the chain cannot be written the manifest stays, and the next start finds it done."""
        self._planner.store.keep(snapshot)
        self._planner.store.remove(number, 1)


def _files(manifest: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [(manifest["size"], manifest["crc32"])]
