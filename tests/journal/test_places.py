"""Cursors: what was read, what is missing. C1 and C2 of journal/places.py."""
from __future__ import annotations

import pytest

from shipper.journal.places import Place, is_read, missing, place_of

LAST = Place("s", 10, "boot", 1000, "x")


def test_a_cursor_as_journalctl_writes_it() -> None:
    cursor = "s=99b1;i=1f;b=6f1b;m=f8890;t=60a24181e8650;x=d3ad"
    assert place_of(cursor) == place_of(cursor.encode()) == Place("99b1", 0x1F, "6f1b", 0xF8890, "d3ad")


@pytest.mark.parametrize("text", ["", "s=1", "s=1;i=zz;b=2;m=3;x=4", "nothing"])
def test_what_is_no_cursor_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no journal cursor|invalid literal"):
        place_of(text)


@pytest.mark.parametrize("first, count", [
    (LAST._replace(number=11), 0), (LAST._replace(number=14), 3), (LAST._replace(number=9), -1),
    (LAST._replace(number=14, numbering="other"), -1)])
def test_c1_only_a_hole_in_one_numbering_counts(first: Place, count: int) -> None:
    assert missing(LAST, first) == count


@pytest.mark.parametrize("entry, read", [
    (LAST, True),
    (LAST._replace(number=11, monotonic_us=1001, mark="y"), False),
    (LAST._replace(number=11, mark="y"), False),                                         # within one microsecond
    (LAST._replace(number=9, mark="y"), True),
    (LAST._replace(number=11, monotonic_us=998, mark="y"), False),       # printk on another CPU: a later number, an earlier time
    (LAST._replace(number=9, monotonic_us=1002, mark="y"), True),
    (LAST._replace(numbering="on disk", number=900), True),                              # flushed under another number
    (LAST._replace(numbering="on disk", number=901, mark="y"), False),                   # another one of that microsecond
    (LAST._replace(numbering="on disk", number=2, monotonic_us=500, mark="a"), True),
    (LAST._replace(numbering="on disk", number=12, monotonic_us=1500, mark="a"), False),
    (LAST._replace(boot="next", number=11, monotonic_us=1), False)])
def test_c2_what_is_not_younger_in_its_boot_was_read(entry: Place, read: bool) -> None:
    assert is_read(entry, LAST) is read
