"""O1 to O3: what happens to the sinks of a running agent when one cannot be built."""
from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from shipper.agent import outlets as module
from shipper.agent.outlets import Outlets
from shipper.buffer.driver import Buffer
from shipper.config.types import BufferSettings, Config, SinkCommon, SinkEntry
from shipper.errors import Fatal, Retryable, Usage
from shipper.model import Batch, Request
from shipper.sinks.stdout import SINK
from shipper.telemetry import Telemetry

_now: dict[str, str] = {}


class Quiet:
    """Takes everything. `broken`: the next `encode` is a bug."""

    alive: list[Quiet] = []

    def __init__(self, config: Any, context: Any) -> None:
        self.config = _now.get(config, config)
        if self.config == "cannot be built":
            raise Usage("sinks.out.ca_file: cannot be read; see to its owner")

    async def start(self, state: Any) -> None:
        self.alive.append(self)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        return b""
    async def send(self, request: Request, payload: Any) -> None: ...
    async def flush(self, deadline_s: float) -> None: ...
    def durable(self, number: int) -> None: ...
    async def close(self) -> None:
        if self in self.alive:
            self.alive.remove(self)


SPEC = dataclasses.replace(
    SINK, build=Quiet, targets=lambda config: [config] if config.startswith("file ") else [])


def config_of(**sinks: str) -> Config:
    def entry(name: str, how: str) -> SinkEntry:
        return SinkEntry(name=name, type="quiet", common=SinkCommon(), spec=SPEC, config=how)

    entries = {name: entry(name, how) for name, how in sinks.items()}
    return Config(node="n1", state_dir="/nowhere", sources={}, sinks=entries)


@pytest.fixture
async def outlets(tmp_path: Path) -> AsyncIterator[Outlets]:
    telemetry = Telemetry()
    buffer = await Buffer.open(str(tmp_path), BufferSettings(), telemetry)
    found = Outlets(buffer, telemetry)
    found.telemetry = telemetry  # type: ignore[attr-defined]
    yield found
    await found.drain(1.0)
    await buffer.close()
    assert Quiet.alive == []


async def test_a_reload_with_a_sink_that_cannot_be_built_leaves_the_old_ones_running(outlets: Outlets) -> None:
    old = config_of(out="a", other="a")
    outlets.start(old)
    before = {name: delivery for name, (_, delivery, _) in outlets._running.items()}
    for new in (config_of(out="cannot be built"), config_of(out="b", third="cannot be built")):
        with pytest.raises(Usage):
            await outlets.apply(new)
        await asyncio.sleep(0)
        assert {name: delivery for name, (_, delivery, _) in outlets._running.items()} == before
        assert set(outlets.status()) == {"out", "other"}
        assert not any(task.done() for _, _, task in outlets._running.values())
    await outlets.apply(config_of(out="b"))
    assert {name: entry.config for name, (entry, _, _) in outlets._running.items()} == {"out": "b"}


