"""P4: rotation is followed, not raced: while the agent runs, and while it is down. The full matrix is in tests/tail."""
from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.agent import Agent


def write(path: Path, *messages: str) -> None:
    with open(path, "a") as file:
        file.write("".join(f"{message}\n" for message in messages))


def renamed(log: Path) -> None:
    """rename + create"""
    log.rename(log.with_suffix(".log.1"))
    write(log, "after")


def renamed_and_written_late(log: Path) -> None:
    """rename, a write to the renamed file, create"""
    log.rename(log.with_suffix(".log.1"))
    write(log.with_suffix(".log.1"), "late")
    write(log, "after")


def renamed_and_compressed(log: Path) -> None:
    """rename + create + gzip"""
    with open(log, "rb") as plain, gzip.open(f"{log}.1.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    log.unlink()
    write(log, "after")


def copied_and_truncated(log: Path) -> None:
    """copytruncate"""
    shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)
    write(log, "after")


def twice(log: Path) -> None:
    """two rotations"""
    log.rename(log.with_suffix(".log.2"))
    write(log, "between")
    log.rename(log.with_suffix(".log.1"))
    write(log, "after")


ROTATIONS: dict[Callable[[Path], None], list[str]] = {
    renamed: ["one", "two", "after"], renamed_and_written_late: ["one", "two", "late", "after"],
    renamed_and_compressed: ["one", "two", "after"], copied_and_truncated: ["one", "two", "after"],
    twice: ["one", "two", "between", "after"],
}


def read_so_far(agent: Agent) -> dict[Callable[[Path], None], Path]:
    """The agent runs and has the first line of each log."""
    agent.configure(sinks={"archive": agent.file_sink("{file}.ndjson")})
    logs = {rotate: agent.logs / f"{rotate.__name__}.log" for rotate in ROTATIONS}
    for log in logs.values():
        write(log, "one")
    agent.start()
    agent.arrived(len(logs))
    return logs


def rotate_all(logs: dict[Callable[[Path], None], Path]) -> None:
    for rotate, log in logs.items():
        write(log, "two")
        rotate(log)


def assert_all_came_in_order(agent: Agent, logs: dict[Callable[[Path], None], Path]) -> None:
    assert {rotate.__name__: agent.messages(f"{logs[rotate].name}.ndjson") for rotate in ROTATIONS} == {
        rotate.__name__: messages for rotate, messages in ROTATIONS.items()}
    audit = agent.command("audit")
    assert audit.returncode == 0 and b"never read" not in audit.stdout, audit.stdout


def test_every_kind_while_the_agent_runs(agent: Agent) -> None:
    logs = read_so_far(agent)
    rotate_all(logs)
    agent.arrived(sum(map(len, ROTATIONS.values())))
    assert agent.terminate() == 0
    assert_all_came_in_order(agent, logs)


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_every_kind_while_the_agent_is_down(agent: Agent, how: str) -> None:
    logs = read_so_far(agent)
    getattr(agent, how)()
    rotate_all(logs)
    assert agent.once() == 0, agent.last_words()
    assert_all_came_in_order(agent, logs)


def test_a_pod_deleted_right_after_its_last_line_is_read_to_its_end(agent: Agent, tmp_path: Path) -> None:
    from shipper.agent.simulator import Count, Node

    node = Node(tmp_path / "node", seed=5, cri_pods=2, docker_pods=1)
    agent.configure(sinks={"archive": agent.file_sink()}, sources={"pods": agent.containers_source(node.root)})
    node.write(200)
    agent.start()
    agent.drained()
    for pod in list(node.pods):
        for container in pod.containers:
            node.write(50, container)
        node.delete(pod)
    agent.drained()
    agent.arrived(sum(count for name, count in node.ledger().items() if not name.startswith("host/")))
    assert agent.terminate() == 0
    count = Count()
    count.add_lines(agent.delivered_lines())
    assert count.result({k: v for k, v in node.ledger().items() if not k.startswith("host/")}).exact
