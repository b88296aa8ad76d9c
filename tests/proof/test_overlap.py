"""P2: two processes on one state directory. Only one reads and delivers; whoever hands over to whom, and however, no line
is lost and none comes twice."""
from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import eventually

from .harness import Fleet, ForkedAgent, Results, RunningNode, judge, seeds

Play = Callable[..., None]


@pytest.fixture
def play(agent: ForkedAgent, fleet: Fleet, results: Results) -> Iterator[Play]:
    """Runs `scene(agent)` beside a node that writes and rotates, and judges what was delivered."""
    nodes: list[RunningNode] = []

    def run(event: str, scene: Callable[[ForkedAgent], int], seed: int, lock_wait: str = "20s") -> None:
        nodes.append(RunningNode(agent, fleet, seed=seed, rate=400.0, seconds=600.0, max_bytes=16384))
        played(agent, nodes[-1], scene, event, results, lock_wait)

    yield run
    for node in nodes:
        node.close()


def played(
    agent: ForkedAgent, node: RunningNode, scene: Callable[[ForkedAgent], int], event: str, results: Results, lock_wait: str
) -> None:
    """`scene` says how often it tried."""
    agent.configure(sinks={"archive": agent.file_sink("archive.ndjson")}, sources=node.sources(agent), lock_wait=lock_wait,
                    buffer={"segment_size": "64KiB", "max_size": "8MiB"})
    tries = scene(agent)
    ledger = node.finish()["ledger"]
    assert agent.once() == 0, agent.last_words()
    verdict = judge(agent, ledger)
    results.add(event, tries=tries, lost=verdict.counted.lost, repeated=verdict.counted.repeated, lines=verdict.counted.written)
    assert verdict.exact, f"{verdict}\n{agent.last_words()}"


def test_a_second_agent_and_a_second_once_are_turned_away_by_name(play: Play) -> None:
    def scene(agent: ForkedAgent) -> int:
        first = agent.start().process
        for argv in ((), ("--once",)):
            agent.start(*argv, ready=False)
            assert agent.ended() == 1
            assert f"is in use by pid {first.pid} (" in agent.event("failed")["why"]
        assert first.poll() is None
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0
        return 2

    play("second agent or --once beside a running one", scene, seeds(20, 1)[0], lock_wait="300ms")


def test_questions_beside_a_running_agent_are_answered_and_change_nothing(play: Play) -> None:
    def scene(agent: ForkedAgent) -> int:
        agent.start()
        questions = (("status",), ("audit", "--json"), ("positions", "show"), ("audit",))
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(agent.command, *argv) for argv in questions]
            balanced = [agent.audit()["totals"]["balanced"] for _ in range(100)]
            for argv, answer in zip(questions, asked):
                found = answer.result()
                assert found.returncode == 0 and found.stdout and not found.stderr, (argv, found)
        assert all(balanced)
        assert agent.terminate() == 0
        before = sorted((p.name, p.stat().st_size) for p in agent.state.rglob("*") if p.is_file() and p.name != "lock")
        assert [agent.command(*argv).returncode for argv in questions] == [1, 0, 0, 0]     # status: 1, none runs
        assert sorted((p.name, p.stat().st_size) for p in agent.state.rglob("*") if p.is_file() and p.name != "lock") == before
        return 108

    play("status, audit, positions beside a running agent", scene, seeds(21, 1)[0])


def hand_over(agent: ForkedAgent, rng: random.Random, times: int) -> int:
    """A rolling update, again and again: the new one waits, the old one lingers and ends in one of three ways."""
    agent.start()
    for _ in range(times):
        old = agent.process
        newer = [agent.start(ready=False).process for _ in range(rng.choice([1, 1, 2]))]
        agent.event("waiting_for_lock")
        time.sleep(rng.uniform(0.0, 0.8))
        end = rng.choice(["term", "kill", "term then kill"])
        old.send_signal(signal.SIGKILL if end == "kill" else signal.SIGTERM)
        if end == "term then kill":
            time.sleep(rng.uniform(0.0, 0.2))
            old.kill()
        old.wait(20)
        holder = int(eventually("one of them has the lock", lambda pids=frozenset(p.pid for p in newer): _holder(agent, pids)))
        for one in newer:
            if one.pid != holder:
                one.kill()
                one.wait(20)
        agent._processes[:] = [p for p in newer if p.pid == holder]
        time.sleep(rng.uniform(0.0, 0.8))
    assert agent.terminate() == 0
    return times


def _holder(agent: ForkedAgent, pids: frozenset[int]) -> int:
    try:
        pid = int(json.loads((agent.state / "lock").read_bytes() or b"{}").get("pid", 0))
    except ValueError:
        return 0
    return pid if pid in pids else 0


def test_rolling_updates_in_which_the_old_pod_lingers_lose_and_repeat_nothing(play: Play) -> None:
    seed = seeds(22, 1)[0]
    play("rolling update (short)", lambda agent: hand_over(agent, random.Random(seed), 5), seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(23, 5))
def test_forty_rolling_updates_lose_and_repeat_nothing(play: Play, seed: int) -> None:
    play("rolling update, old pod lingers", lambda agent: hand_over(agent, random.Random(seed), 40), seed)


# ---------------------------------------------------------------- the clock

DAY_S = 86400.0


def jump(agent: ForkedAgent, rng: random.Random, times: int) -> int:
    """The wall clock jumps both ways, by up to 30 days, while the agent runs, while it is down and over a kill."""
    agent.start()
    for _ in range(times):
        agent.set_clock(rng.choice([-1, 1]) * rng.choice([0.5, 3600.0, 10 * DAY_S, 30 * DAY_S]))
        time.sleep(rng.uniform(0.1, 0.8))
        if rng.random() < 0.5:
            agent.hit()
            if rng.random() < 0.5:
                agent.set_clock(rng.uniform(-30, 30) * DAY_S)
            agent.start()
    agent.set_clock(0.0)
    assert agent.terminate() == 0
    return times


@pytest.fixture
def jumping(tmp_path: Path, fleet: Fleet, results: Results) -> Iterator[Callable[[int, int, str], None]]:
    made: list[Any] = []

    def run(seed: int, times: int, event: str) -> None:
        agent = ForkedAgent(tmp_path, fleet, clock=True)
        node = RunningNode(agent, fleet, seed=seed, rate=400.0, seconds=600.0, max_bytes=16384)
        made.extend((agent, node))
        played(agent, node, lambda agent: jump(agent, random.Random(seed), times), event, results, lock_wait="5s")

    yield run
    for each in made:
        each.close()


def test_a_clock_that_jumps_both_ways_loses_and_repeats_nothing(jumping: Callable[[int, int, str], None]) -> None:
    jumping(seeds(24, 1)[0], 8, "clock jumps (short)")


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(25, 3))
def test_a_hundred_jumps_of_the_clock_lose_and_repeat_nothing(jumping: Callable[[int, int, str], None], seed: int) -> None:
    jumping(seed, 40, "clock jumps, up to 30 days both ways")
