"""The pods of this node, as far as known. Pure: objects and times in, changed uids out.

Invariants (tests/kube/test_store.py):
  S1  at most MOST_PODS pods; over it those that ended first go first, then nothing new is taken
  S2  a pod is known KEEP_S after its end: its last lines may be found later than its deletion
  S3  a static pod is found by its config hash only under its own namespace and name: anybody may write such an
      annotation on a pod of theirs
  S4  after `replace` all that was not in the list has ended
"""
from __future__ import annotations

from collections.abc import Iterable

from .objects import Pod

KEEP_S = 300.0
MOST_PODS = 10_000


class PodStore:
    """By uid. Each change returns the uids (of log directories) about which something else is known now."""

    def __init__(self, keep_s: float = KEEP_S, most: int = MOST_PODS) -> None:
        self._keep_s, self._most = keep_s, most
        self._pods: dict[str, Pod] = {}
        self._ended: dict[str, float] = {}               # uid -> since; in this order
        self._aliases: dict[tuple[str, str, str], str] = {}
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._pods)

    @property
    def running(self) -> int:
        return len(self._pods) - len(self._ended)

    def find(self, uid: str, namespace: str, name: str) -> Pod | None:
        """The pod whose log directory has this uid; of a static pod only where the names fit (S3)."""
        return self._pods.get(uid) or self._pods.get(self._aliases.get((uid, namespace, name), ""))

    def put(self, pod: Pod) -> set[str]:
        """It exists."""
        self._ended.pop(pod.uid, None)
        if self._pods.get(pod.uid) == pod:
            return set()
        if pod.uid not in self._pods and not self._room():
            self.left_out += 1
            return set()
        self._pods[pod.uid] = pod
        if pod.alias:
            self._aliases[pod.alias, pod.namespace, pod.name] = pod.uid
            return {pod.uid, pod.alias}
        return {pod.uid}

    def end(self, uid: str, now_s: float) -> None:
        """It was deleted; what is known of it stays for KEEP_S (S2)."""
        if uid in self._pods:
            self._ended.setdefault(uid, now_s)

    def replace(self, pods: Iterable[Pod], now_s: float) -> set[str]:
        """A whole list (S4)."""
        changed: set[str] = set()
        seen = set()
        for pod in pods:
            seen.add(pod.uid)
            changed |= self.put(pod)
        for uid in self._pods.keys() - seen:
            self.end(uid, now_s)
        return changed

    def expire(self, now_s: float) -> None:
        """Forget what ended long ago."""
        for uid in [uid for uid, since_s in self._ended.items() if now_s - since_s >= self._keep_s]:
            self._forget(uid)

    def _room(self) -> bool:
        if len(self._pods) >= self._most and self._ended:
            self._forget(next(iter(self._ended)))
        return len(self._pods) < self._most

    def _forget(self, uid: str) -> None:
        del self._ended[uid]
        pod = self._pods.pop(uid)
        if self._aliases.get((pod.alias, pod.namespace, pod.name)) == uid:
            del self._aliases[pod.alias, pod.namespace, pod.name]
