"""J1 to J5: stack traces are one record each, however they come; ordinary lines are never joined."""
from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.agent.ids import parse_id
from shipper.agent.verify_report import Tally, make_report
from shipper.config.process_multiline import MultilinePattern
from shipper.decode import Budget
from shipper.model import FileRef, Piece
from shipper.process import multiline
from shipper.tail.again import read_again

from .multiline_kit import (
    KEY,
    SOURCE,
    Log,
    Row,
    T,
    by_stream,
    cri,
    in_pieces,
    joined,
    line_ends,
    made,
    open_bytes,
    rows,
    source_bytes,
    traces,
)

TRACES = traces()
BEFORE = [b"2026-11-20 09:04:04 INFO starting the request", b"GET /users/7 200"]
AFTER = [b"2026-11-20 09:04:06 INFO next request", b'{"level":"info","msg":"done"}']


def messages(data: bytes, stream: bytes | None = None, **how: object) -> list[bytes]:
    return [row.message for row in joined(data, **how) if stream in (None, row.stream)]


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_between_other_lines_is_one_record_with_its_newlines(name: str) -> None:
    lines = TRACES[name]
    assert messages(b"".join(map(cri, [*BEFORE, *lines, *AFTER]))) == [*BEFORE, b"\n".join(lines), *AFTER]


@pytest.mark.parametrize("name", TRACES)
def test_two_traces_in_a_row_are_two_records(name: str) -> None:
    lines = TRACES[name]
    found = messages(b"".join(map(cri, [*lines, AFTER[0], *lines])))
    assert found == [b"\n".join(lines), AFTER[0], b"\n".join(lines)]


@pytest.mark.parametrize("name", TRACES)
def test_lines_of_the_other_stream_stand_between_and_stay_alone(name: str) -> None:
    lines = TRACES[name]
    data = b"".join(cri(line, b"stderr") + cri(b"out %d" % i) for i, line in enumerate(lines))
    assert messages(data, b"stderr") == [b"\n".join(lines)]
    assert messages(data, b"stdout") == [b"out %d" % i for i in range(len(lines))]


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_that_ends_early_is_joined_as_far_as_it_goes(name: str) -> None:
    lines = TRACES[name]
    for end in range(2, len(lines)):
        found = messages(b"".join(map(cri, [*lines[:end], *AFTER])))
        assert b"\n".join(found).split(b"\n") == [*lines[:end], *AFTER]
        assert found[-2:] == AFTER, f"joined with what is no part of it, after line {end}"


def test_two_traces_on_two_streams_line_by_line_are_told_apart() -> None:
    java, go = TRACES["java: suppressed and nested"], TRACES["go: several goroutines"]
    pairs = itertools.zip_longest(java, go)
    data = b"".join((cri(a) if a is not None else b"") + (cri(b, b"stderr") if b is not None else b"") for a, b in pairs)
    assert messages(data, b"stdout") == [b"\n".join(java)]
    assert messages(data, b"stderr") == [b"\n".join(go)]


def test_lines_of_16_kib_pieces_are_part_of_the_trace_and_its_id_counts_every_byte() -> None:
    header = b"java.lang.IllegalStateException: " + b"x" * 40_000
    parts = [*in_pieces(header, b"stderr"), *in_pieces(b"\tat a.B.c(B.java:1)" + b" " * 20_000, b"stderr")]
    data = b"".join(part + cri(b"other") for part in parts) + cri(b"next", b"stderr")
    log = Log(data)
    log.read_all(line_ends(data), restarts=True)
    found = by_stream(log.end())
    assert [row.message for row in found[b"stderr"]] == [header + b"\n\tat a.B.c(B.java:1)" + b" " * 20_000, b"next"]
    assert found[b"stderr"][0].item == b"0+%x" % sum(map(len, parts))
    assert sum(source_bytes(row.item) for rows in found.values() for row in rows) == len(data)


def test_a_trace_keeps_the_time_of_its_first_line_and_is_not_marked() -> None:
    late = T.replace(b"05.", b"06.")
    data = cri(b"a.b.Exception: x") + late + b" stdout F \tat a.B.c(B.java:1)\n" + cri(b"next")
    (first, _) = joined(data)
    assert first.time == T


