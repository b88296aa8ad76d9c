"""P7: open files, disk and memory have a limit each; reaching one is reported, and costs nothing but time."""
from __future__ import annotations

import os
from pathlib import Path

from tests.support.agent import Agent
from tests.support.collect import dead_port, tcp

MIB = 1 << 20
BUFFER = {"max_size": "8MiB", "segment_size": "1MiB"}
OPEN_FILES = 160
IN_FLIGHT = 5 * MIB                                 # what a reader may have on the way when `full` is said, and a headroom


def memory_bytes(pid: int, what: str = "VmHWM") -> int:
    """The most that it ever used."""
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith(what)]
    return int(line.split()[1]) * 1024


def test_more_files_than_descriptors_are_all_read(agent: Agent) -> None:
    count = 2 * OPEN_FILES
    for number in range(count):
        (agent.logs / f"{number}.log").write_text(f"first of {number}\n")
    agent.configure(sinks={"archive": agent.file_sink()})
    agent.start(open_files=OPEN_FILES)
    agent.arrived(count)
    assert len(os.listdir(f"/proc/{agent.pid}/fd")) < OPEN_FILES
    for number in range(count):
        with open(agent.logs / f"{number}.log", "a") as file:
            file.write(f"second of {number}\n")
    assert sorted(agent.arrived(2 * count)) == sorted(f"{word} of {n}" for n in range(count) for word in ("first", "second"))
    assert len(os.listdir(f"/proc/{agent.pid}/fd")) < OPEN_FILES
    assert not agent.said("read_failed") and agent.terminate() == 0


def test_a_full_buffer_stops_reading_and_the_disk_holds_no_more_than_it_may(agent: Agent) -> None:
    with tcp() as receiver:
        port = dead_port()
        agent.configure(sinks={"central": agent.syslog_sink(port, framing="newline")}, buffer=BUFFER, shutdown_grace="100ms")
        lines = 16_000
        (agent.logs / "app.log").write_text("".join(f"{number:07d} {'x' * 991}\n" for number in range(lines)))
        agent.start()
        assert "reading waits" in agent.event("degraded", about="buffer_full")["why"]
        status = agent.until("nothing is on the way any more", lambda s: s["buffer"]["last_seq"] == s["buffer"]["synced_seq"])
        used = sum(path.stat().st_size for path in (agent.state / "buffer").rglob("*") if path.is_file())
        assert used <= 8 * MIB + IN_FLIGHT and status["buffer"]["bytes"] <= 8 * MIB + IN_FLIGHT, status["buffer"]
        assert status["buffer"]["full"] and status["healthy"] and status["lag_bytes"] > 0
        assert memory_bytes(agent.pid) < 120 * MIB
        agent.terminate()
        central = agent.syslog_sink(receiver.port, framing="newline", barrier_idle="100ms")
        agent.configure(sinks={"central": central}, buffer=BUFFER)
        agent.start()
        agent.drained(size=lines * 1000)
        got = [int(line.split(b"] ", 1)[1][:7]) for line in receiver.lines(lines)]
        assert list(dict.fromkeys(got)) == list(range(lines))
        agent.until("there is room again", lambda s: not s["buffer"]["full"])
        assert agent.terminate() == 0


def test_one_line_without_an_end_does_not_fill_the_memory(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    log = agent.logs / "huge.log"
    with open(log, "wb") as file:
        file.write(b"before\n")
        for _ in range(64):
            file.write(b"x" * MIB)
    agent.start()
    agent.until("the file is read", lambda status: status["lag_bytes"] <= MIB and status["files"])
    with open(log, "ab") as file:
        file.write(b"\nafter\n")
    assert [len(message) for message in agent.arrived(3)] == [6, MIB, 5]
    (cut,) = [record for record in agent.delivered() if "truncated" in record]
    assert cut["truncated"] == 64 * MIB
    assert memory_bytes(agent.pid) < 120 * MIB
    assert agent.terminate() == 0
    assert agent.command("verify", str(agent.out / "delivered.ndjson")).returncode == 0
