"""P1: what could not be read, or was not delivered, is said: in the log, in the metrics, in `shipper audit`, whose sums
hold, and in the ledger, with which `shipper verify` finds the rest complete."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.agent import Agent, eventually
from tests.support.collect import dead_port


def proven(agent: Agent, ledger: Path) -> dict[str, Any]:
    """`shipper audit` exits 0; its ledger and what was delivered add up for `shipper verify`. Returns the ledger."""
    audit = agent.command("audit", "--json", "--sink", "archive")
    assert audit.returncode == 0, audit
    ledger.write_bytes(audit.stdout)
    verify = agent.command("verify", "--no-repeats", "--ledger", str(ledger), *map(str, agent.out.rglob("*.ndjson")))
    assert verify.returncode == 0, verify.stdout.decode()
    found: dict[str, Any] = json.loads(audit.stdout)
    return found


def test_what_rotation_removed_while_the_agent_was_down_is_reported(agent: Agent, tmp_path: Path) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    log = agent.logs / "app.log"
    log.write_text("kept\n")
    agent.start()
    agent.arrived(1)
    agent.kill()
    with open(log, "a") as file:
        file.write("written and gone while nobody looked\n")
    log.unlink()
    log.write_text("the next file\n")
    agent.start()
    assert agent.arrived(2)[-1] == "the next file"
    said = agent.event("bytes_not_read", reason="rotated_away")
    assert "app.log" in said["about"] and said["from_time_ns"] > 0
    assert agent.metrics()['shipper_gaps_total{reason="rotated_away"}'] == 1
    assert agent.terminate() == 0
    ledger = proven(agent, tmp_path / "ledger.json")
    (gone,) = [f for f in ledger["files"] if f["gaps"]]
    assert (gone["gaps"][0]["reason"], gone["gaps"][0]["end"]) == ("rotated_away", -1)
    assert b"never read, rotated_away: at least 0 bytes" in agent.command("audit").stdout


def test_what_was_seen_and_could_not_be_read_is_reported_in_bytes(agent: Agent, tmp_path: Path) -> None:
    """A dead sink fills the buffer; what does not fit is rotated away while the agent is down."""
    buffer = {"max_size": "8MiB", "segment_size": "1MiB"}
    agent.configure(sinks={"archive": agent.file_sink(), "dead": agent.syslog_sink(dead_port())}, buffer=buffer)
    log = agent.logs / "app.log"
    log.write_text(("x" * 999 + "\n") * 30_000)
    agent.start()
    agent.event("degraded", about="buffer_full")
    status = agent.until("nothing moves any more", lambda status: status["sinks"]["archive"]["backlog_bytes"] == 0)
    unread = status["lag_bytes"]
    assert 0 < unread == 30_000_000 - status["buffer"]["source_bytes"]
    agent.kill()
    log.unlink()
    agent.configure(sinks={"archive": agent.file_sink()})
    agent.start()
    assert agent.event("bytes_not_read", reason="rotated_away")["at_least_bytes"] == unread
    assert agent.metrics()['shipper_gap_bytes_total{reason="rotated_away"}'] == unread
    assert agent.terminate() == 0
    assert proven(agent, tmp_path / "ledger.json")["totals"]["gap_bytes"] == {"rotated_away": unread}


def test_what_start_at_end_passes_over_is_counted(agent: Agent, tmp_path: Path) -> None:
    log = agent.logs / "app.log"
    log.write_text("old\n" * 100)
    agent.configure(sinks={"archive": agent.file_sink()}, sources={"logs": agent.files_source(start_at="end")})
    agent.start()
    agent.until("the old lines are passed over", lambda status: status["lag_bytes"] == 0 and status["files"])
    with open(log, "a") as file:
        file.write("new\n")
    assert agent.arrived(1) == ["new"]
    assert agent.metrics()['shipper_gap_bytes_total{reason="start_at_end"}'] == 400
    assert agent.terminate() == 0
    assert proven(agent, tmp_path / "ledger.json")["totals"]["gap_bytes"] == {"start_at_end": 400}


def test_what_drop_oldest_gives_up_is_counted_for_its_sink_alone(agent: Agent, tmp_path: Path) -> None:
    """A buffer of 8 MiB, 12 MB of lines, and a sink that is dead."""
    agent.configure(
        sinks={"archive": agent.file_sink(), "dead": agent.syslog_sink(dead_port(), when_full="drop_oldest")},
        buffer={"max_size": "8MiB", "segment_size": "1MiB"}, shutdown_grace="200ms",
    )
    line = "x" * 999 + "\n"
    (agent.logs / "app.log").write_text(line * 12_000)
    agent.start()
    agent.arrived(12_000)
    dropped = eventually("drops are counted", lambda: agent.status()["sinks"]["dead"]["dropped_records"])
    assert agent.metrics()['shipper_sink_dropped_records_total{reason="drop_oldest",sink="dead"}'] >= dropped
    said = agent.event("records_dropped", about="dead")
    assert (said["level"], said["reason"]) == ("warning", "drop_oldest") and said["records"] > 0
    assert agent.terminate() == 0
    sinks = proven(agent, tmp_path / "ledger.json")["sinks"]
    dead = sinks["dead"]
    assert sinks["archive"]["delivered_bytes"] == 12_000_000 == dead["dropped"]["drop_oldest"] + dead["held_bytes"]
