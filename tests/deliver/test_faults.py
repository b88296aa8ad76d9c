"""Seeded random schedules: errors of every class, poison, slow answers, resends, restarts, syncs at any moment.

In the end every routed record is on the far side or in the dead letters with its reason, none is missing, and the sums add up.
"""
from __future__ import annotations

import asyncio
import random

import pytest

from shipper.errors import Fatal, Rejected, Retryable, TooLarge
from shipper.model import Request

from .support import FakeSink, MemoryLetters, Rig, TurnedClock, ids_of, messages_of, source

SOURCES = [source("web"), source("api"), source("db", "payments")]


class FarSide:
    """A server with moods. `stored`: what it has, in order, repeats included; it outlives the agent."""

    def __init__(self, rng: random.Random, clock: TurnedClock, *, indexes: bool, largest: int) -> None:
        self.rng, self.clock, self.indexes, self.largest = rng, clock, indexes, largest
        self.stored: list[str] = []
        self.calm = False

    async def __call__(self, request: Request) -> None:
        if self.rng.random() < 0.3:
            await self.clock.sleep(self.rng.random() * 3)
        messages = messages_of(request)
        if not self.calm and self.rng.random() < 0.25:
            if self.rng.random() < 0.3:
                self.stored += [] if b"poison" in b"".join(messages) else ids_of(request)    # stored, and the answer lost
            raise self.rng.choice([Retryable("down"), Retryable("429", retry_after_s=3.0), Fatal("401"), OSError("reset")])
        if sum(map(len, messages)) > self.largest and len(messages) > 1:
            raise TooLarge("413")
        bad = tuple(n for n, m in enumerate(messages) if b"poison" in m)
        if bad and not self.indexes:
            raise Rejected("400")
        taken = not bad or self.rng.random() < 0.5
        if taken:
            self.stored += [i for n, i in enumerate(ids_of(request)) if n not in bad]
        if bad:
            raise Rejected("400", indexes=bad, rest_delivered=taken)


def fill(rng: random.Random, rig: Rig, frames: int) -> None:
    for _ in range(frames):
        rig.buffer.write(rng.choice(SOURCES), *[
            (b"poison" if rng.random() < 0.02 else b"good") + b"." * rng.randint(0, 30) for _ in range(rng.randint(0, 12))
        ])


def expected(rig: Rig) -> tuple[set[str], set[str]]:
    """Ids that must be stored, and those that must be dead."""
    good, dead = set(), set()
    for frame in rig.buffer.frames:
        for section in frame.sections:
            batch = section.batch
            if batch is not None and batch.source.namespace == "default":
                for item, message in zip(batch.ids, batch.messages):
                    (dead if b"poison" in message else good).add(f"{batch.key}:{item.decode()}")
    return good, dead


async def restart(rig: Rig, rng: random.Random, letters: MemoryLetters, **settings) -> Rig:
    """kill -9: what the cursor had durably is what there is."""
    await rig.stop()
    again = Rig(sink=FakeSink(settings["concurrency"]), letters=letters, **settings)
    again.clock.elapsed_s = rig.clock.elapsed_s
    buffer = again.buffer
    buffer.frames, buffer.total_bytes, buffer.next_seq = rig.buffer.frames, rig.buffer.total_bytes, rig.buffer.next_seq
    buffer._ends = rig.buffer._ends
    if "central" in rig.buffer.durable:
        buffer.cursors = dict(rig.buffer.durable)
        buffer.durable = dict(rig.buffer.durable)
    return again


def check_order(stored: list[str]) -> None:
    """Per file, first occurrences come in order."""
    last: dict[str, int] = {}
    for record_id in dict.fromkeys(stored):
        key, _, item = record_id.rpartition(":")
        start = int(item.split("+")[0], 16)
        assert start > last.get(key, -1), f"{record_id} came after {last[key]:x}"
        last[key] = start


@pytest.mark.parametrize("seed", range(40))
async def test_every_record_is_delivered_or_dead_whatever_goes_wrong(seed):
    rng = random.Random(seed)
    settings = {
        "concurrency": rng.choice([1, 1, 4]), "when": {"namespace": ["default"]}, "linger": rng.choice([0.0, 1.0]),
        "max_request_records": rng.choice([3, 20, 200]), "max_request_bytes": rng.choice([100, 1_000]),
    }
    rig = Rig(**settings)
    letters = rig.letters
    far = FarSide(rng, rig.clock, indexes=rng.random() < 0.5, largest=rng.choice([150, 10_000]))
    rig.sink.answer = far
    rig.start()
    for _ in range(6):
        fill(rng, rig, rng.randint(1, 8))
        await rig.clock.finish(rig.clock.sleep(rng.random() * 20))
        if rng.random() < 0.5:
            rig.buffer.sync()
        if rng.random() < 0.3:
            rig = await restart(rig, rng, letters, **settings)
            far.clock, rig.sink.answer = rig.clock, far
            rig.start()
    far.calm = True
    rig.buffer.write(SOURCES[0], b"good, and the last one")
    await rig.clock.finish(rig.delivery.caught_up(rig.buffer.appended_seq, 3_000.0))
    good, dead = expected(rig)
    assert good <= set(far.stored) and set(letters.records) == dead
    counters = rig.delivery.status()["counters"]
    assert counters["delivered_records"] == len(good)
    assert sum(n for n, _ in counters["dead"].values()) == len(dead)
    assert rig.delivery.status()["backlog_bytes"] == 0
    if settings["concurrency"] == 1:
        check_order(far.stored)
    await rig.stop()