@pytest.mark.parametrize("name", TRACES)
def test_byte_by_byte_with_a_restart_after_each_line_nothing_is_lost_or_repeated(name: str) -> None:
    lines = TRACES[name]
    data = b"".join(cri(line, b"stderr") + cri(b"out %d" % i) for i, line in enumerate(lines)) + cri(AFTER[0], b"stderr")
    whole = by_stream(joined(data))
    log = Log(data)
    log.read_all(range(len(data)), restarts=True)
    assert by_stream(log.end()) == whole


def test_a_pause_closes_a_trace_after_a_second_and_says_nothing_of_a_part() -> None:
    data = b"".join(map(cri, TRACES["python: one exception"]))
    log = Log(data)
    log.read(len(data), now_s=100.0)
    oldest_s = log.decoder.oldest_open_s()
    assert oldest_s is not None
    assert oldest_s + 2.0 == 101.0                        # the reader waits partial_timeout, here 2 s, from then on
    assert log.decoder.flush(before_s=98.9, read_ns=1, reread=log.reread) == []
    ((key, batch),) = log.decoder.flush(before_s=99.0, read_ns=1, reread=log.reread)
    assert (key, batch.marks, batch.messages) == (KEY, None, [b"\n".join(TRACES["python: one exception"])])
    assert batch.ids == [b"0+%x" % len(data)]
    assert log.decoder.oldest_open_s() is None


def test_across_rotation_a_trace_goes_on_in_the_next_file_and_names_both() -> None:
    lines = TRACES["java: one exception with causes and a common end"]
    old, new = b"".join(map(cri, lines[:5])), b"".join(map(cri, [*lines[5:], b"next"]))
    first = Log(old, key="a" * 16)
    first.read_all()
    second = Log(new, key="b" * 16, others={"a" * 16: old})
    second.decoder.restore(first.decoder.state(), 0.0)
    second.read_all()
    assert first.found == []
    assert [row.message for row in second.end()] == [b"\n".join(lines), b"next"]
    assert second.found[0].item == b"0+%x,%b:0+%x" % (len(new) - len(cri(b"next")), b"a" * 16, len(old))


def test_a_trace_whose_file_is_gone_is_a_record_that_says_how_much_is_lost() -> None:
    data = b"".join(map(cri, [*TRACES["python: one exception"], b"next"]))
    log = Log(data)
    log.read(len(data) - len(cri(b"next")))
    log.restart()
    log.files[KEY] = b""
    batch = log.decoder.decode(KEY, log.at, [cri(b"next")[:-1]], read_ns=1, now_s=0.0, reread=log.reread)
    assert batch is not None
    assert (batch.messages, batch.marks) == ([b"", b"next"], {0: {"partial": True, "lost": log.at}})
    assert [source_bytes(item) for item in batch.ids] == [log.at, len(data) - log.at]


def test_a_thousand_lines_are_a_record_and_the_rest_is_the_next_one() -> None:
    lines = [b"a.b.Exception: x"] + [b"\tat a.B.c(B.java:%d)" % i for i in range(2500)]
    found = messages(b"".join(map(cri, lines)))
    assert [message.count(b"\n") + 1 for message in found] == [1000, 1000, 501]
    assert b"\n".join(found).split(b"\n") == lines


def test_half_a_mebibyte_is_the_most_and_nothing_is_lost_behind_it() -> None:
    lines = [b"a.b.Exception: x"] + [b"\tat a.B.c(B.java:%d)" % i + b" " * 10_000 for i in range(200)]
    found = messages(b"".join(map(cri, lines)))
    assert max(map(len, found)) <= multiline.MAX_BYTES
    assert b"\n".join(found).split(b"\n") == lines
    assert len(found) == 4


@pytest.mark.parametrize("limit_bytes", [0, 200, 1000, 1 << 20])
def test_over_the_budget_a_trace_is_read_again_and_the_budget_is_given_back(limit_bytes: int) -> None:
    budget = Budget(limit_bytes)
    lines = TRACES["java: suppressed and nested"]
    data = b"".join(cri(line) + cri(b"x", b"stderr") for line in lines)
    log = Log(data, budget=budget)
    log.read_all(line_ends(data))
    assert budget.held_bytes <= limit_bytes
    assert [row.message for row in log.end() if row.stream == b"stdout"] == [b"\n".join(lines)]
    assert budget.held_bytes == 0


