"""The DaemonSet's own config in what the DaemonSet gives: a read-only root, /var/log read-only, one writable directory,
uid 0 with one capability. Made with a mount namespace instead of a container runtime."""
from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.manifests import KUBERNETES, build, one
from tests.support.agent import Agent, agents, eventually
from tests.support.collect import tcp

ROOM = """\
set -eu
mount --make-rprivate /
mount --bind "$1/log" /var/log
mount -o remount,bind,ro /var/log
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/shipper
mount --bind "$1/state" /var/lib/shipper
mount -o remount,ro /var/lib
mount -o remount,bind,ro /
shift
exec setpriv --bounding-set -all,+dac_read_search --no-new-privs "$@"
"""
POD_IP = "127.0.39.3"
"""An address of its own, so that port 3903 is free."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    for name in ("log/pods", "log/containers", "state"):
        (tmp_path / name).mkdir(parents=True)
    for agent in agents(tmp_path):
        agent.prefix = ("unshare", "--mount", "sh", "-c", ROOM, "sh", str(tmp_path))
        tried = subprocess.run([*agent.prefix, "/bin/true"], capture_output=True, check=False)
        if tried.returncode != 0:
            pytest.skip("a mount namespace is refused here")
        yield agent


def container(log: Path, pod: str, owner_mode: int, *lines: str) -> None:
    """As kubelet and containerd lay it out; the link is absolute, as on a node."""
    directory = log / f"pods/default_{pod}_0a1b2c3d/web"
    directory.mkdir(parents=True)
    (directory / "0.log").write_text("".join(f"2026-11-20T09:04:05.123456789Z stdout F {line}\n" for line in lines))
    (directory / "0.log").chmod(owner_mode)
    (log / f"containers/{pod}_default_web-{'0' * 64}.log").symlink_to(f"/var/log/pods/default_{pod}_0a1b2c3d/web/0.log")


def test_it_ships_keeps_its_state_and_answers_the_probes(agent: Agent) -> None:
    agent.write_config(one(build(KUBERNETES / "base"), "ConfigMap")["data"]["shipper.yaml"])
    log = agent.root / "log"
    container(log, "web-0", 0o640, "one", "two")
    with tcp() as receiver:
        given = {"NODE_NAME": "n1", "POD_IP": POD_IP, "POD_UID": "x", "SYSLOG_ADDRESS": f"127.0.0.1:{receiver.port}",
                 "SYSLOG_PROTOCOL": "tcp", "PYTHONDONTWRITEBYTECODE": "1"}
        agent.start(env=given)
        got = eventually("both lines", lambda: (data := b"".join(receiver.data)).endswith(b"two") and data)
        assert b" n1 " in got and b"web-0" in got
        for path in ("healthz", "readyz", "metrics"):
            assert urllib.request.urlopen(f"http://{POD_IP}:3903/{path}", timeout=10).status == 200
        assert agent.terminate(within_s=35) == 0
        container(log, "web-1", 0o600, "three")
        agent.start(env=given)                                    # the next pod on this node
        more = eventually("the third", lambda: (data := b"".join(receiver.data)).endswith(b"three") and data)
        assert more.count(b"] two") == 1, "state was kept"
    said = [line["event"] for line in agent.lines() if line["level"] in ("warning", "error")]
    assert set(said) <= {"degraded", "sink_not_drained", "config"}, agent.log_text()
