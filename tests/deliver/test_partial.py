"""Answers record by record (errors.Partial): the dead to the dead letters, the put-off again alone, the rest is delivered."""
from __future__ import annotations

import random

import pytest

from shipper.errors import Partial
from shipper.model import Request

from .support import Rig, messages_of, source

WEB = source("web")


def lines(count: int) -> list[bytes]:
    return [b"line %d" % n for n in range(count)]


async def test_only_the_records_that_were_put_off_go_again_after_the_pause_that_was_asked_for():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) == 1:
                raise Partial("busy", dead={1: "bad date"}, retry=(0, 3), retry_after_s=7.0)

        rig.sink.answer = answer
        rig.buffer.write(WEB, *lines(5))
        await rig.until_done()
        assert [messages_of(request) for request in rig.sink.tries] == [lines(5), [b"line 0", b"line 3"]]
        assert rig.clock.elapsed_s == 7.0
        assert [(m, why) for _, m, why in rig.letters.records.values()] == [(b"line 1", "bad date")]
        assert rig.delivery.status()["counters"]["delivered_records"] == 4


async def test_where_every_record_is_put_off_the_same_request_goes_again_with_back_off():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) <= 3:
                raise Partial("busy", retry=range(5))

        rig.sink.answer = answer
        rig.buffer.write(WEB, *lines(5))
        await rig.until_done()
        assert len({request.number for request in rig.sink.tries}) == 1 and len(rig.sink.tries) == 4
        assert rig.clock.elapsed_s == 0.5 + 1.0 + 2.0


async def test_a_sink_that_calls_every_record_dead_is_refusing_and_not_fed_to_the_dead_letters():
    async with Rig(max_request_records=50) as rig:
        def answer(request: Request) -> None:
            raise Partial("index is closed", dead=dict.fromkeys(range(request.records), "closed"))

        rig.sink.answer = answer
        rig.buffer.write(WEB, *lines(500))
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "refusing")
        assert rig.letters.records == {} and rig.position == (0, 0)
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert rig.letters.records == {} and set(rig.sink.messages) == set(lines(500))


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_is_said_of_single_records_each_ends_once(seed):
    rng = random.Random(seed)
    stored: list[bytes] = []
    async with Rig(concurrency=rng.choice([1, 4]), max_request_records=20) as rig:
        def answer(request: Request) -> None:
            messages = messages_of(request)
            dead = {n: "poison" for n, m in enumerate(messages) if m.endswith(b"7")}
            retry = [n for n in range(len(messages)) if rng.random() < 0.4]
            stored.extend(m for n, m in enumerate(messages) if n not in dead and n not in retry)
            if dead or retry:
                raise Partial("mixed", dead=dead, retry=retry)

        rig.sink.answer = answer
        for at in range(0, 100, 10):
            rig.buffer.write(WEB, *lines(100)[at : at + 10])
        await rig.until_done()
        assert sorted(stored) == sorted(m for m in lines(100) if not m.endswith(b"7"))
        assert set(rig.letters.messages) == {m for m in lines(100) if m.endswith(b"7")}
