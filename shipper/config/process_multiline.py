"""`multiline:` as a config type: which lines are one record.

    multiline: auto                          # stack traces of the languages that shipper.process.multiline_rules knows
    multiline: {start: '^\\d{4}-\\d\\d-'}      # a record begins at each line in which this is found
    multiline: {continue: '^\\s'}             # a line in which this is found goes on with the record before it
    multiline: off

Plane: pure; shapes only.
"""
from __future__ import annotations

from typing import Literal

import msgspec


class MultilinePattern(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One of the two, a regular expression that is looked for in each line (begin it with ^ to mean the line's beginning)."""

    start: str | None = None
    continue_: str | None = msgspec.field(name="continue", default=None)

    def __post_init__(self) -> None:
        if (self.start is None) == (self.continue_ is None):
            raise ValueError("give either start: or continue:, one of the two")


Multiline = Literal["auto", "off"] | MultilinePattern
