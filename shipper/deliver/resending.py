"""Why a sink has to go back to its cursor, and how soon what is sent from there goes out. Pure.

    asked   the sink lost what it was sent, or a task of ours failed    ─┐
    short   a request was refused half way: it is held                  ─┴─► due ──with nothing being sent──► went

Invariants (tests/deliver/test_resending.py):
  RS1  the first time it goes at once; each further one, with nothing confirmed in between, waits as a failed request would
  RS2  what is due stays due until it went; a request that stopped short waits for nothing
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .retry import Backoff


@dataclass(slots=True)
class Resending:
    """Of one sink. `asked`: the error that it was asked for with, None where nobody asked."""

    backoff: Backoff
    uniform: Callable[[float, float], float]
    asked: Exception | None = None
    short: bool = False
    _in_a_row: int = 0

    @property
    def due(self) -> bool:
        return self.asked is not None or self.short

    def delay_s(self) -> float:
        """What was asked for begins now: how long it waits before its first request (RS1)."""
        self._in_a_row += 1
        return 0.0 if self._in_a_row == 1 else self.backoff.delay_s(self._in_a_row - 1, self.asked, self.uniform)

    def went(self) -> None:
        """RS2."""
        self.asked, self.short = None, False

    def confirmed(self) -> None:
        """Something was: the row ends."""
        self._in_a_row = 0
