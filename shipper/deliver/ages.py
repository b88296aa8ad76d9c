"""How old records are, where the wall clock is set forward while they wait. Pure: clocks in, times out.

    read by the old clock ........... b │ + d │ ........... read by the new one          (b: what the old clock said, d: the jump)

Frames carry the wall clock of their reading. A clock that jumps (NTP after a boot with a wrong one, a machine that was
suspended) would make all that waits so much older, and `max_backlog_age` would drop it in one go.

Invariants (tests/deliver/test_ages.py):
  AG1  what was read before a jump of more than JUMP_S is as old after it as it was before it
  AG2  a clock that is set back makes nothing older; what was read before it is kept so much longer
  AG3  what is remembered is of this process: after a restart the wall clock alone counts
"""
from __future__ import annotations

JUMP_S = 5.0
MOST_JUMPS = 16


class Ages:
    """Looks at both clocks whenever somebody asks; between two looks they should have gone on alike."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._jumps: list[tuple[int, int]] = []

    def look(self, now_s: float, wall_ns: int) -> float:
        """`now_s`: a clock that nobody sets. By how many seconds the wall clock has jumped forward since the last look, or 0."""
        last, self._last = self._last, (now_s, wall_ns)
        if last is None:
            return 0.0
        expected_ns = last[1] + int((now_s - last[0]) * 1e9)
        ahead_ns = wall_ns - expected_ns
        if ahead_ns <= JUMP_S * 1e9:
            return 0.0
        self._jumps = [*self._jumps, (expected_ns, ahead_ns)][-MOST_JUMPS:]
        return ahead_ns / 1e9

    def by_todays_clock(self, read_ns: int) -> int:
        """When something was read, as the clock of today would have said it (AG1)."""
        return read_ns + sum(ahead_ns for before_ns, ahead_ns in self._jumps if read_ns <= before_ns)

    def as_written(self, today_ns: int) -> int:
        """The other way round: what frames of that time carry. What is between two clocks nobody has read."""
        for before_ns, ahead_ns in reversed(self._jumps):
            if today_ns >= before_ns + ahead_ns:
                break
            today_ns -= ahead_ns
        return today_ns
