"""Values of a fluentd config in our words: Ruby's expressions, sizes, forms of times. Pure."""
from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ...process.times import of_text
from .syntax import assumed

_SIZES = re.compile(r"(\d+)\s*([kKmMgGtT]?)[bB]?")
_CLASSES = {"alpha": "A-Za-z", "digit": "0-9", "alnum": "A-Za-z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9A-Fa-f",
            "space": r"\s", "blank": r" \t", "word": r"\w"}
_SAMPLE = datetime(2026, 11, 20, 9, 4, 5, tzinfo=UTC)
_STRFTIME = {"%N": "123456789", "%3N": "123", "%6N": "123456", "%9N": "123456789", "%L": "123", "%:z": "+00:00", "%T": "%H:%M:%S",
             "%F": "%Y-%m-%d", "%e": "%d", "%Z": "UTC", "%z": "+0000", "%D": "%m/%d/%y", "%R": "%H:%M", "%h": "%b",
             "%s": f"{_SAMPLE.timestamp():.0f}"}          # that of strftime is off by this machine's zone
_REQUEST = (r'(?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>[^ "]+) (?P<path>[^ "]*)(?: [^"]*)?" '
            r'(?P<code>[^ ]*) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"')
ACCESS_LOGS: dict[str, dict[str, Any]] = {
    "nginx": {"regex": rf"^(?P<remote>[^ ]*) (?P<host>[^ ]*) {_REQUEST}(?: (?P<http_x_forwarded_for>[^ ]+))?)?$"},
    "apache2": {"regex": rf"^(?P<host>[^ ]*) [^ ]* {_REQUEST})?$", "types": {"code": "integer", "size": "integer"}},
}
"""`parse` with the fields of fluentd's parsers of these names (docs/processing/patterns.md: linear in every engine)."""


def python_regex(text: str) -> str:
    """Ruby's /.../ in the words of re, with the letters behind it in front."""
    text, flags = text.strip(), ""
    if text.startswith("/") and (found := re.fullmatch(r"/(.*)/([imx]*)", text, re.DOTALL)) is not None:
        text, flags = found[1], "".join(sorted({"i": "i", "m": "s", "x": "x"}[letter] for letter in set(found[2])))
    text = re.sub(r"\[:(\w+):\]", lambda found: _CLASSES.get(found[1], found[0]), text)
    text = (f"(?{flags})" if flags else "") + re.sub(r"\(\?<([A-Za-z_]\w*)>", r"(?P<\1>", text.replace("\\/", "/"))
    return text.replace("\\h", "[0-9a-fA-F]").replace("\\A", "^").replace("\\z", "$").replace("\\Z", "$")


def size(text: str) -> str | None:
    """512k as 512KiB."""
    found = _SIZES.fullmatch(assumed(text).strip())
    if found is None:
        return None
    unit = {"k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB", "": "B"}[found[2].lower()]
    return f"{found[1]}{unit}"


def known_time(form: str) -> bool:
    """Is what this form of Ruby's strftime writes read as what was written?"""
    text = form.strip()
    for theirs, ours in _STRFTIME.items():
        text = text.replace(theirs, ours)
    found = of_text(_SAMPLE.strftime(text).encode(), UTC, int(_SAMPLE.timestamp()))
    return form == "%iso8601" or (found is not None and found[:19] == b"2026-11-20T09:04:05")
