"""What one section adds to the metrics and says in the log. Off the hot path: once per section."""
from __future__ import annotations

from ..errors import GapReason
from ..model import Section
from ..telemetry import Telemetry

_MARK_METRICS = {
    "malformed": "shipper_malformed_records_total",
    "truncated": "shipper_truncated_records_total",
    "partial": "shipper_partial_records_total",
}


def account(section: Section, telemetry: Telemetry) -> None:
    """Bytes, records, marks and gaps of one section; a gap that is a loss is a log line too (P1)."""
    name = section.file.source.name
    if section.end > section.start:
        telemetry.count("shipper_read_bytes_total", section.end - section.start, name)
    batch = section.batch
    if batch is not None:
        telemetry.count("shipper_read_records_total", len(batch), name)
        for mark in (batch.marks or {}).values():
            for key in mark.keys() & _MARK_METRICS.keys():
                telemetry.count(_MARK_METRICS[key], 1, name)
            if "lost" in mark:
                _lost(section, mark["lost"], telemetry)
    for reason, records in (section.drops or {}).items():
        if ":bytes" not in reason:
            telemetry.count("shipper_dropped_records_total", records, name, reason)
    for gap in section.gaps:
        known = gap.end - gap.start if gap.end >= 0 else gap.at_least
        telemetry.count("shipper_gaps_total", 1, gap.reason)
        telemetry.count("shipper_gap_bytes_total", known, gap.reason)
        if gap.reason not in (GapReason.START_AT_END, GapReason.READ_BEFORE, GapReason.ZEROS):
            # Nothing known to be lost: it was read to what its end was when we last looked.
            telemetry.say(
                "warning" if known else "info", "bytes_not_read", about=section.file.path, reason=gap.reason,
                file_key=section.file.key, at_least_bytes=known, from_time_ns=gap.first_ns, to_time_ns=gap.last_ns,
            )


def _lost(section: Section, lost_bytes: int, telemetry: Telemetry) -> None:
    """Pieces of a record that had begun, whose file was gone before its end came: in the record's id, not in its message."""
    telemetry.count("shipper_gaps_total", 1, GapReason.ROTATED_AWAY)
    telemetry.count("shipper_gap_bytes_total", lost_bytes, GapReason.ROTATED_AWAY)
    telemetry.say(
        "warning", "bytes_not_read", about=section.file.path, reason=GapReason.ROTATED_AWAY, file_key=section.file.key,
        at_least_bytes=lost_bytes, why="the record had begun; its file was gone before it ended",
    )


def say_read_failed(telemetry: Telemetry, path: str, error: OSError) -> None:
    """A disk does not give what is on it."""
    telemetry.count("shipper_errors_total", 1, "read")
    telemetry.say("error", "read_failed", about=path, why=str(error))
