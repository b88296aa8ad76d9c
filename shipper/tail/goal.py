"""What `run --once` reads to: the size that each file has when it is seen first. Pure but for the sizes.

Invariants:
  GO1  it ends: what is written to a file later is no part of it, a file that appears later is
"""
from __future__ import annotations

from collections.abc import Mapping

from .lineage import Lineage


class Goal:
    """Of one run."""

    def __init__(self, lineages: Mapping[str, Lineage]) -> None:
        self._lineages = lineages
        self._sizes: dict[str, dict[tuple[int, int], int]] = {}

    def not_reached(self) -> dict[str, None]:
        """The lineages that are not read to there, in order."""
        return dict.fromkeys(name for name, lineage in self._lineages.items() if self._is_short(name, lineage))

    def _is_short(self, name: str, lineage: Lineage) -> bool:
        sizes = self._sizes.setdefault(name, {})
        for file in lineage.files:
            sizes.setdefault(file.node_id, file.stat_size())
        if lineage.outbox or len(lineage.files) > 1 or any(f.compressed for f in lineage.files):
            return True
        return any(f.offset + f.rest_bytes < sizes[f.node_id] for f in lineage.files)
