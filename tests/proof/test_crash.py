"""P2, P3: the real process is killed with SIGKILL at random moments, again and again, while a node writes and rotates.

One story: a node simulator fills and rotates a tree; agents are started and killed (by the plan of a seed); when all
kills are done the node settles, `run --once` brings the rest, and two counts are made: the simulator's own, by the
numbers in the lines, and `shipper verify` against `shipper audit`. Every line must be in the file sink's output once.
"""
from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shipper.agent.simulator.node import Node
from tests.support.collect import Collector, tcp

from .harness import Fleet, ForkedAgent, Results, RunningNode, Verdict, judge, seeds

MOMENTS = ("running", "start", "recovery", "shutdown", "exec")
"""When the kill comes: any time; in the first 200 ms; right behind the first line of its log; after SIGTERM; any time, of
a process started by exec instead of fork (its imports are killed too). `once` has stories of its own: it closes what is
half written, so beside a running writer it must tear lines."""
WEIGHTS = (44, 14, 20, 18, 4)


class Story(NamedTuple):
    """What one round is made of."""

    seed: int
    kills: int
    rate: float = 300.0
    buffer: dict[str, Any] = {"segment_size": "64KiB", "max_size": "8MiB"}
    receiver: bool = False
    longest_life_s: float = 1.2


