"""The loop of one sink, with a strict fake on either side and time turned by hand. X: driver.py, P: progress.py."""
from __future__ import annotations

import asyncio
import sys

import pytest

from shipper.errors import Fatal, Retryable, TooLarge
from shipper.model import Request

from .support import FakeSpec, Rig, messages_of, section, source

WEB, DB = source("web"), source("db", "payments")


async def test_what_is_in_the_buffer_is_sent_and_the_cursor_passes_it():
    async with Rig() as rig:
        rig.buffer.write(WEB, b"one", b"two")
        rig.buffer.write(DB, b"three")
        await rig.until_done()
        assert rig.sink.messages == [b"one", b"two", b"three"]
        assert rig.delivery.status()["state"] == "ok"
        assert rig.delivery.status()["backlog_bytes"] == 0


async def test_what_is_appended_later_is_sent_when_it_comes():
    async with Rig() as rig:
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        rig.buffer.write(WEB, b"two")
        await rig.until_done()
        assert [messages_of(r) for r in rig.sink.sent] == [[b"one"], [b"two"]]


async def test_a_request_holds_records_of_several_frames_up_to_its_limit():
    async with Rig(max_request_records=3) as rig:
        for n in range(7):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.until_done()
        assert [len(messages_of(r)) for r in rig.sink.sent] == [3, 3, 1]


async def test_a_request_that_is_not_full_waits_for_the_linger_time():
    async with Rig(linger=2.0) as rig:
        rig.clock.elapsed_s = 100.0
        rig.buffer.write(WEB, b"one")
        await rig.clock.until(lambda: bool(rig.clock._timers))
        rig.buffer.write(WEB, b"two")
        await rig.until_done()
        assert [messages_of(r) for r in rig.sink.sent] == [[b"one", b"two"]]
        assert rig.clock.elapsed_s == 102.0


async def test_what_does_not_match_the_route_is_passed_and_counted_and_not_sent():
    async with Rig(when={"namespace": ["pay*"]}) as rig:
        rig.buffer.write(WEB, b"not this")
        rig.buffer.write(DB, b"this")
        rig.buffer.write(WEB, b"nor this")
        await rig.until_done()
        counters = rig.delivery.status()["counters"]
        assert rig.sink.messages == [b"this"]
        assert (counters["unrouted_records"], counters["delivered_records"]) == (2, 1)


async def test_frames_without_records_move_the_cursor():
    async with Rig() as rig:
        rig.buffer.append(section(WEB, 0, []))
        await rig.until_done()
        assert rig.sink.tries == []
        assert rig.delivery.status()["counters"]["delivered_bytes"] == 10


async def test_a_retryable_error_is_retried_with_the_same_request_until_it_is_taken():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) < 6:
                raise Retryable("connection refused")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert len(rig.sink.tries) == 6
        assert {r.number for r in rig.sink.tries} == {1}
        assert rig.clock.elapsed_s == 0.5 + 1 + 2 + 4 + 8
        assert rig.telemetry.value("shipper_sink_retries_total", "central") == 5
        assert rig.delivery.status()["last_error"] == "connection refused"
        assert rig.delivery.status()["state"] == "ok"


async def test_during_a_long_pause_nothing_is_held_and_the_request_is_read_again():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) < 6:
                raise Retryable("down")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"one")
        await rig.clock.until(lambda: len(rig.sink.tries) == 4)
        reads = len(rig.buffer.reads)
        await rig.until_done()
        assert rig.buffer.reads[reads:reads + 2] == [0, 0]
        assert rig.sink.messages == [b"one"]


async def test_retry_after_wins_over_the_back_off():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) == 1:
                raise Retryable("429", retry_after_s=17.0)
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert rig.clock.elapsed_s == 17.0


async def test_give_up_after_sends_records_to_the_dead_letters():
    async with Rig(give_up_after=100.0) as rig:
        def answer(request: Request) -> None:
            if b"one" in messages_of(request):
                raise Retryable("down")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert 100.0 <= rig.clock.elapsed_s < 170.0
        assert [r for r, *_ in rig.letters.records.values()] == ["gave_up"]


async def test_a_fatal_error_makes_the_sink_failed_and_is_retried_slowly():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) < 3:
                assert rig.clock.elapsed_s % 60 == 0
                raise Fatal("the certificate has expired; renew it")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"one")
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "failed")
        assert "sink:central" in rig.telemetry.degraded_since
        await rig.until_done()
        assert rig.clock.elapsed_s == 120.0
        assert rig.delivery.status()["state"] == "ok"
        assert not rig.telemetry.degraded_since


