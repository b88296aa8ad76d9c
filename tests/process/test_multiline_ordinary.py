"""Ordinary lines are never joined: 40,000 lines of 18 kinds of program, alone, in turns and shuffled."""
from __future__ import annotations

import pytest

from shipper.process.multiline_rules import FIND_WITH_RUBY, LOOK_BACK, TABLE

from . import ordinary
from .multiline_kit import Log, cri, joined, traces

COUNT = 1_000


def false_joins(lines: list[bytes]) -> list[bytes]:
    data = b"".join(map(cri, lines))
    log = Log(data)
    log.read_all(range(100_000, len(data), 100_000))
    found = [row.message for row in log.end()]
    assert b"\n".join(found).split(b"\n") == lines
    return [message for message in found if b"\n" in message]


@pytest.mark.parametrize("program", ordinary.PROGRAMS, ids=lambda program: program.__name__)
def test_no_line_of_a_program_is_joined(program: ordinary.Program) -> None:
    assert false_joins(ordinary.alone(COUNT, program)) == []


def test_no_line_is_joined_where_programs_take_turns() -> None:
    assert false_joins(ordinary.mixed(12_000)) == []


def test_no_line_is_joined_behind_any_other() -> None:
    assert false_joins(ordinary.shuffled(12_000)) == []


def test_traces_among_ordinary_lines_are_all_found_and_nothing_else_is() -> None:
    lines: list[bytes] = []
    expected: list[bytes] = []
    for number, trace in enumerate(traces().values()):
        lines += [*ordinary.alone(50, ordinary.nginx, number), *trace, *ordinary.alone(50, ordinary.klog, number)]
        expected.append(b"\n".join(trace))
    assert false_joins(lines) == expected


def test_t2_every_trace_is_found_by_its_first_line_or_its_first_proof() -> None:
    for name, lines in traces().items():
        near = lines[: LOOK_BACK + 1]
        assert FIND_WITH_RUBY.search(b"\n" + b"\n".join(near)) is not None, name
    assert all(target in TABLE for rules in TABLE.values() for _, target, _ in rules)


@pytest.mark.parametrize("text", [
    b" " * 1_000_000, b"\tat " + b"a." * 500_000, b"a." * 500_000, b"  at x" + b":1" * 500_000, b"x:1" * 300_000,
    b"PHP " * 250_000, b"from " * 200_000, b"<internal" * 100_000, b"#1 " * 300_000, b"'" * 1_000_000,
], ids=lambda text: text[:10].decode())
def test_p10_a_line_of_a_mebibyte_costs_no_more_than_reading_it(text: bytes) -> None:
    data = cri(b"a.b.Exception: x") + cri(text) + cri(b"\tat a.B.c(B.java:1)")
    assert b"\n".join(row.message for row in joined(data)).count(b"\n") == 2
