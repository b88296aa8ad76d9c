"""The bench tells the truth: its corpus is what it says, and its proof finds what is missing, repeated or out of order."""
from __future__ import annotations

import http.client
import re
from pathlib import Path

import pytest

from .backlog import Receiver
from .bench import Sample
from .budgets import Budget
from .corpus import Shape, lay_out, make_corpus
from .far_side import Proof, prove
from .report import medians, table

SHAPE = Shape(30_000, 3, big_every=5_000)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    corpus = make_corpus(SHAPE, tmp_path_factory.mktemp("cache"))
    return [lay_out(corpus.root, file).read_bytes().split(b"\n")[:-1] for file in range(SHAPE.files)]


def test_each_line_of_the_corpus_carries_its_own_number_once_and_a_files_numbers_rise(lines: list[list[bytes]]) -> None:
    for file, own in enumerate(lines):
        numbers = [re.findall(rb"~(\d{7})", line) for line in own]
        assert numbers == [[b"%07d" % n] for n in range(SHAPE.first(file), SHAPE.first(file + 1))]
        assert all(line.count(b"~") == 1 for line in own)


def test_lines_are_cri_lines_of_238_bytes_on_average_with_rising_times(lines: list[list[bytes]]) -> None:
    cri = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?)Z (stdout|stderr) ([FP]) .*")
    every = [line for own in lines for line in own]
    shapes = [cri.fullmatch(line) for line in every]
    assert all(shapes)
    plain = [len(line) + 1 for line in every if len(line) < 8_000]          # long records are rarer in the real corpus: 2 bytes
    assert 230 < sum(plain) / len(plain) + 2 < 246
    assert 0.05 < sum(m[2] == b"stderr" for m in shapes if m) / len(every) < 0.10
    for own in lines:
        times = [line[:19] for line in own]
        assert times == sorted(times)


def test_equal_shapes_give_equal_bytes(tmp_path: Path) -> None:
    small = Shape(2_000, 2)
    one, two = make_corpus(small, tmp_path / "one"), make_corpus(small, tmp_path / "two")
    assert [lay_out(one.root, f).read_bytes() for f in (0, 1)] == [lay_out(two.root, f).read_bytes() for f in (0, 1)]


@pytest.mark.parametrize(("arrived", "found"), [
    ([0, 1, 2, 3, 4, 5], Proof(0, 0, 0)),
    ([3, 0, 4, 1, 5, 2], Proof(0, 0, 0)),                # two files, each in order
    ([0, 1, 3, 4, 5], Proof(1, 0, 0)),
    ([0, 1, 2, 2, 3, 4, 5], Proof(0, 1, 0)),
    ([1, 0, 2, 3, 4, 5], Proof(0, 0, 1)),
])
def test_what_is_missing_repeated_or_out_of_order_is_counted(arrived: list[int], found: Proof) -> None:
    assert prove(arrived, 6, [3, 6]) == found


def test_what_came_behind_the_last_line_that_was_missing_is_counted_too() -> None:
    with Receiver("http_receiver", "2", "0") as receiver:
        for numbers in ("~0000000", "~0000001", "~0000001"):
            far = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=20)
            far.request("POST", "/in", numbers)
            assert far.getresponse().read() == b"ok"
            far.close()
        assert receiver.hear(20.0) == {"all": True}
        totals = receiver.totals()
    assert (totals["missing"], totals["repeated"], totals["requests"]) == (0, 1, 3)


def test_of_a_sender_that_ends_too_soon_the_lines_that_did_not_come_are_counted() -> None:
    with Receiver("http_receiver", "3", "0") as receiver:
        far = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=20)
        far.request("POST", "/in", "~0000002")
        far.close()                                     # does not wait for its answer
        totals = receiver.totals()
    assert (totals["missing"], totals["repeated"], totals["requests"]) == (2, 0, 1)


def test_the_report_takes_medians_and_says_by_how_much_a_budget_is_missed() -> None:
    samples = [Sample("start", "1,000 files", "shipper", n, {"first_line_s": value}) for n, value in enumerate((0.5, 0.9, 1.2))]
    samples.append(Sample("start", "1,000 files", "rsyslogd", 0, {"first_line_s": 0.3}))
    assert medians(samples)[("start", "1,000 files")]["first_line_s"] == {"shipper": 0.9, "rsyslogd": 0.3}
    assert "missed 1.50x" in table(samples) and "3.00x" in table(samples)
    assert Budget("", "", "", 600, at_least=True).verdict(300) == "missed 2.00x"
    assert Budget("", "", "", 600, at_least=True).verdict(600) == "met"
