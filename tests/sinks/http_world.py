"""One sink over HTTP with a real delivery, a turned clock and a misbehaving server. Time-outs of the sink are real.

They are short (HANGS) only where the server hangs: elsewhere a busy machine would have requests repeated that were answered.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shipper.config.loader import load_text
from shipper.config.types import SinkCommon, SinkEntry
from shipper.deliver.driver import Delivery
from shipper.model import Batch
from shipper.sinks import SinkContext
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters, TurnedClock, source
from tests.sinks.delivery_world import DeliveryWorld
from tests.support.bad_http import BadServer

REQUEST_TIMEOUT = "30s"
HANGS = "request_timeout: 400ms"


def entry_of(text: str) -> SinkEntry:
    """A sink's checked entry, as the agent loads it, from its YAML keys in flow style, `type` among them."""
    whole = f"node: n1\nsources: {{c: {{type: containers}}}}\nsinks:\n  far: {{{text}}}\n"
    return load_text(whole, "test", {}).config.sinks["far"]


class World(DeliveryWorld):
    """`common`: keys of every sink. Messages are made by `write`, each with its token."""

    def __init__(self, codec: Any, server: BadServer, *, keys: str = "", wrap: Any = None, **common: Any) -> None:
        common.setdefault("concurrency", 1)
        text = f"type: {codec.type}, {codec.keys}".replace("{url}", f"http://127.0.0.1:{server.port}")
        timeout = "" if "request_timeout" in keys else f", request_timeout: {REQUEST_TIMEOUT}"
        entry = entry_of(text + (f", {keys}" if keys else "") + ", proxy: none" + timeout)
        self.spec, self.config = entry.spec, entry.config
        self.server, self.clock, self.letters = server, TurnedClock(), MemoryLetters()
        self.buffer = FakeBuffer(self.clock)
        self.telemetry = Telemetry(now_s=self.clock.now_s)
        context = SinkContext("far", "n1", "/nonexistent", self.telemetry)
        self.sink = self.spec.build(self.config, context)
        self.delivery = Delivery(
            "far", SinkCommon(**common), self.spec, wrap(self.sink) if wrap else self.sink, self.buffer, context, self.telemetry,
            self.clock, dead_letters=self.letters, uniform=lambda low, high: high,  # type: ignore[arg-type]
        )
        self.expected: list[bytes] = []

    def write(self, count: int, *, poison: Sequence[int] = (), pod: str = "web", padding: int = 0) -> None:
        """One frame of `count` records; those at `poison` will never be taken."""
        messages = []
        for number in range(count):
            token = b"m%06d" % len(self.expected)
            self.expected.append(token)
            messages.append(token + (b" poison" if number in poison else b" good") + b"." * padding)
        self.buffer.write(source(pod), *messages)

    async def __aenter__(self) -> World:
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until_done(self) -> None:
        """All is confirmed or buried; nothing that the server saw was wrong."""
        await self.clock.until(lambda: self.done, 1e9)
        assert self.server.wrong == []

    @property
    def dead(self) -> set[bytes]:
        return {message[:7] for message in self.letters.messages}

    @property
    def batches(self) -> list[Batch]:
        return [s.batch for frame in self.buffer.frames for s in frame.sections if s.batch is not None]
