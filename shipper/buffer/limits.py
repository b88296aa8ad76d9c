"""How much the buffer may use, and what is full. Pure.

Invariants (tests/buffer/test_limits.py):
  L1  used never passes max_size, and the filesystem never 90 %, by more than what is already in flight
  L2  full and not full are HYSTERESIS apart, so that reading does not flap with each segment or foreign write
  L3  segments are small against max_size, so that removing the oldest ones always makes room
"""
from __future__ import annotations

from dataclasses import dataclass

from .files import Space

MIB = 1024 * 1024
RESERVED_SHARE = 10  # one tenth of the filesystem is not ours
HEADROOM_BYTES = MIB
BALLAST_BYTES = 4 * MIB
QUARANTINE_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes used in the state directory: by segments, by quarantine, by spools and dead letters."""

    segments: int = 0
    quarantine: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        return self.segments + self.quarantine + self.others


def limit_bytes(max_size: int, used_bytes: int, space: Space | None) -> int:
    """What may be used in all: max_size, or what the 90 % of the filesystem leave beside everybody else's files."""
    if space is None:
        return max_size
    reserved = space.total_bytes // RESERVED_SHARE
    return max(0, min(max_size, used_bytes + space.free_bytes - reserved))


def headroom_bytes(max_size: int) -> int:
    """What is kept free for frames in flight when `full` is said."""
    return min(HEADROOM_BYTES, max_size // 16)


def is_full(was_full: bool, used_bytes: int, allowed_bytes: int, max_size: int) -> bool:
    """L2: full within one headroom of the limit, not full again two headrooms below it."""
    headroom = headroom_bytes(max_size)
    return used_bytes > allowed_bytes - headroom * (2 if was_full else 1)


def effective_segment_bytes(segment_size: int, max_size: int) -> int:
    """L3: at least eight segments fit."""
    return max(4096, min(segment_size, max_size // 8))
