"""Plans of Cloud Storage without network, disk and clock: one seed is one order of everything that can happen to them.

    life: manifests ─► take_up ─► requests ─► goes on │ lost before │ lost behind │ late │ 5xx │ kill -9 ─► the next life

What was lost on its way may reach the server at any later moment: beside what the next life sends for the same object. The server
is as strict as the real one: preconditions and checksums are judged when an upload ends; a session tells what it holds, or how it
ended, or is gone. Asserted: a plan is confirmed only when all its objects are there, with its bytes; nothing else is ever there.
"""
from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from google_crc32c import value as crc32c_of

from shipper.errors import Retryable
from shipper.sinks import SinkContext
from shipper.sinks._gcs_plans import CarriedOut, Plan
from shipper.sinks._gcs_upload import wire_crc32c
from shipper.sinks._http_status import Answer
from shipper.sinks._plan_store import Manifests, PlanStore
from shipper.telemetry import Telemetry

UNIT_BYTES, CHUNK_BYTES, SMALL_BYTES = 4, 8, 12
ORIGINS = ("https://storage.example", "https://storage.example", "https://elsewhere.example")
SIZES = (1, 11, 12, 13, 16, 23, 40)
PLANS, MOST_STEPS = 4, 3_000


def write_files(directory: Path) -> None:
    """The spool files of all plans of all schedules."""
    for size_bytes in SIZES:
        (directory / str(size_bytes)).write_bytes(random.Random(size_bytes).randbytes(size_bytes))


