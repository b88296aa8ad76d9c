"""The pods of one node from the API server: list, then watch, for ever. Driver.

    list (pages of PAGE) ──► watch from its resourceVersion ──► events, bookmarks ──► cut or over: watch from the last version
       ▲                                                              │
       └────────── 410 Gone, as status or as ERROR event ◄────────────┘

Invariants (tests/kube/test_api.py):
  A1  the version that a watch goes on from is one that the server said: of the list, an event or a bookmark
  A2  at 410 everything is listed anew; what is not in the list has ended
  A3  a list is asked for without a resourceVersion, so it is not older than its request: a pod that is not in it, and
      whose file was found before, does not exist any more
  A4  only what RBAC of packaging/kubernetes/base allows is asked: list and watch pods, get namespaces, get nodes, and the
      last two only where their labels are wanted
  A5  no answer, however slow or wrong, costs more than its bound; what is known stays known meanwhile
Source: Kubernetes API concepts, "Efficient detection of changes"; client-go's reflector does the same.
"""
from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from ..telemetry import Telemetry
from .beside import Beside
from .client import KubeClient, KubeError, decoded
from .objects import Chosen, Names, Pod, Wanted, decode_event, decode_list, decode_object, decode_status, pods_of
from .source import Trouble, pause_s
from .store import PodStore

PAGE = 250
MOST_PAGES = 400
WATCH_S = 300
SILENT_MARGIN_S = 15.0
SHORT_WATCH_S = 1.0
ASK_GAP_S = 5.0
GONE = "410"
UNREADABLE = ("malformed", "too_large")


