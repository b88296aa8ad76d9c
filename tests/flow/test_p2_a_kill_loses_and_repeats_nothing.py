"""P2: kill -9 at any moment, then start again: every line is delivered exactly once by a file sink.

The lines are counted by the numbers inside them, which share nothing with the agent's own ids and positions.
"""
from __future__ import annotations

import random
from pathlib import Path

import orjson

from shipper.agent.simulator import Count, Node
from tests.support.agent import Agent, eventually

KILLS = 5


def configure(agent: Agent, node: Node, sinks: dict[str, object]) -> None:
    agent.configure(
        sinks=sinks,
        sources={"pods": agent.containers_source(node.root), "host": {"type": "files", "include": [f"{node.root}/host/*.log"]}},
    )


def live(node: Node, rng: random.Random, steps: int) -> None:
    """Lines, half lines, rotations of all kinds and restarts; nothing is removed that was not read."""
    for _ in range(steps):
        node.write(rng.randint(1, 300), leave_open=rng.random() < 0.3)
        what = rng.random()
        if what < 0.3:
            node.rotate_finish()
            node.rotate(rng.choice(node.containers))
        elif what < 0.5:
            node.rotate_begin(rng.choice(node.containers))
        elif what < 0.7:
            node.rotate_finish()
        elif what < 0.8:
            node.copytruncate(node.host_logs[0])


def test_five_kills_while_lines_are_written_and_files_rotated(agent: Agent, tmp_path: Path) -> None:
    node = Node(tmp_path / "node", seed=11, max_files=50)
    configure(agent, node, {"archive": agent.file_sink()})
    rng = random.Random(11)
    for kill in range(KILLS):
        agent.start(ready=False)
        had = len(agent.delivered_lines())
        live(node, rng, rng.randint(3, 12))
        eventually("something is delivered", lambda had=had: len(agent.delivered_lines()) > had, else_say=agent.last_words)
        node.restart(node.containers[kill % len(node.containers)])
        live(node, rng, rng.randint(1, 6))
        agent.kill()
        live(node, rng, 3)                           # lines and rotations while nobody looks
    agent.start()
    node.settle()
    agent.drained()
    eventually("all is delivered", lambda: len(agent.delivered_lines()) >= node.written, else_say=agent.last_words)
    assert agent.terminate() == 0
    count = Count()
    count.add_lines(agent.delivered_lines())
    assert count.result(node.ledger()).exact, count.result(node.ledger())
    audit = agent.command("audit", "--json")
    assert (audit.returncode, orjson.loads(audit.stdout)["totals"]["gap_bytes"]) == (0, {}), audit.stdout
    (tmp_path / "ledger.json").write_bytes(audit.stdout)
    delivered = map(str, agent.out.rglob("*.ndjson"))
    verified = agent.command("verify", "--no-repeats", "--ledger", f"{tmp_path}/ledger.json", *delivered)
    assert verified.returncode == 0, verified.stdout.decode()


def test_a_kill_in_the_middle_of_a_long_record_repeats_none_of_its_pieces(agent: Agent, tmp_path: Path) -> None:
    """P pieces are read, the agent is killed, the F comes, perhaps in the next file."""
    node = Node(tmp_path / "node", seed=3, cri_pods=1, docker_pods=0, host_files=0)
    configure(agent, node, {"archive": agent.file_sink()})
    log = node.containers[0]
    live = log.live
    cri = b"2026-11-20T09:04:05.12345678%dZ %b %b %b\n"
    live.write_bytes(cri % (1, b"stdout", b"P", b"a" * 16384) + cri % (2, b"stderr", b"F", b"between"))
    agent.start()
    agent.arrived(1)
    agent.kill()
    live.rename(f"{live}.20261120-090405")
    live.write_bytes(cri % (3, b"stdout", b"P", b"b" * 16384) + cri % (4, b"stdout", b"F", b"end"))
    agent.start()
    messages = agent.arrived(2)
    assert agent.terminate() == 0
    assert sorted(agent.messages()) == sorted(messages) == ["a" * 16384 + "b" * 16384 + "end", "between"]
    (joined,) = [record for record in agent.delivered() if record["message"] != "between"]
    assert joined["id"].count(",") == 1 and "partial" not in joined