class Server:
    """objects: name to bytes. part: how much of a piece is kept."""

    def __init__(self, part: Callable[[int], int], reads: bool, refusal: int) -> None:
        self.objects: dict[str, bytes] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.wrong: list[str] = []
        self._part, self._reads, self._refusal = part, reads, refusal

    def serve(self, method: str, url: str, headers: Mapping[str, str], data: bytes, late: bool) -> Answer:
        if method == "GET":
            name = url.split("/o/")[1].split("?")[0].replace("%2F", "/")
            if not self._reads:
                return Answer(403, {})
            found = self.objects.get(name)
            return Answer(404, {}) if found is None else Answer(200, {}, orjson.dumps(_told(name, found)))
        if "uploadType=multipart" in url:
            parts = data.split(b"\r\n\r\n", 2)
            content = parts[2][:parts[2].rindex(b"\r\n--")]
            return self._end(orjson.loads(parts[1].split(b"\r\n--")[0]), content)
        if method == "POST":
            session = f"{url.split('/upload')[0]}/session/{len(self.sessions)}"
            self.sessions[session] = {"resource": orjson.loads(data), "data": b"", "ended": None, "gone": False}
            return Answer(200, {"Location": session})
        return self._put(self.sessions[url], headers["Content-Range"], data, late)

    def _put(self, session: dict[str, Any], span: str, data: bytes, late: bool) -> Answer:
        if session["gone"]:
            return Answer(410, {})
        if session["ended"] is not None:
            ended: Answer = session["ended"]
            return ended
        what, _, total = span.removeprefix("bytes ").partition("/")
        if what != "*":
            start, end = (int(one) for one in what.split("-"))
            last = end + 1 == int(total)
            if start != len(session["data"]) or (not last and len(data) % UNIT_BYTES):
                if not late and not session.get("late"):
                    self.wrong.append(f"{span} where {len(session['data'])} are held")
                return Answer(400, {}, b"the upload is not there")
            kept = len(data) if last and self._part(1) else self._part(len(data) // UNIT_BYTES) * UNIT_BYTES
            session["data"] += data[:kept]
            session["late"] = session.get("late") or late
            if len(session["data"]) == int(total):
                session["ended"] = self._end(session["resource"], session["data"])
                again: Answer = session["ended"]
                return again
        held = len(session["data"])
        return Answer(308, {"Range": f"bytes=0-{held - 1}"} if held else {})

    def _end(self, resource: dict[str, Any], content: bytes) -> Answer:
        name = resource["name"]
        if resource["crc32c"] != wire_crc32c(crc32c_of(content)):
            self.wrong.append(f"{name}: another checksum")
        if name in self.objects:
            return Answer(self._refusal, {}, b"needs storage.objects.delete")
        self.objects[name] = content
        return Answer(200, {}, orjson.dumps(_told(name, content)))


def _told(name: str, content: bytes) -> dict[str, str]:
    return {"name": name, "size": str(len(content)), "crc32c": wire_crc32c(crc32c_of(content))}


class MemoryStore(PlanStore):
    """Of one life; nothing is written once it is dead. The file of a plan is the one of its size."""

    def __init__(self, world: Schedule, directory: Path) -> None:
        super().__init__(str(directory), "far")
        self._world, self._files = world, directory

    def open(self) -> Manifests:
        disk = self._world.disk
        for number in disk["progress"].keys() - disk["plans"].keys():
            del disk["progress"][number]
        self._last = max(disk["plans"], default=0)
        return [(number, orjson.loads(data)) for number, data in sorted(disk["plans"].items())]

    def path(self, number: int, file: int) -> str:
        return str(self._files / str(self._world.sizes[number][file]))

    def progress(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self._world.disk["progress"].get(number, b"{}"))
        return found

    def note(self, number: int, progress: Mapping[str, Any]) -> None:
        self._world.disk["progress"][number] = orjson.dumps(progress)

    def write(self, number: int, manifest: Mapping[str, Any]) -> None:
        self._world.disk["plans"][number] = orjson.dumps(manifest)

    def remove(self, number: int, files: int) -> None:
        self._world.disk["plans"].pop(number, None)
        self._world.dies()
        self._world.disk["progress"].pop(number, None)


class Thread:
    """In the place of SpoolThread: a job is done before anything else, or the process died."""

    executor = None

    def __init__(self, world: Schedule) -> None:
        self._world = world

    async def run(self, job: Callable[..., Any], *args: Any) -> Any:
        self._world.dies()
        if self._world.chance():
            raise Retryable("the spool cannot be written")
        done = job(*args)
        self._world.dies()
        return done

    def submit(self, job: Callable[..., Any], *args: Any) -> None:
        self._world.dies()
        job(*args)


class Desk:
    """A receipt is the plan's place in the order."""

    buffer_id, sent_bytes = "b", 0

    def __init__(self, world: Schedule) -> None:
        self._world = world

    def resume(self, receipts: Sequence[Mapping[str, Any]]) -> list[int]:
        return [one["end"] if one["end"] > self._world.cursor else 0 for one in receipts]

    async def persist(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except Retryable:
                await asyncio.sleep(0)


class Dead(asyncio.CancelledError):
    """The process is no more."""


class Schedule:
    """One seed."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.rng = rng = random.Random(seed)
        self._directory = directory
        self.disk: dict[str, dict[int, bytes]] = {"plans": {}, "progress": {}}
        self.sizes: dict[int, list[int]] = {}
        self.cursor, self._formed, self._steps = 0, 0, 0
        self._trouble, self._lateness = rng.choice([0.05, 0.3]), rng.choice([0.05, 0.3])
        self._kills, self._confirmed_number = rng.choice([0.0, 0.03, 0.1]), 0
        self._calm_after = rng.randint(50, 300)
        self._late: list[Callable[[], Answer]] = []
        self.server = Server(lambda most: most if rng.random() < 0.8 or self.calm else rng.randint(0, most),
                             rng.random() < 0.8, rng.choice([412, 412, 403]))
        self.expected: dict[str, bytes] = {}
        self.names: dict[int, list[str]] = {}
        self.happened: Counter[str] = Counter()

    @property
    def calm(self) -> bool:
        return self._steps > self._calm_after

    def chance(self) -> bool:
        return not self.calm and self.rng.random() < self._trouble

    def dies(self) -> None:
        """At any write and any request; once it is dead it does nothing more."""
        if not self.calm and self.rng.random() < self._kills:
            self.dead.set()
        if self.dead.is_set():
            raise Dead

    async def run(self) -> None:
        while not await self._live():
            self.happened["killed"] += 1
        while self._late:
            self._late.pop()()
        assert self.server.wrong == [] and self.server.objects == self.expected and self.cursor == PLANS

    async def _live(self) -> bool:
        self.dead, self._tasks, moved = asyncio.Event(), set[asyncio.Task[None]](), asyncio.Event()
        context = SinkContext("far", "n1", str(self._directory), Telemetry(), confirmed=self._confirmed)
        context.plans = Desk(self)  # type: ignore[assignment]
        self.store, self._confirmed_number = MemoryStore(self, self._directory), 0
        carried = CarriedOut(context, self, self.rng.choice(ORIGINS), self.store, Thread(self), moved.set,  # type: ignore[arg-type]
                             self._spawn)
        try:
            found = self.store.open()
            self._formed = max([self.cursor, *(manifest["receipt"]["end"] for _, manifest in found)])
            carried.take_up(found)
            while self._formed < PLANS or carried.all:
                self.dies()
                if self._formed < PLANS and len(carried.all) < 3 and self.rng.random() < 0.3:
                    self._plan(carried)
                if self._confirmed_number > self.cursor and self.rng.random() < 0.3:
                    self.cursor = self._confirmed_number
                    carried.durable(self.cursor)
                self._steps += 1
                assert self._steps < MOST_STEPS, "it does not come to an end"
                await asyncio.sleep(0)
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.remove(task)
                    await task
            if not self.disk["plans"]:
                return True
        except Dead:
            pass
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return False

    def _confirmed(self, number: int, state: Any = None) -> None:
        """What must be true whenever it is said."""
        for name in [name for end, names in self.names.items() if end <= number for name in names]:
            assert self.server.objects.get(name) == self.expected[name], f"{name} is confirmed, and not there"
        self._confirmed_number = max(self._confirmed_number, number)

    def _spawn(self, work: Any) -> None:
        self._tasks.add(asyncio.create_task(work))

    def _plan(self, carried: CarriedOut) -> None:
        number, end = self.store.new_number(), self._formed + 1
        self.sizes[number] = [self.rng.choice(SIZES) for _ in range(self.rng.randint(1, 2))]
        objects = []
        for file, size in enumerate(self.sizes[number]):
            content = (self._directory / str(size)).read_bytes()
            objects.append({"name": f"p/{end}-{file}-{size}", "bucket": "logs", "size": size, "crc32c": crc32c_of(content),
                            "content_type": "x", "storage_class": "", "metadata": {}})
        manifest = {"version": 1, "buffer": "b", "receipt": {"end": end}, "objects": objects}
        self.dies()
        self.store.write(number, manifest)
        self._formed = end
        for one in objects:
            self.expected[one["name"]] = (self._directory / str(one["size"])).read_bytes()
        self.names[end] = [one["name"] for one in objects]
        self.dies()
        plan = Plan(number, manifest, end)
        carried.all.append(plan)
        self._spawn(carried.carry_out(plan))

    # ------------------------------------------------------------ in the place of HttpClient

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Sequence[Any] = (),
    ) -> Answer:
        data = b"".join([piece if isinstance(piece, bytes) else piece._read() for piece in body])
        self._steps += 1
        self.dies()
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(0)
            self._meanwhile()

        def serve(late: bool = False) -> Answer:
            return self.server.serve(method, url, headers or {}, data, late)

        if self.chance():
            return self._fails(serve)
        answer = serve()
        self.dies()
        return answer

    def _fails(self, serve: Callable[..., Answer]) -> Answer:
        """Lost before, lost behind, late, or refused for now."""
        kind = self.rng.choice(["before", "behind", "late", "late", "503", "429"])
        if kind in ("503", "429"):
            return Answer(int(kind), {})
        if kind == "behind":
            serve()
        elif kind == "late":
            self._late.append(lambda: serve(True))
        raise Retryable("the connection was lost")

    def _meanwhile(self) -> None:
        rng = self.rng
        if self._late and rng.random() < self._lateness:
            self.happened["late"] += 1
            self._late.pop(rng.randrange(len(self._late)))()
        if self.server.sessions and self.chance() and rng.random() < 0.1:
            self.happened["gone"] += 1
            rng.choice(list(self.server.sessions.values()))["gone"] = True
