"""P5: one slow or dead sink stalls no other, up to the buffer's limits; then its own `when_full` decides."""
from __future__ import annotations

import json
from pathlib import Path

from tests.support.agent import Agent
from tests.support.collect import dead_port, tcp
from tests.support.syslog_receiver import Receiver

BUFFER = {"max_size": "8MiB", "segment_size": "1MiB"}
LINE = "x" * 999 + "\n"


def append(path: Path, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


async def test_beside_a_dead_and_a_stalled_sink_the_live_one_keeps_flowing(agent: Agent, tmp_path: Path) -> None:
    stalled = await Receiver(tmp_path, stalled=True).start()
    agent.configure(sinks={
        "dead": agent.syslog_sink(dead_port()), "stalled": agent.syslog_sink(stalled.port), "archive": agent.file_sink()})
    log = agent.logs / "app.log"
    log.write_text(LINE * 2_000)
    agent.start()
    agent.arrived(2_000)
    append(log, "and on\n")
    assert agent.arrived(2_001)[-1] == "and on"
    sinks = agent.until("the dead one is known as such", lambda s: s["sinks"]["dead"]["state"] == "retrying")["sinks"]
    assert sinks["archive"]["state"] == "ok" and sinks["dead"]["backlog_bytes"] == 2_000_007
    assert "127.0.0.1" in sinks["dead"]["last_error"] and sinks["stalled"]["backlog_bytes"] > 0
    metrics = agent.metrics()
    assert metrics['shipper_degraded{reason="sink:dead"}'] == 1
    assert metrics['shipper_sink_state{sink="dead",state="retrying"}'] == 1
    await stalled.kill()


def test_a_full_buffer_with_block_stops_reading_until_the_sink_is_back(agent: Agent) -> None:
    port = dead_port()
    agent.configure(sinks={"dead": agent.syslog_sink(port), "archive": agent.file_sink()}, buffer=BUFFER, shutdown_grace="100ms")
    lines = 16_000
    (agent.logs / "app.log").write_text(LINE * lines)
    agent.start()
    agent.event("degraded", about="buffer_full")
    status = agent.until("the live one has all that was read", lambda s: s["sinks"]["archive"]["backlog_bytes"] == 0)
    assert status["lag_bytes"] > 0 and status["healthy"]
    append(agent.logs / "app.log", LINE * 100)                # nobody reads it now, and the audit knows of it all the same
    lines += 100
    ledger = json.loads(agent.command("audit", "--json").stdout)
    assert ledger["totals"]["unread_bytes"] == agent.status()["lag_bytes"] > status["lag_bytes"]
    said = agent.command("status").stdout.decode()
    assert "          Mend sink dead, which is furthest behind" in said and "or raise `buffer.max_size`" in said
    with tcp() as receiver:
        agent.configure(sinks={"dead": agent.syslog_sink(receiver.port, barrier_idle="100ms"), "archive": agent.file_sink()},
                        buffer=BUFFER, shutdown_grace="10s")
        assert agent.terminate() == 0
        agent.start()
        agent.drained(size=lines * 1000)
        assert len(agent.messages()) == lines
        assert agent.status()["sinks"]["dead"]["dropped_records"] == 0


def test_a_full_buffer_with_drop_oldest_goes_on_at_the_dead_sinks_cost(agent: Agent) -> None:
    agent.configure(sinks={"dead": agent.syslog_sink(dead_port(), when_full="drop_oldest"), "archive": agent.file_sink()},
                    buffer=BUFFER, shutdown_grace="100ms")
    lines = 16_000
    (agent.logs / "app.log").write_text(LINE * lines)
    agent.start()
    agent.arrived(lines)
    status = agent.until("all is read", lambda s: s["lag_bytes"] == 0)
    dropped = status["sinks"]["dead"]["dropped_records"]
    assert 0 < dropped < lines and status["sinks"]["archive"]["dropped_records"] == 0
    assert status["sinks"]["dead"]["backlog_bytes"] == (lines - dropped) * 1000
    assert agent.terminate() == 0
    assert agent.event("stopped")["held"]["dead"]["bytes"] == (lines - dropped) * 1000
