"""A pattern as an automaton whose steps are single bytes, assertions worked in. Pure.

    tree of the standard `re` ─► nodes (Thompson) ─► states: (node, part of the byte taken) ─► steps between states

Invariants (tests/process/test_patterns.py):
  AU1  what leads along `steps` to an accepting state is a text that the pattern matches, assertions included; of counted
       repeats not all copies are there, of all else every way
  AU2  what would have more than MOST_STATES, or has a node that is not known here, is TooComplex: never half an automaton
  AU3  with `loop_bounded`, a counted repeat is a loop: that has more ways than the pattern, never fewer
Plane: once per pattern of the config.
"""
from __future__ import annotations

from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]
from typing import Any

MOST_STATES = 400
MOST_COPIES = 9
"""Of a count beyond that the first eight stand for all but the last. With two, of which the last cannot fail, no two were
left that share text: ^(?:,[^;]*){18} was taken, and took a second for a line of 1 kB, ten for one of 2 kB."""
MOST_OPTIONAL = 3
"""Of those that may be there or not."""

UNBOUNDED = int(_parser.MAXREPEAT)

ALL = (1 << 256) - 1
NEWLINE = 1 << 10
WORD = sum(1 << c for c in range(256) if chr(c).isascii() and (chr(c).isalnum() or c == 0x5F))
SPACE = sum(1 << c for c in b" \t\n\r\f\v")
DIGIT = sum(1 << c for c in b"0123456789")
PARTS = (NEWLINE, WORD, ALL & ~NEWLINE & ~WORD)
"""Assertions see no more of a byte than which of these it is in; EDGE stands for the text's beginning or end."""
EDGE = 3
ANYTHING = 0b1111
IGNORECASE, MULTILINE, DOTALL = 2, 8, 16
_CATEGORIES = {
    "CATEGORY_DIGIT": DIGIT, "CATEGORY_NOT_DIGIT": ALL & ~DIGIT, "CATEGORY_SPACE": SPACE, "CATEGORY_NOT_SPACE": ALL & ~SPACE,
    "CATEGORY_WORD": WORD, "CATEGORY_NOT_WORD": ALL & ~WORD,
}


class TooComplex(Exception):
    """AU2."""


class _Machine:
    """Thompson's construction: nodes that consume one byte of a class, assert something, or lead on."""

    def __init__(self, loop_bounded: bool) -> None:
        self.loop_bounded = loop_bounded
        self.classes: dict[int, int] = {}
        self.asserts: dict[int, tuple[str, int]] = {}
        self.next: list[list[int]] = []

    def node(self, *targets: int) -> int:
        if len(self.next) > 20 * MOST_STATES:
            raise TooComplex
        self.next.append(list(targets))
        return len(self.next) - 1

    def sequence(self, tree: Any, flags: int, target: int) -> int:
        for operation, value in reversed(list(tree)):
            target = self.one(str(operation), value, flags, target)
        return target

    def one(self, name: str, value: Any, flags: int, target: int) -> int:
        if name == "AT":
            node = self.node(target)
            self.asserts[node] = (str(value), flags)
            return node
        if name == "BRANCH":
            return self.node(*[self.sequence(branch, flags, target) for branch in value[1]])
        if name == "SUBPATTERN":
            _, add, delete, body = value
            return self.sequence(body, (flags | add) & ~delete, target)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = value
            return self.repeat(int(low), int(high), body, flags, target)
        node = self.node(target)
        self.classes[node] = byte_class(name, value, flags)
        return node

    def repeat(self, low: int, high: int, body: Any, flags: int, target: int) -> int:
        copies = min(low, MOST_COPIES)
        if high == UNBOUNDED or (self.loop_bounded and high > 1 and (high > low or not _is_one_byte(body))):
            loop = self.node(target)
            self.next[loop].append(self.sequence(body, flags, loop))
            target = loop if low == 0 else self.sequence(body, flags, loop)
            copies = max(0, copies - 1)
        else:
            for _ in range(min(high - low, MOST_OPTIONAL)):
                target = self.node(target, self.sequence(body, flags, target))
        for _ in range(copies):
            target = self.sequence(body, flags, target)
        return target


def _is_one_byte(body: Any) -> bool:
    """Then so many of it are one way, whatever the text."""
    return len(body) == 1 and str(body[0][0]) not in ("BRANCH", "SUBPATTERN", "MAX_REPEAT", "MIN_REPEAT")


