"""Times as numbers. E: encode/epoch.py."""
import random
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


@pytest.mark.parametrize("also", [(), (b"2026-11-20T09:04:05+00:00",)], ids=["quick", "slow"])
def test_e1_times_whose_zeros_were_trimmed_are_as_exact(also):
    rng = random.Random(7)
    times, expected = [], []
    for _ in range(500):
        ns = rng.choice((0, 5 * 10 ** 8, rng.randrange(10 ** 9), rng.randrange(10 ** 6) * 1000))
        second = 1_795_165_445 + rng.randrange(100)
        digits = f".{ns:09d}".rstrip("0").rstrip(".") if rng.random() < 0.8 else f".{ns:09d}"
        times.append(datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode() + digits.encode() + b"Z")
        expected.append(b"%d" % (second * 10 ** 9 + ns))
    assert epoch.nanoseconds(batch(*times, *also))[:500] == expected
    assert len(set(map(len, times))) > 5


@pytest.mark.parametrize("odd", [
    b"2026-11-20T09:04:05.12x4Z", b"2026-11-20T09:04:05,12Z", b"2026-11-20T09:04:0Z", b"2026-13-20T09:04:05.1Z", b"", b"Z",
    b"20261120T090405.00Z", b"2026-11-20T09:04:05Z2026-11-20"])
def test_e2_a_broken_time_among_good_ones_is_the_only_one_that_becomes_the_read_time(odd):
    good, short = b"2026-11-20T09:04:05.123456789Z", b"2026-11-20T09:04:05.5Z"
    assert epoch.nanoseconds(batch(good, odd, short)) == [b"1795165445123456789", b"%d" % READ_NS, b"1795165445500000000"]
