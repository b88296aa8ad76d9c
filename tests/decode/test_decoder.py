"""C1 to C4: whatever the bytes and however they are portioned, the records are the same and every byte is in one of them."""
from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.decode import Budget, Decoder, from_ns, sniff, to_ns
from shipper.decode.records import MAX_PIECES
from shipper.decode.times import Shape, column
from shipper.model import Batch, Open, Piece, Source

SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web")
KEY = "k" * 16
T = b"2026-11-20T09:04:05.123456789Z"


def decoder(form: str = "cri", *, max_record: int = 1 << 20, budget: int = 1 << 22) -> Decoder:
    return Decoder(SOURCE, form, max_line=1 << 20, max_record=max_record, budget=Budget(budget))


def decode(made: Decoder, data: bytes, cuts: tuple[int, ...] = ()) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """All records of `data`, given in portions of whole lines that end at the line numbers `cuts`."""
    lines = data.split(b"\n")
    assert lines.pop() == b""
    out, at = [], 0

    def reread(piece: Piece) -> bytes:
        return data[piece.start : piece.start + piece.length]

    for low, high in itertools.pairwise([0, *sorted(set(cuts)), len(lines)]):
        part = lines[low:high]
        if not part:
            continue
        batch = made.decode(KEY, at, part, read_ns=1, now_s=0.0, reread=reread)
        at += sum(map(len, part)) + len(part)
        if batch is not None:
            out += rows(batch)
    return out


def rows(batch: Batch) -> list[tuple[bytes, bytes, bytes, bytes]]:
    assert len(batch.times) == len(batch.streams) == len(batch.ids) == len(batch.messages)
    return list(zip(batch.times, batch.streams, batch.ids, batch.messages, strict=True))


def source_bytes(item: bytes) -> int:
    return sum(int(part.rpartition(b"+")[2], 16) for part in item.split(b","))


def test_a_cri_line_gives_time_stream_and_content_as_they_stand():
    data = T + b" stdout F hello stdout F world\n" + T + b" stderr F \n"
    assert decode(decoder(), data) == [
        (T, b"stdout", b"0+%x" % (len(T) + 31), b"hello stdout F world"),
        (T, b"stderr", b"%x+%x" % (len(T) + 31, len(T) + 11), b""),
    ]


def test_pieces_are_joined_per_stream_and_the_id_counts_their_bytes():
    lines = [T + b" stdout P ab\n", T + b" stderr F x\n", T + b" stdout F cd\n"]
    got = decode(decoder(), b"".join(lines))
    assert [(m, i) for _, _, i, m in got] == [
        (b"x", b"%x+%x" % (len(lines[0]), len(lines[1]))),
        (b"abcd", b"0+%x" % (len(lines[0]) + len(lines[2]))),
    ]


def test_further_tags_behind_the_first_are_ignored():
    assert [m for *_, m in decode(decoder(), T + b" stdout P:x a\n" + T + b" stdout F:y:z b\n")] == [b"ab"]


