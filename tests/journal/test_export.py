"""The journal's export format, E1 to E4 of journal/export.py."""
from __future__ import annotations

import gc
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.journal.export import MOST_FIELD_BYTES, SIZE, Entry, ExportParser
from tests.support.journal import field

NAMES = (b"__CURSOR", b"MESSAGE", b"PRIORITY", b"_PID")


def parser(most_bytes: int = 1000) -> ExportParser:
    return ExportParser(NAMES, most_bytes)


def fed(data: bytes, cuts: list[int], most_bytes: int = 1000) -> list[Entry]:
    """The entries of `data` fed in pieces; of names nobody wants, nothing."""
    under_test, out, at = parser(most_bytes), [], 0
    for cut in [*sorted(cuts), len(data)]:
        out += under_test.feed(data[at:cut])
        at = max(at, cut)
    return [{name: value for name, value in entry.items() if name in (*NAMES, SIZE)} for entry in out]


values = st.one_of(st.binary(max_size=30), st.sampled_from([b"", b"a\n\nb=c\n\n", b"MESSAGE\n", b"=", b"\n", b"\x00" * 9]))
entries = st.lists(st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=4), max_size=5)


def written(wanted: list[dict[bytes, bytes]]) -> bytes:
    return b"".join(b"".join(field(name.decode(), value) for name, value in one.items()) + b"\n" for one in wanted)


@given(entries, st.lists(st.integers(0, 300), max_size=6))
def test_e1_what_was_written_comes_back_wherever_it_is_cut(wanted: list[dict[bytes, bytes]], cuts: list[int]) -> None:
    data = written(wanted)
    assert fed(data, [cut for cut in cuts if cut <= len(data)]) == wanted


def test_e1_every_cut_of_an_entry_with_binary_fields_gives_the_same() -> None:
    wanted = [{b"__CURSOR": b"s=1", b"MESSAGE": b"one\n\ntwo=2\n"}, {b"MESSAGE": b"plain", b"PRIORITY": b"3"}, {b"_PID": b"\x00"}]
    data = written(wanted)
    for cut in range(len(data) + 1):
        assert fed(data, [cut]) == wanted
    assert fed(data, list(range(len(data)))) == wanted


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.lists(st.sampled_from([
    b"MESSAGE", b"\n", b"=", b"\n\n", struct.pack("<Q", 3), struct.pack("<Q", 0), b"abc", b"_PID=1",
]), max_size=30).map(b"".join))
def test_e1_e4_hostile_bytes_are_an_error_or_entries_and_never_depend_on_the_cut(data: bytes) -> None:
    def outcome(cuts: list[int]) -> object:
        try:
            return fed(data, cuts)
        except ValueError:
            return "refused"

    assert outcome([]) == outcome(list(range(len(data)))) == outcome([len(data) // 2])


def test_the_first_of_two_fields_of_one_name_counts() -> None:
    assert fed(b"_PID=1\n_PID=2\n\n", []) == [{b"_PID": b"1"}]
    assert fed(b"_PID=1\n_PID=2\n\n", [5]) == [{b"_PID": b"1"}]


@pytest.mark.parametrize("binary", [True, False])
def test_e3_of_a_long_message_the_beginning_is_kept_and_its_size_is_known(binary: bool) -> None:
    message = b"x" * 50_000
    body = b"MESSAGE\n" + struct.pack("<Q", len(message)) + message if binary else b"MESSAGE=" + message
    under_test, out = parser(100), []
    data = b"_PID=1\n" + body + b"\nPRIORITY=3\n\n"
    for at in range(0, len(data), 1000):
        out += under_test.feed(data[at : at + 1000])
        assert len(under_test._kept) <= 100 + 256
    assert out == [{b"_PID": b"1", b"MESSAGE": b"x" * 100, SIZE: b"50000", b"PRIORITY": b"3"}]


def test_e3_a_huge_field_that_nobody_wants_takes_no_memory() -> None:
    under_test = parser(1 << 20)
    under_test.feed(b"COREDUMP\n" + struct.pack("<Q", 64 << 20))
    for _ in range(64):
        under_test.feed(bytes(1 << 20))
        assert not under_test._kept
    assert under_test.feed(b"\nMESSAGE=dumped\n\n") == [{b"MESSAGE": b"dumped"}]


@pytest.mark.parametrize("data", [
    b"MESSAGE\n" + struct.pack("<Q", MOST_FIELD_BYTES + 1), b"MESSAGE\n" + struct.pack("<Q", 2) + b"abc", b"x" * 2000 + b"\n"])
def test_e4_lengths_that_lie_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not the journal export format"):
        parser().feed(data)


@pytest.mark.parametrize("piece", [b"MESSAGE\n" + struct.pack("<Q", 1) + b"x\n\n", b"\n", b"A=b\n", b"=", b"MESSAGE=a\n\n"])
def test_e2_the_cost_is_linear(piece: bytes) -> None:
    def cpu_s(count: int) -> float:
        gc.collect()                                     # what other tests left is not this one's cost
        began_s = time.process_time()
        under_test = parser()
        data = piece * count
        for at in range(0, len(data), 65536):
            under_test.feed(data[at : at + 65536])
        return time.process_time() - began_s

    gc.disable()
    try:
        small, large = (min(cpu_s(count) for _ in range(3)) for count in (4_000, 32_000))
    finally:
        gc.enable()
    assert large < 8 * 4 * max(small, 0.002)
