"""Joins what Kubernetes knows of pods to the log files: who is labelled how, who waits, who is not read. Driver; the seam.

    intake ──a log file──► joined: its Source with labels, what its pod asks for, how long it waits
    kube   ──uids that changed──► retell(log file) for each lineage of theirs

Invariants (tests/agent/test_pods.py):
  P1  nothing waits that need not: a file waits only where a rule whose other conditions fit it asks for labels or
      annotations, until they are known, until its pod is known to be gone, or for metadata_timeout; what goes on without
      is counted
  P2  what was known before a restart (positions) holds until something else is known: it works while the API server is down
  P3  a pod's annotations decide only what annotations_allowed names; a value that is none is ignored, counted and said
  P4  a source that fails by a bug of ours is said, counted and started again; reading goes on
  P5  bounded: one entry per log file, gone with it
  P6  a pod whose labels change all the time (a lease kept in an annotation) is told TOLD_AT_ONCE times at once, then each
      TOLD_EVERY_S: each time defines its files anew in the buffer. Who waits is told at once, always
"""
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..config.kubernetes import PREFIX
from ..config.matching import Predicate
from ..config.processing import Processing
from ..config.types import Config, ContainersSource
from ..discover.lineage import LogFile
from ..kube.objects import Names, Pod, Wanted
from ..kube.source import NAMESPACE, NODE, PodSource
from ..kube.store import PodStore
from ..model import Source
from ..telemetry import Telemetry
from .logging import describe
from .pod_annotations import Annotations
from .pod_rules import asking, names_asked_for
from .pod_source import kind_of, pod_source, wanted_of

TICK_S = 0.5
ASK_AFTER_S = 5.0
RESTART_S = 5.0
BATCH_S = 0.02
TOLD_AT_ONCE, TOLD_EVERY_S = 10, 10.0


class Joined(NamedTuple):
    """What is known of a log file's pod. `wait_until_s`: monotonic, 0.0 for not at all; `asks`: by its annotations."""

    source: Source
    wait_until_s: float = 0.0
    excluded: bool = False
    asks: Processing | None = None


@dataclass(slots=True)
class Wait:
    found_s: float
    until_s: float


