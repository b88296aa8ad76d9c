"""The contract of every sink over HTTP, against a server that misbehaves (tests/support/bad_http.py).

A sink joins by a codec in codecs.py. Numbers as in sinks/_http_sink.py (HS), sinks/__init__.py (S), the design (P3, P6).
"""
from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from shipper import sinks
from shipper.errors import Retryable, TooLarge
from shipper.model import Request
from shipper.sinks._http_config import HttpConfig
from shipper.telemetry import Telemetry
from tests.support.bad_http import FAULTS, BadServer

from .codecs import CODECS
from .http_world import HANGS, World

EVERY_CODEC = pytest.mark.parametrize("codec", [pytest.param(c, id=c.__name__) for c in CODECS])


def schedule_of(rng: random.Random, length: int, extra: tuple[str, ...] = ()) -> Iterator[str]:
    """Faults and good answers, mixed; then only good ones."""
    return iter([rng.choice(FAULTS) if rng.random() < 0.6 else "ok" for _ in range(length)] + list(extra))


def streams_of(codec: type, world: World) -> list[set[bytes]]:
    """Tokens whose order a sink keeps: those of one pod where it says so, else all."""
    found: dict[str, set[bytes]] = {}
    for batch in world.batches:
        key = batch.source.pod if getattr(codec, "ordered_by_pod", False) else ""
        found.setdefault(key, set()).update(message[:7] for message in batch.messages)
    return list(found.values())


async def one_schedule(codec_class: type, seed: int) -> None:
    rng = random.Random(seed)
    hangs = seed % 15 == 0
    faults = schedule_of(rng, 14, ("hang",) if hangs else ())
    concurrency = rng.choice((1, 1, 4))
    async with BadServer(codec_class(), faults, seed=seed) as server:
        common = {"concurrency": concurrency, "max_request_records": rng.choice((7, 20))}
        async with World(codec_class(), server, keys=HANGS if hangs else "", **common) as world:
            for _ in range(6):
                count = rng.randint(1, 15)
                world.write(count, poison=[n for n in range(count) if rng.random() < 0.05], pod=rng.choice("ab"))
            world.write(1)
            await world.until_done()
            dead = world.dead
            bad = {m for b in world.batches for m in (x[:7] for x in b.messages if b"poison" in x)}
            assert dead == bad, (server.faults, dead ^ bad)
            assert set(server.stored) == set(world.expected) - bad, server.faults
            assert all(why for _, _, why in world.letters.records.values())
            if concurrency == 1 and "half" not in server.faults:
                firsts = list(dict.fromkeys(server.order))
                for mine in streams_of(codec_class, world):
                    found = [token for token in firsts if token in mine]
                    assert found == sorted(found), server.faults


@pytest.mark.parametrize(("codec", "seed"), [
    pytest.param(c, seed, id=f"{c.__name__}-{seed}") for c in CODECS for seed in range(getattr(c, "schedules", 30))])
async def test_every_record_is_delivered_or_dead_whatever_the_server_does(codec, seed):
    await one_schedule(codec, seed)


@pytest.mark.long
@EVERY_CODEC
@pytest.mark.parametrize("seed", range(1_000, 1_300))
async def test_every_record_is_delivered_or_dead_whatever_the_server_does_300_times(codec, seed):
    await one_schedule(codec, seed)


@EVERY_CODEC
@pytest.mark.parametrize("always", ["404", "403", "401", "400", "308", "503"])
async def test_a_server_that_refuses_everything_is_not_fed_to_the_dead_letters(codec, always):
    async with BadServer(codec(), always=always) as server, World(codec(), server, max_request_records=50) as world:
        world.write(400)
        state = {"400": "refusing", "308": "failed"}.get(always, "retrying")
        await world.clock.until(lambda: len(server.seen) >= 4 and world.delivery.status()["state"] == state, 1e9)
        assert world.letters.records == {} and server.wrong == []
        assert world.position == (0, 0)
        server.always = ""
        await world.until_done()
        assert world.letters.records == {} and len(server.stored) == 400


@EVERY_CODEC
async def test_lost_responses_are_repeated_with_equal_ids_and_equal_bytes(codec):
    """HS1. The fifth repeat comes after a pause so long that the request was let go of, and is made again from the buffer."""
    async with BadServer(codec(), iter(["stored_then_reset"] * 5)) as server, World(codec(), server) as world:
        world.write(50)
        await world.until_done()
        first, *repeats = server.seen
        assert len(repeats) == 5 and len(world.buffer.reads) > 2
        assert all((r.wire, r.headers, r.path) == (first.wire, first.headers, first.path) for r in repeats)


