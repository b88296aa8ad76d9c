"""Spans and sums, for any frames, limits and cuts. F: form.py, A: account.py."""
from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver.account import FILES_KEPT, Counters, Position, Tally, bytes_by_file, offset_of, record_pieces
from shipper.deliver.form import UNLIMITED, Former, Span, between
from shipper.model import Batch, Frame, Source

from .support import FakeBuffer, balance, section, source

BEGIN = Position(0, 0)
SOURCES = [source("web"), source("db", "payments"), source("api", "payments")]


def paying(src: Source) -> bool:
    return src.namespace == "payments"


@st.composite
def buffers(draw) -> FakeBuffer:
    """Frames with several sections, empty ones too, and now and then a frame that is not there any more."""
    buffer = FakeBuffer.__new__(FakeBuffer)
    buffer.frames, buffer.total_bytes = [], 0
    ends: dict[int, int] = {}
    for seq in range(draw(st.integers(1, 6))):
        sections = []
        for _ in range(draw(st.integers(0, 4))):
            which = draw(st.integers(0, 2))
            sizes = draw(st.lists(st.integers(0, 60), max_size=12))
            made = section(SOURCES[which], ends.get(which, 0), [bytes([97 + n % 26]) * size for n, size in enumerate(sizes)])
            ends[which] = made.end
            sections.append(made)
        buffer.total_bytes += sum(s.end - s.start for s in sections)
        if draw(st.integers(0, 9)):
            buffer.frames.append(Frame(seq, sections, buffer.total_bytes, 1))
    return buffer


def spans_of(
    frames: list[Frame], limit_bytes: int, limit_records: int, start: Position = BEGIN, total_bytes: int = 0
) -> list[Span]:
    former = Former(paying, limit_bytes, limit_records)
    former.reset(start, total_bytes)
    spans = []
    for frame in frames:
        former.add([frame])
        while (span := former.take(force=False)) is not None:
            spans.append(span)
    if (span := former.take(force=True)) is not None:
        spans.append(span)
    assert former.take(force=True) is None
    return spans


def ids(batches: list[Batch]) -> list[tuple[str, bytes]]:
    return [(batch.key, item) for batch in batches for item in batch.ids]


def routed_ids(frames: list[Frame]) -> list[tuple[str, bytes]]:
    return ids([s.batch for f in frames for s in f.sections if s.batch is not None and paying(s.file.source)])


def test_records_whose_pieces_were_read_before_count_with_all_their_bytes():
    """Sections of 128 KiB in each of which a record of 1 MiB ended made requests of 4 MiB, at a limit of 512 KiB."""
    sections = []
    for n in range(6):
        made = section(SOURCES[1], 0, [b"x" * 1000])
        made.end = made.start + 128 * 1024
        made.batch.messages = [b"x" * (1 << 20)]
        made.file = dataclasses.replace(made.file, key=f"{n:016d}")
        sections.append(made)
    spans = spans_of([Frame(0, sections, 6 * 128 * 1024, 1)], 512 * 1024, 10_000)
    assert [sum(len(m) for batch in span.batches for m in batch.messages) for span in spans] == [1 << 20] * 6


@given(buffers(), st.integers(1, 400), st.integers(1, 15))
def test_spans_are_gapless_and_hold_each_routed_record_once_in_order(buffer, limit_bytes, limit_records):
    spans = spans_of(buffer.frames, limit_bytes, limit_records)
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert [i for span in spans for i in ids(span.batches)] == routed_ids(buffer.frames)
    if buffer.frames:
        assert (spans[0].start, spans[-1].end) == ((0, 0), (buffer.frames[-1].seq + 1, 0))


@given(buffers(), st.integers(1, 400), st.integers(1, 15))
def test_no_span_is_over_its_limits_unless_it_is_a_single_record(buffer, limit_bytes, limit_records):
    for span in spans_of(buffer.frames, limit_bytes, limit_records):
        assert span.records == sum(map(len, span.batches)) <= limit_records
        if span.records > 1:
            assert sum(len(m) for batch in span.batches for m in batch.messages) <= limit_bytes


