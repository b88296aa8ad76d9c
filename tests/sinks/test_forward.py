"""The forward sink against a strict receiver that misbehaves as told. W: sinks/forward.py.

Neither fluentd nor Fluent Bit is in Debian, PyPI or npm: this was not checked against the real ones.
"""
from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
import trustme

from shipper.config.units import Bytes, Seconds
from shipper.errors import Retryable, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext, available, find
from shipper.sinks._forward_config import ForwardConfig, guarantee, problems
from shipper.sinks._tls import TlsConfig
from shipper.sinks.forward import SINK, _digest
from shipper.telemetry import Telemetry
from tests.sinks.syslog_kit import WITHIN_S, batch
from tests.support.forward_server import ForwardServer

ROWS = 100
KEY = "s3cr3t-shared-key"


def config(port: int, **changed: Any) -> ForwardConfig:
    changed.setdefault("connect_timeout", Seconds(2.0))
    return ForwardConfig(address=f"127.0.0.1:{port}", **changed)


def sink_of(settings: ForwardConfig, telemetry: Telemetry | None = None) -> Any:
    return SINK.build(settings, SinkContext("agg", "node1", "", telemetry or Telemetry()))


def batches(count: int, **of_source: Any) -> list[Any]:
    return [batch([b"line %d" % (n * ROWS + i) for i in range(ROWS)], first=n * ROWS, **of_source) for n in range(count)]


async def persist(sink: Any, number: int, sent: list[Any]) -> int:
    """Send until it is taken, the same payload again and again, as delivery does; how often it failed."""
    payload, failures = sink.encode(sent), 0
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await sink.send(Request(number, sent), payload)
                return failures
            except Retryable:
                failures += 1
                await asyncio.sleep(0.02)            # its back-off


async def test_each_request_is_acknowledged_chunks_by_tag_and_records_whole() -> None:
    async with ForwardServer() as server:
        sink = sink_of(config(server.port))
        sent = [*batches(2), *batches(1, pod="api-0")]
        await sink.send(Request(1, sent), sink.encode(sent))
        await sink.send(Request(2, batches(1)), sink.encode(batches(1)))
        await sink.close()
    assert [(tag, len(entries) > 0) for tag, _, entries in server.chunks] == [
        ("kubernetes.default.web-0.web", True), ("kubernetes.default.api-0.web", True), ("kubernetes.default.web-0.web", True)]
    assert [record["log"] for _, _, record in server.events[:200]] == [f"line {i}" for i in range(200)]
    assert server.events[0][1] == (1795165445, 123456789) and server.events[0][2]["id"] == "k3v9q2f7abcdefgh:0+64"
    assert server.bad == [] and server.connections == 1


async def test_several_requests_are_under_way_at_once_over_one_connection() -> None:
    async with ForwardServer() as server:
        sink = sink_of(config(server.port))
        await asyncio.gather(*(persist(sink, n, [one]) for n, one in enumerate(batches(4))))
        await sink.close()
    assert Counter(record["id"] for _, _, record in server.events).most_common(1)[0][1] == 1
    assert len(server.events) == 4 * ROWS and server.connections == 1


async def test_w1_a_repeat_sends_only_what_was_not_acknowledged_with_the_same_chunk_id_and_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent: list[str] = []
    waits: list[asyncio.Timeout] = []

    def all_but_the_second(chunk: str) -> bytes | None:
        if len(server.chunks) == 2 and not silent:
            silent.append(chunk)
            return None
        return bytes(msgpack.packb({"ack": chunk}))

    async with ForwardServer(ack=all_but_the_second) as server:
        settings = config(server.port)
        sink, timeout = sink_of(settings), asyncio.timeout
        monkeypatch.setattr(asyncio, "timeout", lambda delay_s: (waits.append(made := timeout(delay_s)), made)[1])
        sending = asyncio.create_task(persist(sink, 1, [one for pod in ("a", "b", "c") for one in batches(1, pod=pod)]))
        async with timeout(WITHIN_S):
            while not silent or sum(wait.done() for wait in sink._session._waiting.values()) < 2:
                await asyncio.sleep(0.002)
        waits[-1].reschedule(asyncio.get_running_loop().time())     # ack_timeout is over, with the other two acknowledged
        failures = await sending
        await sink.close()
    assert failures == 1 and server.connections == 2
    assert [chunk for _, chunk, _ in server.chunks].count(silent[0]) == 2 and len(server.chunks) == 4
    assert server.chunks[3] == server.chunks[1] and len(set(server.chunks)) == 3


async def test_a_connection_that_is_reset_in_the_middle_costs_a_repeat_and_no_record() -> None:
    async with ForwardServer(cut_after=2) as server:
        sink = sink_of(config(server.port))
        assert await persist(sink, 1, [one for pod in ("a", "b", "c") for one in batches(1, pod=pod)]) == 1
        await sink.close()
    assert len(set(server.chunks)) == 3
    assert {record["log"] for _, _, record in server.events} == {f"line {i}" for i in range(ROWS)}


