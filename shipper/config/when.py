"""`when`: which records a sink wants, or a processing rule is for. Checks and normalises; matching.py matches. Pure.

    when: {namespace: [payments, "shop-*"], labels: {tier: web}, severity: ">=WARNING"}
"""
from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from ..severity import chosen
from .tree import Path

PLAIN_KEYS = ("namespace", "pod", "container", "source", "kind")
MAP_KEYS = ("labels", "annotations")
SEVERITY = "severity"


def when_problems(when: dict[str, Any], source_names: list[str], *, per_record: bool = True) -> Iterator[tuple[Path, str]]:
    """(key path below `when`, what is wrong and the mend) for each problem. `per_record`: may it look at records?"""
    for key, value in when.items():
        if key in PLAIN_KEYS:
            yield from _list_problems((key,), value)
        elif key == SEVERITY and per_record:
            yield from _severity_problems((key,), value)
        elif key == SEVERITY:
            yield (key,), "a rule is chosen once per file, before its records are read; use keep or drop with severity in it"
        elif key in MAP_KEYS:
            if not isinstance(value, dict) or not value:
                yield (key,), f"a map is expected; write it as {key}: {{tier: [web]}}"
                continue
            for name, globs in value.items():
                yield from _list_problems((key, name), globs)
        else:
            known = (*PLAIN_KEYS, *MAP_KEYS, *([SEVERITY] if per_record else []))
            close = get_close_matches(key, known, 1, 0.6)
            yield (key,), "unknown key" + (f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}")
    yield from _never(when, "source", source_names)
    yield from _never(when, "kind", ["containers", "files", "journal", "kmsg"])


def _list_problems(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item for item in items):
        yield path, f"a list of names is expected; write it as {path[-1]}: [first, second], and quote numbers"


def _severity_problems(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    try:
        if not chosen(value if isinstance(value, (str, list)) else str(value)):
            yield path, "no severity is meant, so nothing would match; correct it"
    except ValueError as error:
        yield path, str(error)


def _never(when: dict[str, Any], key: str, names: list[str]) -> Iterator[tuple[Path, str]]:
    """A name that nothing has is a typing mistake: the sink would get nothing, in silence."""
    globs = when.get(key)
    for glob in [globs] if isinstance(globs, str) else globs if isinstance(globs, list) else []:
        if isinstance(glob, str) and glob and not any(fnmatchcase(name, glob) for name in names):
            yield (key,), f"{glob!r} matches none of {', '.join(names)}; correct it, or this sink would get nothing"


def normalised(when: dict[str, Any]) -> dict[str, Any]:
    """Single names as lists of one."""
    return {key: ({k: _as_list(v) for k, v in value.items()} if key in MAP_KEYS and isinstance(value, dict) else _as_list(value))
            for key, value in when.items()}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value
