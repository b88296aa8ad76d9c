"""How far each sink is confirmed: C1 to C4 of cursors.py."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.buffer.cursors import REMOVED_KEEP_S, CursorPosition, Cursors, decode, encode, file_name, sink_name
from shipper.errors import Fatal


def at(seq: int, index: int = 0, name: str = "s") -> CursorPosition:
    return CursorPosition(name, seq, index)


def test_c1_a_cursor_never_goes_back() -> None:
    cursors = Cursors([at(5, 3)])
    cursors.set(at(5, 3))
    cursors.set(at(6))
    with pytest.raises(ValueError, match=r"\(5, 9\) is before \(6, 0\)"):
        cursors.set(at(5, 9))


def test_c2_only_what_the_synced_frames_prove_is_due_the_newest_of_it_once() -> None:
    cursors = Cursors([at(1)])
    for place in (at(2), at(2, 5), at(3), at(4, 1)):
        cursors.set(place)
    assert cursors.due(0) == []
    assert cursors.due(1) == [at(2)]
    assert cursors.due(1) == []
    assert cursors.due(3) == [at(3)]
    assert cursors.due(4) == [at(4, 1)]
    assert not cursors.waiting()


def test_a_cursor_inside_a_frame_needs_that_frame_and_one_at_its_start_does_not() -> None:
    assert at(7).needs == 6 and at(7, 1).needs == 7


def test_a_write_that_failed_is_due_again_unless_a_newer_one_is_there() -> None:
    cursors = Cursors([at(1)])
    cursors.set(at(2))
    (taken,) = cursors.due(9)
    cursors.failed(taken)
    assert cursors.due(9) == [at(2)]
    cursors.failed(taken)
    cursors.set(at(5))
    assert cursors.due(9) == [at(5)]


def test_segments_are_held_by_what_is_on_disk_and_not_by_what_is_in_memory() -> None:
    cursors = Cursors([at(3)])
    cursors.set(at(9))
    assert cursors.held_from() == 3
    (taken,) = cursors.due(100)
    assert cursors.held_from() == 3
    cursors.written(taken)
    assert cursors.held_from() == 9
    cursors.set(at(4, name="new"))
    assert cursors.held_from() == 4, "one that was never on disk holds too"
    assert Cursors().held_from() is None


def test_c4_a_removed_sinks_cursor_holds_until_its_time_is_over_or_room_is_needed() -> None:
    cursors = Cursors([at(3, name="gone"), at(9, name="stays")])
    assert cursors.retain(["stays"], 1_000.0) == ["gone"]
    assert cursors.retain(["stays"], 5_000.0) == [], "marked once: the 24 hours do not begin anew"
    assert cursors.expired(1_000.0 + REMOVED_KEEP_S - 1, False) == []
    assert cursors.expired(1_000.0, True) == ["gone"]
    assert cursors.expired(1_000.0 + REMOVED_KEEP_S, False) == ["gone"]
    assert cursors.held_from() == 3
    cursors.drop("gone")
    assert cursors.held_from() == 9 and cursors.furthest_behind() == at(9, name="stays")


def test_what_was_written_comes_back_equal() -> None:
    cursor = CursorPosition("s", 7, 3, {"files": [{"n": 1}]}, {"delivered": 5}, 99, 4.5)
    assert decode("s", encode(cursor), "s.json") == cursor


@given(data=st.binary(max_size=80), cut=st.integers(0, 90))
def test_any_other_bytes_are_a_value_error(data: bytes, cut: int) -> None:
    for bad in (data, encode(at(7))[:cut]):
        try:
            decode("s", bad, "s.json")
        except ValueError:
            continue
        assert bad.strip() == encode(at(7)).strip()


def test_a_later_releases_cursor_is_refused_with_the_mend() -> None:
    with pytest.raises(Fatal, match="later release"):
        decode("s", encode(at(7)).replace(b'"version":1', b'"version":2'), "s.json")


@given(st.text(min_size=1, max_size=30))
def test_every_sink_name_has_a_file_name_of_its_own_inside_the_directory(name: str) -> None:
    file = file_name(name)
    assert sink_name(file) == name
    assert "/" not in file and not file.startswith(".") and file.isascii()