async def test_an_unexpected_error_of_a_sink_is_survived():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            if len(rig.sink.tries) < 3:
                raise KeyError("secret")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert rig.sink.messages == [b"one"]
        assert rig.delivery.status()["last_error"] == "unexpected KeyError"


async def test_start_is_retried_and_gets_the_state_of_the_cursor():
    rig = Rig()
    rig.buffer.cursor("central").state = {"length": 7}
    tries = []

    async def start(state):
        tries.append(state)
        if len(tries) < 3:
            raise Retryable("no such directory yet")
    rig.sink.start = start
    async with rig:
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert tries == [{"length": 7}] * 3


async def test_requests_that_finish_out_of_order_are_confirmed_in_order():
    async with Rig(concurrency=3, max_request_records=1) as rig:
        gates = {n: asyncio.Event() for n in (1, 2, 3, 4)}
        rig.sink.answer = lambda request: gates[request.number].wait()
        for n in range(4):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: len(rig.sink.tries) == 3)
        gates[3].set()
        gates[2].set()
        await rig.clock.until(lambda: len(rig.sink.sent) == 2 and len(rig.sink.tries) == 4)
        assert rig.position == (0, 0)
        gates[1].set()
        await rig.clock.until(lambda: rig.position == (3, 0))
        gates[4].set()
        await rig.until_done()
        assert sorted(rig.sink.messages) == [b"0", b"1", b"2", b"3"]


async def test_a_slow_request_does_not_stop_the_others_up_to_the_concurrency():
    async with Rig(concurrency=2, max_request_records=1) as rig:
        never = asyncio.Event()
        rig.sink.answer = lambda request: never.wait() if request.number == 1 else None
        for n in range(5):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: len(rig.sink.sent) == 4)
        assert rig.position == (0, 0)
        never.set()
        await rig.until_done()


# ---------------------------------------------------------------- sinks that confirm later

async def test_a_later_sink_moves_the_cursor_when_it_confirms_and_not_before():
    async with Rig(confirms="later", max_request_records=1) as rig:
        for n in range(3):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: len(rig.sink.sent) == 3)
        assert rig.position == (0, 0)
        assert rig.delivery.status()["unconfirmed_records"] == 3
        rig.context.confirmed(2, {"length": 20})
        assert rig.position == (2, 0)
        assert rig.buffer.cursor("central").state == {"length": 20}
        rig.context.confirmed(3)
        assert rig.done and rig.buffer.cursor("central").state == {"length": 20}


async def test_no_bytes_of_unconfirmed_requests_are_held():
    async with Rig(confirms="later", max_request_records=1) as rig:
        for n in range(3):
            rig.buffer.write(WEB, b"%d" % n)
        batches = [frame.sections[0].batch for frame in rig.buffer.frames]
        before = [sys.getrefcount(batch) for batch in batches]
        await rig.clock.until(lambda: len(rig.sink.sent) == 3)
        rig.sink.sent.clear()
        rig.sink.tries.clear()
        await rig.clock.finish(rig.clock.sleep(1))
        assert rig.delivery.status()["unconfirmed_records"] == 3
        assert [sys.getrefcount(batch) for batch in batches] == before


async def test_a_halved_request_of_a_later_sink_is_passed_when_its_last_half_is_confirmed():
    async with Rig(confirms="later") as rig:
        def answer(request: Request) -> None:
            if request.records > 1:
                raise TooLarge("one record per datagram")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0", b"1")
        await rig.clock.until(lambda: len(rig.sink.sent) == 2)
        assert [r.number for r in rig.sink.sent] == [2, 3]
        rig.context.confirmed(2)
        assert rig.position == (0, 0)
        rig.context.confirmed(3)
        assert rig.done


async def test_a_buffer_that_cannot_be_read_is_tried_again():
    async with Rig() as rig:
        read, failures = rig.buffer.read, [OSError(5, "Input/output error")] * 3

        async def broken(seq, max_bytes):
            if failures:
                raise failures.pop()
            return await read(seq, max_bytes)
        rig.buffer.read = broken
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "retrying")
        assert rig.delivery.status()["last_error"] == "[Errno 5] Input/output error"
        await rig.until_done()
        assert rig.clock.elapsed_s == 3.0
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "ok")