@pytest.mark.parametrize("seed", range(30))
async def test_a_sink_that_confirms_later_loses_nothing_over_resets_and_restarts(seed):
    """The peer stores what it has read; a reset loses what it had not. The sink confirms only what was stored."""
    rng = random.Random(1_000 + seed)
    settings = {"concurrency": 1, "confirms": "later", "when": {"namespace": ["default"]}}
    settings["max_request_records"] = rng.choice([2, 9])
    rig = Rig(**settings)
    stored: list[str] = []
    wire: list[Request] = []

    def read_some(rig: Rig, most: int) -> None:
        for _ in range(min(most, len(wire))):
            request = wire.pop(0)
            stored.extend(ids_of(request))
            if rng.random() < 0.7:
                rig.context.confirmed(request.number, {"stored": len(stored)})

    def reset(rig: Rig) -> None:
        wire.clear()
        rig.context.resend(Retryable("reset"))

    async def send(request: Request) -> None:
        if rng.random() < 0.1:
            reset(rig)
            raise Retryable("reset while sending")
        wire.append(request)
        if rng.random() < 0.6:
            read_some(rig, rng.randint(1, 4))

    def flush() -> None:
        read_some(rig, 1_000)
        if rig.sink.sent:
            rig.context.confirmed(rig.sink.sent[-1].number, {"stored": len(stored)})

    rig.sink.answer, rig.sink.on_flush = send, flush
    rig.start()
    for _ in range(8):
        for _ in range(rng.randint(1, 6)):
            rig.buffer.write(rng.choice(SOURCES), *[b"%d" % rng.randint(0, 99) for _ in range(rng.randint(0, 9))])
        await rig.clock.finish(rig.clock.sleep(rng.random() * 5))
        if rng.random() < 0.3:
            reset(rig)
        if rng.random() < 0.5:
            rig.buffer.sync()
        if rng.random() < 0.25:
            rig = await restart(rig, rng, rig.letters, **settings)
            wire.clear()
            rig.sink.answer, rig.sink.on_flush = send, flush
            rig.start()
            await asyncio.sleep(0)
    await rig.clock.finish(rig.delivery.caught_up(rig.buffer.appended_seq, 3_000.0))
    good, _ = expected(rig)
    assert good == set(stored)
    check_order(stored)
    assert rig.delivery.status()["counters"]["delivered_records"] == len(good)
    assert rig.delivery.status()["unconfirmed_records"] == 0
    await rig.stop()


@pytest.mark.parametrize("confirms", ["on_send", "later"])
async def test_frames_that_are_damaged_while_their_request_waits_are_counted_as_lost_and_not_as_delivered(confirms):
    async with Rig(confirms=confirms, max_request_bytes=100_000) as rig:
        down = True

        def answer(request):
            if down:
                raise Retryable("503", retry_after_s=900.0)
            rig.context.confirmed(request.number)
        rig.sink.answer = answer
        rig.buffer.write(source("web"), b"one", b"two")
        rig.buffer.write(source("web"), b"three")
        await rig.clock.until(lambda: len(rig.delivery._naps) == 1)
        rig.buffer.frames.pop(0)
        down = False
        await rig.until_done()
        counters = rig.delivery.status()["counters"]
        assert rig.sink.messages == [b"three"] and counters["dropped"] == {"buffer_damaged": [0, 26]}
        assert (counters["delivered_records"], counters["delivered_bytes"]) == (1, 15)


async def test_a_later_sink_passes_a_request_whose_frames_are_all_gone():
    async with Rig(confirms="later", max_request_records=1) as rig:
        tries = []

        def answer(request):
            tries.append(request)
            if len(tries) == 1:
                raise Retryable("503", retry_after_s=900.0)
        rig.sink.answer = answer
        rig.buffer.write(source("web"), b"one")
        await rig.clock.until(lambda: len(rig.delivery._naps) == 1)
        rig.buffer.frames.pop(0)
        rig.buffer.write(source("web"), b"two")
        await rig.clock.until(lambda: rig.position == (1, 0))
        assert rig.delivery.status()["counters"]["dropped"] == {"buffer_damaged": [0, 13]}
