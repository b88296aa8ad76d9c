"""A config file to a checked Config, or one Usage with everything that is wrong in it (P8).

    file ─► bytes ─► tree.py ─► convert.py (+ environment, sinks' own Structs) ─► Draft ─► rules.py ─► Loaded

Invariants:
  L1  load_text raises Usage or returns Loaded, whatever the bytes
  L2  all problems at once, one line each, sorted by place: `file:line:col: key.path: problem; mend`
  L3  a sink's module is imported only when the config names it
  L4  no message holds a secret (P9)
Plane: load_text is pure but for the sinks' own checks; `load` reads the file.
"""
from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import inspect
from msgspec.structs import replace

from .. import sinks
from ..errors import Usage
from . import builtin, foreign
from .convert import WRONG, Converter, struct_type
from .draft import Draft
from .patterns import static_prefix
from .rules import judge
from .scalars import suggest
from .secrets import scrub
from .tree import Node, Path, Problem, Wrong, parse, path_text, place_after
from .types import Config, FilesSource, SinkCommon, SinkEntry
from .variables import unread_variables
from .when import normalised

MAX_CONFIG_BYTES = 1024 * 1024
"""What a Kubernetes ConfigMap can hold."""

MAX_LINES = 100
LONGEST_LINE = 2000
"""Room for a pattern as it should be written."""

_CONFIG = {f.name: f for f in struct_type(Config).fields}
_SOURCES = _CONFIG["sources"].type
assert isinstance(_SOURCES, inspect.DictType)
_SOURCE = _SOURCES.value_type                                # to ask msgspec once more costs 5 ms of each start
_JUDGED = ("node", "state_dir", "sources", "buffer", "sinks", "admin", "shutdown_grace", "lock_wait", "process", "tests",
           "kubernetes")
_COMMON = struct_type(SinkCommon)
_COMMON_KEYS = {f.encode_name: None for f in _COMMON.fields}.keys()     # a set that keeps the order of the Struct

FindSink = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config that may run. `warnings`: lines in the form of L2, for `check` and the log at start."""

    config: Config
    warnings: list[str] = field(default_factory=list)


def load(path: str, environ: Mapping[str, str]) -> Loaded:
    """Read and check the config at `path` (builtin.NAME: that of the environment). Usage with all problems."""
    text = builtin.built_in(environ) if path == builtin.NAME else _read(path)
    return load_text(text, path, environ)


def load_state_dir(path: str, environ: Mapping[str, str]) -> str:
    """Only the state_dir of the config at `path`, for commands that ask the agent: a refused reload, or a variable that the
    service has and this shell has not, must not keep anyone from asking. Usage where state_dir itself cannot be told."""
    text = _read(path)
    if len(text) > MAX_CONFIG_BYTES:
        raise Usage(_too_large(path))
    try:
        root, _ = parse(_decoded(text))
    except Wrong as error:
        raise Usage(f"{path}:{error.place.line}:{error.place.column}: {error.text} (or use --state-dir)") from None
    if root is None or root.kind != "map":
        raise Usage(f"{path}:1:1: no config: it has no keys; name the agent's config, or use --state-dir")
    converter, state_dir = Converter(environ), _CONFIG["state_dir"].default
    for key, place, child in root.entries:
        if key == "state_dir":
            state_dir = converter.convert(child, _CONFIG[key].type, (key,))
        elif key not in _CONFIG and suggest(key, ["state_dir"]):
            converter.unknown(place, (key,), ["state_dir"])
    if converter.problems:
        raise Usage("\n".join(f"{line} (or use --state-dir)" for line in _lines(path, converter, converter.problems)))
    return str(state_dir)


def _too_large(name: str) -> str:
    return f"{name}: larger than {MAX_CONFIG_BYTES} bytes; this is no shipper config, or split it over two agents"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_CONFIG_BYTES + 1)
    except IsADirectoryError:
        raise Usage(f"{path}: is a directory; name the config file in it") from None
    except FileNotFoundError:
        raise Usage(f"{path}: no such file; name the config with -c FILE") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Usage(f"{path}: cannot be read ({why}); run as a user who may read it") from None


def load_text(text: str | bytes, name: str, environ: Mapping[str, str], *, find_sink: FindSink = sinks.find) -> Loaded:
    """Check a config that is already in memory; `name` stands in front of each message. Usage with all problems."""
    if len(text) > MAX_CONFIG_BYTES:
        raise Usage(_too_large(name))
    try:
        root, problems = parse(_decoded(text))
    except Wrong as error:
        raise Usage(_foreign(name, text) or f"{name}:{error.place.line}:{error.place.column}: {error.text}") from None
    if root is None:
        raise Usage(f"{name}:1:1: the config is empty; begin with sources: and sinks: (see docs/configuration.md)")
    converter = Converter(environ)
    converter.problems += problems
    if root.kind != "map":
        raise Usage(_foreign(name, text) or f"{name}:1:1: a {root.kind}, and keys are expected; begin with sources: and sinks: "
                    "(see docs/configuration.md)")
    draft, values = _draft(converter, root, find_sink)
    found = judge(draft)
    known = {problem.path for problem in converter.problems}      # what is of the wrong shape is not judged as well
    known |= {(key,) for key in _CONFIG if any(f"did you mean {key!r}" in p.text for p in converter.problems if len(p.path) == 1)}
    converter.problems += [Problem(converter.place(path), path, text) for path, text in found.errors if path not in known]
    if converter.problems:
        whose = [_foreign(name, text)] if any(key not in _CONFIG for key, _, _ in root.entries) else []
        raise Usage("\n".join([*filter(None, whose), *_lines(name, converter, converter.problems)]))
    warnings = [Problem(converter.place(path), path, text) for path, text in found.warnings]
    read = converter.variables | (builtin.VARIABLES if name == builtin.NAME else set())
    unread = [f"environment: {text}" for text in unread_variables(environ, read, builtin.VARIABLES)]
    return Loaded(_config(values), [*_lines(name, converter, warnings), *map(_printable, unread)])


def _foreign(name: str, text: str | bytes) -> str:
    """The line for another agent's config, or nothing."""
    whose = foreign.whose(text if isinstance(text, str) else text.decode("utf-8", "replace"))
    return whose and f"{name}:1:1: {whose}"


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = place_after(text[:error.start].decode("utf-8"))
        raise Wrong(place, f"not UTF-8 (byte {text[error.start]:#04x}); save the file as UTF-8") from None


