"""ST1 to ST3 of journal/standing.py, without a journal and without a buffer."""
from __future__ import annotations

from dataclasses import dataclass

import pytest

from shipper.errors import GapReason
from shipper.journal.export import Entry
from shipper.journal.places import place_of
from shipper.journal.ports import Settings, Trouble
from shipper.journal.records import REALTIME
from shipper.journal.standing import Standing
from shipper.model import FileRef, Section
from tests.journal.harness import SOURCE, entry


@dataclass
class Known:
    file: FileRef
    offset: int
    last_ns: int
    closed: bool
    cursor: str


def standing(signature: str = "all", *, unfiltered: bool = True, known: Known | None = None) -> Standing:
    stands = Standing(
        SOURCE, Settings("journal", "beginning", signature, unfiltered), place_of, lambda key: True, GapReason.VACUUMED)
    stands.take_up(known, ())
    return stands


def read(stands: Standing, *entries: Entry) -> list[Section]:
    gaps = stands.holes(list(entries))
    return stands.advance(list(entries), None, gaps, stands.offset + 10 * len(entries), (), None)


def known_of(section: Section) -> Known:
    return Known(section.file, section.end, section.last_ns, section.closed, section.cursor)


def at(number: int) -> int:
    return (1_700_000_000_000_000 + number) * 1000


def test_st1_a_key_goes_on_with_its_filter_and_is_closed_once_with_another() -> None:
    (first,) = read(standing(), entry(1), entry(2))
    (second,) = read(standing(known=known_of(first)), entry(3))
    assert (second.file.key, second.start) == (first.file.key, first.end)
    other = standing("some", known=known_of(first))
    closing, begun = read(other, entry(3))
    assert (closing.file.key, closing.closed, closing.start) == (first.file.key, True, 20)
    assert begun.file.key != first.file.key and begun.start == 0
    assert len(read(other, entry(4))) == 1


def test_st1_a_key_that_is_another_source_s_is_not_taken() -> None:
    asked: list[str] = []

    def claim(key: str) -> bool:
        asked.append(key)
        return len(asked) > 2

    stands = Standing(SOURCE, Settings("journal", "beginning", "all", True), place_of, claim, GapReason.VACUUMED)
    assert stands.definition().key == asked[2] and len(set(asked)) == 3


def test_st2_what_is_gone_is_told_once() -> None:
    (first,) = read(standing(), entry(1), entry(2))
    known = known_of(first)
    stands = standing(known=known)
    assert stands.lost_before(entry(2), known, ()) is None and stands.lost_before(entry(3), known, ()) is None
    closing = stands.lost_before(entry(6), known, ())
    assert closing is not None and closing.closed and [gap.at_least for gap in closing.gaps] == [3]
    (behind,) = read(stands, entry(6))
    assert behind.gaps == () and (behind.start, behind.file.key != closing.file.key) == (0, True)
    (after_a_restart,) = read(standing(known=known_of(closing)), entry(6))
    assert after_a_restart.gaps == ()


def test_st2_a_hole_behind_a_gap_that_was_told_counts_from_the_first_entry_behind_it() -> None:
    (first,) = read(standing(), entry(1), entry(2))
    known = known_of(first)
    stands = standing(known=known)
    stands.lost_before(entry(6), known, ())
    (section,) = read(stands, entry(6), entry(9))
    assert [gap.at_least for gap in section.gaps] == [2]


def test_nothing_is_counted_as_missing_where_a_filter_left_it_out() -> None:
    stands = standing(unfiltered=False)
    (section,) = read(stands, entry(1), entry(5))
    assert section.gaps == () and stands.offset == 20


def test_a_passed_over_journal_goes_on_behind_its_newest_entry() -> None:
    stands = standing()
    section = stands.pass_over(entry(5))
    assert [(gap.reason, gap.at_least) for gap in section.gaps] == [(GapReason.START_AT_END, 0)]
    assert stands.unread([entry(5), entry(6)]) == [entry(6)] and stands.unread([entry(4), entry(5)]) == []
    (next_one,) = read(stands, entry(6))
    assert (next_one.file.key, next_one.start, next_one.gaps) == (section.file.key, 0, ())


def test_an_entry_without_a_cursor_is_trouble() -> None:
    with pytest.raises(Trouble, match="no journal cursor"):
        standing().holes([{b"MESSAGE": b"x"}])


def test_st3_entries_gone_in_the_middle_of_a_read_were_gone_between_the_two_beside_them() -> None:
    stands = standing()
    (section,) = read(stands, entry(1), entry(2), entry(7), entry(8), entry(12))
    assert [(gap.at_least, gap.first_ns, gap.last_ns) for gap in section.gaps] == [(4, at(2), at(7)), (3, at(8), at(12))]
    (section,) = read(stands, entry(20), entry(21))
    assert [(gap.at_least, gap.first_ns, gap.last_ns) for gap in section.gaps] == [(7, at(12), at(20))]


def test_st3_an_entry_that_does_not_say_its_time_takes_none_from_the_gap_behind_it() -> None:
    timeless = {name: value for name, value in entry(2).items() if name != REALTIME}
    stands = standing()
    (section,) = read(stands, entry(1), timeless, entry(7))
    assert [(gap.first_ns, gap.last_ns) for gap in section.gaps] == [(at(1), at(7))]
    (section,) = read(stands, {**timeless, b"__CURSOR": entry(8)[b"__CURSOR"]})
    assert section.last_ns == at(7)
