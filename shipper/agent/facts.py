"""What buffer, reader and deliveries know, in the shapes of status, audit and health. Pure: reads attributes, changes nothing."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..buffer.driver import Buffer
from ..buffer.positions import FilePosition
from ..model import Gap
from ..tail.driver import Reader
from .audit import AuditFacts, FileAudit, SinkAudit
from .health import StageFacts
from .status import FileFacts


def files_of(reader: Reader, now_ns: int) -> list[FileFacts]:
    """One row per file that the reader follows."""
    return [
        FileFacts(
            row["key"], row["path"], row["source"], row["size"], row["position"],
            max(0.0, (now_ns - row["last_record_ns"]) / 1e9) if row["lag_bytes"] and row["last_record_ns"] else 0.0,
            row["state"],
        )
        for row in reader.facts()
    ]


def audit_of(buffer: Buffer, counters: Mapping[str, Mapping[str, Any]]) -> AuditFacts:
    """P1: the positions on one side, what each sink's cursor counted on the other."""
    positions = buffer.positions
    opened: dict[str, int] = {}
    for lineage in positions.lineages.values():
        for item in lineage.state:
            for piece in item.pieces:
                opened[piece.key] = opened.get(piece.key, 0) + piece.length
    files = [file_audit(key, position, opened.get(key, 0)) for key, position in positions.files.items()]
    sinks = {name: sink_audit(found, positions.total_bytes) for name, found in counters.items()}
    return AuditFacts(files, sinks, positions.total_bytes, positions.retired_bytes)


def file_audit(key: str, position: FilePosition, open_bytes: int) -> FileAudit:
    """One file of the positions. Gaps are kept as sums by reason: one row each."""
    gaps = [Gap(0, -1, reason, size) for reason, size in position.gaps.items()]
    return FileAudit(
        key, position.file.path, max(position.size, position.offset), position.offset, position.read_bytes, gaps,
        dict(position.drops), open_bytes,
    )


def sink_audit(counters: Mapping[str, Any], total_bytes: int) -> SinkAudit:
    """What one cursor counted; `held` is what it has not reached."""
    return SinkAudit(
        counters["delivered_bytes"], total_bytes - counters["total_bytes"],
        sum(size for _, size in counters["dead"].values()),
        {reason: size for reason, (_, size) in counters["dropped"].items()},
        counters["unrouted_bytes"], counters["before_start_bytes"],
    )


def stages_of(reader: Reader, buffer: Buffer, sinks: Mapping[str, Mapping[str, Any]]) -> Sequence[StageFacts]:
    """Reading and each sink, for /healthz: who could move and does not."""
    stages = [
        StageFacts("reader", reader.unread_bytes() > 0, not (buffer.full or reader.blocked), buffer.troubled, reader.read_bytes)
    ]
    for name, facts in sinks.items():
        waits = facts["state"] != "ok" or facts["in_flight_requests"] > 0 or facts["unconfirmed_records"] > 0
        progress = facts["delivered_bytes"] + facts["dead_records"] + facts["dropped_records"]
        stages.append(StageFacts(f"sink {name}", facts["backlog_bytes"] > 0, True, waits, progress))
    return stages
