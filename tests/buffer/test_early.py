"""Records encoded while they are in the cache, and columns that are let go (buffer.early)."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.buffer.columns import join_columns
from shipper.buffer.early import MIN_RECORD_BYTES, MIN_RECORDS, encode_early
from shipper.buffer.ring import Ring
from shipper.model import Batch, FileRef, Frame, Section, Source

SOURCE = Source("containers", "c", "/l", "/l", "n")
FILE = FileRef("k" * 16, SOURCE, "/l", 1, 2, 3, "h")
COLUMNS = ("times", "streams", "ids", "messages", "severities", "fields")
rows = st.tuples(
    st.sampled_from([b"2026-11-20T09:04:05Z", b""]), st.sampled_from([b"stdout", b"stderr"]),
    st.binary(max_size=8).map(lambda x: x.replace(b"\n", b"")), st.binary(max_size=40),
    st.sampled_from([b"", b"INFO"]), st.sampled_from([b"", b'{"a":1}']),
)


def frame_of(*columns: list[tuple[bytes, ...]]) -> Frame:
    sections = []
    for values in columns:
        by_name = dict(zip(COLUMNS, map(list, zip(*values))))
        sections.append(Section(FILE, 0, 100 * len(values), "", Batch(SOURCE, FILE.key, **by_name)))  # type: ignore[arg-type]
    return Frame(7, sections, 100, 1, joined=join_columns(sections))


def batches_of(frame: Frame) -> list[Batch]:
    return [section.batch for section in frame.sections if section.batch is not None]


def many(count: int) -> list[tuple[bytes, ...]]:
    return [(b"2026-11-20T09:04:05Z", b"stdout", b"%x+10" % number, b"line %d" % number) for number in range(count)]


@given(st.lists(st.lists(rows, min_size=MIN_RECORDS, max_size=MIN_RECORDS + 3), min_size=1, max_size=3), st.data())
def test_folded_columns_are_the_columns_at_every_index_and_slice(values, data) -> None:  # type: ignore[no-untyped-def]
    frame = frame_of(*values)
    encode_early(frame, {"a": lambda batch: b"x"})
    for batch, given_rows in zip(batches_of(frame), values, strict=True):
        for place, name in enumerate(COLUMNS):
            column, expected = getattr(batch, name), [row[place] for row in given_rows]
            assert type(column) is not list, "it was not folded"
            low, high = sorted(data.draw(st.tuples(st.integers(-5, 70), st.integers(-5, 70))))
            assert len(column) == len(expected)
            assert list(column) == expected and column[-1] == expected[-1] and list(column[low:high]) == expected[low:high]
            assert column.count(expected[0]) == expected.count(expected[0])


def test_a_column_that_a_batch_has_not_is_not_there_behind_one_that_has_it() -> None:
    frame = frame_of(many(MIN_RECORDS), [(*row, b"INFO", b"{}") for row in many(MIN_RECORDS)])
    encode_early(frame, {"a": lambda batch: b"x"})
    without, with_fields = batches_of(frame)
    assert (without.severities, without.fields) == (None, None)
    assert list(with_fields.severities or ()) == [b"INFO"] * MIN_RECORDS and type(with_fields.fields) is not list


def test_each_sink_finds_what_it_made_of_a_batch() -> None:
    frame = frame_of(many(MIN_RECORDS), many(MIN_RECORDS + 1))
    encode_early(frame, {"a": lambda batch: b"a%d" % len(batch), "b": lambda batch: batch.messages[0]})
    first, second = batches_of(frame)
    assert first.encoded == {"a": b"a64", "b": b"line 0"} and second.encoded == {"a": b"a65", "b": b"line 0"}


def test_columns_stay_where_one_sink_still_needs_them() -> None:
    frame = frame_of(many(MIN_RECORDS))
    encode_early(frame, {"early": lambda batch: b"x", "late": lambda batch: None})
    [batch] = batches_of(frame)
    assert type(batch.messages) is list
    assert batch.encoded == {"early": b"x"}


def test_columns_that_no_sink_reads_from_memory_are_let_go() -> None:
    frame = frame_of(many(MIN_RECORDS))
    encode_early(frame, {"far behind": lambda batch: b""})
    [batch] = batches_of(frame)
    assert type(batch.messages) is not list and not batch.encoded


def test_small_batches_are_left_for_their_request() -> None:
    frame = frame_of(many(MIN_RECORDS), many(MIN_RECORDS - 1))
    asked: list[int] = []
    encode_early(frame, {"a": lambda batch: asked.append(len(batch)) or b"x"})
    assert asked == [MIN_RECORDS]
    assert [type(batch.messages) for batch in batches_of(frame)] == [list, list]


def test_e4_short_lines_and_a_fourth_sink_are_left_for_their_request() -> None:
    frame = frame_of(many(MIN_RECORDS))
    frame.sections[0].end = MIN_RECORD_BYTES * MIN_RECORDS - 1
    encode_early(frame, {"a": lambda batch: b"x"})
    assert batches_of(frame)[0].encoded is None and type(batches_of(frame)[0].messages) is list
    frame = frame_of(many(MIN_RECORDS))
    encode_early(frame, {name: lambda batch: b"x" for name in "abcd"})
    assert batches_of(frame)[0].encoded == {"a": b"x", "b": b"x", "c": b"x"}
    assert type(batches_of(frame)[0].messages) is list, "the fourth one needs them"


def test_e4_a_sink_that_ends_takes_its_pieces_along() -> None:
    frame, ring = frame_of(many(MIN_RECORDS)), Ring()
    encode_early(frame, {"a": lambda batch: b"x", "b": lambda batch: b"y"})
    ring.add(frame)
    ring.forget("a")
    ring.forget("nobody's")
    assert batches_of(frame)[0].encoded == {"b": b"y"}


def test_what_the_records_hold_is_known_after_they_were_folded() -> None:
    frame = frame_of([(b"", b"", b"1+1", b"m" * 150)] * MIN_RECORDS)
    encode_early(frame, {"a": lambda batch: b"x"})
    assert frame.sections[0].held_bytes == 150 * MIN_RECORDS
