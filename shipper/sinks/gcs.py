"""Cloud Storage, exactly once: objects of NDJSON or raw lines, compressed, planned on disk before they are uploaded.

    encode ─► [(prefix, pieces)] ─► send ─► Range: a growing spool file per prefix            (_gcs_range.py, on a thread)
    full, old, or too much of the buffer ─► cut ─► sealed ─► buffer synced ─► fix ─► manifest   (_plan_store.py)
    manifest ─► Upload per object (_gcs_plans.py, _gcs_upload.py) ─► all there ─► confirmed ─► cursor durable ─► manifest removed

Invariants (tests/sinks/test_gcs.py, test_gcs_exactly_once.py):
  GS1  an object is uploaded only when it stands in a durable manifest, with its final name and checksum, and whatever happens it
       is that file which is sent under that name: the config of today says nothing about the plan of yesterday
  GS2  a record is in one plan: ranges end where delivery is settled, and what is fixed is not formed again (Plans)
  GS3  plans are confirmed in order, and their files stay until the cursor is durable *and* all objects are there
  GS4  at most MAX_PLANS ranges wait to be uploaded: behind them `send` waits, and the buffer keeps the rest
  GS6  from the moment on in which a range has failed until delivery has gone back, nothing is planned: the next plan would cover
       that range without its records
  GS5  where a spool file of a plan is missing or was changed, that plan and those behind it are given up, said as an error,
       and sent again from the buffer: then a record may be in two objects, and none is lost
Driver: per request one hop to the thread.
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

from ..encode import raw, record_json
from ..errors import Fatal, Retryable, ShipperError
from ..model import Batch, Request
from . import SinkContext, SinkSpec
from ._gcp_auth import credentials
from ._gcp_config import endpoint, http_config
from ._gcp_identity import Identity
from ._gcs_config import (
    GcsConfig,
    asks_for,
    compile_prefix,
    content_type,
    guarantee,
    object_name,
    problems,
    suffix,
    warnings,
)
from ._gcs_plans import CarriedOut, Plan, SpoolThread, spool_trouble, whole
from ._gcs_range import Range
from ._http_client import HttpClient
from ._plan_store import PlanStore

MAX_PLANS = 4
TICK_S = 1.0
DURABLE_S = 1.0
_ENCODERS: dict[str, ModuleType] = {"ndjson": record_json, "raw": raw}
Payload = list[tuple[str, list[bytes]]]


class GcsSink:
    """See the module. `now_s`: for tests."""

    def __init__(self, config: GcsConfig, context: SinkContext, now_s: Callable[[], float] = time.monotonic) -> None:
        self._config, self._context, self._now_s = config, context, now_s
        self._credentials = credentials(config, "storage", context.telemetry)
        self._client = HttpClient(http_config(config, "storage"), context.name, context.telemetry, self._credentials)
        self._template = compile_prefix(config.prefix, {})
        self._pieces: Callable[[Batch], list[bytes]] = _ENCODERS[config.format].pieces
        if config.merge:
            self._pieces = partial(self._pieces, merge=True)
        self._store = PlanStore(context.state_dir, context.name)
        self._thread = SpoolThread(context.name)
        self._range: Range | None = None
        self._appending: Future[None] | None = None
        self._cut_number = self._sent_bytes = 0
        self._going_back: ShipperError | None = None
        self._sealing: list[Range] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sealing_lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._plans = CarriedOut(
            context, self._client, endpoint(config, "storage"), self._store, self._thread, self._news.set, self._spawn)
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ what delivery calls

    async def start(self, state: Any) -> None:
        """What a crash left is finished as it was planned (GS1). Retryable where it cannot be known where this is."""
        self._thread.start()
        who = Identity(self._config)
        ask = {"cluster": who.cluster_name, "location": who.location, "project": who.project}
        where = {name: await ask[name]() for name in sorted(asks_for(self._config.prefix))}
        self._template = compile_prefix(self._config.prefix, where)
        try:
            found = await self._thread.run(self._store.open)
            found, damaged = await self._thread.run(whole, self._store, found)
        except ValueError as error:
            raise Fatal(str(error)) from error
        if damaged:
            self._context.telemetry.say(
                "error", "plan_damaged", about=self._context.name, path=damaged,
                why="it is gone or was changed; what was planned from there on is sent again, and may be there twice")
        self._plans.take_up(found)
        self._sent_bytes = self._context.plans.sent_bytes

    def encode(self, batches: Sequence[Batch]) -> Payload:
        """Pieces per prefix, prefixes in the order of their first batch."""
        parts: dict[str, list[bytes]] = {}
        for batch in batches:
            if len(batch):
                parts.setdefault(self._template.render(batch), []).extend(self._pieces(batch))
        return list(parts.items())

    async def send(self, request: Request, payload: Payload) -> None:
        """All of it in the range's spool files. Retryable where the disk does not take it: then all of the range comes again."""
        if request.number <= self._cut_number:
            return                          # a send that was called off had got there (S2)
        while len(self._sealing) + self._plans.holding >= MAX_PLANS and self._going_back is None:
            self._news.clear()
            await self._news.wait()
        if self._going_back is not None:
            raise Retryable(str(self._going_back))          # GS6; delivery goes back once this has returned
        if self._is_due(payload):
            self._cut()
        growing = self._range
        if growing is None:
            growing = self._range = Range(
                self._store, self._store.new_number(), self._config.compression, self._now_s(), self._sent_bytes,
                self._config.max_open_objects)
        try:
            self._appending = self._thread.submit(growing.append, request.number, payload)
            assert self._appending is not None          # started
            await asyncio.wrap_future(self._appending)
        except OSError as error:
            trouble = spool_trouble(error)
            self._go_back(trouble)
            raise trouble from error
        self._sent_bytes = self._context.plans.sent_bytes
        self._tick_soon()

    async def flush(self, deadline_s: float) -> None:
        """The open range becomes a plan, and all plans are carried out."""
        self._cut()
        try:
            async with asyncio.timeout(deadline_s):
                while self._sealing or self._plans.holding:
                    if self._going_back is not None:
                        raise Retryable(str(self._going_back))      # delivery goes back once this has returned
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            waiting = sum(plan.files for plan in self._plans.all)
            raise Retryable(f"{waiting} objects are not uploaded after {deadline_s:g} s; they stay planned") from None
        with suppress(TimeoutError):                # else the next start would find them, and send them in vain
            async with asyncio.timeout(DURABLE_S):
                while any(plan.request for plan in self._plans.all):
                    self._news.clear()
                    await self._news.wait()

    @property
    def pinned(self) -> bool:
        """What is fixed and not on disk yet: the cursor must not pass it (GS1), else a crash would lose it."""
        return any(not plan.written for plan in self._plans.all)

    def durable(self, number: int) -> None:
        self._plans.durable(number)

    def rewound(self, number: int) -> None:
        """What is no plan yet comes again."""
        gone = [*self._sealing, *([self._range] if self._range is not None else [])]
        self._sealing, self._range, self._going_back = [], None, None
        self._sent_bytes = self._context.plans.sent_bytes
        for one in gone:
            one.void = True
            self._thread.submit(one.discard)
        self._news.set()

    async def close(self) -> None:
        """Plans stay on disk and are finished by the next start; what is none yet comes again then."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.rewound(0)
        await self._client.close()
        await self._credentials.close()
        await self._thread.stop()

    def status(self) -> dict[str, Any]:
        """For /status."""
        waiting = [plan for plan in self._plans.all if not plan.done]
        return {
            **self._client.status(), "stored_objects": self._plans.stored_objects,
            "planned_objects": sum(p.files for p in waiting),
            "planned_bytes": sum(o["size"] for p in waiting for o in p.manifest["objects"]),
            "open_objects": len(self._range.objects) if self._range is not None else 0,
            "open_bytes": self._range.size_bytes if self._range is not None else 0,
        }

    # ------------------------------------------------------------ ranges

    def _is_due(self, payload: Payload = []) -> bool:  # noqa: B006 - not changed
        """Whether the open range ends before `payload`."""
        growing, config = self._range, self._config
        if growing is None or not growing.last_request:
            return False
        held_bytes = self._context.plans.sent_bytes - growing.began_bytes
        objects, more = len(growing.objects), sum(1 for prefix, _ in payload if prefix not in growing.by_prefix)
        return (
            growing.largest_bytes >= config.max_bytes or self._now_s() - growing.began_s >= config.max_age
            or held_bytes >= self._context.buffer_bytes // 4
            or objects > config.max_open_objects or bool(more and objects + more > config.max_open_objects)
        )

    def _cut(self) -> None:
        """The open range takes no more, where it can end here (GS2)."""
        growing = self._range
        if growing is None or growing.broken or self._going_back is not None:
            return                                      # GS6
        if self._appending is not None and not self._appending.done():
            return
        if not growing.last_request or not self._context.plans.settled(growing.last_request):
            return
        self._range, self._cut_number = None, growing.last_request
        self._sealing.append(growing)
        self._spawn(self._make_plan(growing))

    def _go_back(self, error: ShipperError) -> None:
        """What is no plan yet has to come again; `rewound` follows."""
        self._going_back = error
        self._news.set()
        self._context.resend(error)

    def _tick_soon(self) -> None:
        if self._timer is None:
            delay_s = 0.02 if self._is_due() else min(TICK_S, self._config.max_age / 4)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._is_due():
            self._cut()
        if self._range is not None:
            self._tick_soon()

    async def _make_plan(self, growing: Range) -> None:
        """From a range to a durable manifest, one after the other."""
        plans = self._context.plans
        async with self._sealing_lock:
            try:
                if growing.void or self._going_back is not None:
                    return                              # GS6
                await self._thread.run(growing.seal)
                await plans.synced(growing.last_request)
                if growing.void or self._going_back is not None:
                    return
                receipt = plans.fix(growing.last_request)
            except ShipperError as error:
                if not growing.void:
                    self._go_back(error)
                return
            self._sealing.remove(growing)
            plan = Plan(growing.number, self._manifest(growing, receipt), growing.last_request, written=False)
            self._plans.all.append(plan)
            await plans.persist(lambda: self._thread.run(self._store.write, plan.number, plan.manifest))
            plan.written = True
        self._spawn(self._plans.carry_out(plan))

    def _manifest(self, growing: Range, receipt: dict[str, Any]) -> dict[str, Any]:
        config, buffer_id = self._config, self._context.plans.buffer_id
        objects = [{
            "name": object_name(one.prefix, buffer_id, receipt, one.crc32c, suffix(config)), "bucket": config.bucket,
            "size": one.size_bytes, "crc32c": one.crc32c, "content_type": content_type(config),
            "storage_class": config.storage_class,
            "metadata": {"shipper-node": self._context.node, "shipper-uncompressed-bytes": str(one.records_bytes)},
        } for one in growing.objects]
        return {"version": 1, "buffer": buffer_id, "receipt": receipt, "objects": objects}

    # ------------------------------------------------------------ tasks

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ShipperError):
            self._context.telemetry.say("error", "sink_task_failed", about=self._context.name, why=type(error).__name__)
            self._context.resend(Retryable(f"a bug of ours: {type(error).__name__}"))


SINK = SinkSpec(
    summary="Google Cloud Storage, exactly once: compressed objects of NDJSON or raw lines, partitioned by a prefix.",
    config=GcsConfig,
    build=GcsSink,
    check=problems,
    warn=warnings,
    guarantee=guarantee,
    confirms="later",
    targets=lambda config: [f"gs://{config.bucket}/{config.prefix.strip('/')}"],
    request_bytes=768 * 1024,
    concurrency=1,
)
