"""P3 at receivers to which something happens: the real agent ships a tree of numbered lines over plain syslog, the receiver
is killed, stopped, stalled, slowed down, and what it had not read is sent again. Nothing is lost; what comes again was
unconfirmed, and has equal ids and equal bytes.

The receiver of syslog_receiver.py is a process that stores what it reads, one write per read. rsyslogd is the real one, with
a direct queue (what it has read it stores before it reads on). What arrives at rsyslogd and how it is parsed is in
tests/sinks/test_syslog_rsyslogd.py; each rule by itself is in tests/sinks/test_syslog.py.
"""
from __future__ import annotations

import asyncio
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.agent import Agent, eventually
from tests.support.rsyslogd import Rsyslogd
from tests.support.syslog_receiver import Receiver

from .harness import Fleet, ForkedAgent, Results
from .receivers import Scene

LINES, MANY_LINES = 4_000, 200_000
RATE, SHORT_RATE = 4_000_000, 2_000_000     # bytes/s: slow enough for most bytes to lie unread, somewhere
COMBINATIONS = [(protocol, framing) for protocol in ("tcp", "tls") for framing in ("octet-counted", "newline")]

Certificates = dict[str, str]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """server, expired: PEM files with key and certificate for localhost; ca; and for rsyslogd key and certificate apart."""
    folder, ca = tmp_path_factory.mktemp("certificates"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    expired = ca.issue_cert("localhost", not_before=long_ago - datetime.timedelta(days=9), not_after=long_ago)
    for name, issued in (("server", ca.issue_cert("localhost")), ("expired", expired)):
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture
async def receivers(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Callable[..., Awaitable[Receiver]]]:
    """receiver = await receivers("tls", framing=...); each ends with the test."""
    started: list[Receiver] = []

    async def start(protocol: str, name: str = "receiver", **options: Any) -> Receiver:
        (tmp_path / name).mkdir()
        tls = {"tls": {"cert": certificates["server.pem"]}} if protocol == "tls" else {}
        started.append(await Receiver(tmp_path / name, **tls, **options).start())
        return started[-1]

    yield start
    for one in started:
        await one.kill()


# ---------------------------------------------------------------- what happens to a receiver

async def back(receiver: Receiver, scene: Scene) -> None:
    """Its end is the end of this event's accounts; a new one takes its place, at full speed."""
    scene.happened(receiver.messages())
    await receiver.start(rate=None, stalled=False)


async def killed_while_it_reads(receiver: Receiver, scene: Scene) -> None:
    scene.about_to_happen()
    await receiver.kill()
    await back(receiver, scene)


async def killed_while_it_stalls(receiver: Receiver, scene: Scene) -> None:
    await receiver.ask("stall")
    scene.all_is_read()
    await killed_while_it_reads(receiver, scene)


async def stopped(receiver: Receiver, scene: Scene) -> None:
    scene.about_to_happen()
    await receiver.stop()
    await back(receiver, scene)


async def shut_down_with_bytes_unread(receiver: Receiver, scene: Scene) -> None:
    await receiver.ask("stall")
    scene.all_is_read()
    scene.about_to_happen()
    await receiver.ask("shut_down")
    await receiver.stop()
    await back(receiver, scene)


async def half_closed_with_bytes_unread_then_killed(receiver: Receiver, scene: Scene) -> None:
    connections = (await receiver.ask("stall"))["connections"]
    scene.all_is_read()
    scene.about_to_happen()
    await receiver.ask("half_close")
    await receiver.ask(f"wait_connections {connections + 1}")
    await receiver.kill()
    await back(receiver, scene)


async def connection_reset(receiver: Receiver, scene: Scene) -> None:
    await receiver.ask("reset")


async def stalled_for_a_while(receiver: Receiver, scene: Scene) -> None:
    await receiver.ask("stall")
    scene.all_is_read()
    await receiver.ask("resume")


async def refused_for_a_while(receiver: Receiver, scene: Scene, for_s: float = 0.3) -> None:
    scene.about_to_happen()
    await receiver.kill()
    scene.tree.write(300)
    scene.agent.until("it is tried again", lambda s: s["sinks"]["central"]["state"] == "retrying" and (
        "check that the receiver runs" in s["sinks"]["central"]["last_error"]))
    await asyncio.sleep(for_s)                 # what happens is that nothing does
    await back(receiver, scene)


EVENTS = [
    killed_while_it_reads, killed_while_it_stalls, stopped, shut_down_with_bytes_unread,
    half_closed_with_bytes_unread_then_killed, connection_reset, stalled_for_a_while, refused_for_a_while,
]
Event = Callable[[Receiver, Scene], Awaitable[None]]


async def tell(
    event: Event, receiver: Receiver, agent: Agent, results: Results, name: str, protocol: str, framing: str, ca: str,
    lines: int = LINES, stored_first: float = 0.25, settles_within_s: float = 60.0, **keys: Any,
) -> int:
    """Ship, let it happen when a part is stored, settle, judge. How many records came again."""
    scene = Scene(agent, lines=lines)
    scene.ship(f"127.0.0.1:{receiver.port}", protocol, framing, ca=ca, **keys)
    while (await receiver.ask(f"wait {int(lines * stored_first)}"))["count"] < int(lines * stored_first):
        assert agent.process.poll() is None, agent.last_words()
    await event(receiver, scene)
    scene.settle(settles_within_s)
    assert event is connection_reset or not (await receiver.ask("stats"))["bad"]
    lost, repeated = scene.judge(receiver.messages())
    results.add(name, lost=lost, repeated=repeated, lines=scene.tree.written)
    assert not lost, f"{lost} of {scene.tree.written} lost\n{agent.last_words()}"
    return repeated


def pairs() -> list[Any]:
    """Each event over tcp and tls, and with both framings."""
    found = []
    for number, event in enumerate(EVENTS):
        for protocol, framing in (COMBINATIONS[number % 2], COMBINATIONS[3 - number % 2]):
            found.append(pytest.param(event, protocol, framing, id=f"{event.__name__}-{protocol}-{framing}"))
    return found


@pytest.mark.parametrize(("event", "protocol", "framing"), pairs())
async def test_a_receiver_to_which_it_happens_loses_nothing_that_it_had_not_read(
    event: Event, protocol: str, framing: str, receivers: Any, agent: ForkedAgent, certificates: Certificates, results: Results,
) -> None:
    receiver = await receivers(protocol, framing=framing, rate=SHORT_RATE)
    await tell(event, receiver, agent, results, f"{event.__name__} (short)", protocol, framing, certificates["ca.pem"])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("protocol", "framing"), COMBINATIONS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
async def test_with_two_hundred_thousand_lines_it_loses_nothing_either(
    event: Event, protocol: str, framing: str, seed: int, receivers: Any, agent: ForkedAgent, certificates: Certificates,
    results: Results,
) -> None:
    receiver = await receivers(protocol, framing=framing, rate=(RATE, 20_000_000, None)[seed])
    await tell(event, receiver, agent, results, event.__name__, protocol, framing, certificates["ca.pem"], lines=MANY_LINES,
               stored_first=(0.1, 0.4, 0.7)[seed], settles_within_s=150.0, barrier_interval="60s")


@pytest.mark.long
@pytest.mark.parametrize(("protocol", "framing"), COMBINATIONS)
@pytest.mark.parametrize("rate", [1_000_000, 10_000_000])
async def test_a_slow_receiver_that_is_killed_loses_nothing(
    rate: int, protocol: str, framing: str, receivers: Any, agent: ForkedAgent, certificates: Certificates, results: Results,
) -> None:
    """With the sink's default settings."""
    receiver = await receivers(protocol, framing=framing, rate=rate)
    await tell(killed_while_it_reads, receiver, agent, results, f"slow at {rate // 1_000_000} MB/s, killed", protocol, framing,
               certificates["ca.pem"], lines=MANY_LINES, stored_first=min(0.5, 10 * rate / 60_000_000), settles_within_s=200.0,
               quick=False)


@pytest.mark.long
@pytest.mark.parametrize(("protocol", "framing"), COMBINATIONS)
async def test_a_receiver_that_refuses_for_a_minute_loses_nothing(
    protocol: str, framing: str, receivers: Any, agent: ForkedAgent, certificates: Certificates, results: Results,
) -> None:
    async def a_minute(receiver: Receiver, scene: Scene) -> None:
        await refused_for_a_while(receiver, scene, for_s=60.0)

    receiver = await receivers(protocol, framing=framing, rate=RATE)
    await tell(a_minute, receiver, agent, results, "refused for a minute", protocol, framing, certificates["ca.pem"])


# ---------------------------------------------------------------- a trickle

async def trickle(scenes: list[Scene], *, seconds: float, per_s: float) -> list[float]:
    """Lines at a steady pace to agents that ship; how old the oldest unconfirmed line of each ever got, in seconds."""
    oldest_s, end_s = [0.0] * len(scenes), time.monotonic() + seconds
    while time.monotonic() < end_s:
        for scene in scenes:
            scene.tree.write(1)
        await asyncio.sleep(1 / per_s)
        oldest_s = [max(was_s, scene.sink()["oldest_s"] if scene.agent.said("started") else 0.0)
                    for was_s, scene in zip(oldest_s, scenes, strict=True)]
    for scene in scenes:
        assert scene.sink()["delivered_records"] > scene.tree.written / 2
    return oldest_s


async def test_a_trickle_that_never_pauses_is_confirmed_within_the_interval(receivers: Any, agent: ForkedAgent) -> None:
    receiver = await receivers("tcp")
    scene = Scene(agent, lines=1)
    scene.ship(f"127.0.0.1:{receiver.port}", "tcp", "octet-counted", barrier_idle="60s", barrier_interval="300ms")
    agent.until("the first line is sent", lambda status: status["ready"])
    end_s = time.monotonic() + 30.0                            # half of the pause that would be waited for
    while scene.sink()["delivered_records"] < 30:
        assert time.monotonic() < end_s, scene.sink()
        scene.tree.write(1)
        await asyncio.sleep(0.05)
    scene.settle()
    assert scene.judge(receiver.messages()) == (0, 0)


@pytest.mark.long
@pytest.mark.rsyslogd
async def test_a_trickle_of_2_kb_per_second_is_confirmed_within_70_s_with_default_settings(
    receivers: Any, tmp_path: Path, fleet: Fleet, certificates: Certificates, results: Results,
) -> None:
    """All combinations and rsyslogd beside each other, three intervals long."""
    far: list[tuple[Scene, Callable[[], list[bytes]]]] = []
    (tmp_path / "rsyslogd").mkdir()
    async with Rsyslogd(tmp_path / "rsyslogd", queue="direct", imtcp=True) as daemon:
        ends: list[tuple[str, str, int, Callable[[], list[bytes]]]] = [
            ("tcp", "octet-counted", daemon.ports["imtcp"], lambda: stored(daemon))]
        for protocol, framing in COMBINATIONS:
            one = await receivers(protocol, f"{protocol}-{framing}", framing=framing)
            ends.append((protocol, framing, one.port, one.messages))
        for number, (protocol, framing, port, messages) in enumerate(ends):
            (tmp_path / f"agent-{number}").mkdir()
            scene = Scene(ForkedAgent(tmp_path / f"agent-{number}", fleet), lines=1)
            far.append((scene, messages))
            scene.ship(f"127.0.0.1:{port}", protocol, framing, ca=certificates["ca.pem"], quick=False)
        try:
            oldest_s = await trickle([scene for scene, _ in far], seconds=200.0, per_s=9)
            for scene, _ in far:
                scene.settle(100.0)
        finally:
            for scene, _ in far:
                scene.agent.close()
        for (scene, messages), oldest in zip(far, oldest_s, strict=True):
            lost, repeated = scene.judge(messages())
            results.add("a trickle of 2 KB/s, default settings", lost=lost, repeated=repeated, lines=scene.tree.written)
            assert (lost, repeated) == (0, 0) and oldest < 70.0, oldest_s
    results.add("a trickle of 2 KB/s, default settings", tries=0, confirmed_within_s=round(max(oldest_s), 1))


# ---------------------------------------------------------------- names and certificates

async def test_a_receiver_whose_name_moves_to_another_address_loses_nothing(
    receivers: Any, tmp_path: Path, results: Results,
) -> None:
    one = await receivers("tcp", "one", rate=RATE)
    other = await receivers("tcp", "other", host="127.0.0.2", port=one.port)
    agent = Agent(tmp_path)
    agent.module = "tests.proof.named_agent"
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"logs.example.com": "127.0.0.1"}))
    scene = Scene(agent, lines=LINES)
    try:
        scene.ship(f"logs.example.com:{one.port}", "tcp", "octet-counted", env={"SHIPPER_TEST_NAMES": str(names)})
        await one.wait(LINES // 4)
        new = names.with_suffix(".new")
        new.write_text(json.dumps({"logs.example.com": "127.0.0.2"}))
        new.replace(names)
        scene.about_to_happen()
        await one.kill()
        scene.happened(one.messages())
        scene.settle()
    finally:
        agent.close()
    assert other.messages()
    lost, repeated = scene.judge(one.messages() + other.messages())
    results.add("an address that changes", lost=lost, repeated=repeated)
    assert not lost


async def test_while_the_old_address_still_answers_the_next_barrier_moves_to_the_new_one(receivers: Any, tmp_path: Path) -> None:
    one = await receivers("tcp", "one")
    other = await receivers("tcp", "other", host="127.0.0.2", port=one.port)
    agent = Agent(tmp_path)
    agent.module = "tests.proof.named_agent"
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"logs.example.com": "127.0.0.1"}))
    scene = Scene(agent, lines=300)
    try:
        scene.ship(f"logs.example.com:{one.port}", "tcp", "octet-counted", env={"SHIPPER_TEST_NAMES": str(names)})
        await one.wait(300)
        new = names.with_suffix(".new")
        new.write_text(json.dumps({"logs.example.com": "127.0.0.2"}))
        new.replace(names)
        scene.agent.drained()
        while not other.messages():
            scene.tree.write(3)
            scene.agent.drained()
        scene.settle()
    finally:
        agent.close()
    assert scene.judge(one.messages() + other.messages()) == (0, 0)


