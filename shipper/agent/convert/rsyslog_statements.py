"""rsyslog's config as statements: where each one begins and ends. Pure."""
from __future__ import annotations

import re

_RULESET = re.compile(r"ruleset\b", re.IGNORECASE)
ACTION = re.compile(r"action\s*\((?:\"(?:[^\"\\]|\\.)*\"|[^)\"])*\)", re.IGNORECASE)
"""One call; a bracket in a string is none."""
_GOES_ON = re.compile(r"ruleset\b[^{]*|if\b.*\bthen|.*\belse", re.IGNORECASE | re.DOTALL)
_ACTIONS = re.compile(rf"(?:{ACTION.pattern}\s*)+", re.IGNORECASE)


def statements(text: str) -> list[tuple[int, str]]:
    """(line, statement); what is in open brackets, or stands in front of some, goes on, a ruleset's on lines of their own: it
    holds statements."""
    found: list[tuple[int, str]] = []
    gathered, begun, depth = "", 0, 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = "" if raw.lstrip().startswith("#") else re.sub(r"\s+#\s.*$", "", raw.strip())
        between = "\n" if _RULESET.match(gathered) else " "
        if not line:
            gathered += between.strip(" ")                # the lines of a ruleset are counted
            continue
        begun = begun if gathered else number
        gathered = f"{gathered}{between}{line}".strip()
        plain = re.sub(r"\"(?:[^\"\\]|\\.)*\"", "", line)
        depth += plain.count("(") + plain.count("{") - plain.count(")") - plain.count("}")
        if depth <= 0 and _GOES_ON.fullmatch(gathered) is None:
            found += [(begun, one) for one in (ACTION.findall(gathered) if _ACTIONS.fullmatch(gathered) else [gathered])]
            gathered, depth = "", 0
    if gathered:
        found.append((begun, gathered))
    return found
