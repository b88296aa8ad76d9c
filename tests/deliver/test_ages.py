"""AG1 to AG3: a clock that is set does not drop a backlog."""
from __future__ import annotations

import pytest

from shipper.deliver.ages import Ages
from shipper.errors import Retryable
from shipper.model import Request

from .support import Rig, source

S = 1_000_000_000
WEB = source("web")


def looked(*looks: tuple[float, int]) -> Ages:
    ages = Ages()
    for now_s, wall_s in looks:
        ages.look(now_s, wall_s * S)
    return ages


def test_a_jump_is_told_once_with_its_length_and_everyday_time_is_none():
    ages = Ages()
    assert [ages.look(now_s, wall_s * S) for now_s, wall_s in ((0, 100), (1, 101), (60, 160), (61, 3761), (62, 3762))] == [
        0.0, 0.0, 0.0, 3600.0, 0.0]


@pytest.mark.parametrize("wall_s", [105, 90, 0])
def test_a_little_step_and_one_back_are_no_jump(wall_s: int):
    assert looked((0, 100), (1, wall_s)).by_todays_clock(99 * S) == 99 * S


def test_what_was_read_before_a_jump_is_as_old_as_it_was_and_what_came_behind_it_too():
    ages = looked((0, 100), (1, 1101))                     # 1000 s ahead, at 101
    assert ages.by_todays_clock(91 * S) == 1091 * S       # 10 s old before and after
    assert ages.by_todays_clock(1101 * S) == 1101 * S
    ages.look(11.0, 7111 * S)                              # 6000 s more, at 1111
    assert ages.by_todays_clock(91 * S) == 7091 * S
    assert ages.by_todays_clock(1105 * S) == 7105 * S


def test_a_time_of_today_is_told_as_the_frames_of_then_carry_it():
    ages = looked((0, 100), (1, 1101), (11, 7111))
    for read_s in (50, 100, 1101, 1110, 7111, 9000):
        assert ages.as_written(ages.by_todays_clock(read_s * S)) == read_s * S


def down(request: Request) -> None:
    raise Retryable("down")


async def test_a_clock_that_jumps_a_day_ahead_does_not_drop_a_young_backlog(monkeypatch: pytest.MonkeyPatch):
    async with Rig(max_backlog_age=600.0) as rig:
        rig.sink.answer = down
        wall_ns, ahead_ns = rig.clock.wall_ns, 0
        monkeypatch.setattr(rig.clock, "wall_ns", lambda: wall_ns() + ahead_ns)
        rig.buffer.write(WEB, b"old")
        await rig.clock.finish(rig.clock.sleep(100))
        ahead_ns = 86_400 * S
        await rig.clock.finish(rig.clock.sleep(100))
        rig.buffer.write(WEB, b"young")
        await rig.clock.finish(rig.clock.sleep(100))
        assert rig.delivery.status()["counters"]["dropped"] == {}
        said = [fields for _, event, fields in rig.telemetry.lines if event == "clock_jumped"]
        assert [(fields["about"], fields["ahead_s"]) for fields in said] == [("central", 86_400.0)]
        await rig.clock.until(lambda: bool(rig.delivery.status()["counters"]["dropped"]))
        assert 600 <= rig.clock.elapsed_s <= 605               # by age, as if nobody had set the clock
        assert rig.delivery.status()["counters"]["dropped"]["max_backlog"][0] == 1
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert rig.sink.messages == [b"young"]
