"""From requests to durable plans, step by step, with a range that is only a list. PN: _planner.py."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import Retryable
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._planner import Planner
from shipper.telemetry import Telemetry


@dataclass
class Listed:
    """A range that remembers what was asked of it."""

    number: int
    began_s: float = 0.0
    began_bytes: int = 0
    last_request: int = 0
    broken: bool = False
    void: bool = False
    data: list[Any] = field(default_factory=list)

    def append(self, request: int, data: Any) -> None:
        if data == "no room":
            raise OSError(28, "no space left on the device")
        if request > self.last_request:
            self.data.append(data)
            self.last_request = request

    def seal(self) -> None:
        return

    def discard(self) -> None:
        self.void = True


@dataclass
class Made:
    """A plan."""

    number: int
    manifest: dict[str, Any]
    written: bool = False


class Desk:
    """Delivery's side. synced waits for `may_sync`; fixed: what receipts were made."""

    buffer_id, sent_bytes = "b", 0

    def __init__(self) -> None:
        self.is_settled = True
        self.may_sync = asyncio.Event()
        self.may_sync.set()
        self.fixed: list[int] = []

    def settled(self, number: int) -> bool:
        return self.is_settled

    async def synced(self, number: int) -> None:
        await self.may_sync.wait()

    def fix(self, number: int) -> dict[str, Any]:
        self.fixed.append(number)
        return {}

    async def persist(self, work: Callable[[], Awaitable[None]]) -> None:
        await work()


class World:
    """A planner whose ranges are due when the test cuts them. resent: why delivery was asked to go back."""

    tick_s = 60.0

    def __init__(self, root: Path) -> None:
        self.desk, self.holding = Desk(), 0
        self.resent: list[Exception] = []
        self.ranges: list[Listed] = []
        self.plans: list[Made] = []
        context = SinkContext("far", "n", str(root), Telemetry(), plans=self.desk, resend=self.resent.append)  # type: ignore[arg-type]
        self.planner: Planner[Any, Any] = Planner(context, self, lambda: 0.0)
        self.planner.thread.start()
        self.planner.store.open()

    def begin(self, number: int, began_s: float, began_bytes: int, data: Any) -> Listed:
        self.ranges.append(Listed(number))
        return self.ranges[-1]

    def is_due(self, growing: Listed, data: Any) -> bool:
        return False

    def fits(self, growing: Listed, data: Any) -> bool:
        return True

    def plan(self, growing: Listed, receipt: dict[str, Any]) -> Made:
        self.plans.append(Made(growing.number, {"data": growing.data}))
        return self.plans[-1]

    def planned(self, plan: Made) -> None:
        return

    async def take(self, number: int, data: Any) -> None:
        await self.planner.take(Request(number, []), data)

    async def settle(self) -> None:
        """Every task and job has come to where it waits."""
        for _ in range(20):
            await self.planner.thread.run(lambda: None)
            await asyncio.sleep(0)

    @property
    def planned_data(self) -> list[Any]:
        return [one for plan in self.plans if plan.written for one in plan.manifest["data"]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.planner.close()


async def test_pn1_a_request_whose_send_was_called_off_when_it_had_got_there_is_in_one_plan(world: World) -> None:
    """S2: it comes again with its number, and its range may have ended meanwhile."""
    await world.take(1, "a")
    world.planner.cut()
    await world.take(1, "a")
    await world.take(2, "b")
    world.planner.cut()
    await world.settle()
    assert world.planned_data == ["a", "b"]


async def test_pn1_pn4_a_range_ends_where_delivery_is_settled_and_takes_what_comes_until_then(world: World) -> None:
    world.desk.is_settled = False
    await world.take(1, "half of a span")
    world.planner.cut()
    await world.take(2, "its other half")
    world.desk.is_settled = True
    world.planner.cut()
    await world.settle()
    assert world.desk.fixed == [2] and world.planned_data == ["half of a span", "its other half"]


async def test_pn3_a_range_that_waits_for_the_disk_is_not_planned_once_a_later_one_has_failed(world: World) -> None:
    """Delivery goes back to what is not planned, in front of it: it would come again, and stand in a plan besides."""
    world.desk.may_sync.clear()
    await world.take(1, "a")
    world.planner.cut()
    await world.settle()
    with pytest.raises(Retryable, match="no space left"):
        await world.take(2, "no room")
    world.desk.may_sync.set()
    await world.settle()
    assert world.desk.fixed == [] and len(world.resent) == 1
    with pytest.raises(Retryable):
        await world.take(3, "c")                        # not before delivery has gone back
    world.planner.rewound()
    await world.take(4, "a")
    world.planner.cut()
    await world.settle()
    assert world.desk.fixed == [4] and world.planned_data == ["a"]


async def test_pn3_what_was_given_up_while_it_waited_for_the_disk_is_no_plan_of_the_time_after(world: World) -> None:
    world.desk.may_sync.clear()
    await world.take(1, "a")
    world.planner.cut()
    await world.settle()
    world.planner.rewound()
    world.desk.may_sync.set()
    await world.take(2, "a")
    world.planner.cut()
    await world.settle()
    assert world.desk.fixed == [2] and world.planned_data == ["a"] and world.ranges[0].void


async def test_pn2_behind_four_plans_that_wait_a_request_waits_and_comes_when_one_is_confirmed(world: World) -> None:
    world.holding = 4
    waiting = asyncio.create_task(world.take(1, "a"))
    await world.settle()
    assert not waiting.done() and world.ranges == []
    world.holding = 3
    world.planner.news()
    await waiting
    assert world.ranges[0].data == ["a"]
