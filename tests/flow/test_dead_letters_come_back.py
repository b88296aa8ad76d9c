"""Dead letters as a person meets them: list, show, mend the far side, replay (with the agent and without), purge."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.support.agent import Agent

TOKEN = "s3cr3t-t0ken-of-the-far-side"


@pytest.fixture
def agent(agent: Agent) -> Agent:
    agent.module = "tests.flow.agent_with_plugins"
    return agent


def command(agent: Agent, *argv: str) -> subprocess.CompletedProcess[str]:
    """`shipper dead-letters ...`, with the plug-ins."""
    return subprocess.run(
        [sys.executable, "-m", agent.module, "dead-letters", *argv], capture_output=True, timeout=60, check=False, text=True,
        env={**os.environ, "SHIPPER_STATE_DIR": str(agent.state), "PICKY_TOKEN": TOKEN}, stdin=subprocess.DEVNULL,
    )


def configure(agent: Agent, poison: str) -> None:
    agent.configure(sinks={"picky": {
        "type": "picky", "path": f"{agent.out}/taken.ndjson", "token": "${PICKY_TOKEN}", "start_at": "oldest", "poison": poison,
    }})


def deliver_with_poison(agent: Agent) -> list[str]:
    configure(agent, '"message":"poison')
    lines = [f"line {number}" if number % 100 != 50 else f"poison {number}" for number in range(1000)]
    log = agent.logs / "app.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    agent.start(env={"PICKY_TOKEN": TOKEN})
    agent.drained(size=log.stat().st_size)
    return lines


def ids(agent: Agent) -> list[str]:
    return [json.loads(line)["id"] for line in command(agent, "list", "--json").stdout.splitlines()]


def test_a_poison_record_arrives_with_its_id_once_its_server_is_mended(agent: Agent) -> None:
    lines = deliver_with_poison(agent)
    listed = command(agent, "list")
    assert listed.returncode == 0 and "picky  rejected  10" in listed.stdout and TOKEN not in listed.stdout
    dead = ids(agent)
    shown: dict[str, Any] = json.loads(command(agent, "show", dead[0]).stdout)
    assert shown["record"]["message"] == "poison 50" and shown["sink"] == "picky"
    assert agent.status()["sinks"]["picky"]["dead_by_reason"] == {"rejected": 10}

    # The server still says no: nothing is lost, nothing is doubled, and it says so.
    again = command(agent, "replay", "--sink", "picky")
    assert again.returncode == 1 and "10 are still dead letters" in again.stdout and "cannot take that" in again.stdout
    assert ids(agent) == dead and TOKEN not in again.stdout

    configure(agent, "nothing is poison now")                  # taken up by the running agent
    agent.process.send_signal(signal.SIGHUP)
    agent.event("reload_applied")
    some = command(agent, "replay", dead[3], dead[7])
    assert some.returncode == 0 and "picky: done: 2 delivered" in some.stdout
    refused = command(agent, "purge", "--sink", "picky")
    assert refused.returncode == 2 and "would delete 8 of sink picky; say --yes" in refused.stderr
    purged = command(agent, "purge", dead[9], "--yes", "--json")
    assert purged.returncode == 0 and json.loads(purged.stdout) == {"picky": 1}
    rest = command(agent, "replay", "--since", "1h", "--reason", "rejected", "--json")
    assert rest.returncode == 0 and json.loads(rest.stdout) == {"picky": {"replayed": 7, "refused": 0, "left": 0}}
    taken = agent.delivered("taken.ndjson")
    assert sorted(record["message"] for record in taken) == sorted(line for line in lines if line != "poison 950")
    assert {record["id"] for record in taken if "poison" in record["message"]} == set(dead[:9])
    status = agent.status()["sinks"]["picky"]
    assert (status["dead_records"], status["delivered_records"]) == (1, 999)      # purged: it stays counted as dead
    assert command(agent, "replay").stdout == "no dead letters like that\n"
    assert agent.command("audit").returncode == 0
    assert agent.terminate() == 0
    assert "no dead letters" in command(agent, "list").stdout


def test_without_an_agent_the_command_delivers_them_itself(agent: Agent) -> None:
    deliver_with_poison(agent)
    dead = ids(agent)
    assert agent.terminate() == 0
    assert command(agent, "purge", "--yes", "--source", f"{agent.logs}/*", dead[9]).returncode == 2
    assert command(agent, "purge", dead[9], "--yes", "--source", f"{agent.logs}/*").stdout == "picky: 1 deleted\n"
    assert "name the config with -c FILE" in command(agent, "replay").stderr
    configure(agent, "nothing is poison now")
    done = subprocess.run(
        [sys.executable, "-m", agent.module, "dead-letters", "replay", "-c", str(agent.config_path)], capture_output=True,
        timeout=60, check=False, text=True, env={**os.environ, "PICKY_TOKEN": TOKEN})
    assert done.returncode == 0, done.stderr
    assert {r["id"] for r in agent.delivered("taken.ndjson") if "poison" in r["message"]} == set(dead[:9])
    assert agent.command("audit").returncode == 0 and ids(agent) == []
    assert len(agent.delivered("taken.ndjson")) == 999


def test_wrong_arguments_are_told_with_the_mend(agent: Agent) -> None:
    agent.state.mkdir()
    for argv, words in (
        (("list", "--since", "yesterday"), "write for example 2h, 7d or 2026-11-20T09:00:00Z"),
        (("list", "--sink", "../x"), "cannot be the name of a sink"), (("replay", "--rate", "0"), "--rate must be above 0"),
    ):
        found = command(agent, *argv)
        assert found.returncode == 2 and words in found.stderr and "Traceback" not in found.stderr
