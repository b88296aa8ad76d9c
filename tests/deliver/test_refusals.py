"""Poison records end alone in the dead letters; a sink that refuses everything is not fed to them (V4, X6)."""
from __future__ import annotations

import asyncio

import pytest

from shipper.errors import Rejected, Retryable, TooLarge
from shipper.model import Request

from .support import Rig, messages_of, source

WEB, DB, API = source("web"), source("db", "payments"), source("api")
POISON = b"poison"


def refuse_poison(request: Request) -> None:
    if any(POISON in m for m in messages_of(request)):
        raise Rejected("400: cannot parse")


def name_poison(rest_delivered: bool):
    def answer(request: Request) -> None:
        bad = tuple(n for n, m in enumerate(messages_of(request)) if POISON in m)
        if bad:
            raise Rejected("item refused", indexes=bad, rest_delivered=rest_delivered)
    return answer


def refuse_all(request: Request) -> None:
    raise Rejected("400: no such index")


def lines(count: int, *poison: int) -> list[bytes]:
    return [POISON + b" %d" % n if n in poison else b"good %d" % n for n in range(count)]


@pytest.mark.parametrize("place", [0, 4711, 9_999])
async def test_a_poison_record_in_ten_thousand_ends_alone_without_an_index(place):
    async with Rig(max_request_bytes=10_000_000) as rig:
        rig.sink.answer = refuse_poison
        rig.buffer.write(WEB, *lines(10_000, place))
        await rig.until_done()
        assert rig.letters.messages == [b"poison %d" % place]
        assert rig.sink.messages == [m for m in lines(10_000, place) if POISON not in m]
        assert len(rig.sink.tries) <= 2 * 14 + 1
        counters = rig.delivery.status()["counters"]
        assert counters["delivered_records"] == 9_999
        assert counters["dead"] == {"rejected": [1, len(b"poison %d" % place) + 10]}
        assert list(counters["dead_files"].values()) == [len(b"poison %d" % place) + 10]
        assert rig.clock.elapsed_s == 0


async def test_a_poison_record_that_is_named_costs_no_second_request_where_the_rest_was_taken():
    async with Rig(max_request_bytes=10_000_000) as rig:
        rig.sink.answer = name_poison(rest_delivered=True)
        rig.buffer.write(WEB, *lines(10_000, 4711, 5000))
        await rig.until_done()
        assert rig.letters.messages == [b"poison 4711", b"poison 5000"]
        assert len(rig.sink.tries) == 1


async def test_the_rest_is_sent_again_in_order_where_it_was_not_taken():
    async with Rig(max_request_bytes=10_000_000) as rig:
        rig.sink.answer = name_poison(rest_delivered=False)
        rig.buffer.write(WEB, *lines(1_000, 10, 500))
        await rig.until_done()
        assert rig.letters.messages == [b"poison 10", b"poison 500"]
        assert rig.sink.messages == [m for m in lines(1_000, 10, 500) if POISON not in m]
        assert [r.number for r in rig.sink.tries] == [1, 2]


async def test_a_request_that_is_too_large_is_halved_and_a_record_that_is_alone_is_dead():
    async with Rig(max_request_bytes=100_000) as rig:
        def answer(request: Request) -> None:
            if sum(map(len, messages_of(request))) > 1_000:
                raise TooLarge("413")
        rig.sink.answer = answer
        rig.buffer.write(WEB, *[b"x" * 300] * 5, b"y" * 2_000, *[b"z" * 300] * 5)
        await rig.until_done()
        assert rig.letters.messages == [b"y" * 2_000]
        assert {reason for reason, *_ in rig.letters.records.values()} == {"too_large"}
        assert rig.sink.messages == [b"x" * 300] * 5 + [b"z" * 300] * 5


