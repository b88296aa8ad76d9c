"""A tree of nodes to typed values: every problem at once, each with its place. Pure.

Walks msgspec's description of a type beside the tree. Custom types are classes with `parse` (units.py).

Invariants:
  C1  convert() raises nothing for any tree: what is wrong goes to `problems`, and WRONG stands for the value
  C2  a value that was found wrong is reported once, where it stands
  C3  `places` knows every key that was visited, so that rules across fields can point at it
"""
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import inspect

from .scalars import (
    Scalar,
    Unfit,
    as_any,
    as_bool,
    as_custom,
    as_float,
    as_int,
    as_one_of,
    as_text,
    did_you_mean,
    expand,
    suggest,
)
from .secrets import is_secret, scrub
from .tree import Node, Path, Place, Problem

WRONG: Final = object()
"""Stands for a value that could not be made; its problem has been noted."""


@dataclass(slots=True)
class Converter:
    """One config being converted. `secrets`: the secret values met, for `scrub`; `variables`: the names of those put in."""

    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, Place] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)

    def wrong(self, place: Place, path: Path, text: str) -> Any:
        """Note a problem; gives WRONG."""
        self.problems.append(Problem(place, path, text))
        return WRONG

    def place(self, path: Path) -> Place:
        """Where `path` stands, or the nearest thing above it that does."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def convert(self, node: Node, wanted: inspect.Type, path: Path) -> Any:
        """`node` as a value of `wanted`, or WRONG."""
        self.places.setdefault(path, node.place)
        if isinstance(wanted, inspect.Metadata):
            return self.convert(node, wanted.type, path)
        if isinstance(wanted, inspect.UnionType):
            return self._union(node, wanted, path)
        if isinstance(wanted, inspect.AnyType):
            return self._any(node, path)
        if isinstance(wanted, inspect.StructType):
            return self.struct(node, wanted, path)
        if isinstance(wanted, inspect.DictType):
            return self._dict(node, wanted, path)
        if isinstance(wanted, _COLLECTIONS):
            return self._list(node, wanted, path)
        return self._scalar(node, wanted, path)

    def struct(self, node: Node, wanted: inspect.StructType, path: Path, *,
               skip: Collection[str] = (), beside: Collection[str] = ()) -> Any:
        """A Struct from a map. Keys in `skip` are left to somebody else; `beside`: what else may stand in this map."""
        if not self.is_map(node, path):
            return WRONG
        known = {f.encode_name: f for f in wanted.fields}
        beside = [*beside, wanted.tag_field] if wanted.tag_field else beside
        values: dict[str, Any] = {}
        meant: list[str] = []
        for key, place, child in node.entries:
            if key in skip or key == wanted.tag_field:
                continue
            self.places[*path, key] = place
            if key not in known:
                meant.append(self.unknown(place, (*path, key), [*known, *beside], wanted))
                continue
            values[known[key].name] = self.convert(child, known[key].type, (*path, key))
        for missing in (f for f in wanted.fields if f.required and f.name not in values):
            is_told = did_you_mean(missing.encode_name) in meant          # it stands there, misspelt: one mistake, one message
            values[missing.name] = WRONG if is_told else self.wrong(
                self.place(path), (*path, missing.encode_name), "missing; add this key")
        if any(value is WRONG for value in values.values()):
            return WRONG
        try:
            return wanted.cls(**values)
        except (ValueError, TypeError) as error:     # what the Struct's own __post_init__ refuses
            return self.wrong(self.place(path), path, scrub(str(error), self.secrets))

    def unknown(self, place: Place, path: Path, known: Collection[str], wanted: inspect.StructType | None = None) -> str:
        """Note an unknown key, with the nearest known one (of `wanted` also one level down) or with all of them. What it
        suggests, as `suggest` says it."""
        if "${" in path[-1]:
            self.wrong(place, path, "unknown key: a variable stands in it, and they are put into values only; write the key out")
            return ""
        close = _one_level_down(path[-1], wanted) or suggest(path[-1], known)
        self.wrong(place, path, f"unknown key{close}" if close else f"unknown key; known here: {', '.join(known)}")
        return close

    def without_tag(self, node: Node, tag_path: Path, missing: str) -> Any:
        """Note that `node` has not the key that says what it is: the misspelt one where there is one, else `missing`."""
        for key, place, _ in node.entries:
            close = suggest(key, [tag_path[-1]])
            if close:
                return self.wrong(place, (*tag_path[:-1], key), f"unknown key{close}")
        return self.wrong(self.place(tag_path), tag_path, missing)

    def is_map(self, node: Node, path: Path) -> bool:
        """False, and a problem, where `node` is no map."""
        if node.kind == "map":
            return True
        what = "empty" if node.kind == "scalar" and node.plain and not node.text else f"a {_KIND[node.kind]}"
        mend = "write a name and a colon in place of each dash" if node.kind == "list" and len(path) == 1 \
            else "indent its keys below it, or remove the key"
        self.wrong(self.places.get(path, node.place), path, f"{what}, and a map (key: value) is expected; {mend}")
        return False

    def scalar(self, node: Node, path: Path) -> Scalar | None:
        """The scalar with its variables put in, or None and a problem."""
        try:
            found = expand(node, self.environ, is_secret(path))
        except Unfit as error:
            self.wrong(node.place, path, str(error))
            return None
        self.variables.update(found.names)
        if found.secret:
            self.secrets.add(found.text)
        return found

    def _scalar(self, node: Node, wanted: inspect.Type, path: Path) -> Any:
        if node.kind != "scalar":
            hint = "; a value that starts with { or [ must be quoted" if isinstance(wanted, inspect.StrType) else ""
            return self.wrong(node.place, path, f"a {_KIND[node.kind]}, and one value is expected{hint}")
        found = self.scalar(node, path)
        if found is None:
            return WRONG
        try:
            value = _READERS[type(wanted)](found, wanted)
            _bounds(value, wanted)
            return value
        except Unfit as error:
            return self.wrong(node.place, path, str(error))

    def _any(self, node: Node, path: Path) -> Any:
        if node.kind == "map":
            return self._dict(node, _ANY_DICT, path)
        if node.kind == "list":
            return self._list(node, _ANY_LIST, path)
        return self._scalar(node, inspect.AnyType(), path)

    def _dict(self, node: Node, wanted: inspect.DictType, path: Path) -> Any:
        if not self.is_map(node, path):
            return WRONG
        values: dict[str, Any] = {}
        for key, place, child in node.entries:
            self.places[*path, key] = place
            values[key] = self.convert(child, wanted.value_type, (*path, key))
        return WRONG if any(value is WRONG for value in values.values()) else values

    def _list(self, node: Node, wanted: Any, path: Path) -> Any:
        if node.kind != "list":
            if node.kind == "map" or (node.plain and not node.text):
                return self.wrong(node.place, path, f"{'a map' if node.kind == 'map' else 'empty'}, and a list is expected; "
                                                    "write it as [first, second]")
            return self.wrong(node.place, path, "one value, and a list is expected; put it in [ ]")
        values = [self.convert(item, wanted.item_type, (*path, f"[{i}]")) for i, item in enumerate(node.items)]
        if any(value is WRONG for value in values):
            return WRONG
        return _COLLECT[type(wanted)](values)

    def _union(self, node: Node, wanted: inspect.UnionType, path: Path) -> Any:
        types = [t for t in wanted.types if not isinstance(t, inspect.NoneType)]
        if node.kind == "scalar" and len(types) < len(wanted.types):
            found = self.scalar(node, path)
            if found is None:
                return WRONG
            if found.is_null:
                return None
        fits = [t for t in types if _fits(t, node)] or types
        if node.kind == "map" and len(fits) > 1:
            return self._one_of_structs(node, fits, path)
        for candidate in fits[:-1]:
            trial = Converter(self.environ)
            value = trial.convert(node, candidate, path)
            if value is not WRONG:
                self.places |= trial.places
                self.secrets |= trial.secrets
                self.variables |= trial.variables
                return value
        return self.convert(node, fits[-1], path)

    def _one_of_structs(self, node: Node, types: list[inspect.Type], path: Path) -> Any:
        """The tagged Struct that the map's tag (`type: ...`) names."""
        by_tag = {str(t.tag): t for t in types if isinstance(t, inspect.StructType)}
        tag_field = next(t.tag_field for t in by_tag.values()) or "type"
        tag_path = (*path, tag_field)
        found = next(((place, child) for key, place, child in node.entries if key == tag_field), None)
        if found is None:
            return self.without_tag(node, tag_path, f"missing; add {tag_field}: {' or '.join(by_tag)}")
        self.places[tag_path], child = found
        tag = self._scalar(child, inspect.LiteralType(tuple(by_tag)), tag_path)
        return WRONG if tag is WRONG else self.convert(node, by_tag[tag], path)


