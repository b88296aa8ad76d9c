"""Times as programs write them, to RFC 3339 in bytes. Pure. Hot: `one_hour_of_utc` once per batch.

    2026-11-20T09:04:05.123Z   2026-11-20 09:04:05,123   2026/11/20 09:04:05   20/Nov/2026:09:04:05 +0100   Nov 20 09:04:05
    Fri Nov 20 09:04:05.123456 2026 (Apache's errors, ctime; without the day's name too)
    1120 09:04:05.123456 (klog)   1795165445   1795165445123 (ms, us, ns by magnitude)

Invariants (tests/process/test_parse.py):
  T1  what comes out is a real time in RFC 3339; what is none is None, and then nothing is changed
  T2  a time without a zone is in `zone`; one without a year is in the year that brings it nearest to `near_s`
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import orjson

_ENDS = tuple(b"0" * (9 - count) + b"Z" for count in range(7))
_HOUR = len(b"2026-11-20T09")
_ISO = re.compile(
    rb"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d{0,9})? ?(Z|[+-]\d\d:?\d\d|UTC|)", re.IGNORECASE)
_CLF = re.compile(rb"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})")
_SYSLOG = re.compile(rb"([A-Z][a-z]{2}) ([ 0-3]?\d) (\d\d:\d\d:\d\d)")
_CTIME = re.compile(rb"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) ([ 0-3]?\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? (\d{4})")
_NUMBER = re.compile(rb"\d{9,19}(?:\.\d{1,9})?")
_MONTHS = {name: i for i, name in enumerate(
    (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1)}


def one_hour_of_utc(texts: Sequence[bytes]) -> bool:
    """Are all of these RFC 3339 with Z, and of the same hour, the usual case? Else each needs a look of its own (of_text).

    Cost: 80 ns a text; with the digits of date and hour as classes in the expression 160.
    """
    expression = _hour(texts[0][:_HOUR])
    if expression is None:
        return False
    blob = b"\n".join(texts) + b"\n"
    return expression.fullmatch(blob) is not None and blob.count(b"\n") == len(texts)


@lru_cache(maxsize=64)
def _hour(prefix: bytes) -> re.Pattern[bytes] | None:
    found = _ISO.fullmatch(prefix + b":00:00Z")
    if found is None or prefix[10:11] != b"T" or prefix[4:5] != b"-" or prefix[7:8] != b"-" or of_text(found[0], UTC, 0) is None:
        return None
    return re.compile(b"(?:" + prefix + rb":[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z\n)*+")


def all_utc(times: Sequence[bytes]) -> bool:
    """Does each of these, which are RFC 3339, end with Z?"""
    blob = b"\n".join(times)
    return blob.endswith(b"Z") and blob.count(b"Z\n") == len(times) - 1


def of_text(text: bytes, zone: tzinfo | None, near_s: int) -> bytes | None:
    """A time in any of the forms above (T1, T2). `zone` None: the local one of this machine."""
    found = _ISO.fullmatch(text)
    if found is not None:
        year, month, day, hour, minute, second, fraction, offset = found.groups()
        whole = _whole(int(year), int(month), int(day), int(hour), int(minute), int(second), offset.upper(), zone)
        return _joined(whole, fraction)
    if (found := _CLF.fullmatch(text)) is not None and found[2] in _MONTHS:
        hour, minute, second = found[4].split(b":")
        date = int(found[3]), _MONTHS[found[2]], int(found[1])
        return _joined(_whole(*date, int(hour), int(minute), int(second), found[5], zone), None)
    if (found := _SYSLOG.fullmatch(text)) is not None and found[1] in _MONTHS:
        return without_year(_MONTHS[found[1]], int(found[2]), found[3], None, zone, near_s)
    if (found := _CTIME.fullmatch(text)) is not None and found[1] in _MONTHS:
        date = int(found[7]), _MONTHS[found[1]], int(found[2])
        return _joined(_whole(*date, int(found[3]), int(found[4]), int(found[5]), b"", zone), found[6])
    if _NUMBER.fullmatch(text) is not None:
        return of_number(float(text) if b"." in text else int(text))
    return None


def of_number(number: float) -> bytes | None:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by magnitude; None below 1973: a duration."""
    if not 1e8 <= number < 9.2e18:
        return None
    unit_ns = 1_000_000_000 if number < 1e11 else 1_000_000 if number < 1e14 else 1_000 if number < 1e17 else 1
    if isinstance(number, int):
        seconds, nanos = divmod(number * unit_ns, 1_000_000_000)
    else:                                                # a double holds microseconds of today's seconds, not nanoseconds
        seconds, micros = divmod(round(number * (unit_ns // 1000 or 1) if unit_ns >= 1000 else number / 1000), 1_000_000)
        nanos = micros * 1000
    whole = _second(seconds)
    if whole is None:
        return None
    return b"%b.%09dZ" % (whole, nanos) if nanos else whole + b"Z"


def of_numbers(numbers: Sequence[float]) -> list[bytes | None]:
    """`of_number` of each; at a third of its cost (190 ns) where all are seconds with at most six digits behind the point, as
    zap writes them. Up to 2**32 s a double's shortest digits are its microseconds: it lies nearer to them than half of one."""
    if set(map(type, numbers)) != {float}:
        return list(map(of_number, numbers))
    digits = orjson.dumps(numbers)[1:-1].replace(b",", b".").split(b".")
    seconds, fractions = digits[::2], digits[1::2]
    known = set(seconds)
    whole = {text: found + b"." for text in known if len(text) == 10 and b"1" <= text < b"4" and (found := _second(int(text)))}
    if len(digits) != 2 * len(numbers) or len(whole) < len(known) or max(map(len, fractions)) > 6:
        return list(map(of_number, numbers))
    return [whole[second] + fraction + _ENDS[len(fraction)] if fraction != b"0" else whole[second][:-1] + b"Z"
            for second, fraction in zip(seconds, fractions)]


def without_year(month: int, day: int, clock: bytes, fraction: bytes | None, zone: tzinfo | None, near_s: int) -> bytes | None:
    """The time of a log line that says month and day only, such as klog's and RFC 3164's. `clock`: hh:mm:ss."""
    return _joined(_nearest(month, day, clock, zone, near_s // 86400), fraction)


def _joined(whole: bytes | None, fraction: bytes | None) -> bytes | None:
    if whole is None:
        return None
    return b"%b.%bZ" % (whole, fraction) if fraction else whole + b"Z"


@lru_cache(maxsize=1024)
def _nearest(month: int, day: int, clock: bytes, zone: tzinfo | None, near_day: int) -> bytes | None:
    near = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=near_day)
    hour, minute, second = map(int, clock.split(b":"))
    found = [at for year in (near.year - 1, near.year, near.year + 1)
             if (at := _datetime(year, month, day, hour, minute, second, b"", zone)) is not None]
    if not found:
        return None
    return _text(min(found, key=lambda at: abs(at - near)))


@lru_cache(maxsize=1024)
def _whole(
    year: int, month: int, day: int, hour: int, minute: int, second: int, offset: bytes, zone: tzinfo | None
) -> bytes | None:
    at = _datetime(year, month, day, hour, minute, second, offset, zone)
    return None if at is None else _text(at)


def _datetime(
    year: int, month: int, day: int, hour: int, minute: int, second: int, offset: bytes, zone: tzinfo | None
) -> datetime | None:
    try:
        at = datetime(year, month, day, hour, minute, min(second, 59) if second == 60 else second)
        if offset in (b"Z", b"UTC"):
            return at.replace(tzinfo=UTC)
        if offset:
            text = offset.decode().replace(":", "")
            delta = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
            return (at + delta if text[0] == "-" else at - delta).replace(tzinfo=UTC)
        return (at.replace(tzinfo=zone) if zone is not None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(at: datetime) -> bytes:
    return b"%04d-%02d-%02dT%02d:%02d:%02d" % (at.year, at.month, at.day, at.hour, at.minute, at.second)


@lru_cache(maxsize=1024)
def _second(seconds: int) -> bytes | None:
    try:
        return _text(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None
