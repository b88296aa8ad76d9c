"""What may be done to records in front of the buffer, as config types: the keys of a source and of a rule under `process:`.

    sources: {containers: {..., parse: json}}
    process:
      - when: {namespace: [payments]}
        redact: [email]

A rule's keys win over the source's; a later rule's over an earlier one's. Which rules apply is decided per lineage.

Plane: pure; shapes only.
"""
from __future__ import annotations

import msgspec


class Processing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Keys that sources and rules share. None: not said here."""
