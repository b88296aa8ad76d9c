"""Can a backtracking engine need more than linear time for this pattern? Decided on its automaton. Pure.

    pattern ─► tree of the standard `re` ─► states with assertions ─► steps between bytes ─► loops ─► verdict

A backtracking search tries every way in which the text can be laid over the pattern before it gives up. So its cost is the
number of ways, which grows exponentially where one loop can go round in two ways over the same text, and as a power of the
length where two loops in a row can share the same text (Weideman et al. 2016, "Analyzing Matching Time Behavior of
Backtracking Regular Expression Matchers"). A search that is tried again at each byte is such a loop in front of the pattern.

Invariants:
  B1  the verdict is None only where no two loops share text, and no loop is ambiguous; bounded repeats may multiply to
      MOST_WAYS per place
  B2  loops behind which nothing can fail any more do not count: nothing is tried again there
  B3  work is bounded by MOST_STEPS; a pattern that needs more is not proven, and says so
Plane: once per pattern of the config.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from re import _parser  # type: ignore[attr-defined]
from typing import Any

MOST_STEPS = 400_000
MOST_STATES = 400
MOST_WAYS = 400
"""A way costs 24 ns a byte: 10 s for a line of 1 MiB at the worst. 10,000, as it was, were minutes."""

_ENOUGH = 1_000_000
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

EXPONENTIAL = "a repeat inside a repeat can match the same text in many ways, so its cost can double with each byte"
POLYNOMIAL = "two repeats in it can match the same text, so its cost can grow with the square of a line's length"
RESTARTED = ("it begins with, or comes soon to, a repeat that every later byte can begin anew, so its cost can grow with the "
             "square of a line's length")
TOO_MANY = "its counted repeats can match the same text in too many ways"
TOO_COMPLEX = "it is too complex to prove that its cost is linear"


class _TooComplex(Exception):
    pass


class _Machine:
    """Thompson's construction: nodes that consume one byte of a class, assert something, or lead on."""

    def __init__(self, loop_bounded: bool) -> None:
        self.loop_bounded = loop_bounded
        self.classes: dict[int, int] = {}
        self.asserts: dict[int, tuple[str, int]] = {}
        self.next: list[list[int]] = []

    def node(self, *targets: int) -> int:
        if len(self.next) > 20 * MOST_STATES:
            raise _TooComplex
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
        copies = low if low <= 8 else 2
        if high == UNBOUNDED or (self.loop_bounded and high > max(low, 1)):
            loop = self.node(target)
            self.next[loop].append(self.sequence(body, flags, loop))
            target = loop if low == 0 else self.sequence(body, flags, loop)
            copies = max(0, copies - 1)
        else:
            for _ in range(min(high - low, 3)):
                target = self.node(target, self.sequence(body, flags, target))
        for _ in range(copies):
            target = self.sequence(body, flags, target)
        return target


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
        raise _TooComplex
    return found


def _fold(bits: int, flags: int) -> int:
    if not flags & IGNORECASE:
        return bits
    upper, lower = ((1 << 91) - (1 << 65)), ((1 << 123) - (1 << 97))
    return bits | (bits & upper) << 32 | (bits & lower) >> 32


class Automaton:
    """States are (node, part of the byte that it has just taken); `steps[state]` are the states that the next byte leads to.

    State 0 to 2 are the search that has not begun (any byte of that part). `forked`: more than one way without a byte between.
    """

    def __init__(self, tree: Any, flags: int, *, loop_bounded: bool) -> None:
        self.machine = machine = _Machine(loop_bounded)
        self.accept = machine.node()
        self.start = machine.sequence(tree, flags, self.accept)
        self.bytes: list[int] = list(PARTS)
        self.part: list[int] = [0, 1, 2]
        self._number: dict[tuple[int, int], int] = {}
        self.steps: list[set[int]] = []
        self.forked: set[tuple[int, int]] = set()
        self.accepting: set[int] = set()
        self.ending: set[int] = set()
        self._build()

    def _build(self) -> None:
        targets: list[int] = [self.start] * 3
        for part in range(3):
            self.steps.append({0, 1, 2} | self._follow(part, part, self.start, targets))
        self._follow(-1, EDGE, self.start, targets)
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
                    raise _TooComplex
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
    raise _TooComplex