async def test_requests_get_smaller_where_the_far_side_takes_less_and_grow_again():
    async with Rig(max_request_bytes=16_000) as rig:
        largest = 3_000

        def answer(request: Request) -> None:
            if sum(map(len, messages_of(request))) > largest:
                raise TooLarge("413")
        rig.sink.answer = answer
        for _ in range(400):
            rig.buffer.write(WEB, *[b"x" * 90] * 10)
        await rig.until_done()
        refused = len(rig.sink.tries) - len(rig.sink.sent)
        assert len(rig.sink.sent) > 100 and refused < len(rig.sink.sent) / 4
        assert rig.letters.records == {}
        largest = 1 << 30
        for _ in range(2_000):
            rig.buffer.write(WEB, *[b"x" * 90] * 10)
        await rig.until_done()
        assert rig.sink.sent[-2].records > 100


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_server_that_refuses_everything_gets_no_dead_letters_and_single_records_now_and_then(concurrency):
    async with Rig(max_request_records=50, concurrency=concurrency) as rig:
        rig.sink.answer = refuse_all
        rig.buffer.write(WEB, *lines(10_000))
        await rig.clock.until(lambda: rig.clock.elapsed_s > 3_600)
        assert rig.letters.records == {}
        assert rig.position == (0, 0)
        status = rig.delivery.status()
        assert status["state"] == "refusing"
        assert status["last_error"] == "400: no such index"
        tries = len(rig.sink.tries)
        await rig.clock.until(lambda: rig.clock.elapsed_s > 7_200)
        assert len(rig.sink.tries) - tries <= 2 * 121 and {len(messages_of(r)) for r in rig.sink.tries[tries:]} == {1}
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert sorted(set(rig.sink.messages)) == sorted(lines(10_000))
        assert rig.letters.records == {} and rig.delivery.status()["state"] == "ok"


async def test_rf1_a_sink_that_refused_everything_is_well_again_when_its_oldest_records_were_dropped_and_nothing_is_left():
    """It was shown as refusing, and degraded, until its next record came: for ever, where its pods were gone."""
    async with Rig(when_full="drop_oldest", max_request_records=10) as rig:
        rig.sink.answer = refuse_all
        rig.buffer.write(WEB, *lines(100))
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "refusing")
        rig.buffer.full = True
        await rig.until_done()
        rig.buffer.full = False
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "ok", 120)
        assert rig.letters.messages == [] and "sink:central" not in rig.telemetry.degraded_since


async def test_a_server_that_names_every_record_as_refused_gets_no_dead_letters():
    async with Rig(max_request_records=1_000) as rig:
        def answer(request: Request) -> None:
            raise Rejected("all refused", indexes=tuple(range(request.records)), rest_delivered=True)
        rig.sink.answer = answer
        rig.buffer.write(WEB, *lines(3_000))
        await rig.clock.until(lambda: rig.clock.elapsed_s > 3_600)
        assert rig.letters.records == {} and rig.position == (0, 0)
        assert len([r for r in rig.sink.tries if r.records > 1]) == 1
        assert len(rig.sink.tries) <= 1 + 120 * 8


async def test_a_request_that_stopped_half_refused_goes_again_when_another_is_accepted_meanwhile():
    async with Rig(max_request_records=300, max_request_bytes=100_000, concurrency=2) as rig:
        gate = asyncio.Event()

        async def answer(request: Request) -> None:
            refuse_poison(request)
            await gate.wait()
        rig.sink.answer = answer
        rig.buffer.write(WEB, *[POISON + b"%d" % n for n in range(300)])
        rig.buffer.write(API, *lines(300))
        await rig.clock.until(lambda: len(rig.sink.tries) > 200 and rig.delivery.status()["in_flight_requests"] == 1)
        gate.set()
        await rig.until_done(limit_s=120)
        assert len(rig.letters.records) == 300 and set(rig.sink.messages) == set(lines(300))


async def test_a_sink_that_starts_to_refuse_everything_after_a_good_hour_gets_no_dead_letters_in_bulk():
    async with Rig(max_request_records=500) as rig:
        rig.buffer.write(WEB, *lines(10_000))
        await rig.until_done()
        rig.sink.answer = refuse_all
        rig.buffer.write(WEB, *lines(10_000))
        await rig.clock.until(lambda: rig.clock.elapsed_s > 3_600)
        assert rig.letters.records == {}
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert rig.letters.records == {}
        assert rig.delivery.status()["counters"]["delivered_records"] == 20_000


async def test_in_a_trickle_at_most_one_record_is_believed_to_be_poison_before_the_sink_counts_as_refusing():
    async with Rig() as rig:
        rig.buffer.write(WEB, b"good")
        await rig.until_done()
        rig.sink.answer = refuse_all
        for n in range(20):
            rig.buffer.write(WEB, b"line %d" % n)
            await rig.clock.finish(rig.clock.sleep(300))
        assert len(rig.letters.records) <= 1
        assert rig.delivery.status()["state"] == "refusing"


