"""Orders about dead letters, and the loop that gives them. K: dead_letter_desk.py, C: dead_letters_command.py."""
from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from shipper.agent import dead_letter_desk
from shipper.agent.admin import Door, allowed
from shipper.agent.dead_letter_desk import DeadLetterDesk
from shipper.agent.dead_letters_command import replay
from shipper.agent.outlets import Outlets
from shipper.config.loader import load_text
from shipper.deliver.dead_letters import DeadLetters
from shipper.deliver.letters import Wanted
from shipper.deliver.split import Candidate
from shipper.errors import DropReason, Retryable, Usage
from shipper.telemetry import Telemetry
from tests.deliver.support import START_NS, section, source


class FakeDelivery:
    """Takes what it is given when `gate` is open; refuses messages in `poison`."""

    def __init__(self, letters: DeadLetters) -> None:
        self.letters, self.taken, self.poison = letters, list[str](), set[bytes]()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: Exception | None = None

    async def replay(self, letters: Any) -> list[Candidate]:
        await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        self.taken += [f"{b.key}:{b.ids[0].decode()}" for b, _ in letters if b.messages[0] not in self.poison]
        return [Candidate(b, DropReason.REJECTED, "no, token=abcdef123456") for b, _ in letters if b.messages[0] in self.poison]

    def status(self) -> dict[str, Any]:
        return {"state": "ok", "last_error": ""}


@pytest.fixture
async def world(tmp_path):
    letters = DeadLetters(str(tmp_path / "dead-letters" / "central"), "central", Telemetry())
    batch = section(source("web"), 0, [b"message %d" % n for n in range(30)]).batch
    await letters.write([Candidate(batch, DropReason.REJECTED, "400")], START_NS)
    delivery = FakeDelivery(letters)
    desk = DeadLetterDesk(lambda name: delivery if name == "central" else None, lambda name: letters, Telemetry())
    yield desk, delivery
    await desk.close()


def order(**changed: Any) -> dict[str, Any]:
    return {"do": "replay", "sink": "central", "wanted": {}, "limit": 10, **changed}


async def test_k1_what_was_delivered_is_removed_and_what_was_refused_stays(world):
    desk, delivery = world
    delivery.poison = {b"message 3"}
    answer = await desk.order(order())
    assert (answer["replayed"], len(answer["refused"]), answer["more"], answer["pending"]) == (9, 1, True, 0)
    assert "abcdef" not in str(answer) and len(list(delivery.letters.read())) == 21
    left = [letter["record"]["message"] for letter in delivery.letters.read()]
    assert left[0] == "message 3" and "message 4" not in left


async def test_k2_an_order_that_takes_long_is_answered_and_what_it_began_is_not_begun_twice(world, monkeypatch):
    desk, delivery = world
    monkeypatch.setattr(dead_letter_desk, "ANSWER_S", 0.02)
    delivery.gate.clear()
    first, second = await desk.order(order()), await desk.order(order(limit=100))
    assert (first["pending"], second["pending"], first["replayed"]) == (10, 30, 0)
    delivery.gate.set()
    async with asyncio.timeout(10):
        while (await desk.order(order()))["pending"]:
            pass
    assert len(delivery.taken) == len(set(delivery.taken)) == 30 and list(delivery.letters.read()) == []


async def test_k2_two_who_replay_at_the_same_moment_send_each_letter_once(world, monkeypatch):
    """Both looked which letters there are before either had said which it takes: two terminals, and each letter went twice."""
    desk, delivery = world
    delivery.gate.clear()
    monkeypatch.setattr(dead_letter_desk, "ANSWER_S", 0.02)
    answers = await asyncio.gather(*[desk.order(order(limit=20)) for _ in range(3)])
    delivery.gate.set()
    async with asyncio.timeout(10):
        while (await desk.order(order()))["pending"]:
            pass
    assert len(delivery.taken) == len(set(delivery.taken)) == 30 and list(delivery.letters.read()) == []
    assert max(answer["pending"] for answer in answers) <= 30


async def test_k4_two_orders_together_hold_no_more_letters_than_one_may(world, monkeypatch):
    desk, delivery = world
    monkeypatch.setattr(dead_letter_desk, "UNDER_WAY", 12)
    monkeypatch.setattr(dead_letter_desk, "ANSWER_S", 0.02)
    delivery.gate.clear()
    answers = await asyncio.gather(*[desk.order(order(limit=10)) for _ in range(3)])
    assert max(answer["pending"] for answer in answers) == 12
    delivery.gate.set()


async def test_k1_a_sink_that_stops_leaves_them_where_they_are(world):
    desk, delivery = world
    delivery.fail = Retryable("sink central was stopped")
    answer = await desk.order(order())
    assert answer["replayed"] == 0 and len(answer["refused"]) == 10 and len(list(delivery.letters.read())) == 30


@pytest.mark.parametrize("wrong", [
    {"do": "eat"}, {"sink": 7}, {"wanted": {"ids": 3}}, {"wanted": "x"}, {"limit": "all"}, {"sink": "gone"},
])
async def test_an_order_that_cannot_be_understood_is_refused(world, wrong):
    with pytest.raises(Usage):
        await world[0].order(order(**wrong))


async def test_purge_takes_those_that_are_wanted(world):
    desk, delivery = world
    first = next(iter(delivery.letters.read()))["record"]["id"]
    assert await desk.order(order(do="purge", wanted={"ids": [first]})) == {"purged": 1}
    assert await desk.order(order(do="purge", sink="gone")) == {"purged": 29}


async def test_c1_a_replay_goes_on_order_by_order_no_faster_than_its_rate(world, monkeypatch):
    desk, delivery = world
    delivery.poison = {b"message 3", b"message 17"}
    pauses: list[float] = []
    real = asyncio.sleep

    async def no_pause(delay_s: float) -> None:
        pauses.append(delay_s)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", no_pause)
    lines: list[str] = []
    outcome = await replay(desk.order, "central", 30, Wanted(), 10.0, lines.append, lambda: 0.0)
    assert outcome == {"replayed": 28, "refused": 2, "left": 2}
    assert [pause for pause in pauses if pause] == [1.0, 2.0]
    assert lines[0] == "9 of 30 delivered, 1 refused again" and "28 delivered, 2 are still dead letters" in lines[-1]
    assert any(line.startswith("refused: no, token=***") for line in lines)


@pytest.mark.parametrize(("door", "method", "status"), [
    ("socket", "POST", None), ("socket", "GET", 405), ("loopback", "POST", 404), ("open", "POST", 404), ("loopback", "GET", 404),
])
def test_orders_are_taken_on_the_admin_socket_alone(door, method, status):
    refusal = allowed(Door(door, "127.0.0.1", True), method, "/dead-letters", {"Host": "127.0.0.1"})
    assert (refusal and refusal.status) == status
    assert (refused := allowed(Door("socket"), "POST", "/status", {})) is not None and refused.status == 405


def test_a_sink_that_a_reload_changed_has_the_store_that_it_had(tmp_path):
    sinks = {"s": {"type": "stdout"}}
    text = {"node": "n1", "state_dir": str(tmp_path), "sources": {"c": {"type": "containers"}}, "sinks": sinks}
    config = load_text(json.dumps(text), "c.yaml", {}).config
    outlets = Outlets(None, Telemetry())  # type: ignore[arg-type]
    outlets._config = config
    one, two = (outlets._build(config.sinks["s"], config)[0] for _ in range(2))
    assert one.letters is two.letters is outlets._letters_of("s")
