"""Cloud Storage, exactly once: objects of NDJSON or raw lines, compressed, planned on disk before they are uploaded.

    encode ─► [(prefix, pieces)] ─► send ─► Range: a growing spool file per prefix            (_gcs_range.py, on a thread)
    full, old, or too much of the buffer ─► cut ─► sealed ─► buffer synced ─► fix ─► manifest   (_planner.py, _plan_store.py)
    manifest ─► Upload per object (_gcs_plans.py, _gcs_upload.py) ─► all there ─► confirmed ─► cursor durable ─► manifest removed

Invariants (tests/sinks/test_gcs.py, test_gcs_troubles.py), beside those of _planner.py:
  GS1  an object is uploaded only when it stands in a durable manifest, with its final name and checksum, and whatever happens it
       is that file which is sent under that name: the config of today says nothing about the plan of yesterday
  GS2  plans are confirmed in order, and their files stay until the cursor is durable *and* all objects are there
  GS3  where a spool file of a plan is missing or was changed, that plan and those behind it are given up, said as an error,
       and sent again from the buffer: then a record may be in two objects, and none is lost
Driver: per request one hop to the thread.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from ..encode import raw, record_json
from ..errors import Fatal
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
from ._gcs_plans import CarriedOut, Plan, whole
from ._gcs_range import Range
from ._http_client import HttpClient
from ._planner import Planner

TICK_S = 1.0
_ENCODERS: dict[str, ModuleType] = {"ndjson": record_json, "raw": raw}
Payload = list[tuple[str, list[bytes]]]


class GcsSink:
    """See the module. `now_s`: for tests."""

    looks_at_batches = False

    def __init__(self, config: GcsConfig, context: SinkContext, now_s: Callable[[], float] = time.monotonic) -> None:
        self._config, self._context, self._now_s = config, context, now_s
        self._credentials = credentials(config, "storage", context.telemetry)
        self._client = HttpClient(http_config(config, "storage"), context.name, context.telemetry, self._credentials)
        self._template = compile_prefix(config.prefix, {})
        self._pieces: Callable[[Batch], list[bytes]] = _ENCODERS[config.format].pieces
        if config.merge:
            self._pieces = partial(self._pieces, merge=True)
        self._planner: Planner[Range, Plan] = Planner(context, self, now_s)
        planner = self._planner
        self._plans = CarriedOut(
            context, self._client, endpoint(config, "storage"), planner.store, planner.thread, planner.news, planner.spawn)

    # ------------------------------------------------------------ what delivery calls

    async def start(self, state: Any) -> None:
        """What a crash left is finished as it was planned (GS1). Retryable where it cannot be known where this is."""
        planner = self._planner
        planner.thread.start()
        who = Identity(self._config)
        ask = {"cluster": who.cluster_name, "location": who.location, "project": who.project}
        where = {name: await ask[name]() for name in sorted(asks_for(self._config.prefix))}
        self._template = compile_prefix(self._config.prefix, where)
        try:
            found = await planner.thread.run(planner.store.open)
            found, damaged = await planner.thread.run(whole, planner.store, found)
        except ValueError as error:
            raise Fatal(str(error)) from error
        if damaged:
            self._context.telemetry.say(
                "error", "plan_damaged", about=self._context.name, path=damaged,
                why="it is gone or was changed; what was planned from there on is sent again, and may be there twice")
        self._plans.take_up(found)
        planner.resumed()

    def encode(self, batches: Sequence[Batch]) -> Payload:
        """Pieces per prefix, prefixes in the order of their first batch."""
        return self.assemble([self.encode_one(batch) for batch in batches if len(batch)])

    def encode_one(self, batch: Batch) -> tuple[str, list[bytes]]:
        """See sinks."""
        return self._template.render(batch), self._pieces(batch)

    def assemble(self, pieces: Sequence[tuple[str, list[bytes]]]) -> Payload:
        """See sinks."""
        parts: dict[str, list[bytes]] = {}
        for prefix, made in pieces:
            parts.setdefault(prefix, []).extend(made)
        return list(parts.items())

    async def send(self, request: Request, payload: Payload) -> None:
        """Into the spool. Retryable where the disk does not take it."""
        await self._planner.take(request, payload)

    async def flush(self, deadline_s: float) -> None:
        """The open range becomes a plan, and all plans are carried out."""
        plans = self._plans
        await self._planner.flush(
            deadline_s, lambda: f"{sum(plan.files for plan in plans.all)} objects are not uploaded",
            lambda: any(plan.request for plan in plans.all))

    @property
    def pinned(self) -> bool:
        """What is fixed and not on disk yet: the cursor must not pass it (GS1), else a crash would lose it."""
        return any(not plan.written for plan in self._plans.all)

    def durable(self, number: int) -> None:
        self._plans.durable(number)

    def rewound(self, number: int) -> None:
        self._planner.rewound()

    async def close(self) -> None:
        await self._planner.close()
        await self._client.close()
        await self._credentials.close()

    def status(self) -> dict[str, Any]:
        """For /status."""
        waiting, growing = [plan for plan in self._plans.all if not plan.done], self._planner.open
        return {
            **self._client.status(), "stored_objects": self._plans.stored_objects,
            "planned_objects": sum(p.files for p in waiting),
            "planned_bytes": sum(o["size"] for p in waiting for o in p.manifest["objects"]),
            "open_objects": len(growing.objects) if growing is not None else 0,
            "open_bytes": growing.size_bytes if growing is not None else 0,
        }

    # ------------------------------------------------------------ ranges (_planner.Kind)

    @property
    def tick_s(self) -> float:
        return min(TICK_S, self._config.max_age / 4)

    def begin(self, number: int, began_s: float, began_bytes: int, data: Payload) -> Range:
        config = self._config
        return Range(self._planner.store, number, config.compression, began_s, began_bytes, config.max_open_objects)

    def is_due(self, growing: Range, data: Payload | None) -> bool:
        config = self._config
        objects, more = len(growing.objects), sum(1 for prefix, _ in data or () if prefix not in growing.by_prefix)
        return (
            growing.largest_bytes >= config.max_bytes or self._now_s() - growing.began_s >= config.max_age
            or objects > config.max_open_objects or bool(more and objects + more > config.max_open_objects)
        )

    def fits(self, growing: Range, data: Payload) -> bool:
        return True

    def plan(self, growing: Range, receipt: dict[str, Any]) -> Plan:
        plan = Plan(growing.number, self._manifest(growing, receipt), growing.last_request, written=False)
        self._plans.all.append(plan)
        return plan

    def planned(self, plan: Plan) -> None:
        self._planner.spawn(self._plans.carry_out(plan))

    @property
    def holding(self) -> int:
        return self._plans.holding

    def _manifest(self, growing: Range, receipt: dict[str, Any]) -> dict[str, Any]:
        config, buffer_id = self._config, self._context.plans.buffer_id
        objects = [{
            "name": object_name(one.prefix, buffer_id, receipt, one.crc32c, suffix(config)), "bucket": config.bucket,
            "size": one.size_bytes, "crc32c": one.crc32c, "content_type": content_type(config),
            "storage_class": config.storage_class,
            "metadata": {"shipper-node": self._context.node, "shipper-uncompressed-bytes": str(one.records_bytes)},
        } for one in growing.objects]
        return {"version": 1, "buffer": buffer_id, "receipt": receipt, "objects": objects}


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