async def test_a_lone_poison_record_waits_for_the_next_record_to_prove_the_sink():
    async with Rig() as rig:
        rig.sink.answer = refuse_poison
        rig.buffer.write(WEB, POISON)
        await rig.clock.until(lambda: rig.delivery.status()["held_records"] == 1)
        assert rig.letters.records == {} and rig.position == (0, 0)
        rig.buffer.write(WEB, b"good")
        await rig.until_done()
        assert rig.letters.messages == [POISON]
        assert rig.clock.elapsed_s == 0


async def test_two_poison_records_one_after_the_other_in_a_trickle_do_not_stop_what_follows():
    async with Rig() as rig:
        rig.sink.answer = refuse_poison
        for n in range(2):
            rig.buffer.write(WEB, POISON + b"%d" % n)
            await rig.clock.finish(rig.clock.sleep(1))
        rig.buffer.write(WEB, b"good")
        await rig.until_done(limit_s=120)
        assert rig.letters.messages == [b"poison0", b"poison1"]
        assert set(rig.sink.messages) == {b"good"}


async def test_a_whole_pod_of_poison_does_not_stop_the_others_for_longer_than_a_probe():
    async with Rig(max_request_records=100) as rig:
        rig.sink.answer = refuse_poison
        rig.buffer.write(WEB, *[POISON + b"%d" % n for n in range(450)])
        rig.buffer.write(API, *lines(100))
        await rig.until_done(limit_s=300)
        assert len(rig.letters.records) == 450
        assert set(rig.sink.messages) == set(lines(100))


async def test_dead_letters_are_on_disk_before_the_cursor_passes_and_a_full_disk_only_delays():
    async with Rig(max_request_bytes=10_000) as rig:
        rig.sink.answer = refuse_poison
        rig.letters.fail = OSError(28, "No space left on device")
        rig.buffer.write(WEB, *lines(10, 5))
        await rig.clock.until(lambda: "cannot write dead letters" in rig.delivery.status()["last_error"])
        assert rig.position == (0, 0)
        rig.letters.fail = None
        await rig.until_done()
        assert rig.letters.messages == [b"poison 5"]


async def test_a_record_that_cannot_be_encoded_is_halved_out_like_a_refused_one():
    async with Rig(max_request_bytes=10_000) as rig:
        plain = rig.sink.encode

        def encode(batches):
            if any(POISON in m for b in batches for m in b.messages):
                raise IndexError("a bug in the encoder")
            return plain(batches)
        rig.sink.encode = encode
        rig.buffer.write(WEB, *lines(50, 20))
        await rig.until_done()
        [(reason, message, response)] = rig.letters.records.values()
        assert (reason, message, response) == ("rejected", b"poison 20", "cannot be encoded: unexpected IndexError")


async def test_a_later_sink_that_names_a_record_is_confirmed_past_it_only_after_the_dead_letter():
    async with Rig(confirms="later", max_request_records=10) as rig:
        def answer(request: Request) -> None:
            name_poison(rest_delivered=False)(request)
            rig.context.confirmed(request.number)
        rig.sink.answer = answer
        rig.letters.fail = OSError(28, "No space left on device")
        rig.buffer.write(WEB, *lines(10, 5))
        await rig.clock.until(lambda: "cannot write dead letters" in rig.delivery.status()["last_error"])
        assert rig.position == (0, 0)
        rig.letters.fail = None
        await rig.until_done()
        assert rig.letters.messages == [b"poison 5"]


async def test_once_a_held_record_is_decided_when_nothing_follows():
    async with Rig() as rig:
        rig.sink.answer = refuse_poison
        rig.buffer.write(WEB, b"good")
        await rig.until_done()
        seq = rig.buffer.write(WEB, POISON)
        await rig.clock.finish(rig.delivery.caught_up(seq, 60.0))
        assert rig.letters.messages == [POISON]


async def test_draining_into_a_sink_that_refuses_everything_ends_at_once_and_keeps_all():
    async with Rig(max_request_records=50) as rig:
        rig.sink.answer = refuse_all
        rig.buffer.write(WEB, *lines(1_000))
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "refusing")
        stays = await rig.clock.finish(rig.delivery.drain(25.0))
        assert stays["records"] > 0 and rig.clock.elapsed_s < 1
        assert rig.letters.records == {}


