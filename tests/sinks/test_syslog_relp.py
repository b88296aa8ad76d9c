"""Syslog over RELP against a strict receiver that misbehaves as told, and against the real rsyslogd. P: _syslog_relp.py."""
from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from shipper.config.types import SinkCommon
from shipper.deliver.driver import Delivery
from shipper.errors import Rejected, Retryable
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._syslog_config import guarantee, problems
from shipper.sinks._syslog_relp import Session
from shipper.sinks._tls import TlsConfig
from shipper.sinks.syslog import SINK
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters, TurnedClock, source
from tests.sinks.syslog_kit import WITHIN_S, FakeDelivery, batch, config, send_all
from tests.support.relp_server import RelpServer
from tests.support.rsyslogd import Rsyslogd

ROWS = 500


def relp(port: int, **changed: Any) -> Any:
    return config(port, protocol="relp", **changed)


def requests(count: int) -> list[Any]:
    return [batch([b"line %d" % (n * ROWS + i) for i in range(ROWS)], first=n * ROWS) for n in range(count)]


def ids(messages: list[bytes]) -> list[int]:
    return [int(re.search(rb' id="\w+:([0-9a-f]+)\+', m)[1], 16) // 100 for m in messages]  # type: ignore[index]


class Persistent(FakeDelivery):
    """A request that failed is sent again as it is, under its number, as delivery does it."""

    async def send_one(self) -> None:
        batch = self.batches[self.next]
        self.number += 1
        self.in_flight[self.number] = self.next
        self.next += 1
        while True:
            try:
                return await self.sink.send(Request(self.number, [batch]), self.sink.encode([batch]))
            except Retryable as error:
                self.failures.append(str(error))
                await asyncio.sleep(0.02)            # its back-off


# ---------------------------------------------------------------- a strict receiver

async def test_each_record_is_one_message_and_the_session_opens_and_closes_as_librelp_does() -> None:
    async with RelpServer() as server:
        log = await send_all(relp(server.port), requests(3))
    assert ids(server.messages) == list(range(3 * ROWS)) and server.bad == []
    assert server.opened == [b"relp_version=0\nrelp_software=shipper\ncommands=syslog"] and server.closes == 1
    assert log.confirmed == [1, 2, 3] and log.resends == [] and log.failures == []


async def test_p4_never_more_than_the_window_is_unanswered() -> None:
    async with RelpServer() as server:
        server.free.clear()
        delivery = FakeDelivery(requests(1), relp(server.port, relp_window=16))
        await delivery.sink.start(None)
        opening = asyncio.create_task(delivery.send())
        server.free.set()
        await opening
        await delivery.sink.close()
    assert server.most_unanswered == 16 and len(server.messages) == ROWS and server.bad == []


async def test_answers_may_come_in_any_order() -> None:
    async with RelpServer(backwards=True) as server:
        log = await send_all(relp(server.port), requests(2))
    assert ids(server.messages) == list(range(2 * ROWS)) and log.confirmed == [1, 2]


@pytest.mark.parametrize("trouble", [
    {"cut_after": 300}, {"close_after": 300}, {"say": b"garbage\n"}, {"say": b"99 rsp 6 200 OK\n"}, {"say": b"5 syslog 1 x\n"},
    {"say": b"2 rsp 0\n"},
], ids=["reset", "serverclose", "garbage", "answer for nothing", "a command of its own", "an answer without a code"])
async def test_p2_p3_a_session_that_ends_repeats_only_what_had_no_answer(trouble: dict[str, Any]) -> None:
    async with RelpServer(**trouble) as server:
        delivery = Persistent(requests(2), relp(server.port))
        await delivery.sink.start(None)
        async with asyncio.timeout(WITHIN_S):
            await delivery.send()
        await delivery.sink.close()
    repeats = sum(Counter(ids(server.messages)).values()) - 2 * ROWS
    assert sorted(set(ids(server.messages))) == list(range(2 * ROWS)) and server.bad == []
    assert repeats <= 128 and len(set(server.messages)) == 2 * ROWS          # equal id, equal bytes
    assert len(server.opened) == 2 and len(delivery.failures) <= 1
    assert delivery.cursor == 2 and delivery.confirmed == sorted(delivery.confirmed)


def _faults(seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    says = [b"x", b"0 serverclose 0\n", b"7 rsp 3 200", b"1 rsp 6 200 OK\n", b"HTTP/1.1 400 Bad\r\n\r\n", b"2 rsp 99999999 "]
    kinds = [{"cut_after": chance.randrange(1, 400)}, {"close_after": chance.randrange(1, 400)}, {"say": chance.choice(says)},
             {"backwards": True, "cut_after": chance.randrange(1, 400)}]
    return [chance.choice(kinds) for _ in range(chance.randrange(1, 6))]


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 330), marks=pytest.mark.long)], ids=["30", "300"])
async def test_whatever_a_receiver_does_everything_arrives_and_only_windows_are_repeated(seeds: range) -> None:
    for seed in seeds:
        async with RelpServer() as server:
            server.troubles = _faults(seed)
            most = len(server.troubles)
            delivery = Persistent(requests(2), relp(server.port, relp_window=32, ack_timeout=0.2))
            async with asyncio.timeout(WITHIN_S):
                await delivery.send()
            await delivery.sink.close()
        assert sorted(set(ids(server.messages))) == list(range(2 * ROWS)) and delivery.confirmed == [1, 2], seed
        assert len(set(server.messages)) == 2 * ROWS and server.bad == [], seed
        # A window for each session that ended: of the troubles, and of answers that a busy machine brought too late.
        late = sum("without an answer for" in why for why in delivery.failures)
        ended = len(server.opened) - 1
        assert ended <= most + late and len(server.messages) - 2 * ROWS <= 32 * ended, seed