class ApiPods:
    """See the module. `changed(uids)` is called with the uids about which something else is known now.

    pace  factor of all pauses; tests make it small
    """

    def __init__(
        self, client: KubeClient, node: str, store: PodStore, wanted: Wanted, changed: Callable[[set[str]], None],
        telemetry: Telemetry, *, node_labels: Names, namespace_labels: Names, pace: float = 1.0,
        watch_s: float = WATCH_S, now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._node, self._store, self._wanted, self._changed = client, node, store, Chosen(wanted), changed
        self._telemetry, self._pace, self._watch_s, self._now_s = telemetry, pace, watch_s, now_s
        self._trouble = Trouble(telemetry, "pods")
        self._beside = Beside(client, node, node_labels, namespace_labels, telemetry, pace=pace, now_s=now_s)
        self._version = ""
        self._asked = asyncio.Event()
        self._gone_in_a_row = 0
        self.listed_from_s = 0.0
        self._listed_at_s = 0.0
        self.lists = self.watches = 0

    # ------------------------------------------------------------ for others

    def ask(self) -> None:
        """See PodSource. The watch is ended for it: it may be late."""
        if self._now_s() - self.listed_from_s >= ASK_GAP_S * self._pace:
            self._asked.set()

    def want(self, wanted: Wanted) -> None:
        if self._wanted.wanted != wanted:
            self._wanted = Chosen(wanted)
            self._asked.set()

    def labels_of_node(self) -> dict[str, str]:
        return self._beside.node()

    def labels_of_namespace(self, name: str) -> dict[str, str]:
        return self._beside.namespace(name)

    def status(self) -> dict[str, Any]:
        return {
            "source": "api", "address": self._client.base_url, "pods": self._store.running,
            "last_list_s": self._listed_at_s or None, "lists": self.lists, "watches": self.watches, **self._trouble.status(),
        }

    async def close(self) -> None:
        await self._client.close()

    # ------------------------------------------------------------ the loop

    async def run(self) -> None:
        """For ever."""
        await self._client.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="pods")
            group.create_task(self._beside.run(self._changed), name="labels of node and namespaces")

    async def _follow(self) -> None:
        while True:
            began_s = self._now_s()
            try:
                if not self._version or self._asked.is_set():
                    await self._list()
                await self._watch_until_asked()
            except KubeError as error:
                await self._after(error)
            else:
                if self._now_s() - began_s < SHORT_WATCH_S * self._pace and not self._asked.is_set():
                    await asyncio.sleep(self._pace * pause_s(0))      # cut at once: the far side shall not be hammered
            self._store.expire(self._now_s())

    async def _after(self, error: KubeError) -> None:
        if error.reason == GONE:                             # A2. Everyday after a long cut, so no trouble
            self._version = ""
            self._gone_in_a_row += 1
            self._telemetry.count("shipper_metadata_errors_total", 1, GONE)
            await asyncio.sleep(self._pace * pause_s(self._gone_in_a_row - 1))
            return
        if error.reason in UNREADABLE:                       # from the same version it would come again, and hide what is behind
            self._version = ""
        self._trouble.note(error)
        await asyncio.sleep(self._pace * pause_s(self._trouble.in_a_row))

    async def _list(self) -> None:
        """A2, A3. Page by page: 250 pods of 20 kB each are 5 MB at a time, and what is kept of a page is a hundredth."""
        began_s = self._now_s()
        query = {"fieldSelector": f"spec.nodeName={self._node}", "limit": str(PAGE)}
        pods: list[Pod] = []
        for _ in range(MOST_PAGES):
            page = decoded(decode_list, await self._client.get("/api/v1/pods", query), "a list of pods")
            pods += pods_of(page.items or (), self._wanted)
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        else:
            raise KubeError("too_large", f"more than {MOST_PAGES * PAGE} pods on one node")
        if not page.metadata.resource_version:
            raise KubeError("malformed", "a list without a resourceVersion")
        self._version = page.metadata.resource_version
        self._asked.clear()
        changed = self._store.replace(pods, began_s)
        self.listed_from_s, self._listed_at_s = began_s, time.time()
        self.lists += 1
        self._telemetry.count("shipper_metadata_lists_total")
        self._trouble.over()
        if not pods:
            self._telemetry.say("warning", "no_pods", about=self._node, why="the API server knows no pod on a node of this name; "
                                "`node` must be the node's name there: ${NODE_NAME} from spec.nodeName")
        self._tell(changed)

    async def _watch_until_asked(self) -> None:
        tasks = asyncio.ensure_future(self._watch()), asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        seconds = max(1, round(self._watch_s * random.uniform(0.8, 1.0)))
        query = {
            "fieldSelector": f"spec.nodeName={self._node}", "watch": "true", "allowWatchBookmarks": "true",
            "resourceVersion": self._version, "timeoutSeconds": str(seconds),
        }
        self.watches += 1
        self._telemetry.count("shipper_metadata_watches_total")
        async with aclosing(self._client.lines("/api/v1/pods", query, silent_s=seconds + SILENT_MARGIN_S)) as stream:
            async for lines in stream:
                self._on_lines(lines)

    def _on_lines(self, lines: list[bytes]) -> None:
        changed: set[str] = set()
        try:
            for line in lines:
                if line.strip():
                    changed |= self._on_event(line)
        finally:
            self._tell(changed)
        self._gone_in_a_row = 0
        self._trouble.over()
        self._store.expire(self._now_s())

    def _on_event(self, line: bytes) -> set[str]:
        event = decoded(decode_event, line, "an event of a watch")
        if event.type == "ERROR":
            status = decoded(decode_status, event.object, "an ERROR event")
            reason = str(status.code) if 400 <= status.code < 600 else "error"      # a metric label
            raise KubeError(reason, f"the watch ended: {status.message or status.reason}")
        found = decoded(decode_object, event.object, "an object of a watch")
        self._version = found.metadata.resource_version or self._version
        if event.type in ("ADDED", "MODIFIED"):
            return {uid for pod in pods_of((found,), self._wanted) for uid in self._store.put(pod)}
        if event.type == "DELETED":
            self._store.end(found.metadata.uid, self._now_s())
        return set()

    def _tell(self, changed: set[str]) -> None:
        if changed:
            self._changed(changed)
