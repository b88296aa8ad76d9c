"""What is stuck fails /healthz within its time; what only waits for the world never does. The real agent, broken on command.

The clocks of health run 20 times as fast here (30 s silent: 1.5 s; 60 s unmoved: 3 s), so that each state takes seconds; the
long tests take the real times. The rules themselves are held by tests/agent/test_health.py.
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.harness import Fleet
from tests.proof.harness_broken_agent import BrokenAgent, QuickBrokenAgent
from tests.proof.harness_events import note
from tests.support.agent import eventually
from tests.support.collect import dead_port

PACE = 20.0
SILENT_S, STUCK_S, SAMPLE_S = 30.0, 60.0, 5.0
# Until the sample that sees it, and as much again for a busy machine.
LATE_S = 3 * SAMPLE_S

STUCK = {
    "loop": (SILENT_S, ("loop_blocked", "loop_busy_for_ever", "loop_in_a_system_call", "loop_starved")),
    "writer": (SILENT_S, ("writer_hung_in_write", "writer_hung_in_sync", "writer_dead", "writer_hung_on_a_full_disk")),
    "reader": (STUCK_S, ("reader_starved", "reader_waits_for_room_that_is_there", "reader_paced_for_ever")),
    "sink": (STUCK_S, ("sink_forgets_to_send", "sink_task_gone")),
}


class Agents:
    """Several at once, so that their times pass together."""

    def __init__(self, root: Path, fleet: Fleet) -> None:
        self.root, self.fleet, self.made = root, fleet, dict[str, BrokenAgent]()

    def new(self, name: str) -> BrokenAgent:
        (self.root / name).mkdir()
        made = self.made[name] = QuickBrokenAgent(self.root / name, self.fleet)
        made.configure(sinks={"archive": made.file_sink()})
        return made

    def close(self) -> None:
        for made in self.made.values():
            made.mend()
            made.close()


@pytest.fixture
def agents(tmp_path: Path, fleet: Fleet) -> Iterator[Agents]:
    made = Agents(tmp_path, fleet)
    yield made
    made.close()


@pytest.fixture
def agent(agents: Agents) -> BrokenAgent:
    return agents.new("agent")


def write(agent: BrokenAgent, lines: int, name: str = "app.log", first: int = 0) -> None:
    with open(agent.logs / name, "a") as log:
        log.writelines(f"line {n} {'x' * 300}\n" for n in range(first, first + lines))


def breaks(agents: Agents, states: tuple[str, ...], pace: float) -> float:
    """Agents that ran well are broken, one in each of these ways; when."""
    for state in states:
        agent = agents.new(state).start(breaks=state, health_pace=pace)
        write(agent, 100)
    for state in states:
        agents.made[state].arrived(100)
        assert agents.made[state].healthz(5.0) == (200, "ok\n")
    for state in states:
        agents.made[state].break_now()
        write(agents.made[state], 1990, first=100)
        write(agents.made[state], 10, "another.log", first=2090)
    return time.monotonic()


def fails_in_time(agent: BrokenAgent, began_s: float, limit_s: float, pace: float) -> float:
    """Seconds of the real times until /healthz fails; a probe waits 1 s, so a blocked loop fails from its second on."""
    eventually("/healthz fails", lambda: agent.healthz(1.0)[0] != 200, (limit_s + LATE_S) / pace + 2.0, agent.last_words)
    return (time.monotonic() - began_s) * pace


@pytest.mark.parametrize("part", STUCK)
def test_what_is_stuck_fails_healthz_in_its_time_and_is_well_once_it_moves(agents: Agents, part: str) -> None:
    limit_s, states = STUCK[part]
    began_s = breaks(agents, states, PACE)
    for state in states:
        fails_in_time(agents.made[state], began_s, limit_s, PACE)
    for state in states:
        agents.made[state].mend()
    for state in states:
        if state != "writer_dead":                    # nothing can mend that but a restart
            agent = agents.made[state]
            eventually("/healthz is well again", lambda a=agent: a.healthz(5.0)[0] == 200, else_say=agent.last_words)
            _all_is_there(agent, state)


def _all_is_there(agent: BrokenAgent, state: str) -> None:
    found = [" ".join(message.split()[:2]) for message in agent.arrived(2100)]
    lost, repeated = len({f"line {n}" for n in range(2100)} - set(found)), len(found) - len(set(found))
    note(f"stuck and mended: {state}", tries=1, lost=lost, repeated=repeated)
    assert (lost, repeated) == (0, 0)


def test_a_blocked_loop_says_where_it_hangs(agent: BrokenAgent) -> None:
    agent.start(breaks="loop_blocked", health_pace=PACE)
    agent.break_now()
    write(agent, 10)
    assert "broken_agent.py" in agent.event("loop_blocked")["about"]


LONG_ENOUGH_S = 2 * STUCK_S + LATE_S


def nothing_to_do(agent: BrokenAgent) -> None:
    agent.start(health_pace=PACE)


def dead_sink(agent: BrokenAgent) -> None:
    agent.configure(sinks={"central": agent.syslog_sink(dead_port())})
    write(agent, 1000)
    agent.start(health_pace=PACE)


def full_buffer(agent: BrokenAgent) -> None:
    agent.configure(sinks={"central": agent.syslog_sink(dead_port())}, buffer={"max_size": "8MiB", "segment_size": "1MiB"})
    write(agent, 40_000)
    agent.start(health_pace=PACE)
    agent.until("full", lambda status: status["buffer"]["full"])
    write(agent, 1000, first=40_000)


def full_disk(agent: BrokenAgent) -> None:
    """Frames wait for room: a backlog that no sink can read yet. The kubelet restarted the agent on it, over and over."""
    agent.start(breaks="quota", health_pace=PACE)
    agent.break_now()
    write(agent, 5000)
    agent.until("full", lambda status: status["buffer"]["full"])


def unfinished_line(agent: BrokenAgent) -> None:
    (agent.logs / "app.log").write_text("line 0\nno newline yet " + "x" * 300_000)
    agent.start(health_pace=PACE)
    agent.arrived(1)


def bad_first_sector(agent: BrokenAgent) -> None:
    """No restart mends a disk that answers EIO below one log file."""
    _bad_sector(agent, 0)


def bad_sector_behind_what_was_read(agent: BrokenAgent) -> None:
    _bad_sector(agent, 1)


def _bad_sector(agent: BrokenAgent, from_byte: int) -> None:
    write(agent, 50, "bad.log")
    agent.start(breaks="unreadable_log", health_pace=PACE)
    agent.arrived(50)
    agent.kill()
    size = (agent.logs / "bad.log").stat().st_size
    write(agent, 50, "bad.log", first=50)
    agent.break_now(str(from_byte * size))
    agent.start(breaks="unreadable_log", health_pace=PACE)
    write(agent, 50, "good.log", first=1000)
    agent.arrived(100)
    agent.event("read_failed" if from_byte else "look_failed")


def everything_passes_by(agent: BrokenAgent) -> None:
    """Nothing is routed to a sink: its cursor moves and nothing is delivered."""
    agent.configure(sinks={"pods": agent.file_sink(when={"namespace": ["shop"]})})
    agent.start(breaks="backlog_is_always_seen", health_pace=PACE)
    agent.break_now()


HEALTHY = (nothing_to_do, dead_sink, full_buffer, full_disk, unfinished_line, bad_first_sector,
           bad_sector_behind_what_was_read, everything_passes_by)


def test_what_waits_for_the_world_stays_healthy(agents: Agents) -> None:
    for scene in HEALTHY:
        scene(agents.new(scene.__name__))
    stays_well(agents, LONG_ENOUGH_S)
    for name in ("bad_first_sector", "bad_sector_behind_what_was_read"):
        agents.made[name].mend()
        agents.made[name].arrived(150)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_in_real_time_what_waits_for_the_world_stays_healthy(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "PACE", 1.0)
    test_what_waits_for_the_world_stays_healthy(agents)
    for scene in HEALTHY:
        note(f"/healthz stays well, real time: {scene.__name__}", tries=1, lost=0, repeated=0, for_s=LONG_ENOUGH_S)


def stays_well(agents: Agents, for_s: float) -> None:
    """/healthz of each is asked all the while; each gets a line now and then."""
    end_s, n = time.monotonic() + for_s / PACE, 100_000
    opened = {name: agent.open_files() for name, agent in agents.made.items()}
    while time.monotonic() < end_s:
        n += 1
        for name, agent in agents.made.items():
            assert agent.healthz(10.0) == (200, "ok\n"), f"{name}\n{agent.last_words()}"
            if name == "everything_passes_by":
                write(agent, 20, first=n * 20)
        time.sleep(0.2)                               # what fails between two of these is in the log: asked for below
    for name, agent in agents.made.items():
        assert not agent.said("stuck") and not agent.said("loop_blocked"), f"{name}\n{agent.last_words()}"
        assert agent.open_files() <= opened[name] + 2, name


def test_the_line_that_ends_an_hour_of_quiet_is_no_silence_of_the_writer(agents: Agents) -> None:
    """The writer sleeps while there is nothing to write; a disk that takes 8 s then is well within its time."""
    agent = agents.new("agent")
    agent.start(breaks="slow_sync", health_pace=PACE)
    write(agent, 1)
    agent.arrived(1)
    stays_well(agents, 2 * SILENT_S + SAMPLE_S)
    for n in range(1, 3):
        agent.break_now()
        write(agent, 1, first=n)
        agent.arrived(n + 1)
    stays_well(agents, SAMPLE_S)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", STUCK)
def test_in_real_time_what_is_stuck_fails_healthz_within_its_limit(agents: Agents, part: str) -> None:
    limit_s, states = STUCK[part]
    began_s = breaks(agents, states, 1.0)
    for state in states:
        took_s = fails_in_time(agents.made[state], began_s, limit_s, 1.0)
        note(f"/healthz fails, real time: {state}", tries=1, lost=0, repeated=0, after_s=round(took_s, 1))
        assert took_s <= limit_s + LATE_S, state
        if part != "loop":                            # a blocked loop answers nobody from its first second on
            assert took_s >= limit_s - SAMPLE_S, state