async def test_a_message_that_is_refused_ends_alone_in_the_dead_letters_and_the_cursor_passes() -> None:
    """With the real delivery: what a sink that confirms later refuses by name stops nothing (P6)."""
    async with RelpServer(answer=lambda m: "500 no" if b"poison" in m else "200 OK") as server:
        buffer, letters, context = FakeBuffer(TurnedClock()), MemoryLetters(), SinkContext("central", "n1", "", Telemetry())
        sink = SINK.build(relp(server.port), context)
        delivery = Delivery(
            "central", SinkCommon(max_request_records=100), SINK, sink, buffer, context, Telemetry(),  # type: ignore[arg-type]
            dead_letters=letters)  # type: ignore[arg-type]
        for n in range(10):
            buffer.write(source("web"), *(b"poison" if (n, i) == (4, 30) else b"line" for i in range(100)))
        running = asyncio.create_task(delivery.run())
        async with asyncio.timeout(WITHIN_S):
            await delivery.caught_up(buffer.appended_seq)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert letters.messages == [b"poison"] and len(server.messages) == 1000 and server.bad == []
    counters = delivery.status()["counters"]
    assert counters["delivered_records"] == 999 and counters["dead"]["rejected"][0] == 1


async def test_p1_what_is_refused_by_name_is_rejected_alone_in_the_receivers_words() -> None:
    async with RelpServer(answer=lambda m: "500 not that one" if b"line 250" in m else "200 OK") as server:
        delivery = FakeDelivery(requests(2), relp(server.port))
        await delivery.sink.start(None)
        with pytest.raises(Rejected, match="answered 500 not that one") as refused:
            await delivery.send_one()
        await asyncio.sleep(0)
        await delivery.send_one()
        await delivery.sink.close()
    assert refused.value.indexes == (250,) and refused.value.rest_delivered
    assert delivery.confirmed == [1, 2] and len(server.messages) == 2 * ROWS
    assert "line 250" not in str(refused.value)


