"""The `times` column as numbers since 1970: nanoseconds (Loki, OTLP), seconds with a fraction (Splunk), milliseconds. Pure. Hot.

Invariants (tests/encode/test_epoch.py):
  E1  the quick path, for times that all end with Z and have nine digits at most, gives what the slow one gives
  E2  what is no time between 1970 and 2262 (int64 of nanoseconds) becomes the batch's read time: times come out of hostile files
Cost (CPython 3.11): 0.2 us a line where all times end with Z (Go trims the zeros of one in ten: 0.25), else 0.5.
"""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from ..model import Batch

_MAX_SECONDS = (1 << 63) // 1_000_000_000 - 1
_FULL = len(b"2026-11-20T09:04:05.123456789Z")


def nanoseconds(batch: Batch) -> list[bytes]:
    """ASCII digits of nanoseconds since 1970, for each record."""
    quick = _quick(batch.times)
    if quick is not None:
        return quick
    read = b"%d" % max(batch.read_ns, 0)
    return [_one(time) or read for time in batch.times]


def seconds(batch: Batch) -> list[bytes]:
    """Seconds since 1970 with nine digits of fraction: b"1795165445.123456789"."""
    return [b"%b.%b" % (ns[:-9] or b"0", ns[-9:].rjust(9, b"0")) for ns in nanoseconds(batch)]


def milliseconds(batch: Batch) -> list[bytes]:
    """Milliseconds since 1970; the rest is cut."""
    return [ns[:-6] or b"0" for ns in nanoseconds(batch)]


def _quick(times: Sequence[bytes]) -> list[bytes] | None:
    """E1. None where not all are such times in UTC."""
    times = _stretched(times)
    rows, blob = len(times), b"".join(times)
    if len(blob) != rows * _FULL or blob[19::_FULL] != b"." * rows or blob[29::_FULL] != b"Z" * rows:
        return None
    fractions = [time[20:29] for time in times]
    if not b"".join(fractions).isdigit():
        return None
    heads = [time[:19] for time in times]
    seconds = {head: _second(head) for head in set(heads)}
    if None in seconds.values():
        return None
    return [seconds[head] + fraction for head, fraction in zip(heads, fractions)]  # type: ignore[operator]


def _stretched(times: Sequence[bytes]) -> Sequence[bytes]:
    """Each with nine digits; b"" for what is not so simple."""
    if set(map(len, times)) == {_FULL}:
        return times
    return [time if len(time) == _FULL else _stretch(time) for time in times]


def _stretch(time: bytes) -> bytes:
    if not len(b"2026-11-20T09:04:05Z") <= len(time) < _FULL or time[-1:] != b"Z":
        return b""
    return time[:-1].ljust(20, b".").ljust(29, b"0") + b"Z"


def _one(time: bytes) -> bytes | None:
    """An RFC 3339 time in digits of nanoseconds; None where it is none."""
    zone = len(time) - 1 if time[-1:] == b"Z" else max(time.rfind(b"+"), time.rfind(b"-"))
    if zone < 19:
        return None
    fraction = time[20:zone]
    if (fraction and not fraction.isdigit()) or time[19:20] not in (b".", time[zone:zone + 1]):
        return None
    second = _second(time[:19], time[zone:] if time[zone:] != b"Z" else b"+00:00")
    return None if second is None else second + fraction[:9].ljust(9, b"0")


@lru_cache(maxsize=4096)
def _second(text: bytes, zone: bytes = b"+00:00") -> bytes | None:
    """Digits of the seconds since 1970 of b"2026-11-20T09:04:05"; None for what is no time (E2)."""
    try:
        second = int(datetime.fromisoformat((text + zone).decode("ascii")).timestamp())
    except (ValueError, OverflowError):
        return None
    return b"%d" % second if len(text) == 19 and 0 < second <= _MAX_SECONDS else None
