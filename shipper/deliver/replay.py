"""Dead letters on their way to their sink once more, beside the stream. Pure but for futures.

    add ──► waiting ──launch──► under way ──passed──► done: what was refused again
               ▲                   │ the stream goes back to its cursor
               └───────────────────┘

Invariants (tests/deliver/test_replay.py):
  Y1  a letter counts as delivered when the sink has it as it has any record: the entry was confirmed and passed, in order
  Y2  what was not confirmed when the stream goes back is sent again; what is not confirmed at the end stays a dead letter
  Y3  what is refused again is no new dead letter, and makes no sink `refusing`
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import DropReason
from ..model import Batch
from .split import Candidate
from .window import Entry


@dataclass(slots=True, eq=False)
class Replay:
    """`letters`: one record each, and the reason it died of. `done` gives what was refused again."""

    letters: Sequence[tuple[Batch, str]]
    done: asyncio.Future[list[Candidate]]
    entry: Entry | None = None
    refused: list[Candidate] = field(default_factory=list)

    @property
    def delivered(self) -> list[tuple[Batch, str]]:
        """The letters that were not refused again."""
        dead = {(batch.key, item) for batch, _, _ in self.refused for item in batch.ids}
        return [(batch, reason) for batch, reason in self.letters if (batch.key, batch.ids[0]) not in dead]


class Replays:
    """Those of one sink."""

    def __init__(self) -> None:
        self.waiting: deque[Replay] = deque()
        self._under_way: list[Replay] = []

    def add(self, letters: Sequence[tuple[Batch, str]]) -> Replay:
        replay = Replay(letters, asyncio.get_running_loop().create_future())
        self.waiting.append(replay)
        return replay

    def launch(self, entry: Entry) -> Replay:
        """The next one is covered by `entry`."""
        replay = self.waiting.popleft()
        replay.entry, replay.refused = entry, []
        self._under_way.append(replay)
        return replay

    @property
    def under_way(self) -> int:
        """How many were launched and are not delivered yet."""
        return len(self._under_way)

    def refused_again(self, dead: Mapping[str, str]) -> set[str]:
        """Letters under way whose plan could not deliver them, of these ids: they stay in the store. Which of them are known."""
        known: set[str] = set()
        for replay in self._under_way:
            for batch, _ in replay.letters:
                name = f"{batch.key}:{batch.ids[0].decode('ascii', 'replace')}"
                if name in dead:
                    known.add(name)
                    replay.refused = [*replay.refused, Candidate(batch, DropReason.REJECTED, dead[name])]
        return known

    def passed(self) -> Iterable[Replay]:
        """Those that are delivered now (Y1)."""
        done = [replay for replay in self._under_way if replay.entry is not None and replay.entry.passed]
        self._under_way = [replay for replay in self._under_way if replay not in done]
        return done

    def rewind(self) -> None:
        """Y2. What is part of a plan is delivered by the plan, as its entry stays in the window (window.W7)."""
        planned = [replay for replay in self._under_way if replay.entry is not None and replay.entry.planned]
        self.waiting.extendleft(reversed([replay for replay in self._under_way if replay not in planned]))
        self._under_way = planned

    def fail(self, error: Exception) -> None:
        """The sink ends."""
        ended = [*self._under_way, *self.waiting]
        self._under_way = []
        self.waiting.clear()
        for done in [replay.done for replay in ended]:
            if not done.done():
                done.set_exception(error)
                done.exception()                 # seen: whoever asked may have gone
