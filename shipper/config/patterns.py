"""What can be said about globs without looking at files. Pure.

`*`, `?` and `[...]` stay inside one path component, `**` is any number of them (as discover/globs.py matches).
"""
from __future__ import annotations

import fnmatch
import posixpath
import re

_WILD = re.compile(r"[*?\[]")
_FIELD = re.compile(r"\{[^}]*\}")
_TOKEN = re.compile(r"\*\*/?|\*|\?|\[[!^]?\]?[^\]/]*\]|.", re.DOTALL)


def static_prefix(pattern: str) -> str:
    """The directory before the first wildcard; of a plain path, its directory."""
    names = [name for name in pattern.split("/") if name]
    wild = next((i for i, name in enumerate(names) if _WILD.search(name)), len(names) - 1)
    return posixpath.normpath("/" + "/".join(names[:wild])).replace("//", "/")


def intersect(left: str, right: str) -> bool:
    """Is there a path that both match? A character class counts as any character, so True may be a false alarm.

    Cost: at most the product of the lengths.
    """
    a, b = _tokens(left), _tokens(right)
    seen = {(0, 0)}
    open_pairs = [(0, 0)]
    while open_pairs:
        i, j = open_pairs.pop()
        if i == len(a) and j == len(b):
            return True
        new = [pair for pair in _steps(a, b, i, j) if pair not in seen]
        seen.update(new)
        open_pairs += new
    return False


def _steps(a: tuple[str, ...], b: tuple[str, ...], i: int, j: int) -> list[tuple[int, int]]:
    """What is left to match after one more character, or after a wildcard has ended."""
    found = []
    left, right = a[i] if i < len(a) else "", b[j] if j < len(b) else ""
    if left in ("*", "**"):
        found.append((i + 1, j))
        if right and (left == "**" or right != "/"):
            found.append((i, j + 1))
    if right in ("*", "**"):
        found.append((i, j + 1))
        if left and (right == "**" or left != "/"):
            found.append((i + 1, j))
    if left and right and _one(left, right):
        found.append((i + 1, j + 1))
    return found


def excluded(path: str, globs: list[str]) -> bool:
    """Does an exclude glob cover this path (or this whole pattern, taken as it is written)?"""
    return any(fnmatch.fnmatchcase(path if "/" in glob else posixpath.basename(path), glob) for glob in globs)


def output_glob(target: str) -> str | None:
    """The glob of what a sink with this target (`SinkSpec.targets`: "file /path/{pod}.log") writes; None: no files."""
    path = target.removeprefix("file ")
    return _FIELD.sub("*", path) if path.startswith("/") else None


def _tokens(pattern: str) -> tuple[str, ...]:
    found = (token if token[0] != "[" or len(token) < 3 else "?" for token in _TOKEN.findall(pattern))
    return tuple("**" if token == "**/" else token for token in found)


def _one(a: str, b: str) -> bool:
    return a == b or (a == "?" and b != "/") or (b == "?" and a != "/")