def test_dropping_a_lineage_gives_back_what_its_traces_hold() -> None:
    budget = Budget()
    log = Log(b"".join(map(cri, TRACES["python: one exception"])), budget=budget)
    log.read_all()
    assert budget.held_bytes > 0
    log.decoder.restore((), 0.0)
    assert budget.held_bytes == 0


def test_a_marked_line_is_never_joined() -> None:
    lines = [b"a.b.Exception: x", b"\tat a.B.c(B.java:1)"]
    log = Log(b"".join(map(cri, lines)))
    log.read_all()
    batch = log.decoder.oversized(
        KEY, log.at, 5000, cri(b"\tat a.B.d(B.java:2)")[:-1], read_ns=1, now_s=0.0, reread=log.reread)
    assert batch is not None
    assert batch.messages == [b"\n".join(lines), b"\tat a.B.d(B.java:2)"]
    assert batch.marks == {1: {"truncated": 4999}}


def test_lines_that_were_open_when_multiline_was_switched_off_are_a_record_of_their_own() -> None:
    lines = TRACES["python: one exception"]
    data = b"".join(map(cri, [*lines, b"next"]))
    log = Log(data)
    log.read(len(data) - len(cri(b"next")))
    state = log.decoder.state()
    log.decoder = made(multiline="off")
    log.decoder.restore(state, 5.0)
    assert log.decoder.oldest_open_s() == 5.0
    log.read(len(data), now_s=6.0)
    assert log.decoder.state() == state
    log.restart()                                         # and once more, before their time is up
    assert sorted(row.message for row in log.end()) == sorted([b"\n".join(lines), b"next"])
    assert sum(source_bytes(row.item) for row in log.found) == len(data)


def test_a_trace_that_ends_where_its_file_ends_is_counted_by_verify_when_the_next_file_shows_it() -> None:
    old = b"".join(map(cri, TRACES["python: one exception"]))
    first = Log(old, key="a" * 16)
    first.read_all()
    second = Log(cri(b"next"), key="b" * 16, others={"a" * 16: old})
    second.decoder.restore(first.decoder.state(), 0.0)
    ids = [b"b" * 16 + b":" + row.item for row in second.read_all()]
    assert parse_id(ids[0]) == (Piece("a" * 16, 0, len(old)),)
    tally = Tally()
    tally.add_lines(b'{"id":"%b"}' % record_id for record_id in ids)
    report = make_report(tally)
    assert (report.unparsed, report.records) == (0, 2)
    assert {file.key: file.covered_bytes for file in report.files} == {"a" * 16: len(old), "b" * 16: len(cri(b"next"))}
    assert all(not file.missing_bytes and not file.overlap_bytes for file in report.files)


class _Lost(NamedTuple):
    file: FileRef
    start: int
    end: int


class _Lineage:
    def __init__(self, log: Log) -> None:
        self.reread = log.reread


def read_again_between(data: bytes, start: int, end: int) -> list[Row]:
    file = FileRef(KEY, SOURCE, "/l", 1, 1, 0, "")
    lineage: Any = _Lineage(Log(data))
    section = read_again(_Lost(file, start, end), data[start:end], lineage, made(), "cri", 0.0, now_ns=1)
    assert (section.start, section.end, section.gaps) == (start, end, ())
    return rows(section.batch)


def test_a_damaged_range_is_read_again_with_the_ids_of_the_traces_that_ended_in_it() -> None:
    lines = TRACES["java: suppressed and nested"]
    data = b"".join(map(cri, [b"one", *lines, b"two", b"three"]))
    ends = line_ends(data)
    before = {row.item: row.message for row in joined(data)}
    for start in ends[: len(lines)]:
        again = read_again_between(data, start, len(data))
        assert {row.item: row.message for row in again} == {
            item: message for item, message in before.items() if message != b"one"}