async def test_a_certificate_that_expires_holds_the_open_connection_and_loses_nothing_until_it_is_renewed(
    receivers: Any, agent: ForkedAgent, certificates: Certificates, results: Results,
) -> None:
    receiver = await receivers("tls", framing="newline")
    scene = Scene(agent, lines=LINES)
    scene.ship(f"127.0.0.1:{receiver.port}", "tls", "newline", ca=certificates["ca.pem"], barrier_interval="500ms")
    await receiver.wait(LINES)
    scene.agent.drained()
    await receiver.ask(f"certificate {certificates['expired.pem']}")
    scene.tree.write(300)
    why = agent.event("barrier_postponed")["why"]
    assert "certificate has expired" in why and "renew it" in why
    scene.tree.write(300)
    await receiver.wait(LINES + 600)           # over the connection that was open before
    assert scene.sink()["state"] == "ok" and scene.sink()["unconfirmed_records"] > 0
    await receiver.ask(f"certificate {certificates['server.pem']}")
    scene.settle()
    lost, repeated = scene.judge(receiver.messages())
    results.add("a certificate that expires", lost=lost, repeated=repeated)
    assert (lost, repeated) == (0, 0)


async def test_a_receiver_that_starts_renegotiating_is_refused_that_and_gets_everything_over_another_connection(
    tmp_path: Path, agent: ForkedAgent, certificates: Certificates, results: Results,
) -> None:
    """openssl s_server: one connection at a time; `R` renegotiates, which only TLS 1.2 knows."""
    out = tmp_path / "s_server.out"
    with open(out, "ab") as file, subprocess.Popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificates["server.crt"], "-key", certificates["server.key"],
         "-tls1_2"], stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT,
    ) as server:
        try:
            found = eventually("it listens", lambda: re.search(rb"ACCEPT 127.0.0.1:(\d+)", out.read_bytes()))
            scene = Scene(agent, lines=3_000)
            scene.ship(f"127.0.0.1:{int(found[1])}", "tls", "newline", ca=certificates["ca.pem"], quick=False, barrier_idle="60s")
            eventually("all came", lambda: out.read_bytes().count(b" end\n") >= 3_000)
            assert server.stdin is not None
            server.stdin.write(b"R\n")
            server.stdin.flush()
            while not (why := str(scene.sink()["last_error"])):
                scene.tree.write(3)            # our no goes out in front of these
                assert scene.tree.written < 6_000, agent.last_words()
            assert "sent again" in why
            eventually("all came again", lambda: out.read_bytes().count(b" end\n") >= 3_000 + scene.tree.written)
            assert agent.terminate() == 0
        finally:
            server.kill()
    messages = re.findall(rb"<14>1 [^\n]* end(?=\n)", out.read_bytes())
    lost, repeated = scene.judge(messages)
    results.add("renegotiation refused", lost=lost, repeated=repeated)
    assert not lost and repeated >= 3_000


