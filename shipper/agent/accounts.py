"""From what the buffer keeps (positions, cursors) to the facts of `audit` and `status`. The same with and without an agent.

    Positions.files, .lineages, .lost ─► FileAudit, FileFacts          cursor counters ─► SinkAudit

Invariants:
  O1  positions know gaps as sums by reason. What a file's position jumped over (skipped_bytes) lies in front of it:
      FROM_THE_START's from byte 0 on, other reasons without a place (`dropped`). What is left of a sum lies behind the
      position or in files that are gone: a gap with an unknown end, `at_least` that many bytes
  O2  lost ranges (a damaged frame's, to be read again) are not read: a gap until they are
Plane: pure.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..buffer.positions import FilePosition, Positions
from ..errors import GapReason
from ..model import Gap, Lost
from .audit import AuditFacts, FileAudit, SinkAudit
from .status import FileFacts

FROM_THE_START = (GapReason.START_AT_END, GapReason.READ_BEFORE, GapReason.IMPORTED)
"""What was there before us. A file has one of them at most: each is said before its first byte is read."""


def audit_facts(
    positions: Positions, sinks: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int] | None = None,
) -> AuditFacts:
    """`sinks`: sink name -> its cursor's counters; `sizes`: file key -> size now (bytes, uncompressed), where known."""
    open_bytes = _open_bytes(positions)
    lost: dict[str, list[Lost]] = {}
    for entry in positions.lost:
        lost.setdefault(entry.file.key, []).append(entry)
    elsewhere = _dropped_elsewhere(positions)
    files = [
        _file_audit(found, lost.get(key, ()), (sizes or {}).get(key, found.size), open_bytes.get(key, 0), elsewhere.get(key, {}))
        for key, found in positions.files.items()
    ]
    files.sort(key=lambda f: (f.path, f.key))
    total = positions.total_bytes
    return AuditFacts(files, {name: sink_audit(each, total) for name, each in sinks.items()}, total, positions.retired_bytes)


def file_facts(positions: Positions, now_s: float, sizes: Mapping[str, int] | None = None) -> list[FileFacts]:
    """All files, by path. The lag in seconds is the time since the last record that was read."""
    facts = []
    for key, found in positions.files.items():
        size = (sizes or {}).get(key, found.size)
        behind = size > found.offset and not found.closed
        lag_s = max(0.0, now_s - found.last_ns / 1e9) if behind and found.last_ns else 0.0
        state = "closed" if found.closed else "behind" if behind else "read"
        facts.append(FileFacts(key, found.file.path, found.file.source.name, size, found.offset, lag_s, state))
    return sorted(facts, key=lambda f: (f.path, f.key))


def sink_audit(counters: Mapping[str, Any], total_bytes: int) -> SinkAudit:
    """One sink's sums; a sink without counters has had nothing yet."""
    return SinkAudit(
        delivered_bytes=int(counters.get("delivered_bytes", 0)),
        held_bytes=total_bytes - int(counters.get("total_bytes", 0)),
        dead_bytes=sum(int(pair[1]) for pair in counters.get("dead", {}).values()),
        dropped={reason: int(pair[1]) for reason, pair in counters.get("dropped", {}).items()},
        unrouted_bytes=int(counters.get("unrouted_bytes", 0)),
        before_start_bytes=int(counters.get("before_start_bytes", 0)),
        dead_files=dict(counters.get("dead_files", {})),
        dropped_files=dict(counters.get("dropped_files", {})),
        unrouted_files=dict(counters.get("unrouted_files", {})),
    )


def _file_audit(
    found: FilePosition, lost: Iterable[Lost], size_bytes: int, open_bytes: int, dropped_elsewhere: Mapping[str, int],
) -> FileAudit:
    gaps = [Gap(entry.start, entry.end, GapReason.BUFFER_DAMAGED) for entry in lost]                 # O2
    dropped: dict[str, int] = {}
    left = found.skipped_bytes
    for reason, count in sorted(found.gaps.items(), key=lambda pair: pair[0] not in FROM_THE_START):
        jumped = min(left, count)
        left -= jumped
        if jumped and reason in FROM_THE_START:
            gaps.append(Gap(0, jumped, reason))
        elif jumped:
            dropped[reason] = jumped
        if count > jumped or not count:          # 0: something went unread, and nobody can know how much
            gaps.append(Gap(found.offset, -1, reason, count - jumped))
    for reason, count in (*found.drops.items(), *dropped_elsewhere.items()):   # filtered, rate_limited: in front of the buffer
        if reason.endswith(":bytes"):
            name = reason.removesuffix(":bytes")
            dropped[name] = dropped.get(name, 0) + count
    return FileAudit(
        found.file.key, found.file.path, size_bytes, found.offset, found.read_bytes, sorted(gaps), dropped, open_bytes,
        found.skipped_bytes, sum(entry.end - entry.start for entry in lost),
    )


def _dropped_elsewhere(positions: Positions) -> dict[str, dict[str, int]]:
    """Per file: bytes of dropped records that are counted with another file, in which these ended."""
    found: dict[str, dict[str, int]] = {}
    for file in positions.files.values():
        for reason, count in file.drops.items():
            what, _, key = reason.partition("@")
            if key:
                own = found.setdefault(key, {})
                own[what] = own.get(what, 0) + count
    return found


def _open_bytes(positions: Positions) -> dict[str, int]:
    """Per file: bytes of records that have begun and are not whole."""
    found: dict[str, int] = {}
    for lineage in positions.lineages.values():
        for each in lineage.state:
            for piece in each.pieces:
                found[piece.key] = found.get(piece.key, 0) + piece.length
    return found
