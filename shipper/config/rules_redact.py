"""Rules about `redact` and `limit`, and patterns of the config. Reads the file of a secret; else pure."""
from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, get_args

from .draft import Draft, Findings
from .process_redact import BuiltinName, ByField, Limit, RedactRule
from .processing import Processing, ProcessRule
from .rules_process import PARSED_FORMATS
from .tree import Path
from .when import MAP_KEYS

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_BUILTINS = get_args(BuiltinName)
SHORTEST_SECRET = 16


def layers(draft: Draft) -> Iterator[tuple[Path, Processing]]:
    """Where processing keys can stand."""
    for name, source in draft.sources.items():
        yield ("sources", name), source
    for i, rule in enumerate(draft.process or ()):
        yield ("process", f"[{i}]"), rule


def _redact(draft: Draft, say: Findings) -> None:
    for path, layer in layers(draft):
        for i, item in enumerate(layer.redact):
            if isinstance(item, RedactRule):
                for key, text in _rule_problems(item):
                    say.error((*path, "redact", f"[{i}]", *key), text)


_UNKEYED = ("a hash without a secret can be undone by trying all addresses; add redact_secret_file: /path/of/a/file "
            "(for example made by: head -c 32 /dev/urandom | base64)")


def _hash_secrets(draft: Draft, say: Findings) -> None:
    """An action may stand in one layer and its secret in another: one that is for the same logs, wherever the first one is."""
    known = [_Layer(path, layer, _sources(path, layer, draft)) for path, layer in layers(draft)]
    keyed = [each for each in known if each.layer.redact_secret or each.layer.redact_secret_file]
    for each in known:
        if not _hashes(each.layer):
            continue
        place = (*each.path, "redact_action") if (*each.path, "redact_action") in draft.given else (*each.path, "redact")
        if not any(other.sources & each.sources for other in keyed):
            say.error(place, _UNKEYED)
        elif not all(any(other.covers(name, each) for other in keyed) for name in each.sources):
            say.warn(place, "the secret stands in a rule that may not be for all of these logs; where it is not, values are "
                            "masked and not hashed; give redact_secret_file here too")


class _Layer(NamedTuple):
    """A source or rule, and the sources whose logs it can be for."""

    path: Path
    layer: Processing
    sources: frozenset[str]

    def covers(self, name: str, other: _Layer) -> bool:
        """Is this layer for every log of source `name` that `other` is for?"""
        if name not in self.sources:
            return False
        when = _when(self.layer)
        return not when.keys() - {"source"} or when == _when(other.layer)


def _when(layer: Processing) -> dict[str, Any]:
    return layer.when if isinstance(layer, ProcessRule) else {}


def _sources(path: Path, layer: Processing, draft: Draft) -> frozenset[str]:
    if path[0] == "sources":
        return frozenset((path[1],))
    globs = _when(layer).get("source", "*")
    globs = [globs] if isinstance(globs, str) else globs if isinstance(globs, list) else []
    return frozenset(name for name in draft.sources if any(fnmatchcase(name, str(glob)) for glob in globs))


def _hashes(layer: Processing) -> bool:
    return layer.redact_action == "hash" or any(isinstance(item, RedactRule) and item.action == "hash" for item in layer.redact)


def _rule_problems(item: RedactRule) -> Iterator[tuple[Path, str]]:
    from ..process.patterns import PatternError, compile_pattern

    if not _NAME.fullmatch(item.name):
        yield ("name",), "stands in place of what was cut out; use 1 to 40 of A-Z a-z 0-9 _ -, beginning with a letter"
    if item.pattern is None:
        if item.name not in _BUILTINS:
            yield ("name",), f"is no built-in one ({', '.join(_BUILTINS)}); correct it, or add pattern: RE"
        return
    if item.name in _BUILTINS:
        yield ("name",), "is a built-in one, and a pattern is given; choose another name"
    try:
        if compile_pattern(item.pattern).search(b"") is not None:
            yield ("pattern",), "matches the empty text, so it says nothing about what is secret; write + for *"
    except PatternError as error:
        yield ("pattern",), str(error)


def _steered_by_pods(draft: Draft, say: Findings) -> None:
    """Who may label a pod could switch its redaction off, and without an API server nobody knows the labels."""
    for path, layer in layers(draft):
        if layer.redact and any(key in _when(layer) for key in MAP_KEYS):
            say.warn((*path, "redact"), "depends on what a pod says of itself: who may label it can switch this off, and what is "
                                        "read without labels (after kubernetes.metadata_timeout) is not redacted; say it in the "
                                        "source, or by namespace")


def _secrets(draft: Draft, say: Findings) -> None:
    for path, layer in layers(draft):
        if layer.redact_secret is not None and layer.redact_secret_file is not None:
            say.error((*path, "redact_secret"), "and redact_secret_file are both given; remove one")
        if layer.redact_secret is not None and len(layer.redact_secret) < SHORTEST_SECRET:
            say.error((*path, "redact_secret"), f"is under {SHORTEST_SECRET} characters and could be guessed; make one by: "
                                                "head -c 32 /dev/urandom | base64")
        if layer.redact_secret_file is not None:
            problem = _file_problem(layer.redact_secret_file)
            if problem:
                say.error((*path, "redact_secret_file"), problem)


def _file_problem(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            found = file.read(4097).strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return f"cannot be read ({why}); name a file with the secret, readable by the agent"
    if not SHORTEST_SECRET <= len(found) <= 4096:
        return f"must hold {SHORTEST_SECRET} to 4096 bytes; make one by: head -c 32 /dev/urandom | base64"
    return None


def _limits(draft: Draft, say: Findings) -> None:
    parses = any(layer.parse not in (None, "off") for _, layer in layers(draft)) or any(
        getattr(source, "format", "") in PARSED_FORMATS or source.type == "journal" for source in draft.sources.values())
    for path, layer in layers(draft):
        if layer.limit is None:
            continue
        for key, text in _limit_problems(layer.limit):
            say.error((*path, "limit", *key), text)
        if isinstance(layer.limit.by, ByField) and not parses:
            say.warn((*path, "limit", "by"), "nothing says parse, so no record has fields and all share one budget; "
                                             "add for example parse: json")


def _limit_problems(limit: Limit) -> Iterator[tuple[Path, str]]:
    if limit.records_per_s is None and limit.bytes_per_s is None:
        yield (), "says no rate; give it records_per_s or bytes_per_s, or both"
    if limit.records_per_s is not None and not 0.01 <= limit.records_per_s <= 1e9:
        yield ("records_per_s",), "must be from 0.01 to 1000000000; to drop everything, use drop"
    if limit.bytes_per_s is not None and not 1 <= limit.bytes_per_s <= 2**40:
        yield ("bytes_per_s",), "must be from 1 to 1TiB; to drop everything, use drop"
    if not 0.1 <= limit.burst <= 3600:
        yield ("burst",), "must be from 100ms to 1h: so many seconds' worth of the rate may come at once"
    if limit.name is not None and not _NAME.fullmatch(limit.name):
        yield ("name",), "stands in the record that tells of drops; use 1 to 40 of A-Z a-z 0-9 _ -, beginning with a letter"
    if isinstance(limit.by, ByField) and not limit.by.field.strip("."):
        yield ("by", "field"), "is no path into the fields; write for example http.user"


REDACT_RULES = (_redact, _hash_secrets, _steered_by_pods, _secrets, _limits)
