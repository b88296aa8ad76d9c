"""Environment variables that were meant for the agent and that nothing reads: mostly a slip of the pen. Pure.

Invariants:
  N1  no message holds a value
  N2  what Kubernetes itself sets for a Service of that name (SHIPPER_PORT, SHIPPER_SERVICE_HOST) is nobody's slip
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

PREFIX = "SHIPPER_"
_READ_ELSEWHERE = {"SHIPPER_DEBUG", "SHIPPER_STATE_DIR"}
_OF_THE_TESTS = ("SHIPPER_TEST_", "SHIPPER_KEEP_")
_OF_KUBERNETES = re.compile(r"SHIPPER(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")
_ALIKE = 0.85


def unread_variables(environ: Mapping[str, str], read: Collection[str], of_built_in: Collection[str]) -> list[str]:
    """A message for each variable that begins with SHIPPER_, or looks like one that the config names and that is not set.

    read         those that the config names
    of_built_in  those that the config of an agent without a file reads
    """
    said = []
    for name in sorted(environ):
        if name in read or name in _READ_ELSEWHERE or name.startswith(_OF_THE_TESTS) or _OF_KUBERNETES.fullmatch(name):
            continue
        if not name.startswith(PREFIX):
            meant = _alike(name, [each for each in read if not environ.get(each)])
            if meant:
                said.append(f"{name}: nothing reads this variable; did you mean {meant}, which is not set?")
        elif name in of_built_in:
            said.append(f"{name}: this config does not read it; it is for an agent without a config file (docs/configuration.md)")
        else:
            rests = [each.removeprefix(PREFIX) for each in read if each.startswith(PREFIX)]
            close = difflib.get_close_matches(name.removeprefix(PREFIX), rests, 1, 0.6)
            said.append(f"{name}: nothing reads this variable; " + (
                f"did you mean {PREFIX}{close[0]}?" if close else f"a config reads it where it says ${{{name}}}"))
    return said


def _alike(name: str, names: Collection[str]) -> str:
    """The one of `names` that `name` is a slip of: it begins with the same word."""
    same_word = [each for each in names if each.partition("_")[0] == name.partition("_")[0]]
    return next(iter(difflib.get_close_matches(name, same_word, 1, _ALIKE)), "")
