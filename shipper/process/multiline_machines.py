"""Which lines belong to one record: what the joiner asks of each line, and the three ways to answer. Pure.

    `multiline: auto`        Traces: the table of stack traces (multiline_rules.py)
    `{start: RE}`            Starts: a record goes on until a line matches
    `{continue: RE}`         Continues: a record goes on while lines match

Invariants (tests/process/test_multiline.py, test_multiline_ordinary.py):
  MM1  the state is a function of the lines since the first one: lines that are read again lead to the same state
  MM2  `find` leaves out no line that `begin` would take and that something follows: those in front of it within LOOK_BACK (T2)
Plane: hot. `find` once per batch; `begin` and `step` for lines near something that looks like a record of several lines, and
for every line with a pattern of the config.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, Protocol

from ..config.process_multiline import MultilinePattern
from .multiline_rules import CONFIRM, FIND, FIND_WITH_RUBY, LOOK_BYTES, TABLE, Pattern, first_proofs
from .patterns import compile_pattern

Step = tuple[str, bool]


class Machine(Protocol):
    """What the joiner asks: may a line begin a record, does the next one belong to it?"""

    def begin(self, line: bytes) -> str:
        """The state behind a first line, "" where this line begins nothing."""

    def step(self, state: str, line: bytes) -> Step | None:
        """(next state, CONFIRM or MAYBE), None where the line does not belong."""

    def find(self, lines: Sequence[bytes], newlines: bool) -> list[int] | None:
        """Indexes of lines near which records may be joined, with LOOK_BACK lines in front; None: anywhere."""


_Test = Callable[[bytes], Any]


def _test(pattern: Pattern) -> _Test:
    if isinstance(pattern, bytes):
        return re.compile(pattern, re.DOTALL).match
    return lambda line: any([text in line for text in pattern])


class Traces:
    """`multiline: auto`."""

    def __init__(self) -> None:
        made: dict[Pattern, _Test] = {}
        self._rules = {
            state: tuple((made.setdefault(pattern, _test(pattern)), target, sure) for pattern, target, sure in rules)
            for state, rules in TABLE.items()
        }
        patterns = [pattern for pattern, _, _ in TABLE["start"]]
        self._words = [word for words in patterns if isinstance(words, tuple) for word in words]
        shapes = b"|".join([b"(?:" + pattern + b")" for pattern in patterns if isinstance(pattern, bytes)])
        self._shapes = re.compile(shapes, re.DOTALL).match
        self._proves = re.compile(b"|".join([b"(?:" + pattern + b")" for pattern in first_proofs()]), re.DOTALL).match

    def begin(self, line: bytes) -> str:
        if line[:1] == b"{":                              # JSON; it may well name an exception
            return ""
        line = line[:LOOK_BYTES]
        for word in self._words:
            if word in line:
                break
        else:
            if self._shapes(line) is None:                # most lines: 1 us instead of 6
                return ""
        found = self.step("start", line)
        return found[0] if found is not None else ""

    def step(self, state: str, line: bytes) -> Step | None:
        line = line[:LOOK_BYTES]
        for test, target, sure in self._rules[state]:
            if test(line):
                return target, sure
        return None

    def find(self, lines: Sequence[bytes], newlines: bool) -> list[int] | None:
        blob = b"\n" + b"\n".join(lines)
        pattern = FIND_WITH_RUBY if b":in " in blob else FIND
        if pattern.search(blob) is None:
            return []
        if newlines and blob.count(b"\n") != len(lines):
            return None
        starts = list(accumulate([len(line) + 1 for line in lines], initial=0))
        hits = [bisect_right(starts, hit.start()) - 1 for hit in pattern.finditer(blob)]
        return [hit for hit in hits if self._proves(lines[hit][:LOOK_BYTES]) or self.begin(lines[hit])]


class Starts:
    """`multiline: {start: RE}`. `search`: of the compiled pattern."""

    def __init__(self, search: Callable[[bytes], Any]) -> None:
        self._search = search

    def begin(self, line: bytes) -> str:
        return "record" if self._search(line) is not None else ""

    def step(self, state: str, line: bytes) -> Step | None:
        return None if self._search(line) is not None else (state, CONFIRM)

    def find(self, lines: Sequence[bytes], newlines: bool) -> list[int] | None:
        return None


class Continues:
    """`multiline: {continue: RE}`."""

    def __init__(self, search: Callable[[bytes], Any]) -> None:
        self._search = search

    def begin(self, line: bytes) -> str:
        return "record"

    def step(self, state: str, line: bytes) -> Step | None:
        return (state, CONFIRM) if self._search(line) is not None else None

    def find(self, lines: Sequence[bytes], newlines: bool) -> list[int] | None:
        return None


@cache
def _traces() -> Traces:
    return Traces()


def machine_for(wanted: str | MultilinePattern) -> Machine:
    """What the config asks for, compiled."""
    if isinstance(wanted, str):
        return _traces()
    if wanted.start is not None:
        return Starts(compile_pattern(wanted.start).search)
    return Continues(compile_pattern(wanted.continue_ or "").search)
