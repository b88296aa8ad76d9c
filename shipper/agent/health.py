"""Is the agent itself stuck? Facts in, problems out; time is an argument.

Invariants (tests/agent/test_health.py):
  H1  unhealthy is only what a restart can mend: a loop or thread that is silent, or a stage that could move and does not
  H2  a dead sink, a retry, a full buffer or disk, reading that is held back, and having nothing to do are healthy
  H3  time in which nobody looked does not count: after SIGSTOP, a suspended machine or a starved CPU every stage gets
      its whole limit again
Plane: pure. `sample` is called each SAMPLE_EVERY_S.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SAMPLE_EVERY_S = 5.0
SILENT_AFTER_S = 30.0
STUCK_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One stage as it is seen now.

    has_input         there is something that it could take
    has_room          what it makes has somewhere to go (False: the buffer or disk is full, the next stage holds it back)
    waits_outside     it waits for the world: a peer, a back-off, a rate limit, a refused disk
    progress_counter  rises with each thing done; only its change counts
    stuck_after_s     how long it may stand still with input, room and nothing to wait for
    """

    name: str
    has_input: bool
    has_room: bool
    waits_outside: bool
    progress_counter: int
    stuck_after_s: float = STUCK_AFTER_S

    @property
    def could_move(self) -> bool:
        return self.has_input and self.has_room and not self.waits_outside


@dataclass(slots=True)
class Health:
    """Heartbeats of loop and threads, and the stages' progress.

    A heartbeat counts from its first `beat`.
    """

    silent_after_s: float = SILENT_AFTER_S
    _beats: dict[str, float] = field(default_factory=dict)
    _moved: dict[str, tuple[int, float, StageFacts]] = field(default_factory=dict)
    _sampled_s: float | None = None

    def beat(self, name: str, now_s: float) -> None:
        """`name` is alive now. May be called from that thread itself."""
        self._beats[name] = now_s

    def sample(self, stages: Iterable[StageFacts], now_s: float) -> None:
        """Take note of how far each stage is. A stage that is not listed any more is forgotten."""
        looked_away = self._sampled_s is None or now_s - self._sampled_s > 3 * SAMPLE_EVERY_S
        self._sampled_s = now_s
        if looked_away:                                                     # H3
            self._moved = {}
            self._beats = dict.fromkeys(self._beats, now_s)
        moved: dict[str, tuple[int, float, StageFacts]] = {}
        for stage in stages:
            before = self._moved.get(stage.name)
            stands_still = before is not None and before[0] == stage.progress_counter and stage.could_move
            since_s = before[1] if before is not None and stands_still else now_s
            moved[stage.name] = (stage.progress_counter, since_s, stage)
        self._moved = moved

    def problems(self, now_s: float) -> list[str]:
        """One sentence per thing that is stuck; [] means healthy."""
        found = [
            f"{name} silent for {now_s - last_s:.0f} s"
            for name, last_s in sorted(self._beats.items()) if now_s - last_s > self.silent_after_s
        ]
        for name, (_, since_s, stage) in sorted(self._moved.items()):
            if stage.could_move and now_s - since_s > stage.stuck_after_s:
                found.append(f"stage {name} has input and room and has not moved for {now_s - since_s:.0f} s")
        return found
