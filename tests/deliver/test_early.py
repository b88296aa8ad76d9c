"""A sink whose `encode` joins batches is asked as they are appended; what it made then goes out once, in order."""
from __future__ import annotations

from collections.abc import Sequence

from shipper.errors import Rejected, Retryable
from shipper.model import Batch, Request

from .support import FakeSink, Rig, messages_of, source

WEB, DB = source("web"), source("db")


class JoiningSink(FakeSink):
    """Counts what it encodes, and keeps the payloads that it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[list[bytes]] = []
        self.payloads: list[bytes] = []
        self.poison = b"never"

    def encode(self, batches: Sequence[Batch]) -> bytes:
        lines = [m for batch in batches for m in batch.messages]
        self.encoded.append(lines)
        if self.poison in lines:
            raise ValueError("poison")
        return b"".join([line + b"\n" for line in lines])

    def encode_one(self, batch: Batch) -> bytes:
        return self.encode([batch])

    def assemble(self, pieces: Sequence[bytes]) -> bytes:
        return b"".join(pieces)

    async def send(self, request: Request, payload: bytes) -> None:
        self.payloads.append(payload)
        await super().send(request, payload)


async def started(rig: Rig) -> None:
    """The first record is delivered: from now on the sink is known to be well."""
    rig.buffer.write(WEB, b"first")
    await rig.until_done()


async def test_what_was_encoded_early_is_sent_and_not_encoded_again() -> None:
    sink = JoiningSink()
    async with Rig(sink=sink) as rig:
        await started(rig)
        sink.encoded.clear()
        rig.buffer.write(WEB, b"a", b"b")
        rig.buffer.write(DB, b"c")
        assert sink.encoded == [[b"a", b"b"], [b"c"]], "encoded as they were appended"
        await rig.until_done()
        assert len(sink.encoded) == 2
        assert b"".join(sink.payloads) == b"first\na\nb\nc\n"


async def test_a_repeat_has_the_same_bytes_as_what_was_encoded_early() -> None:
    sink = JoiningSink()
    async with Rig(sink=sink) as rig:
        await started(rig)
        failures = [Retryable("down"), Retryable("down")]

        def answer(request: Request) -> None:
            if failures:
                raise failures.pop()

        sink.answer = answer
        rig.buffer.write(WEB, b"a", b"b")
        await rig.until_done()
        assert sink.payloads[1:] == [b"a\nb\n"] * 3


async def test_a_sink_that_does_not_take_a_source_encodes_nothing_of_it() -> None:
    sink = JoiningSink()
    async with Rig(sink=sink, when={"pod": ["web"]}) as rig:
        await started(rig)
        sink.encoded.clear()
        rig.buffer.write(DB, b"other")
        rig.buffer.write(WEB, b"mine")
        await rig.until_done()
        assert sink.encoded == [[b"mine"]] and messages_of(sink.sent[-1]) == [b"mine"]


async def test_a_record_that_cannot_be_encoded_is_alone_in_the_dead_letters_though_it_failed_early() -> None:
    sink = JoiningSink()
    async with Rig(sink=sink) as rig:
        await started(rig)
        sink.poison = b"bad"
        rig.buffer.write(WEB, b"a", b"bad", b"b")
        await rig.until_done()
        assert rig.letters.messages == [b"bad"]
        assert sink.messages == [b"first", b"a", b"b"]


async def test_half_of_an_early_batch_that_is_refused_is_encoded_anew() -> None:
    sink = JoiningSink()
    async with Rig(sink=sink) as rig:
        await started(rig)

        def answer(request: Request) -> None:
            if b"bad" in messages_of(request):
                raise Rejected("malformed")

        sink.answer = answer
        rig.buffer.write(WEB, b"a", b"bad", b"b", b"c")
        await rig.until_done()
        assert rig.letters.messages == [b"bad"] and sink.messages == [b"first", b"a", b"b", b"c"]


async def test_a_delivery_that_has_ended_is_not_asked_any_more() -> None:
    sink = JoiningSink()
    async with Rig(sink=sink) as rig:
        await started(rig)
        assert rig.buffer.early
    assert not rig.buffer.early


class FormingSink(FakeSink):
    """Its bytes of many batches are not those of each, joined: a JSON array, say."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[object] = []

    def encode(self, batches: Sequence[Batch]) -> object:
        return [[m for batch in batches for m in batch.messages]]

    async def send(self, request: Request, payload: object) -> None:
        self.payloads.append(payload)
        await super().send(request, payload)


async def test_a_sink_beside_one_that_encodes_early_forms_its_own_requests() -> None:
    sink = FormingSink()
    async with Rig(sink=sink) as rig:
        rig.buffer.early["its neighbour"] = lambda batch: b"<14>syslog"
        rig.buffer.write(WEB, b"a")
        rig.buffer.write(DB, b"b")
        await rig.until_done()
        assert [line for payload in sink.payloads for line in payload[0]] == [b"a", b"b"]
        assert rig.letters.messages == []
