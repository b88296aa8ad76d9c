"""When is a file done, when is a record closed by time? Pure: facts in, verdict out.

    at its end ─┬─ live ─────────────────────────────────────────────► WAIT (somebody may write)
                ├─ compressed ───────────────────────────────────────► FINISH
                ├─ something new at this look ───────────────────────► WAIT
                ├─ renamed, no successor, not deleted ───────────────► WAIT (the runtime has not reopened yet)
                ├─ an unfinished line, younger than the time-out ────► WAIT
                └─ else ─────────────────────────────────────────────► FINISH

Invariants:
  E1  a renamed file is not done before its successor is there: its writer may still hold it open
  E2  an unfinished line is given partial_timeout; with `run --once` nobody waits
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    WAIT = auto()
    FINISH = auto()


@dataclass(frozen=True, slots=True)
class AtEnd:
    """A file that was read to its end. `rest_age_s`: how long its unfinished last line has not grown."""

    live: bool
    compressed: bool
    deleted: bool
    successor: bool
    lineage_gone: bool
    progress: bool
    rest_bytes: int
    rest_age_s: float
    patience_s: float


def verdict(at: AtEnd) -> Verdict:
    """See the picture above."""
    if at.compressed:
        return Verdict.FINISH
    if at.live or at.progress or not (at.successor or at.deleted or at.lineage_gone):
        return Verdict.WAIT
    if at.rest_bytes and at.rest_age_s < at.patience_s:
        return Verdict.WAIT
    return Verdict.FINISH


def may_close_open_records(*, oldest_age_s: float, patience_s: float, files: int, unread_bytes: int) -> bool:
    """Only when we are read to the end of the newest file: being late is no reason to tear a record."""
    return oldest_age_s >= patience_s and files <= 1 and unread_bytes <= 0
