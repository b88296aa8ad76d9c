"""P11: delivered data alone prove completeness: `shipper verify` finds one line that was removed, one that came twice, and,
with the ledger, an end that is missing; in NDJSON of the file sink and in what a syslog receiver stored."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shipper.agent.simulator import Node
from tests.support.agent import Agent
from tests.support.collect import tcp

Verify = subprocess.CompletedProcess[bytes]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run: pods, restarts and rotations, delivered to a file and to a syslog receiver; and the ledger."""
    root = tmp_path_factory.mktemp("p11")
    agent = Agent(root)
    node = Node(root / "node", seed=21, max_files=50)
    try:
        with tcp() as receiver:
            agent.configure(
                sinks={"archive": agent.file_sink(), "central": agent.syslog_sink(receiver.port, barrier_idle="100ms")},
                sources={"pods": agent.containers_source(node.root)})
            node.write(2_000)
            agent.start()
            for container in node.containers:
                node.write(100, container)
                node.rotate(container)
                node.write(100, container)
            node.settle()
            agent.drained()
            assert agent.terminate() == 0, agent.last_words()
            (root / "syslog").write_bytes(b"".join(receiver.data))
        ledger = agent.command("audit", "--json")
        assert ledger.returncode == 0
        (root / "ledger").write_bytes(ledger.stdout)
    finally:
        agent.close()
    return {"ndjson": agent.out / "delivered.ndjson", "syslog": root / "syslog", "ledger": root / "ledger"}


def verify(agent: Agent, data: bytes, *argv: str) -> Verify:
    return agent.command("verify", *argv, stdin=data)


@pytest.mark.parametrize("form", ["ndjson", "syslog"])
def test_what_was_delivered_is_whole_by_itself_and_by_the_ledger(agent: Agent, delivered: dict[str, Path], form: str) -> None:
    data = delivered[form].read_bytes()
    assert verify(agent, data, "--no-repeats").returncode == 0
    with_ledger = verify(agent, data, "--no-repeats", "--ledger", str(delivered["ledger"]))
    assert with_ledger.returncode == 0 and b"add up to what was read" in with_ledger.stdout, with_ledger.stdout.decode()


def test_one_removed_line_one_repeated_line_and_a_removed_end_are_found(agent: Agent, delivered: dict[str, Path]) -> None:
    data = delivered["ndjson"].read_bytes()
    lines = data.splitlines(keepends=True)
    key = lines[1000].split(b'"id":"')[1].split(b":")[0]
    same = [number for number, line in enumerate(lines) if b'"id":"' + key in line]

    removed = verify(agent, b"".join(line for number, line in enumerate(lines) if number != same[len(same) // 2]))
    assert removed.returncode == 1 and b"bytes missing" in removed.stdout and b"NOT whole" in removed.stdout

    twice = b"".join(lines) + lines[same[3]]
    assert verify(agent, twice).returncode == 0
    assert verify(agent, twice, "--no-repeats").returncode == 1

    tail = b"".join(line for number, line in enumerate(lines) if number not in same[-2:])
    assert verify(agent, tail).returncode == 0                      # the ids cannot know what came last
    cut = verify(agent, tail, "--ledger", str(delivered["ledger"]))
    assert cut.returncode == 1 and key in cut.stdout


def test_a_removed_message_of_a_syslog_receiver_is_found(agent: Agent, delivered: dict[str, Path]) -> None:
    data = delivered["syslog"].read_bytes()
    messages, at = [], 0
    while at < len(data):
        blank = data.index(b" ", at)
        end = blank + 1 + int(data[at:blank])
        messages.append(data[at:end])
        at = end
    assert verify(agent, b"".join(messages[:500] + messages[501:]), "--ledger", str(delivered["ledger"])).returncode == 1
    lines = b"".join(message[message.index(b" ") + 1:].replace(b"\n", b"#012") + b"\n" for message in messages)
    assert verify(agent, lines, "--no-repeats").returncode == 0     # the same as lines, as a syslog server writes them


def test_what_one_record_says_it_is_made_of_is_checked_against_the_others(agent: Agent, delivered: dict[str, Path]) -> None:
    """An id over the same bytes with another length is another record over them: an overlap."""
    lines = delivered["ndjson"].read_bytes().splitlines(keepends=True)
    head, rest = lines[5].split(b"+", 1)[0], lines[5].split(b"+", 1)[1]
    forged = head + b"+1" + rest
    assert verify(agent, b"".join(lines) + forged).returncode == 1
