"""Labels of the node and of the namespaces whose pods run here: got one by one, where they are wanted. Driver.

Invariants (tests/kube/test_api.py):
  B1  one GET per namespace and LABELS_FOR_S, at most MOST_NAMESPACES; one that fails is tried again after a growing pause
  B2  nothing waits for these labels, and their failing is no trouble of the pods' list and watch
  B3  a namespace that is not there MISSING_TIMES in a row is forgotten, until a pod of it is seen again
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import quote

from ..telemetry import Telemetry
from .client import KubeClient, KubeError, decoded
from .objects import Names, decode_object
from .source import NAMESPACE, NODE, pause_s, until_set

LABELS_FOR_S = 600.0
MOST_NAMESPACES = 1000
MISSING_TIMES = 3


class Thing:
    """The node, or a namespace."""

    __slots__ = ("due_s", "failures", "labels", "missing", "path", "wanted")

    def __init__(self, path: str, wanted: Names) -> None:
        self.path, self.wanted = path, wanted
        self.labels: dict[str, str] = {}
        self.due_s, self.failures, self.missing = 0.0, 0, 0


class Beside:
    """See the module. Things are known by their marks: NODE, or NAMESPACE and a name."""

    def __init__(
        self, client: KubeClient, node: str, node_labels: Names, namespace_labels: Names, telemetry: Telemetry, *,
        pace: float = 1.0, now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._telemetry, self._pace, self._now_s = client, telemetry, pace, now_s
        self._namespace_labels = namespace_labels
        self._things: dict[str, Thing] = {}
        self._new = asyncio.Event()
        if node_labels:
            self._things[NODE] = Thing(f"/api/v1/nodes/{quote(node, safe='')}", node_labels)

    def node(self) -> dict[str, str]:
        """What is known of it."""
        return self._things[NODE].labels if NODE in self._things else {}

    def namespace(self, name: str) -> dict[str, str]:
        """What is known of it; asks for it where nobody did."""
        if not self._namespace_labels or not name:
            return {}
        mark = NAMESPACE + name
        if mark not in self._things:
            if len(self._things) - (NODE in self._things) >= MOST_NAMESPACES:
                return {}
            self._things[mark] = Thing(f"/api/v1/namespaces/{quote(name, safe='')}", self._namespace_labels)
            self._new.set()
        return self._things[mark].labels

    async def run(self, changed: Callable[[set[str]], None]) -> None:
        """For ever; at once for a namespace that is new. `changed` gets marks."""
        while True:
            self._new.clear()
            for mark, thing in list(self._things.items()):
                if self._now_s() >= thing.due_s and await self._get(thing):
                    changed({mark})
                if thing.missing >= MISSING_TIMES and mark != NODE:
                    del self._things[mark]
            next_s = min((thing.due_s for thing in self._things.values()), default=self._now_s() + LABELS_FOR_S)
            await until_set(self._new, max(0.0, next_s - self._now_s()))

    async def _get(self, thing: Thing) -> bool:
        """Are its labels others than before?"""
        try:
            found = decoded(decode_object, await self._client.get(thing.path), "an object")
        except KubeError as error:
            self._telemetry.count("shipper_metadata_errors_total", 1, error.reason)
            self._telemetry.say("warning", "metadata_failed", about=thing.path, why=str(error))
            thing.failures += 1
            thing.missing = thing.missing + 1 if error.reason == "404" else 0
            thing.due_s = self._now_s() + self._pace * pause_s(thing.failures)
            return False
        thing.failures = thing.missing = 0
        thing.due_s = self._now_s() + LABELS_FOR_S
        before, thing.labels = thing.labels, thing.wanted.of(found.metadata.labels)
        return before != thing.labels
