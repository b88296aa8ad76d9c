"""The pipeline: buffer, intake and outlets, put together. The one place that knows all stages. Driver.

    start: buffer (recovery) ──► outlets ──► intake (first scan)          what is in the buffer goes out before files are read
    stop:  intake (last sweep) ──► sync ──► outlets (drain) ──► buffer closed

Invariants: see pipeline.py.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..buffer.driver import Buffer
from ..config.types import Config
from ..errors import BufferLost, Fatal, Usage
from ..telemetry import Telemetry
from .audit import AuditFacts
from .facts import audit_of, buffer_status, files_of, stages_of
from .health import StageFacts
from .intake import Intake
from .outlets import Outlets
from .reload import Changes
from .status import StatusFacts

SYNC_S = 2.0
OTHERS_EVERY_S = 5.0


def others_of(state_dir: str) -> Callable[[], int]:
    """What counts against max_size beside segments and quarantine: dead letters and spools. Looked at each 5 s."""
    seen: list[float] = [0.0, 0.0]

    def count() -> int:
        now_s = time.monotonic()
        if now_s - seen[0] > OTHERS_EVERY_S:
            size = 0
            for name in ("dead-letters", "spool", "sinks"):
                for path, _, files in os.walk(os.path.join(state_dir, name)):
                    for file in files:
                        with contextlib.suppress(FileNotFoundError):   # evicted or rotated meanwhile
                            size += os.stat(os.path.join(path, file)).st_size
            seen[0], seen[1] = now_s, float(size)
        return int(seen[1])

    return count


class Pipeline:
    """See pipeline.Pipeline."""

    def __init__(self, config: Config, telemetry: Telemetry) -> None:
        self._config, self._telemetry = config, telemetry
        self._buffer: Buffer | None = None
        self._intake: Intake | None = None
        self._outlets: Outlets | None = None

    @property
    def ready(self) -> bool:
        return self._intake is not None and self._intake.ready

    async def start(self) -> None:
        config = self._config
        self._buffer = await Buffer.open(config.state_dir, config.buffer, self._telemetry)
        self._buffer.others = others_of(config.state_dir)
        self._outlets = Outlets(self._buffer, self._telemetry)
        self._outlets.start(config)
        self._intake = Intake(config, self._buffer, self._telemetry, self._outlets.pace)
        await self._intake.start()
        self._gauges()

    async def run_until(self, stop: asyncio.Event) -> None:
        assert self._intake is not None
        await self._intake.run(stop)

    async def once(self, timeout_s: float | None) -> int:
        assert self._buffer is not None and self._intake is not None and self._outlets is not None
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                unread = await self._intake.once()
                await self._buffer.wait_synced(self._buffer.appended_seq)
        except TimeoutError:
            self._telemetry.say("error", "once_unfinished", why=f"not all files were read in {timeout_s:g} s; raise --timeout")
            return 1
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        held = await self._outlets.caught_up(self._buffer.appended_seq, left_s)
        for why in held:
            self._telemetry.say("error", "once_unfinished", about=" ".join(why.split()[:2]).rstrip(":"), why=why)
        for why in unread:
            self._telemetry.say("error", "once_unfinished", about=why.partition(":")[0], why=why)
        return 1 if held or unread or self._intake.journals.failed else 0

    async def shutdown(self, grace_s: float, held: dict[str, Mapping[str, Any]]) -> None:
        if self._buffer is None:
            return
        try:
            await self._sync(self._buffer)
            if self._outlets is not None:
                held.update(await self._outlets.drain(grace_s))
            if self._intake is not None:
                await self._intake.close()
        finally:
            await self._buffer.close()

    async def _sync(self, buffer: Buffer) -> None:
        """Sinks have their time whatever the disk does."""
        try:
            async with asyncio.timeout(SYNC_S):
                await buffer.wait_synced(buffer.appended_seq)
        except TimeoutError:
            self._telemetry.say("warning", "sync_late", why=f"the disk took longer than {SYNC_S:g} s; closing waits for it")
        except (BufferLost, Fatal) as error:
            self._telemetry.say("warning", "sync_failed", why=f"{error}; what is not on disk is read again by the next start")

    async def apply(self, config: Config, changes: Changes) -> None:
        assert self._intake is not None and self._outlets is not None
        if changes.sinks:
            await self._outlets.apply(config)
        if changes.sources or "process" in changes.settings:
            await self._intake.apply(config)
        elif changes.sinks:
            self._intake.pods.configure(config)
        self._config = config

    async def order(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._outlets is None:
            raise Usage("the agent is starting; ask again")
        return await self._outlets.desk.order(what)

    # ---------------------------------------------------------------- facts

    def status_facts(self, files: bool = True) -> StatusFacts:
        if self._buffer is None or self._intake is None or self._outlets is None:
            return StatusFacts()
        rows = files_of(self._intake.facts(), time.time_ns()) if files else ()
        return StatusFacts(rows, self._outlets.status(), buffer_status(self._buffer),
                           self._intake.pods.status())

    def audit_facts(self) -> AuditFacts:
        assert self._buffer is not None and self._outlets is not None and self._intake is not None
        return audit_of(self._buffer, self._outlets.counters(), self._intake.facts())

    def levels(self) -> Iterable[tuple[str, str, float]]:
        if self._buffer is None or self._intake is None or self._outlets is None:
            return
        for name, lag_bytes in self._intake.reader.facts.lag_by_source().items():
            yield "lag", name, lag_bytes
        for name, facts in self._outlets.status().items():
            yield "backlog", name, facts["backlog_bytes"]
        yield "buffer", "", self._buffer.usage.total

    def stage_facts(self) -> Sequence[StageFacts]:
        if self._buffer is None or self._intake is None or self._outlets is None:
            return ()
        return stages_of(self._intake.reader, self._buffer, self._outlets.status())

    def _gauges(self) -> None:
        assert self._intake is not None and self._buffer is not None and self._outlets is not None
        intake, reader, outlets, buffer = self._intake, self._intake.reader, self._outlets, self._buffer

        def files() -> Iterator[tuple[tuple[str, ...], float]]:
            for state, count in intake.states().items():
                yield (state,), count

        def lag() -> Iterator[tuple[tuple[str, ...], float]]:
            yield (), reader.facts.lag_bytes()

        def held() -> Iterator[tuple[tuple[str, ...], float]]:
            yield (), reader.facts.held_bytes()

        def backlog() -> Iterator[tuple[tuple[str, ...], float]]:
            for name, facts in outlets.status().items():
                yield (name,), facts["backlog_bytes"]

        def oldest() -> Iterator[tuple[tuple[str, ...], float]]:
            for name, facts in outlets.status().items():
                yield (name,), facts["oldest_s"]

        def states() -> Iterator[tuple[tuple[str, ...], float]]:
            for name, facts in outlets.status().items():
                yield (name, facts["state"]), 1

        def used() -> Iterator[tuple[tuple[str, ...], float]]:
            usage = buffer.usage
            yield ("segments",), usage.segments
            yield ("quarantine",), usage.quarantine
            yield ("others",), usage.others

        def limit() -> Iterator[tuple[tuple[str, ...], float]]:
            yield (), buffer.limit_bytes

        gauge = self._telemetry.gauge
        gauge("shipper_files", files)
        gauge("shipper_lag_bytes", lag)
        gauge("shipper_held_deleted_bytes", held)
        gauge("shipper_sink_backlog_bytes", backlog)
        gauge("shipper_sink_oldest_seconds", oldest)
        gauge("shipper_sink_state", states)
        gauge("shipper_buffer_bytes", used)
        gauge("shipper_buffer_limit_bytes", limit)
