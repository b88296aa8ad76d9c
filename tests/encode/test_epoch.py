"""Times as numbers. E: encode/epoch.py."""
from datetime import UTC, datetime

import pytest

from shipper.encode import epoch
from shipper.model import Batch, Source

READ_NS = 1_795_165_993_298_593_001


def batch(*times: bytes) -> Batch:
    rows = len(times)
    columns = [b""] * rows, [b"0+1"] * rows, [b"m"] * rows
    return Batch(Source("files", "s", "/p", "/p", "n"), "k" * 16, times, *columns, read_ns=READ_NS)


@pytest.mark.parametrize(("time", "ns"), [
    (b"2026-11-20T09:04:05.123456789Z", 1_795_165_445_123_456_789),
    (b"2026-11-20T09:04:05Z", 1_795_165_445_000_000_000),
    (b"2026-11-20T09:04:05.5Z", 1_795_165_445_500_000_000),
    (b"2026-11-20T18:04:05.000000001+09:00", 1_795_165_445_000_000_001),
    (b"2026-11-20T00:04:05-09:00", 1_795_165_445_000_000_000),
    (b"2026-11-20T09:04:05.1234567891234Z", 1_795_165_445_123_456_789),
])
def test_a_time_is_exact_to_the_nanosecond(time, ns):
    assert epoch.nanoseconds(batch(time)) == [b"%d" % ns]
    assert epoch.seconds(batch(time)) == [b"%d.%09d" % divmod(ns, 1_000_000_000)]
    assert epoch.milliseconds(batch(time)) == [b"%d" % (ns // 1_000_000)]


@pytest.mark.parametrize("time", [
    b"", b"Z", b"yesterday", b"2026-13-20T09:04:05Z", b"2026-11-20T09:04:05.12x456789Z", b"1969-12-31T23:59:59Z",
    b"9999-12-31T23:59:59Z", b"2026-11-20T09:04:05", b"2026-11-20T09:04:05,123456789Z", b"2026-11-20T09:04:05.1234 5678Z",
    b"2026-11-20T09:04:05.123456789\xff", b"20261120T090405.00000000000000Z",
])
def test_e2_what_is_no_time_becomes_the_read_time(time):
    assert epoch.nanoseconds(batch(time)) == [b"%d" % READ_NS]


def test_e1_the_quick_path_gives_what_the_slow_one_gives():
    times = [datetime(2026, 11, 20, 9, n % 60, n % 59, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09dZ" % (n * 7919)
             for n in range(300)]
    quick = epoch.nanoseconds(batch(*times))
    assert quick == epoch.nanoseconds(batch(*times, b"2026-11-20T09:04:05Z"))[:-1]
    assert len(set(quick)) == 300
