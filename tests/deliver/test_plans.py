"""Plans: what is fixed is sent once, after a rewind and after a crash, with exact sums. Against a sink that plans in memory."""
from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from shipper.config.types import SinkCommon
from shipper.deliver.account import Position, Tally
from shipper.deliver.driver import Delivery
from shipper.deliver.plans import PlanDesk
from shipper.deliver.progress import Progress
from shipper.deliver.window import Entry, Stage
from shipper.errors import Retryable
from shipper.model import Batch, Request
from shipper.sinks import SinkContext, SinkSpec
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters, TurnedClock, source


class Desk:
    """A desk on a progress, without a delivery."""

    def __init__(self) -> None:
        self.buffer, self.moved = FakeBuffer(), 0
        self.progress = Progress("far", self.buffer, _NoSink(), Telemetry())  # type: ignore[arg-type]
        self.progress.open()
        self.window = self.progress.window
        self.desk = PlanDesk(self.progress, self.buffer, None, None, lambda: False, self._moved)  # type: ignore[arg-type]

    def _moved(self) -> None:
        self.moved += 1

    def sent(self, seq: int, records: int = 1) -> Entry:
        entry = self.window.launch(Position(seq, 0), Tally(records, records * 10))
        self.window.handed(entry)
        return entry

    def skipped(self, seq: int) -> Entry:
        return self.window.skip(Position(seq, 0), Tally(unrouted_records=1, unrouted_bytes=10))

    def pass_all(self) -> dict[str, Any]:
        """Everything in flight is confirmed; the sums."""
        self.window.confirm(self.window.last_number)
        for entry in self.window.passed():
            if entry.dropped_for:
                self.progress.counters.gave_away(entry.tally, entry.dropped_for, entry.files or {})
            else:
                self.progress.counters.delivered(entry.tally)
        return self.progress.counters.to_json(self.window.position)


class _NoSink:
    rewound_to: list[int] = []


def test_nothing_is_planned_that_is_being_sent_or_held_back() -> None:
    one = Desk()
    one.sent(1)
    entry = one.window.launch(Position(2, 0), Tally(1, 10))
    assert one.desk.settled(1) and not one.desk.settled(2)
    with pytest.raises(Retryable):
        one.desk.fix(2)
    one.window.hold(entry)
    assert not one.desk.settled(2)
    one.window.handed(entry)
    assert one.desk.settled(2) and one.desk.fix(2)["end"] == [2, 0]
    with pytest.raises(Retryable):
        one.desk.fix(2)


@pytest.mark.parametrize("end, seq", [(Position(3, 0), 2), (Position(3, 1), 3)])
async def test_what_is_planned_is_on_disk_before_the_plan_is(end: Position, seq: int) -> None:
    """A plan that outlived a power cut which took its frames would be sent beside the same lines, read again under new ranges."""
    desk, waited = Desk(), []

    async def wait_synced(seq: int) -> None:
        waited.append(seq)

    desk.buffer.wait_synced = wait_synced  # type: ignore[method-assign]
    desk.sent(1)
    entry = desk.window.launch(end, Tally(1, 10))
    desk.sent(9)
    await desk.desk.synced(entry.number)
    assert waited == [seq]


def test_a_rewind_forgets_what_is_behind_the_plans_and_nothing_of_them() -> None:
    one = Desk()
    for seq in (1, 2, 3):
        one.sent(seq)
    one.desk.fix(2)
    assert one.window.revocable
    assert one.window.rewind() == 1
    assert one.window.end == (2, 0) and one.window.planned_number == 2 and not one.window.revocable
    assert one.window.total_bytes == 20
    one.sent(3)
    one.window.confirm(2)
    assert [entry.end for entry in one.window.passed()] == [(1, 0), (2, 0)]


def test_a_receipt_starts_where_its_first_request_does_and_ends_where_its_last_one_does() -> None:
    one = Desk()
    one.sent(1)
    one.skipped(2)
    one.sent(3)
    one.skipped(4)
    one.sent(5)
    assert one.desk.fix(1)["start"] == [0, 0]
    receipt = one.desk.fix(3)
    assert (receipt["start"], receipt["end"]) == ([2, 0], [5, 0])


@pytest.mark.parametrize("seed", range(30))
def test_the_sums_are_those_of_a_run_without_a_crash_wherever_the_cursor_stood(seed: int) -> None:
    rng = random.Random(seed)
    first, receipts, numbers = Desk(), [], []
    for seq in range(1, 30):
        way = rng.random()
        if way < 0.5:
            entry = first.sent(seq, rng.randint(1, 9))
            if rng.random() < 0.2:
                entry.tally.dead, entry.tally.dead_files = {"rejected": [1, 10]}, {"k": 10}
        elif way < 0.8:
            first.skipped(seq)
        else:
            entry = first.skipped(seq)
            entry.tally = Tally(2, 20)
            entry.dropped_for, entry.files = "drop_oldest", {"k": 20}
        if rng.random() < 0.3 and any(e.number and not e.planned for e in first.window._entries):
            receipts.append(json.loads(json.dumps(first.desk.fix(first.window.last_number))))
            numbers.append(first.window.last_number)
    first.window.rewind()
    passed_to = rng.choice([0, *numbers])
    first.window.confirm(passed_to)
    second = Desk()
    for entry in first.window.passed():
        for counters in (first.progress.counters, second.progress.counters):
            if entry.dropped_for:
                counters.gave_away(entry.tally, entry.dropped_for, entry.files or {})
            else:
                counters.delivered(entry.tally)
    second.window.position = first.window.position
    found = second.desk.resume(receipts)
    assert second.moved == 1 and [bool(number) for number in found] == [number > passed_to for number in numbers]
    assert second.window.end == max(first.window.end, first.window.position)
    assert second.pass_all() == first.pass_all()