_COLLECTIONS = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
_COLLECT: dict[type, Callable[[list[Any]], Any]] = {
    inspect.ListType: list, inspect.SetType: set, inspect.FrozenSetType: frozenset, inspect.VarTupleType: tuple,
}
_KIND = {"map": "map", "list": "list", "scalar": "single value"}
_ANY_DICT = inspect.DictType(inspect.StrType(), inspect.AnyType())
_ANY_LIST = inspect.ListType(inspect.AnyType())
_READERS: dict[type, Callable[[Scalar, Any], Any]] = {
    inspect.StrType: lambda found, wanted: as_text(found),
    inspect.BoolType: lambda found, wanted: as_bool(found),
    inspect.IntType: lambda found, wanted: as_int(found),
    inspect.FloatType: lambda found, wanted: as_float(found),
    inspect.LiteralType: lambda found, wanted: as_one_of(found, wanted.values),
    inspect.EnumType: lambda found, wanted: wanted.cls(as_one_of(found, [member.value for member in wanted.cls])),
    inspect.CustomType: lambda found, wanted: as_custom(found, wanted.cls),
    inspect.AnyType: lambda found, wanted: as_any(found),
}
"""What a sink's Struct may be made of. Another type is a KeyError: a mistake in the sink, seen by its first test."""


