"""The promises of the buffer's bytes, G1 to G7, by their numbers in segment.py."""
from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.buffer.framing import SEGMENT_HEAD, scan, segment_head
from shipper.buffer.segment import Definitions, encode_frame, frames, parse_frame, parse_header
from shipper.model import Batch, Gap, Open, Piece, Section
from tests.buffer.nouns import file_of, records, section, source

SALT, UUID = 0xC0FFEE, bytes(range(16))
A, B = source("a", labels={"app": "web"}), source("b")
FILE_A, FILE_B = file_of(A), file_of(B)


def segment_of(frames_of_sections: list[list[Section]], salt: int = SALT) -> bytes:
    defined, total = Definitions(), 0
    out = [segment_head(salt, UUID)]
    for seq, sections in enumerate(frames_of_sections, 1):
        total += sum(s.source_bytes for s in sections)
        out += encode_frame(seq, sections, total, 1_000, defined, salt)
    return b"".join(out)


SMALL = segment_of([[section(FILE_A, 0, 3)], [section(FILE_A, 30, 1), section(FILE_B, 0, 2)], [section(FILE_B, 20, 4)]])

values = st.binary(max_size=30)
one_line = values.map(lambda value: value.replace(b"\n", b""))  # times and ids hold no newline, by construction


@st.composite
def sections(draw: st.DrawFn) -> Section:
    file = draw(st.sampled_from([FILE_A, FILE_B]))
    count = draw(st.integers(0, 5))
    start = draw(st.integers(0, 1 << 40))
    columns = [draw(st.lists(each, min_size=count, max_size=count)) for each in (one_line, one_line, values)]
    newlines = any(b"\n" in value for value in columns[2]) or draw(st.booleans())
    streams = draw(st.lists(st.sampled_from([b"stdout", b"stderr", b""]), min_size=count, max_size=count))
    marks = {i: {"truncated": 5} for i in range(count) if draw(st.booleans())} or None
    batch = Batch(file.source, file.key, columns[0], streams, columns[1], columns[2], marks, 1_000, newlines) if count else None
    state = tuple(draw(st.lists(st.sampled_from([
        Open("stdout", "partial", (Piece(file.key, 1, 2), Piece("other", 5, 9))), Open("stderr", "skipping", ()),
    ]), max_size=2)))
    gaps = tuple(draw(st.lists(st.builds(
        Gap, st.integers(0, 9), st.integers(-1, 9), st.just("truncated"), st.integers(0, 9), st.integers(0, 1 << 62), st.just(0)
    ), max_size=2)))
    return Section(file, start, start + draw(st.integers(0, 1 << 20)), "ab" * 8, batch, state,
                   draw(st.sampled_from([None, {"filtered": 3}])), gaps, draw(st.integers(0, 1 << 40)),
                   draw(st.integers(0, 1 << 60)), draw(st.booleans()), draw(st.sampled_from(["", "s=1;i=2"])))


@given(data=st.binary(max_size=400), at=st.integers(0, len(SMALL)), cut=st.integers(0, 100))
def test_g1_scan_never_raises_whatever_the_bytes(data: bytes, at: int, cut: int) -> None:
    scan(data)
    scan(SMALL[:at] + data + SMALL[at + cut :])


def test_g1_a_segment_full_of_frame_magics_is_scanned_in_linear_time() -> None:
    evil = segment_head(SALT, UUID) + b"SHF1" * 250_000
    assert scan(evil).frames == []


@given(at=st.integers(SEGMENT_HEAD.size, len(SMALL) - 1), bit=st.integers(0, 7))
def test_g2_g4_a_flipped_bit_costs_exactly_the_frame_that_it_is_in(at: int, bit: int) -> None:
    whole = scan(SMALL).frames
    rotten = bytearray(SMALL)
    rotten[at] ^= 1 << bit
    assert scan(bytes(rotten)).frames == [f for f in whole if not f.start <= at < f.end]


