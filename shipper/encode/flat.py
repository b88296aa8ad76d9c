"""Parsed fields as flat pairs of names and texts, for receivers that take nothing else (Loki, Splunk).

    {"http": {"status": 500, "tags": ["a"]}, "id": "x"}   ->   {"http_status": "500", "http_tags": '["a"]', "fields_id": "x"}

Invariants (tests/encode/test_loki.py, test_splunk.py):
  FL1  no field is thrown away: where they cannot be told apart or are too many or too large, the answer is None
Pure. Only for records with fields.
"""
from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import orjson

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_]")


def flat(one: bytes, own: Collection[str], *, most: int, most_bytes: int, join: str = "_") -> dict[str, str] | None:
    """FL1. `one`: a JSON object. own: names that are taken, which get `fields<join>` in front; most: pairs."""
    found: dict[str, str] = {}
    size = 0
    waiting: list[tuple[str, Any]] = [("", orjson.loads(one))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            lead = name + join if name else ""
            waiting += [(lead + _NOT_IN_NAME.sub("_", key), inner) for key, inner in reversed(value.items())]
            if len(waiting) + len(found) > most:
                return None
            continue
        key = f"fields{join}{name}" if name in own or not name or not name[0].isalpha() else name
        text = as_text(value)
        if key in found:
            return None
        found[key] = text
        size += len(key) + len(text.encode("utf-8", "replace"))
        if size > most_bytes:
            return None
    return found


def as_text(value: Any) -> str:
    """A text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
