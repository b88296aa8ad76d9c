"""`when`: which records a sink takes: by their source, decided once per source, and by severity, decided per record.

    when: {namespace: [payments, "team-*"], labels: {app: [web]}, severity: ">=WARNING"}

Pure. What a `when` means for a source is config/matching.py, which processing rules share.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.matching import Predicate, compile_when
from ..config.when import SEVERITY
from ..severity import chosen

__all__ = ["Predicate", "compile_when", "wanted_severities"]


def wanted_severities(when: Mapping[str, Any] | None) -> frozenset[bytes] | None:
    """The severities (b"": none) that `when` wants; None where it does not say."""
    return chosen(when[SEVERITY]) if when and SEVERITY in when else None