async def test_the_refused_part_of_a_split_message_names_its_record() -> None:
    async with RelpServer(answer=lambda m: "500 no" if b"part=\"2/" in m else "200 OK") as server:
        sent = batch([b"short", b"0123456789" * 300, b"short too"])
        sink: Any = FakeDelivery([sent], relp(server.port, max_message=1024)).sink
        with pytest.raises(Rejected) as refused:
            await sink.send(Request(1, [sent]), sink.encode([sent]))
        await sink.close()
    assert refused.value.indexes == (1,)


async def test_a_receiver_that_says_nothing_is_given_up_after_ack_timeout() -> None:
    async with RelpServer(answer=lambda m: None) as server:
        sent = batch([b"x"])
        sink: Any = FakeDelivery([sent], relp(server.port, ack_timeout=0.05)).sink
        with pytest.raises(Retryable, match=r"left 1 messages without an answer for 0\.05 s"):
            await sink.send(Request(1, [sent]), sink.encode([sent]))
        await sink.close()


async def test_answers_that_came_while_the_agent_was_busy_are_no_silence() -> None:
    """The session was ended, though nothing was missing: the time-out was looked at, not what had come."""
    session, ended = Session(relp(1)), list[str]()
    session.connection = SimpleNamespace(ended=None, end=ended.append)  # type: ignore[assignment]
    session._waiting[1] = 0
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(session._wait(0.01))
    await asyncio.sleep(0)
    came_s = loop.time()

    def be_busy() -> None:
        time.sleep(0.05)                             # the loop sees the answer and the end of the time at once
        loop.call_at(came_s, session._news.set)

    loop.call_soon(be_busy)
    await waiting
    assert ended == []


@pytest.mark.parametrize("offers", [b"500 not you", b"200 OK\nrelp_version=0\ncommands=other"])
async def test_a_session_that_is_refused_is_tried_again_later(offers: bytes) -> None:
    async with RelpServer(offers=offers) as server:
        sent = batch([b"x"])
        sink: Any = FakeDelivery([sent], relp(server.port)).sink
        with pytest.raises(Retryable, match="refused the RELP session"):
            await sink.send(Request(1, [sent]), sink.encode([sent]))
        await sink.close()
    assert server.messages == []


async def test_cancelled_in_the_middle_the_same_request_goes_again_over_a_new_session() -> None:
    async with RelpServer() as server:
        sent = requests(1)[0]
        sink: Any = FakeDelivery([sent], relp(server.port)).sink
        server.free.clear()
        sending = asyncio.create_task(sink.send(Request(1, [sent]), sink.encode([sent])))
        await asyncio.wait([sending], timeout=0.05)
        sending.cancel()
        await asyncio.wait([sending])
        server.free.set()
        async with asyncio.timeout(WITHIN_S):
            await sink.send(Request(1, [sent]), sink.encode([sent]))
        await sink.close()
    assert sorted(set(ids(server.messages))) == list(range(ROWS)) and server.bad == []


async def test_a_request_without_messages_is_confirmed_without_a_session() -> None:
    delivery = FakeDelivery([batch([b"", b""])], config(1, protocol="relp", format="container-logs"))
    await delivery.send_one()
    assert delivery.confirmed == [1] and delivery.failures == []


async def test_a_receiver_that_closes_while_idle_costs_no_failure() -> None:
    async with RelpServer(close_after=ROWS) as server:
        delivery = FakeDelivery(requests(2), relp(server.port))
        await delivery.send_one()
        await server.until(ROWS)
        await asyncio.sleep(0.05)                    # its FIN is under way
        await delivery.send_one()
        await delivery.sink.close()
    assert delivery.confirmed == [1, 2] and delivery.failures == [] and len(server.messages) == 2 * ROWS


def test_check_and_explain_know_relp() -> None:
    assert problems(relp(1)) == [] and "answered 200" in guarantee(relp(1)).delivered_means
    assert "up to 128 messages" in guarantee(relp(1)).can_repeat
    [(path, words)] = problems(relp(1, framing="newline"))
    assert path == "framing" and "RELP frames messages itself" in words
    [(path, words)] = problems(relp(1, tls=TlsConfig(verify=False)))
    assert path == "tls" and "use protocol: relp-tls" in words
    assert [path for path, _ in problems(relp(1, relp_window=0))] == ["relp_window"]
    assert SINK.concurrency == 1


