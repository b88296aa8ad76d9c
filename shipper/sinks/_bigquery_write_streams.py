"""Which stream each chain goes to: what is kept of it, and moving to a new one. Driver.

Invariants (tests/sinks/test_bigquery_write_faults.py, test_bigquery_write_schedules.py):
  BS1  what is known of a chain stays on disk as long as a manifest that needs it may be there
  BS2  a stream is made where there is none for this buffer and table, or the last one is left; twice in a row only after a pause
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ..errors import Retryable
from ..telemetry import Telemetry
from . import Plans
from ._bigquery_write_chain import CODES, Chain, Plan, Verdict, judge
from ._bigquery_write_channel import WriteChannel
from ._bigquery_write_wire import Answer, Refused
from ._http_status import shorten
from ._plan_store import PlanStore


@dataclass(slots=True)
class World:
    """What the sink lends. plans: all of its, in order; run: on its thread, OSError as Retryable; table_missing: raises, having
    done about it what can be done; acked: called when a plan may be done."""

    name: str
    plans: list[Plan]
    desk: Callable[[], Plans]
    store: PlanStore
    run: Callable[..., Awaitable[Any]]
    telemetry: Telemetry
    now_s: Callable[[], float]
    table_missing: Callable[[str], Awaitable[None]]
    acked: Callable[[], None]


class Streams:
    """chains: by name; own: that of the configured table; moved: nothing was taken since the last move."""

    def __init__(self, channel: WriteChannel, world: World) -> None:
        self._channel, self._world = channel, world
        self.chains: dict[str, Chain] = {}
        self.own = ""
        self.moved = self._unsaved = False
        self.created = 0
        self._late: dict[str, int] = {}

    # ------------------------------------------------------------ what is kept

    def snapshot(self) -> dict[str, Any]:
        """BS1. For PlanStore.keep. Chains of plans that are done stay in it: their manifests may still be there (`found`)."""
        return {"version": 1, "chains": {name: chain.to_json() for name, chain in self.chains.items()}}

    def forget(self, plan: Plan) -> None:
        """`plan` is done, and will not be read again. Its manifest may go when `snapshot` is on disk."""
        chain = self.chains.get(plan.chain)
        if chain is not None and plan.number >= chain.plan:
            self.chains[plan.chain] = chain.after(plan)
        self._world.plans.remove(plan)

    def found(self, plans: list[Plan]) -> None:
        """Plans that another process left: anything of them may be on its way. Chains that none of them needs are forgotten, but
        for that of the configured table."""
        self.chains = {name: chain for name, chain in self.chains.items() if name in {self.own, *(plan.chain for plan in plans)}}
        for name, chain in self.chains.items():
            its = [plan for plan in plans if plan.chain == name]
            if its and not its[-1].done:
                self._late[name] = chain.offset_of(its, its[-1], len(its[-1].blocks))

    async def ready(self, first: Plan) -> str:
        """The stream that `first` goes to, made where there is none, and on disk (BA1)."""
        chain = self.chains.setdefault(first.chain, Chain("", first.number, 0))
        if not chain.stream:
            stream = await self._create(first)
            chain = self.chains[first.chain]
            chain.stream, self._unsaved = stream, True
        if self._unsaved:
            await self._world.run(self._world.store.keep, self.snapshot())
            self._unsaved = False
        return chain.stream

    # ------------------------------------------------------------ what is late

    def late(self, plan: Plan) -> int:
        """The last offset of what was sent to its stream and never answered: it could still be taken there (WC2)."""
        return self._late.get(plan.chain, -1)

    def unanswered(self, name: str, stream: str, offset: int) -> None:
        """Nobody waits for the answer any more."""
        if self.chains[name].stream == stream:
            self._late[name] = max(self._late.get(name, -1), offset)

    # ------------------------------------------------------------ streams that are left

    def is_torn(self, plan: Plan) -> bool:
        """WC4: a new stream has to come before it."""
        chain = self.chains.get(plan.chain)
        return chain is not None and not chain.takes(plan)

    async def move(self, first: Plan, ours_to: int | None) -> bool:
        """BS2. The old stream is finalised, so that nothing on its way is taken any more; what it has is not sent again. ours_to:
        what stands there from this offset on is somebody else's (WC3). Whether more is there than was acknowledged."""
        if self.moved:
            self.moved = False
            raise Retryable("the new stream is lost as well; check that the table stays as it is")
        rows = await self._finalize(self.chains[first.chain].stream)
        stream = await self._create(first)
        # No await from here on: plans that are confirmed move the chain on at any moment.
        old, plans = self.chains[first.chain], [plan for plan in self._world.plans if plan.chain == first.chain]
        waiting = next(plan for plan in plans if not plan.done)
        begins = old.offset_of(plans, waiting, 0)
        if rows is not None:
            rows = min([rows, *(one for one in (ours_to, old.ours_to(plans)) if one is not None)])
        more = rows is not None and rows > old.offset_of(plans, waiting, waiting.acked)
        self._say_moved(begins, rows)
        self.chains[first.chain] = old.moved(stream, plans, waiting, rows)
        self._late[first.chain] = -1
        self._unsaved = self.moved = True
        for plan in plans:
            if not plan.done:
                plan.acked = 0
            for block in plan.blocks:
                block.tried = False
        return more

    def _say_moved(self, begins: int, rows: int | None) -> None:
        say = self._world.telemetry.say
        if rows is None or rows < begins:
            say("error", "stream_lost", about=self._world.name, rows_missing=None if rows is None else begins - rows,
                why="its rows cannot be counted: what was on its way may be there twice" if rows is None else
                "it has fewer rows than were acknowledged, or its table was replaced")
        else:
            say("warning", "stream_replaced", about=self._world.name, rows=rows)

    async def _finalize(self, stream: str) -> int | None:
        """Its rows; None where it is gone."""
        try:
            return await self._channel.finalize(stream)
        except Refused as error:
            if judge(error.answer) in (Verdict.LOST, Verdict.NO_TABLE):
                return None
            raise

    async def _create(self, first: Plan) -> str:
        try:
            stream = await self._channel.create_stream(first.manifest["table"])
        except Refused as error:
            if judge(error.answer) in (Verdict.NO_TABLE, Verdict.LOST):
                await self._world.table_missing(first.manifest["table"])
            raise
        self.created += 1
        return stream


def words_of(answer: Answer) -> str:
    said = shorten(answer.message) if answer.message else "no reason given"
    return f"BigQuery's Storage Write API answered {CODES.get(answer.code, str(answer.code))}: {said}"