def test_what_is_set_aside_is_passed_and_confirmed_later_without_harm() -> None:
    one = Desk()
    one.sent(1)
    one.desk.fix(1)
    one.window.set_aside()
    assert [entry.stage for entry in one.window.passed()] == [Stage.DONE] and one.window.position == (1, 0)
    one.window.confirm(1)
    assert one.window.position == (1, 0)


# ------------------------------------------------------------ with a delivery


class PlanningSink:
    """Plans what it was sent every few requests; "carries out" a plan by putting it into `world`, which outlives it."""

    def __init__(self, context: Any, disk: dict[int, Any], world: Counter[bytes], rng: random.Random) -> None:
        self._context, self._disk, self._world, self._rng = context, disk, world, rng
        self._open: list[bytes] = []
        self._last = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._plans: dict[int, int] = {}

    async def start(self, state: Any) -> None:
        plans = sorted(self._disk.items())
        numbers = self._context.plans.resume([plan["receipt"] for _, plan in plans])
        for (key, _), number in zip(plans, numbers):
            self._carry_out(key, number)

    def encode(self, batches: Sequence[Batch]) -> list[bytes]:
        return [message for batch in batches for message in batch.messages]

    async def send(self, request: Request, payload: list[bytes]) -> None:
        if self._rng.random() < 0.2:
            self._context.resend(Retryable("the spool is full"))
            raise Retryable("the spool is full")
        if self._open and self._rng.random() < 0.4 and self._context.plans.settled(self._last):
            self._cut()
        self._open += payload
        self._last = request.number

    def _cut(self) -> None:
        receipt = self._context.plans.fix(self._last)
        key = max(self._disk, default=0) + 1
        self._disk[key] = {"receipt": json.loads(json.dumps(receipt)), "records": self._open}
        self._open = []
        self._carry_out(key, self._last)

    def _carry_out(self, key: int, number: int) -> None:
        plan = self._disk[key]
        if not plan.get("done"):
            plan["done"] = True                     # as an object that is created only
            self._world.update(plan["records"])
        if number:
            self._plans[number] = key
            asyncio.get_running_loop().call_soon(self._context.confirmed, number)

    async def flush(self, deadline_s: float) -> None:
        if self._open:
            self._cut()
        await asyncio.sleep(0)

    def durable(self, number: int) -> None:
        for planned in [n for n in self._plans if n <= number]:
            del self._disk[self._plans.pop(planned)]

    def rewound(self, number: int) -> None:
        self._open = []

    async def close(self) -> None:
        return


@pytest.mark.parametrize("seed", range(12))
async def test_random_crashes_rewinds_and_plans_give_each_record_once(seed: int) -> None:
    rng, clock = random.Random(seed), TurnedClock()
    buffer, disk, world = FakeBuffer(clock), {}, Counter[bytes]()
    spec = SinkSpec(summary="", config=object, build=PlanningSink, guarantee=str, confirms="later", concurrency=1)  # type: ignore
    written: list[bytes] = []
    for _ in range(6):
        for _ in range(rng.randint(1, 12)):
            messages = [b"r%d" % (len(written) + i) for i in range(rng.randint(1, 5))]
            written += messages
            buffer.write(source("web"), *messages)
        context: Any = SinkContext("far", "n1", "/nonexistent", Telemetry())
        sink = PlanningSink(context, disk, world, rng)
        delivery = Delivery(
            "far", SinkCommon(max_request_records=rng.randint(1, 9)), spec, sink, buffer, context,  # type: ignore[arg-type]
            context.telemetry, clock, dead_letters=MemoryLetters(), uniform=lambda low, high: high)  # type: ignore[arg-type]
        task = asyncio.create_task(delivery.run())
        for _ in range(rng.randint(0, 200)):
            await asyncio.sleep(0)
            if rng.random() < 0.1:
                buffer.sync()
            if rng.random() < 0.1:
                clock.turn()
        task.cancel()                               # a crash: what the cursor had on disk is where the next one begins
        await asyncio.gather(task, return_exceptions=True)
        if "far" in buffer.durable:
            buffer.cursors["far"] = buffer.durable["far"]
        else:
            buffer.cursors.pop("far", None)
    sink = PlanningSink(context := SinkContext("far", "n1", "/x", Telemetry()), disk, world, rng)
    delivery = Delivery(
        "far", SinkCommon(), spec, sink, buffer, context, context.telemetry, clock,  # type: ignore[arg-type]
        dead_letters=MemoryLetters(), uniform=lambda low, high: high)  # type: ignore[arg-type]
    task = asyncio.create_task(delivery.run())
    await clock.finish(delivery.caught_up(buffer.appended_seq))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world == Counter(written)
    counters = delivery.status()["counters"]
    assert counters["delivered_records"] == len(written) and counters["delivered_bytes"] == buffer.total_bytes