def kill_once(agent: ForkedAgent, rng: random.Random, moment: str, life_s: float) -> bool:
    """Start the agent and kill it at the moment. False where it had ended by itself (a finished --once or shutdown)."""
    if moment == "exec":
        with open(agent.log_path, "ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "shipper", "run", "-c", str(agent.config_path)], stderr=log)
        time.sleep(rng.uniform(0.0, 3.0))
        process.kill()
        return process.wait() == -signal.SIGKILL
    agent.start(*(("--once", "--timeout", "60s") if moment == "once" else ()), ready=False)
    if moment == "start":
        time.sleep(rng.uniform(0.0, 0.2))
    elif moment == "recovery":
        agent.spoke("starting")
        time.sleep(rng.uniform(0.0, 0.15))
    elif moment == "shutdown":
        agent.spoke("started")
        time.sleep(rng.uniform(0.0, life_s / 2))
        agent.process.send_signal(signal.SIGTERM)
        time.sleep(rng.uniform(0.0, 0.15))
    else:
        time.sleep(rng.uniform(0.0, life_s))
    return agent.hit()


def tell(story: Story, root: Path, fleet: Fleet, kills: Counter[str]) -> tuple[ForkedAgent, dict[str, Any]]:
    """The story up to the end: all kills done, everything written, everything delivered, nobody running."""
    root.mkdir()
    agent = ForkedAgent(root, fleet)
    node = RunningNode(agent, fleet, seed=story.seed, rate=story.rate, seconds=story.kills * 4.0 + 40, max_bytes=16384,
                       max_files=1000)      # nothing is removed: on a busy machine the agent gets nowhere between two kills
    rng = random.Random(story.seed)
    try:
        sinks: dict[str, Any] = {"archive": agent.file_sink("archive.ndjson")}
        if story.receiver:
            with tcp() as collector:
                sinks["central"] = agent.syslog_sink(collector.port, framing="newline")
                return _tell(story, agent, node, rng, sinks, kills, collector)
        return _tell(story, agent, node, rng, sinks, kills, None)
    finally:
        agent.close()
        node.close()


def _tell(
    story: Story, agent: ForkedAgent, node: RunningNode, rng: random.Random, sinks: dict[str, Any], kills: Counter[str],
    collector: Collector | None,
) -> tuple[ForkedAgent, dict[str, Any]]:
    agent.configure(sinks=sinks, sources=node.sources(agent), buffer=story.buffer, lock_wait="5s")
    done = 0
    while done < story.kills:
        moment = rng.choices(MOMENTS, WEIGHTS)[0]
        if kill_once(agent, rng, moment, story.longest_life_s):
            done += 1
            kills[moment] += 1
        time.sleep(rng.choice([0.0, 0.0, rng.uniform(0.0, 0.3)]))
    summary = node.finish()
    assert agent.once("--timeout", "60s") == 0, agent.last_words()
    if collector is not None:
        check_receiver(collector, agent)
    return agent, summary


def check_receiver(collector: Collector, agent: ForkedAgent) -> None:
    """P3 at a sink that cannot dedupe: no record of the archive is missing, equal ids have equal content."""
    contents: dict[bytes, bytes] = {}
    for data in list(collector.data):
        for line in data.split(b"\n")[:-1]:             # a torn last line of a killed connection is no record
            found = _syslog_id(line)
            assert contents.setdefault(found, line) == line, f"two contents of {found!r}"
    wanted = {record["id"].encode() for record in agent.delivered("**/archive.ndjson*")}
    missing = wanted - contents.keys()
    assert not missing, f"{len(missing)} of {len(wanted)} records never came, as {sorted(missing)[:3]}"


def _syslog_id(line: bytes) -> bytes:
    return line.partition(b'[shipper@32473 id="')[2].partition(b'"')[0]


def side_by_side(stories: list[Story], root: Path, fleet: Fleet, results: Results, event: str, workers: int = 2) -> None:
    """Tell the stories on a few threads; every one must come out exact."""
    failures: list[str] = []
    left = list(reversed(stories))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not left:
                    return
                story = left.pop()
            try:
                _one(story, root / f"seed-{story.seed}", fleet, results, event)
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(f"{story}\n{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, "\n\n".join(failures)


def _one(story: Story, root: Path, fleet: Fleet, results: Results, event: str) -> Verdict:
    kills: Counter[str] = Counter()
    agent, summary = tell(story, root, fleet, kills)
    verdict = judge(agent, summary["ledger"])
    counted = verdict.counted
    results.add(event, tries=kills.total(), lost=counted.lost, repeated=counted.repeated, stories=1, lines=counted.written,
                rotations=summary["rotations"], **{f"kills in {name}": number for name, number in kills.items()})
    assert verdict.exact and counted.written, f"{verdict}\n{agent.last_words()}"
    return verdict


def tell_once(seed: int, kills: int, agent: ForkedAgent, results: Results, event: str) -> None:
    """`run --once` on a node that stands still, killed until it gets through; then the node moves on."""
    rng = random.Random(seed)
    node = Node(agent.root / "node", seed, max_files=50)
    sources = {"pods": agent.containers_source(node.root), "host": {"type": "files", "include": [f"{node.root}/host/*.log"]}}
    agent.configure(sinks={"archive": agent.file_sink("archive.ndjson")}, sources=sources, lock_wait="5s",
                    buffer={"segment_size": "64KiB", "max_size": "8MiB"})
    done = 0
    while done < kills:
        for _ in range(rng.randint(1, 5)):
            node.write(rng.randint(1, 2000), leave_open=True)
            node.rotate(rng.choice(node.containers))
            if rng.random() < 0.2:
                node.copytruncate(node.host_logs[0])
        node.settle()
        while kill_once(agent, rng, "once", 0.6):
            done += 1
    node.close()
    assert agent.once() == 0, agent.last_words()
    verdict = judge(agent, node.ledger())
    results.add(event, tries=done, lost=verdict.counted.lost, repeated=verdict.counted.repeated, lines=verdict.counted.written)
    assert verdict.exact, f"{verdict}\n{agent.last_words()}"


@pytest.fixture
def told(tmp_path: Path, fleet: Fleet, results: Results) -> Iterator[Callable[..., None]]:
    def tell_all(event: str, stories: list[Story]) -> None:
        side_by_side(stories, tmp_path, fleet, results, event)

    yield tell_all


# ---------------------------------------------------------------- the tests

def test_thirty_kills_at_any_moment_lose_and_repeat_nothing(told: Callable[..., None]) -> None:
    one, two, three, four = seeds(1, 4)
    told("kill -9 (short)", [Story(one, 8), Story(two, 8, receiver=True), Story(three, 8), Story(
        four, 6, buffer={"segment_size": "64KiB"}, rate=1500.0)])


def test_a_killed_run_once_goes_on_where_it_was(agent: ForkedAgent, results: Results) -> None:
    tell_once(seeds(5, 1)[0], 6, agent, results, "kill -9 in run --once (short)")


@pytest.mark.long
def test_a_hundred_kills_of_run_once_lose_and_repeat_nothing(tmp_path: Path, fleet: Fleet, results: Results) -> None:
    for seed in seeds(6, 4):
        (tmp_path / str(seed)).mkdir()
        agent = ForkedAgent(tmp_path / str(seed), fleet)
        try:
            tell_once(seed, 25, agent, results, "kill -9 in run --once")
        finally:
            agent.close()


@pytest.mark.long
def test_a_thousand_kills_at_any_moment_lose_and_repeat_nothing(told: Callable[..., None]) -> None:
    told("kill -9 at any moment, small segments", [Story(seed, 30) for seed in seeds(2, 26)])


@pytest.mark.long
def test_kills_with_a_syslog_sink_beside_the_file_lose_nothing_there(told: Callable[..., None]) -> None:
    told("kill -9, syslog beside the file", [Story(seed, 25, receiver=True) for seed in seeds(3, 6)])


@pytest.mark.long
def test_kills_under_load_with_a_buffer_that_fills_lose_and_repeat_nothing(told: Callable[..., None]) -> None:
    told("kill -9 under load", [Story(seed, 25, rate=4000.0, longest_life_s=0.8) for seed in seeds(4, 6)])
