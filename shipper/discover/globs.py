"""Include and exclude patterns.

    /var/log/pods/*/*/*.log     `*` and `?` and `[a-z]` stay inside one path component
    /var/log/**/*.log           `**` as a whole component: any number of directories, symbolic ones not entered
    *_kube-system_*             without a slash (exclude only): compared with the base name

Invariants:
  G1  a wildcard at the start of a component does not match a leading dot, as in a shell
  G2  the same pattern means the same thing for walking (`parts`) and for testing (`matches`)
  G3  matching is linear for practical patterns: fnmatch's translation, one regex per component
Plane: pure. Compiled once per config.
"""
from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

RECURSIVE = None
"""The part of a pattern that stands for `**`."""

_WILD = re.compile(r"[*?\[]")
Part = re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """One compiled glob. `base`: the directory before the first wildcard (of a plain path, its directory)."""

    text: str
    base: str
    parts: tuple[Part, ...]

    def matches(self, path: str) -> bool:
        """True where this absolute path is one that walking the pattern could give."""
        prefix = self.base.rstrip("/") + "/"
        return path.startswith(prefix) and _match(self.parts, path[len(prefix):].split("/"))


def compile_pattern(text: str) -> Pattern:
    """Raises ValueError where the pattern is not an absolute path, or ends in a slash."""
    if not text.startswith("/"):
        raise ValueError(f"the pattern {text!r} is not an absolute path: begin it with /")
    names = [name for name in text.split("/") if name]
    if not names or text.endswith("/"):
        raise ValueError(f"the pattern {text!r} names a directory: end it with a file name or a wildcard, such as /*.log")
    plain = next((i for i, name in enumerate(names) if _WILD.search(name)), len(names) - 1)
    base = os.path.normpath("/" + "/".join(names[:plain]))
    return Pattern(text, base, tuple(RECURSIVE if name == "**" else component(name) for name in names[plain:]))


def component(glob: str) -> re.Pattern[str]:
    """One path component's glob as a regex for `fullmatch`."""
    hidden = "" if glob.startswith(".") else r"(?!\.)"  # G1
    return re.compile(hidden + fnmatch.translate(glob))


def excluder(globs: tuple[str, ...]) -> Callable[[str], bool]:
    """A test for absolute paths: True where one of `globs` matches. One without a slash is for the base name alone."""
    patterns = [compile_pattern(glob) for glob in globs if "/" in glob]
    bases = [re.compile(fnmatch.translate(glob)) for glob in globs if "/" not in glob]

    def excluded(path: str) -> bool:
        base = path.rpartition("/")[2]
        return any(regex.fullmatch(base) for regex in bases) or any(pattern.matches(path) for pattern in patterns)

    return excluded


def _match(parts: tuple[Part, ...], names: list[str]) -> bool:
    if not parts:
        return not names
    if not names:
        return False
    if (part := parts[0]) is not RECURSIVE:
        return part.fullmatch(names[0]) is not None and _match(parts[1:], names[1:])
    if _match(parts[1:] or (component("*"),), names):
        return True
    return not names[0].startswith(".") and _match(parts, names[1:])