def test_a_trace_that_was_open_at_the_end_of_a_damaged_range_is_there_at_least_once() -> None:
    lines = TRACES["python: chained twice"]
    data = b"".join(map(cri, [b"one", *lines]))
    for end in line_ends(data)[2:]:
        again = read_again_between(data, len(cri(b"one")), end)
        assert sum(source_bytes(row.item) for row in again) == end - len(cri(b"one"))


# ------------------------------------------------------------ own patterns


def test_start_begins_a_record_at_each_match() -> None:
    lines = [b"2026-11-20 one", b"  more", b"end", b"2026-11-20 two", b"2026-11-20 three", b"x"]
    found = messages(b"".join(map(cri, lines)), multiline=MultilinePattern(start=r"^\d{4}-"))
    assert found == [b"2026-11-20 one\n  more\nend", b"2026-11-20 two", b"2026-11-20 three\nx"]


def test_continue_goes_on_with_the_record_before() -> None:
    lines = [b"  orphan", b"one", b"\tmore", b"\tand more", b"two", b"three", b"\tx"]
    found = messages(b"".join(map(cri, lines)), multiline=MultilinePattern(continue_=r"^\s"))
    assert found == [b"  orphan", b"one\n\tmore\n\tand more", b"two", b"three\n\tx"]


def test_off_leaves_the_bare_decoder() -> None:
    assert type(made(multiline="off")).__name__ == "Decoder"


# ------------------------------------------------------------ any input, any cut

LINES = [
    *sorted({line for lines in TRACES.values() for line in lines}),
    b"", b"  ", b"ordinary", b"\tindented", b"Error", b"x" * 5000,
]
streams = st.sampled_from([b"stdout", b"stderr"])
texts = st.one_of(st.sampled_from(LINES), st.binary(max_size=12).map(lambda text: text.replace(b"\n", b" ")))
one_line = st.tuples(streams, st.sampled_from(["line", "line", "line", "piece", "bad"]), texts)
runs = st.tuples(streams, st.sampled_from(sorted(TRACES)), st.integers(0, 1), st.integers(1, 40))


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    out: list[bytes] = []
    for _ in range(draw(st.integers(1, 6))):
        stream, name, low, count = draw(runs)
        for line in TRACES[name][low : low + count]:
            out.append(cri(line, stream))
            if draw(st.integers(0, 5)) == 0:
                other, kind, text = draw(one_line)
                out.append(text + b"\n" if kind == "bad" else cri(text, other, b"P" if kind == "piece" else b"F"))
    return b"".join(out)


MACHINES = st.sampled_from(["auto", MultilinePattern(start="^[a-z]"), MultilinePattern(continue_=r"^\s")])


@settings(max_examples=80, deadline=None)
@given(data=logs(), machine=MACHINES, seed=st.data())
def test_whatever_the_lines_and_cuts_and_restarts_the_records_are_the_same(
    data: bytes, machine: object, seed: st.DataObject,
) -> None:
    ends = line_ends(data)
    line_by_line = Log(data, multiline=machine)
    line_by_line.read_all(ends)
    cut = Log(data, multiline=machine, budget=Budget(seed.draw(st.sampled_from([0, 300, 1 << 20]))))
    for end in [*sorted(set(seed.draw(st.lists(st.sampled_from(ends))))), len(data)]:
        cut.read(end)
        assert sum(source_bytes(row.item) for row in cut.found) + open_bytes(cut.decoder.state()) == cut.at
        if seed.draw(st.booleans()):
            cut.restart()
    expected = by_stream(line_by_line.end())
    found = by_stream(cut.end())
    assert found == expected
    everything = [row for rows in found.values() for row in rows]
    assert len({row.item for row in everything}) == len(everything)
    assert sum(source_bytes(row.item) for row in everything) == len(data)


@settings(max_examples=40, deadline=None)
@given(data=logs())
def test_the_lines_of_each_stream_come_out_in_order_whatever_is_joined(data: bytes) -> None:
    off, on = by_stream(joined(data, multiline="off")), by_stream(joined(data))
    assert {s: b"\n".join(r.message for r in rows) for s, rows in on.items()} == {
        s: b"\n".join(r.message for r in rows) for s, rows in off.items()}
