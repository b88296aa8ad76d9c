"""What the worlds of the sinks with a spool share: one buffer and one state directory, on which a sink is run, ended, run again.
Time is real; back-offs are nothing."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.config.types import SinkCommon
from shipper.deliver.driver import Delivery
from shipper.sinks import SinkContext, SinkSpec
from shipper.sinks._plan_store import PlanStore
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters
from tests.sinks.delivery_world import DeliveryWorld

WITHIN_S = 60.0


class SpoolWorld(DeliveryWorld):
    """`fake`: the far side, with what it heard that no right client says. `kept`: what stays in the spool when all is done."""

    kept: tuple[str, ...] = ()

    def __init__(self, root: Path, fake: Any, letters: MemoryLetters, **common: Any) -> None:
        self.root, self.fake, self.buffer, self.letters = root, fake, FakeBuffer(), letters
        self.common, self.telemetry, self.buffer_bytes = common, Telemetry(), 1 << 30

    @property
    def context(self) -> SinkContext:
        return SinkContext("far", "n1", str(self.root), self.telemetry, buffer_bytes=self.buffer_bytes)

    def deliver(self, spec: SinkSpec, sink: Any, context: SinkContext) -> None:
        """Until `stop`."""
        self.delivery = Delivery(
            "far", SinkCommon(**self.common), spec, sink, self.buffer, context,  # type: ignore[arg-type]
            self.telemetry, dead_letters=self.letters, uniform=lambda low, high: 0.01,  # type: ignore[arg-type]
        )
        self.begin()

    async def until(self, met: Callable[[], Any], what: str = "") -> None:
        end_s = time.monotonic() + WITHIN_S
        while not met():
            self.buffer.sync()
            assert time.monotonic() < end_s, (
                f"not met: {what or met}; {self.delivery.status()}; {self.fake.wrong}; {self.heard()}")
            await asyncio.sleep(0.002)

    def heard(self) -> Any:
        """For who reads why `until` was not met."""
        return ""

    async def flushed(self) -> None:
        """All that was written is at the far side, or dead."""
        task = asyncio.create_task(self.delivery.caught_up(self.buffer.appended_seq, WITHIN_S))
        await self.until(task.done, "flushed")
        await task
        await self.until(lambda: self.spool == [*self.kept], "manifests and files are gone")

    @property
    def spool(self) -> list[str]:
        directory = self.root / "spool" / "far"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    async def plans(self, count: int) -> None:
        """So many are in the spool, or more."""
        await self.until(lambda: sum(name.endswith("plan.json") for name in self.spool) >= count, f"{count} plans")

    def change_a_file(self) -> None:
        """The last byte of the first one that a plan in the spool names."""
        part = self.root / "spool" / "far" / next(name for name in self.spool if name.endswith(".part"))
        part.write_bytes(part.read_bytes()[:-1] + b"?")


def gone_after_one_removal(patch: pytest.MonkeyPatch) -> list[int]:
    """The process that removes a plan ends before it removes another: the number of the first one, once it is gone."""
    real, gone = PlanStore.remove, list[int]()

    def remove(store: PlanStore, number: int, files: int) -> None:
        if gone:
            raise asyncio.CancelledError            # nobody is there any more
        gone.append(number)
        real(store, number, files)

    patch.setattr(PlanStore, "remove", remove)
    return gone
