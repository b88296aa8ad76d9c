"""P6: a poison record stops nothing; a sink that refuses everything is not fed to the dead letters.

The far side is a plug-in of the test that says no (plugins/picky.py); all else is the real agent.
"""
from __future__ import annotations

import json
import stat
from typing import Any

import pytest

from tests.support.agent import Agent, eventually

TOKEN = "s3cr3t-t0ken-of-the-far-side"


@pytest.fixture
def agent(agent: Agent) -> Agent:
    agent.module = "tests.flow.agent_with_plugins"
    return agent


def picky(agent: Agent, **keys: Any) -> dict[str, Any]:
    return {"type": "picky", "path": f"{agent.out}/taken.ndjson", "token": "${PICKY_TOKEN}", "start_at": "oldest", **keys}


def dead_letters(agent: Agent, count: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]]:
        paths = sorted((agent.state / "dead-letters" / "picky").glob("*.ndjson"))
        found = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
        return found if len(found) >= count else []

    return eventually(f"{count} dead letters", look, else_say=agent.last_words)


@pytest.mark.parametrize("by_index", [True, False], ids=["told by index", "found by halving"])
def test_poison_goes_to_the_dead_letters_and_the_rest_is_delivered(agent: Agent, by_index: bool) -> None:
    agent.configure(sinks={"picky": picky(agent, by_index=by_index), "archive": agent.file_sink()})
    log = agent.logs / "app.log"
    lines = [f"line {number}" if number % 100 != 50 else f"poison {number}" for number in range(1000)]
    log.write_text("".join(f"{line}\n" for line in lines))
    agent.start(env={"PICKY_TOKEN": TOKEN})
    status = agent.drained(size=log.stat().st_size)
    assert sorted(agent.arrived(990, "taken.ndjson")) == sorted(line for line in lines if "poison" not in line)
    letters = dead_letters(agent, 10)
    assert [letter["record"]["message"] for letter in letters] == [line for line in lines if "poison" in line]
    assert {letter["reason"] for letter in letters} == {"rejected"} and "cannot take that" in letters[0]["response"]
    assert (status["sinks"]["picky"]["dead_records"], status["sinks"]["picky"]["state"]) == (10, "ok")
    assert agent.metrics()['shipper_sink_dead_letters_total{reason="rejected",sink="picky"}'] == 10
    assert agent.arrived(1000, "delivered.ndjson") == lines

    directory = agent.state / "dead-letters" / "picky"
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    agent.kill()
    agent.start(env={"PICKY_TOKEN": TOKEN})
    with open(log, "a") as file:
        file.write("poison after a kill\nline after a kill\n")
    assert dead_letters(agent, 11)[-1]["record"]["message"] == "poison after a kill"
    assert agent.arrived(991, "taken.ndjson")[-1] == "line after a kill"
    assert agent.terminate() == 0

    # P9: what the far side quoted of our token is in nothing that the agent keeps or says.
    kept = [path for path in agent.state.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == [] and TOKEN not in agent.log_text()
    # P1, P11: dead letters are declared, and the rest is whole.
    ledger = agent.command("audit", "--json", "--sink", "picky")
    assert ledger.returncode == 0
    agent.root.joinpath("ledger.json").write_bytes(ledger.stdout)
    verify = agent.command("verify", "--ledger", f"{agent.root}/ledger.json", f"{agent.out}/taken.ndjson")
    assert verify.returncode == 0, verify.stdout.decode()


def test_a_record_over_the_far_sides_limit_is_a_dead_letter_and_its_neighbours_are_delivered(agent: Agent) -> None:
    agent.configure(sinks={"picky": picky(agent, largest=20_000)})
    lines = ["before", "x" * 30_000, *(f"after {number}" for number in range(500))]
    (agent.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))
    agent.start(env={"PICKY_TOKEN": TOKEN})
    assert sorted(agent.arrived(501)) == sorted(line for line in lines if len(line) < 100)
    (letter,) = dead_letters(agent, 1)
    assert (letter["reason"], len(letter["record"]["message"])) == ("too_large", 30_000)
    assert agent.terminate() == 0


def test_a_sink_that_refuses_everything_is_held_and_nothing_is_dead_lettered(agent: Agent) -> None:
    refuse = agent.root / "refuse"
    refuse.touch()
    agent.configure(sinks={"picky": picky(agent, refuse_all=str(refuse)), "archive": agent.file_sink()}, shutdown_grace="100ms")
    (agent.logs / "app.log").write_text("".join(f"line {number}\n" for number in range(1000)))
    agent.start(env={"PICKY_TOKEN": TOKEN})
    agent.arrived(1000, "delivered.ndjson")
    status = agent.until("it is known as refusing", lambda s: s["sinks"]["picky"]["state"] == "refusing")
    assert status["healthy"] and status["sinks"]["picky"]["dead_records"] == 0
    assert "refused" in status["sinks"]["picky"]["last_error"] and TOKEN not in json.dumps(status)
    assert TOKEN not in agent.get("/status").decode() + agent.get("/metrics").decode()
    assert agent.terminate() == 0
    assert agent.event("stopped")["held"]["picky"]["bytes"] > 0
    assert not list((agent.state / "dead-letters").rglob("*.ndjson"))
    refuse.unlink()
    agent.start(env={"PICKY_TOKEN": TOKEN})
    assert sorted(agent.arrived(1000, "taken.ndjson")) == sorted(f"line {number}" for number in range(1000))
    assert agent.terminate() == 0 and TOKEN not in agent.log_text()