# ---------------------------------------------------------------- the real one

@pytest.mark.rsyslogd
async def test_rsyslogd_takes_everything_and_parses_it(tmp_path: Path) -> None:
    messages = [b"plain", b"", b"a \"quoted\" ] \\ line", b"two\nlines", b"x" * 9000, "naïve €".encode()]
    async with Rsyslogd(tmp_path, imrelp=True) as daemon:
        log = await send_all(relp(daemon.ports["imrelp"]), [batch(messages), *requests(4)])
        records = await daemon.records(len(messages) + 4 * ROWS)
    assert [r["msg"].encode() for r in records[:len(messages)]] == messages
    assert [r["msg"] for r in records[len(messages):]] == [f"line {i}" for i in range(4 * ROWS)]
    assert log.confirmed == [1, 2, 3, 4, 5] and log.failures == []


def certificates(folder: Path) -> TlsConfig:
    """server.pem and client.pem of one CA; the client's settings."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, issued in (("server", ca.issue_cert("localhost")), ("client", ca.issue_cert("client.example"))):
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return TlsConfig(
        ca=str(folder / "ca.pem"), server_name="localhost", cert=str(folder / "client.pem"), key=str(folder / "client.key"))


@pytest.mark.rsyslogd
async def test_rsyslogd_takes_everything_over_mutual_tls(tmp_path: Path) -> None:
    """librelp knows no TLS with the server's certificate alone: certificates on both sides, or on none."""
    tls = certificates(tmp_path)
    server = {"ca": tls.ca, "cert": tmp_path / "server.pem", "key": tmp_path / "server.key", "client": True}
    async with Rsyslogd(tmp_path, tls=server, imrelp=True) as daemon:
        log = await send_all(config(daemon.ports["imrelp"], protocol="relp-tls", tls=tls), requests(3))
        records = await daemon.records(3 * ROWS)
    assert [r["msg"] for r in records] == [f"line {i}" for i in range(3 * ROWS)]
    assert log.confirmed == [1, 2, 3] and log.failures == []


async def test_tls_with_the_receivers_certificate_alone(tmp_path: Path) -> None:
    tls = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with RelpServer(tls=context) as server:
        mine = TlsConfig(ca=tls.ca, server_name="localhost")
        log = await send_all(config(server.port, protocol="relp-tls", tls=mine), requests(3))
    assert ids(server.messages) == list(range(3 * ROWS)) and server.bad == []
    assert log.confirmed == [1, 2, 3] and server.closes == 1


@pytest.mark.rsyslogd
async def test_rsyslogd_killed_in_the_middle_loses_nothing_and_repeats_only_what_had_no_answer(tmp_path: Path) -> None:
    """queue.type direct: what it answers for is stored (its default queue is memory, and dies with it)."""
    async with Rsyslogd(tmp_path, queue="direct", imrelp=True) as daemon:
        delivery = Persistent(requests(12), relp(daemon.ports["imrelp"], connect_timeout=1))
        sending = asyncio.create_task(delivery.send())
        kills = 0
        for wanted in (700, 2500, 4200):
            await daemon.records(wanted)
            await daemon.kill()
            kills += 1
            await daemon.start()
        async with asyncio.timeout(30):
            await sending
        await delivery.sink.close()
        records = await daemon.records(12 * ROWS)
    seen = Counter(re.search(r' id="([^"]+)"', r["sd"])[1] for r in records if r["sd"] != "-")  # type: ignore[index]
    assert len(seen) == 12 * ROWS and delivery.cursor == 12
    assert sum(seen.values()) - len(seen) <= kills * 128 and delivery.confirmed == sorted(delivery.confirmed)


