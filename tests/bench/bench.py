"""What a scenario works with: contenders in turns, corpora, the receiver, and a list of samples. Driver.

A scenario is one module in `scenarios/` with one constant, SCENARIO; it is found by its being there. Another case or
contender is a line there; what a number should be is a line in budgets.py.
"""
from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .agents import Prepare, Setting
from .corpus import Corpus, Shape, make_corpus
from .far_side import FarSide
from .process import Measured

ENVIRON = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}


class Sample(NamedTuple):
    """One run. `values`: metric -> number, in the units of the metric's name."""

    scenario: str
    case: str
    contender: str
    round: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Options:
    """quick: a fraction of the size, one round; for a look, not for figures."""

    rounds: int = 3
    quick: bool = False
    long: bool = False


@dataclass
class Bench:
    """shipper: the program of ours that is measured."""

    options: Options
    shipper: str
    contenders: dict[str, Prepare]
    far: FarSide
    cache: Path
    samples: list[Sample] = field(default_factory=list)

    def corpus(self, shape: Shape) -> Corpus:
        """Made or from the cache, and in the page cache."""
        corpus = make_corpus(shape, self.cache)
        corpus.warm()
        return corpus

    def in_turns(self, rounds: int) -> Iterator[tuple[int, str]]:
        """ours, rsyslogd, ours, rsyslogd, ...: what else the machine does then falls on all of them."""
        for number in range(rounds):
            for name in self.contenders:
                yield number, name

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """A new directory on the disk (not a tmpfs: fdatasync is part of the work)."""
        with tempfile.TemporaryDirectory(prefix="shipper-bench-", dir="/var/tmp", ignore_cleanup_errors=True) as directory:
            yield Path(directory)

    @contextlib.contextmanager
    def running(self, contender: str, containers: Path, pods: Path, work: Path, variant: str = "") -> Iterator[Measured]:
        """The contender as a process; stopped at the end, whatever happens."""
        argv = self.contenders[contender](Setting(containers, pods, self.far.port, work, variant))
        process = Measured(argv, ENVIRON, work / "log")
        try:
            yield process
        finally:
            process.stop()

    def add(self, scenario: str, case: str, contender: str, round_: int, **values: float) -> None:
        """One sample, told at once."""
        self.samples.append(Sample(scenario, case, contender, round_, values))
        told = "  ".join(f"{name} {value:,.4g}" for name, value in values.items())
        say(f"  {scenario:9} {case:14} {contender:10} #{round_ + 1}  {told}")


class Scenario(NamedTuple):
    """`run` adds samples to the bench. `default`: part of a plain run."""

    name: str
    summary: str
    run: Callable[[Bench], None]
    default: bool = True


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def seconds_since(begun_ns: int, at_ns: int) -> float:
    return (at_ns - begun_ns) / 1e9


def sleep_until(end_s: float) -> None:
    """By the monotonic clock."""
    time.sleep(max(0.0, end_s - time.monotonic()))
