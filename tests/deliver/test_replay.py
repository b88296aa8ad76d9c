"""Dead letters go to their sink again beside the stream. Y: replay.py."""
from __future__ import annotations

import asyncio

import pytest

from shipper.deliver.account import Position, Tally
from shipper.deliver.replay import Replays
from shipper.deliver.window import Window
from shipper.errors import Rejected, Retryable

from .support import Rig, balance, ids_of, messages_of, section, source

WEB = source("web")


def letters(*messages: bytes):
    batch = section(source("old"), 0, list(messages)).batch
    return [(batch.slice(i, i + 1), "rejected") for i in range(len(batch))]


def poison(request):
    bad = tuple(i for i, m in enumerate(messages_of(request)) if b"poison" in m)
    if bad:
        raise Rejected("400 no", indexes=bad, rest_delivered=False)


async def replayed(rig, *messages):
    task = asyncio.create_task(rig.delivery.replay(letters(*messages)))
    await rig.clock.until(task.done)
    return task.result()


async def test_y1_they_are_sent_with_their_ids_and_the_cursor_stays_where_it_is():
    async with Rig() as rig:
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        before = rig.position
        assert await replayed(rig, b"old one", b"old two") == []
        assert rig.sink.messages == [b"one", b"old one", b"old two"] and rig.position == before
        assert rig.sink.ids[1:] == [f"{b.key}:{b.ids[0].decode()}" for b, _ in letters(b"old one", b"old two")]
        rig.buffer.write(WEB, b"two")
        await rig.until_done()
        assert rig.sink.messages[-1] == b"two"


async def test_a_poison_record_that_is_accepted_now_moves_from_dead_to_delivered_in_the_sums():
    async with Rig() as rig:
        rig.sink.answer = poison
        rig.buffer.write(WEB, b"one", b"poison", b"three")
        await rig.until_done()
        counters = rig.delivery.status()["counters"]
        assert counters["dead"]["rejected"][0] == 1 and counters["delivered_records"] == 2
        rig.sink.answer = lambda request: None
        dead = section(WEB, 0, [b"one", b"poison", b"three"]).batch.slice(1, 2)
        task = asyncio.create_task(rig.delivery.replay([(dead, "rejected")]))
        await rig.clock.until(task.done)
        counters = rig.delivery.status()["counters"]
        assert counters["dead"] == {} and counters["dead_files"] == {} and counters["delivered_records"] == 3
        assert balance(counters) == 0


async def test_y3_what_is_refused_again_is_told_and_is_no_new_dead_letter():
    async with Rig() as rig:
        rig.sink.answer = poison
        found = await replayed(rig, b"fine", b"poison 1", b"fine too", b"poison 2")
        assert [c.batch.messages[0] for c in found] == [b"poison 1", b"poison 2"] and found[0].response == "400 no"
        assert rig.letters.records == {} and rig.sink.messages == [b"fine", b"fine too"]
        assert rig.delivery.status()["counters"]["dead"] == {}


async def test_y3_two_hundred_refused_letters_do_not_make_the_sink_refuse_the_stream():
    async with Rig() as rig:
        rig.sink.answer = poison
        found = await replayed(rig, *(b"poison %d" % n for n in range(200)))
        assert len(found) == 200 and rig.delivery.status()["state"] == "ok"
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert rig.clock.elapsed_s < 30


async def test_y1_with_a_sink_that_confirms_later_they_are_done_when_it_confirms():
    async with Rig(confirms="later") as rig:
        task = asyncio.create_task(rig.delivery.replay(letters(b"old")))
        await rig.clock.until(lambda: bool(rig.sink.sent))
        assert not task.done()
        rig.context.confirmed(rig.sink.sent[-1].number)
        await rig.clock.until(task.done)
        assert task.result() == []