def test_g3_a_cut_segment_yields_a_prefix_for_every_cut() -> None:
    whole = scan(SMALL).frames
    for k in range(len(SMALL) + 1):
        found = scan(SMALL[:k]).frames
        assert found == whole[: len(found)]
        assert all(f.end <= k for f in found)


def test_g4_damage_is_reported_where_it_is_and_a_torn_end_is_told_apart() -> None:
    first, second, third = scan(SMALL).frames
    zeroed = SMALL[: second.start] + bytes(second.end - second.start) + SMALL[second.end :]
    found = scan(zeroed)
    assert [(d.start, d.end, d.torn) for d in found.damage] == [(second.start, second.end, False)]
    assert [f.seq for f in found.frames] == [first.seq, third.seq]
    found = scan(zeroed[:-1])
    assert [(d.start, d.end, d.torn) for d in found.damage] == [(second.start, third.end - 1, True)]
    assert found.whole_bytes == first.end


def test_g5_a_log_line_that_holds_a_whole_frame_is_not_taken_for_one() -> None:
    smuggled = segment_of([[section(FILE_B, 0, 2)]], salt=SALT + 1)[SEGMENT_HEAD.size :]
    batch = Batch(A, FILE_A.key, [b"t"], [b"stdout"], [b"0+5"], [smuggled], None, 1_000)
    data = segment_of([[Section(FILE_A, 0, 5, "", batch)]])
    for cut in range(SEGMENT_HEAD.size, len(data)):
        assert all(f.seq == 1 and f.start == SEGMENT_HEAD.size for f in scan(data[:cut]).frames)
    damaged = bytearray(data)
    damaged[SEGMENT_HEAD.size + 3] ^= 1
    assert scan(bytes(damaged)).frames == []


@settings(max_examples=60)
@given(st.lists(st.lists(sections(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_g6_what_was_encoded_comes_back_equal(written: list[list[Section]]) -> None:
    read = list(frames(segment_of(written)))
    assert len(read) == len(written)
    for frame, originals in zip(read, written, strict=True):
        for found, original in zip(frame.sections, originals, strict=True):
            assert (found.start, found.end, found.guard, found.state, found.gaps, found.size, found.last_ns) == (
                original.start, original.end, original.guard, original.state, original.gaps, original.size,
                original.last_ns)
            assert found.closed == original.closed and (found.drops or None) == (original.drops or None)
            assert found.file.source.to_json() == original.file.source.to_json()
            if original.batch is None:
                assert found.batch is None
            else:
                assert found.batch is not None and records(found.batch) == records(original.batch)
                assert found.batch.marks == original.batch.marks


def test_g6_headers_alone_give_the_same_ranges_without_the_records() -> None:
    defined, headers = Definitions(), Definitions()
    for raw in scan(SMALL).frames:
        whole, ranges = parse_frame(raw, defined), parse_header(raw, headers)
        assert [(s.file.key, s.start, s.end) for s in whole.sections] == [(s.file.key, s.start, s.end) for s in ranges.sections]
        assert ranges.records == 0


def test_g7_a_segment_defines_what_it_uses_and_a_source_only_once() -> None:
    defined = Definitions()
    first, second, third = (parse_frame(raw, defined) for raw in scan(SMALL).frames)
    assert first.sections[0].file.source is second.sections[0].file.source
    assert second.sections[1].file.source is third.sections[0].file.source
    assert first.sections[0].file.source.labels == {"app": "web"}


def test_g7_a_changed_file_is_defined_anew() -> None:
    renamed = file_of(A)
    read = list(frames(segment_of([[section(FILE_A, 0, 1)], [section(renamed, 10, 1)]])))
    assert read[0].sections[0].file is not read[1].sections[0].file
    assert read[0].sections[0].file.source is read[1].sections[0].file.source


def test_random_bytes_behind_a_good_head_are_damage_and_nothing_else() -> None:
    rng = random.Random(7)
    for _ in range(200):
        found = scan(segment_head(SALT, UUID) + rng.randbytes(rng.randint(1, 300)))
        assert found.usable and not found.frames and found.damage