# ---------------------------------------------------------------- the real rsyslogd

async def rsyslogd_killed(daemon: Rsyslogd) -> None:
    daemon.send_signal(signal.SIGSTOP)         # so that bytes lie unread
    await asyncio.sleep(0.2)                   # the kernel's queue fills
    await daemon.kill()


async def rsyslogd_stopped(daemon: Rsyslogd) -> None:
    await daemon.stop()


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def stored(daemon: Rsyslogd) -> list[bytes]:
    """What rsyslogd wrote; a line that a kill tore is not stored."""
    return [json.loads(line)["raw"].encode() for line in daemon.out.read_bytes().split(b"\n")[:-1]
            if line.startswith(b'{"') and line.endswith(b'"}') and b"[shipper@32473" in line]


async def at_rsyslogd(
    happens: Callable[[Rsyslogd], Awaitable[None]], module: str, protocol: str, framing: str, tmp_path: Path, agent: ForkedAgent,
    certificates: Certificates, results: Results, *, lines: int, times: int = 1,
) -> None:
    tls = {"ca": certificates["ca.pem"], "cert": certificates["server.crt"], "key": certificates["server.key"]}
    (tmp_path / "rsyslogd").mkdir()
    daemon = Rsyslogd(tmp_path / "rsyslogd", tls=tls if protocol == "tls" else None, queue="direct", **{module: True})
    async with daemon:
        scene = Scene(agent, lines=lines)
        scene.ship(f"127.0.0.1:{daemon.ports[module]}", protocol, framing, ca=certificates["ca.pem"])
        for time_ in range(times):
            before = size_of(daemon.out)
            eventually("rsyslogd stores", lambda start=before: size_of(daemon.out) > start + 100_000)
            scene.about_to_happen()
            await happens(daemon)
            if times == 1:
                scene.happened(stored(daemon))
            torn = daemon.out.read_bytes().rpartition(b"\n")[2]
            if torn:                           # or the next line would be joined to it
                os.truncate(daemon.out, size_of(daemon.out) - len(torn))
            await daemon.start()
            if time_ + 1 < times:
                agent.drained(within_s=60.0)   # or the pauses between tries would grow, as nothing is confirmed in between
                scene.tree.write(lines)
        scene.settle(within_s=60.0)
        lost, repeated = scene.judge(stored(daemon))
    name = f"rsyslogd {module}: {happens.__name__.removeprefix('rsyslogd_')}"
    results.add(name, tries=times, lost=lost, repeated=repeated, lines=scene.tree.written)
    assert not lost, f"{lost} of {scene.tree.written} lost\n{agent.last_words()}"


