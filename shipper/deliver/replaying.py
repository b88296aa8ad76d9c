"""Replayed letters as requests beside the stream. Driver: once per replay.

Invariants (tests/deliver/test_replay.py): those of replay.py, and
  YD1  letters that are not taken hold up the cursor only of a sink that confirms in order ("later")
"""
from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import Batch
from .account import Tally
from .courier import Courier
from .form import Span
from .progress import Progress
from .replay import Replay, Replays
from .window import Entry, Window


@dataclass(slots=True)
class Replaying:
    """Of one sink. `advance`: called when an entry may be passed."""

    progress: Progress
    courier: Courier
    later: bool
    advance: Callable[[], object]
    replays: Replays = field(default_factory=Replays)

    @property
    def _window(self) -> Window:
        return self.progress.window

    def launch(self) -> Coroutine[Any, Any, None]:
        """The next one. An entry that covers nothing of the buffer, and moves the cursor nowhere; it stands beside the window
        where it need not be confirmed in its turn (YD1)."""
        end = self._window.end
        entry = self._window.launch(end, Tally()) if self.later else Entry(self._window.next_number(), end, Tally())
        replay = self.replays.launch(entry)
        batches: Sequence[Batch] = [batch for batch, _ in replay.letters]
        message_bytes = sum(len(batch.messages[0]) for batch in batches)
        return self._carry(entry, replay, Span(end, end, [*batches], len(batches), message_bytes, replayed=True))

    async def _carry(self, entry: Entry, replay: Replay, span: Span) -> None:
        outcome = await self.courier.carry(entry, span)
        replay.refused = outcome.dead + outcome.certain
        if not self.later:
            entry.passed = True
            self.finish()
        elif outcome.accepted:
            self._window.handed(entry)
        else:
            self._window.done(entry)
        self.advance()

    def finish(self) -> None:
        """Those whose entry was passed are delivered (replay.Y1)."""
        for replay in self.replays.passed():
            self.progress.revived(replay.delivered)
            if not replay.done.done():
                replay.done.set_result(replay.refused)
