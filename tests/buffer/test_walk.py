"""Walking a segment in windows says what scanning it in memory says."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.buffer.framing import SEGMENT_HEAD, scan
from shipper.buffer.walk import Bad, Head, walk
from tests.buffer.nouns import section
from tests.buffer.test_segment import FILE_A, FILE_B, SALT, SMALL, segment_of

BIG = segment_of([[section(FILE_A, i * 8000, 800)] for i in range(3)] + [[section(FILE_B, 0, 1)]])


def pieces(data: bytes, *, verify: bool = True) -> list[Head | Bad]:
    return list(walk(lambda start, length: data[start : start + length], SEGMENT_HEAD.size, len(data), SALT, verify=verify))


def facts(data: bytes) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, bool]]]:
    found = pieces(data)
    return ([(p.seq, p.start, p.end) for p in found if isinstance(p, Head)],
            [(p.start, p.end, p.torn) for p in found if isinstance(p, Bad)])


def expected(data: bytes) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, bool]]]:
    found = scan(data)
    return [(f.seq, f.start, f.end) for f in found.frames], [(d.start, d.end, d.torn) for d in found.damage]


@given(base=st.sampled_from([SMALL, BIG]), at=st.floats(0, 1), junk=st.binary(max_size=60), cut=st.integers(0, 300))
def test_w1_verified_it_gives_the_frames_and_damage_of_scan(base: bytes, at: float, junk: bytes, cut: int) -> None:
    place = SEGMENT_HEAD.size + int(at * (len(base) - SEGMENT_HEAD.size))
    for data in (base[:place], base[:place] + junk + base[place + cut :], base[:place] + b"SHF1" + base[place + 4 :]):
        assert facts(data) == expected(data)


def test_w1_a_magic_across_two_search_windows_is_found() -> None:
    hole = b"\x01" * (256 * 1024 - 2)
    first = scan(SMALL).frames[0]
    data = SMALL[: first.start] + hole + SMALL[first.start :]
    assert facts(data) == expected(data)
    assert len(facts(data)[0]) == 3


def test_w2_without_verify_the_bodies_are_not_read() -> None:
    read_bytes = 0

    def read(start: int, length: int) -> bytes:
        nonlocal read_bytes
        read_bytes += min(length, len(BIG) - start)
        return BIG[start : start + length]

    found = list(walk(read, SEGMENT_HEAD.size, len(BIG), SALT, verify=False))
    assert [p.seq for p in found if isinstance(p, Head)] == [1, 2, 3, 4]
    assert read_bytes < len(BIG) * 0.6, f"{read_bytes} of {len(BIG)} bytes were read"


def test_w3_a_damaged_body_leaves_its_header() -> None:
    second = scan(BIG).frames[1]
    rotten = bytearray(BIG)
    rotten[second.end - 5] ^= 4
    (bad,) = [p for p in pieces(bytes(rotten)) if isinstance(p, Bad)]
    assert [head.seq for head in bad.heads] == [second.seq] and not bad.torn
    assert all(isinstance(p, Head) for p in pieces(bytes(rotten), verify=False))
