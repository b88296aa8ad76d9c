"""A batch some of whose lines became records of several lines (MB1, MB2 of process/multiline_batch.py)."""
from __future__ import annotations

from shipper.model import Batch, Piece, Source
from shipper.process.multiline_batch import Changes, Record, applied, item_of, merged, pieces_of

KEY, OTHER = "k" * 16, "o" * 16
SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web")


def batch(count: int, marks: dict[int, dict[str, object]] | None = None) -> Batch:
    rows = range(count)
    return Batch(
        SOURCE, KEY, [b"2026-11-20T09:04:0%dZ" % n for n in rows], [b"stdout"] * count, [b"%x+a" % (n * 10) for n in rows],
        [b"line %d" % n for n in rows], marks, 5, False, True)


def record(message: bytes, *pieces: Piece, **more: object) -> Record:
    return Record(b"2026-11-20T09:04:00Z", message, list(pieces), **more)  # type: ignore[arg-type]


def test_mb1_marks_stay_with_their_records_wherever_lines_were_taken_out_or_put_in_front() -> None:
    """A line that was cut, behind a trace in the same batch, was shipped without saying so."""
    changes = Changes(0.0)
    changes.at[1] = record(b"line 1\nline 2", Piece(KEY, 10, 20))
    changes.gone |= {2, -1}
    changes.front.append((b"stderr", record(b"old", Piece(KEY, 900, 5), mark={"partial": True})))
    given = batch(5, {0: {"malformed": True}, 3: {"truncated": 7}})
    found = applied(given, changes)
    assert found is not None
    assert found.messages == [b"old", b"line 0", b"line 1\nline 2", b"line 3", b"line 4"]
    assert found.marks == {0: {"partial": True}, 1: {"malformed": True}, 3: {"truncated": 7}}
    assert found.streams == [b"stderr"] + [b"stdout"] * 4
    assert found.ids == [b"384+5", b"0+a", b"a+14", b"1e+a", b"28+a"]
    assert [time[-3:] for time in found.times] == [b"00Z", b"00Z", b"01Z", b"03Z", b"04Z"]
    assert (found.read_ns, found.newlines, found.utc) == (5, True, True)
    assert given.messages == [b"line %d" % n for n in range(5)] and given.marks == {0: {"malformed": True}, 3: {"truncated": 7}}


def test_mb1_a_mark_that_a_record_has_is_its_own_and_one_of_a_line_that_went_is_gone() -> None:
    changes = Changes(0.0)
    changes.at[0] = record(b"what is left", Piece(KEY, 0, 20), mark={"partial": True, "lost": 3})
    changes.gone |= {1}
    found = applied(batch(3, {1: {"truncated": 7}}), changes)
    assert found is not None and found.marks == {0: {"partial": True, "lost": 3}} and len(found) == 2


def test_utc_is_said_only_where_what_stands_in_front_is_too() -> None:
    changes = Changes(0.0)
    changes.front.append((b"stdout", Record(b"2026-11-20T10:04:00+01:00", b"old", [Piece(KEY, 0, 1)])))
    found = applied(batch(1), changes)
    assert found is not None and found.utc is False


def test_a_batch_of_which_nothing_is_left_is_none() -> None:
    changes = Changes(0.0)
    changes.gone |= {0, 1}
    assert applied(batch(2), changes) is None


def test_mb2_an_id_names_this_files_bytes_first_and_then_those_of_others() -> None:
    pieces = [Piece(OTHER, 100, 5), Piece(KEY, 7, 3), Piece(OTHER, 105, 5), Piece(KEY, 20, 1)]
    assert item_of(KEY, pieces) == b"7+4,%b:64+a" % OTHER.encode()
    assert pieces_of(KEY, b"1e+a") == (Piece(KEY, 30, 10),)
    assert item_of(KEY, pieces_of(KEY, b"1e+a")) == b"1e+a"


def test_pieces_that_touch_each_other_are_one_and_others_are_not() -> None:
    assert merged([Piece(KEY, 0, 5), Piece(KEY, 5, 5), Piece(KEY, 11, 1), Piece(OTHER, 12, 1), Piece(KEY, 12, 1)]) == [
        Piece(KEY, 0, 10), Piece(KEY, 11, 1), Piece(OTHER, 12, 1), Piece(KEY, 12, 1)]
