"""What buffer, reader and deliveries know, in the shapes of status, audit and health. Pure: reads attributes, changes nothing."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..buffer.driver import Buffer
from ..tail.driver import Reader
from .accounts import audit_facts
from .audit import AuditFacts
from .health import StageFacts
from .status import FileFacts

WRITER_SILENT_S = 30.0


def files_of(rows: Iterable[Mapping[str, Any]], now_ns: int) -> list[FileFacts]:
    """The rows of Intake.facts: one per file, one per journal."""
    return [
        FileFacts(
            row["key"], row["path"], row["source"], row["size"], row["position"],
            max(0.0, (now_ns - row["last_record_ns"]) / 1e9) if row["lag_bytes"] and row["last_record_ns"] else 0.0,
            row["state"],
        )
        for row in rows
    ]


def audit_of(
    buffer: Buffer, counters: Mapping[str, Mapping[str, Any]], rows: Iterable[Mapping[str, Any]] = (),
) -> AuditFacts:
    """P1: the positions on one side, what each sink's cursor counted on the other. `rows` (Intake.facts): how long the files are
    by now; the positions know what they were at the last read, which may be long ago where reading is held."""
    known = buffer.positions.files
    sizes = {row["key"]: row["size"] for row in rows if row["key"] in known and row["size"] > known[row["key"]].size}
    return audit_facts(buffer.positions, counters, sizes)


def buffer_status(buffer: Buffer) -> dict[str, Any]:
    """For /status."""
    usage = buffer.usage
    return {
        "bytes": usage.total, "limit_bytes": buffer.limit_bytes, "full": buffer.full, "first_seq": buffer.first_seq,
        "last_seq": buffer.appended_seq, "synced_seq": buffer.synced_seq, "source_bytes": buffer.total_bytes,
        "use": {"segments": usage.segments, "quarantine": usage.quarantine, "others": usage.others},
    }


def stages_of(reader: Reader, buffer: Buffer, sinks: Mapping[str, Mapping[str, Any]]) -> Sequence[StageFacts]:
    """Reading and each sink, for /healthz: who could move and does not."""
    room = not (buffer.full or reader.blocked)
    stages = [
        # It goes round once a second, however little there is to read; it stands still where it was lost in a wait.
        StageFacts("reader", reader.rounds > 0, room, False, reader.rounds),
        StageFacts("reading", reader.facts.unread_bytes() > 0, room, False, reader.read_bytes),
        StageFacts("buffer writer", buffer.stalled_s() > WRITER_SILENT_S, True, False, buffer.appended_seq, 0.0),
    ]
    cursors = buffer.cursors()
    for name, facts in sinks.items():
        cursor = cursors.get(name)
        waits = facts["state"] != "ok" or facts["in_flight_requests"] > 0 or facts["unconfirmed_records"] > 0
        # Frames that wait for room on a full disk count as backlog, but cannot be read yet. And a sink to which nothing
        # is routed moves its cursor without delivering.
        readable = cursor is not None and cursor.seq <= buffer.appended_seq
        progress = facts["delivered_bytes"] + facts["dead_records"] + facts["dropped_records"] + (cursor.seq if cursor else 0)
        stages.append(StageFacts(f"sink {name}", facts["backlog_bytes"] > 0 and readable, True, waits, progress))
    return stages
