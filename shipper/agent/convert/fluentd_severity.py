"""`grep` on the field in which programs write their level: the parser takes it as the severity, and then it is no field. Pure.

    keep: [{field: level, match: 'warn|error'}]   ─►   keep: [{severity: [WARNING, ERROR]}]

Invariants (tests/agent/convert/test_fluentd.py, TestFilters): a condition never asks for a field that `parse` has taken away, but
for one that is said; what is dropped is no level that was kept, unless the one that has its name here was dropped too.
"""
from __future__ import annotations

import re
from typing import Any

from ...model import SEVERITIES
from ...severity import KEYS, aliases
from .draft import Draft, Item


def ask_for_severities(draft: Draft) -> None:
    """In all sources; what names no severity is among the problems, and stays."""
    for source in draft.sources.values():
        taken = _taken(source)
        for key in ("keep", "drop"):
            if key in source.keys:
                source.keys[key] = [_asked(condition, taken, key, source, draft) for condition in source.keys[key]]


def _taken(source: Item) -> frozenset[str]:
    """Fields that this source's parser takes as the severity."""
    parse = source.keys.get("parse", source.keys.get("format"))
    if isinstance(parse, dict):
        named = [key for key in KEYS if f"(?P<{key}>" in parse["regex"]]
        return frozenset(named[:1])
    if parse in ("json", "auto", "docker-daemon", "logfmt"):
        return frozenset(KEYS)
    return frozenset(("severity",)) if parse in ("klog", "gcp", "gcp-json") else frozenset()


def _asked(condition: dict[str, Any], taken: frozenset[str], key: str, source: Item, draft: Draft) -> dict[str, Any]:
    if condition.get("field") not in taken:
        return condition
    try:
        expression = re.compile(condition["match"])
    except re.error:
        return condition                                  # `check` says what is wrong with it
    words = {name.decode(): [
        word for word in aliases(name) if any(map(expression.search, (word, word.lower(), word.capitalize())))]
        for name in SEVERITIES}
    names = [name for name, found in words.items() if any(key == "keep" or _is_short_for(word, name) for word in found)]
    said = [f"{', '.join(found)} is {name} here, which is kept, as it has other levels too; write severity: [{name}] to drop all "
            "of them" for name, found in words.items() if found and name not in names]
    if not any(words.values()):
        said = [f"{condition['field']} =~ {condition['match']}: the field is the severity here, and this names no severity; "
                "write severity: [...], or another field"]
    draft.problems += [(*source.place[:2], f"{key} of source {source.name}: {why}") for why in said]
    return {"severity": names} if names else condition


def _is_short_for(word: str, name: str) -> bool:
    """INFORMATION and W are no other levels than INFO and WARNING. TRACE and FATAL are others, which we have not."""
    return name.startswith(word) or word.startswith(name)