async def test_what_is_degraded_says_the_present_error_and_since_when_the_first():
    async with Rig() as rig:
        errors = iter([Retryable("cannot connect"), Retryable("503"), Retryable("503")])

        def answer(request: Request) -> None:
            if (error := next(errors, None)) is not None:
                raise error
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0")
        degraded = rig.telemetry.degraded_since
        await rig.clock.until(lambda: len(rig.sink.tries) == 1 and bool(degraded))
        first_s, why = degraded["sink:central"]
        assert why == "retrying: cannot connect"
        await rig.clock.until(lambda: len(rig.sink.tries) == 2 and degraded["sink:central"][1] != why)
        assert degraded["sink:central"] == (first_s, "retrying: 503")
        await rig.until_done()
        assert degraded == {} and [line[1] for line in rig.telemetry.lines].count("degraded") == 1


async def test_status_says_when_a_dead_sink_is_tried_again_and_no_more_once_it_takes_the_records():
    async with Rig() as rig:
        busy = [Retryable("busy", retry_after_s=8.0)]

        def answer(request):
            if busy:
                raise busy.pop()
        rig.sink.answer = answer
        assert rig.delivery.status()["next_try_s"] is None
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "retrying")
        assert rig.delivery.status()["next_try_s"] == 8.0
        await rig.until_done()
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "ok")
        assert rig.delivery.status()["next_try_s"] is None


async def test_a_sink_that_is_down_at_shutdown_is_not_said_to_have_recovered():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            raise Retryable("down")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "retrying")
        await rig.clock.finish(rig.delivery.drain(1.0))
        events = [event for _, event, _ in rig.telemetry.lines]
        assert "sink_not_drained" in events and "recovered" not in events


async def test_resend_goes_back_to_the_cursor_with_the_same_bytes_and_new_numbers():
    async with Rig(confirms="later", max_request_records=1) as rig:
        for n in range(3):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: len(rig.sink.sent) == 3)
        rig.context.confirmed(1)
        rig.context.resend(Retryable("connection reset"))
        assert rig.delivery.status()["state"] == "retrying"
        await rig.clock.until(lambda: len(rig.sink.sent) == 5)
        assert rig.sink.messages == [b"0", b"1", b"2", b"1", b"2"]
        assert [r.number for r in rig.sink.sent] == [1, 2, 3, 4, 5]
        assert rig.telemetry.value("shipper_sink_repeated_records_total", "central") == 2
        rig.context.confirmed(3)                        # too late: about requests that are forgotten
        assert rig.position == (1, 0)
        rig.context.confirmed(5)
        assert rig.done and rig.delivery.status()["state"] == "ok"


async def test_resend_while_a_send_is_failing_calls_that_send_off():
    async with Rig(confirms="later", max_request_records=1) as rig:
        def answer(request: Request) -> None:
            if request.number == 2:
                rig.context.resend(Retryable("reset"))
                raise Retryable("reset")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0")
        rig.buffer.write(WEB, b"1")
        await rig.clock.until(lambda: len(rig.sink.sent) == 3)
        assert rig.sink.messages == [b"0", b"0", b"1"]
        rig.context.confirmed(rig.sink.sent[-1].number)
        assert rig.done


async def test_resends_without_progress_back_off():
    async with Rig(confirms="later") as rig:
        times = []

        def answer(request: Request) -> None:
            times.append(rig.clock.elapsed_s)
            if len(times) < 5:
                rig.context.resend(Retryable("reset"))
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: len(times) == 5)
        assert times == [0.0, 0.0, 0.5, 1.5, 3.5]


async def test_a_confirmation_from_inside_send_counts():
    async with Rig(confirms="later") as rig:
        rig.sink.answer = lambda request: rig.context.confirmed(request.number, {"n": request.number})
        rig.buffer.write(WEB, b"0")
        await rig.until_done()
        assert rig.buffer.cursor("central").state == {"n": 1}


async def test_the_sink_hears_which_requests_are_durably_covered():
    async with Rig(max_request_records=1) as rig:
        for n in range(3):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.until_done()
        assert rig.sink.durable_numbers == []
        rig.buffer.sync()
        assert rig.sink.durable_numbers == [3]


# ---------------------------------------------------------------- ends

async def test_caught_up_returns_when_all_is_confirmed_and_flushed():
    async with Rig(confirms="later", linger=60.0) as rig:
        rig.sink.on_flush = lambda: rig.context.confirmed(rig.sink.sent[-1].number)
        seq = rig.buffer.write(WEB, b"0")
        await rig.clock.finish(rig.delivery.caught_up(seq))
        assert rig.done and rig.sink.flushes == 1
        await rig.clock.finish(rig.delivery.caught_up(seq))


async def test_caught_up_of_an_empty_buffer_returns_at_once():
    async with Rig() as rig:
        await rig.clock.finish(rig.delivery.caught_up(rig.buffer.appended_seq))