@given(buffers(), st.integers(1, 400), st.integers(1, 15))
def test_the_sums_do_not_depend_on_how_requests_were_cut(buffer, limit_bytes, limit_records):
    """A1, A2: exact at each span's end, equal to those of one big request at the last one."""
    cut, whole = Counters(), Counters()
    for span in spans_of(buffer.frames, limit_bytes, limit_records):
        cut.delivered(span.tally)
        assert balance(cut.to_json(span.end)) == 0 == cut.imbalance()
    for span in spans_of(buffer.frames, UNLIMITED, UNLIMITED):
        whole.delivered(span.tally)
    assert cut == whole
    assert cut.total_bytes == (buffer.frames[-1].total_bytes if buffer.frames else 0)


@given(buffers(), st.integers(1, 400), st.integers(1, 15), st.data())
def test_going_on_from_any_cut_gives_what_was_left(buffer, limit_bytes, limit_records, data):
    spans = spans_of(buffer.frames, limit_bytes, limit_records)
    if not spans:
        return
    stop = data.draw(st.integers(0, len(spans) - 1))
    sums = Counters()
    for span in spans[: stop + 1]:
        sums.delivered(span.tally)
    at = spans[stop].end
    rest = spans_of([f for f in buffer.frames if f.seq >= at.seq], UNLIMITED, UNLIMITED, at, sums.total_bytes)
    done = [i for span in spans[: stop + 1] for i in ids(span.batches)]
    assert done + [i for span in rest for i in ids(span.batches)] == routed_ids(buffer.frames)
    for span in rest:
        sums.delivered(span.tally)
    assert sums.total_bytes == buffer.frames[-1].total_bytes and sums.imbalance() == 0


@given(buffers(), st.integers(1, 400), st.integers(1, 15))
def test_a_span_can_be_formed_again_from_the_same_frames(buffer, limit_bytes, limit_records):
    for span in spans_of(buffer.frames, limit_bytes, limit_records):
        again = between(buffer.frames, span.start, span.end, paying)
        assert [(b.key, list(b.ids), list(b.messages)) for b in again] == [
            (b.key, list(b.ids), list(b.messages)) for b in span.batches]


@given(buffers(), st.integers(1, 400))
def test_bytes_by_file_add_up_to_what_the_span_counts(buffer, limit_bytes):
    spans = spans_of(buffer.frames, limit_bytes, 10)
    for at, done in [(span.end, spans[: n + 1]) for n, span in enumerate(spans)]:
        frames = [frame for frame in buffer.frames if frame.seq >= at.seq]
        passed = sum(span.tally.total_bytes for span in done)
        rest = spans_of(frames, UNLIMITED, UNLIMITED, at, passed)
        assert sum(bytes_by_file(frames, at, paying).values()) == sum(span.tally.source_bytes for span in rest)


def test_frames_that_fit_are_passed_by_reference():
    made = section(SOURCES[1], 0, [b"x" * 50] * 4)
    [span] = spans_of([Frame(0, [made], 240, 1)], 1_000, 100)
    assert span.batches[0] is made.batch


def test_a_request_that_is_half_full_is_closed_rather_than_filled_with_a_slice():
    one, two = section(SOURCES[1], 0, [b"x" * 50] * 4), section(SOURCES[1], 240, [b"x" * 50] * 4)
    spans = spans_of([Frame(0, [one, two], 480, 1)], 300, 100)
    assert [span.records for span in spans] == [4, 4]
    assert spans[0].end == (0, 4)


def test_a_frame_that_is_gone_is_counted_as_lost():
    frames = [Frame(0, [section(SOURCES[1], 0, [b"x" * 90])], 100, 1), Frame(2, [section(SOURCES[1], 150, [b"x" * 90])], 250, 1)]
    sums = Counters()
    for span in spans_of(frames, 1_000, 100):
        sums.delivered(span.tally)
    assert sums.dropped == {"buffer_damaged": [0, 50]}
    assert (sums.total_bytes, sums.delivered_bytes, sums.imbalance()) == (250, 200, 0)


