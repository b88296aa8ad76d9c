"""P10: no content, name or link of a log file stops the agent, makes it read elsewhere, or costs more than linear time."""
from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import Agent, agents, eventually
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


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Agent]:
    """An agent that follows links in containers/ into pods/, as on a node."""
    for agent in agents(tmp_path):
        (tmp_path / "containers").mkdir()
        (tmp_path / "pods").mkdir()
        agent.configure(
            sinks={"archive": agent.file_sink()},
            sources={"pods": {"type": "containers", "include": [f"{tmp_path}/containers/*.log"],
                              "allowed_roots": [f"{tmp_path}/pods"]}})
        yield agent


def put(root: Path, name: str, make: object) -> Path:
    """A container's log: its link in containers/, and pods/<...>/web/0.log made by `make(path)`."""
    live = root / "pods" / f"shop_{name}_{abs(hash(name)):x}" / "web" / "0.log"
    live.parent.mkdir(parents=True)
    assert callable(make)
    make(live)
    (root / "containers" / f"{name}_shop_web-{'a' * 64}.log").symlink_to(live)
    return live


def refusals(node: Agent) -> set[str]:
    """The reasons that are counted."""
    return {name.split('"')[1] for name in node.metrics() if name.startswith("shipper_refused_files_total")}


def test_links_pipes_sockets_directories_and_hard_links_are_refused_and_said(node: Agent, tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text(f"{CRI}root:$6$hash\n")
    good = put(tmp_path, "good", lambda path: path.write_text(f"{CRI}good\n"))
    put(tmp_path, "symlink", lambda path: path.symlink_to(secret))
    put(tmp_path, "hard-link", lambda path: os.link(secret, path))
    put(tmp_path, "pipe", os.mkfifo)
    put(tmp_path, "directory", lambda path: path.mkdir())
    put(tmp_path, "loop", lambda path: path.symlink_to(path.parent / "0.log"))
    put(tmp_path, "device", lambda path: path.symlink_to("/dev/zero"))
    (tmp_path / "containers" / "direct_shop_web-0.log").symlink_to(secret)
    with socket.socket(socket.AF_UNIX) as listening:
        directory = os.open(put(tmp_path, "beside-a-socket", lambda path: path.write_text(f"{CRI}good\n")).parent, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{directory}/1.log")
        os.close(directory)
        node.start()
        node.arrived(2)
        wanted = {"outside_roots", "hard_linked", "loop"}
        eventually("all are refused", lambda: wanted <= refusals(node), else_say=lambda: f"{refusals(node)}\n{node.last_words()}")
        swapped = tmp_path / "pods" / "swapped"                     # a pod swaps its file for a link while it is read
        good.rename(swapped)
        good.symlink_to(secret)
        with open(swapped, "a") as file:
            file.write(f"{CRI}the last line of the good file\n")
        put(tmp_path, "later", lambda path: path.write_text(f"{CRI}later\n"))
        assert sorted(node.arrived(4)) == ["good", "good", "later", "the last line of the good file"]
    assert node.terminate() == 0
    assert "$6$" not in json.dumps(node.messages()) + node.log_text()


def test_content_of_any_kind_is_delivered_or_marked_and_nothing_else_suffers(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    log = agent.logs / "odd.log"
    log.write_bytes(b"nul \x00 in it\n\xff\xfe not utf-8\n\r\n\n" + b"x" * 5_000_000 + b"\nafter\n" + b"\x00" * 3000 + b"\nend\n")
    agent.start()
    agent.drained(size=log.stat().st_size)
    records = agent.delivered()
    by_message = [record["message"] for record in records]
    assert by_message[0] == "nul \x00 in it" and by_message[1] == "\ufffd\ufffd not utf-8" and by_message[-1] == "end"
    (cut,) = [record for record in records if record.get("truncated")]
    assert (cut["truncated"], len(cut["message"])) == (5_000_000, 1 << 20)
    assert by_message[by_message.index("after") + 1] == "\x00" * 3000
    assert agent.terminate() == 0
    assert agent.command("verify", "--no-repeats", f"{agent.out}/delivered.ndjson").returncode == 0


def test_names_with_newlines_quotes_and_bytes_that_are_not_utf8_stay_names(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    names = [b"two\nlines.log", b'quo"te\\.log', b"caf\xe9.log", b"\x1b[31mred.log", "\u202egol.log".encode(), b"{node}.log"]
    for name in names:
        with open(os.fsencode(agent.logs) + b"/" + name, "wb") as file:
            file.write(b"hello\n")
    agent.start()
    assert agent.arrived(len(names)) == ["hello"] * len(names)
    assert len({record["file"] for record in agent.delivered()}) == len(names)
    agent.status()
    assert agent.terminate() == 0
    for command in (["status"], ["audit", "--all"], ["positions", "show"]):
        shown = agent.command(*command)
        assert shown.returncode in (0, 1) and b"\x1b" not in shown.stdout and not shown.stderr, (command, shown)
    assert b"\x1b" not in agent.log_path.read_bytes()


def test_a_line_that_grows_byte_by_byte_costs_linear_time(agent: Agent) -> None:
    """1 MiB in one line, in 256 writes that each wake the reader: what was looked at is not looked at again."""
    agent.configure(sinks={"archive": agent.file_sink()})
    log = agent.logs / "slow.log"
    log.write_text("first\n")
    agent.start()
    agent.arrived(1)
    with open(log, "ab", buffering=0) as file:
        for number in range(256):
            file.write(b"y" * 4000)
            if number % 32 == 0:
                agent.until("it is looked at", lambda s, n=number: s["files"][0]["size_bytes"] >= 6 + (n + 1) * 4000)
        file.write(b"\n")
    assert len(agent.arrived(2)[1]) == 256 * 4000
    fields = Path(f"/proc/{agent.pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    assert cpu_s < 5 and time.monotonic() > 0
    assert agent.terminate() == 0
