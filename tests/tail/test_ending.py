"""When a file is done, and when an open record may be closed by time. Tables."""
from __future__ import annotations

from dataclasses import replace

import pytest

from shipper.tail.attention import POLL_S, TICK_S, Attention
from shipper.tail.ending import AtEnd, Verdict, may_close_open_records, verdict

RENAMED = AtEnd(
    live=False, compressed=False, deleted=False, successor=True, lineage_gone=False, progress=False, rest_bytes=0,
    rest_age_s=0.0, patience_s=2.0,
)


@pytest.mark.parametrize(("change", "expected"), [
    ({}, Verdict.FINISH),
    ({"live": True}, Verdict.WAIT),
    ({"successor": False}, Verdict.WAIT),                       # E1: not reopened yet
    ({"successor": False, "deleted": True}, Verdict.FINISH),
    ({"successor": False, "lineage_gone": True}, Verdict.FINISH),
    ({"progress": True}, Verdict.WAIT),
    ({"rest_bytes": 5, "rest_age_s": 1.9}, Verdict.WAIT),
    ({"rest_bytes": 5, "rest_age_s": 2.0}, Verdict.FINISH),
    ({"rest_bytes": 5, "patience_s": 0.0}, Verdict.FINISH),     # E2: --once
    ({"compressed": True, "successor": False, "rest_bytes": 5}, Verdict.FINISH),
])
def test_when_a_file_is_done(change, expected):
    assert verdict(replace(RENAMED, **change)) is expected


@pytest.mark.parametrize(("facts", "expected"), [
    ((2.0, 2.0, 1, 0), True), ((1.9, 2.0, 1, 0), False), ((9.0, 2.0, 2, 0), False), ((9.0, 2.0, 1, 1), False),
])
def test_a_record_is_closed_by_time_only_where_we_are_read_to_the_end_of_the_newest_file(facts, expected):
    age, patience, files, unread = facts
    assert may_close_open_records(oldest_age_s=age, patience_s=patience, files=files, unread_bytes=unread) is expected


def test_a_busy_one_is_looked_at_each_tick_and_a_quiet_one_is_left_alone():
    attention = Attention()
    attention.ready("a")
    assert attention.tick(10.0) and not attention.tick(10.0 + TICK_S / 2) and attention.tick(10.1)
    assert attention.sleep_s(10.1) == pytest.approx(TICK_S, rel=0.05)
    attention.quieten("a", 11.0, watched=True)
    assert attention.sleep_s(11.0) == POLL_S and attention.poll(11.0) == [] and "a" in attention.quiet


def test_the_more_are_busy_the_later_is_the_next_tick_within_80_ms():
    attention = Attention()
    for number in range(1000):
        attention.ready(str(number))
    assert attention.tick(10.0)
    assert attention.sleep_s(10.0) == pytest.approx(0.08)


def test_without_a_watch_a_quiet_one_is_polled():
    attention = Attention()
    attention.quieten("a", 1.0, watched=False)
    assert attention.poll(1.0) == ["a"] and attention.poll(1.5) is None and attention.poll(2.0) == ["a"]
    attention.ready("a")
    assert attention.poll(3.0) == [] and "a" in attention.busy and "a" not in attention.quiet


def test_another_try_comes_after_a_second_with_a_look_where_one_was_asked_for():
    attention = Attention()
    attention.ready("a")
    attention.again("a", 1.0, look=True)
    attention.again("a", 1.0, look=False)
    assert "a" not in attention.busy and attention.poll(1.5) == [] and not attention.look
    assert attention.poll(2.6) == ["a"] and "a" in attention.look


def test_late_writes_are_looked_for_during_half_a_minute():
    attention = Attention()
    attention.trail("a", 0.0)
    assert attention.poll(5.0) == [] and "a" in attention.look
    attention.look.clear()
    attention.poll(40.0)
    attention.look.clear()
    attention.poll(50.0)
    assert not attention.look
    attention.trail("a", 60.0)
    attention.forget("a")
    attention.poll(70.0)
    assert not attention.look


def test_who_is_quiet_for_longest_comes_first_though_another_is_looked_at_again_and_again():
    """Without a watch it is polled; the others behind it were never closed."""
    attention = Attention()
    attention.quieten("polled", 0.0, watched=False)
    attention.quieten("watched", 1.0, watched=True)
    for now in (2.0, 3.0):
        attention.quieten("polled", now, watched=False)
    assert list(attention.quiet.items()) == [("polled", 0.0), ("watched", 1.0)]


def test_a_log_that_is_held_is_polled_when_its_time_comes_and_keeps_the_look_that_was_due():
    attention = Attention()
    assert attention.poll(0.0) == []                      # the next poll is in a second
    attention.again("a", 0.0, look=True)
    attention.hold("a", 0.3)
    assert attention.tried_again("a") and attention.poll(0.2) is None
    assert attention.poll(0.3) == ["a"] and list(attention.look) == ["a"] and list(attention.busy) == ["a"]
    assert not attention.tried_again("a")