async def test_a_refusing_sink_that_goes_down_and_comes_back_mended_gets_everything():
    async with Rig(max_request_records=50) as rig:
        rig.sink.answer = refuse_all
        rig.buffer.write(WEB, *lines(500))
        await rig.clock.until(lambda: rig.delivery.status()["state"] == "refusing")

        def down(request: Request) -> None:
            raise Retryable("refused")
        rig.sink.answer = down
        await rig.clock.finish(rig.clock.sleep(100))
        rig.sink.answer = lambda request: None
        await rig.until_done()
        assert rig.letters.records == {}
        assert set(rig.sink.messages) == set(lines(500))


async def test_a_whole_pod_that_cannot_be_encoded_does_not_end_the_delivery_when_it_is_asked_with_single_records():
    """The probe let the encoder's mistake through: the delivery ended, was started anew, and got to the same place for ever."""
    async with Rig(max_request_records=100) as rig:
        plain = rig.sink.encode

        def encode(batches):
            if any(POISON in m for b in batches for m in b.messages):
                raise IndexError("a bug in the encoder")
            return plain(batches)
        rig.sink.encode = encode
        rig.buffer.write(WEB, *[POISON + b"%d" % n for n in range(450)])
        rig.buffer.write(API, *lines(100))
        await rig.until_done(limit_s=300)
        assert len(rig.letters.records) == 450 and set(rig.sink.messages) == set(lines(100))


async def test_a_disk_that_was_full_when_a_letter_was_called_off_is_no_trouble_for_ever():
    async with Rig(confirms="later", max_request_bytes=10_000_000) as rig:
        rig.letters.fail = OSError(28, "No space left on device")
        rig.sink.answer = name_poison(rest_delivered=True)
        rig.buffer.write(WEB, b"good", b"poison")
        await rig.clock.until(lambda: "sink:central" in rig.telemetry.degraded_since)
        rig.sink.answer = lambda request: None               # the receiver was mended meanwhile, and takes it
        rig.context.resend(Retryable("reset"))
        await rig.clock.until(lambda: rig.sink.messages[-2:] == [b"good", b"poison"])
        rig.context.confirmed(rig.sink.sent[-1].number)
        await rig.until_done()
        assert rig.delivery.status()["state"] == "ok" and rig.telemetry.degraded_since == {}


async def test_a_stop_while_a_full_disk_takes_no_letter_is_no_bug_of_ours():
    async with Rig(concurrency=1) as rig:
        rig.letters.fail = OSError(28, "No space left on device")
        rig.buffer.write(WEB, b"good")
        await rig.until_done()                               # it took others before
        rig.sink.answer = refuse_all
        rig.buffer.write(WEB, b"refused alone")
        await rig.clock.until(lambda: "disk" in rig.delivery._trouble._now)
        stays = await rig.clock.finish(rig.delivery.drain(1.0))
        assert stays["records"] == 1 and rig.task.done()
        await rig.task                                       # raises what the supervisor would take for a bug


async def test_a_pod_that_writes_nothing_but_lines_over_the_limit_stops_nothing_and_its_sink_is_not_called_refusing():
    async with Rig() as rig:
        encode = rig.sink.encode

        def limited(batches):
            if any(len(m) > 1_000 for b in batches for m in b.messages):
                raise TooLarge("1001 bytes encoded, and it takes 1000")
            return encode(batches)
        rig.sink.encode = limited
        rig.buffer.write(WEB, *[b"x" * 1_001] * 300)
        await rig.until_done()
        assert len(rig.letters.records) == 300 and rig.sink.tries == []
        assert rig.clock.elapsed_s == 0 and not [line for line in rig.telemetry.lines if line[1] == "degraded"]
        rig.buffer.write(DB, b"and on")
        await rig.until_done()
        assert rig.sink.messages == [b"and on"]


@pytest.mark.parametrize("frames", [12, 30])
async def test_a_flood_of_refused_records_that_is_longer_than_a_probe_reads_does_not_hold_the_others_for_ever(frames):
    """6 MB of one pod, and 15 MB, of which a probe sees the beginning and the end."""
    async with Rig(max_request_records=50) as rig:
        rig.sink.answer = refuse_poison
        for _ in range(frames):
            rig.buffer.write(WEB, *[POISON + b"x" * 10_000] * 50)
        rig.buffer.write(DB, b"good")
        await rig.until_done(limit_s=120)
        assert rig.sink.messages[-1] == b"good" and len(rig.letters.records) == 50 * frames
