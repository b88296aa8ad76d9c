"""`when`: which records a sink takes: by their source, decided once per source, and by severity, decided per record.

    when: {namespace: [payments, "team-*"], labels: {app: [web]}, severity: [">=WARNING"]}

Invariants (tests/deliver/test_route.py):
  R1  a route says the same of a record however its batch is cut
  R2  without `severity` no record is looked at: a batch that is routed is the very batch
Pure. What a `when` means for a source is config/matching.py, which processing rules share. Hot: once per source; with
`severity` one comprehension per batch.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..config.matching import Predicate, compile_when
from ..config.when import SEVERITY
from ..model import Batch, Source
from ..severity import chosen

__all__ = ["Pick", "Predicate", "Route", "compile_when", "pick_of"]

Pick = Callable[[Batch], list[bool] | None]
"""The flags of the records that are wanted, None where all are."""


class Route:
    """A predicate over sources that also knows which severities are wanted (None: any)."""

    def __init__(self, when: Mapping[str, Any] | None) -> None:
        self._matches = compile_when(when)
        self.severities = chosen(when[SEVERITY]) if when and SEVERITY in when else None

    def __call__(self, source: Source) -> bool:
        return self._matches(source)

    def pick(self, batch: Batch) -> list[bool] | None:
        """See Pick. A batch that nobody looked for severities in has none."""
        wanted, severities = self.severities, batch.severities
        if wanted is None:
            return None
        if severities is None:
            return None if b"" in wanted else [False] * len(batch)
        flags = [severity in wanted for severity in severities]
        return None if all(flags) else flags


def pick_of(routed: Predicate) -> Pick | None:
    """What `routed` asks of single records; None for nothing (R2)."""
    return routed.pick if isinstance(routed, Route) and routed.severities is not None else None
