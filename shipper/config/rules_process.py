"""Rules about what is done to records in front of the buffer, and about `tests:`. Pure."""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..severity import KEYS, chosen
from .draft import Draft, Findings
from .process_multiline import MultilinePattern
from .processing import Condition, ParseRegex, Processing
from .tree import Path
from .when import when_problems


def _layers(draft: Draft) -> Iterator[tuple[Path, Processing]]:
    for name, source in draft.sources.items():
        yield ("sources", name), source
    for i, rule in enumerate(draft.process or ()):
        yield ("process", f"[{i}]"), rule


def _whens(draft: Draft, say: Findings) -> None:
    for i, rule in enumerate(draft.process or ()):
        path = ("process", f"[{i}]")
        for key, text in when_problems(rule.when, draft.source_names, per_record=False):
            say.error((*path, "when", *key), text.replace("this sink would get nothing", "this rule would be for nothing"))
        if all(getattr(rule, name) in (None, []) for name in Processing.__struct_fields__):
            say.error(path, f"says nothing to be done; give it one of {', '.join(Processing.__struct_fields__)}")


def _parsers(draft: Draft, say: Findings) -> None:
    for path, layer in _layers(draft):
        if isinstance(layer.parse, ParseRegex):
            for key, text in _regex_problems(layer.parse):
                say.error((*path, "parse", *key), text)


def _multiline(draft: Draft, say: Findings) -> None:
    for path, layer in _layers(draft):
        if isinstance(layer.multiline, MultilinePattern):
            for key, text in (("start", layer.multiline.start), ("continue", layer.multiline.continue_)):
                if text is not None and (problem := pattern_problem(text)):
                    say.error((*path, "multiline", key), problem)


def _regex_problems(parse: ParseRegex) -> Iterator[tuple[Path, str]]:
    problem = pattern_problem(parse.regex)
    if problem:
        yield ("regex",), problem
        return
    from ..process.patterns import compile_pattern

    groups = [name.decode() if isinstance(name, bytes) else name for name in compile_pattern(parse.regex).groupindex]
    if not groups:
        yield ("regex",), "no named group, so nothing would be taken out; write (?P<name>...) around what is wanted"
        return
    for name in parse.types:
        if name not in groups:
            yield ("types", name), f"the expression has no group of this name; it has {', '.join(groups)}"
    for key in ("time", "severity", "message"):
        name = getattr(parse, key)
        if name is not None and name not in groups:
            yield (key,), f"the expression has no group {name!r}; it has {', '.join(groups)}"


def pattern_problem(text: str) -> str | None:
    """What is wrong with a regular expression, None where nothing is."""
    from ..process.patterns import PatternError, compile_pattern  # where a pattern is: most configs have none

    try:
        compile_pattern(text)
    except PatternError as error:
        return str(error)
    return None


def _conditions(draft: Draft, say: Findings) -> None:
    for path, layer in _layers(draft):
        for key in ("keep", "drop"):
            for i, condition in enumerate(getattr(layer, key)):
                for place, text in _condition_problems(condition):
                    say.error((*path, key, f"[{i}]", *place), text)


def _condition_problems(condition: Condition) -> Iterator[tuple[Path, str]]:
    if all(getattr(condition, name) is None for name in ("severity", "match", "glob", "equals", "exists")):
        yield (), "says nothing to look for; give it severity, match, glob, equals or exists"
    if condition.exists is not None and condition.field is None:
        yield ("exists",), "needs `field`: every record has a message"
    if condition.field == "" or (condition.field or "x").startswith(".") or (condition.field or "x").endswith("."):
        yield ("field",), "is no path into the fields; write for example http.status"
    if condition.match is not None and (problem := pattern_problem(condition.match)):
        yield ("match",), problem
    if condition.severity is not None:
        try:
            if not chosen(condition.severity):
                yield ("severity",), "no severity is meant, so nothing would match; correct it"
        except ValueError as error:
            yield ("severity",), str(error)


