"""What a request does not hold while it waits for its answer, and how it goes again then. C6 of courier.py."""
from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shipper.errors import Partial, Rejected, Retryable
from shipper.model import Batch, Request

from .support import FakeSink, Rig, section, source

WEB = source("web")


@dataclass
class Bytes:
    """A payload whose bytes can be let go of."""

    body: bytes
    once: bool = False
    spent: bool = False


class OnceSink(FakeSink):
    """Sends the bytes, lets go of them where it may, and then says `answers` one by one. Never looks at the batches."""

    looks_at_batches = False
    connects = True

    def __init__(self, *answers: Exception | asyncio.Event) -> None:
        super().__init__()
        self.answers, self.bodies, self.requests, self.payloads = list(answers), [], [], []

    def encode(self, batches: Sequence[Batch]) -> Any:
        return Bytes(super().encode(batches))

    async def send(self, request: Request, payload: Any) -> None:
        assert payload.body and not payload.spent, "bytes that were let go of are sent"
        self.bodies.append(payload.body)
        self.requests.append((request.records, request.batches))
        self.payloads.append(payload)
        if payload.once and self.connects:
            payload.body, payload.spent = b"", True
        said = self.answers.pop(0) if self.answers else None
        if isinstance(said, Exception):
            raise said
        if said is not None:
            await said.wait()


def batches_of(*messages: bytes) -> list[Batch]:
    """Those that are anywhere in memory."""
    gc.collect()
    return [o for o in gc.get_objects() if isinstance(o, Batch) and list(o.messages) == list(messages)]


async def test_a_request_that_waits_for_its_answer_holds_neither_its_batches_nor_the_bytes_that_were_sent():
    answered = asyncio.Event()
    async with Rig(sink=OnceSink(answered)) as rig:
        rig.buffer.write(WEB, b"held by nobody", b"but the buffer")
        await rig.clock.until(lambda: len(rig.sink.bodies) == 1)
        assert rig.sink.requests == [(2, [])] and rig.sink.payloads[0].spent
        frames, rig.buffer.frames = rig.buffer.frames, []
        assert len(batches_of(b"held by nobody", b"but the buffer")) == 1
        frames.clear()
        assert batches_of(b"held by nobody", b"but the buffer") == []
        answered.set()
        await rig.until_done()
        assert rig.delivery.status()["counters"]["delivered_records"] == 2


async def test_a_request_whose_answer_was_lost_is_made_again_of_the_same_frames():
    async with Rig(sink=OnceSink(Retryable("reset"), Retryable("reset"))) as rig:
        rig.buffer.write(WEB, b"one", b"two")
        await rig.until_done()
        assert rig.sink.bodies == [b"one\ntwo"] * 3
        assert rig.buffer.reads.count(0) == 3


async def test_a_payload_that_was_not_begun_is_kept_for_the_next_try():
    async with Rig(sink=OnceSink(Retryable("refused"))) as rig:
        rig.sink.connects = False
        rig.buffer.write(WEB, b"one")
        await rig.until_done()
        assert rig.sink.payloads[0] is rig.sink.payloads[1] and rig.buffer.reads.count(0) == 1


async def test_an_answer_that_names_a_record_of_a_request_that_was_let_go_of_kills_that_one():
    async with Rig(sink=OnceSink(Partial("one of them", dead={1: "too old"}, retry=[2]))) as rig:
        rig.buffer.write(WEB, b"one", b"two", b"three")
        await rig.until_done()
        assert rig.letters.messages == [b"two"]
        assert rig.sink.bodies == [b"one\ntwo\nthree", b"three"]
        assert [p.once for p in rig.sink.payloads] == [True, False]     # a part of a request is not in the buffer as such


async def test_an_answer_that_counts_records_of_a_request_whose_frames_were_lost_since_kills_none():
    sink = OnceSink()
    async with Rig(sink=sink) as rig:
        rig.buffer.write(WEB, b"lost")
        rig.buffer.write(WEB, b"good", b"better")
        taken = sink.send

        async def lose_a_frame_then_refuse(request: Request, payload: Any) -> None:
            await taken(request, payload)
            if len(sink.bodies) == 1:
                del rig.buffer.frames[0]
                raise Rejected("the second", indexes=(1,))

        sink.send = lose_a_frame_then_refuse
        await rig.until_done()
        assert sink.bodies == [b"lost\ngood\nbetter", b"good\nbetter"]
        assert rig.letters.messages == []


async def test_replayed_dead_letters_are_in_no_buffer_and_are_held():
    async with Rig(sink=OnceSink(Retryable("down"))) as rig:
        batch = section(WEB, 1000, [b"old"]).batch
        task = asyncio.create_task(rig.delivery.replay([(batch, "rejected")]))
        assert await rig.clock.finish(task) == []
        assert rig.sink.bodies == [b"old", b"old"] and not rig.sink.payloads[0].once
        assert rig.sink.requests[0] == (1, [batch])
