"""What state a sink is in, and why: one entry per thing that goes wrong at the moment. Pure but for telemetry.

    failed      a Fatal somewhere: a human is needed       (worst)
    refusing    it refuses everything
    retrying    something is being tried again
    ok          none of these                              stopped: the loop has ended

Invariants (tests/deliver/test_trouble.py):
  T1  the state is that of the worst trouble there is; with none it is ok
  T2  degraded is said once, when trouble starts, and recovered when the last one ends well
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import Fatal
from ..telemetry import Telemetry
from .retry import describe
from .view import Clock


class SinkState(StrEnum):
    OK = "ok"
    RETRYING = "retrying"
    REFUSING = "refusing"
    FAILED = "failed"
    STOPPED = "stopped"


_RANK = {SinkState.RETRYING: 1, SinkState.REFUSING: 2, SinkState.FAILED: 3}


@dataclass(slots=True)
class Troubles:
    """Owned by one sink's delivery. `about` is any object or name that stands for what is in trouble."""

    name: str
    telemetry: Telemetry
    clock: Clock
    last_error: str = ""
    last_error_ns: int = 0
    stopped: bool = False
    stopping: bool = False             # what ends now was called off, and is not well again
    on_note: Callable[[], None] = lambda: None
    _now: dict[object, SinkState] = field(default_factory=dict)
    _due_s: dict[object, float] = field(default_factory=dict)

    def note(self, about: object, error: BaseException, state: SinkState | None = None, pause_s: float | None = None) -> None:
        """`about` failed, and is tried again after `pause_s`. The state follows from the error's class unless it is given."""
        self.last_error, self.last_error_ns = self.telemetry.scrub(describe(error)), self.clock.wall_ns()
        state = state or (SinkState.FAILED if isinstance(error, Fatal) else SinkState.RETRYING)
        self._now[_name(about)] = state
        if pause_s is not None:
            self._due_s[_name(about)] = self.clock.now_s() + pause_s
        self.telemetry.degraded(f"sink:{self.name}", f"{state.value}: {self.last_error}")
        self.on_note()

    def clear(self, about: object) -> None:
        """`about` is well, or given up. Cheap where it never failed."""
        if not self._now:
            return
        self._due_s.pop(_name(about), None)
        if self._now.pop(_name(about), None) is not None and not self._now:
            self.telemetry.recovered(f"sink:{self.name}", said=not self.stopping)

    @property
    def next_try_s(self) -> float | None:
        """In how many seconds the first thing in trouble is tried again; None where nothing waits for that."""
        return max(0.0, min(self._due_s.values()) - self.clock.now_s()) if self._due_s else None

    @property
    def state(self) -> SinkState:
        if self.stopped:
            return SinkState.STOPPED
        return max(self._now.values(), key=_RANK.__getitem__, default=SinkState.OK)


def _name(about: object) -> object:
    return about if isinstance(about, str) else id(about)
