"""A pattern that can blow up, written so that it cannot: what `check` says instead of "write it otherwise". Pure.

    drop a `$` behind `.*`  ─►  a blank for `\\s`  ─►  `^` in front  ─►  one or two repeats: without what stands behind them,
    or counted

Invariants (tests/process/test_patterns.py):
  M1  what comes out is proven (_blow_up.blow_up), else None: nobody is told to write what is refused again
  M2  names, groups and the number of repeats stay; the text that is matched is less by what the edits say: lines with newlines
      in a message that `.*$` took, tabs between fields, a field longer than COUNT
  M3  bounded by MOST_TRIES and MOST_WORK: it runs once per refused pattern
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, islice

COUNT = 99
MOST_TRIES = 600
MOST_WORK = 20_000_000
"""Tries times the square of the length, as which the cost of one grows: half a second, and the same on every machine."""
PARSES_FROM = 3
"""So many named groups take a line apart from its beginning; with fewer something is looked for anywhere."""
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d+,\}|.", re.DOTALL)
_REPEAT = re.compile(r"[*+]|\{\d+,\}")
_NAMED = re.compile(r"\(\?P?<(?=[A-Za-z_])")
_END_BEHIND_DOT = re.compile(r"\.[*+]\)*\$$")
Edit = tuple[int, str, bool]
"""Which atom, what stands there instead, and is it a count: those come last, since a longer field would not match."""


def mended(text: str, is_proven: Callable[[str], bool]) -> str | None:
    """`text` with the fewest edits with which `is_proven` holds; None where none of those that are tried does."""
    most = min(MOST_TRIES, MOST_WORK // (len(text) ** 2 + 1))
    for atoms in islice(_candidates(_ATOM.findall(text)), most):
        found = "".join(atoms)
        if found != text and is_proven(found):
            return found
    return None


def _candidates(atoms: list[str]) -> Iterator[list[str]]:
    base = [atoms]
    if _END_BEHIND_DOT.search("".join(atoms)):
        base.append(atoms[:-1])
    if r"\s" in atoms:
        base.append([" " if atom == r"\s" else atom for atom in base[-1]])
    if atoms[0] != "^" and len(_NAMED.findall("".join(atoms))) >= PARSES_FROM:
        base.append(["^", *base[-1]])
    yield from base
    for atoms in base:
        yield from (_edited(atoms, [edit]) for edit in _edits(atoms))
    pairs = combinations(_edits(base[-1]), 2)
    yield from (_edited(base[-1], pair) for pair in sorted(pairs, key=lambda pair: (pair[0][2] + pair[1][2] > 1, _apart(*pair))))


def _apart(one: Edit, other: Edit) -> int:
    return abs(one[0] - other[0])


def _edits(atoms: Sequence[str]) -> list[Edit]:
    """Repeats of single characters and of classes, each by itself."""
    found: list[Edit] = []
    counts: list[Edit] = []
    for at, atom in enumerate(atoms):
        if not at or not _REPEAT.fullmatch(atom) or atoms[at - 1] in ")*+?(|":
            continue
        before = atoms[at - 1]
        if before.startswith("[^") and " " not in before:
            found.append((at - 1, before[:-1] + " ]", False))
        elif before == r"\S":
            found.append((at - 1, r'[^\s"]', False))
        elif before == "." and (behind := _behind(atoms, at)):
            found.append((at - 1, f"[^{behind}]", False))
        low = {"*": "0", "+": "1"}.get(atom) or atom[1:-2]
        if int(low) < COUNT:
            counts.append((at, f"{{{low},{COUNT}}}", True))
    return found + counts


def _behind(atoms: Sequence[str], at: int) -> str:
    """The one character that has to stand behind a repeat; "" where that is not plain."""
    rest = [atom for atom in atoms[at + 1:at + 8] if atom not in ")?"]
    if not rest or (len(rest) > 1 and _REPEAT.fullmatch(rest[1])) or rest[0] in "^$.(|[ *+{\\" or rest[0].startswith("["):
        return ""
    return rest[0] if len(rest[0]) == 1 or rest[0][1:] in "]" else rest[0][1:] if rest[0][1:] in "[(){}.:|/" else ""


def _edited(atoms: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    out = list(atoms)
    for at, text, _ in edits:
        out[at] = text
    return out
