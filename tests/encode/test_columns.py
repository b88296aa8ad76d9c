"""Columns to bytes: the fast ways give what the slow ones give."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.encode._columns import Column, counted, cut_utf8, each, has_newline, normal_time, sizes, split_utf8, stamped, weave

digits = st.integers(0, 999_999_999)
full_time = digits.map(lambda n: b"2026-11-20T09:04:05.%09dZ" % n)
go_time = digits.map(lambda n: (b"2026-11-20T09:04:05.%09d" % n).rstrip(b"0").rstrip(b".") + b"Z")
any_time = st.one_of(
    full_time, st.just(b""), st.just(b"2026-11-20T09:04:05Z"), digits.map(lambda n: b"2026-11-20T09:04:05.%09d+09:00" % n),
    digits.map(lambda n: (b"2026-11-20T09:04:05.%09d" % n).rstrip(b"0") + b"1Z"), st.just(b"2026-11-20T09:04:05.12+09:00"),
)
READ = b"2026-11-20T09:13:13.298593Z"


short = st.binary(max_size=9)


@given(rows=st.lists(st.tuples(short, short, short), min_size=1), constant=st.binary())
def test_w1_weaving_is_joining_row_by_row(rows: list[tuple[bytes, bytes, bytes]], constant: bytes) -> None:
    a, b, c = (Column(values) for values in zip(*rows))
    for slots in ([constant, a, b"-", b"+", b, c], [a, constant], [a, b, c], [b"x", c]):
        by_row = [b"".join(s if isinstance(s, bytes) else s.values[i] for s in slots) for i in range(len(rows))]
        assert b"".join(weave(slots, len(rows))) == b"".join(by_row)
        assert each(slots) == by_row
        assert sizes(slots) == [len(row) for row in by_row]
        assert list(counted(slots).values) == [b"%d " % len(row) for row in by_row]


few = {"min_size": 1, "max_size": 20}


@given(times=st.lists(full_time, min_size=1, max_size=300) | st.lists(go_time, **few) | st.lists(any_time, **few))
def test_w2_the_fast_cut_gives_what_the_pattern_gives(times: list[bytes]) -> None:
    for lead in (b"<14>1 ", b"\n<14>1 ", b">1 "):
        for kept in (6, 9):
            slots, tail = stamped(times, READ, kept, lead)
            got = [b"".join(slots) + tail] * len(times) if all(isinstance(s, bytes) for s in slots) else each([*slots, tail])
            cut = normal_time if kept == 6 else bytes
            assert got == [lead + cut(t or READ) for t in times]
            for column in slots:
                if isinstance(column, Column) and column.width is not None:
                    assert {len(v) for v in column.values} == {column.width}


def test_a_fraction_of_more_than_six_digits_is_cut_and_the_zone_stays() -> None:
    assert normal_time(b"2026-11-20T09:04:05.1234567Z") == b"2026-11-20T09:04:05.123456Z"
    assert normal_time(b"2026-11-20T09:04:05.123456789+09:00") == b"2026-11-20T09:04:05.123456+09:00"
    assert normal_time(b"2026-11-20T09:04:05.12Z") == b"2026-11-20T09:04:05.12Z"


@given(st.lists(st.binary(max_size=5), max_size=300))
def test_a_newline_is_found_wherever_it_is(messages: list[bytes]) -> None:
    assert has_newline(messages) is any(b"\n" in m for m in messages)


@given(message=st.one_of(st.text(max_size=80).map(str.encode), st.binary(max_size=80)), room=st.integers(4, 30))
def test_parts_are_never_longer_than_the_room_and_add_up(message: bytes, room: int) -> None:
    parts = split_utf8(message, room)
    assert b"".join(parts) == message
    assert all(0 < len(part) <= room for part in parts)


@given(text=st.text(min_size=1, max_size=40), room=st.integers(4, 30))
def test_no_utf8_character_is_parted(text: str, room: int) -> None:
    for part in split_utf8(text.encode(), room):
        part.decode("utf-8")


def test_bytes_that_are_not_utf8_are_cut_at_the_room() -> None:
    assert cut_utf8(b"\x80" * 20, 10) == 10
