"""P1, P4: every way in which log files are taken away x {running, slow sink, stopped, killed} x {CRI, docker}, on the
real process. All events of one state happen to one agent at the same time, each to a pod of its own.

Of every cell: no line repeated; none changed; none lost but those whose last copy was destroyed while the agent could not
have it, and then its report names that pod and no more bytes than were lost.
"""
from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .harness import Fleet, ForkedAgent, Results, seeds
from .rotations import EVENTS, SETTLE, Event, Log

STATES = ("running", "slow", "stopped", "killed")
FILLER_LINES, FILLER_BYTES = 900, 16_000             # 14 MB, where the buffer takes 8 MiB


class Cell(NamedTuple):
    event: Event
    log: Log


def cells_of(root: Path, seed: int) -> list[Cell]:
    return [Cell(e, Log(root, e.steps.__name__, runtime, seed)) for e in EVENTS for runtime in e.runtimes]


@contextlib.contextmanager
def slow_receiver() -> Iterator[tuple[int, threading.Event]]:
    """A TCP receiver that reads nothing until the event is set."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        go = threading.Event()

        def read(connection: socket.socket) -> None:
            go.wait()
            with connection, contextlib.suppress(OSError):
                while connection.recv(1 << 20):
                    pass

        def accept() -> None:
            with contextlib.suppress(OSError):          # closed: the test is over
                while True:
                    threading.Thread(target=read, args=(sock.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield sock.getsockname()[1], go
        go.set()
        sock.shutdown(socket.SHUT_RDWR)


# ---------------------------------------------------------------- the four states

class Scene:
    """One agent on one tree, with all events before it."""

    def __init__(self, agent: ForkedAgent, seed: int) -> None:
        self.agent, self.rng, self.kills = agent, random.Random(seed), 0
        self.root = agent.root / "node"
        self.cells = cells_of(self.root, seed)
        self.steps = [cell.event.steps(cell.log) for cell in self.cells]

    def configure(self, **sinks: Any) -> None:
        archive = self.agent.file_sink("archive.ndjson", when={"namespace": ["rot"]})
        source = self.agent.containers_source(self.root, partial_timeout="120s")
        self.agent.configure(sinks={"archive": archive, **sinks}, sources={"pods": source}, lock_wait="10s",
                             buffer={"max_size": "8MiB", "segment_size": "64KiB"})

    def begin(self) -> None:
        """The agent runs and knows every log."""
        for cell in self.cells:
            cell.log.write()
        self.agent.start()
        self.agent.drained("archive")

    def step(self) -> set[str]:
        """One step of every event; what they yielded. Empty when all are over."""
        said = set()
        for steps in list(self.steps):
            try:
                said.add(next(steps))
            except StopIteration:
                self.steps.remove(steps)
        return said

    def play(self, state: str) -> None:
        getattr(self, f"_{state}")()

    def _running(self) -> None:
        self.configure()
        self.begin()
        while said := self.step():
            if SETTLE in said:
                self.agent.drained("archive")
            else:
                time.sleep(self.rng.uniform(0.0, 0.15))
        self._end()

    def _stopped(self) -> None:
        self.configure()
        self.begin()
        assert self.agent.terminate() == 0
        while self.step():
            pass
        self.agent.start()
        self._end()

    def _slow(self) -> None:
        with slow_receiver() as (port, go):
            self.configure(central=self.agent.syslog_sink(port, barrier_idle="100ms"))
            self.begin()
            filler = Log(self.root, "filler", "cri", 0)
            filler.write(FILLER_LINES, size_bytes=FILLER_BYTES)
            self.agent.until("the buffer is full", lambda status: status["buffer"]["full"])
            while said := self.step():              # to know of a file it needs a moment, full or not
                time.sleep(0.5 if SETTLE in said else self.rng.uniform(0.0, 0.15))
            go.set()
            self.agent.drained(within_s=60)
            self._end()

    def _killed(self) -> None:
        self.configure()
        self.begin()
        up = True
        while True:
            if up:
                timer = threading.Timer(self.rng.uniform(0.0, 0.3), self.agent.process.kill)
                timer.start()
            said = self.step()
            time.sleep(self.rng.uniform(0.0, 0.15))
            if up:
                timer.join()
                self.kills += self.agent.process.wait(20) == -9
                up = False
            if not said:
                break
            if self.rng.random() < 0.8:
                self.agent.start(ready=False)
                up = True
                time.sleep(self.rng.uniform(0.0, 0.3))
        self.agent.start()
        self._end()

    def _end(self) -> None:
        self.agent.drained("archive", within_s=60)
        assert self.agent.terminate() == 0
        assert self.agent.once() == 0, self.agent.last_words()
        for cell in self.cells:
            cell.log.close()


# ---------------------------------------------------------------- the verdict

class Found(NamedTuple):
    """What one cell came to."""

    lost: set[int]
    repeated: int
    changed: int
    in_order: bool
    lost_bytes: int
    reported_bytes: int
    reports: int


def found_in(cell: Cell, messages: list[str], audit: dict[str, Any], said: list[dict[str, Any]]) -> Found:
    log = cell.log
    numbers, changed = [], 0
    for message in messages:
        number = int(message.split(" ", 2)[1]) if message.startswith("line ") else -1
        if 0 <= number < len(log.messages) and log.messages[number] == message.encode():
            numbers.append(number)
        else:
            changed += 1
    lost = set(range(len(log.messages))) - set(numbers)
    gaps = [gap for file in audit["files"] if file["path"].startswith(f"{log.directory}/") for gap in file["gaps"]]
    reported = sum(gap["at_least"] if gap["end"] < 0 else gap["end"] - gap["start"] for gap in gaps)
    reports = [line for line in said if line["about"].startswith(f"{log.directory}/")]
    return Found(lost, len(numbers) - len(set(numbers)), changed, numbers == sorted(numbers),
                 sum(len(log.raw[n]) for n in lost), reported, len(gaps) + len(reports))


def faults(cell: Cell, state: str, found: Found) -> list[str]:
    """What is wrong with a cell, in words."""
    said = []
    unexcused = found.lost - (cell.log.destroyed if state in cell.event.may_lose else set())
    if unexcused:
        said.append(f"{len(unexcused)} lines lost that were there, from {sorted(unexcused)[:5]}")
    if found.repeated or found.changed:
        said.append(f"{found.repeated} repeated, {found.changed} changed")
    if cell.event.ordered and not found.in_order:
        said.append("out of order")
    if found.lost and not found.reports:
        said.append(f"{found.lost_bytes} bytes lost in silence")
    if found.reported_bytes > found.lost_bytes:
        said.append(f"reports {found.reported_bytes} bytes lost, but it was {found.lost_bytes}")
    return [f"{cell.log.pod}, {state}: {text}" for text in said]


def judge_scene(scene: Scene, state: str, results: Results, group: str) -> list[str]:
    agent = scene.agent
    answer = agent.command("audit", "--json", "--sink", "archive")
    audit = json.loads(answer.stdout)
    said = [json.loads(line) for line in agent.log_text().splitlines() if '"event":"bytes_not_read"' in line]
    by_pod: dict[str, list[str]] = {}
    for record in agent.delivered("archive.ndjson"):
        by_pod.setdefault(record["kubernetes"]["pod_name"], []).append(record["message"])
    wrong = [] if answer.returncode == 0 else [f"{state}: {audit['totals']['problems']}"]
    ledger = agent.root / "audit.json"
    ledger.write_bytes(answer.stdout)
    for cell in scene.cells:
        found = found_in(cell, by_pod.get(cell.log.pod, []), audit, said)
        wrong += faults(cell, state, found)
        destroyed = len(found.lost & cell.log.destroyed) if state in cell.event.may_lose else 0
        results.add(f"{group}{cell.event.steps.__name__} x {state} x {cell.log.runtime}", lost=len(found.lost) - destroyed,
                    repeated=found.repeated, **({"destroyed_unread": destroyed, "reported_bytes": found.reported_bytes,
                                                 "destroyed_bytes": found.lost_bytes} if destroyed else {}))
    return wrong


@pytest.mark.parametrize("state", STATES)
def test_every_rotation_is_followed(agent: ForkedAgent, results: Results, state: str) -> None:
    scene = Scene(agent, seeds(10, 1)[0])
    scene.play(state)
    wrong = judge_scene(scene, state, results, "(short) ")
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_every_rotation_is_followed_whatever_the_timing(tmp_path: Path, fleet: Fleet, results: Results, state: str) -> None:
    """SHIPPER_ROTATION_SEEDS (25) tries of each cell."""
    wrong = []
    for seed in seeds(11, int(os.environ.get("SHIPPER_ROTATION_SEEDS", "25"))):
        (tmp_path / str(seed)).mkdir()
        agent = ForkedAgent(tmp_path / str(seed), fleet)
        try:
            scene = Scene(agent, seed)
            scene.play(state)
            wrong += [f"seed {seed}: {fault}" for fault in judge_scene(scene, state, results, "")]
        finally:
            agent.close()
    assert not wrong, "\n".join(wrong)
