"""Which rules of a config ask for labels and annotations: of whom, and by which names. Pure."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..config.matching import Predicate, compile_when
from ..config.types import Config
from ..config.when import MAP_KEYS


def names_asked_for(config: Config) -> dict[str, set[str]]:
    """Names of labels and of annotations that a `when` or a template of a sink has."""
    names: dict[str, set[str]] = {key: set() for key in MAP_KEYS}
    for when in _whens(config):
        for key in MAP_KEYS:
            names[key] |= set(when.get(key, ()))
    for sink in config.sinks.values():
        for key, name in _named(sink.config):
            names[key].add(name)
    return names


def _whens(config: Config) -> Iterator[Mapping[str, Any]]:
    yield from (sink.common.when for sink in config.sinks.values())
    yield from (rule.when for rule in config.process)


def asking(config: Config) -> Iterator[Predicate]:
    """For each rule that asks for labels or annotations: may it be for this source, as far as file names say?"""
    asking = [when for when in _whens(config) if any(key in when for key in MAP_KEYS)]
    asking += [sink.common.when for sink in config.sinks.values() if any(_named(sink.config))]
    for when in asking:
        yield compile_when({key: value for key, value in when.items() if key not in MAP_KEYS})


_TEMPLATE = re.compile(r"\{(labels|annotations)\.([^}|]+)")


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """("labels" or "annotations", name) of each that a path, tag or label template of a sink's config names."""
    if isinstance(value, str):
        yield from _TEMPLATE.findall(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _named(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _named(each)
    else:
        for name in getattr(value, "__struct_fields__", ()):
            yield from _named(getattr(value, name))
