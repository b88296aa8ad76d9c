"""config/rsyslog-compat.yaml, as shipped but for its directories: the bytes that a receiver had from rsyslog's template.

A line is `<time of reading> <name from the path> [ ]<the raw line>`; a datagram has no newline. What was measured on
imfile and omfwd stands in EXPECTED; only the time, which is checked by its form, differs from run to run.
"""
from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import Agent, agents
from tests.support.collect import tcp, udp

SHIPPED = Path(__file__).parents[2] / "config" / "rsyslog-compat.yaml"
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 ")
HEX = "0123456789abcdef" * 4
CRI = b"2021-09-13T10:53:01.123456789Z stdout F "

NAMES = {
    f"nginx-7d9c_default_nginx-{HEX}.log": b"nginx-7d9c_default_nginx",
    f"etcd-node1.example.com_kube-system_etcd-{HEX}.log": b"etcd",
    f"web.v1_default_app-{HEX}.log": b"v1_default_app",
    "a-b--.log": b"a-b-",
}
LINES = {                                                  # the line in the file -> what stands behind the name
    CRI + b"hello world": b"  " + CRI + b"hello world",
    b"": None,
    b" begins with a blank": b"  begins with a blank",
    b"   with three": b"    with three",
    b"tab\tbell\x07escape\x1b[31m del\x7f": b"  tab\tbell\x07escape\x1b[31m del\x7f",
    b"carriage return\r": b"  carriage return\r",
    b"\xef\xbb\xbfa byte order mark": b"  \xef\xbb\xbfa byte order mark",
    b"\x00begins with NUL, and has \x00 one": b"  \x00begins with NUL, and has \x00 one",
    b"not UTF-8: \xff\xfe\xc3": b"  not UTF-8: \xff\xfe\xc3",
    CRI + b"x" * 20_000: b"  " + CRI + b"x" * 20_000,
    "Grüße, 世界".encode(): b"  " + "Grüße, 世界".encode(),
    b"%s $! {json} <13>1 - - #012": b"  %s $! {json} <13>1 - - #012",
}
# The name and one blank stand in front of each; where the line has no blank of its own one more is put in.
EXPECTED = [rest[1:] for rest in LINES.values() if rest is not None]


@pytest.fixture
def node() -> Iterator[Agent]:
    """Below a directory without a hyphen: the name is what stands before the path's last one."""
    with tempfile.TemporaryDirectory(prefix="compat", dir="/tmp") as directory:
        root = Path(directory)
        text = SHIPPED.read_text()
        for old, new in (("state_dir: /var/lib/shipper", f"state_dir: {root}/state"),
                         ("[/var/log/containers/*.log]", f"[{root}/containers/*.log]\n    allowed_roots: [{root}/pods]")):
            assert text.count(old) == 1
            text = text.replace(old, new)
        for agent in agents(root):
            agent.write_config(text + "\nadmin: {listen: null}\n")
            yield agent


def log_file(agent: Agent, name: str, content: bytes) -> Path:
    """A container's log with its link in containers/."""
    live = agent.root / "pods" / f"default_{len(name)}{abs(hash(name))}_0123" / "app" / "0.log"
    live.parent.mkdir(parents=True)
    live.write_bytes(content)
    link = agent.root / "containers" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(live)
    return link


def target(port: int, protocol: str) -> dict[str, str]:
    return {"RSYSLOG_TARGET": "127.0.0.1", "RSYSLOG_PORT": str(port), "RSYSLOG_PROTOCOL": protocol}


def without_time(message: bytes) -> bytes:
    found = TIME.match(message)
    assert found is not None, message[:80]
    return message[found.end():]


def test_every_line_over_tcp_has_the_bytes_that_rsyslog_gave_it(node: Agent) -> None:
    first, *others = NAMES
    log_file(node, first, b"\n".join(LINES) + b"\n")
    with tcp() as receiver:
        assert node.once(env=target(receiver.port, "tcp")) == 0, node.last_words()
        got = [without_time(line) for line in receiver.lines(len(EXPECTED))]
        assert got == [NAMES[first] + b" " + rest for rest in EXPECTED]
        for name in others:
            log_file(node, name, CRI + b"named\n")
        nameless = log_file(node, "nohyphen.log", CRI + b"named\n")
        assert node.once(env=target(receiver.port, "tcp")) == 0, node.last_words()
        later = {without_time(line) for line in receiver.lines(len(EXPECTED) + len(NAMES))[len(EXPECTED):]}
        names = [*(NAMES[name] for name in others), bytes(nameless)]
        assert later == {name + b"  " + CRI + b"named" for name in names}


def test_every_line_over_udp_is_a_datagram_without_a_newline(node: Agent) -> None:
    name = next(iter(NAMES))
    log_file(node, name, b"\n".join(LINES) + b"\n")
    with udp() as receiver:
        assert node.once(env=target(receiver.port, "udp")) == 0, node.last_words()
        got = [without_time(datagram) for datagram in receiver.datagrams(len(EXPECTED))]
        assert got == [NAMES[name] + b" " + rest for rest in EXPECTED]


@pytest.mark.parametrize("missing", ["RSYSLOG_TARGET", "RSYSLOG_PORT", "RSYSLOG_PROTOCOL"])
def test_without_a_target_it_does_not_start(node: Agent, missing: str) -> None:
    env = {name: value for name, value in target(514, "tcp").items() if name != missing}
    assert node.start(ready=False, env=env).ended() == 2
    assert missing in node.log_text() and not node.state.exists()
