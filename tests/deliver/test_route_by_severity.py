"""`when: {severity: ...}`: records of one batch go different ways, and every sum stays right (form.F1 to F6)."""
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.deliver.account import Counters, Position, bytes_by_file
from shipper.deliver.form import UNLIMITED, Former, between
from shipper.deliver.probe import located
from shipper.deliver.route import Route, pick_of
from shipper.model import Batch, Frame

from .test_form import BEGIN, SOURCES, section

LEVELS = (b"", b"INFO", b"ERROR")
ERRORS = Route({"namespace": [SOURCES[1].namespace, SOURCES[0].namespace], "severity": [">=ERROR"]})


@st.composite
def frames(draw):
    made, ends, total = [], {}, 0
    for seq in range(draw(st.integers(0, 4))):
        sections = []
        for _ in range(draw(st.integers(0, 3))):
            which = draw(st.integers(0, 2))
            sizes = draw(st.lists(st.integers(0, 60), max_size=8))
            one = section(SOURCES[which], ends.get(which, 0), [b"x" * size for size in sizes])
            if one.batch is not None and draw(st.integers(0, 4)):
                one.batch.severities = [draw(st.sampled_from(LEVELS)) for _ in sizes]
            ends[which] = one.end
            sections.append(one)
        total += sum(s.end - s.start for s in sections)
        made.append(Frame(seq, sections, total, 1))
    return made


def wanted_ids(all_frames, route):
    found = []
    for frame in all_frames:
        for one in frame.sections:
            batch = one.batch
            if batch is not None and route(one.file.source):
                severities = batch.severities or [b""] * len(batch)
                found += [(batch.key, item) for item, level in zip(batch.ids, severities) if level in route.severities]
    return found


def spans_of(all_frames, route, limit_bytes=UNLIMITED, limit_records=UNLIMITED, start=BEGIN, total_bytes=0):
    former = Former(route, limit_bytes, limit_records)
    former.reset(start, total_bytes)
    former.add(all_frames)
    spans = []
    while (span := former.take(force=True)) is not None:
        spans.append(span)
    return spans


def ids(batches):
    return [(batch.key, item) for batch in batches for item in batch.ids]


@settings(max_examples=120, deadline=None)
@given(frames(), st.integers(1, 300), st.integers(1, 9))
def test_each_wanted_record_is_in_one_span_and_each_byte_in_one_sum(made, limit_bytes, limit_records):
    spans = spans_of(made, ERRORS, limit_bytes, limit_records)
    assert ids([batch for span in spans for batch in span.batches]) == wanted_ids(made, ERRORS)
    assert all(before.end == after.start for before, after in pairwise(spans))
    cut, whole = Counters(), Counters()
    for span in spans:
        assert span.records == sum(map(len, span.batches)) == span.tally.records <= limit_records
        assert all(len(batch) for batch in span.batches)
        cut.delivered(span.tally)
        assert cut.imbalance() == 0
        assert ids(between(made, span.start, span.end, ERRORS)) == ids(span.batches)
    for span in spans_of(made, ERRORS):
        whole.delivered(span.tally)
    assert cut == whole and cut.total_bytes == (made[-1].total_bytes if made else 0)


@settings(max_examples=60, deadline=None)
@given(frames(), st.integers(1, 300))
def test_what_is_dropped_for_a_sink_is_counted_by_file_without_what_it_did_not_want(made, limit_bytes):
    spans = spans_of(made, ERRORS, limit_bytes, 5)
    passed = 0
    for span in spans:
        passed += span.tally.total_bytes
        rest = [frame for frame in made if frame.seq >= span.end.seq]
        left = spans_of(rest, ERRORS, start=span.end, total_bytes=passed)
        by_file = bytes_by_file(rest, span.end, ERRORS, pick_of(ERRORS))
        assert sum(by_file.values()) == sum(one.tally.source_bytes for one in left)


def test_a_probe_asks_with_wanted_records_at_or_behind_where_they_lie():
    one = section(SOURCES[1], 0, [b"a", b"b", b"c", b"d"])
    one.batch.severities = [b"INFO", b"ERROR", b"INFO", b"ERROR"]
    [(position, batch)] = located([Frame(0, [one], one.end, 1)], BEGIN, ERRORS)
    assert position <= Position(0, 1) and list(batch.messages) == [b"b", b"d"]


def test_without_severity_in_it_no_record_is_looked_at():
    route = Route({"namespace": ["*"]})
    assert pick_of(route) is None
    batch = Batch(SOURCES[0], "k", [b""], [b""], [b"0+1"], [b"x"], severities=[b"INFO"])
    assert route.pick(batch) is None


def test_a_record_without_a_severity_goes_where_default_is_named():
    batch = Batch(SOURCES[0], "k", [b""] * 2, [b""] * 2, [b"0+1", b"1+1"], [b"x", b"y"])
    assert Route({"severity": ["DEFAULT", "ERROR"]}).pick(batch) is None
    assert Route({"severity": ["ERROR"]}).pick(batch) == [False, False]


def test_what_is_left_out_counts_as_not_routed_by_its_own_bytes():
    one = section(SOURCES[1], 0, [b"x" * 10, b"x" * 20, b"x" * 30, b"x" * 40])
    one.batch.severities = [b"INFO", b"ERROR", b"INFO", b"ERROR"]
    [span] = spans_of([Frame(0, [one], one.end, 1)], ERRORS)
    left_out = sum(int(item.split(b"+")[1], 16) for item in list(one.batch.ids)[::2])
    assert (span.tally.unrouted_records, span.tally.unrouted_bytes) == (2, left_out)
    assert span.tally.source_bytes == one.end - left_out


def test_what_is_left_out_of_a_record_with_pieces_in_two_files_is_noted_with_both() -> None:
    from shipper.deliver.account import Counters, Tally, named_bytes

    assert named_bytes("k" * 16, [b"0+a", b"20+5,mmmmmmmmmmmmmmmm:fe+10"]) == {"k" * 16: 15, "m" * 16: 16}
    tally, counters = Tally(), Counters()
    tally.leave_out({"k": 3})
    tally.leave_out({"k": 4, "m": 1})
    counters.delivered(tally)
    assert counters.unrouted_files == {"k": 7, "m": 1}
