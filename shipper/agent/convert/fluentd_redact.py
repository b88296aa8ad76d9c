"""Ruby that masks what must not be shipped, as `redact`: gsub on the message, and <replace> of record_modifier. Pure.

    log ${record["log"].gsub(/password=\\S+/i, "password=***")}   ─►   redact: [{name: masked, pattern: '(?i)password=\\S+'}]

What was masked there must be here: a gsub that is not understood stays among the problems. All of what matches becomes
`[masked]`, whatever stood in its place.
"""
from __future__ import annotations

import re

from .draft import Draft, Item
from .fluentd_values import python_regex
from .syntax import Element

_GSUB = r"\.gsub!?\(\s*/(?P<pattern>(?:\\.|[^/\\])+)/(?P<flags>[imx]*)\s*,\s*(?:'[^']*'|\"[^\"#]*\")\s*\)"
_MASKING = re.compile(rf"\$\{{\s*record\[['\"](?:log|message|msg)['\"]\](?:{re.sub(r'[?]P<[a-z]+>', '?:', _GSUB)})+\s*\}}")
_BESIDE = "as [masked], whole: what stood in its place in fluentd is not kept"


def masks(record: Element, key: str, value: str, item: Item, draft: Draft) -> bool:
    """Whether `value` of <record> is such ruby, and is carried over."""
    if _MASKING.fullmatch(value) is None:
        return False
    found = [(one["pattern"], one["flags"]) for one in re.finditer(_GSUB, value)]
    if any("x" in flags for _, flags in found):
        return False
    for pattern, flags in found:
        _add(item, pattern, flags)
    draft.note(record, key, "redact of the source")
    return True


def replaces(element: Element, item: Item, draft: Draft) -> None:
    """<replace> of record_modifier."""
    for child in [each for each in element.children if each.name == "replace"]:
        key, expression = child.take("key") or "", (child.take("expression") or "").strip()
        found = re.fullmatch(r"/(.*)/([im]*)", expression, re.DOTALL)
        if key not in ("log", "message", "msg") or found is None:
            draft.refuse(child, "only the message is changed here, by redact: [{name: ..., pattern: ...}]; write it there")
            continue
        _add(item, found[1], found[2])
        draft.note(child, "replace", _BESIDE)


def _add(item: Item, pattern: str, flags: str) -> None:
    """In Ruby `^` and `$` are the ends of a line, always, and `m` lets a point be a newline."""
    rules = item.keys.get("redact", [])
    by_line = pattern.startswith("^") or pattern.endswith("$")
    letters = ("i" if "i" in flags else "") + ("m" if by_line else "") + ("s" if "m" in flags else "")
    name = "masked" if not rules else f"masked-{len(rules) + 1}"
    item.set("redact", [*rules, {"name": name, "pattern": (f"(?{letters})" if letters else "") + python_regex(pattern)}], _BESIDE)