RSYSLOGD = [
    (rsyslogd_killed, "imtcp", "tcp", "octet-counted"), (rsyslogd_killed, "imptcp", "tcp", "newline"),
    (rsyslogd_killed, "imtcp", "tls", "newline"), (rsyslogd_stopped, "imtcp", "tls", "octet-counted"),
    (rsyslogd_stopped, "imptcp", "tcp", "octet-counted"),
]


@pytest.mark.rsyslogd
@pytest.mark.parametrize(("happens", "module", "protocol", "framing"), RSYSLOGD)
async def test_rsyslogd_killed_or_stopped_in_the_middle_loses_nothing(
    happens: Any, module: str, protocol: str, framing: str, tmp_path: Path, agent: ForkedAgent, certificates: Certificates,
    results: Results,
) -> None:
    await at_rsyslogd(happens, module, protocol, framing, tmp_path, agent, certificates, results, lines=12_000)


@pytest.mark.long
@pytest.mark.rsyslogd
@pytest.mark.parametrize("happens", [rsyslogd_killed, rsyslogd_stopped])
@pytest.mark.parametrize(("module", "protocol"), [("imtcp", "tcp"), ("imptcp", "tcp"), ("imtcp", "tls")])
@pytest.mark.parametrize("framing", ["octet-counted", "newline"])
async def test_rsyslogd_killed_or_stopped_ten_times_loses_nothing(
    happens: Any, module: str, protocol: str, framing: str, tmp_path: Path, agent: ForkedAgent, certificates: Certificates,
    results: Results,
) -> None:
    await at_rsyslogd(happens, module, protocol, framing, tmp_path, agent, certificates, results, lines=20_000, times=10)