async def test_tidying_that_failed_once_is_said_and_goes_on(outlets: Outlets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that could not be listed ended it in silence: dead letters stayed over their age, spools for ever."""
    looks: list[int] = []

    def listing(state_dir: str) -> list[str]:
        looks.append(1)
        if len(looks) == 1:
            raise PermissionError(13, "Permission denied", state_dir)
        return []

    monkeypatch.setattr(module, "stored_sinks", listing)
    monkeypatch.setattr(module, "TIDY_S", 0.001)
    outlets.start(config_of())
    async with asyncio.timeout(5):
        while len(looks) < 2:
            await asyncio.sleep(0.001)
    telemetry: Telemetry = outlets.telemetry  # type: ignore[attr-defined]
    assert telemetry.value("shipper_errors_total", "tidy") == 1
    assert [event for _, event, _ in telemetry.lines if "tidied" in event] == ["not_tidied"]


async def test_a_sink_that_ended_by_a_bug_and_cannot_be_built_again_is_tried_until_it_can(
    outlets: Outlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_S", 0.0)
    monkeypatch.setattr(module, "REBUILD_S", 0.02)
    config = config_of(out="a")
    outlets.start(config)
    _, delivery, task = outlets._running["out"]
    monkeypatch.setitem(_now, "a", "cannot be built")
    monkeypatch.setattr(delivery, "_turn_or_wait", _bug)
    delivery._wake.set()
    telemetry: Telemetry = outlets.telemetry  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        while telemetry.value("shipper_errors_total", "deliver") < 3:
            await asyncio.sleep(0.01)
        assert not task.done()
        [said] = [fields for _, event, fields in telemetry.lines if event == "sink_not_built"]
        assert (said["about"], said["again_in_s"]) == ("out", 0.02) and said["why"].endswith("see to its owner")
        _now["a"] = "mended"
        while outlets._running["out"][1] is delivery:
            await asyncio.sleep(0.01)
        while "mended" not in [sink.config for sink in Quiet.alive]:
            await asyncio.sleep(0.01)
    assert outlets.status()["out"]["state"] == "ok"


async def _bug() -> None:
    raise KeyError("a bug")


async def test_a_sink_that_hangs_at_a_reload_keeps_only_those_waiting_that_take_its_place(outlets: Outlets) -> None:
    """A server that takes requests and never answers: its sink is given CHANGE_DRAIN_S, and everyone else waited too."""
    outlets.start(config_of(hangs="a", swift="a", other="a", gone="file x"))
    let_go = asyncio.Event()
    for name in ("hangs", "gone"):
        delivery = outlets._running[name][1]

        async def drain(deadline_s: float, drain: Any = delivery.drain, **how: Any) -> Any:
            await let_go.wait()
            return await drain(deadline_s)
        delivery.drain = drain  # type: ignore[method-assign]
    other = outlets._running["other"][1]
    new = config_of(hangs="b", swift="b", other="a", added="a", same_file="file x", heir="a")
    new.sinks["heir"] = replace(new.sinks["heir"], common=SinkCommon(previously="gone"))
    reload = asyncio.create_task(outlets.apply(new))

    def configs() -> dict[str, str]:
        return {name: entry.config for name, (entry, _, _) in outlets._running.items()}

    asyncio.get_running_loop().call_later(5, let_go.set)         # also where this fails
    async with asyncio.timeout(5):
        while configs() != {"hangs": "a", "gone": "file x", "swift": "b", "other": "a", "added": "a"}:
            await asyncio.sleep(0.01)
        assert outlets._running["other"][1] is other and not reload.done()
        let_go.set()
        await reload
    assert configs() == {"hangs": "b", "swift": "b", "other": "a", "added": "a", "same_file": "file x", "heir": "a"}


async def test_what_a_removed_sink_left_is_not_said_again_at_shutdown(outlets: Outlets) -> None:
    outlets.start(config_of(out="a", other="a"))
    stopped = []
    for name, (_, delivery, _) in outlets._running.items():
        async def drain(deadline_s: float, name: str = name, drain: Any = delivery.drain, **how: Any) -> dict[str, Any]:
            stopped.append(name)
            await drain(deadline_s)
            return {"source_bytes": 5, "records": 1, "records_exact": True}
        delivery.drain = drain  # type: ignore[method-assign]
    await outlets.apply(config_of(other="a"))
    held = await outlets.drain(1.0)
    assert stopped == ["out", "other"]
    assert set(held) == {"other"}


async def test_once_names_the_sinks_that_are_not_done_and_ends_where_nothing_can_go_on(
    outlets: Outlets, monkeypatch: pytest.MonkeyPatch,
) -> None:
    outlets.start(config_of(one="a", other="a"))
    answers: dict[str, Exception | None] = {"one": Retryable("sink one was stopped"), "other": Retryable("not done in 3 s")}

    def answering(name: str) -> Any:
        async def caught_up(seq: int, timeout_s: float | None) -> None:
            if (error := answers[name]) is not None:
                raise error
        return caught_up

    for name, (_, delivery, _) in outlets._running.items():
        monkeypatch.setattr(delivery, "caught_up", answering(name))
    assert await outlets.caught_up(0, 3.0) == ["sink one was stopped", "sink other: not done in 3 s"]
    answers["one"] = None
    assert await outlets.caught_up(0, 3.0) == ["sink other: not done in 3 s"]
    answers["other"] = Fatal("the buffer's writer stopped")
    with pytest.raises(Fatal, match="writer stopped"):
        await outlets.caught_up(0, 3.0)
