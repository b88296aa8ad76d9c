"""Severities: what people write, as names of model.SEVERITIES; and which of them `severity: ">=WARNING"` means.

Invariants:
  S1  `normal` takes every name of the table that users of fluentd's google-cloud plugin have today, and digits as that one does:
      down to the hundred, 800 at most
  S2  a record without a severity (b"") is below all, but no comparison means it unless DEFAULT is named: `<=DEBUG` in a drop list
      must not throw away what nobody could read a severity out of
Pure. `normal` is called once per distinct value.
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from .model import SEVERITIES

_ALIASES = {
    b"WARNING": ("WARN", "W"),
    b"CRITICAL": ("FATAL", "CRIT", "F", "C", "PANIC", "DPANIC"),
    b"DEBUG": ("TRACE", "TRACE_INT", "FINE", "FINER", "FINEST", "CONFIG", "D", "T", "VERBOSE"),
    b"ERROR": ("SEVERE", "ERR", "E"),
    b"EMERGENCY": ("EMERG",),
    b"INFO": ("INFORMATION", "INFORMATIONAL", "I"),
    b"NOTICE": ("N",),
    b"ALERT": ("A",),
}
_NAMES: dict[str, bytes] = {name.decode(): name for name in SEVERITIES} | {
    alias: name for name, aliases in _ALIASES.items() for alias in aliases
}
_SPEC = re.compile(r"(>=|<=|>|<|=|)\s*([A-Za-z_]+)")
KEYS = ("level", "severity", "lvl", "log.level", "loglevel", "levelname")
"""Fields in which programs write it: a parser takes the first one that is there, and then it is no field."""
NONE = b""
NONE_NAME = "DEFAULT"


def normal(text: str) -> bytes:
    """The name of SEVERITIES that `text` means, b"" where it means none (S1)."""
    word = text.strip().upper()
    found = _NAMES.get(word)
    if found is not None:
        return found
    if word.isascii() and word.isdigit() and len(word) <= 9:
        return of_number(int(word))
    return NONE


def aliases(name: bytes) -> tuple[str, ...]:
    """How people write it, in capitals; its own name first."""
    return (name.decode(), *_ALIASES.get(name, ()))


def of_number(number: int) -> bytes:
    """100 is DEBUG, 200 INFO, ... 800 EMERGENCY (Cloud Logging's LogSeverity); below 100 none."""
    return SEVERITIES[min(number // 100, 8) - 1] if number >= 100 else NONE


def chosen(specs: str | Iterable[str]) -> frozenset[bytes]:
    """What `">=WARNING"`, `[ERROR, CRITICAL]` or `[DEFAULT, "<INFO"]` means. ValueError, with the mend (S2)."""
    found: set[bytes] = set()
    for spec in [specs] if isinstance(specs, str) else specs:
        found |= _one(spec)
    return frozenset(found)


def _one(spec: str) -> set[bytes]:
    parts = _SPEC.fullmatch(spec.strip()) if isinstance(spec, str) else None
    if parts is None:
        raise ValueError(f"{spec!r} is no severity; write for example \">=WARNING\" or [ERROR, CRITICAL]")
    sign, word = parts[1], parts[2].upper()
    name = NONE if word == NONE_NAME else _NAMES.get(word)
    if name is None:
        known = [NONE_NAME, *(each.decode() for each in SEVERITIES)]
        near = difflib.get_close_matches(word, known, 1)
        raise ValueError(f"{word!r} is no severity" + (f"; did you mean {near[0]}?" if near else f"; use {', '.join(known)}"))
    order = (NONE, *SEVERITIES)
    at = order.index(name)
    meant = {">=": order[at:], ">": order[at + 1:], "<=": order[:at + 1], "<": order[:at]}.get(sign, (name,))
    return {each for each in meant if each or not name}
