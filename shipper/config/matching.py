"""`when`: which sources a sink takes, or a processing rule is for. Pure. Hot: once per source; the answer is cached on it.

    when: {namespace: [payments, "team-*"], labels: {app: [web]}}     all keys must match; within a list, one of it

Invariants:
  R1  the answer depends on the source alone; `severity`, which depends on the record, is not looked at here
  R2  an empty `when` matches all
  R3  a label or annotation that a source does not have matches no glob, not even "*"
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from typing import Any

from ..model import Source
from .when import SEVERITY

Predicate = Callable[[Source], bool]

_FIELDS: dict[str, Callable[[Source], str]] = {
    "namespace": lambda source: source.namespace,
    "pod": lambda source: source.pod,
    "container": lambda source: source.container,
    "source": lambda source: source.name,
    "kind": lambda source: source.kind,
}
_MAPS: dict[str, Callable[[Source], Mapping[str, str] | None]] = {
    "labels": lambda source: source.labels,
    "annotations": lambda source: source.annotations,
}


def compile_when(when: Mapping[str, Any] | None) -> Predicate:
    """The predicate for a `when` block. ValueError, with the mend, where it is not one.

    Cost per call: one dict look-up once a source was asked; nothing but a constant where `when` is empty.
    """
    keys = sorted((key, value) for key, value in (when or {}).items() if key != SEVERITY)
    tests = [_compile_key(key, value) for key, value in keys]
    if not tests:
        return lambda source: True
    cache_name = ("when", repr(keys))

    def decide(source: Source) -> bool:
        return all(test(source) for test in tests)

    def routed(source: Source) -> bool:
        answer: bool = source.cached(cache_name, decide)
        return answer

    return routed


def _compile_key(key: str, value: Any) -> Predicate:
    if key in _FIELDS:
        read, matches = _FIELDS[key], _compile_globs(f"when.{key}", value)
        return lambda source: matches(read(source)) is not None
    if key in _MAPS:
        return _compile_map(key, value)
    known = [*_FIELDS, *_MAPS]
    near = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"
    raise ValueError(f"when.{key}: unknown key; {hint}")


def _compile_map(key: str, value: Any) -> Predicate:
    if not isinstance(value, Mapping):
        raise ValueError(f"when.{key} is not a mapping; write for example {key}: {{app: [web]}}")
    read = _MAPS[key]
    tests = [(str(name), _compile_globs(f"when.{key}.{name}", globs)) for name, globs in value.items()]

    def match(source: Source) -> bool:
        present = read(source) or {}
        return all(name in present and matches(present[name]) is not None for name, matches in tests)

    return match


def _compile_globs(where: str, value: Any) -> Callable[[str], re.Match[str] | None]:
    globs: Iterable[Any] = [value] if isinstance(value, str) else value
    if not isinstance(globs, (list, tuple)) or not globs or not all(isinstance(glob, str) for glob in globs):
        raise ValueError(f"{where} is not a list of globs; write for example [payments, 'team-*'], numbers in quotes")
    return re.compile("|".join(translate(glob) for glob in globs)).match