def _draft(converter: Converter, root: Node, find_sink: FindSink) -> tuple[Draft, dict[str, Any]]:
    """What could be converted, for the rules, and the values that Config is made of."""
    values: dict[str, Any] = {key: f.default for key, f in _CONFIG.items() if not f.required}
    names: dict[str, list[str]] = {"sources": [], "sinks": []}
    for key, place, child in root.entries:
        converter.places[key,] = place
        if key not in _CONFIG:
            converter.unknown(place, (key,), list(_CONFIG))
        elif key in names:
            names[key] = [name for name, _, _ in child.entries]
            values[key] = _named(converter, child, key, find_sink)
        else:
            value = converter.convert(child, _CONFIG[key].type, (key,))
            values[key] = None if value is WRONG else value
    for key in names:
        values.setdefault(key, {})
    commons = {name: pair[0] for name, pair in values["sinks"].items() if pair[0] is not WRONG}
    values["sinks"] = {name: pair[1] for name, pair in values["sinks"].items() if pair[1] is not WRONG}
    given = {key: values[key] for key in _JUDGED}
    draft = Draft(given=converter.places, commons=commons, source_names=names["sources"], sink_names=names["sinks"], **given)
    return draft, values


def _named(converter: Converter, node: Node, section: str, find_sink: FindSink) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, place, child in node.entries if converter.is_map(node, (section,)) else ():
        path = (section, name)
        converter.places[path] = place
        if not converter.is_map(child, path):
            continue
        value = _sink(converter, child, name, find_sink) if section == "sinks" else converter.convert(child, _SOURCE, path)
        if value is not WRONG:
            found[name] = value
    return found


def _sink(converter: Converter, node: Node, name: str, find_sink: FindSink) -> Any:
    """(SinkCommon, SinkEntry), each or WRONG. `type` names the module, whose own Struct takes what is not common."""
    path = ("sinks", name)
    keys = {key for key, _, _ in node.entries}
    common = converter.struct(node, _COMMON, path, skip=keys - _COMMON_KEYS)
    spec, type_name = _spec(converter, node, path, find_sink)
    if spec is None:
        return common, WRONG
    config = converter.struct(node, struct_type(spec.config), path, skip=_COMMON_KEYS | {"type"}, beside=["type", *_COMMON_KEYS])
    if common is WRONG or config is WRONG:
        return common, WRONG
    if spec.confirms_later(config):
        spec = dataclasses.replace(spec, confirms="later", request_records=spec.later_records or spec.request_records)
    if spec.keeps_order(config):
        spec = dataclasses.replace(spec, concurrency=1)
    return common, SinkEntry(name=name, type=type_name, common=common, spec=spec, config=config)


def _spec(converter: Converter, node: Node, path: Path, find_sink: FindSink) -> tuple[Any, str]:
    type_path = (*path, "type")
    found = next(((place, child) for key, place, child in node.entries if key == "type"), None)
    if found is None:
        converter.without_tag(node, type_path, "missing; say where records go, for example type: syslog")
        return None, ""
    converter.places[type_path], child = found
    name = converter.convert(child, inspect.StrType(), type_path)
    if name is WRONG:
        return None, ""
    try:
        return find_sink(name), name
    except Usage as error:
        converter.wrong(child.place, type_path, str(error) if name in child.text else "the value is no sink type")
    except ImportError as error:
        converter.wrong(child.place, type_path, f"needs the Python module {error.name}, which is not installed; install it")
    return None, ""


def _config(values: dict[str, Any]) -> Config:
    """The Config of values that all rules passed, with what is derived: node, roots, lists in `when`."""
    sources = {name: replace(source, allowed_roots=list(dict.fromkeys(map(static_prefix, source.include))))
               if isinstance(source, FilesSource) and not source.allowed_roots else source
               for name, source in values["sources"].items()}
    entries = {name: replace(sink, common=replace(sink.common, when=normalised(sink.common.when)))
               for name, sink in values["sinks"].items()}
    rules = tuple(replace(rule, when=normalised(rule.when)) for rule in values["process"])
    state_dir = os.path.normpath(values["state_dir"])
    node = values["node"] or socket.gethostname()
    return Config(**{**values, "node": node, "state_dir": state_dir, "sources": sources, "sinks": entries, "process": rules})


def _lines(name: str, converter: Converter, problems: list[Problem]) -> list[str]:
    """L2. What a terminal would act on is escaped; a flood is cut."""
    lines = []
    for place, path, text in sorted(set(problems)):
        where = f"{path_text(path)}: " if path else ""
        lines.append(f"{name}:{place.line}:{place.column}: " + _printable(scrub(where + text, converter.secrets)))
    rest = len(lines) - MAX_LINES
    return lines if rest <= 0 else [*lines[:MAX_LINES], f"{name}: and {rest} more problems"]


def _printable(text: str) -> str:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= LONGEST_LINE else shown[:LONGEST_LINE - 3] + "..."
