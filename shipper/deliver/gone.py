"""Records that were to be sent, or to be buried, and that the buffer does not hold any more. Driver: said and counted, rare."""
from __future__ import annotations

from ..errors import DropReason
from ..telemetry import Telemetry

WHY = ("their frames were damaged, or a failed write lost them, after they had been read once; what their log still holds is "
       "read again, the rest is counted as lost (buffer_damaged): look at the disk")


def say_gone(telemetry: Telemetry, sink: str, records: int) -> None:
    """So many of one sink."""
    telemetry.say("error", "records_gone", about=sink, records=records, why=WHY)
    telemetry.count("shipper_sink_dropped_records_total", records, sink, DropReason.BUFFER_DAMAGED.value)
