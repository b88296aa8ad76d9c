"""P10: no content, name or link of a log file stops the agent, makes it read elsewhere, or costs more than linear time."""
from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.agent import Agent
from tests.support.collect import tcp

CRI = "2026-11-20T09:04:05.123456789Z stdout F "


def test_a_copy_of_a_pods_directory_does_not_stop_the_agent(agent: Agent, tmp_path: Path) -> None:
    """Two files that begin alike, in pods of one uid, were one file to the buffer, which refused the second one's frames."""
    node = tmp_path / "node"
    pod = node / "pods" / "shop_web-0_6f1a"
    (pod / "web").mkdir(parents=True)
    (pod / "web" / "0.log").write_text(f"{CRI}first line\n{CRI}second line\n")
    shutil.copytree(pod, node / "pods" / "shop_web-0-copy_6f1a")
    (node / "containers").mkdir()
    for name in ("web-0", "web-0-copy"):
        link = node / "containers" / f"{name}_shop_web-{'a' * 64}.log"
        link.symlink_to(node / "pods" / f"shop_{name}_6f1a" / "web" / "0.log")
    with tcp() as receiver:
        agent.configure(sinks={"central": agent.syslog_sink(receiver.port, framing="newline")},
                        sources={"pods": agent.containers_source(node)})
        assert agent.once() == 0, agent.last_words()
        assert len({line.split(b' id="')[1].split(b'"')[0] for line in receiver.lines(4)}) == 4
    assert os.path.exists(agent.state)
