"""`keep` and `drop`: which records go on. Pure. Hot: one comprehension per condition and batch.

Invariants (tests/process/test_filter.py):
  K1  keep: one of its conditions must hold; drop: none of its. Within a condition all keys must hold
  K2  a field that is not there matches nothing but `exists: false`
  K3  what goes is counted as `filtered`, with its source bytes (chain.R2)
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Any

import orjson

from ..config.processing import Condition
from ..errors import DropReason
from ..severity import chosen
from .chain import Work

Flags = list[bool]
Test = Callable[[Work], Flags]


class Filter:
    """See process.chain.Step."""

    def __init__(self, keep: Sequence[Condition], drop: Sequence[Condition]) -> None:
        self._keep = [compile_condition(condition) for condition in keep]
        self._drop = [compile_condition(condition) for condition in drop]

    def __call__(self, work: Work) -> None:
        if self._keep:
            work.select(_any([test(work) for test in self._keep]), DropReason.FILTERED)
        if self._drop and len(work.batch):
            work.select([not flag for flag in _any([test(work) for test in self._drop])], DropReason.FILTERED)


def _any(columns: list[Flags]) -> Flags:
    return columns[0] if len(columns) == 1 else [any(row) for row in zip(*columns)]


def compile_condition(condition: Condition) -> Test:
    """Says for each record of a batch whether all keys of the condition hold (K1)."""
    tests: list[Test] = []
    if condition.severity is not None:
        tests.append(_severity(chosen(condition.severity)))
    if condition.field is not None:
        tests += [_field(condition.field, test) for test in _value_tests(condition)]
    else:
        tests += [_message(test) for test in _message_tests(condition)]
    return tests[0] if len(tests) == 1 else lambda work: [all(row) for row in zip(*[test(work) for test in tests])]


def _severity(wanted: frozenset[bytes]) -> Test:
    def test(work: Work) -> Flags:
        severities = work.batch.severities
        return [b"" in wanted] * len(work.batch) if severities is None else [one in wanted for one in severities]

    return test


def _message(holds: Callable[[bytes], bool]) -> Test:
    return lambda work: [holds(message) for message in work.batch.messages]


def _message_tests(condition: Condition) -> list[Callable[[bytes], bool]]:
    tests: list[Callable[[bytes], bool]] = []
    if condition.match is not None:
        tests.append(_searcher(condition.match))
    if condition.glob is not None:
        matches = _globs(condition.glob)
        tests.append(lambda message: matches(message.decode("utf-8", "replace")) is not None)
    if condition.equals is not None:
        wanted = _text(condition.equals).encode()
        tests.append(lambda message: message == wanted)
    return tests


def _field(path: str, holds: Callable[[Any], bool]) -> Test:
    names = path.split(".")

    def test(work: Work) -> Flags:
        return [holds(value.get(path, _missing) if value is not None and path in value else look_up(value, names))
                for value in values_of(work)]

    return test


class _Missing:
    """Stands for a field that is not there (K2)."""


_missing = _Missing()


def look_up(value: Any, names: Sequence[str]) -> Any:
    """What stands at a dotted path; `_missing` where nothing does."""
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return _missing
        value = value[name]
    return value


def _value_tests(condition: Condition) -> list[Callable[[Any], bool]]:
    tests: list[Callable[[Any], bool]] = []
    if condition.exists is not None:
        wanted = condition.exists
        tests.append(lambda value: (value is not _missing) == wanted)
    if condition.match is not None:
        search = _searcher(condition.match)
        tests.append(lambda value: value is not _missing and search(_text(value).encode("utf-8", "replace")))
    if condition.glob is not None:
        matches = _globs(condition.glob)
        tests.append(lambda value: value is not _missing and matches(_text(value)) is not None)
    if condition.equals is not None:
        same = condition.equals
        text = _text(same)
        tests.append(lambda value: value is not _missing and (_text(value) == text or _equal(value, same)))
    return tests


def _equal(value: Any, wanted: Any) -> bool:
    """1 and 1.0 are equal, true and 1 are not."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _text(value: Any) -> str:
    """A field's value as people write it: text as it is, else its JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _searcher(pattern: str) -> Callable[[bytes], bool]:
    from .patterns import compile_pattern

    search = compile_pattern(pattern).search
    return lambda text: search(text) is not None


def _globs(globs: str | list[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(translate(glob) for glob in ([globs] if isinstance(globs, str) else globs))).match


def values_of(work: Work) -> Sequence[dict[str, Any] | None]:
    """The fields of each record as dicts, None where it has none; read from the column where no parser left them."""
    if work.values is None:
        fields = work.batch.fields
        work.values = [None] * len(work.batch) if fields is None else [orjson.loads(one) if one else None for one in fields]
    return work.values