def test_bytes_of_frames_that_the_buffer_took_back_are_counted_once():
    """A sync failed after frames 0 and 1 were delivered from memory: the reader goes back, the same bytes come as frame 2."""
    def frame(seq: int, start: int, total_bytes: int) -> Frame:
        return Frame(seq, [section(SOURCES[1], start, [b"x" * 90])], total_bytes, 1)
    sums = Counters()
    for span in spans_of([frame(0, 0, 100), frame(1, 100, 200), frame(2, 100, 200), frame(3, 200, 300)], 100, 1):
        sums.delivered(span.tally)
        assert sums.imbalance() == 0
    assert (sums.total_bytes, sums.delivered_bytes, sums.delivered_records, sums.dropped) == (300, 300, 4, {})


def test_a_frame_given_twice_is_refused():
    former = Former(paying)
    former.add([Frame(3, [], 0, 1)])
    try:
        former.add([Frame(3, [], 0, 1)])
    except ValueError as error:
        assert "given twice" in str(error)
    else:
        raise AssertionError("taken")


def test_an_id_item_names_the_pieces_of_its_record():
    assert record_pieces("abc", b"1a+c8") == [("abc", 0x1A, 0xC8)]
    assert record_pieces("abc", b"ff0+10,def:0+20") == [("abc", 0xFF0, 0x10), ("def", 0, 0x20)]


def test_an_offset_stays_inside_its_section_when_a_piece_lies_in_another_file():
    made = section(SOURCES[0], 1000, [b"x", b"y"])
    assert made.batch is not None
    made.batch.ids = [b"0+5,other:0+ff", b"3ef+5"]
    assert [offset_of(made, n) for n in (0, 1, 2)] == [1000, 1000, made.end]


def test_dead_records_are_not_delivered_ones():
    [span] = spans_of([Frame(0, [section(SOURCES[1], 0, [b"x" * 40, b"y" * 30])], 90, 1)], 1_000, 100)
    span.tally.bury(span.batches[0].slice(1, 2), "rejected")
    sums = Counters()
    sums.delivered(span.tally)
    assert (sums.delivered_records, sums.delivered_bytes) == (1, 50)
    assert (sums.dead, sums.dead_files) == ({"rejected": [1, 40]}, {"key-payments-db": 40})
    assert sums.imbalance() == 0


def test_counters_survive_the_cursor_file():
    sums = Counters(total_bytes=10, before_start_bytes=10)
    sums.gave_away(Tally(records=2, source_bytes=7, unrouted_bytes=3), "max_backlog", {"k": 7})
    at = Position(4, 2)
    assert Counters.from_json(sums.to_json(at), at, 999) == sums
    assert Counters.from_json({}, at, 500) == Counters(total_bytes=500, before_start_bytes=500)


def test_counting_on_does_not_change_the_cursor_that_was_loaded():
    at = Position(4, 0)
    loaded = Counters(dead={"rejected": [1, 5]}).to_json(at)
    sums = Counters.from_json(loaded, at, 0)
    sums.delivered(Tally(records=1, source_bytes=5, dead={"rejected": [1, 5]}))
    assert (sums.dead, loaded["dead"]) == ({"rejected": [2, 10]}, {"rejected": [1, 5]})


def test_counters_of_a_cursor_that_recovery_moved_are_squared():
    sums = Counters(total_bytes=100, delivered_bytes=100)
    back = Counters.from_json(sums.to_json(Position(4, 0)), Position(3, 0), 80)
    ahead = Counters.from_json(sums.to_json(Position(4, 0)), Position(6, 0), 130)
    assert (back.delivered_bytes, back.imbalance()) == (80, 0)
    assert (ahead.dropped, ahead.imbalance()) == ({"buffer_damaged": [0, 30]}, 0)


def test_the_maps_by_file_are_bounded():
    sums = Counters()
    sums.gave_away(Tally(source_bytes=5_000), "drop_oldest", {f"file-{n}": 1 for n in range(5_000)})
    assert len(sums.dropped_files) <= FILES_KEPT + 1 and sum(sums.dropped_files.values()) == 5_000