def _one_level_down(key: str, wanted: inspect.StructType | None) -> str:
    """"; did you mean 'tls.ca'?" for ca, ca_file or tls_ca beside `tls`, or nothing."""
    for outer in wanted.fields if wanted is not None else ():
        inner = [f.encode_name for f in outer.type.fields] if isinstance(outer.type, inspect.StructType) else []
        found = next((name for name in inner if key in (name, f"{name}_file", f"{outer.encode_name}_{name}",
                                                        f"{outer.encode_name}_{name}_file")), None)
        if found is not None:
            return f"; did you mean '{outer.encode_name}.{found}'?"
    return ""


def _fits(wanted: inspect.Type, node: Node) -> bool:
    if isinstance(wanted, inspect.Metadata):
        return _fits(wanted.type, node)
    if isinstance(wanted, (inspect.StructType, inspect.DictType)):
        return node.kind == "map"
    if isinstance(wanted, _COLLECTIONS):
        return node.kind == "list"
    return node.kind == "scalar" or isinstance(wanted, inspect.AnyType)


def _bounds(value: Any, wanted: Any) -> None:
    """What msgspec.Meta asks for beside the type."""
    for name, holds, words in (
        ("ge", lambda limit: value >= limit, "must be at least"), ("gt", lambda limit: value > limit, "must be over"),
        ("le", lambda limit: value <= limit, "must be at most"), ("lt", lambda limit: value < limit, "must be under"),
        ("min_length", lambda limit: len(value) >= limit, "its length must be at least"),
        ("max_length", lambda limit: len(value) <= limit, "its length must be at most"),
        ("pattern", lambda limit: re.search(limit, value) is not None, "must match the pattern"),
    ):
        limit = getattr(wanted, name, None)
        if limit is not None and not holds(limit):
            raise Unfit(f"{words} {limit}")


def struct_type(cls: type[msgspec.Struct]) -> inspect.StructType:
    """msgspec's description of a Struct."""
    found = inspect.type_info(cls)
    assert isinstance(found, inspect.StructType)
    return found
