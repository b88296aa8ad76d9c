"""When a sink's oldest records have to go: `when_full: drop_oldest` and `max_backlog`. Pure. Once per look, not per record.

Invariants (tests/deliver/test_dropping.py):
  D1  `block` without a max_backlog drops nothing, ever
  D2  with `drop_oldest` only the sink that is furthest behind drops, and only while the buffer is full
  D3  what is dropped has a reason, and the reason is the limit that was passed
"""
from __future__ import annotations

from typing import NamedTuple

from ..errors import DropReason

STEP_BYTES = 16 * 1024 * 1024
"""How much drop_oldest gives away before it looks again: the buffer frees whole segments of this size."""


class Limits(NamedTuple):
    """A sink's own settings (SinkCommon)."""

    drop_oldest: bool = False
    max_bytes: int | None = None
    max_age_s: float | None = None

    @property
    def any(self) -> bool:
        return self.drop_oldest or self.max_bytes is not None or self.max_age_s is not None


class Facts(NamedTuple):
    """backlog_bytes: source bytes behind the cursor; oldest_ns: when the oldest of them was read, 0 where unknown."""

    backlog_bytes: int
    oldest_ns: int
    now_ns: int
    buffer_full: bool
    furthest_behind: bool


class Drop(NamedTuple):
    """Give away whole frames, from the cursor on, until one of these holds: so many bytes, or a frame read after that."""

    reason: DropReason
    source_bytes: int
    read_before_ns: int


def due(limits: Limits, facts: Facts) -> Drop | None:
    """What has to be dropped now, or None."""
    if not facts.backlog_bytes:
        return None
    if limits.max_bytes is not None and facts.backlog_bytes > limits.max_bytes:
        return Drop(DropReason.MAX_BACKLOG, facts.backlog_bytes - limits.max_bytes, facts.now_ns)
    if limits.max_age_s is not None and facts.oldest_ns:
        oldest_kept_ns = facts.now_ns - int(limits.max_age_s * 1e9)
        if facts.oldest_ns < oldest_kept_ns:
            return Drop(DropReason.MAX_BACKLOG, facts.backlog_bytes, oldest_kept_ns)
    if limits.drop_oldest and facts.buffer_full and facts.furthest_behind:
        return Drop(DropReason.DROP_OLDEST, STEP_BYTES, facts.now_ns)
    return None