class PodMetadata:
    """One per agent. `retell(logfiles)`: something else is known of these; called between two turns of the loop."""

    def __init__(
        self, config: Config, telemetry: Telemetry, retell: Callable[[list[LogFile]], Awaitable[None]], *,
        environ: Mapping[str, str] = os.environ, now_s: Callable[[], float] = time.monotonic, pace: float = 1.0,
    ) -> None:
        self._telemetry, self._retell, self._now_s, self._pace = telemetry, retell, now_s, pace
        self._settings, self._environ = config.kubernetes, environ
        self.kind = kind_of(config, environ)
        self._own_uid = "" if self._settings.read_own_pod else environ.get("POD_UID", "")
        self._annotations = Annotations(self._settings.annotations_allowed, telemetry)
        self._shown = Names(self._settings.annotations)
        self.store = PodStore()
        self.pods: PodSource | None = None
        self._node = config.node
        self._files: dict[str, LogFile] = {}
        self._by_uid: dict[str, set[str]] = {}
        self._waiting: dict[str, Wait] = {}
        self._gave_up: set[str] = set()
        self._vanished: set[str] = set()
        self._excluded: set[str] = set()
        self._due: set[str] = set()
        self._told_s: dict[str, float] = {}               # when its next change would come at TOLD_EVERY_S
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._asks: list[Predicate] = []
        self.configure(config)

    # ------------------------------------------------------------ what the intake asks

    def configure(self, config: Config) -> None:
        """The rules of this config say who waits. `kubernetes:` itself changes with a restart only."""
        self._asks = list(asking(config))
        self._names = names_asked_for(config)
        if self.kind == "off" and self._asks and any(isinstance(s, ContainersSource) for s in config.sources.values()):
            self._telemetry.say("warning", "no_metadata", why="rules ask for labels or annotations, and there is no source of "
                                "them here (kubernetes.metadata: auto finds one in a pod with an account); nothing matches")
        if self.pods is not None:
            self.pods.want(self._wanted())
        self._due |= self._waiting.keys()                 # a rule that asked may be gone
        if self._due:
            self._wake.set()

    def keep(self, names: Collection[str]) -> None:
        """After a reload: of all others nothing is wanted any more (P5)."""
        for name in [name for name in self._files if name not in names]:
            self._waiting.pop(name, None)
            self._forget(name)

    def joined(self, logfile: LogFile, before: Source | None) -> Joined:
        """`before`: the source that the positions know for it, None where nothing of it was read."""
        source = logfile.source
        if source.kind != "containers":
            return Joined(source)
        name = source.lineage
        if self._own_uid and source.pod_uid == self._own_uid:
            return self._exclude(source, "the agent's own")
        if self.kind == "off" or not source.pod_uid:
            return Joined(source)
        self._files[name] = logfile
        self._vanished.discard(name)
        self._by_uid.setdefault(source.pod_uid, set()).add(name)
        known = self._known(source, before)
        if known is None:
            return Joined(source, self._wait(source))
        self._waiting.pop(name, None)
        if self._annotations.exclude(known):
            return self._exclude(known, f"its annotation {PREFIX}exclude")
        self._excluded.discard(name)
        return Joined(known, asks=self._annotations.processing(known))

    def vanish(self, name: str) -> None:
        """Its files are gone; who still waits is released as any other."""
        self._excluded.discard(name)
        if name in self._waiting:
            self._vanished.add(name)
        else:
            self._forget(name)

    def _forget(self, name: str) -> None:
        logfile = self._files.pop(name, None)
        self._told_s.pop(name, None)
        for table in (self._gave_up, self._vanished, self._excluded):
            table.discard(name)
        if logfile is not None:
            names = self._by_uid.get(logfile.source.pod_uid, set())
            names.discard(name)
            if not names:
                self._by_uid.pop(logfile.source.pod_uid, None)

    def _exclude(self, source: Source, why: str) -> Joined:
        if source.lineage not in self._excluded:
            self._excluded.add(source.lineage)
            self._telemetry.say(
                "info", "pod_not_read", about=f"{source.namespace}/{source.pod}", container=source.container, why=why)
        return Joined(source, excluded=True)

    # ------------------------------------------------------------ what is known

    def _known(self, source: Source, before: Source | None) -> Source | None:
        pod = self.store.find(source.pod_uid, source.namespace, source.pod)
        if pod is not None:
            return self._with(source, pod)
        if self.kind == "kubelet" and self.pods is not None:
            self.pods.ask()                               # the API server's watch tells by itself
        if before is not None and before.pod_uid == source.pod_uid and (before.labels or before.annotations or before.about_pod):
            return replace(source, labels=before.labels, annotations=before.annotations, about_pod=before.about_pod, cache={})
        return None

    def _with(self, source: Source, pod: Pod) -> Source:
        about: dict[str, Any] = {"annotations": self._shown.of(pod.annotations)}
        if pod.owner[0]:
            about["owner"] = {"kind": pod.owner[0], "name": pod.owner[1]}
        if self.pods is not None:
            about["namespace_labels"] = self.pods.labels_of_namespace(source.namespace)
            about["node_labels"] = self.pods.labels_of_node()
        about = {name: value for name, value in about.items() if value}
        return replace(source, labels=pod.labels or None, annotations=pod.annotations or None, about_pod=about or None, cache={})

    def _wait(self, source: Source) -> float:
        """P1."""
        name = source.lineage
        if name in self._gave_up or not (self._annotations.allowed or any(asks(source) for asks in self._asks)):
            self._waiting.pop(name, None)
            return 0.0
        now_s = self._now_s()
        wait = self._waiting.setdefault(name, Wait(now_s, now_s + self._settings.metadata_timeout))
        return wait.until_s

    # ------------------------------------------------------------ running

    def start(self) -> None:
        """Nothing where there is no source."""
        if self.kind == "off":
            return
        self.pods = pod_source(self.kind, self._settings, self._node, self._environ, self.store, self._wanted(), self._changed,
                               self._telemetry, self._pace)
        for name, run in (("pods", self._follow), ("pods ticks", self._ticks), ("pods told", self._tell)):
            self._tasks.append(asyncio.create_task(self._survive(run, name), name=name))
        self._telemetry.gauge("shipper_metadata_pods", lambda: iter([((), float(self.store.running))]))
        self._telemetry.gauge("shipper_metadata_waiting_files", lambda: iter([((), float(len(self._waiting)))]))

    async def close(self) -> None:
        """End its tasks and connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self.pods is not None:
            await self.pods.close()

    async def calm(self) -> None:
        """Returns when no file waits (`run --once`)."""
        while self._waiting:  # noqa: ASYNC110 - four places change it, once a run asks
            await asyncio.sleep(TICK_S * self._pace / 4)

    def status(self) -> dict[str, Any]:
        """For /status."""
        found = self.pods.status() if self.pods is not None else {"source": self.kind}
        return {**found, "waiting_files": len(self._waiting), "excluded_files": len(self._excluded)}

    def _wanted(self) -> Wanted:
        return wanted_of(self._settings, self._names)

    def _changed(self, marks: set[str]) -> None:
        for mark in marks:
            if mark == NODE:
                self._due |= self._files.keys()
            elif mark.startswith(NAMESPACE):
                namespace = mark.removeprefix(NAMESPACE)
                self._due |= {name for name, logfile in self._files.items() if logfile.source.namespace == namespace}
            else:
                self._due |= self._by_uid.get(mark, set())
        if self._due:
            self._wake.set()

    async def _survive(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        """P4."""
        while True:
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - P4
                self._telemetry.count("shipper_errors_total", 1, name)
                self._telemetry.say("error", "unexpected_error", about=name, **describe(error))
            await asyncio.sleep(RESTART_S * self._pace)

    async def _follow(self) -> None:
        assert self.pods is not None
        await self.pods.run()

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(BATCH_S)                  # a list, or a rolling update, is many pods
            self._wake.clear()
            due = self._due_now(self._now_s())
            files = [self._files[name] for name in due if name in self._files]
            await self._retell(files)
            for name in due & self._vanished - self._waiting.keys():
                self._forget(name)

    def _due_now(self, now_s: float) -> set[str]:
        """P6. The others stay due; a tick asks again."""
        every_s = TOLD_EVERY_S * self._pace
        due = {name for name in self._due
               if name in self._waiting or self._told_s.get(name, 0.0) <= now_s + (TOLD_AT_ONCE - 1) * every_s}
        self._due -= due
        for name in due:
            self._told_s[name] = max(self._told_s.get(name, 0.0), now_s) + every_s
        return due

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S * self._pace)
            self.tick(self._now_s())
            if self._due:
                self._wake.set()

    def tick(self, now_s: float) -> None:
        """Whoever waited long enough, or for a pod that is gone, goes on (P1)."""
        assert self.pods is not None
        for name, wait in list(self._waiting.items()):
            source = self._files[name].source
            if now_s >= wait.until_s:
                self._give_up(name, source, "nothing was heard of its pod in metadata_timeout")
            elif self.pods.listed_from_s > wait.found_s and not _is_static(source.pod_uid):
                self._give_up(name, source, "its pod does not exist any more")
        late_s = now_s - ASK_AFTER_S * self._pace
        if any(wait.found_s <= late_s and not _is_static(self._files[name].source.pod_uid)
               for name, wait in self._waiting.items()):
            self.pods.ask()

    def _give_up(self, name: str, source: Source, why: str) -> None:
        del self._waiting[name]
        self._gave_up.add(name)
        self._telemetry.count("shipper_routed_without_metadata_total", 1, source.name)
        self._telemetry.say("warning", "routed_without_metadata", about=source.name, path=source.path, why=why)
        self._due.add(name)
        self._wake.set()


def _is_static(uid: str) -> bool:
    """A config hash: its mirror at the API server may come later than its log."""
    return len(uid) == 32 and "-" not in uid
