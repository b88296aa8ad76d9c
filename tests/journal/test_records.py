"""Entries as columns: N1 to N3 of journal/records.py."""
from __future__ import annotations

import orjson
import pytest

from shipper.journal.export import SIZE, Entry
from shipper.journal.records import MOST_FIELD_BYTES, EntryDecoder, rfc3339, time_ns
from shipper.model import Batch, Source

SOURCE = Source("journal", "journal", "journal:host", "journal:host:journal", "n1")
ENTRIES: list[Entry] = [
    {b"__REALTIME_TIMESTAMP": b"1700000000000001", b"MESSAGE": b"one", b"PRIORITY": b"3", b"_PID": b"7"},
    {b"__REALTIME_TIMESTAMP": b"1700000001000000", b"MESSAGE": b"\xff\n", b"_COMM": b"\xffsh", b"OTHER": b"no"},
    {b"PRIORITY": b"nine"},
]


def decoded(entries: list[Entry], start: int = 0, max_line: int = 100) -> Batch:
    decoder = EntryDecoder(SOURCE, ["_PID", "_COMM"], max_line)
    batch = decoder.decode("key", start, entries, read_ns=1, now_s=0.0, reread=None)
    assert batch is not None
    return batch


def test_every_column_of_some_entries() -> None:
    batch = decoded(ENTRIES)
    assert list(batch.messages) == [b"one", b"\xff\n", b""]
    assert list(batch.times) == [b"2023-11-14T22:13:20.000001Z", b"2023-11-14T22:13:21.000000Z", b""]
    assert list(batch.severities or ()) == [b"ERROR", b"", b""]
    assert list(batch.ids) == [b"0+4", b"4+3", b"7+1"]
    assert [orjson.loads(one) if one else None for one in batch.fields or ()] == [{"_PID": "7"}, {"_COMM": "\ufffdsh"}, None]
    assert not batch.utc


def test_n1_how_they_were_read_changes_nothing() -> None:
    whole = decoded(ENTRIES, 0x100)
    first, rest = decoded(ENTRIES[:1], 0x100), decoded(ENTRIES[1:], 0x104)
    for column in ("messages", "times", "severities", "ids", "fields"):
        assert [*getattr(first, column), *getattr(rest, column)] == list(getattr(whole, column))


def test_n3_a_long_message_is_cut_and_counts_whole() -> None:
    batch = decoded([{b"MESSAGE": b"x" * 11}, {b"MESSAGE": b"y" * 10, SIZE: b"5000"}, {b"MESSAGE": b"z"}], max_line=10)
    assert list(batch.messages) == [b"x" * 10, b"y" * 10, b"z"]
    assert batch.marks == {0: {"truncated": 11}, 1: {"truncated": 5000}}
    assert list(batch.ids) == [b"0+c", b"c+1389", b"1395+2"]


@pytest.mark.parametrize("value", [b"", b"-1", b"x", b"9" * 30, b"253402300800000000"])
def test_times_that_no_clock_has_are_none(value: bytes) -> None:
    assert rfc3339(time_ns({b"__REALTIME_TIMESTAMP": value}) // 1000) == b""


def test_n2_of_a_field_that_is_very_long_the_beginning_is_kept() -> None:
    (found,) = decoded([{b"MESSAGE": b"x", b"_COMM": b"y" * (MOST_FIELD_BYTES + 1)}]).fields or ()
    assert orjson.loads(found) == {"_COMM": "y" * MOST_FIELD_BYTES}
