"""Splunk's indexer acknowledgement: which requests wait for theirs, and up to which all have one. Pure; time is an argument.

    sent(number, ack) ─► waiting ── acked ─► taken ─► confirmed up to the number in front of the first that still waits

Invariants (tests/sinks/test_splunk_hec.py):
  SA1  a number is confirmed only when it and all sent before it were acknowledged; each only once
  SA2  what was learnt for a channel that is gone is void: `clear` forgets everything
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class Acks:
    """Request numbers in the order in which they were sent."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, tuple[int, float]] = OrderedDict()
        self._taken: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self, number: int, ack: int, now_s: float) -> None:
        self._waiting[number] = (ack, now_s)

    def asked(self, most: int = 1000) -> list[int]:
        """Acknowledgement ids to ask for, the oldest first."""
        return [ack for number, (ack, _) in list(self._waiting.items()) if number not in self._taken][:most]

    def acked(self, acks: Iterable[int]) -> int | None:
        """The highest number that this newly confirms (SA1); None where it confirms none."""
        numbers = {ack: number for number, (ack, _) in self._waiting.items()}
        self._taken.update(numbers[ack] for ack in acks if ack in numbers)
        confirmed = None
        while self._waiting and next(iter(self._waiting)) in self._taken:
            confirmed, _ = self._waiting.popitem(last=False)
            self._taken.discard(confirmed)
        return confirmed

    def oldest_s(self) -> float | None:
        """When the oldest was sent that still waits."""
        return next(iter(self._waiting.values()))[1] if self._waiting else None

    def clear(self) -> None:
        """SA2."""
        self._waiting.clear()
        self._taken.clear()
