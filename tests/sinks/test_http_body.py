"""A request's bytes: HB of sinks/_http_body.py."""
from __future__ import annotations

import asyncio
import subprocess
import sys
import zlib

import pytest

from shipper.sinks import _http_body as module
from shipper.sinks._http_body import HERE_BYTES, THREAD_FROM_BYTES, Body, compress
from tests.support.bad_http import BadServer

from .codecs import CODECS
from .http_world import World

PIECES = [b"%d " % n * (n % 700 + 1) for n in range(300)]
WHOLE = b"".join(PIECES)
HTTP = next(codec for codec in CODECS if codec.type == "http" and "compression" not in codec.keys)


@pytest.mark.parametrize("pieces", [PIECES, PIECES[:3]], ids=["large", "small"])
async def test_the_wire_bytes_are_made_once_and_are_the_same_object_at_each_repeat(pieces):
    """HB1, HB3."""
    assert (sum(map(len, pieces)) >= THREAD_FROM_BYTES) is (pieces is PIECES)
    body = Body(pieces)
    wire = await body.wire("gzip")
    assert await body.wire("gzip") is wire
    assert zlib.decompress(b"".join(wire), 31) == b"".join(pieces)


def test_equal_bytes_are_compressed_to_equal_bytes_in_another_process_and_in_other_pieces():
    """HB2."""
    code = "import sys; from shipper.sinks._http_body import compress; " \
           "sys.stdout.buffer.write(compress([sys.stdin.buffer.read()], 'gzip'))"
    other = subprocess.run([sys.executable, "-c", code], input=PIECES[7], stdout=subprocess.PIPE, check=True).stdout
    assert compress([PIECES[7]], "gzip") == other == compress([PIECES[7][:9], PIECES[7][9:]], "gzip")


async def test_a_body_that_is_sent_once_and_compressed_keeps_only_what_it_was_compressed_to():
    """HB4."""
    body = Body(PIECES, once=True)
    wire = await body.wire("gzip")
    assert zlib.decompress(b"".join(wire), 31) == WHOLE
    assert not body.spent and not body.pieces and await body.wire("gzip") is wire


@pytest.mark.parametrize(("library", "threads"), [("isal", 0), ("zlib", 1)])
async def test_isal_compresses_where_it_is_and_what_is_slower_on_a_thread(monkeypatch, library, threads):
    """HB3."""
    hops = []

    async def to_thread(work, *args):
        hops.append(work)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    if library == "zlib":
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    assert zlib.decompress(b"".join(await Body(PIECES).wire("gzip")), 31) == WHOLE
    assert len(hops) == threads


async def test_a_large_body_is_compressed_in_turns_with_others():
    """HB3."""
    pieces = [bytes(100_000)] * 200
    others = 0

    async def count():
        nonlocal others
        while True:
            await asyncio.sleep(0)
            others += 1

    task = asyncio.create_task(count())
    wire = await Body(pieces).wire("gzip")
    task.cancel()
    assert others + 1 >= 100_000 * 200 // HERE_BYTES and zlib.decompress(b"".join(wire), 31) == b"".join(pieces)


@pytest.mark.parametrize("once", [False, True])
async def test_a_body_that_was_called_off_while_it_was_compressed_is_spent_only_where_it_may_be_sent_once(once, monkeypatch):
    """HB4, S2."""
    monkeypatch.setattr(module, "HERE_BYTES", 50_000)
    monkeypatch.setattr(module, "JOINED_BYTES", 10_000)
    body = Body(PIECES, once=once)
    task = asyncio.create_task(body.wire("gzip"))
    await asyncio.sleep(0)
    assert not task.done() and task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() and body.spent is once
    if not once:
        assert zlib.decompress(b"".join(await body.wire("gzip")), 31) == WHOLE


async def test_while_a_server_thinks_about_a_request_none_of_its_bytes_are_held():
    """HB4, on a real connection: and the repeat, made anew, is the same."""
    async with BadServer(HTTP(), iter(["hang"])) as server, World(HTTP(), server) as world:
        bodies = []
        encode_one, assemble = world.sink.encode_one, world.sink.assemble
        world.sink.assemble = lambda pieces: bodies.append(assemble(pieces)) or bodies[-1]
        world.sink.encode = lambda batches: world.sink.assemble([encode_one(batch) for batch in batches])
        world.write(50)
        await world.clock.until(lambda: server.open_requests == 1, 1e9)
        assert bodies[0].spent and len(bodies[0]) == 0 and bodies[0].size_bytes > 5_000
        server.hung_long_enough.set()
        await world.until_done()
        assert len(bodies) == 2 and len({seen.wire for seen in server.seen}) == 1
