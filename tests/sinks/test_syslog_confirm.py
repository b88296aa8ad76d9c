"""The arithmetic of proof, against a model of a peer that reads when it likes and dies when it likes."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.sinks._syslog_confirm import (
    MIN_UNREAD_BYTES,
    PAIR_BYTES,
    UNKNOWN_WINDOW_BYTES,
    BarrierPolicy,
    Ledger,
    Step,
    barrier_proven,
)

MIB = 1024 * 1024


def test_within_the_first_mebibyte_nothing_is_confirmed_by_the_window() -> None:
    ledger = Ledger()
    ledger.note(1, 500_000)
    assert ledger.on_ack(500_000, 65_536) is None
    assert ledger.unconfirmed


def test_a_request_is_confirmed_when_a_whole_bound_was_acknowledged_behind_it() -> None:
    ledger = Ledger()
    ledger.note(1, 500_000)
    ledger.note(2, 600_000)
    for acked in range(0, 500_000 + MIB, 100_000):           # looked at often, as while data flow
        assert ledger.on_ack(acked, 65_536) is None
    assert ledger.on_ack(500_000 + MIB - 1, 65_536) is None
    assert ledger.on_ack(500_000 + MIB, 65_536) == 1
    assert ledger.on_ack(500_000 + MIB, 65_536) is None


def test_the_largest_window_ever_seen_counts_not_the_last_one() -> None:
    ledger = Ledger()
    ledger.note(1, 10)
    ledger.observe(0, 4 * MIB)
    for acked in range(MIB, 12 * MIB + 1, MIB):
        assert ledger.on_ack(acked, 0) is None
    assert ledger.on_ack(12 * MIB + 9, 0) is None
    assert ledger.on_ack(12 * MIB + 10, 0) == 1


def test_a_window_that_opened_and_shut_between_two_looks_is_reckoned_with() -> None:
    """V6: 4 MiB were acknowledged since the last look, so the peer may have advertised as much at once, and hold it unread."""
    ledger = Ledger()
    ledger.note(1, 3 * MIB)
    assert ledger.on_ack(4 * MIB, 65_536) is None
    safe = 3 * MIB + 2 * (4 * MIB + 65_536)
    for acked in range(5 * MIB, safe, MIB):
        assert ledger.on_ack(acked, 65_536) is None
    assert ledger.on_ack(safe, 65_536) == 1


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 2 * MIB), st.integers(0, 3 * MIB), st.integers(0, 4)), min_size=1, max_size=60))
def test_v6_the_bound_covers_twice_every_window_that_was_ever_advertised(steps: list[tuple[int, int, int]]) -> None:
    """A peer moves its right edge (never back) and takes what fits; only every so often somebody looks."""
    ledger, acked, edge, largest = Ledger(), 0, 65_536, 0
    for read, sent, look in steps:
        edge = max(edge, acked + read)
        largest = max(largest, edge - acked)
        acked = min(acked + sent, edge)
        if look == 0:
            ledger.on_ack(acked, edge - acked)
            assert ledger.unread_bound() >= 2 * largest


def test_a_kernel_that_does_not_tell_the_window_gets_the_largest_default() -> None:
    ledger = Ledger()
    ledger.on_ack(0, None)
    assert ledger.unread_bound() == 3 * UNKNOWN_WINDOW_BYTES


def test_resend_window_overrides_the_bound() -> None:
    ledger = Ledger(resend_window_bytes=100)
    ledger.note(1, 50)
    assert ledger.on_ack(149, 9 * MIB) is None
    assert ledger.on_ack(150, 9 * MIB) == 1


def test_a_barrier_confirms_the_last_request_once() -> None:
    ledger = Ledger()
    for number in range(1, 100):
        ledger.note(number, number * 10)
    assert ledger.on_barrier() == 99
    assert ledger.on_barrier() is None
    assert not ledger.unconfirmed


def test_a_trickle_of_tiny_requests_costs_a_bounded_number_of_pairs() -> None:
    ledger = Ledger()
    for number in range(1, 50_000):
        ledger.note(number, number * 20)
    assert len(ledger._pairs) <= 2 * 50_000 * 20 // PAIR_BYTES + 2
    assert ledger.on_barrier() == 49_999


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 900_000), min_size=1, max_size=60),
    windows=st.lists(st.integers(0, 2 * MIB), min_size=1, max_size=60),
    ack_parts=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    resend_window=st.none() | st.integers(0, 3 * MIB),
)
def test_v2_v3_whatever_the_peer_does_no_unproven_request_is_confirmed_and_numbers_rise(
    sizes: list[int], windows: list[int], ack_parts: list[float], resend_window: int | None
) -> None:
    ledger, written, acked, ends, confirmed = Ledger(resend_window), 0, 0, {0: 0}, 0
    largest = reach = 0
    for number, size in enumerate(sizes, 1):
        written += size
        ends[number] = written
        ledger.note(number, written)
        newly_acked = int((written - acked) * ack_parts[number % len(ack_parts)])
        acked += newly_acked
        largest = max(largest, window := windows[number % len(windows)])
        reach = max(reach, window + newly_acked)
        newly = ledger.on_ack(acked, window)
        bound = max(3 * largest, 2 * reach, MIN_UNREAD_BYTES) if resend_window is None else resend_window
        if newly is not None:
            assert newly > confirmed
            confirmed = newly
            assert ends[confirmed] <= max(acked - bound, 0)      # as of now: the bound may grow later
        if confirmed < number:
            assert ends[confirmed + 1] > acked - bound or ends[confirmed + 1] - ends[confirmed] < 2 * PAIR_BYTES
    assert ledger.on_barrier() == (len(sizes) if confirmed < len(sizes) else None)


@pytest.mark.parametrize(
    ("acked_raw", "unsent", "proven"),
    [(1001, 0, False), (1002, 0, True), (1001, 1, False), (None, 1, False), (None, 0, True)],
)
def test_a_barrier_is_proven_only_when_our_fin_is_acknowledged(acked_raw: int | None, unsent: int, proven: bool) -> None:
    assert barrier_proven(1000, acked_raw, unsent) is proven


def policy() -> BarrierPolicy:
    return BarrierPolicy(idle_s=5, interval_s=60, answer_s=10)


def test_a_barrier_begins_after_idle_time_or_an_interval_and_never_with_all_confirmed() -> None:
    p = policy()
    assert p.when_open(104.9, unconfirmed=True, last_send_s=100, since_s=90) is Step.NONE
    assert p.when_open(105.0, unconfirmed=True, last_send_s=100, since_s=90) is Step.BEGIN
    assert p.when_open(150.0, unconfirmed=True, last_send_s=149.9, since_s=90) is Step.BEGIN
    assert p.when_open(999.0, unconfirmed=False, last_send_s=100, since_s=90) is Step.NONE


def test_a_peer_that_has_everything_and_does_not_close_is_given_up_a_slow_one_is_not() -> None:
    p = policy()
    assert p.when_closing(110.0, last_progress_s=100, all_acked=True) is Step.GIVE_UP
    assert p.when_closing(109.9, last_progress_s=100, all_acked=True) is Step.NONE
    assert p.when_closing(900.0, last_progress_s=100, all_acked=False) is Step.NONE


def test_a_peer_that_never_answers_is_asked_more_and_more_rarely_until_it_answers() -> None:
    p = policy()
    for wait_s in (600, 6000, 60_000, 86_400, 86_400):
        p.not_answered(0.0)
        due = {"unconfirmed": True, "last_send_s": -1000.0, "since_s": -1000.0}
        assert p.when_open(wait_s - 0.1, **due) is Step.NONE
        assert p.when_open(wait_s, **due) is Step.BEGIN
    p.answered()
    assert p.when_open(1.0, unconfirmed=True, last_send_s=-10, since_s=0) is Step.BEGIN
