"""Is there room for more? What the writer thread last said, and what has been given to it since. Pure but for telemetry.

    submitted ──► expected bytes, until the frame is in the page cache (or abandoned) ──► part of `usage`

Invariants (tests/buffer/test_driver.py):
  RM1  a writer that is late does not let the reader put megabytes into the last one (limits.L1): what waits counts
  RM2  each reason why the disk takes no frames at present is said when it begins, as it changes, and when it ends
"""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model import Section
from ..telemetry import Telemetry
from .jobs import BUFFER_FULL, Outcome
from .limits import Usage, is_full

RECORD_BYTES, SECTION_BYTES = 48, 512  # what a frame holds beside messages, about: time, stream, id; file and positions


@dataclass(slots=True)
class Room:
    """Of one buffer. `usage`, `limit_bytes`: as of the writer's last step."""

    telemetry: Telemetry
    max_size: int
    usage: Usage = field(default_factory=Usage)
    limit_bytes: int = 0
    _submitted: deque[tuple[int, int]] = field(default_factory=deque)      # (seq, expected bytes) that `usage` does not have yet
    _submitted_bytes: int = 0
    _degraded: dict[str, str] = field(default_factory=dict)

    def submitted(self, seq: int, sections: Sequence[Section], records: int) -> None:
        """Frame `seq` is on its way."""
        expected_bytes = sum([section.held_bytes + SECTION_BYTES for section in sections]) + RECORD_BYTES * records
        self._submitted.append((seq, expected_bytes))
        self._submitted_bytes += expected_bytes

    def settled(self, seq: int) -> None:
        """The frames up to `seq` are not on their way any more."""
        while self._submitted and self._submitted[0][0] <= seq:
            self._submitted_bytes -= self._submitted.popleft()[1]

    def told(self, outcome: Outcome) -> None:
        """What the writer says of its last step."""
        self.usage, self.limit_bytes = outcome.usage, outcome.limit_bytes

    def say(self, degraded: dict[str, str]) -> None:
        """RM2."""
        for reason, why in degraded.items():
            if self._degraded.get(reason) != why:
                self.telemetry.degraded(reason, why)
        for reason in self._degraded.keys() - degraded.keys():
            self.telemetry.recovered(reason)
        self._degraded = degraded

    @property
    def full(self) -> bool:
        """No room, what is on its way included (RM1), or the disk does not take writes at present."""
        if self._degraded:
            return True
        waiting_bytes = self._submitted_bytes
        return waiting_bytes > 0 and is_full(False, self.usage.total + waiting_bytes, self.limit_bytes, self.max_size)

    @property
    def out_of_it(self) -> bool:
        """`full` for want of room in the buffer, which moving a cursor can mend (drop_oldest)."""
        return BUFFER_FULL in self._degraded
