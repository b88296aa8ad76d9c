"""The sources that are no files, as config types: systemd's journal, and the kernel's ring.

Plane: pure; shapes only.
"""
from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from .processing import Processing
from .units import Bytes

Priority = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]


class JournalSource(Processing, kw_only=True, forbid_unknown_fields=True, frozen=True, tag_field="type", tag="journal"):
    """systemd's journal, by journalctl.

    units, identifiers  only entries of these units (patterns as journalctl takes them), of these SYSLOG_IDENTIFIERs; [] is all
    priority   only entries at least as grave as this one
    boot       all, or only of the boot that the machine runs
    directory  where the journal's files are; not said: where the host has its own
    fields     which fields of an entry come under `fields`
    """

    type: ClassVar[str] = "journal"
    format: ClassVar[str] = "journal"
    include: ClassVar[list[str]] = []
    exclude: ClassVar[list[str]] = []
    allowed_roots: ClassVar[list[str]] = []
    units: list[str] = msgspec.field(default_factory=list)
    identifiers: list[str] = msgspec.field(default_factory=list)
    priority: Priority | None = None
    boot: Literal["all", "current"] = "all"
    directory: str | None = None
    start_at: Literal["beginning", "end"] = "beginning"
    fields: list[str] = msgspec.field(default_factory=lambda: [
        "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_PID", "_UID", "_COMM", "_TRANSPORT", "_HOSTNAME"])
    max_line: Bytes = Bytes(1024 * 1024)


class KmsgSource(Processing, kw_only=True, forbid_unknown_fields=True, frozen=True, tag_field="type", tag="kmsg"):
    """The kernel's messages from /dev/kmsg, where no journal keeps them."""

    type: ClassVar[str] = "kmsg"
    format: ClassVar[str] = "kmsg"
    include: ClassVar[list[str]] = []
    exclude: ClassVar[list[str]] = []
    allowed_roots: ClassVar[list[str]] = []
    max_line: ClassVar[Bytes] = Bytes(64 * 1024)
    path: str = "/dev/kmsg"
    start_at: Literal["beginning", "end"] = "beginning"
