"""Pauses. B: retry.py."""
from __future__ import annotations

import asyncio

import pytest

from shipper.deliver.retry import Backoff, GaveUp, Interrupted, Naps, Persistence, describe
from shipper.errors import Fatal, Rejected, Retryable, ShipperError, TooLarge

from .support import TurnedClock


def longest(low: float, high: float) -> float:
    assert low == 0.0
    return high


def test_the_pause_is_drawn_between_nothing_and_a_limit_that_doubles_up_to_a_minute():
    delays = [Backoff().delay_s(n, Retryable("x"), longest) for n in (1, 2, 3, 7, 8, 9, 10_000)]
    assert delays == [0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0]


def test_the_servers_word_wins_within_reason():
    assert Backoff().delay_s(1, Retryable("x", retry_after_s=7.5), longest) == 7.5
    assert Backoff().delay_s(9, Retryable("x", retry_after_s=0.0), longest) == 0.0
    assert Backoff().delay_s(1, Retryable("x", retry_after_s=1e9), longest) == 3600.0
    assert Backoff().delay_s(1, Retryable("x", retry_after_s=-5.0), longest) == 0.0


def test_a_fatal_error_is_tried_again_each_minute():
    assert Backoff().delay_s(1, Fatal("x"), longest) == 60.0


async def persist(errors, *, give_up_after_s=None, called_off=lambda: False):
    clock = TurnedClock()
    naps = Naps(clock)
    tries, pauses = [], []

    async def attempt():
        tries.append(clock.now_s())
        error = errors(len(tries))
        if error is not None:
            raise error

    work = Persistence(clock, naps, give_up_after_s, uniform=longest).persist(
        attempt, called_off, lambda error, delay_s: pauses.append(delay_s))
    try:
        await clock.finish(work)
        return tries, pauses, None
    except ShipperError as error:
        return tries, pauses, error


async def test_it_is_tried_until_it_is_taken():
    tries, pauses, error = await persist(lambda n: Retryable("x") if n < 4 else None)
    assert (tries, pauses, error) == ([0.0, 0.5, 1.5, 3.5], [0.5, 1.0, 2.0], None)


@pytest.mark.parametrize("error", [Rejected("no", indexes=(1,)), TooLarge("413")])
async def test_a_refusal_goes_to_the_caller_at_once(error):
    tries, pauses, raised = await persist(lambda n: error)
    assert raised is error and tries == [0.0] and pauses == []


async def test_it_gives_up_after_the_limit_and_says_the_last_error():
    tries, _, error = await persist(lambda n: Retryable(f"try {n}"), give_up_after_s=3.0)
    assert isinstance(error, GaveUp) and str(error) == "try 4"
    assert tries == [0.0, 0.5, 1.5, 3.0]                 # the last try comes when the time is over


@pytest.mark.parametrize(("asked_s", "limit_s", "tried_at", "said"), [
    (1800.0, 60.0, [0.0, 60.0], "429; it asks for a pause of 1800 s, the pause is 60 s: give_up_after is over then"),
    (86400.0, None, [0.0, 3600.0], "429; it asks for a pause of 86400 s, the pause is 3600 s: no pause is over an hour"),
    (20.0, 60.0, [0.0, 20.0], "429"),
])
async def test_a_long_retry_after_is_cut_by_give_up_after_and_said(asked_s, limit_s, tried_at, said):
    told = []
    clock = TurnedClock()
    tries = []

    async def attempt():
        tries.append(clock.now_s())
        if len(tries) == 1:
            raise Retryable("429", retry_after_s=asked_s)

    await clock.finish(Persistence(clock, Naps(clock), limit_s, uniform=longest).persist(
        attempt, lambda: False, lambda error, delay_s: told.append(str(error))))
    assert (tries, told) == (tried_at, [said])


async def test_a_far_side_that_always_asks_for_an_hour_is_given_up_in_time():
    tries, pauses, error = await persist(lambda n: Retryable("503", retry_after_s=3600.0), give_up_after_s=90.0)
    assert isinstance(error, GaveUp) and (tries, pauses, str(error)) == ([0.0, 90.0], [90.0], "503")


async def test_a_fatal_error_is_not_given_up():
    tries, _, error = await persist(lambda n: Fatal("x") if n < 5 else None, give_up_after_s=3.0)
    assert error is None and len(tries) == 5


async def test_what_is_called_off_is_not_tried_again():
    state = {"off": False}

    def errors(n):
        state["off"] = n == 2
        return Retryable("x")
    tries, _, error = await persist(errors, called_off=lambda: state["off"])
    assert isinstance(error, Interrupted) and len(tries) == 2


async def test_what_is_called_off_during_a_pause_is_not_tried_again():
    clock = TurnedClock()
    naps = Naps(clock)
    off, tries = [], []

    async def attempt():
        tries.append(1)
        raise Retryable("x")
    work = asyncio.ensure_future(Persistence(clock, naps, uniform=longest).persist(attempt, lambda: bool(off), lambda *_: None))
    await clock.until(lambda: len(naps) == 1)
    off.append(True)
    naps.wake_all()
    with pytest.raises(Interrupted):
        await work
    assert len(tries) == 1


async def test_all_pauses_end_together_and_are_short_in_a_hurry():
    clock = TurnedClock()
    naps = Naps(clock)
    tasks = [asyncio.ensure_future(naps.nap(60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(naps) == 3
    naps.wake_all()
    await asyncio.gather(*tasks)
    assert len(naps) == 0 and clock.elapsed_s == 0.0
    naps.hurry = True
    await clock.finish(naps.nap(60.0))
    assert clock.elapsed_s == 0.5


def test_only_our_own_errors_are_quoted():
    assert describe(Retryable("refused\nby peer")) == "refused by peer"
    assert describe(ConnectionResetError(104, "reset")) == "[Errno 104] reset"
    assert describe(ValueError("password=1234")) == "unexpected ValueError"