class _Judge:
    def __init__(self, automaton: Automaton) -> None:
        self._of, self._left = automaton, MOST_STEPS
        safe = self._safe()
        self.steps = [{t for t in targets if t not in safe} for targets in automaton.steps]
        self.groups = [g for g in components(range(3, len(self.steps)), lambda s: self.steps[s])
                       if len(g) > 1 or g[0] in self.steps[g[0]]]

    def _safe(self) -> set[int]:
        """B2: wherever the text goes on or ends from here, the pattern has matched."""
        bits, steps = self._of.bytes, self._of.steps
        safe = {s for s in self._of.ending if s >= 0 and (s in self._of.accepting or covered(bits[t] for t in steps[s]) == ALL)}
        while True:
            kept = {s for s in safe if steps[s] <= safe}
            if kept == safe:
                return safe
            safe = kept

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooComplex

    def exponential(self) -> bool:
        """Can a loop go round in two ways over the same text?"""
        for group in self.groups:
            inside = set(group)
            if any((a, b) in self._of.forked for a in group for b in self.steps[a] & inside):
                return True
            pairs = self._reached([(s, s) for s in group], partial(self._both, inside))
            for component in components(pairs, pairs.__getitem__):
                if any(a == b for a, b in component) and any(a != b for a, b in component):
                    return True
        return False

    def _both(self, inside: set[int], pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        bits = self._of.bytes
        for a in self.steps[pair[0]] & inside:
            for b in self.steps[pair[1]] & inside:
                self._spend()
                if bits[a] & bits[b]:
                    yield a, b

    def _reached(self, begin: Iterable[Any], follow: Any) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        stack = list(begin)
        while stack:
            here = stack.pop()
            if here not in found:
                found[here] = list(follow(here))
                stack += found[here]
        return found

    def restarted(self) -> bool:
        """Is there text that keeps a loop going and brings a search that has just begun into the same loop?"""
        for group in self.groups:
            inside = set(group)
            for q in group:
                found = self._reached([(self._of.part[q], q)], partial(self._into, inside))
                if (q, q) in found:
                    return True
        return False

    def _into(self, inside: set[int], pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        bits = self._of.bytes
        for c in self.steps[pair[1]] & inside:
            for b in self.steps[pair[0]]:
                self._spend()
                if bits[b] & bits[c]:
                    yield b, c

    def polynomial(self) -> bool:
        """Are there two loops, and text that keeps either going and also leads from the first to the second?"""
        for first in self.groups:
            for second in self.groups:
                if first is not second and self._leads(first, second):
                    return True
        return False

    def _leads(self, first: list[int], second: list[int]) -> bool:
        one, two = set(first), set(second)
        if not two & set(self._reached(first, lambda s: self.steps[s])):
            return False
        for p in first:
            for q in second:
                if self._of.bytes[p] & self._of.bytes[q] or len(first) + len(second) > 2:
                    found = self._reached([(p, p, q)], partial(self._three, one, two))
                    if (p, q, q) in found:
                        return True
        return False

    def _three(self, one: set[int], two: set[int], triple: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
        bits = self._of.bytes
        for a in self.steps[triple[0]] & one:
            for c in self.steps[triple[2]] & two:
                shared = bits[a] & bits[c]
                if not shared:
                    continue
                for b in self.steps[triple[1]]:
                    self._spend()
                    if bits[b] & shared:
                        yield a, b, c


def covered(classes: Iterable[int]) -> int:
    """The bytes that are in any of these."""
    found = 0
    for bits in classes:
        found |= bits
    return found


def components(states: Iterable[Any], follow: Any) -> list[list[Any]]:
    """Strongly connected components (Tarjan), without recursion. States that `states` does not name are left out."""
    known, on_stack = set(states), set()
    order: dict[Any, int] = {}
    low: dict[Any, int] = {}
    stack: list[Any] = []
    out: list[list[Any]] = []
    for root in list(known):
        if root in order:
            continue
        work = [(root, iter([s for s in follow(root) if s in known]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        while work:
            here, rest = work[-1]
            child = next(rest, None)
            if child is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[here])
                if low[here] == order[here]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == here:
                            break
                    out.append(group)
            elif child not in order:
                order[child] = low[child] = len(order)
                stack.append(child)
                on_stack.add(child)
                work.append((child, iter([s for s in follow(child) if s in known])))
            elif child in on_stack:
                low[here] = min(low[here], order[child])
    return out


def blow_up(tree: Any) -> str | None:
    """Why a backtracking search for this pattern can cost more than linear time; None: it cannot (B1).

    `tree`: what re._parser.parse gave for the pattern as bytes. No backreferences, lookaround or atomic groups in it.
    """
    flags = int(tree.state.flags)
    try:
        judge = _Judge(Automaton(tree, flags, loop_bounded=False))
        if judge.exponential():
            return EXPONENTIAL
        if judge.polynomial():
            return POLYNOMIAL
        if judge.restarted():
            return RESTARTED
        if _bounded_ways(tree) <= MOST_WAYS:
            return None
        judge = _Judge(Automaton(tree, flags, loop_bounded=True))
        return TOO_MANY if judge.exponential() or judge.polynomial() else None
    except (_TooComplex, RecursionError):
        return TOO_COMPLEX


def _bounded_ways(tree: Any) -> int:
    """The product of what the counted repeats leave open; a repeat in a repeat counts as often as it stands there."""
    ways = 1
    for operation, value in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = int(value[0]), int(value[1]), value[2]
            inner = _bounded_ways(body)
            if high == UNBOUNDED:
                ways *= inner
            else:
                ways *= min(inner ** min(high, 10), _ENOUGH) + high - low
        elif name == "SUBPATTERN":
            ways *= _bounded_ways(value[3])
        elif name == "BRANCH":
            ways *= sum(_bounded_ways(branch) for branch in value[1])
    return ways
