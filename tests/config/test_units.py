"""Sizes and durations as people write them."""
import pytest

from shipper.config.draft import duration, size
from shipper.config.units import Bytes, Seconds


@pytest.mark.parametrize(("text", "want"), [
    ("16MiB", 16 * 2**20), ("1 kB", 1000), ("1.5GiB", 3 * 2**29), ("7B", 7), (" 12 ", 12), (9, 9), (0, 0),
])
def test_sizes_are_bytes(text, want):
    assert Bytes.parse(text) == want


@pytest.mark.parametrize(("text", "want"), [("500ms", 0.5), ("5s", 5.0), ("2m", 120.0), ("1.5h", 5400.0), ("7d", 604800.0)])
def test_durations_are_seconds(text, want):
    assert Seconds.parse(text) == want


@pytest.mark.parametrize("value", [
    "", "MiB", "-1", -1, "1e3", "16Mb", True, 1.5, None, "1KiB\n2", "9" * 400 + "TiB", "99999999TiB",
])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match="write for example"):
        Bytes.parse(value)


@pytest.mark.parametrize("value", ["", "5", 5, "5 s", "1y", "-5s", "1h30m", "9" * 400 + "d", "40000d"])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError, match="for example"):
        Seconds.parse(value)


@pytest.mark.parametrize(("value", "want"), [(0, "0B"), (1023, "1023B"), (2**20, "1MiB"), (3 * 2**29, "1.5GiB")])
def test_sizes_are_shown_as_people_write_them(value, want):
    assert size(value) == want


@pytest.mark.parametrize(("value", "want"), [(30, "30 seconds"), (1073, "18 minutes"), (10_000, "3 hours"), (10**6, "12 days")])
def test_durations_are_shown_roughly(value, want):
    assert duration(value) == want
