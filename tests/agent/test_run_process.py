"""The real agent as a process: signals, exit codes and the last line, with a receiver that is not there."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.agent.client import ask

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("one\ntwo\n")
    (tmp_path / "state").mkdir(mode=0o700)
    path = tmp_path / "shipper.yaml"
    path.write_text(
        f"state_dir: {tmp_path}/state\n"
        f"sources: {{host: {{type: files, include: ['{tmp_path}/logs/*.log']}}}}\n"
        "sinks: {central: {type: syslog, address: '127.0.0.1:1', protocol: tcp, start_at: oldest}}\n"
        "admin: {listen: null}\nshutdown_grace: 60s\n")
    return path


@pytest.fixture
def start(config: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(*argv: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "shipper", "run", "-c", str(config), *argv]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next line of this event; fails where the log ends before."""
    assert process.stderr is not None
    for text in process.stderr:
        line: dict[str, Any] = json.loads(text)
        if line["event"] == event:
            return line
    raise AssertionError(f"the log ended without {event}")


def test_sigterm_ends_in_order_and_names_what_is_held(start: Start, config: Path) -> None:
    config.write_text(config.read_text().replace("60s", "100ms"))
    process = start()
    until(process, "degraded")
    status = ask(f"{config.parent}/state", "/status")
    assert status is not None and status["running"] and status["healthy"]
    process.send_signal(signal.SIGTERM)
    last = until(process, "stopped")
    assert (last["signal"], last["exit_code"], last["held"]["central"]["bytes"]) == ("SIGTERM", 0, 8)
    assert process.wait(30) == 0
    assert not os.path.exists(f"{config.parent}/state/admin.sock")


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    process = start()
    until(process, "degraded")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    until(process, "killed")
    assert process.wait(30) in (128 + signal.SIGINT, 128 + signal.SIGTERM)


def test_after_kill_9_the_next_one_replaces_the_socket(start: Start, config: Path) -> None:
    process = start()
    until(process, "degraded")
    process.kill()
    process.wait(30)
    assert os.path.exists(f"{config.parent}/state/admin.sock")
    until(start(), "degraded")
    status = ask(f"{config.parent}/state", "/status")
    assert status is not None and status["sinks"]["central"]["backlog_bytes"] == 8


def test_once_that_runs_out_of_time_is_exit_code_1_and_says_what_is_held(start: Start, config: Path) -> None:
    config.write_text(config.read_text().replace("60s", "100ms"))
    process = start("--once", "--timeout", "3s")
    last = until(process, "stopped")
    assert (process.wait(30), last["exit_code"], last["held"]["central"]["bytes"]) == (1, 1, 8)


def test_a_second_agent_on_one_directory_is_refused_with_the_holders_name(start: Start, config: Path) -> None:
    first = start()
    until(first, "degraded")
    config.write_text(config.read_text() + "lock_wait: 100ms\n")
    second = start()
    assert f"is in use by pid {first.pid} (" in until(second, "failed")["why"]
    assert second.wait(30) == 1


def test_a_state_dir_that_cannot_be_made_is_wrong_usage(start: Start, config: Path) -> None:
    (config.parent / "file").touch()
    config.write_text(config.read_text().replace(f"{config.parent}/state", f"{config.parent}/file/state"))
    process = start()
    assert until(process, "failed")["why"] == (
        f"state_dir {config.parent}/file/state cannot be made: Not a directory; make it, or name another one")
    assert process.wait(30) == 2
