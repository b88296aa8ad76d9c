"""P5: a sink that is down, and one whose server never answers, delay no other by more than a batch."""
from __future__ import annotations

import asyncio

from shipper.config.types import SinkCommon
from shipper.deliver.driver import Delivery
from shipper.sinks import SinkContext
from tests.deliver.support import MemoryLetters
from tests.support.bad_http import BadServer

from .codecs import HttpNdjson
from .http_world import World, entry_of


async def test_a_hanging_and_a_dead_sink_delay_no_other_by_more_than_one_batch():
    good, hanging = BadServer(HttpNdjson()), BadServer(HttpNdjson(), always="hang")
    async with good, hanging, World(HttpNdjson(), good, max_request_records=10) as world:
        others = []
        for name, port in (("hanging", hanging.port), ("dead", 1)):
            entry = entry_of(f"type: http, url: 'http://127.0.0.1:{port}/ingest', proxy: none, request_timeout: 60s")
            context = SinkContext(name, "n1", "/nonexistent", world.telemetry)
            sink = entry.spec.build(entry.config, context)
            common = SinkCommon(concurrency=4, max_request_records=10)
            delivery = Delivery(name, common, entry.spec, sink, world.buffer, context, world.telemetry, world.clock,
                                dead_letters=MemoryLetters())  # type: ignore[arg-type]
            others.append((delivery, asyncio.create_task(delivery.run())))
        world.write(100)
        await world.clock.until(lambda: hanging.open_requests == 4, 1e9)         # all it may have are held open
        for _ in range(20):
            world.write(10)
            await world.clock.until(lambda: world.position.seq >= world.buffer.next_seq - 1, 1e9)
        await world.until_done()
        assert len(good.stored) == 300 and good.wrong == []
        assert world.buffer.cursor("hanging").seq == world.buffer.cursor("dead").seq == 0
        for delivery, task in others:
            assert delivery.status()["state"] == ("ok" if delivery.name == "hanging" else "retrying")
            task.cancel()
        await asyncio.gather(*(task for _, task in others), return_exceptions=True)
