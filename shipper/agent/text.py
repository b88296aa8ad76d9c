"""Numbers and tables for people. Names from log files are made harmless for a terminal. Pure."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def size(count_bytes: float | None) -> str:
    """`0 B`, `17.3 MiB`; `-` where unknown."""
    if count_bytes is None:
        return "-"
    value = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float | None) -> str:
    """`0 s`, `4.2 s`, `3 m`, `5 h 10 m`, `2 d 3 h`, `7 d`; `-` where unknown."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} m"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} m".removesuffix(" 0 m")
    return f"{minutes // 1440} d {minutes % 1440 // 60} h".removesuffix(" 0 h")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be; the last one ragged."""
    cells = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def printable(text: str) -> str:
    """Without control characters and broken surrogates: a file name must not drive the terminal (P10)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_default(value: Any) -> Any:
    """For orjson: durations (a float of our own type) as numbers, anything else as text."""
    return float(value) if isinstance(value, float) else str(value)
