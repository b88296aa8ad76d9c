"""Payloads, and what the ranges of BigQuery's Storage Write API are (_planner.py): when they are due, what their manifests say.

Invariants (tests/sinks/test_bigquery_write.py):
  BW1  a range holds rows of one table and one descriptor
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..encode.bigquery_proto import TOO_LARGE, Rows
from ..errors import Rejected, TooLarge
from . import SinkContext
from ._bigquery_write_chain import Plan
from ._bigquery_write_range import Range
from ._plan_store import PlanStore

RANGE_BYTES = 4 * 1024 * 1024
RANGE_S = 0.5


class Payload(NamedTuple):
    """Of one batch or request. descriptor: of its rows; bad: what is wrong with which records; then there are no rows."""

    descriptor: bytes
    rows: Sequence[Rows]
    bad: Mapping[int, str]
    records: int

    @property
    def size_bytes(self) -> int:
        return sum(len(piece.data) for piece in self.rows)


def joined(pieces: Sequence[Payload]) -> Payload:
    """Of one request. TooLarge and Rejected where something is wrong with records."""
    bad: dict[int, str] = {}
    count = 0
    for piece in pieces:
        bad |= {count + index: words for index, words in piece.bad.items()}
        count += piece.records
    if bad:
        large = tuple([index for index, words in bad.items() if words.startswith(TOO_LARGE)])
        words = next(iter(bad.values()))
        raise TooLarge(words, indexes=large) if large else Rejected(words, indexes=tuple(bad))
    return Payload(pieces[0].descriptor if pieces else b"", [rows for piece in pieces for rows in piece.rows], {}, count)


class Ranges:
    """The Kind of Planner. table: where ranges go from now on; plans: all of the sink's, in order; on_planned: called when one is
    durable. `store` is the planner's."""

    store: PlanStore

    def __init__(self, context: SinkContext, now_s: Callable[[], float], on_planned: Callable[[], None]) -> None:
        self._context, self._now_s, self._on_planned = context, now_s, on_planned
        self.table = ""
        self.plans: list[Plan] = []

    @property
    def tick_s(self) -> float:
        return RANGE_S / 4

    def begin(self, number: int, began_s: float, began_bytes: int, data: Payload) -> Range:
        return Range(self.store, number, self.table, data.descriptor, began_s, began_bytes)

    def is_due(self, growing: Range, data: Payload | None) -> bool:
        return (growing.size_bytes >= RANGE_BYTES or self._now_s() - growing.began_s >= RANGE_S
                or (data is not None and not self.fits(growing, data)))

    def fits(self, growing: Range, data: Payload) -> bool:
        """BW1."""
        return (growing.table, growing.descriptor) == (self.table, data.descriptor)

    def plan(self, growing: Range, receipt: dict[str, Any]) -> Plan:
        plan = Plan(growing.number, self._manifest(growing, receipt), growing.last_request, written=False)
        self.plans.append(plan)
        return plan

    def _manifest(self, growing: Range, receipt: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": 1, "buffer": self._context.plans.buffer_id, "receipt": receipt, "table": growing.table,
            "descriptor": growing.descriptor.hex(), "size": growing.size_bytes, "crc32": growing.crc32,
            "blocks": [block.to_json() for block in growing.blocks],
        }

    def planned(self, plan: Plan) -> None:
        self._on_planned()

    @property
    def holding(self) -> int:
        return sum(1 for plan in self.plans if not plan.confirmed)