def _unparsed(draft: Draft, say: Findings) -> None:
    """A severity or field that nobody reads out of the messages matches nothing: a typing mistake, or a forgotten `parse`."""
    if any(layer.parse not in (None, "off") for _, layer in _layers(draft)) or any(
            getattr(source, "format", "") in (*PARSED_FORMATS, "journal", "kmsg") for source in draft.sources.values()):
        return
    places: list[Path] = [("sinks", name, "when", "severity") for name, c in draft.commons.items() if "severity" in c.when]
    for path, layer in _layers(draft):
        for key in ("keep", "drop"):
            places += [(*path, key, f"[{i}]") for i, one in enumerate(getattr(layer, key)) if _needs_parse(one)]
    for place in places:
        say.warn(place, "nothing matches: no source and no rule says parse, so no record has a severity or fields; "
                        "add for example parse: json")


def _taken(draft: Draft, say: Findings) -> None:
    """A condition on the field that the parser beside it takes as the severity: `keep` of it would drop everything."""
    for path, layer in _layers(draft):
        form = getattr(layer, "format", "")
        parse = layer.parse or (form if form in PARSED_FORMATS else None)    # `auto` of container logs is no parser
        for key in ("keep", "drop"):
            for i, one in enumerate(getattr(layer, key)):
                if one.field in _severity_fields(parse):
                    say.warn((*path, key, f"[{i}]", "field"), (
                        f"{one.field} is what the parser takes as the severity, and a field only where it names none; write for "
                        "example severity: \">=ERROR\""))


def _first_lines(draft: Draft, say: Findings) -> None:
    """Records of several lines whose message is found by an expression that ends with the first one: the others would be gone."""
    for path, layer in _layers(draft):
        if isinstance(layer.parse, ParseRegex) and layer.multiline not in (None, "off"):
            names = "|".join([layer.parse.message] if layer.parse.message else MESSAGES)
            flags = re.match(r"\(\?([a-z]+)\)", layer.parse.regex)
            if "s" not in (flags[1] if flags else "") and re.search(rf"\(\?P?<(?:{names})>\.[*+]\)\$?$", layer.parse.regex):
                say.warn((*path, "parse", "regex"), (
                    "ends with a record's first line, and the message would be that alone: begin it with (?s), so that a point "
                    "takes newlines too"))


def _severity_fields(parse: Any) -> tuple[str, ...]:
    if isinstance(parse, ParseRegex):
        named = [parse.severity] if parse.severity else [key for key in KEYS if f"(?P<{key}>" in parse.regex]
        return tuple(named[:1])
    if parse in ("json", "auto", "logfmt", "docker-daemon"):
        return KEYS
    return ("severity",) if parse in ("klog", "gcp", "gcp-json") else ()


def _needs_parse(condition: Condition) -> bool:
    if condition.field is not None:
        return True
    return condition.severity is not None and b"" not in chosen_or_none(condition.severity)


def chosen_or_none(spec: Any) -> frozenset[bytes]:
    """`chosen`, and the empty set where the spec is wrong (which another rule says)."""
    try:
        return chosen(spec)
    except ValueError:
        return frozenset()


def _tests(draft: Draft, say: Findings) -> None:
    for i, test in enumerate(draft.tests or ()):
        path = ("tests", f"[{i}]")
        if not test.as_.startswith("/"):
            say.error((*path, "as"), "must be an absolute path: the one that these lines stand in")
        for name in test.sinks or ():
            if name not in draft.sink_names:
                say.error((*path, "sinks"), f"{name} is no sink of this config; it has {', '.join(draft.sink_names)}")


MESSAGES = ("message", "msg", "log")
"""Groups of an expression that are the message, where it names no other."""

PARSED_FORMATS = ("syslog", "klog", "json", "docker-daemon")
"""Formats of a files source that are a plain line and a parser."""

PROCESS_RULES = (_multiline, _whens, _parsers, _conditions, _unparsed, _taken, _first_lines, _tests)