def byte_class(name: str, value: Any, flags: int) -> int:
    """The bytes that one node of the tree matches, as bits."""
    found = 0
    if name == "LITERAL":
        found = _fold(1 << value, flags)
    elif name == "NOT_LITERAL":
        found = ALL & ~_fold(1 << value, flags)
    elif name == "ANY":
        found = ALL if flags & DOTALL else ALL & ~NEWLINE
    elif name == "CATEGORY":
        found = _CATEGORIES[str(value)]
    elif name == "RANGE":
        found = _fold(sum(1 << c for c in range(value[0], value[1] + 1)), flags)
    elif name == "IN":
        for inner, what in value:
            found |= 0 if str(inner) == "NEGATE" else byte_class(str(inner), what, flags)
        found = ALL & ~found if str(value[0][0]) == "NEGATE" else found
    else:
        raise TooComplex
    return found


def _fold(bits: int, flags: int) -> int:
    if not flags & IGNORECASE:
        return bits
    upper, lower = ((1 << 91) - (1 << 65)), ((1 << 123) - (1 << 97))
    return bits | (bits & upper) << 32 | (bits & lower) >> 32


class Automaton:
    """States are (node, part of the byte that it has just taken); `steps[state]` are the states that the next byte leads to.

    State 0 to 2 are the search that has not begun (any byte of that part). `forked`: more than one way without a byte between.
    `first`: what the first byte may lead to, wherever the text begins.
    """

    def __init__(self, tree: Any, flags: int, *, loop_bounded: bool) -> None:
        self.machine = machine = _Machine(loop_bounded)
        self.accept = machine.node()
        self.start = machine.sequence(tree, flags, self.accept)
        self.bytes: list[int] = list(PARTS)
        self.part: list[int] = [0, 1, 2]
        self._number: dict[tuple[int, int], int] = {}
        self.steps: list[set[int]] = []
        self.first: set[int] = set()
        self.forked: set[tuple[int, int]] = set()
        self.accepting: set[int] = set()
        self.ending: set[int] = set()
        self._build()

    def _build(self) -> None:
        targets: list[int] = [self.start] * 3
        for part in range(3):
            self.steps.append({0, 1, 2} | self._follow(part, part, self.start, targets))
        self.first = self._follow(-1, EDGE, self.start, targets).union(*self.steps) - {0, 1, 2}
        state = 3
        while state < len(targets):
            self.steps.append(self._follow(state, self.part[state], targets[state], targets))
            state += 1

    def _follow(self, state: int, part: int, node: int, targets: list[int]) -> set[int]:
        found: set[int] = set()
        for reached, allowed in self._closure(node, part):
            if reached == self.accept:
                if allowed == ANYTHING:
                    self.accepting.add(state)
                if allowed >> EDGE & 1:
                    self.ending.add(state)
                continue
            for number in self._states_of(reached, allowed, targets):
                if number in found:
                    self.forked.add((state, number))
                found.add(number)
        return found

    def _states_of(self, node: int, allowed: int, targets: list[int]) -> Iterator[int]:
        for part in range(3):
            bits = self.machine.classes[node] & PARTS[part]
            if not bits or not allowed >> part & 1:
                continue
            number = self._number.get((node, part))
            if number is None:
                number = self._number[node, part] = len(targets)
                if number > MOST_STATES:
                    raise TooComplex
                targets.append(self.machine.next[node][0])
                self.bytes.append(bits)
                self.part.append(part)
            yield number

    def _closure(self, node: int, part: int) -> Iterator[tuple[int, int]]:
        """(node that takes a byte, or `accept`; parts that may follow), once per way, at most twice."""
        times: dict[tuple[int, int], int] = {}
        stack = [(node, ANYTHING)]
        while stack:
            here = at, allowed = stack.pop()
            times[here] = times.get(here, 0) + 1
            if times[here] > 2:
                continue
            if at in self.machine.classes or at == self.accept:
                yield here
            elif at in self.machine.asserts:
                allowed &= _following(*self.machine.asserts[at], part)
                if allowed:
                    stack.append((self.machine.next[at][0], allowed))
            else:
                stack += [(target, allowed) for target in self.machine.next[at]]


def _following(name: str, flags: int, part: int) -> int:
    """Parts (as bits) that may stand behind this assertion, where `part` stands in front of it."""
    newline, edge = 1, 1 << EDGE
    if name in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
        lines = name == "AT_BEGINNING" and flags & MULTILINE
        return ANYTHING if part == EDGE or (lines and part == 0) else 0
    if name in ("AT_END", "AT_END_STRING"):
        return edge if name == "AT_END_STRING" else edge | newline
    word = 1 << 1
    behind_a_word = part == 1
    if name == "AT_BOUNDARY":
        return ANYTHING & ~word if behind_a_word else word
    if name == "AT_NON_BOUNDARY":
        return word if behind_a_word else ANYTHING & ~word
    raise TooComplex
