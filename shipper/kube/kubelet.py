"""The pods of this node from its own kubelet, asked again and again: it has no watch. Driver.

Invariants (tests/kube/test_kubelet.py):
  K1  asked each POLL_S, and GAP_S after the last answer where somebody waits for a pod that is not known
  K2  the kubelet knows its static pods by the uid that their directories have; it knows no labels of nodes and namespaces
Source: kubelet /pods (pkg/kubelet/server/server.go); RBAC nodes/pods, before 1.36 nodes/proxy.
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ..telemetry import Telemetry
from .client import KubeClient, KubeError, decoded
from .objects import Chosen, Wanted, decode_list, pods_of
from .source import Trouble, pause_s, until_set
from .store import PodStore

POLL_S = 30.0
GAP_S = 1.0


class KubeletPods:
    """See PodSource."""

    def __init__(
        self, client: KubeClient, store: PodStore, wanted: Wanted, changed: Callable[[set[str]], None], telemetry: Telemetry, *,
        pace: float = 1.0, now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client`: its base_url is the whole address, path included."""
        self._client, self._store, self._wanted, self._changed = client, store, Chosen(wanted), changed
        self._telemetry, self._pace, self._now_s = telemetry, pace, now_s
        self._trouble = Trouble(telemetry, "kubelet")
        self._asked = asyncio.Event()
        self.listed_from_s = self._listed_at_s = 0.0
        self.lists = 0

    def ask(self) -> None:
        self._asked.set()

    def want(self, wanted: Wanted) -> None:
        if self._wanted.wanted != wanted:
            self._wanted = Chosen(wanted)
            self._asked.set()

    def labels_of_node(self) -> dict[str, str]:
        return {}

    def labels_of_namespace(self, name: str) -> dict[str, str]:
        return {}

    def status(self) -> dict[str, Any]:
        return {
            "source": "kubelet", "address": self._client.base_url, "pods": self._store.running,
            "last_list_s": self._listed_at_s or None, "lists": self.lists, **self._trouble.status(),
        }

    async def close(self) -> None:
        await self._client.close()

    async def run(self) -> None:
        """For ever (K1)."""
        await self._client.prepare()
        while True:
            self._asked.clear()
            try:
                await self._poll()
            except KubeError as error:
                self._trouble.note(error)
                await asyncio.sleep(self._pace * pause_s(self._trouble.in_a_row))
                continue
            await asyncio.sleep(self._pace * GAP_S)
            await until_set(self._asked, self._pace * (POLL_S - GAP_S))

    async def _poll(self) -> None:
        began_s = self._now_s()
        found = decoded(decode_list, await self._client.get(""), "a list of pods")
        changed = self._store.replace(pods_of(found.items or (), self._wanted), began_s)
        self._store.expire(began_s)
        self.listed_from_s, self._listed_at_s = began_s, time.time()
        self.lists += 1
        self._telemetry.count("shipper_metadata_lists_total")
        self._trouble.over()
        if changed:
            self._changed(changed)


def address_of(url: str) -> str:
    """The kubelet's address with its path: /pods where it has none."""
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/pods"