async def test_caught_up_names_what_is_held_when_time_is_over():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            raise Retryable("down")
        rig.sink.answer = answer
        seq = rig.buffer.write(WEB, b"0123456789")
        with pytest.raises(Retryable, match=r"not done in 60 s; held in the buffer: 20 source bytes \(state retrying\)"):
            await rig.clock.finish(rig.delivery.caught_up(seq, 60.0))


async def test_drain_ends_back_offs_and_delivers_the_rest():
    async with Rig() as rig:
        down = True

        def answer(request: Request) -> None:
            if down:
                raise Retryable("down", retry_after_s=900.0)
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: len(rig.delivery._naps) == 1)
        down = False
        stays = await rig.clock.finish(rig.delivery.drain(25.0))
        assert stays == {"records": 0, "source_bytes": 0, "records_exact": True}
        assert rig.clock.elapsed_s < 1.0
        assert rig.task.done() and rig.sink.closed
        assert rig.delivery.status()["state"] == "stopped"


async def test_a_reload_does_not_wait_for_a_sink_that_is_being_retried():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            raise Retryable("503", retry_after_s=900.0)
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0")
        await rig.clock.until(lambda: len(rig.delivery._naps) == 1)
        began_s = rig.clock.elapsed_s
        stays = await rig.clock.finish(rig.delivery.drain(5.0, while_well=True))
        assert rig.clock.elapsed_s == began_s and stays["source_bytes"] == 11
        assert len(rig.sink.tries) == 1 and rig.task.done() and rig.sink.closed


async def test_a_reload_drains_a_sink_that_is_well_and_goes_on_at_its_first_error():
    async with Rig(max_request_records=1) as rig:
        tries = []

        async def answer(request: Request) -> None:
            tries.append(request.number)
            if len(tries) > 3:
                raise Retryable("503")
            await rig.clock.sleep(0.5)
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0", b"1", b"2", b"3", b"4")
        await rig.clock.until(lambda: bool(tries))
        stays = await rig.clock.finish(rig.delivery.drain(5.0, while_well=True))
        assert stays["records"] == 2 and rig.sink.messages == [b"0", b"1", b"2"]
        assert 1.5 <= rig.clock.elapsed_s < 2.0 and len(tries) == 4


async def test_drain_tries_until_the_deadline_and_tells_what_stays():
    async with Rig() as rig:
        def answer(request: Request) -> None:
            raise Retryable("down")
        rig.sink.answer = answer
        rig.buffer.write(WEB, b"0", b"1")
        stays = await rig.clock.finish(rig.delivery.drain(25.0))
        assert stays == {"records": 2, "source_bytes": 22, "records_exact": True}
        assert 25.0 <= rig.clock.elapsed_s <= 26.0
        assert len(rig.sink.tries) >= 25.0 / 0.5
        assert rig.position == (0, 0)


async def test_cancelled_in_the_middle_of_a_send_nothing_is_left_running():
    async with Rig(concurrency=4, max_request_records=1) as rig:
        rig.sink.answer = lambda request: asyncio.Event().wait()
        for n in range(6):
            rig.buffer.write(WEB, b"%d" % n)
        await rig.clock.until(lambda: len(rig.sink.tries) == 4)
    assert rig.position == (0, 0)


async def test_after_a_restart_delivery_goes_on_in_the_middle_of_a_frame():
    rig = Rig(max_request_records=2)
    rig.buffer.write(WEB, b"0", b"1", b"2", b"3", b"4")
    rig.start()
    rig.sink.answer = lambda request: asyncio.Event().wait() if request.number == 2 else None
    await rig.clock.until(lambda: rig.position == (0, 2))
    await rig.stop()
    again = Rig(spec=FakeSpec(request_records=2))
    again.buffer.frames, again.buffer.total_bytes, again.buffer.next_seq = rig.buffer.frames, rig.buffer.total_bytes, 1
    again.buffer.cursors = rig.buffer.cursors
    async with again:
        await again.until_done()
        assert again.sink.messages == [b"2", b"3", b"4"]
        assert again.delivery.status()["counters"]["delivered_records"] == 5


async def test_a_buffer_whose_writer_is_dead_ends_the_sink_and_does_not_spin() -> None:
    rig, asked = Rig(), []

    async def wait_beyond(seq: int) -> None:
        asked.append(seq)
        raise Fatal("the buffer's writer stopped")

    rig.buffer.wait_beyond = wait_beyond  # type: ignore[method-assign]
    rig.start()
    for _ in range(500):
        await asyncio.sleep(0)
    assert len(asked) == 1
    with pytest.raises(Fatal, match="writer stopped"):
        await rig.task  # type: ignore[misc]
    assert rig.sink.closed
