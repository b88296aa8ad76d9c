"""From `redact` in the config to rules. Made once per config text, shared by all lineages. Plane: per lineage; reads a secret's
file once."""
from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..config.process_redact import RedactRule
from ..config.processing import Processing as Settings
from ._automaton import ALL, NEWLINE, byte_class
from ._blow_up import blow_up
from .patterns import compile_pattern, tree_of
from .redact import Redactor, Rule, builtin_rules, own_finder, replacement
from .secrets_known import FINDERS, NAMES

LONGEST_SECRET = 4096


def redactor_for(settings: Settings) -> Redactor:
    """The step of one lineage. The config is checked (rules_redact.py)."""
    wanted = msgspec.json.encode([item if isinstance(item, str) else msgspec.to_builtins(item) for item in settings.redact])
    return Redactor(_rules(wanted, settings.redact_action or "mask", settings.redact_secret, settings.redact_secret_file))


@lru_cache(maxsize=64)
def _rules(wanted: bytes, action: str, secret: str | None, secret_file: str | None) -> tuple[Rule, ...]:
    items: list[RedactRule] = [
        RedactRule(name=item) if isinstance(item, str) else msgspec.convert(item, RedactRule)
        for item in msgspec.json.decode(wanted)
    ]
    key = read_secret(secret_file) if secret_file is not None else (secret or "").encode()
    known = {item.name: item for item in items if item.pattern is None}
    found = [rule for name in FINDERS if name in NAMES and name in known
             for rule in builtin_rules(name, known[name].action or action, key)]
    return (*found, *[_own(item, item.action or action, key) for item in items if item.pattern is not None])


def read_secret(path: str) -> bytes:
    """The secret in a file, without the newline at its end. OSError where it cannot be read."""
    with open(path, "rb") as file:
        return file.read(LONGEST_SECRET).rstrip(b"\r\n")


def _own(item: RedactRule, action: str, key: bytes) -> Rule:
    assert item.pattern is not None
    tree = tree_of(item.pattern)
    proven = blow_up(tree) is None
    return Rule(item.name, own_finder(compile_pattern(item.pattern).finditer, proven), replacement(item.name, action, key),
                joined=proven and stays_in_a_line(tree, int(tree.state.flags)))


def stays_in_a_line(tree: Any, flags: int) -> bool:
    """Does a match never hold a newline, and does what stands before or behind the line not matter to it?"""
    for operation, value in tree:
        name = str(operation)
        if name == "AT":
            if str(value) not in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
                return False
        elif name == "BRANCH":
            if not all(stays_in_a_line(branch, flags) for branch in value[1]):
                return False
        elif name == "SUBPATTERN":
            if not stays_in_a_line(value[3], (flags | value[1]) & ~value[2]):
                return False
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            if not stays_in_a_line(value[2], flags):
                return False
        elif byte_class(name, value, flags) & (NEWLINE & ALL):
            return False
    return True