async def test_encoded_again_the_same_request_has_the_same_chunks() -> None:
    one, two = sink_of(config(1)), sink_of(config(1))
    assert one.encode(batches(3)).chunks == two.encode(batches(3)).chunks


async def test_w2_silence_and_a_connection_that_ends_are_tried_again() -> None:
    async with ForwardServer(ack=lambda chunk: None) as server:
        sink = sink_of(config(server.port, ack_timeout=Seconds(0.05)))
        with pytest.raises(Retryable, match=r"did not acknowledge within 0\.05 s"):
            await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await sink.close()


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 400\r\n", msgpack.packb(["ack"]), msgpack.packb({"no": "ack"}), b"\xc1", b"\xdf\xff\xff\xff\xff",
])
async def test_w2_what_is_no_acknowledgement_ends_the_connection(answer: bytes) -> None:
    async with ForwardServer(ack=lambda chunk: answer) as server:
        sink = sink_of(config(server.port))
        with pytest.raises(Retryable, match=r"does not speak the forward protocol"):
            await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await sink.close()


async def test_an_acknowledgement_of_something_else_acknowledges_nothing() -> None:
    async with ForwardServer(ack=lambda chunk: msgpack.packb({"ack": "x" + chunk})) as server:
        sink = sink_of(config(server.port, ack_timeout=Seconds(0.05)))
        with pytest.raises(Retryable, match="did not acknowledge"):
            await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await sink.close()


async def test_cancelled_while_it_waits_the_same_payload_can_be_sent_again() -> None:
    async with ForwardServer() as server:
        sink = sink_of(config(server.port))
        server.free.clear()
        payload = sink.encode(batches(1))
        sending = asyncio.create_task(sink.send(Request(1, batches(1)), payload))
        await asyncio.wait([sending], timeout=0.05)
        sending.cancel()
        await asyncio.wait([sending])
        server.free.set()
        async with asyncio.timeout(WITHIN_S):
            await sink.send(Request(1, batches(1)), payload)
        await sink.close()
    assert {chunk for _, chunk, _ in server.chunks} == {payload.chunks[0].id} and server.bad == []


async def test_compressed_chunks_are_read_by_anybody() -> None:
    async with ForwardServer() as server:
        sink = sink_of(config(server.port, compression="gzip"))
        payload = sink.encode(batches(1))
        await sink.send(Request(1, batches(1)), payload)
        await sink.close()
    assert len(server.events) == ROWS and len(payload.chunks[0].data) < len(server.chunks[0][2]) / 3


async def test_without_acknowledgements_a_request_is_delivered_when_it_is_written_and_explain_says_so() -> None:
    async with ForwardServer() as server:
        settings = config(server.port, require_ack=False)
        sink = sink_of(settings)
        await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await server.until(1)
        await sink.close()
    assert server.chunks[0][1] == "" and "had not read" in guarantee(settings).can_lose


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_w4_a_chunk_over_max_chunk_is_never_sent(over: int) -> None:
    async with ForwardServer() as server:
        one = [batch([b"x" * 70_000])]
        size = len(sink_of(config(1)).encode(one).chunks[0].data)
        sink = sink_of(config(server.port, max_chunk=Bytes(size - over)))
        if over > 0:
            with pytest.raises(TooLarge, match="over max_chunk"):
                await sink.send(Request(1, one), sink.encode(one))
        else:
            await sink.send(Request(1, one), sink.encode(one))
        await sink.close()
    assert len(server.chunks) == (over <= 0)


def _faults(seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    answers = [None, b"\xc1", msgpack.packb({"ack": "x"}), msgpack.packb({"no": 1}), b"HTTP/1.1 200 OK\r\n"]
    kinds = [{"cut_after": chance.randrange(1, 5)}, {"answers": [chance.choice(answers)]}, {"cut_after": 1}, {}]
    return [chance.choice(kinds) for _ in range(chance.randrange(1, 8))]


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 330), marks=pytest.mark.long)], ids=["30", "300"])
async def test_whatever_a_receiver_does_everything_arrives_and_a_repeat_is_equal(seeds: range) -> None:
    for seed in seeds:
        async with ForwardServer() as server:
            server.troubles = _faults(seed)
            sink = sink_of(config(server.port, ack_timeout=Seconds(0.05), compression="gzip" if seed % 2 else "none"))
            parts = [batches(1, pod=f"p{n}") for n in range(6)]
            await asyncio.gather(*(persist(sink, n, part) for n, part in enumerate(parts)))
            await sink.close()
        assert Counter(tag for tag, _, _ in set(server.chunks)) == {f"kubernetes.default.p{n}.web": 1 for n in range(6)}, seed
        assert len({record["id"] for _, _, record in server.events}) == ROWS and server.bad == [], seed


# ---------------------------------------------------------------- handshake

