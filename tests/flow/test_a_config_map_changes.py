"""A ConfigMap as the kubelet swaps it (`..data`): only what differs is made anew, a wrong one changes nothing, the buffer
stays; and the environment alone."""
from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Agent, eventually
from tests.support.collect import tcp


class ConfigMap:
    """A mounted ConfigMap: shipper.yaml -> ..data/shipper.yaml, ..data -> ..<time>; each update is one rename."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.version = directory, 0
        directory.mkdir()
        (directory / "shipper.yaml").symlink_to("..data/shipper.yaml")

    def update(self, text: str) -> None:
        self.version += 1
        new = self.directory / f"..2026_11_21_{self.version}"
        new.mkdir()
        (new / "shipper.yaml").write_text(text)
        (self.directory / "..data_tmp").symlink_to(new.name)
        os.replace(self.directory / "..data_tmp", self.directory / "..data")
        if self.version > 1:
            shutil.rmtree(self.directory / f"..2026_11_21_{self.version - 1}")


@pytest.fixture
def mounted(agent: Agent, tmp_path: Path) -> ConfigMap:
    made = ConfigMap(tmp_path / "etc")
    agent.config_path = tmp_path / "etc/shipper.yaml"
    return made


def config(agent: Agent, sinks: dict[str, Any], **top: Any) -> str:
    return json.dumps({
        "state_dir": str(agent.state), "sources": {"logs": agent.files_source()}, "sinks": sinks, "admin": {"listen": None},
        "shutdown_grace": "100ms", **top})


def reload(agent: Agent) -> None:
    """It would be seen within 5 s; tests/agent/test_signals.py shows that."""
    agent.process.send_signal(signal.SIGHUP)


def write(agent: Agent, line: str) -> None:
    with open(agent.logs / "a.log", "a") as file:
        file.write(f"{line}\n")


def test_only_the_sink_that_differs_is_made_anew_and_the_buffer_outlives_it(agent: Agent, mounted: ConfigMap) -> None:
    connections = 'shipper_sink_connections_total{sink="kept"}'
    with tcp() as kept, tcp() as old, tcp() as new:
        sinks = {"kept": agent.syslog_sink(kept.port, framing="newline", barrier_idle="60s"),
                 "moved": agent.syslog_sink(old.port, framing="newline")}
        mounted.update(config(agent, sinks))
        write(agent, "one")
        agent.start()
        assert b"one" in kept.lines(1)[0] and b"one" in old.lines(1)[0]
        before = agent.metrics()[connections]

        sinks["moved"] = agent.syslog_sink(new.port, framing="newline")
        mounted.update(config(agent, sinks))
        reload(agent)
        assert agent.event("reload_applied")["changes"] == "sinks: ~moved"
        write(agent, "two")
        assert b"two" in kept.lines(2)[1] and b"two" in new.lines(1)[0]
        assert len(old.lines(1)) == 1
        assert agent.metrics()[connections] == before, "the sink that did not change was left alone"
        assert agent.status()["buffer"]["source_bytes"] == 8


def test_a_wrong_one_is_refused_and_seen_in_the_log_the_metrics_and_the_status(agent: Agent, mounted: ConfigMap) -> None:
    sinks = {"archive": agent.file_sink()}
    mounted.update(config(agent, sinks))
    write(agent, "one")
    agent.start()
    agent.arrived(1)
    mounted.update(config(agent, sinks, log={"level": "loud"}))
    reload(agent)
    refused = agent.event("reload_refused")
    assert refused["level"] == "error" and f"{agent.config_path}:1:" in refused["why"] and "log.level" in refused["why"]
    assert agent.metrics()['shipper_reloads_total{result="refused"}'] == 1
    last = agent.status()["last_reload"]
    assert (last["outcome"], last["why"]) == ("refused", refused["why"])
    assert b"reload" in agent.command("status").stdout
    write(agent, "two")
    assert agent.arrived(2) == ["one", "two"]
    mounted.update(config(agent, sinks, log={"level": "debug"}))
    reload(agent)
    assert agent.event("reload_applied")["changes"] == "log.level"


def test_without_a_file_the_environment_is_enough(agent: Agent) -> None:
    pods = agent.root / "pods/default_web-0_uid/web"
    pods.mkdir(parents=True)
    (pods / "0.log").write_text("2026-11-20T09:04:05.123456789Z stdout F of a container\n")
    (agent.logs / "host.log").write_text("of the host\n")
    with tcp() as receiver:
        environ = {
            "SHIPPER_SINK_ADDRESS": f"127.0.0.1:{receiver.port}", "SHIPPER_SINK_PROTOCOL": "tcp", "NODE_NAME": "n9",
            "SHIPPER_STATE_DIR": str(agent.state), "SHIPPER_FILES": f"{agent.logs}/*.log",
            "SHIPPER_CONTAINERS": f"{agent.root}/nothing/*.log", "SHIPPER_ADMIN_LISTEN": "127.0.0.1:0",
        }
        done = agent.command("check", env=environ)
        assert done.returncode == 0 and done.stdout.startswith(b"ok: (environment): sources containers"), done
        agent.config_path = None                                  # type: ignore[assignment]
        agent.start(env=environ)
        got = eventually("the record", lambda: b"".join(receiver.data))
        assert b" n9 host " in got and got.endswith(b"of the host")
        reload(agent)
        agent.event("reload_unchanged")
