"""Parsed fields as flat pairs of names and texts, for receivers that take nothing else (Loki, Splunk).

    {"http": {"status": 500, "tags": ["a"]}, "id": "x"}   ->   {"http_status": "500", "http_tags": '["a"]', "fields_id": "x"}

Invariants (tests/encode/test_flat.py):
  FL1  no field is thrown away: where they cannot be told apart or are too many or too large, the answer is None
  FL2  names are ASCII letters, digits and _, begin with a letter, and none is one of `own`
Pure. Only for records with fields. Cost: 2.6 us for five of them.
"""
from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import orjson

MAX_DEPTH = 16                      # what is nested deeper stays JSON, as a text
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_]")


def flat(one: bytes, own: Collection[str], *, most: int, most_bytes: int) -> dict[str, str] | None:
    """FL1. `one`: a JSON object. own: names that are taken, which get `fields_` in front. most: pairs; most_bytes: of UTF-8."""
    found: dict[str, str] = {}
    if not _fill(found, "", orjson.loads(one), own, most, 0):
        return None
    if sum(map(len, found)) + len(one) > most_bytes:          # no text is longer than it was in the JSON; names are ASCII
        size = sum(len(name) + len(text.encode("utf-8", "replace")) for name, text in found.items())
        return None if size > most_bytes else found
    return found


def _fill(found: dict[str, str], lead: str, values: dict[str, Any], own: Collection[str], most: int, depth: int) -> bool:
    """Whether all of `values` has a place in `found`."""
    for key, value in values.items():
        name = lead + _clean(key)
        if type(value) is dict and value and depth < MAX_DEPTH:
            if not _fill(found, name + "_", value, own, most, depth + 1):
                return False
            continue
        if name in own or not name[:1].isalpha():
            name = "fields_" + name
        if name in found or len(found) >= most:
            return False
        found[name] = value if type(value) is str else orjson.dumps(value).decode()
    return True


@lru_cache(maxsize=4096)
def _clean(key: str) -> str:
    """FL2. Cached: the keys of a program's logs are few, and those of a hostile one push each other out."""
    return _NOT_IN_NAME.sub("_", key[:1024])


def as_text(value: Any) -> str:
    """A text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
