"""P8: a wrong config never starts and touches nothing; a wrong reload keeps the old one running; a good one needs no restart."""
from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.agent import Agent
from tests.support.collect import tcp

WRONG = {
    "an unknown key": (
        "  host: {type: files, include: [LOGS/*.log], formt: plain}", "sources.host.formt",
        "did you mean 'format'?"),
    "a size without its unit": ("  host: {type: files, include: [LOGS/*.log], max_line: 1Mb}", "sources.host.max_line", "16MiB"),
    "a variable that is not set": (
        "  host: {type: files, include: ['${NOT_SET_ANYWHERE}']}", "sources.host.include",
        "NOT_SET_ANYWHERE"),
    "a key twice": (
        "  host: {type: files, include: [LOGS/*.log]}\n  host: {type: files, include: [LOGS/*.txt]}", "sources.host",
        "host"),
}


@pytest.mark.parametrize("what", WRONG)
def test_it_ends_with_2_and_one_line_that_says_where_and_how_to_mend_it(agent: Agent, what: str) -> None:
    text, key, mend = WRONG[what]
    text = text.replace("LOGS", str(agent.logs))
    agent.write_config(f"state_dir: {agent.state}\nsources:\n{text}\nsinks:\n"
                       "  central: {type: syslog, address: 'localhost:1'}\nadmin: {listen: null}\n")
    before = sorted(agent.root.rglob("*"))
    assert agent.start(ready=False).ended() == 2
    (line,) = agent.log_text().splitlines()
    number = 3 + text.count("\n")
    assert line.startswith(f"shipper: {agent.config_path}:{number}:") and f" {key}" in line and mend in line
    assert not agent.state.exists()
    assert sorted(set(agent.root.rglob("*")) - {agent.log_path}) == before


def test_all_that_is_wrong_is_said_at_once(agent: Agent) -> None:
    agent.write_config(f"state_dir: {agent.state}\nsources:\n  a: {{type: files, include: [x.log]}}\n  b: {{type: nothing}}\n"
                       "sinks:\n  c: {type: syslog, address: nowhere}\nlog: {level: loud}\n")
    assert agent.start(ready=False).ended() == 2
    lines = agent.log_text().splitlines()
    assert [int(line.split(":")[2]) for line in lines] == [3, 4, 6, 7], lines


def test_a_wrong_reload_keeps_the_old_config_and_a_good_one_adds_a_source_and_a_sink(agent: Agent, tmp_path: Path) -> None:
    with tcp() as old, tcp() as new:
        sinks = {"central": agent.syslog_sink(old.port, framing="newline", barrier_idle="100ms")}
        agent.configure(sinks=sinks)
        log = agent.logs / "a.log"
        log.write_text("before\n")
        agent.start()
        assert b"before" in old.lines(1)[0]

        agent.write_config("sources: {}\n")
        agent.process.send_signal(signal.SIGHUP)
        refused = agent.event("reload_refused")
        assert str(agent.config_path) in refused["why"] and "sinks" in refused["why"]
        assert agent.status()["last_reload"]["outcome"] == "refused"
        with open(log, "a") as file:
            file.write("after the wrong one\n")
        assert b"after the wrong one" in old.lines(2)[1]

        other = tmp_path / "other"
        other.mkdir()
        (other / "b.log").write_text("of the new source\n")
        agent.configure(
            sinks=sinks | {"second": agent.syslog_sink(new.port, framing="newline", barrier_idle="100ms")},
            sources={"logs": agent.files_source(), "more": {"type": "files", "include": [f"{other}/*.log"]}},
        )
        applied = agent.event("reload_applied")                        # the file changed: no signal is needed
        assert applied["changes"] == "sources: +more; sinks: +second"
        assert b"of the new source" in old.lines(3)[2]
        got = b"\n".join(new.lines(3))                                 # start_at: oldest, and it is still in the buffer
        assert b"before" in got and b"after the wrong one" in got and b"of the new source" in got
        assert agent.terminate() == 0
