"""kill -9 of an agent again and again while lines are written, and waiting for what was written. For tests of exactly once."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.agent import Agent, eventually


class Writer:
    """Lines with rising numbers into a few files, as long as it runs."""

    def __init__(self, directory: Path, bytes_s: int) -> None:
        self._paths = [directory / f"{name}.log" for name in ("a", "b", "c")]
        self._bytes_s, self._end = bytes_s, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.written = 0
        self._thread.start()

    def _run(self) -> None:
        rng = random.Random(7)
        while not self._end.wait(0.01):
            count = self._bytes_s // 25_000
            lines = [b"m%08d %s\n" % (self.written + i, rng.randbytes(120).hex().encode()) for i in range(count)]
            with open(rng.choice(self._paths), "ab", buffering=0) as file:
                file.write(b"".join(lines))
            self.written += count

    def stop(self) -> int:
        self._end.set()
        self._thread.join()
        return self.written


def killed_while_written(
    agent: Agent, kills: int, longest_s: float, rng: random.Random, configure: Callable[[], object],
    environ: Mapping[str, str], *, bytes_s: int, at_start: float = 0.0,
) -> tuple[int, int]:
    """(lines written, plans that lay in the spool at the kills). `configure()`: before each start; `at_start`: the share of
    kills that do not wait until the agent says that it has started."""
    planned = 0
    writer = Writer(agent.logs, bytes_s)
    try:
        for _ in range(kills):
            configure()
            agent.start(ready=False, env=dict(environ))
            if rng.random() < 1.0 - at_start:
                agent.event("started")
            time.sleep(rng.uniform(0.02, longest_s))        # the moment of the kill is what is tried out
            agent.kill()
            planned += len(list(agent.state.glob("spool/far/*.plan.json")))
    finally:
        written = writer.stop()
    return written, planned


def arrive(wanted: int, count: Callable[[], int], else_say: Callable[[], str], still_s: float = 30.0) -> None:
    """Bounded by how long nothing comes, not by how long it takes: a busy machine has written more by then, and is slower."""
    seen = count()
    while seen != wanted:
        before = seen
        seen = eventually(f"{wanted} lines, of which {before} are there",
                          lambda before=before: found if (found := count()) != before else 0, still_s, else_say)