@pytest.mark.rsyslogd
async def test_rsyslogd_with_an_expired_certificate_gets_everything_once_it_is_renewed(
    tmp_path: Path, agent: ForkedAgent, certificates: Certificates, results: Results,
) -> None:
    cert, key = tmp_path / "server.crt", tmp_path / "server.key"
    shutil.copy(certificates["expired.crt"], cert)
    shutil.copy(certificates["expired.key"], key)
    (tmp_path / "rsyslogd").mkdir()
    tls = {"ca": certificates["ca.pem"], "cert": cert, "key": key}
    async with Rsyslogd(tmp_path / "rsyslogd", tls=tls, imtcp=True) as daemon:
        scene = Scene(agent, lines=3_000)
        scene.ship(f"127.0.0.1:{daemon.ports['imtcp']}", "tls", "octet-counted", ca=certificates["ca.pem"])
        agent.until("it is refused", lambda s: "certificate has expired" in str(
            s["sinks"] and s["sinks"]["central"]["last_error"]))
        assert "renew it" in scene.sink()["last_error"] and scene.sink()["state"] == "retrying"
        await daemon.stop()
        shutil.copy(certificates["server.crt"], cert)
        shutil.copy(certificates["server.key"], key)
        await daemon.start()
        scene.settle()
        await daemon.stop()                    # its queue is stored then
        lost, repeated = scene.judge(stored(daemon))
    results.add("rsyslogd with an expired certificate", lost=lost, repeated=repeated)
    assert (lost, repeated) == (0, 0)
