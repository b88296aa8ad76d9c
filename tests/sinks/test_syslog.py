"""The sink against receivers that die, stall, half-close and never close: nothing is lost, all is confirmed in the end."""
from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from shipper.errors import Retryable
from shipper.model import Batch, Request
from shipper.sinks import _syslog_connection, _syslog_connector
from shipper.sinks._syslog_confirm import MIN_UNREAD_BYTES, Ledger
from shipper.sinks._syslog_facts import ACKED_AT, WINDOW_AT, facts_of, unsent_of
from shipper.sinks._tls import TlsConfig
from shipper.sinks.syslog import LOOK_EVERY_S, SAMPLE_BYTES
from tests.sinks.syslog_kit import WITHIN_S, FakeDelivery, batch, config
from tests.support.ports import kept_port
from tests.support.syslog_receiver import Receiver

ROWS = 200                       # per request
LINE = b"x" * 200

StartReceiver = Callable[..., Awaitable[Receiver]]


def requests(count: int) -> list[Batch]:
    return [batch([LINE] * ROWS, first=i * ROWS) for i in range(count)]


def ids(messages: list[bytes]) -> list[int]:
    """The start of each record, in units of records."""
    return [int(re.search(rb' id="\w+:([0-9a-f]+)\+', m)[1], 16) // 100 for m in messages]  # type: ignore[index]


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[StartReceiver]:
    started: list[Receiver] = []

    async def start(**options: Any) -> Receiver:
        started.append(await Receiver(tmp_path, **options).start())
        return started[-1]

    yield start
    for one in started:
        await one.kill()


@asynccontextmanager
async def delivering(batches: list[Batch], port: int, **changed: Any) -> AsyncIterator[FakeDelivery]:
    delivery = FakeDelivery(batches, config(port, **changed))
    await delivery.sink.start(None)
    try:
        yield delivery
    finally:
        await delivery.sink.close()


# ---------------------------------------------------------------- the rules

async def test_an_idle_barrier_confirms_a_trickle(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(1), peer.port) as delivery:
        await delivery.until_confirmed()
        assert delivery.confirmed == [1] and delivery.resends == []
        assert delivery.telemetry.value("shipper_sink_barriers_total", "central", "proven") == 1
    assert ids(peer.messages()) == list(range(ROWS))


async def test_the_connection_that_a_barrier_opened_takes_what_comes_next(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(2), peer.port, barrier_idle=0.02) as delivery:
        await delivery.send_one()
        await delivery.until_confirmed(1)
        opened = delivery.sink._current
        assert opened is not None and opened.connection.written_bytes == 0
        await delivery.send_one()
        assert opened.connection.written_bytes > 0
        await delivery.until_confirmed()
        assert (await peer.ask("wait_connections 3"))["connections"] == 3


async def test_the_window_rule_confirms_while_data_flow_without_any_barrier(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(120), peer.port, barrier_idle=60, resend_window=1024 * 1024) as delivery:
        await delivery.send()
        await peer.wait(120 * ROWS)
        await delivery.until_confirmed(90)                   # 120 requests of 62 kB; the last MiB cannot be proven
        assert delivery.cursor < 120
        assert (await peer.ask("stats"))["connections"] == 1


async def test_the_kernel_is_asked_once_per_half_mebibyte_not_once_per_request(
    receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(_syslog_connection, "facts_of", lambda sock: (asked.append(1), facts_of(sock))[1])
    peer = await receiver()
    small = [batch([LINE] * 10, first=i * 10) for i in range(1000)]
    async with delivering(small, peer.port, barrier_idle=60) as delivery:
        began_s = asyncio.get_running_loop().time()
        await delivery.send()
        looks = (asyncio.get_running_loop().time() - began_s) / LOOK_EVERY_S
        written = delivery.sink._current.connection.written_bytes
        assert 1 <= len(asked) <= written / SAMPLE_BYTES + looks + 2
        await delivery.sink.flush(WITHIN_S)
        assert delivery.cursor == 1000


async def test_every_interval_the_connection_changes_while_data_flow_and_order_is_kept(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(60), peer.port, barrier_idle=60, barrier_interval=0.01) as delivery:
        while delivery.next < 60 or delivery.cursor < 60:
            if delivery.next < 60:
                await delivery.send_one()
                await peer.wait(delivery.next * ROWS)        # paces the stream by what arrived
            else:
                await delivery.until_confirmed()
        stats = await peer.ask("wait_connections 3")
    assert stats["connections"] >= 3 and not stats["bad"]
    assert ids(peer.messages()) == list(range(60 * ROWS))    # no repeat, nothing out of order
    assert delivery.resends == []


async def test_l1_behind_a_connection_that_is_not_proven_nothing_is_confirmed(receiver: StartReceiver) -> None:
    peer = await receiver(never_fin=True)
    async with delivering(requests(121), peer.port, barrier_idle=0.02, barrier_timeout=60) as delivery:
        await delivery.send_one()
        await peer.ask("wait_fins 1")                        # the barrier is under way, and will not be answered
        await delivery.send()
        await peer.wait(121 * ROWS)
        delivery.sink._advance()
        link = delivery.sink._current
        assert link.acked_bytes == 0 and link.connection.facts().acked_bytes(10**9) > 6_000_000
        assert delivery.confirmed == [] and delivery.resends == []


async def test_l2_a_request_that_was_under_way_at_a_resend_is_not_confirmed_under_its_old_number(receiver: StartReceiver) -> None:
    peer = await receiver(stalled=True)
    batches = [batch([b"small"]), batch([b"y" * 900_000] * 20, first=1)]
    async with delivering(batches, peer.port, barrier_idle=0.02, barrier_timeout=0.1) as delivery:
        await delivery.send_one()
        await until(lambda: delivery.sink._draining is not None)
        sending = asyncio.create_task(delivery.send_one())
        await until(lambda: bool(delivery.resends))          # the small request's connection was given up
        assert not sending.done()
        await peer.ask("resume")
        await sending
        await delivery.sink.flush(WITHIN_S)
        assert delivery.confirmed == []
        await delivery.send()
        await delivery.sink.flush(WITHIN_S)
        assert delivery.confirmed[-1] == 4 and delivery.cursor == 2


async def until(happened: Callable[[], bool]) -> None:
    """Until it is so, looking at every turn of the loop (bounded)."""
    async with asyncio.timeout(WITHIN_S):
        while not happened():
            await asyncio.sleep(0)


async def test_status_says_how_far_the_proof_is(receiver: StartReceiver) -> None:
    peer = await receiver(never_fin=True)
    async with delivering(requests(1), peer.port, barrier_idle=0.05, barrier_timeout=0.2) as delivery:
        assert delivery.sink.status() == {
            "connected": False, "unconfirmed_bytes": 0, "can_lie_unread_bytes": 0,
            "asked_for_proof_s": None, "asked_again_in_s": None,
        }
        await delivery.send()
        found = delivery.sink.status()
        assert found["connected"] and found["unconfirmed_bytes"] == delivery.sink._current.connection.written_bytes > ROWS * 200
        assert found["can_lie_unread_bytes"] == MIN_UNREAD_BYTES and found["asked_for_proof_s"] is None
        await until(lambda: delivery.sink.status()["asked_for_proof_s"] is not None)
        await until(lambda: bool(delivery.resends))
        assert 590 < delivery.sink.status()["asked_again_in_s"] <= 600


async def test_flush_proves_what_was_sent(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(3), peer.port, barrier_idle=60) as delivery:
        await delivery.send()
        assert delivery.confirmed == []
        await delivery.sink.flush(WITHIN_S)
        assert delivery.cursor == 3
    assert ids(peer.messages()) == list(range(3 * ROWS))


async def test_flush_to_a_stalled_receiver_ends_at_its_deadline_with_the_mend(receiver: StartReceiver) -> None:
    peer = await receiver(stalled=True)
    async with delivering(requests(1), peer.port, barrier_idle=60) as delivery:
        await delivery.send()
        with pytest.raises(Retryable, match=r"has not confirmed everything within 0\.2 s; the rest is sent again"):
            await delivery.sink.flush(0.2)
        assert delivery.confirmed == []


# ---------------------------------------------------------------- receivers that fail

@pytest.mark.parametrize("framing", ["octet-counted", "newline"])
async def test_a_receiver_killed_with_bytes_unread_loses_no_line(receiver: StartReceiver, framing: str) -> None:
    peer = await receiver(framing=framing)
    async with delivering(requests(100), peer.port, framing=framing) as delivery:
        for _ in range(10):
            await delivery.send_one()
        await peer.wait(10 * ROWS)
        await peer.ask("stall")
        stalled = asyncio.create_task(delivery.send())       # fills its receive queue, which dies with it
        await until_blocked(delivery)
        await peer.kill()
        await stalled_or_done(stalled, delivery, peer)
        await delivery.until_confirmed()
    assert set(ids(peer.messages())) == set(range(100 * ROWS))
    assert len(delivery.resends) >= 1


async def until_blocked(delivery: FakeDelivery) -> None:
    """Until a send has waited for room (or all was taken)."""
    async with asyncio.timeout(WITHIN_S):
        while delivery.next < len(delivery.batches):
            link = delivery.sink._current
            if link is not None and link.connection._room is not None:
                return
            await asyncio.sleep(0)


async def stalled_or_done(task: asyncio.Task[None], delivery: FakeDelivery, peer: Receiver) -> None:
    await peer.start()
    async with asyncio.timeout(WITHIN_S):
        await task


async def test_a_reset_sends_everything_unconfirmed_again_with_the_same_ids(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(4), peer.port, barrier_idle=60) as delivery:
        await delivery.send()
        await peer.wait(4 * ROWS)
        await peer.ask("reset")
        async with asyncio.timeout(WITHIN_S):
            while not delivery.resends:
                delivery.moved.clear()
                await delivery.moved.wait()
        await delivery.send()
        await peer.wait(8 * ROWS)
    assert ids(peer.messages()) == [*range(4 * ROWS), *range(4 * ROWS)]
    assert len(delivery.resends) == 1 and "broke the connection" in delivery.resends[0]


async def test_a_peer_that_half_closes_by_itself_has_proven_nothing(receiver: StartReceiver) -> None:
    peer = await receiver(stalled=True)
    async with delivering(requests(2), peer.port, barrier_idle=60) as delivery:
        await delivery.send()
        await peer.ask("wait_connections 1")
        await peer.ask("half_close")
        async with asyncio.timeout(WITHIN_S):
            while not delivery.resends:
                delivery.moved.clear()
                await delivery.moved.wait()
        assert delivery.confirmed == [] and "closed the connection" in delivery.resends[0]
        await peer.ask("resume")
        await delivery.send()
        await delivery.sink.flush(WITHIN_S)
        assert delivery.cursor == 2


async def test_a_peer_that_half_closes_everything_during_a_barrier_has_proven_nothing(receiver: StartReceiver) -> None:
    """L4. So does a receiver that is being stopped: shutdown() and then close() leaves no reset for what it had not read."""
    peer = await receiver(stalled=True)
    async with delivering(requests(2), peer.port, barrier_idle=0.05) as delivery:
        await delivery.send_one()
        await until(lambda: delivery.sink._draining is not None and delivery.sink._draining.connection.half_closed)
        await peer.ask("wait_connections 2")
        await peer.ask("half_close")
        async with asyncio.timeout(WITHIN_S):
            while not delivery.resends and not delivery.confirmed:
                delivery.moved.clear()
                await delivery.moved.wait()
        assert delivery.confirmed == [] and "closed" in delivery.resends[0]
        assert delivery.telemetry.value("shipper_sink_barriers_total", "central", "lost") == 1
        await peer.kill()
        await peer.start(stalled=False)
        await delivery.until_confirmed()
    assert ids(peer.messages()) == list(range(2 * ROWS))


async def test_after_an_outage_proof_is_asked_for_at_once_not_after_an_interval(
    receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A barrier that could not be begun, because the receiver was down, is not held against the one that comes back."""
    down, open_one = asyncio.Event(), _syslog_connector.Connector.open

    async def open_once_down(self: Any, on_end: Any) -> Any:
        if asyncio.current_task() is delivery.sink._tender:
            await down.wait()                                # else the barrier is begun before the receiver is down
        return await open_one(self, on_end)

    monkeypatch.setattr(_syslog_connector.Connector, "open", open_once_down)
    with socket.create_server(("127.0.0.1", kept_port())) as server:
        port = server.getsockname()[1]
        async with delivering(requests(1), port, barrier_idle=0.05) as delivery:
            await delivery.send()
            connection, _ = await asyncio.to_thread(server.accept)
            server.close()
            down.set()
            await until(lambda: any(line[1] == "barrier_postponed" for line in delivery.telemetry.lines))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            peer = await receiver(port=port)
            await delivery.until_confirmed()
    assert ids(peer.messages()) == list(range(ROWS)) and len(delivery.resends) == 1


async def test_a_barrier_that_failed_on_a_connection_that_is_gone_does_not_hold_up_the_proof_on_the_next_one(
    receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A killed receiver ends both at once, the connection in use and the one that was being opened; whichever is seen first."""
    opening, fail = asyncio.Event(), asyncio.Event()
    open_one = _syslog_connector.Connector.open

    async def open_slowly(self: Any, on_end: Any) -> Any:
        if asyncio.current_task() is delivery.sink._tender and not fail.is_set():
            opening.set()
            await fail.wait()
            raise Retryable("killed meanwhile")
        return await open_one(self, on_end)

    monkeypatch.setattr(_syslog_connector.Connector, "open", open_slowly)
    peer = await receiver(stalled=True)
    async with delivering(requests(2), peer.port, barrier_idle=0.05) as delivery:
        await delivery.send_one()
        await asyncio.wait_for(opening.wait(), WITHIN_S)
        await peer.ask("wait_connections 1")
        await peer.kill()
        await peer.start(stalled=False)
        await wait_readable(delivery.sink._current.connection.sock)
        await delivery.send()                                # finds that the connection is gone, and opens the next one
        fail.set()
        await delivery.until_confirmed()
    assert ids(peer.messages()) == list(range(2 * ROWS))


async def test_flush_during_which_the_receiver_shuts_down_proves_nothing(receiver: StartReceiver) -> None:
    peer = await receiver(stalled=True)
    async with delivering(requests(1), peer.port, barrier_idle=60) as delivery:
        await delivery.send()
        flushing = asyncio.create_task(delivery.sink.flush(WITHIN_S))
        await peer.ask("wait_connections 2")
        await until(lambda: delivery.sink._draining is not None and delivery.sink._draining.connection.half_closed)
        await peer.ask("half_close")
        with pytest.raises(Retryable):
            await flushing
        assert delivery.confirmed == []


async def test_flush_to_a_receiver_that_takes_one_connection_only_proves_all_the_same(tmp_path: Path) -> None:
    """As `nc -l` does."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            peer, _ = server.accept()
            server.close()
            with peer:
                while data := peer.recv(65536):
                    got.append(data)

        serving = asyncio.create_task(asyncio.to_thread(serve))
        async with delivering(requests(1), port, barrier_idle=60) as delivery:
            await delivery.send()
            await until(lambda: bool(got))
            await delivery.sink.flush(WITHIN_S)
            assert delivery.confirmed == [1]
        await serving
    assert b"".join(got).count(LINE) == ROWS


async def test_a_fin_is_seen_before_the_next_write(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(2), peer.port, barrier_idle=60) as delivery:
        await delivery.send_one()
        await peer.wait(ROWS)
        delivery.sink._tender.cancel()                       # so that only the write can see it
        await asyncio.wait([delivery.sink._tender])
        delivery.sink._tender = None
        sock = delivery.sink._current.connection.sock
        asyncio.get_running_loop().remove_reader(sock.fileno())
        await peer.ask("half_close")
        await wait_readable(sock)
        with pytest.raises(Retryable, match="closed the connection"):
            await delivery.sink.send(Request(2, [delivery.batches[1]]), b"1 x")
        assert delivery.resends
    assert ids(peer.messages()) == list(range(ROWS))


async def wait_readable(sock: socket.socket) -> None:
    """Until the kernel has the peer's FIN (a poll of its own: the connection's reader is not disturbed)."""
    import select

    poller = select.poll()
    poller.register(sock, select.POLLIN)
    assert await asyncio.to_thread(poller.poll, WITHIN_S * 1000)


async def test_a_peer_that_closes_an_idle_connection_with_all_confirmed_is_no_trouble(receiver: StartReceiver) -> None:
    peer = await receiver()
    async with delivering(requests(2), peer.port, barrier_idle=0.02) as delivery:
        await delivery.send_one()
        async with asyncio.timeout(WITHIN_S):
            while delivery.cursor < 1:
                delivery.moved.clear()
                await delivery.moved.wait()
        await peer.ask("wait_connections 2")
        await peer.ask("half_close")
        await delivery.send()
        await delivery.until_confirmed()
        assert delivery.resends == [] and delivery.failures == []


async def test_a_peer_that_never_closes_is_asked_once_then_left_to_the_window(receiver: StartReceiver) -> None:
    peer = await receiver(never_fin=True)
    async with delivering(requests(2), peer.port, barrier_idle=0.05, barrier_timeout=0.2) as delivery:
        await delivery.send()
        async with asyncio.timeout(WITHIN_S):
            while not delivery.resends:
                delivery.moved.clear()
                await delivery.moved.wait()
        assert "did not close within 0.2 s" in delivery.resends[0]
        await delivery.send()
        await peer.wait(4 * ROWS)
        opened = (await peer.ask("stats"))["connections"]
        assert opened == 2
        policy = delivery.sink._policy
        assert policy.unanswered == 1 and policy.not_before_s > asyncio.get_running_loop().time() + 500
        delivery.batches = [*delivery.batches, *requests(320)]
        while delivery.next < len(delivery.batches):
            await delivery.send_one()
            if delivery.next % 10 == 0:
                await peer.wait((delivery.next + 2) * ROWS)  # a steady flow: the window rule knows how much it can hold
        await delivery.until_confirmed(60)                   # by the window alone
        assert (await peer.ask("stats"))["connections"] == opened and len(delivery.resends) == 1


async def test_a_slow_receiver_is_waited_for_as_long_as_it_takes_bytes(receiver: StartReceiver) -> None:
    peer = await receiver(rate=1_000_000)                    # 1.6 MB: longer than the timeout
    async with delivering(requests(40), peer.port, barrier_idle=0.05, barrier_timeout=1.0) as delivery:
        await delivery.until_confirmed()
        assert delivery.resends == []
    assert ids(peer.messages()) == list(range(40 * ROWS))


async def test_a_stalled_receiver_blocks_send_and_a_cancelled_send_ends_its_connection(receiver: StartReceiver) -> None:
    peer = await receiver(stalled=True)
    big = [batch([b"y" * 900_000] * 20, first=0)]
    async with delivering(big, peer.port, barrier_idle=60) as delivery:
        sending = asyncio.create_task(delivery.sink.send(Request(1, big), delivery.sink.encode(big)))
        await until_blocked(delivery)
        assert not sending.done()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert delivery.sink._current is None                # the next send opens a new one
        await peer.ask("resume")
        delivery.number = 1
        await delivery.send()
        await delivery.sink.flush(WITHIN_S)
        assert delivery.cursor == 1


async def test_a_request_that_waits_for_room_is_not_idleness(receiver: StartReceiver) -> None:
    """A slow receiver would get a connection per request, and its lines out of order."""
    peer = await receiver(stalled=True)
    batches = [batch([b"first"]), batch([b"y" * 900_000] * 20, first=1), batch([b"last"], first=21)]
    async with delivering(batches, peer.port, barrier_idle=0.05) as delivery:
        sending = asyncio.create_task(delivery.send())
        await until_blocked(delivery)
        await asyncio.sleep(0.3)                             # longer than idle: nothing may happen in it
        await peer.ask("resume")
        await sending
        assert (await peer.ask("stats"))["connections"] == 1
        await delivery.until_confirmed()
    assert ids(peer.messages()) == list(range(22))


async def test_tcp_user_timeout_ends_a_connection_whose_peer_takes_nothing(receiver: StartReceiver) -> None:
    peer = await receiver(stalled=True)
    big = [batch([b"y" * 900_000] * 20, first=0)]
    async with delivering(big, peer.port, barrier_idle=60, tcp_user_timeout=0.5) as delivery:
        with pytest.raises(Retryable, match="broke the connection"):
            await asyncio.wait_for(delivery.sink.send(Request(1, big), delivery.sink.encode(big)), WITHIN_S)


async def test_nobody_listening_is_retryable_and_says_what_to_check() -> None:
    async with delivering(requests(1), kept_port()) as delivery:
        with pytest.raises(Retryable, match=r"cannot connect to 127.0.0.1:.* check that the receiver runs"):
            await delivery.sink.send(Request(1, delivery.batches), b"x")


async def test_a_request_without_bytes_is_confirmed_behind_the_one_before_it(receiver: StartReceiver) -> None:
    peer = await receiver(framing="newline")
    empty = batch([b"", b""])
    async with delivering([empty, batch([b"x"]), empty], peer.port, format="container-logs", barrier_idle=60) as delivery:
        await delivery.send()
        assert delivery.confirmed == [1]
        await delivery.sink.flush(WITHIN_S)
        assert delivery.confirmed == [1, 3]


# ---------------------------------------------------------------- TLS

@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    issued = ca.issue_cert("logs.example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    ca.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    return {name: str(folder / f"{name}.pem") for name in ("ca", "other", "server", "client")}


def tls(files: dict[str, str], ca: str = "ca", name: str = "logs.example.com", **more: Any) -> dict[str, Any]:
    return {"protocol": "tls", "tls": TlsConfig(ca=files[ca], server_name=name, **more)}


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_over_tls_a_barrier_proves_and_a_kill_loses_nothing(
    receiver: StartReceiver, tls_files: dict[str, str], version: str
) -> None:
    peer = await receiver(tls={"cert": tls_files["server"], "max_version": version})
    async with delivering(requests(40), peer.port, **tls(tls_files)) as delivery:
        await delivery.send_one()
        await delivery.until_confirmed(1)
        await peer.ask("stall")
        sending = asyncio.create_task(delivery.send())
        await until_blocked(delivery)
        await peer.kill()
        await stalled_or_done(sending, delivery, peer)
        await delivery.until_confirmed()
    assert set(ids(peer.messages())) == set(range(40 * ROWS))


async def test_over_tls_what_is_counted_is_ciphertext(receiver: StartReceiver, tls_files: dict[str, str]) -> None:
    peer = await receiver(tls={"cert": tls_files["server"]})
    async with delivering(requests(1), peer.port, barrier_idle=60, **tls(tls_files)) as delivery:
        await delivery.send()
        await peer.wait(ROWS)
        connection = delivery.sink._current.connection
        assert connection.written_bytes > len(delivery.sink.encode(delivery.batches)) + 300      # the handshake, the records
        await until(lambda: connection.facts().acked_raw == connection.written_bytes + 1)    # delayed ACKs
        await delivery.sink.flush(WITHIN_S)
        assert (await peer.ask("stats"))["bad"] == ""        # close_notify came before the FIN


async def test_every_tls_session_is_ended_as_a_session_ends_the_unused_one_too(
    receiver: StartReceiver, tls_files: dict[str, str]
) -> None:
    """Receivers log an error for each one that is not."""
    peer = await receiver(tls={"cert": tls_files["server"]})
    async with delivering(requests(1), peer.port, **tls(tls_files)) as delivery:
        await delivery.until_confirmed()                     # a barrier: one connection is ended, one was opened
    stats = await peer.ask("wait_fins 2")
    assert stats["fins"] == 2 and stats["bad"] == ""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ca": "other"}, r"the certificate of .* was refused \(.*\); give its CA in tls.ca"),
        ({"name": "wrong.example.com"}, r"was refused \(hostname mismatch.*\); .*tls.server_name"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_retryable_with_the_mend(
    receiver: StartReceiver, tls_files: dict[str, str], changed: dict[str, str], message: str
) -> None:
    peer = await receiver(tls={"cert": tls_files["server"]})
    async with delivering(requests(1), peer.port, **tls(tls_files, **changed)) as delivery:
        with pytest.raises(Retryable, match=re.compile(message, re.IGNORECASE)):
            await delivery.sink.send(Request(1, delivery.batches), b"x")


async def test_plain_lines_to_a_port_that_ends_the_connection_at_once_say_that_it_may_want_tls(
    receiver: StartReceiver, tls_files: dict[str, str]
) -> None:
    peer = await receiver(tls={"cert": tls_files["server"]})
    async with delivering(requests(1), peer.port) as delivery, asyncio.timeout(WITHIN_S):
        while not delivery.resends and not delivery.failures:
            delivery.moved.clear()
            await delivery.send()
            if not delivery.resends and not delivery.failures:
                await delivery.moved.wait()
    assert "it may want TLS" in (delivery.resends + delivery.failures)[0]


async def test_tls_to_a_plain_port_that_says_nothing_says_so_and_not_that_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with delivering(requests(1), silent.getsockname()[1], protocol="tls", connect_timeout=0.2) as delivery:
            with pytest.raises(Retryable, match=r"took the connection and did not answer the TLS handshake within 0\.2 s"):
                await delivery.sink.send(Request(1, delivery.batches), b"x")


async def test_verify_false_connects_to_anyone_and_says_so_loudly(receiver: StartReceiver, tls_files: dict[str, str]) -> None:
    peer = await receiver(tls={"cert": tls_files["server"]})
    async with delivering(requests(1), peer.port, **tls(tls_files, ca="other", verify=False)) as delivery:
        await delivery.until_confirmed()
        assert [line[:2] for line in delivery.telemetry.lines] == [("warning", "tls_not_verified")]


async def test_a_missing_client_certificate_ends_in_a_resend_that_says_so(
    receiver: StartReceiver, tls_files: dict[str, str]
) -> None:
    peer = await receiver(tls={"cert": tls_files["server"], "client_ca": tls_files["ca"]})
    async with delivering(requests(1), peer.port, **tls(tls_files)) as delivery:
        async with asyncio.timeout(WITHIN_S):
            while not delivery.resends and not delivery.failures:
                await delivery.send()
                delivery.moved.clear()
                if not delivery.resends and not delivery.failures:
                    await delivery.moved.wait()
        assert "certificate required" in (delivery.resends + delivery.failures)[0]
        assert "give tls.cert and tls.key" in (delivery.resends + delivery.failures)[0]
        assert delivery.confirmed == []
    async with delivering(requests(1), peer.port, **tls(tls_files, cert=tls_files["client"])) as delivery:
        await delivery.until_confirmed()


async def test_a_session_that_the_receiver_refuses_is_not_taken_for_proof(
    receiver: StartReceiver, tls_files: dict[str, str]
) -> None:
    peer = await receiver(tls={"cert": tls_files["server"], "client_ca": tls_files["ca"]})
    async with delivering(requests(1), peer.port, barrier_idle=60, **tls(tls_files)) as delivery:
        await delivery.send_one()
        with pytest.raises(Retryable):
            await delivery.sink.flush(WITHIN_S)              # half-closed before the refusal is seen
            assert delivery.failures, "the refusal came before the first write"
            raise Retryable(delivery.failures[0])
        assert delivery.confirmed == []


async def test_n4_a_renewed_ca_file_is_read_again(receiver: StartReceiver, tls_files: dict[str, str], tmp_path: Path) -> None:
    peer = await receiver(tls={"cert": tls_files["server"]})
    ca = tmp_path / "ca.pem"
    shutil.copy(tls_files["other"], ca)
    wanted = {"protocol": "tls", "tls": TlsConfig(ca=str(ca), server_name="logs.example.com")}
    async with delivering(requests(1), peer.port, **wanted) as delivery:
        await delivery.send_one()
        assert "was refused" in delivery.failures[0]
        shutil.copy(tls_files["ca"], ca)
        await delivery.until_confirmed()


# ---------------------------------------------------------------- addresses and UDP

async def test_every_address_of_a_name_is_tried(receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await receiver()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (kept_port(), peer.port)]

    def resolve(*_: object, **__: object) -> list[Any]:
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with delivering(requests(1), peer.port) as delivery:
        await delivery.until_confirmed()
        assert delivery.failures == []


async def test_a_name_that_does_not_resolve_is_retryable(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with delivering(requests(1), 514) as delivery:
        with pytest.raises(Retryable, match=r"cannot resolve 127.0.0.1 \(Name or service not known\); check `address`"):
            await delivery.sink.send(Request(1, delivery.batches), b"x")


async def test_udp_to_a_closed_port_is_retryable_once_the_host_says_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with delivering([batch([b"x"])] * 50, port, protocol="udp") as delivery:
        async with asyncio.timeout(WITHIN_S):
            while not delivery.failures:
                await delivery.send_one()
        assert "does the receiver listen?" in delivery.failures[0]


async def test_udp_confirms_each_request_when_it_was_handed_to_the_kernel() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(WITHIN_S)
        async with delivering([batch([b"a", b"b"]), batch([b"c"])], peer.getsockname()[1], protocol="udp") as delivery:
            await delivery.send()
            assert delivery.confirmed == [1, 2]
        assert [peer.recv(2048)[-3:] for _ in range(3)] == [b"] a", b"] b", b"] c"]


# ---------------------------------------------------------------- the kernel

def drain(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(min(size, 1 << 20)))


async def test_the_offsets_of_tcp_info_are_right_on_this_kernel() -> None:
    assert (ACKED_AT, WINDOW_AT) == (120, 228)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as mine:
        peer, _ = server.accept()
        with peer:
            mine.sendall(b"x" * 12_345)
            await asyncio.to_thread(drain, peer, 12_345)
            facts = facts_of(mine)
            assert facts.acked_raw == 12_345 + 1 and unsent_of(mine) == 0
            assert facts.window_bytes is not None and 32_768 <= facts.window_bytes <= 8 * 1024 * 1024
            stuffed = 12_345 + stuff(mine)                   # nobody reads: acknowledged ends where the queue is full
            full = facts_of(mine)
            assert full.acked_raw is not None and 0 < unsent_of(mine) == stuffed + 1 - full.acked_raw
            assert full.window_bytes is not None and full.window_bytes < facts.window_bytes
            await asyncio.to_thread(drain, peer, stuffed - 12_345)
            mine.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(peer.recv, 1) == b""
            peer.shutdown(socket.SHUT_WR)                    # its FIN acknowledges ours: the proof of a barrier
            mine.setblocking(True)
            assert await asyncio.to_thread(mine.recv, 1) == b""
            ended = facts_of(mine)
            assert unsent_of(mine) == 0 and ended.acked_raw == stuffed + 2      # our SYN and our FIN


@pytest.mark.parametrize("piece", [20_000, 50_000, 100_000])
async def test_a_receiver_that_read_a_little_and_stalls_has_nothing_unread_confirmed_by_this_kernel(piece: int) -> None:
    """Its window was open between two looks and is shut when we look again: up to 4 MiB lie unread."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as mine:
        peer, _ = server.accept()
        with peer:
            ledger = Ledger()
            ledger.on_ack(0, facts_of(mine).window_bytes)
            read = 0
            for _ in range(20):
                size = min(stuff(mine), piece)
                await asyncio.to_thread(drain, peer, size)
                read += size
            facts = facts_of(mine)
            assert facts.acked_raw is not None
            for number in range(1, facts.acked_raw // 10_000 + 1):
                ledger.note(number, number * 10_000)
            confirmed = ledger.on_ack(facts.acked_raw - 1, facts.window_bytes)
            assert (confirmed or 0) * 10_000 <= read


def stuff(sock: socket.socket) -> int:
    """Send until the kernel takes no more."""
    sock.setblocking(False)
    sent = 0
    try:
        while True:
            sent += sock.send(b"x" * 1_000_000)
    except BlockingIOError:
        return sent
