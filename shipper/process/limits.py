"""The token buckets of all rate limits: one object, owned by the agent, outliving reloads and rotations. Pure.

Invariants (tests/process/test_limit.py):
  T1  at most MOST_BUCKETS (P7); the one unused longest goes first, and begins full again
  T2  a bucket holds at most `burst` seconds' worth, and at least one record, else nothing would ever pass
"""
from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ..config.process_redact import Limit

MOST_BUCKETS = 10_000


@dataclass(slots=True)
class Bucket:
    """Records and bytes that may pass now; negative: debt. `since_s`: when it was filled last."""

    records: float
    size: float
    since_s: float


class Limits:
    """All buckets of the agent, by (limit's name, value, its rates): two limits without a name are
    two. `delays`: False for `run --once`, which has to end."""

    def __init__(self, most: int = MOST_BUCKETS) -> None:
        self._buckets: OrderedDict[tuple[str, bytes, float | None, float | None], Bucket] = OrderedDict()
        self._most = most
        self.delays = True

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, limit: Limit, name: str, value: bytes, now_s: float) -> Bucket:
        """The bucket of this value, filled up to `now_s`."""
        most_records, most_bytes = (limit.records_per_s or 0.0) * limit.burst, (limit.bytes_per_s or 0) * limit.burst
        key = name, value, limit.records_per_s, limit.bytes_per_s
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = Bucket(max(1.0, most_records), max(1.0, most_bytes), now_s)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
            return found
        self._buckets.move_to_end(key)
        passed_s = max(0.0, now_s - found.since_s)
        found.records = min(max(1.0, most_records), found.records + passed_s * (limit.records_per_s or 0.0))
        found.size = min(max(1.0, most_bytes), found.size + passed_s * (limit.bytes_per_s or 0))
        found.since_s = max(found.since_s, now_s)         # a flush asks for the past; those seconds were paid out already
        return found
