"""RFC 3339 times as the runtimes write them. Pure. Hot: `column` once per batch.

Invariants:
  D1  `column` costs 30 ns a line where a batch lies within one hour in UTC: three passes over the joined column, which
      prove the date and hour, the Z and the alphabet of what stands between (a regular expression over it: 82 ns). It
      never accepts a byte outside 0-9 - : . T Z +
  D2  `to_ns` never raises
Source: CRI log format (kubelet logs.go: RFC3339Nano, trailing zeros trimmed, local zone possible); Go time.RFC3339Nano.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

RFC3339 = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_COLUMN = re.compile(rb"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)\n)*")
_ALLOWED = b"0123456789-:.TZ+\n"
_HOUR = len(b"2026-11-20T09:")


class Shape(IntEnum):
    """What `column` found."""

    BAD = 0      # not all are RFC 3339
    GOOD = 1
    UTC = 2      # good, and each ends with Z


def column(times: Sequence[bytes]) -> Shape:
    """Are all of these RFC 3339, and all in UTC?"""
    first = times[0]
    if RFC3339.fullmatch(first) is None:
        return Shape.BAD
    blob = b"\n".join(times)
    others = len(times) - 1
    utc = blob.endswith(b"Z") and blob.count(b"Z\n") == others
    if utc and blob.count(b"\n" + first[:_HOUR]) == others and not blob.translate(None, _ALLOWED):
        return Shape.UTC
    if _COLUMN.fullmatch(blob + b"\n") is None or blob.count(b"\n") != others:
        return Shape.BAD
    return Shape.UTC if utc else Shape.GOOD


def to_ns(time: bytes) -> int:
    """Nanoseconds since 1970, or 0 where `time` is not a time. The second is kept: most calls are within the same one."""
    if RFC3339.fullmatch(time) is None:
        return 0
    zone_at = len(time) - (1 if time.endswith(b"Z") else 6)
    whole, _, fraction = time[:zone_at].partition(b".")
    seconds = _seconds(whole, time[zone_at:])
    return seconds and seconds * 1_000_000_000 + int((fraction + b"000000000")[:9])


@lru_cache(maxsize=256)
def _seconds(whole: bytes, zone: bytes) -> int:
    try:
        return int(datetime.fromisoformat((whole + (b"+00:00" if zone == b"Z" else zone)).decode("ascii")).timestamp())
    except (ValueError, OverflowError):
        return 0


def from_ns(time_ns: int) -> bytes:
    """RFC 3339 in UTC with nine digits."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z".encode()
