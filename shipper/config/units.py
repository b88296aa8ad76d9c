"""Sizes and durations as people write them. Pure.

    16MiB  512KiB  1GiB  64MB  1000      -> Bytes (an int)
    500ms  5s  2m  24h  7d               -> Seconds (a float)
"""
from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\Z")
_SIZE_FACTOR = {
    None: 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
_DURATION_FACTOR = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 100 * 365 * 86400.0


class Bytes(int):
    """A size in bytes; in YAML a number or text such as 16MiB."""

    @classmethod
    def parse(cls, value: object) -> Bytes:
        """ValueError, with the mend in its message, where `value` is not a size."""
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"{value!r} is not a size; write for example 16MiB, 512KiB or 1048576")
        if isinstance(value, int):
            if value < 0:
                raise ValueError(f"{value} is negative; write for example 16MiB")
            return cls(value)
        found = _SIZE.match(value.strip())
        if not found:
            raise ValueError(f"{value!r} is not a size; write for example 16MiB, 512KiB or 1048576")
        size_bytes = float(found[1]) * _SIZE_FACTOR[found[2]]
        if size_bytes >= 2**63:
            raise ValueError(f"{value!r} is more than any disk holds; write for example 16MiB")
        return cls(int(size_bytes))


class Seconds(float):
    """A duration in seconds; in YAML text with a unit such as 500ms, 5s, 2m, 24h, 7d."""

    @classmethod
    def parse(cls, value: object) -> Seconds:
        """ValueError, with the mend in its message, where `value` is not a duration."""
        found = _DURATION.match(value.strip()) if isinstance(value, str) else None
        if not found:
            raise ValueError(f"{value!r} is not a duration; write it with its unit, for example 500ms, 5s or 2m")
        seconds = float(found[1]) * _DURATION_FACTOR[found[2]]
        if seconds > _LONGEST_S:
            raise ValueError(f"{value!r} is longer than a hundred years; write for example 5s or 7d")
        return cls(seconds)
