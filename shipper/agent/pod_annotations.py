"""What a pod's own annotations decide about its logs, as far as the config allows.

    shipper.io/exclude: "true"      not read
    shipper.io/parse: json          as `parse` of a source; after the rules of `process`
    shipper.io/multiline: auto      likewise

Invariants (tests/agent/test_pods.py):
  N1  only what annotations_allowed names is looked at
  N2  a value that is none of those is ignored: counted once per pod and annotation, said once per 30 s
Plane: pure but for the telling.
"""
from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from ..config.kubernetes import PREFIX
from ..config.processing import ParseName, Processing
from ..model import Source
from ..telemetry import Telemetry

VALUES: dict[str, tuple[str, ...]] = {
    "exclude": ("true", "false"), "parse": get_args(ParseName), "multiline": ("auto", "off"),
}
MOST_TOLD = 10_000


class Annotations:
    """`allowed`: names without the prefix."""

    def __init__(self, allowed: Collection[str], telemetry: Telemetry) -> None:
        self.allowed = frozenset(allowed)
        self._telemetry = telemetry
        self._told: set[tuple[str, str]] = set()

    def exclude(self, source: Source) -> bool:
        return self._value(source, "exclude") == "true"

    def processing(self, source: Source) -> Processing | None:
        """What is asked for; None for nothing."""
        asked: dict[str, Any] = {name: self._value(source, name) for name in ("parse", "multiline")}
        asked = {name: value for name, value in asked.items() if value is not None}
        return Processing(**asked) if asked else None

    def _value(self, source: Source, name: str) -> str | None:
        if name not in self.allowed:
            return None
        value = (source.annotations or {}).get(PREFIX + name)
        if value is None or value in VALUES[name]:
            return value
        if (source.pod_uid, name) not in self._told and len(self._told) < MOST_TOLD:
            self._told.add((source.pod_uid, name))
            self._telemetry.count("shipper_bad_annotations_total", 1, name)
            self._telemetry.say("warning", "annotation_ignored", about=PREFIX + name, pod=f"{source.namespace}/{source.pod}",
                                why=f"its value is none of {', '.join(VALUES[name])}; correct it on the pod")
        return None
