"""when_full: drop_oldest and max_backlog: what goes, and that it is counted. D: backlog.py, Y: giveaway.py, X4: driver.py"""
from __future__ import annotations

import asyncio

import pytest

from shipper.deliver import giveaway
from shipper.deliver.backlog import STEP_BYTES, Drop, Facts, Limits, due
from shipper.errors import DropReason, Retryable
from shipper.model import Request

from .support import Cursor, Rig, source

WEB, DB = source("web"), source("db", "payments")
NOW = 1_000_000_000_000
HOUR_NS = 3_600_000_000_000


def facts(backlog_bytes: int = 100, age_ns: int = 0, full: bool = False, behind: bool = True) -> Facts:
    return Facts(backlog_bytes, NOW - age_ns, NOW, full, behind)


def test_block_drops_nothing_however_full():
    assert due(Limits(), facts(1 << 50, HOUR_NS, full=True)) is None


@pytest.mark.parametrize("full, behind, drops", [(True, True, True), (True, False, False), (False, True, False)])
def test_drop_oldest_drops_in_a_full_buffer_by_the_one_that_is_furthest_behind(full, behind, drops):
    wanted = Drop(DropReason.DROP_OLDEST, STEP_BYTES, NOW) if drops else None
    assert due(Limits(drop_oldest=True), facts(full=full, behind=behind)) == wanted


def test_past_max_backlog_exactly_the_excess_goes():
    assert due(Limits(max_bytes=100), facts(100)) is None
    assert due(Limits(max_bytes=100), facts(130)) == Drop(DropReason.MAX_BACKLOG, 30, NOW)


def test_past_the_age_what_is_older_goes():
    assert due(Limits(max_age_s=3600.0), facts(100, HOUR_NS)) is None
    assert due(Limits(max_age_s=3600.0), facts(100, HOUR_NS + 1)) == Drop(DropReason.MAX_BACKLOG, 100, NOW - HOUR_NS)


def down(request: Request) -> None:
    raise Retryable("down")


async def test_a_dead_sink_with_drop_oldest_gives_way_when_the_buffer_is_full():
    async with Rig(when_full="drop_oldest", when={"pod": ["web"]}) as rig:
        rig.sink.answer = down
        for n in range(5):
            rig.buffer.write(WEB, b"%d" % n)
            rig.buffer.write(DB, b"not ours")
        await rig.clock.until(lambda: len(rig.sink.tries) >= 3)
        rig.buffer.full = True
        await rig.until_done()
        counters = rig.delivery.status()["counters"]
        assert counters["dropped"] == {"drop_oldest": [5, 5 * 11]}
        assert counters["dropped_files"] == {"key-default-web": 55}
        assert (counters["unrouted_records"], counters["delivered_records"]) == (5, 0)
        assert rig.telemetry.value("shipper_sink_dropped_records_total", "central", "drop_oldest") == 5


async def test_all_that_is_too_much_goes_at_once_however_many_reads_it_takes_and_is_said_in_bytes(monkeypatch):
    monkeypatch.setattr(giveaway, "READ_BYTES", 1)                       # a frame each time
    async with Rig(max_backlog=22) as rig:
        rig.buffer.write(WEB, b"taken")
        await rig.until_done()
        rig.sink.answer = down
        for n in range(9):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: any(event == "records_dropped" for _, event, _ in rig.telemetry.lines))
        assert rig.delivery.status()["counters"]["dropped"] == {"max_backlog": [7, 77]}
        [said] = [fields for _, event, fields in rig.telemetry.lines if event == "records_dropped"]
        assert (said["records"], said["source_bytes"]) == (7, 77)


async def test_one_that_is_not_the_furthest_behind_keeps_its_records():
    async with Rig(when_full="drop_oldest") as rig:
        rig.sink.answer = down
        rig.buffer.write(WEB, b"0")
        rig.buffer.cursors["another"] = Cursor(-1, 0)
        rig.buffer.full = True
        await rig.clock.finish(rig.clock.sleep(500))
        assert rig.position == (0, 0)
        assert rig.delivery.status()["counters"]["dropped"] == {}


async def test_past_max_backlog_the_oldest_frames_go_and_the_rest_is_delivered():
    async with Rig(max_backlog=55) as rig:
        rig.sink.answer = down
        for n in range(9):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: bool(rig.delivery.status()["counters"]["dropped"]))
        assert rig.delivery.status()["counters"]["dropped"] == {"max_backlog": [4, 44]}
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert rig.sink.messages == [b"4", b"5", b"6", b"7", b"8"]


