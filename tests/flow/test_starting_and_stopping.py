"""What an operator sees of the process: --once and its exit codes, SIGTERM with a sink that is down, two agents on one
directory, and the commands beside a running agent and without one."""
from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.agent import Agent
from tests.support.collect import dead_port, tcp


def test_once_delivers_what_is_there_an_unfinished_last_line_too_and_exits_0(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    log = agent.logs / "app.log"
    log.write_text("one\ntwo\nunfinished")
    assert agent.once() == 0
    assert agent.messages() == ["one", "two", "unfinished"]
    with open(log, "a") as file:
        file.write(" no more\nthree\n")
    assert agent.once() == 0
    assert agent.messages()[3:] in ([" no more", "three"], ["three"]), agent.messages()
    assert agent.once() == 0 and len(agent.messages()) <= 5
    assert agent.command("verify", "--no-repeats", f"{agent.out}/delivered.ndjson").returncode == 0


def test_once_with_nothing_to_do_exits_0_and_with_a_dead_sink_1_naming_what_is_held(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink(), "dead": agent.syslog_sink(dead_port())}, shutdown_grace="100ms")
    assert agent.once() == 0
    (agent.logs / "app.log").write_text("held\n")
    process = agent.start("--once", "--timeout", "4s", ready=False)
    assert process.ended() == 1
    why = agent.event("once_unfinished")["why"]
    assert re.match(r"sink dead: not done in [0-3]\.", why) and why.endswith("in the buffer: 5 source bytes (state retrying)")
    assert agent.event("stopped")["held"] == {"dead": {"bytes": 5, "records": 1}}
    assert agent.messages() == ["held"]


def test_once_with_a_refused_file_delivers_the_others_and_exits_1_saying_so(agent: Agent, tmp_path: Path) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    (agent.logs / "good.log").write_text("good\n")
    (tmp_path / "elsewhere").write_text("not below the include's directory\n")
    (agent.logs / "link.log").symlink_to(tmp_path / "elsewhere")
    (agent.logs / "twice.log").write_text("a file with two names\n")
    os.link(agent.logs / "twice.log", tmp_path / "its other name")
    assert agent.once() == 1
    assert agent.messages() == ["good"]
    why = agent.event("once_unfinished")["why"]
    assert why.startswith("files refused: 2 (hard_linked 1, outside_roots 1); `file_refused` above has the mend"), why
    (agent.logs / "link.log").unlink()
    (tmp_path / "its other name").unlink()                       # mended
    assert agent.once() == 0, agent.last_words()
    assert agent.messages() == ["good", "a file with two names"]


@pytest.mark.skipif(os.geteuid() != 0, reason="rights can only be dropped by root")
def test_once_without_the_right_to_read_a_log_or_a_directory_exits_1_and_names_them(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()}, sources={"logs": agent.files_source("**/*.log")})
    for name, mode in (("good.log", 0o644), ("secret.log", 0o600)):
        (agent.logs / name).write_text(f"{name}\n")
        (agent.logs / name).chmod(mode)
        os.chown(agent.logs / name, 1234, 1234)
    (agent.logs / "closed").mkdir(mode=0o700)
    os.chown(agent.logs / "closed", 1234, 1234)
    agent.prefix = ("setpriv", "--bounding-set", "-all", "--no-new-privs")
    assert agent.once() == 1
    assert agent.messages() == ["good.log"]
    unfinished = sorted(line["why"] for line in agent.said("once_unfinished"))
    assert len(unfinished) == 2, agent.last_words()
    assert unfinished[0].startswith(f"directories not listed: 1 ({agent.logs}/closed); give the agent CAP_DAC_READ_SEARCH")
    assert unfinished[1].startswith(f"files not read to their end: 1 ({agent.logs}/secret.log); `file_refused` above")


@pytest.mark.parametrize(("argv", "why"), [
    (["run"], "-c"), (["run", "-c", "/nowhere.yaml"], "/nowhere.yaml"), (["run", "-c", "x", "--timeout", "5s"], "--once"),
    (["run", "-c", "x", "--once", "--timeout", "5"], "5s"), (["rnu"], "run"),
])
def test_a_wrong_command_line_is_exit_2_and_one_line(agent: Agent, argv: list[str], why: str) -> None:
    done = agent.command(*argv)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and why.encode() in done.stderr, done


