"""JSON for what we keep ourselves, exact also for names that are not UTF-8 (P10). Pure.

File names are bytes. Python holds those that are not UTF-8 as lone surrogates, which orjson refuses in both directions; a
log file named so must not stop the agent. Such a name is written by the standard library as an escape, and read back equal.

Cost: orjson's, unless a surrogate is there.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson


def dumps(value: Any, default: Callable[[Any], Any] | None = None, option: int = 0) -> bytes:
    """As orjson.dumps; `option` has no effect but OPT_APPEND_NEWLINE where the slow way is taken."""
    try:
        return orjson.dumps(value, default=default, option=option)
    except TypeError:
        text = json.dumps(value, default=default, separators=(",", ":"))
        return text.encode("ascii") + (b"\n" if option & orjson.OPT_APPEND_NEWLINE else b"")


def loads(data: bytes | bytearray | memoryview | str) -> Any:
    """As orjson.loads; raises orjson.JSONDecodeError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(bytes(data) if isinstance(data, memoryview) else data)
        except (ValueError, RecursionError):
            raise error from None