async def test_y2_a_sink_that_goes_back_gets_them_again_with_the_stream():
    async with Rig(confirms="later") as rig:
        rig.buffer.write(WEB, b"one")
        await rig.clock.until(lambda: bool(rig.sink.sent))
        task = asyncio.create_task(rig.delivery.replay(letters(b"old")))
        await rig.clock.until(lambda: len(rig.sink.sent) == 2)
        rig.context.resend(Retryable("reset"))
        await rig.clock.until(lambda: len(rig.sink.sent) == 4)
        assert sorted(rig.sink.messages) == [b"old", b"old", b"one", b"one"] and len(set(rig.sink.ids)) == 2
        rig.context.confirmed(max(r.number for r in rig.sink.sent))
        await rig.clock.until(task.done)
        await rig.until_done()


async def test_y2_what_is_held_through_a_long_outage_is_not_taken_for_delivered():
    async with Rig() as rig:
        tries = []

        def down(request):
            tries.append(ids_of(request))
            if len(tries) < 12:
                raise Retryable("503")

        rig.sink.answer = down
        assert await replayed(rig, b"old") == []
        assert len(tries) == 12 and rig.sink.messages == [b"old"] and rig.clock.elapsed_s > 60


async def test_y2_a_sink_that_stops_says_so_and_takes_no_more():
    rig = Rig().start()
    rig.sink.answer = lambda request: asyncio.Event().wait()
    task = asyncio.create_task(rig.delivery.replay(letters(b"old")))
    await rig.clock.until(lambda: bool(rig.sink.tries))
    rig.task.cancel()
    with pytest.raises(Retryable, match="was stopped"):
        await task
    with pytest.raises(Retryable, match="was stopped"):
        await rig.delivery.replay(letters(b"old"))
    await rig.stop()
    assert rig.position == Position(0, 0) or rig.position.record == 0


async def test_whoever_asked_may_go_and_it_is_delivered_all_the_same():
    async with Rig() as rig:
        gate = asyncio.Event()
        rig.sink.answer = lambda request: gate.wait()
        task = asyncio.create_task(rig.delivery.replay(letters(b"old")))
        await rig.clock.until(lambda: bool(rig.sink.tries))
        task.cancel()
        gate.set()
        await rig.clock.until(lambda: bool(rig.sink.sent))
        assert rig.sink.messages == [b"old"]


async def test_y2_a_letter_that_is_part_of_a_plan_is_not_sent_again_when_the_stream_goes_back_and_fails_with_the_sink():
    """A sink that plans delivers it once: a second request would be a second object."""
    replays, window = Replays(), Window(Position(0, 0))
    planned, other = replays.add(letters(b"one")), replays.add(letters(b"two"))
    replays.launch(window.launch(Position(0, 0), Tally())).entry.planned = True
    replays.launch(window.launch(Position(0, 0), Tally()))
    replays.rewind()
    assert list(replays.waiting) == [other]
    planned.entry.passed = True
    assert list(replays.passed()) == [planned]
    replays.add(letters(b"three"))
    third = replays.launch(window.launch(Position(0, 0), Tally()))
    third = replays.launch(window.launch(Position(0, 0), Tally()))
    third.entry.planned = True
    replays.fail(Retryable("stopped"))
    assert third.done.done() and other.done.done()


async def test_letters_that_the_far_side_puts_off_for_ever_hold_up_neither_the_stream_nor_the_cursor():
    async with Rig(concurrency=2) as rig:
        def answer(request):
            if b"no index" in messages_of(request):
                raise Retryable("404: no such index")

        rig.sink.answer = answer
        task = asyncio.create_task(rig.delivery.replay(letters(b"no index")))
        await rig.clock.until(lambda: bool(rig.sink.tries))
        for number in range(3):
            rig.buffer.write(WEB, b"%d" % number)
            await rig.until_done(limit_s=60)
        assert rig.sink.messages == [b"0", b"1", b"2"] and not task.done()
        rig.sink.answer = lambda request: None
        await rig.clock.until(task.done)
        assert task.result() == [] and rig.sink.messages[-1] == b"no index"
