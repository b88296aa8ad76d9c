"""A pipeline that does what a test tells it, and the parts that an agent needs around it."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shipper.agent.app import Parts
from shipper.agent.audit import AuditFacts
from shipper.agent.health import StageFacts
from shipper.agent.reload import Changes
from shipper.agent.status import StatusFacts
from shipper.config.loader import Loaded
from shipper.config.types import Admin, Config
from shipper.config.units import Seconds
from shipper.telemetry import Telemetry


@dataclass
class FakePipeline:
    """Notes what is called. `start_gate`, `once_gate`: what start and once wait for."""

    calls: list[str] = field(default_factory=list)
    ready: bool = True
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    start_error: Exception | None = None
    run_error: Exception | None = None
    once_code: int = 0
    start_gate: asyncio.Event | None = None
    once_gate: asyncio.Event | None = None
    shutdown_gate: asyncio.Event | None = None
    shutdown_error: Exception | None = None
    running: asyncio.Event = field(default_factory=asyncio.Event)
    applied: asyncio.Event = field(default_factory=asyncio.Event)
    audit: AuditFacts = field(default_factory=lambda: AuditFacts([], {}, 0))

    async def start(self) -> None:
        self.calls.append("start")
        if self.start_gate is not None:
            self.running.set()
            try:
                await self.start_gate.wait()
            finally:
                self.calls.append("start ended")
        if self.start_error is not None:
            raise self.start_error

    async def run_until(self, stop: asyncio.Event) -> None:
        self.calls.append("run")
        self.running.set()
        if self.run_error is not None:
            raise self.run_error
        await stop.wait()

    async def once(self, timeout_s: float | None) -> int:
        self.calls.append(f"once {timeout_s}")
        self.running.set()
        if self.once_gate is not None:
            await self.once_gate.wait()
        return self.once_code

    async def shutdown(self, grace_s: float, held: dict[str, Mapping[str, Any]]) -> None:
        self.calls.append(f"shutdown {grace_s}")
        held.update(self.held)
        if self.shutdown_gate is not None:
            await self.shutdown_gate.wait()
        if self.shutdown_error is not None:
            raise self.shutdown_error

    async def apply(self, config: Config, changes: Changes) -> None:
        self.applied.set()

    def status_facts(self, files: bool = True) -> StatusFacts:
        return StatusFacts()

    def audit_facts(self) -> AuditFacts:
        return self.audit

    def levels(self) -> Sequence[tuple[str, str, float]]:
        return []

    def stage_facts(self) -> Sequence[StageFacts]:
        return []


@dataclass
class FakeLock:
    calls: list[str]

    def release(self) -> None:
        self.calls.append("release")


class World:
    """A config in a temporary directory, a fake pipeline, and a pipe that holds the agent's log lines."""

    def __init__(self, directory: str) -> None:
        self.state_dir = directory
        self.config_path = os.path.join(directory, "shipper.yaml")
        with open(self.config_path, "w") as file:
            file.write("sources: {}\n")
        self.config = Config(node="n1", state_dir=directory, sources={}, sinks={}, admin=Admin(listen=None),
                             shutdown_grace=Seconds(1.5))
        self.pipeline = FakePipeline()
        self.environ: dict[str, str] = {}
        self.lock_gate: asyncio.Event | None = None
        self.log_path = os.path.join(directory, "log")
        self.log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @property
    def parts(self) -> Parts:
        return Parts(
            load=lambda path, environ: Loaded(self.config), build=lambda config, telemetry: self.pipeline,
            lock=self._lock, environ=self.environ, log_fd=self.log_fd,
        )

    async def _lock(self, config: Config, telemetry: Telemetry) -> FakeLock:
        self.pipeline.calls.append("lock")
        if self.lock_gate is not None:
            self.pipeline.running.set()
            await self.lock_gate.wait()
        return FakeLock(self.pipeline.calls)

    def lines(self) -> list[dict[str, Any]]:
        with open(self.log_path, "rb") as file:
            return [orjson.loads(line) for line in file]

    def line(self, event: str) -> dict[str, Any]:
        """The only line of this event."""
        found = [line for line in self.lines() if line["event"] == event]
        assert len(found) == 1, f"{len(found)} lines {event}: {found}"
        return found[0]