def test_a_record_over_max_record_is_closed_early_and_nothing_is_lost():
    made = decoder(max_record=200)
    data = (T + b" stdout P " + b"a" * 100 + b"\n") * 5 + T + b" stdout F z\n"
    batch = made.decode(KEY, 0, data.split(b"\n")[:-1], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and b"".join(batch.messages) == b"a" * 500 + b"z"
    assert sum(source_bytes(item) for item in batch.ids) == len(data)
    assert batch.marks == {0: {"partial": True}, 1: {"partial": True}}


def test_bytes_over_the_budget_are_read_again_from_the_file():
    data = T + b" stdout P " + b"a" * 1000 + b"\n" + T + b" stdout F z\n"
    held, reread = decoder(), decoder(budget=10)
    assert decode(held, data) == decode(reread, data)
    assert reread.opened.budget.held_bytes == 0 == held.opened.budget.held_bytes


def test_an_open_record_whose_file_is_gone_is_shipped_as_partial_with_what_is_left():
    made = decoder(budget=0)
    first = T + b" stdout P gone\n"
    made.decode(KEY, 0, [first[:-1]], read_ns=1, now_s=0.0, reread=lambda p: b"")
    last = T + b" stdout F left"
    batch = made.decode(KEY, len(first), [last], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and batch.marks == {0: {"partial": True, "lost": len(first) + len(last) + 1}}


def test_what_is_no_cri_line_is_shipped_whole_and_marked():
    made = decoder()
    bad = [b"garbage", b"", b"2026 stdout F x", T + b" stdin F x", T + b" stdout X x", T + b"  stdout F x", b"\xff\x00 a b c"]
    batch = made.decode(KEY, 0, [T + b" stdout F ok", *bad], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and list(batch.messages) == [b"ok", *bad]
    assert batch.marks == {n: {"malformed": True} for n in range(1, 8)}


@pytest.mark.parametrize("form, line", [
    ("cri", T + b" stdout F"), ("cri", T + b" stdin F x"), ("cri", T + b" stdout X x"), ("cri", b"2026 stdout F x"),
    ("docker", b'{"log":"x\\n","stream":"stdout","time":"yesterday"}'),
    ("docker", b'{"log":"x\\n","stream":"stdin","time":"%b"}' % T),
    ("docker", b'{"log":7,"stream":"stdout","time":"%b"}' % T), ("docker", b'["log"]'),
    ("docker", b'{"stream":["stdout"],"time":"x"}'),
])
def test_a_line_of_no_format_is_whole_and_marked_also_where_nothing_else_is_in_its_chunk(form, line):
    """C3: what else a chunk holds must not be what finds it."""
    for lines in ([line], [line, line]):
        batch = decoder(form).decode(KEY, 0, lines, read_ns=1, now_s=0.0, reread=lambda p: b"")
        assert batch is not None and list(batch.messages) == lines
        assert batch.marks == {at: {"malformed": True} for at in range(len(lines))}


def test_a_record_of_very_many_pieces_apart_is_closed_early():
    """O1: what is open is in each section's state."""
    lines = [T + b" stdout P a", T + b" stderr P b"] * (MAX_PIECES + 5)
    made = decoder()
    batch = made.decode(KEY, 0, lines, read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and list(batch.messages) == [b"a" * MAX_PIECES, b"b" * MAX_PIECES]
    assert batch.marks == {0: {"partial": True}, 1: {"partial": True}}
    assert [len(one.pieces) for one in made.state()] == [5, 5]


def test_what_no_budget_is_left_for_gives_back_what_it_held():
    made = decoder(budget=150)
    first, second = T + b" stdout P " + b"a" * 100, T + b" stdout P " + b"b" * 100
    made.decode(KEY, 0, [first], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert made.opened.budget.held_bytes == 100
    made.decode(KEY, len(first) + 1, [second], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert made.opened.budget.held_bytes == 0 and made.state()


def test_going_back_gives_back_what_was_held():
    made = decoder()
    made.decode(KEY, 0, [T + b" stdout P " + b"a" * 100], read_ns=1, now_s=0.0, reread=lambda p: b"")
    made.restore((), 0.0)
    assert made.opened.budget.held_bytes == 0 and made.state() == ()


def test_a_line_over_max_line_is_a_record_of_its_own_whatever_its_tag_says():
    """Its rest is gone: nothing that follows belongs to it."""
    made = decoder()
    head = T + b" stdout P " + b"x" * 50
    batch = made.oversized(KEY, 0, 5000, head, read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and list(batch.messages) == [b"x" * 50]
    assert batch.marks == {0: {"truncated": 4999}} and made.state() == ()


def test_a_line_over_max_line_whose_file_is_gone_says_how_much_is_lost():
    batch = decoder().oversized(KEY, 16, 5000, b"", read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and list(batch.messages) == [b""] and list(batch.ids) == [b"10+1388"]
    assert batch.marks == {0: {"truncated": 4999, "lost": 5000}}


def test_only_what_has_been_open_for_long_enough_is_closed_by_time():
    made = decoder()
    made.decode(KEY, 0, [T + b" stdout P old"], read_ns=1, now_s=10.0, reread=lambda p: b"")
    made.decode(KEY, 100, [T + b" stderr P new"], read_ns=1, now_s=12.0, reread=lambda p: b"")
    assert made.oldest_open_s() == 10.0
    [(key, batch)] = made.flush(before_s=11.0, read_ns=1, reread=lambda p: b"")
    assert (key, list(batch.messages), batch.marks) == (KEY, [b"old"], {0: {"partial": True}})
    assert made.oldest_open_s() == 12.0 and [one.stream for one in made.state()] == ["stderr"]


def test_lines_that_nobody_joins_any_more_wait_and_are_closed_once_as_the_record_they_were_to_be():
    data = T + b" stdout F one\n" + T + b" stdout F two\n"
    state = (Open("stdout", "lines", (Piece(KEY, 0, len(data)),)),)
    made = decoder()
    made.restore(state, 10.0)
    assert made.state() == state and made.oldest_open_s() == 10.0
    assert made.flush(before_s=9.0, read_ns=1, reread=lambda p: data) == []
    [(key, batch)] = made.flush(before_s=10.0, read_ns=1, reread=lambda p: data)
    assert (key, list(batch.messages), batch.marks, batch.newlines) == (KEY, [b"one\ntwo"], None, True)
    assert made.state() == () and made.flush(before_s=99.0, read_ns=1, reread=lambda p: data) == []


def test_a_docker_record_of_pieces_may_hold_newlines_as_a_whole_one_may():
    piece = b'{"log":"a\\nb","stream":"stdout","time":"%b"}' % T
    end = b'{"log":"c\\n","stream":"stdout","time":"%b"}' % T
    batch = decoder("docker").decode(KEY, 0, [piece, end], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None and list(batch.messages) == [b"a\nbc"] and batch.newlines


@pytest.mark.parametrize("form, look_back_bytes", [("cri", 400), ("docker", 400), ("raw", 0)])
def test_a_range_that_is_read_again_looks_back_as_far_as_a_record_may_begin_in_front_of_it(form, look_back_bytes):
    assert decoder(form, max_record=200).look_back_bytes == look_back_bytes


def test_where_the_pieces_of_a_record_stand_is_told_to_who_asks():
    made = decoder()
    made.finished = {}
    lines = [T + b" stdout P a", T + b" stderr F x", T + b" stdout F b"]
    batch = made.decode(KEY, 0, lines, read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert batch is not None
    sizes = [len(line) + 1 for line in lines]
    assert made.finished == {batch.ids[1]: (Piece(KEY, 0, sizes[0]), Piece(KEY, sizes[0] + sizes[1], sizes[2]))}


def test_docker_lines_lose_their_newline_and_pieces_are_joined():
    def line(log: str, stream: str = "stdout") -> bytes:
        return b'{"log":%b,"stream":"%b","time":"2026-11-20T09:04:05.5Z"}\n' % (log.encode(), stream.encode())

    data = line(r'"a\u003cb\n"') + line('"one "') + line(r'"two\n"') + line(r'"e\n"', "stderr") + b'{"log": 5}\n'
    assert [m for *_, m in decode(decoder("docker"), data)] == [b"a<b", b"one two", b"e", b'{"log": 5}']


def test_a_lone_surrogate_in_docker_json_is_shipped_as_the_line_stands():
    line = b'{"log":"\\ud800\\n","stream":"stdout","time":"2026-11-20T09:04:05.5Z"}'
    assert decode(decoder("docker"), line + b"\n")[0][3] == line


CRI_LINES = st.lists(
    st.one_of(
        st.builds(
            lambda stream, tag, text: T + b" " + stream + b" " + tag + b" " + text,
            st.sampled_from([b"stdout", b"stderr"]), st.sampled_from([b"F", b"F", b"P", b"P:t"]),
            st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")),
        ),
        st.binary(max_size=60).map(lambda b: b.replace(b"\n", b"")),
    ),
    min_size=1, max_size=30,
)


@given(CRI_LINES, st.lists(st.integers(0, 30)), st.sampled_from(["cri", "docker", "raw"]), st.sampled_from([60, 1 << 20]))
@settings(max_examples=300)
def test_any_bytes_in_any_portions_give_the_same_records_and_ranges_add_up(lines, cuts, form, max_record):
    """C1, C2, C3: columns equal in length, ids unique, ranges add up; nothing raises."""
    data = b"".join(line + b"\n" for line in lines)
    whole, cut = decoder(form, max_record=max_record), decoder(form, max_record=max_record)
    one = decode(whole, data)
    two = decode(cut, data, tuple(c for c in cuts if c < len(lines)))
    for made, out in ((whole, one), (cut, two)):
        for _, batch in made.flush(before_s=1.0, read_ns=1, reread=lambda p: data[p.start : p.start + p.length]):
            out += rows(batch)
    assert one == two
    assert sum(source_bytes(i) for _, _, i, _ in one) == len(data)
    assert len({i for _, _, i, _ in one}) == len(one)
    if form == "raw":
        assert [m for *_, m in one] == lines


@given(CRI_LINES, st.integers(0, 30))
@settings(max_examples=200)
def test_a_decoder_restored_from_its_state_goes_on_as_if_nothing_had_happened(lines, at):
    data = b"".join(line + b"\n" for line in lines)
    at = min(at, len(lines))
    head = b"".join(line + b"\n" for line in lines[:at])
    unbroken, before, after = decoder(), decoder(), decoder()
    expected = decode(unbroken, data)
    got = decode(before, head) if head else []
    after.restore(before.state(), 0.0)
    start = len(head)
    for line in lines[at:]:
        batch = after.decode(KEY, start, [line], read_ns=1, now_s=0.0, reread=lambda p: data[p.start : p.start + p.length])
        start += len(line) + 1
        got += rows(batch) if batch is not None else []
    assert got == expected
    assert after.state() == unbroken.state()


def test_formats_are_told_apart_by_the_first_line():
    assert sniff(T + b" stdout F x") == "cri"
    assert sniff(T + b" stdout P " + b"x" * 2000) == "cri"
    assert sniff(b'{"log":"x\\n","stream":"stdout","time":"2026-11-20T09:04:05.5Z"}') == "docker"
    assert sniff(b'{"log":"' + b"x" * 1016) == "docker"
    assert sniff(b'{"msg":"x"}') == sniff(b"") == sniff(b"Nov 20 host app: x") == "raw"


def test_times_are_checked_as_a_column():
    good = [b"2026-11-20T09:04:05Z", b"2026-11-20T09:04:05.1Z", T]
    assert column(good) is Shape.UTC and column([*good, b"2026-11-20T10:04:05.1Z"]) is Shape.UTC
    assert column([b"2026-11-20T09:04:05.1+09:00"] * 3) is Shape.GOOD
    assert column([*good, b"2026-11-20T09:04:05.1+09:00"]) is Shape.GOOD
    for bad in (b"", b"x", b"2026-11-20T09:04:05", b"2026-11-20 09:04:05Z", T + b"\n", b'2026-11-20T09:04:05"Z', b"12Z",
                T + b"\n" + T):
        assert column([*good, bad]) is Shape.BAD, bad
        assert column([bad, *good]) is Shape.BAD, bad


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), min_size=1, max_size=5))
def test_a_column_of_any_bytes_never_passes_a_byte_that_would_need_escaping(times):
    """D1"""
    if column(times) is not Shape.BAD:
        assert not b"".join(times).strip(b"0123456789-:.TZ+")
    if column([T, *times]) is not Shape.BAD:
        assert not b"".join(times).translate(None, b"0123456789-:.TZ+")


def test_a_batch_says_utc_only_where_every_time_ends_with_z():
    east = b"2026-11-20T18:04:05.5+09:00"
    made = decoder()
    first = made.decode(KEY, 0, [T + b" stdout F a", east + b" stdout P b"], read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert first is not None and not first.utc
    rest = [T + b" stdout F c", T + b" stdout F d"]
    second = made.decode(KEY, 100, rest, read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert second is not None and list(second.messages) == [b"bc", b"d"]
    assert not second.utc and second.times[0] == east
    third = made.decode(KEY, 200, rest, read_ns=1, now_s=0.0, reread=lambda p: b"")
    assert third is not None and third.utc


def test_times_become_nanoseconds_and_back():
    assert to_ns(T) == 1795165445_123456789
    assert from_ns(to_ns(T)) == T
    assert to_ns(b"2026-11-20T18:04:05.5+09:00") == 1795165445_500000000
    assert to_ns(b"2026-13-41T09:04:05Z") == to_ns(b"") == to_ns(b"x") == 0
