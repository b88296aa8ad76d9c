"""YAML text to a tree of nodes that know their place. Pure.

    text ─► libyaml events ─► Node(map | list | scalar), each with line and column ─► convert.py

Nothing is resolved here: a scalar is text and whether it stood plain or quoted. What `no`, `0644` or `12:30:00` mean
is decided by the type that is expected (scalars.py), so YAML 1.1's guesses never reach a value.

Invariants:
  T1  parse(text) ends in time linear in len(text) and raises only Wrong, whatever the text
  T2  the tree, with every alias written out, has at most MAX_NODES nodes and MAX_HEIGHT levels
  T3  no key stands twice in a map; the first one wins and the others are problems that name both lines
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import yaml

MAX_NODES = 20_000
MAX_HEIGHT = 24

Path = tuple[str, ...]


class Place(NamedTuple):
    """1-based, as editors count."""

    line: int
    column: int


class Problem(NamedTuple):
    """One thing to mend. Sorts by where it stands."""

    place: Place
    path: Path
    text: str


class Wrong(Exception):
    """Not a YAML document that can be a config: one problem, and nothing else can be said about the rest."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place, self.text = place, text


@dataclass(slots=True, eq=False)
class Node:
    """`size` and `height` count the subtree with its aliases written out; aliases share their node."""

    place: Place
    kind: Literal["map", "list", "scalar"]
    text: str = ""
    plain: bool = False
    entries: list[tuple[str, Place, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


def path_text(path: Path) -> str:
    """("sinks", "a", "urls", "[0]") as sinks.a.urls[0]."""
    return ".".join(path).replace(".[", "[")


def parse(text: str) -> tuple[Node | None, list[Problem]]:
    """The tree of the one document in `text` (None: there is nothing in it) and the problems that leave a tree.

    Wrong where it is not YAML, has several documents, or breaks T2.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Wrong(place_after(text[:error.start]), "not UTF-8; save the file as UTF-8") from None
    try:
        builder = _Builder(_events(text))
        return builder.document(), builder.problems
    except yaml.reader.ReaderError as error:
        before = text.encode()[:int(error.position)].decode(errors="ignore")
        raise Wrong(place_after(before), f"{error.reason}; remove the character") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise Wrong(place, _mend(str(error.problem), error.context or "", text, place)) from None


def _events(text: str) -> Iterator[Any]:
    # Events, not compose(): libyaml's composer recurses in C without a limit, and it drops nothing that we need.
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Builder:
    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self.problems: list[Problem] = []

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Wrong(_start(event), "a second document (---) begins here; a config is one document")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, (), 1)
        return None if root is None or (root.kind == "scalar" and root.plain and not root.text) else root

    def _node(self, event: Any, path: Path, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None and event.tag != "!":
            raise Wrong(_start(event), _tagged(event.tag))
        if depth > MAX_HEIGHT:
            raise Wrong(_start(event), f"more than {MAX_HEIGHT} levels deep; no config needs that")
        node = self._new(event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _new(self, event: Any, path: Path, depth: int) -> Node:
        place = _start(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(place, "scalar", event.value, plain=event.implicit[0] and not event.style)
        if isinstance(event, yaml.SequenceStartEvent):
            node = Node(place, "list")
            while not isinstance(below := next(self._events), yaml.SequenceEndEvent):
                self._put(node, child := self._node(below, (*path, f"[{len(node.items)}]"), depth + 1))
                node.items.append(child)
            return node
        node = Node(place, "map")
        self._map(node, path, depth)
        return node

    def _map(self, node: Node, path: Path, depth: int) -> None:
        seen: dict[str, Place] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, place = self._key(event)
            self._put(node, child := self._node(next(self._events), (*path, key), depth + 1))
            if key in seen:
                first = seen[key]
                self.problems.append(Problem(place, (*path, key), (
                    f"the key stands twice: in line {first.line} column {first.column} and here; remove one")))
                continue
            seen[key] = place
            node.entries.append((key, place, child))

    def _key(self, event: Any) -> tuple[str, Place]:
        place = _start(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise Wrong(place, 'a key must be text; quote a value that starts with { or [, or is "${NAME}" in a list')
        if event.tag is not None and event.tag != "!":
            raise Wrong(place, _tagged(event.tag))
        if event.value == "<<" and not event.style:
            raise Wrong(place, "merge keys (<<) are not supported; write the keys out")
        if event.anchor is not None:
            self._anchors[event.anchor] = Node(place, "scalar", event.value, plain=not event.style)
        return event.value, place

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise Wrong(_start(event), f"*{event.anchor} names no anchor that ends above; write &{event.anchor} "
                                       "there, or quote the value if the * is meant as text")
        return node

    def _put(self, parent: Node, child: Node) -> None:
        parent.size += child.size
        parent.height = max(parent.height, child.height + 1)
        if parent.size > MAX_NODES or parent.height > MAX_HEIGHT:
            raise Wrong(child.place, f"more than {MAX_NODES} values or {MAX_HEIGHT} levels with all aliases written "
                                     "out; no config needs that")


def _tagged(tag: str) -> str:
    return f"the tag {tag.replace('tag:yaml.org,2002:', '!!')} is not supported; remove it"


def _start(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def place_after(before: str) -> Place:
    """Where the text goes on after `before`."""
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


_MENDS = (
    (r"mapping values are not allowed", "a value that holds ': ' must be quoted, or this line is not indented as its neighbours"),
    (r"did not find expected ',' or", "close the bracket; inside [ ] and { } quote a value that holds ${...}"),
    (r"did not find expected '-' indicator", "indent this line as its neighbours; a list item starts with '- '"),
    (r"did not find expected key", "indent this line as its neighbours, as 'key: value'"),
    (r"could not find expected ':'", "write 'key: value'"),
    (r"unexpected end of stream", "close the quote"),
    (r"unknown escape character", "in double quotes a backslash must be doubled; or use single quotes"),
    (r"cannot start any token", "quote the value"),
)


def _mend(problem: str, context: str, text: str, place: Place) -> str:
    # libyaml breaks lines at NEL and the like too, so its line may not be one of ours.
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "cannot start any token" in problem and line[place.column - 1:place.column] == "\t":
        return "a tab where YAML takes only spaces; indent with spaces"
    if context.startswith(("while scanning an alias", "while scanning an anchor")):
        return f"not YAML: {problem}; quote a value that begins with * or &"
    for pattern, mend in _MENDS:
        if re.search(pattern, problem):
            return f"not YAML: {problem}; {mend}"
    return f"not YAML: {problem}{' ' + context if context else ''}; check this line and the one above"