async def test_past_max_backlog_age_what_is_older_goes():
    async with Rig(max_backlog_age=600.0) as rig:
        rig.sink.answer = down
        rig.buffer.write(WEB, b"old")
        await rig.clock.finish(rig.clock.sleep(400))
        rig.buffer.write(WEB, b"young")
        await rig.clock.until(lambda: rig.position == (1, 0))
        assert 600 <= rig.clock.elapsed_s <= 605
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert rig.sink.messages == [b"young"]


async def test_nothing_is_dropped_while_it_is_being_sent():
    async with Rig(max_backlog=22, max_request_records=1) as rig:
        gate = asyncio.Event()
        rig.sink.answer = lambda request: gate.wait()
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: len(rig.sink.tries) == 1)
        for n in range(1, 6):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.finish(rig.clock.sleep(100))
        assert rig.delivery.status()["counters"]["dropped"] == {}
        gate.set()
        await rig.until_done()
        assert rig.sink.messages[0] == b"0"
        counters = rig.delivery.status()["counters"]
        assert counters["delivered_records"] + counters["dropped"].get("max_backlog", [0])[0] == 6


async def test_a_request_in_a_pause_is_dropped_only_when_no_other_is_being_sent():
    async with Rig(max_backlog=22, max_request_records=1, concurrency=2) as rig:
        gate = asyncio.Event()

        async def answer(request: Request) -> None:
            if request.number == 1:
                raise Retryable("down")
            await gate.wait()
        rig.sink.answer = answer
        for n in range(2):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: len(rig.sink.tries) == 2)
        rig.buffer.write(WEB, b"2")
        await rig.clock.finish(rig.clock.sleep(100))
        assert rig.delivery.status()["counters"]["dropped"] == {}
        gate.set()
        await rig.until_done()
        assert rig.sink.messages == [b"1", b"1", b"2"]
        assert rig.delivery.status()["counters"]["dropped"] == {"max_backlog": [1, 11]}


async def test_what_is_dropped_behind_unconfirmed_requests_is_passed_after_them():
    async with Rig(confirms="later", max_backlog=33, max_request_records=1) as rig:
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: len(rig.sink.sent) == 1)
        gate = asyncio.Event()
        rig.sink.answer = lambda request: gate.wait()
        rig.buffer.write(WEB, b"1")
        await rig.clock.until(lambda: len(rig.sink.tries) == 2)
        for n in range(2, 8):
            rig.buffer.write(WEB, b"%d" % n)
        gate.set()
        await rig.clock.until(lambda: rig.sink.messages[-1:] == [b"7"])
        assert rig.position == (0, 0)
        rig.context.confirmed(rig.sink.sent[-1].number)
        assert rig.done
        assert rig.sink.messages == [b"0", b"1", b"5", b"6", b"7"]
        assert rig.delivery.status()["counters"]["dropped"] == {"max_backlog": [3, 33]}


async def test_a_sink_with_a_plan_in_the_making_drops_nothing():
    async with Rig(max_backlog=5) as rig:
        rig.sink.pinned = True
        rig.sink.answer = down
        rig.buffer.write(WEB, b"0")
        await rig.clock.finish(rig.clock.sleep(100))
        assert rig.delivery.status()["counters"]["dropped"] == {}


async def test_drop_oldest_does_not_wait_for_a_moment_in_which_all_requests_of_a_hanging_server_happen_to_pause():
    async with Rig(concurrency=4, when_full="drop_oldest", max_request_records=1) as rig:
        tries = []

        async def hangs(request):
            tries.append(request.number)
            await rig.clock.sleep(40.0 + 5.0 * (len(tries) % 4))         # each in its own time
            raise Retryable("did not answer in time")

        rig.sink.answer = hangs
        for number in range(20):
            rig.buffer.write(WEB, b"%d" % number)
        await rig.clock.until(lambda: len(rig.sink.tries) == 4)
        rig.buffer.full = True
        await rig.clock.until(lambda: rig.position > (0, 0), limit_s=70)
        assert rig.delivery.status()["counters"]["dropped"]["drop_oldest"][0] > 0
        await rig.clock.until(lambda: any(event == "records_dropped" for _, event, _ in rig.telemetry.lines))
        rig.buffer.full = False
        rig.sink.answer = lambda request: None
        rig.buffer.write(WEB, b"new")
        await rig.until_done()
        assert rig.sink.messages[-1] == b"new"
