"""fluentd's tag patterns, and which files' records they mean where a tag is the path of each file. Pure.

    path /var/log/containers/*.log
    tag kubernetes.*                   ─►   kubernetes.var.log.containers.<EACH>.log, one tag a file

Invariants (tests/agent/convert/test_fluentd.py):
  T1  a pattern that takes some files' tags and not all is never taken for one that takes none
  T2  a pattern becomes a glob of file names only where that means the same files
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product

from .fluentd_sources import EACH
from .fluentd_values import python_regex
from .syntax import assumed

MOST_ALTERNATIVES = 1000
_GLOB = re.compile(r"[A-Za-z0-9_.*-]+")


def matches(patterns: str, tag: str) -> bool:
    """fluentd's tag patterns: `*` is one part, `**` any number of them, {a,b} one of the two; several, with blanks between."""
    for pattern in _split(patterns or "**"):
        if _is_regex(pattern):
            if _found(pattern, tag):
                return True
        elif re.fullmatch(_expression(pattern), tag):
            return True
    return False


def takes_some(patterns: str, tag: str) -> bool:
    """T1. May there be a file whose tag it takes? `tag` holds EACH, which stands for any text."""
    first, last = tag.split(EACH)[0], tag.split(EACH)[-1]
    for pattern in _split(patterns or "**"):
        if _is_regex(pattern):
            begins = re.match(r"/\^((?:\\\.|[\w-])*)", pattern)
            if _agree(first, begins[1].replace("\\.", ".") if begins else "", str.startswith):
                return True
            continue
        for one in _alternatives(pattern):
            if "*" not in one:
                if re.fullmatch(".*".join(map(re.escape, tag.split(EACH))), one):
                    return True
            elif "**" not in one and one.count(".") < tag.count("."):
                continue                                  # `*` is one part, and each tag has more
            elif _agree(first, one.split("*")[0].removesuffix("."), str.startswith) and _agree(
                    last, one.split("*")[-1].removeprefix("."), str.endswith):
                return True
    return False


def globs_of(patterns: str, tag: str, path: str) -> tuple[list[str], bool]:
    """T2. Globs of the names of the files in `path`, a glob, whose records have a tag that `patterns` takes; and whether they are
    exact: a `*` that stands alone stops at a dot in a tag, and not in a glob. [] where there are none that say the same."""
    directory, _, _ = assumed(path).rpartition("/")
    dotted = assumed(path).replace("*", EACH).strip("/").replace("/", ".")
    if not tag.endswith(dotted) or "*" in directory:
        return [], False
    before, inside = tag.removesuffix(dotted), directory.strip("/").replace("/", ".") + "."
    globs, exact = [], True
    for pattern in _split(patterns):
        for one in [] if _is_regex(pattern) else _alternatives(pattern):
            if not takes_some(one, tag):
                continue
            behind = one if one.startswith("**") else one.removeprefix(before)
            name = behind.removeprefix(inside)
            if not one.startswith((before, "**")) or _GLOB.fullmatch(name) is None or (
                    name == behind and not name.startswith("**")):
                return [], False
            exact = exact and "*" not in name.replace("**", "")
            globs.append(re.sub(r"\*+", "*", name))
        if _is_regex(pattern) and takes_some(pattern, tag):
            return [], False
    return list(dict.fromkeys(globs)), exact


def _is_regex(pattern: str) -> bool:
    return pattern.startswith("/") and pattern.endswith("/") and len(pattern) > 1


def _agree(one: str, other: str, how: object) -> bool:
    return how(one, other) or how(other, one)  # type: ignore[operator, no-any-return]


def _alternatives(pattern: str) -> Iterator[str]:
    """Without its {a,b}."""
    parts = [part.strip("{}").split(",") if part.startswith("{") else [part] for part in re.split(r"(\{[^}]*\})", pattern)]
    yield from islice(map("".join, product(*parts)), MOST_ALTERNATIVES)


def _found(pattern: str, tag: str) -> bool:
    """An expression that means nothing here finds nothing; its <match> is then said to be reached by no source."""
    try:
        return re.search(python_regex(pattern), tag) is not None
    except re.error:
        return False


def _split(text: str) -> list[str]:
    return re.findall(r"(?:\{[^}]*\}|\S)+", text)


def _expression(pattern: str) -> str:
    out, at, depth = "", 0, 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith(".**"):
            out, at = out + r"(?:\..*)?", at + 3
        elif rest.startswith("**."):
            out, at = out + r"(?:.*\.)?", at + 3
        elif rest.startswith("**"):
            out, at = out + ".*", at + 2
        else:
            char = rest[0]
            depth += (char == "{") - (char == "}")
            special = {"*": r"[^.]*", "{": "(?:", "}": ")"}
            out += special.get(char, "|" if char == "," and depth else re.escape(char))
            at += 1
    return out
