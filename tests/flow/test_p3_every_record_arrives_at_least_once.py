"""P3: every sink gets every record at least once; a repeat has the same id and the same content. A file sink: exactly once."""
from __future__ import annotations

from pathlib import Path

from tests.support.agent import Agent
from tests.support.syslog_receiver import Receiver

LINES = 20_000


async def test_a_syslog_receiver_that_is_killed_gets_repeats_with_the_same_ids_and_content(agent: Agent, tmp_path: Path) -> None:
    receiver = await Receiver(tmp_path, rate=4_000_000).start()
    sinks = {"central": agent.syslog_sink(receiver.port, barrier_idle="100ms"), "archive": agent.file_sink()}
    agent.configure(sinks=sinks)
    (agent.logs / "app.log").write_text("".join(f"{number:06d} {'x' * 200}\n" for number in range(LINES)))
    agent.start()
    for _ in range(2):
        await receiver.wait(2_000)
        await receiver.kill()                        # with bytes that it has not read
        await receiver.start()
    agent.kill()                                     # and the agent, with bytes that nobody has confirmed
    agent.start()
    agent.drained(size=LINES * 208)
    assert agent.terminate() == 0
    by_id: dict[bytes, set[bytes]] = {}
    messages = receiver.messages()
    for message in messages:
        by_id.setdefault(message.split(b' id="', 1)[1].split(b'"', 1)[0], set()).add(message)
    assert len(messages) > LINES and len(by_id) == LINES
    assert all(len(contents) == 1 for contents in by_id.values())
    assert {int(next(iter(contents)).split(b"] ", 1)[1][:6]) for contents in by_id.values()} == set(range(LINES))
    assert [int(message[:6]) for message in agent.messages()] == list(range(LINES))
    assert {record["id"].encode() for record in agent.delivered()} == set(by_id)