@EVERY_CODEC
async def test_at_concurrency_1_the_order_of_each_source_is_kept(codec):
    server = BadServer(codec(), iter(["ok", "503", "ok", "reset_in", "429_s"]))
    async with server, World(codec(), server, max_request_records=5) as world:
        for _ in range(8):
            world.write(5)
        await world.until_done()
        assert server.order == sorted(server.order) and len(server.order) == 40


@EVERY_CODEC
async def test_cancelled_at_any_await_it_is_safe_to_send_again(codec):
    """S2. The same payload, cancelled after n turns of the loop, for each n until it gets through."""
    async with BadServer(codec()) as server:
        async with World(codec(), server) as world:
            pass                                                # its delivery has ended; the sink is built anew below
        world.write(20)
        sink = world.spec.build(world.config, sinks.SinkContext("far", "n1", "/nonexistent", Telemetry()))
        payload = sink.encode(world.batches)
        request = Request(1, world.batches)
        for turns in range(0, 60, 3):
            task = asyncio.create_task(sink.send(request, payload))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await sink.send(request, payload)
        assert len(server.stored) == 20 and server.wrong == []
        await sink.close()
        assert len({seen.wire for seen in server.seen}) == 1


@EVERY_CODEC
async def test_close_is_clean_with_a_request_under_way(codec):
    async with BadServer(codec(), always="hang") as server:
        async with World(codec(), server) as world:
            world.write(5)
            await world.clock.until(lambda: server.open_requests == 1, 1e9)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [t for t in others if "bad_http" not in repr(t) and "start_server" not in repr(t)], others
        with pytest.raises(Retryable):
            await world.sink.send(Request(2, world.batches), world.sink.encode(world.batches))


@EVERY_CODEC
async def test_a_poison_record_in_the_middle_of_10_000_ends_alone_in_the_dead_letters(codec):
    """P6. With an index in the answer at once, without one by halving."""
    async with BadServer(codec()) as server, World(codec(), server) as world:
        world.write(10_000, poison=[5_000])
        await world.until_done()
        assert world.dead == {b"m005000"} and len(server.stored) == 9_999
        assert all("poison" in why for _, _, why in world.letters.records.values())


@EVERY_CODEC
async def test_no_request_is_over_the_limit_by_a_byte(codec):
    """HS2: limit - 1, limit and limit + 1 bytes after encoding, alone and together. grain: what a message can grow by, and what
    the body then grows by (base64: 3 and 4)."""
    grows, encoded = getattr(codec, "grain", (1, 1))
    async with BadServer(codec()) as server:
        async with World(codec(), server) as world:
            pass
        world.write(1, padding=5_000)                           # the ids of the others are equally long
        world.write(1, padding=500)
        world.write(1, padding=500 + grows)
        _, one, longer = ([b] for b in world.batches)
        sink = world.sink
        limit = sink.encode(one).size_bytes
        sink.max_body_bytes = limit
        assert sink.encode(one).size_bytes == limit
        with pytest.raises(TooLarge):
            sink.encode(longer)
        with pytest.raises(TooLarge):
            sink.encode([*one, *longer])
        sink.max_body_bytes = limit + encoded
        assert sink.encode(longer).size_bytes == limit + encoded


@EVERY_CODEC
async def test_what_is_over_the_limit_is_halved_before_the_first_byte_and_a_single_record_becomes_a_dead_letter(codec):
    async with BadServer(codec(), limit_bytes=4_000) as server:
        def limited(sink):
            sink.max_body_bytes = 4_000
            return sink

        async with World(codec(), server, wrap=limited) as world:
            world.write(60, padding=200)
            world.write(1, padding=5_000)
            world.write(60, padding=200)
            await world.until_done()
            assert all(len(seen.body) <= 4_000 for seen in server.seen)
            assert world.dead == {b"m000060"} and len(server.stored) == 120


def test_every_sink_over_http_has_a_codec():
    over_http = {name for name in sinks.available() if issubclass(sinks.find(name).config, HttpConfig)}
    assert over_http <= {codec.type for codec in CODECS}, "add a codec to tests/sinks/codecs.py"
