"""Plans of Cloud Storage that are on disk: taken up after a crash, uploaded, confirmed in order, removed. Driver: once per plan.

    manifest ─► carry_out: an Upload per object ─► done ─► confirmed behind those before ─► durable ─► manifest, then files gone

Invariants: GS1, GS2 and GS3 of gcs.py (tests/sinks/test_gcs.py, test_gcs_troubles.py).
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import SinkContext
from ._gcs_range import measure
from ._gcs_upload import Upload
from ._http_client import HttpClient
from ._plan_store import Manifests, PlanStore
from ._planner import SpoolThread

UPLOADS = 2


@dataclass(slots=True, eq=False)
class Plan:
    """A manifest being carried out. `request`: what is confirmed with it; 0: the cursor is past it already. `written`: it is
    durable."""

    number: int
    manifest: dict[str, Any]
    request: int
    written: bool = True
    done: bool = False
    confirmed: bool = False
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """The cursor waits for it. One that it has passed, or of another buffer, is carried out beside the others."""
        return bool(self.request) and not self.confirmed

    @property
    def files(self) -> int:
        return len(self.manifest["objects"])


def whole(store: PlanStore, found: Manifests) -> tuple[Manifests, str]:
    """The manifests up to the first whose files are not what it says, and what is wrong there (GS3). On the thread."""
    index, path = store.damaged(found, _files, measure)
    store.give_up(found[index:], _files)
    return found[:index], path


def _files(manifest: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [(one["size"], one["crc32c"]) for one in manifest["objects"]]


@dataclass(slots=True)
class CarriedOut:
    """Of one sink, oldest first. `news`: called whenever one moved. `spawn`: runs a task that the sink ends."""

    context: SinkContext
    client: HttpClient
    endpoint: str
    store: PlanStore
    thread: SpoolThread
    news: Callable[[], None]
    spawn: Callable[[Any], None]
    all: list[Plan] = field(default_factory=list)
    stored_objects: int = 0
    _durable_number: int = 0
    _uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))

    @property
    def holding(self) -> int:
        """How many the cursor waits for."""
        return sum(1 for plan in self.all if plan.holds)

    def take_up(self, found: Manifests) -> None:
        """Plans of another buffer are finished, and not resumed: their positions mean nothing here."""
        desk = self.context.plans
        ours = [(n, m) for n, m in found if m["buffer"] == desk.buffer_id]
        requests = dict(zip([n for n, _ in ours], desk.resume([m["receipt"] for _, m in ours])))
        for number, manifest in found:
            plan = Plan(number, manifest, requests.get(number, 0), progress=self.store.progress(number))
            self.all.append(plan)
            self.spawn(self.carry_out(plan))

    async def carry_out(self, plan: Plan) -> None:
        """All objects of a plan. What is not finished when the sink is stopped is finished by the next start."""
        await asyncio.gather(*(self._upload(plan, file) for file in range(plan.files)))
        plan.done = True
        self._confirm()
        self._tidy()

    async def _upload(self, plan: Plan, file: int) -> None:
        key, spec = str(file), plan.manifest["objects"][file]

        async def note(session: str) -> None:
            plan.progress[key] = {"session": session}
            await self.thread.run(self.store.note, plan.number, dict(plan.progress))

        upload = Upload(
            self.client, self.endpoint, spec, self.store.path(plan.number, file),
            plan.progress.get(key, {}).get("session", ""), note, self.thread.executor)

        async def step() -> None:
            async with self._uploads:           # not while it pauses: objects that cannot be stored would hold up the others
                await upload.step()

        while not upload.done:
            await self.context.plans.persist(step)
        self.stored_objects += 1

    def _confirm(self) -> None:
        """GS2."""
        for plan in self.all:
            if not plan.done and plan.request:
                return
            if plan.done and not plan.confirmed:
                plan.confirmed = True
                if plan.request:
                    self.context.confirmed(plan.request)

    def durable(self, number: int) -> None:
        """The cursor that covers request `number` is on disk."""
        self._durable_number = max(self._durable_number, number)
        self._tidy()

    def _tidy(self) -> None:
        """GS2."""
        for plan in [p for p in self.all if p.confirmed and p.request <= self._durable_number]:
            self.all.remove(plan)
            self.thread.submit(self.store.remove, plan.number, plan.files)
        self.news()
