"""What becomes of a request that is decided: dead records to the disk, then the cursor may pass. Driver: once per request.

    carry ─► outcome ─┬─ dead, and nothing was accepted ─► held: until the sink takes something, or nothing else is left to ask
                      └─ else ──────────────────────────► settled: bury (fsync) ─► handed ("later" sinks) or done ─► passed

Invariants (tests/deliver/test_refusals.py, test_faults.py):
  ST1  an entry is passed only when its dead records are on disk
  ST2  what was refused becomes a dead letter only with proof that the sink takes others (split.V4)
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ..errors import Retryable
from .account import Position
from .courier import Outcome
from .dead_letters import DeadLetters
from .retry import Interrupted, Persistence
from .split import Candidate, Refusals
from .trouble import Troubles
from .view import Clock
from .window import Entry, Window


@dataclass(slots=True)
class Settling:
    """Of one sink. `advance`: called when an entry may be passed. `since_s`: when the newest one was held."""

    window: Window
    refusals: Refusals
    letters: DeadLetters
    patient: Persistence
    trouble: Troubles
    clock: Clock
    later: bool
    called_off: Callable[[], bool]
    advance: Callable[[], object]
    since_s: float = 0.0
    _held: list[tuple[Entry, Outcome]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    @property
    def held_records(self) -> int:
        return sum(len(candidate.batch) for _, outcome in self._held for candidate in outcome.dead)

    async def decided(self, entry: Entry, outcome: Outcome, start: Position) -> None:
        """ST2. Raises Interrupted where it was called off."""
        if outcome.dead and not (outcome.accepted or self.refusals.lifted(start)):
            self.window.hold(entry)
            self._held.append((entry, outcome))
            self.since_s = self.clock.now_s()
            self.refusals.request_refused()
        else:
            await self._settle(entry, outcome)

    async def proven(self) -> None:
        """Something was accepted since they were refused: it is the records, not the sink."""
        held, self._held = self._held, []
        for entry, outcome in held:
            await self._settle(entry, outcome)

    async def decide(self) -> bool:
        """A refused request, and nothing behind it that could tell whose fault it is. A sink that took others before is
        believed once; the next such request in a row makes it `refusing`: False."""
        if not self.refusals.ever_accepted:
            return False
        with suppress(Interrupted):              # called off: they come again
            await self.proven()
        return True

    def clear(self) -> None:
        """They come again."""
        self._held.clear()

    async def _settle(self, entry: Entry, outcome: Outcome) -> None:
        """ST1."""
        if dead := outcome.dead + outcome.certain:
            self.window.hold(entry)
            await self._bury(dead)
            for candidate in dead:
                entry.tally.bury(candidate.batch, candidate.reason.value)
        if self.later and outcome.accepted:
            self.window.handed(entry)
        else:
            self.window.done(entry)
        self.advance()

    async def _bury(self, candidates: list[Candidate]) -> None:
        async def write() -> None:
            try:
                await self.letters.write(candidates, self.clock.wall_ns())
            except OSError as error:
                raise Retryable(f"cannot write dead letters: {error}; make room or mend the state directory") from error

        try:
            await self.patient.persist(
                write, self.called_off, lambda error, pause_s: self.trouble.note("disk", error, pause_s=pause_s))
        finally:                                 # called off, it is nobody's trouble any more
            self.trouble.clear("disk")
