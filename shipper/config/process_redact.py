"""The keys `redact` and `limit` as config types. Pure; shapes only."""
from __future__ import annotations

from typing import Literal

import msgspec

from .units import Bytes, Seconds

BuiltinName = Literal[
    "email", "ipv4", "ipv6", "credit_card", "jwt", "aws_key", "gcp_key", "github_token", "slack_token", "bearer", "private_key"
]
Action = Literal["mask", "hash", "remove"]


class RedactRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One item of `redact`. Without `pattern`, `name` is a built-in one. `action`: not said, `redact_action`."""

    name: str
    pattern: str | None = None
    action: Action | None = None


class ByField(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A dotted path into the parsed fields: one budget for each of its values."""

    field: str


class Limit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """`limit`: so much for each namespace (pod, ...), shared by all files of it.

    bytes_per_s  of messages
    burst        so many seconds' worth may come at once after quiet
    action       delay: its files wait, the log files are the buffer; drop: counted, and told in one record
    """

    by: Literal["namespace", "pod", "container", "source"] | ByField = "pod"
    name: str | None = None
    records_per_s: float | None = None
    bytes_per_s: Bytes | None = None
    burst: Seconds = Seconds(5.0)
    action: Literal["delay", "drop"] = "delay"