def test_container_logs_taken_as_plain_files_are_told_once_with_the_mend(agent: Agent) -> None:
    lines = {
        "cri": '2026-11-20T09:04:05.123456789Z stdout F hello\n',
        "docker": '{"log":"hello\\n","stream":"stdout","time":"2026-11-20T09:04:05.123456789Z"}\n'}
    sources = {name: agent.files_source(f"{name}-*.log") for name in ("cri", "docker", "plain", "app_json")}
    sources["raw"] = agent.files_source("raw-*.log", format="raw")
    for name, line in (*lines.items(), ("plain", "hello\n"), ("app_json", '{"log":"no docker"}\n'), ("raw", lines["cri"])):
        for n in range(2):
            (agent.logs / f"{name}-{n}.log").write_text(f"{line}{line}")
    agent.configure(sinks={"archive": agent.file_sink()}, sources=sources)
    assert agent.once() == 0
    said = {line["about"]: line["why"] for line in agent.said("looks_like_container_logs")}
    assert said.keys() == {"source cri", "source docker"} and len(agent.said("looks_like_container_logs")) == 2
    assert "`type: containers`" in said["source cri"] and "`format: cri`" in said["source cri"]
    assert "`format: docker`" in said["source docker"] and "hello" not in str(said)
    assert agent.once() == 0                                      # nothing is new in them


def test_sigterm_with_a_dead_sink_exits_0_within_the_grace_and_names_what_stays(agent: Agent) -> None:
    agent.configure(sinks={"dead": agent.syslog_sink(dead_port()), "archive": agent.file_sink()}, shutdown_grace="1s")
    log = agent.logs / "app.log"
    log.write_text("one\n")
    agent.start()
    agent.arrived(1)
    with open(log, "a") as file:
        file.write("written just before the end\n")
    assert agent.terminate(within_s=15) == 0
    last = agent.lines()[-1]
    assert (last["event"], last["signal"], last["exit_code"]) == ("stopped", "SIGTERM", 0)
    assert last["held"] == {"dead": {"bytes": 32, "records": 2}}
    assert agent.messages() == ["one", "written just before the end"]
    with tcp() as receiver:
        agent.configure(sinks={"dead": agent.syslog_sink(receiver.port, framing="newline"), "archive": agent.file_sink()})
        assert agent.once() == 0
        assert [line.rpartition(b"] ")[2] for line in receiver.lines(2)] == [b"one", b"written just before the end"]
    assert agent.messages() == ["one", "written just before the end"]


def test_a_second_agent_waits_for_the_directory_and_then_names_the_holder(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()}, lock_wait="300ms")
    agent.start()
    holder = agent.pid
    second = agent.start(ready=False)
    assert second.ended() == 1
    assert agent.event("waiting_for_lock")["wait_s"] == 0.3
    assert f"in use by pid {holder} (" in agent.event("failed")["why"]

    agent.configure(sinks={"archive": agent.file_sink()}, lock_wait="20s")
    agent.start(ready=False)
    agent.event("waiting_for_lock")
    first = agent._processes[0]
    first.send_signal(signal.SIGTERM)                             # a rolling update: the next one takes over
    assert first.wait(20) == 0
    agent.event("started")
    assert agent.terminate() == 0


def test_status_audit_and_positions_beside_a_running_agent_and_without_one(agent: Agent, tmp_path: Path) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    log = agent.logs / "app.log"
    log.write_text("one\ntwo\n")
    agent.start()
    agent.drained(size=8)
    status = agent.command("status")
    assert status.returncode == 0 and b"healthy, ready" in status.stdout and str(log).encode() in status.stdout
    running = {
        name: json.loads(agent.command(*name.split(), "--json").stdout) for name in ("status", "audit", "positions show")}
    assert agent.terminate() == 0
    stopped = agent.command("status")
    assert stopped.returncode == 1 and stopped.stdout.startswith(b"not running")
    offline = {
        name: json.loads(agent.command(*name.split(), "--json", "--state-dir", str(agent.state)).stdout)
        for name in ("status", "audit", "positions show")}
    assert running["audit"] == offline["audit"] and offline["audit"]["totals"]["balanced"]
    for shown in (running, offline):
        (file,) = shown["positions show"]["files"] if isinstance(shown["positions show"], dict) else shown["positions show"]
        assert (file["path"], file["position_bytes"], file["size_bytes"]) == (str(log), 8, 8)
        assert shown["status"]["sinks"]["archive"]["delivered_records"] == 2
    nowhere = agent.command("status", "--state-dir", str(tmp_path / "nowhere"))
    assert nowhere.returncode == 2 and b"--state-dir" in nowhere.stderr