@pytest.mark.parametrize("fluent_bit", [False, True], ids=["as fluentd", "as Fluent Bit"])
@pytest.mark.parametrize("user", [False, True], ids=["shared key", "with user"])
async def test_w3_both_sides_prove_that_they_know_the_shared_key(fluent_bit: bool, user: bool) -> None:
    telemetry = Telemetry()
    who = {"username": "node", "password": "pass-of-node"} if user else {}
    async with ForwardServer(shared_key=KEY, users={"node": "pass-of-node"} if user else None, fluent_bit=fluent_bit) as server:
        sink = sink_of(config(server.port, shared_key=KEY, **who), telemetry)
        await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await sink.close()
    assert len(server.events) == ROWS and server.bad == []
    assert telemetry.scrub(f"key {KEY}") == "key ***"


@pytest.mark.parametrize(("server_has", "ours", "words"), [
    ({"shared_key": KEY}, {"shared_key": "wrong"}, "refused this node \\(shared_key mismatch\\)"),
    ({"shared_key": KEY, "users": {"node": "p"}}, {"shared_key": KEY}, "wants a user name"),
    ({"shared_key": KEY, "users": {"node": "p"}}, {"shared_key": KEY, "username": "node", "password": "q"},
     "username/password mismatch"),
    ({"shared_key": KEY, "prove_with": "guessed"}, {"shared_key": KEY}, "does not know the shared key"),
    ({"shared_key": KEY, "hello": b"SSH-2.0-x\r\n"}, {"shared_key": KEY}, "does not speak the forward protocol"),
    ({"shared_key": KEY}, {}, "it asks for a shared key"),
    ({}, {"shared_key": KEY, "connect_timeout": Seconds(0.1)}, "did not finish the handshake"),
])
async def test_w3_nothing_is_sent_to_whom_does_not_know_us(server_has: Any, ours: Any, words: str) -> None:
    async with ForwardServer(**server_has) as server:
        sink = sink_of(config(server.port, **ours))
        with pytest.raises(Retryable, match=words) as refused:
            for _ in range(2):                                   # one that asks too late is noticed with its first word
                await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await sink.close()
    assert server.events == [] and KEY not in str(refused.value)


async def test_a_shared_key_is_read_from_its_file_for_each_connection(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old\n")
    async with ForwardServer(shared_key=KEY) as server:
        sink = sink_of(config(server.port, shared_key_file=str(path)))
        with pytest.raises(Retryable, match="mismatch"):
            await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        path.write_text(KEY + "\n")
        await sink.send(Request(1, batches(1)), sink.encode(batches(1)))
        await sink.close()
    assert len(server.events) == ROWS


async def test_tls_brings_everything(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = ca.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    async with ForwardServer(tls=context, shared_key=KEY) as server:
        tls = TlsConfig(ca=str(tmp_path / "ca.pem"), server_name="localhost")
        sink = sink_of(config(server.port, protocol="tls", tls=tls, shared_key=KEY))
        await asyncio.gather(*(persist(sink, n, [one]) for n, one in enumerate(batches(3))))
        await sink.close()
    assert len(server.events) == 3 * ROWS and server.connections == 1


# ---------------------------------------------------------------- config

def test_the_type_is_there_and_its_defaults_are_safe() -> None:
    assert "forward" in available() and find("forward").confirms == "on_send"
    assert ForwardConfig(address="a:1").require_ack and problems(ForwardConfig(address="a.b:24224")) == []


@pytest.mark.parametrize(("changed", "path", "words"), [
    ({"address": "nowhere"}, "address", "is not host:port"),
    ({"tag": "a.{nope}"}, "tag", "unknown field {nope}"),
    ({"tag": ""}, "tag", "routes by the tag"),
    ({"message_key": "id"}, "message_key", "taken; use log or message"),
    ({"max_chunk": Bytes(1000)}, "max_chunk", "use 64KiB or more"),
    ({"ack_timeout": Seconds(0)}, "ack_timeout", "longer than 0s"),
    ({"shared_key_file": "/nowhere"}, "shared_key_file", "cannot read /nowhere"),
    ({"shared_key": "x", "shared_key_file": __file__}, "shared_key_file", "keep one"),
    ({"shared_key": "x", "username": "u"}, "username", "go together"),
    ({"username": "u", "password": "p"}, "username", "only asked for with a shared key"),
    ({"tls": TlsConfig(verify=False)}, "tls", "use protocol: tls"),
])
def test_check_names_the_key_the_problem_and_the_mend(changed: dict[str, Any], path: str, words: str) -> None:
    [(found, problem)] = problems(ForwardConfig(**{"address": "a.b:24224", **changed}))
    assert found == path and words in problem


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"address": "a:1", "sharedkey": "x"}, ForwardConfig)


def test_the_digest_is_the_one_of_the_specification() -> None:
    assert _digest(b"salt", b"host", b"nonce", b"key") == hashlib.sha512(b"salthostnoncekey").hexdigest()
