"""What may be done to records in front of the buffer, as config types: the keys of a source and of a rule under `process:`.

    sources: {containers: {..., parse: json}}
    process:
      - when: {namespace: [payments]}
        redact: [email]

A rule's keys win over the source's; a later rule's over an earlier one's; lists (keep, drop, ...) add up. Which rules apply is
decided per lineage.

Plane: pure; shapes only.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from .process_multiline import Multiline
from .process_redact import Action, BuiltinName, Limit, RedactRule

ParseName = Literal["json", "klog", "syslog", "logfmt", "auto", "gcp", "gcp-json", "off"]
FieldType = Literal["string", "integer", "number", "boolean"]


class ParseRegex(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Named groups of `regex` become fields. `types`: of which type, text where not said. `time`, `severity`, `message`: the
    groups that are these; by default those with the usual names."""

    regex: str
    types: dict[str, FieldType] = msgspec.field(default_factory=dict)
    time: str | None = None
    severity: str | None = None
    message: str | None = None


class Condition(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One item of `keep` or `drop`. All keys of it must hold.

    field      a dotted path into the parsed fields; `match`, `glob`, `equals`, `exists` look at it, else at the message
    severity   ">=WARNING", or a list of names; a record without one is DEFAULT
    match      a regular expression that is found anywhere in the value
    glob       the whole value matches one of these
    equals     the value is this one (a number, text, true or false)
    exists     the field is there (true) or not (false)
    """

    field: str | None = None
    severity: str | list[str] | None = None
    match: str | None = None
    glob: str | list[str] | None = None
    equals: Any = None
    exists: bool | None = None


class Processing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Keys that sources and rules share. None, and an empty list: not said here."""

    multiline: Multiline | None = None
    parse: ParseName | ParseRegex | None = None
    keep: list[Condition] = msgspec.field(default_factory=list)
    drop: list[Condition] = msgspec.field(default_factory=list)
    redact: list[BuiltinName | RedactRule] = msgspec.field(default_factory=list)
    redact_action: Action | None = None
    redact_secret: str | None = None
    redact_secret_file: str | None = None
    limit: Limit | None = None


class ProcessRule(Processing, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One item of `process:`. `when`: as in a sink, without `severity`; {} is every source."""

    when: dict[str, Any] = msgspec.field(default_factory=dict)


class TestCase(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One item of `tests:`, for `shipper test`.

    as_      the path whose lines these are: it says which source's format and rules apply, and the pod's names
    input    lines as they stand in the file
    expect   one map per record that is to come out, in order: what its JSON must have (more may be there); [] where all is
             dropped
    sinks    names of the sinks that each of these records must go to; not said: not looked at
    """

    name: str
    as_: str = msgspec.field(name="as")
    input: str | list[str]
    expect: list[dict[str, Any]]
    sinks: list[str] | None = None


def merged(layers: Iterable[Processing]) -> Processing | None:
    """The keys of all layers (a source, then the rules that match it), as one; None where they ask for nothing."""
    values: dict[str, Any] = {}
    for layer in layers:
        for name in Processing.__struct_fields__:
            value = getattr(layer, name)
            if isinstance(value, list):
                values[name] = [*values.get(name, []), *value]
            elif value is not None:
                values[name] = value
    values = {name: value for name, value in values.items() if value != []}
    return Processing(**values) if values else None
