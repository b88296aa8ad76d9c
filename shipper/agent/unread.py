"""What `run --once` was asked to read and did not, in words. Pure.

Invariants:
  U1  what was refused at first and read in the end is not among it
  U2  a message names at most MOST_NAMED paths: there may be thousands
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import RefusedReason
from ..telemetry import Telemetry

MOST_NAMED = 3
_MEND = "`file_refused` above has the mend; what is not meant to be read belongs in the source's `exclude`"


def refused_for_good(telemetry: Telemetry) -> dict[str, int]:
    """Reason -> how often since the start, of the reasons that no further try overcomes."""
    counts = {reason: telemetry.value("shipper_refused_files_total", reason) for reason in RefusedReason if reason.for_good}
    return {str(reason): int(count) for reason, count in counts.items() if count}


def unread_in_words(refused: Mapping[str, int], unread: Sequence[str], unreadable_directories: Sequence[str]) -> list[str]:
    """One message per kind; [] where everything was read."""
    said = []
    if refused:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        said.append(f"files refused: {sum(refused.values())} ({reasons}); {_MEND}")
    if unread:
        said.append(f"files not read to their end: {len(unread)} ({_named(unread)}); {_MEND}")
    if unreadable_directories:
        said.append(f"directories not listed: {len(unreadable_directories)} ({_named(unreadable_directories)}); "
                    "give the agent CAP_DAC_READ_SEARCH, or read access to them, or narrow the `include`")
    return said


def _named(paths: Sequence[str]) -> str:
    rest = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
