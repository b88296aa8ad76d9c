"""A sink that refuses everything: held, said, and asked with single records (probe.py). Driver: each 30 s.

Invariants (tests/deliver/test_refusals.py):
  RF1  while it refuses, nothing is dead-lettered; it ends with the first record that is taken, or with nothing to ask with
"""
from __future__ import annotations

from dataclasses import dataclass

from ..errors import Rejected, ShipperError
from .goals import Goals
from .probe import probe
from .route import Predicate
from .split import Refusals
from .trouble import SinkState, Troubles
from .view import BufferView, SinkView
from .window import Window


@dataclass(slots=True)
class Refusing:
    """Of one sink. `active`: it refuses everything at present. `draining`: then nobody waits for it."""

    name: str
    sink: SinkView
    buffer: BufferView
    window: Window
    routed: Predicate
    refusals: Refusals
    trouble: Troubles
    goals: Goals
    active: bool = False
    draining: bool = False

    def start(self, reason: str) -> None:
        """100 records, or two requests, in a row."""
        said = reason or "no reason given"
        self._note(Rejected(f"everything is refused: {said}; check its address, path and credentials"))
        self.active = True
        self.refusals.start_over()

    def accepted(self) -> None:
        """Some records were taken: whatever is refused, it is not everything."""
        if self.active:
            self.active = False
            self.trouble.clear("refusing")

    async def ask(self) -> None:
        """RF1. One round."""
        answer = await probe(self.sink, self.buffer, self.window, self.routed)
        if answer.accepted is not None:
            self.refusals.accepted()
            self.refusals.lifted_until = answer.accepted
        if answer.accepted is not None or not answer.asked:
            self.accepted()
        else:
            self._note(answer.error or Rejected("everything is refused"))

    def _note(self, why: ShipperError) -> None:
        self.trouble.note("refusing", why, SinkState.REFUSING)
        if self.draining:
            self.goals.fail(f"sink {self.name} refuses everything")
