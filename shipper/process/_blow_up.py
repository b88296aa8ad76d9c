"""Can a backtracking engine need more than linear time for this pattern? Decided on its automaton. Pure.

    automaton (_automaton.py) ─► loops ─► do two of them share text, or does one with itself? ─► verdict

A backtracking search tries every way in which the text can be laid over the pattern before it gives up. So its cost is the
number of ways, which grows exponentially where one loop can go round in two ways over the same text, and as a power of the
length where two loops in a row can share the same text (Weideman et al. 2016, "Analyzing Matching Time Behavior of
Backtracking Regular Expression Matchers"). A search that is tried again at each byte is such a loop in front of the pattern.

Invariants (tests/process/test_patterns.py):
  B1  the verdict is None only where no two loops share text, and no loop is ambiguous; bounded repeats may multiply to
      MOST_WAYS per place
  B2  loops behind which nothing can fail any more do not count: nothing is tried again there
  B3  work is bounded by MOST_STEPS; a pattern that needs more is not proven, and says so
Plane: once per pattern of the config.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ._automaton import ALL, MOST_COPIES, MOST_OPTIONAL, UNBOUNDED, Automaton, TooComplex

MOST_STEPS = 400_000
MOST_WAYS = 400
"""A way costs 24 ns a byte: 10 s for a line of 1 MiB at the worst. 10,000, as it was, were minutes."""

_ENOUGH = 1_000_000

EXPONENTIAL = "a repeat inside a repeat can match the same text in many ways, so its cost can double with each byte"
POLYNOMIAL = "two repeats in it can match the same text, so its cost can grow with the square of a line's length"
RESTARTED = ("it begins with, or comes soon to, a repeat that every later byte can begin anew, so its cost can grow with the "
             "square of a line's length")
TOO_MANY = "its counted repeats can match the same text in too many ways"
TOO_COMPLEX = "it is too complex to prove that its cost is linear"


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
            raise TooComplex

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

    def most_ways(self, enough: int) -> int:
        """From one place on, the most ways that are open at once over any one text; `enough` where there are as many, or where
        ways without a byte between them are not told apart. For a pattern without loops that share text: they are finite."""
        if self._of.forked:
            return enough
        begin = frozenset((state, 1) for state in self._of.first)
        known, stack, most = {begin}, [begin], len(begin)
        while stack and most < enough:
            for ways in self._read_on(stack.pop()):
                if ways not in known:
                    known.add(ways)
                    stack.append(ways)
                    most = max(most, sum(count for _, count in ways))
        return min(most, enough)

    def _read_on(self, ways: frozenset[tuple[int, int]]) -> Iterator[frozenset[tuple[int, int]]]:
        """The ways that are open behind one more byte, for each byte that makes a difference."""
        found: dict[int, int] = {}
        for state, count in ways:
            for target in self.steps[state]:
                found[target] = found.get(target, 0) + count
        classes = [ALL]
        for target in found:
            bits = self._of.bytes[target]
            classes = [part for each in classes for part in (each & bits, each & ~bits) if part]
        for each in classes:
            self._spend()
            if behind := frozenset((target, count) for target, count in found.items() if self._of.bytes[target] & each):
                yield behind

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
        if _bounded_ways(tree) <= MOST_WAYS or (_is_whole(tree) and judge.most_ways(MOST_WAYS + 1) <= MOST_WAYS):
            return None
        judge = _Judge(Automaton(tree, flags, loop_bounded=True))
        return TOO_MANY if judge.exponential() or judge.polynomial() else None
    except (TooComplex, RecursionError):
        return TOO_COMPLEX


def _is_whole(tree: Any) -> bool:
    """Has its automaton all copies of its counted repeats?"""
    for operation, value in tree:
        name, within = str(operation), []
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = int(value[0]), int(value[1]), value[2]
            if low > MOST_COPIES or (high != UNBOUNDED and high - low > MOST_OPTIONAL):
                return False
            within = [body]
        elif name in ("SUBPATTERN", "BRANCH"):
            within = [value[3]] if name == "SUBPATTERN" else value[1]
        if not all(map(_is_whole, within)):
            return False
    return True


def _bounded_ways(tree: Any) -> int:
    """The product of what the counted repeats leave open; a repeat in a repeat counts as often as it stands there. That is at
    most so many, and often far more than one text leaves open: `1?[0-9]?[0-9]` has four, and two at once."""
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
