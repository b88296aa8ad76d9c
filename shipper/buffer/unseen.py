"""Positions of files that are not there any more: kept for a while, for they may come back, then forgotten. Pure.

Invariants (tests/buffer/test_unseen.py):
  UN1  what exists is not forgotten, however many there are; nor is a file that is not read to its end before its time
  UN2  what is forgotten takes nothing along: its bytes are retired (positions.P4), its lost ranges go, and so does a lineage
       that has no other file
Plane: each hour, once.
"""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .positions import Delta, Positions

KEEP_S = 7 * 86400.0
MAX_FILES = 50_000
SEEN_EVERY_S = 3600.0
"""How old `seen_s` of a file that exists may become before it is written anew: so often would each call write all of them."""


def plan_seen(positions: Positions, keys: Collection[str], now_s: float, keep_s: float = KEEP_S, limit: int = MAX_FILES) -> Delta:
    """`keys` exist now (wall clock `now_s`). Others unseen for `keep_s` are forgotten, and the oldest closed ones beyond
    `limit`."""
    delta = Delta(positions.seq)
    for key in keys:
        found = positions.files.get(key)
        if found is not None and now_s - found.seen_s > SEEN_EVERY_S:
            delta.files[key] = replace(found, seen_s=now_s)
    gone = _gone(positions, set(keys), now_s - keep_s, limit)
    if gone:
        _forget(positions, delta, gone)
    return delta


def _gone(positions: Positions, known: set[str], before_s: float, limit: int) -> set[str]:
    unseen = [p for key, p in positions.files.items() if key not in known]
    gone = {p.file.key for p in unseen if p.seen_s < before_s}
    excess = len(positions.files) - len(gone) - limit
    if excess > 0:
        oldest = sorted((p for p in unseen if p.closed and p.file.key not in gone), key=lambda p: p.seen_s)
        gone.update(p.file.key for p in oldest[:excess])
    return gone


def _forget(positions: Positions, delta: Delta, gone: set[str]) -> None:
    """UN2."""
    delta.gone = tuple(gone)
    delta.retired_bytes = sum(positions.files[key].read_bytes for key in gone)
    if any(entry.file.key in gone for entry in positions.lost):
        delta.lost = tuple(entry for entry in positions.lost if entry.file.key not in gone)
    gone_lineages = []
    for name in {positions.files[key].file.source.lineage for key in gone} & positions.lineages.keys():
        lineage = positions.lineages[name]
        keys = tuple(key for key in lineage.keys if key not in gone)
        if keys:
            delta.lineages[name] = replace(lineage, keys=keys)
        else:
            gone_lineages.append(name)
    delta.gone_lineages = tuple(gone_lineages)
