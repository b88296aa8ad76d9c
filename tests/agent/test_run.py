"""The pipeline put away: whatever the disk does, sinks have their time and everything is closed (pipeline.py)."""
from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shipper.agent.reload import Changes, Difference
from shipper.agent.run import Pipeline
from shipper.agent.status import StatusFacts
from shipper.config.loader import load_text
from shipper.config.types import Config
from shipper.errors import BufferLost, Fatal
from shipper.telemetry import Telemetry


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    text = f"""
state_dir: {tmp_path}/state
sources: {{host: {{type: files, include: ['{tmp_path}/logs/*.log']}}}}
sinks: {{archive: {{type: file, path: '{tmp_path}/out.ndjson', start_at: oldest}}}}
"""
    (tmp_path / "logs").mkdir()
    return Pipeline(load_text(text, "test.yaml", {}).config, Telemetry(write=lambda level, event, fields: None))


@pytest.mark.parametrize("error", [BufferLost("frame 7 was abandoned"), Fatal("the buffer's writer stopped")])
async def test_a_disk_that_fails_at_the_end_costs_the_sinks_no_time_and_leaves_nothing_open(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception,
) -> None:
    """Sinks were not asked to take what they could, and the buffer's last cursors were not written: sent again by the next."""
    await pipeline.start()
    assert pipeline._buffer is not None and pipeline._outlets is not None

    async def failing(seq: int) -> None:
        raise error

    monkeypatch.setattr(pipeline._buffer, "wait_synced", failing)
    drained = _counted(pipeline, monkeypatch)
    held: dict[str, Mapping[str, Any]] = {}
    await pipeline.shutdown(5.0, held)
    assert drained == [5.0] and held == {}
    assert not [thread for thread in threading.enumerate() if thread.name == "shipper-buffer"]


async def test_a_writer_that_died_is_told_after_everything_else_is_put_away(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch,
) -> None:
    await pipeline.start()
    assert pipeline._buffer is not None and pipeline._intake is not None
    pipeline._buffer._die(MemoryError())
    drained = _counted(pipeline, monkeypatch)
    closed: list[bool] = []
    close = pipeline._intake.close

    async def counting() -> None:
        closed.append(True)
        await close()

    monkeypatch.setattr(pipeline._intake, "close", counting)
    with pytest.raises(Fatal, match="MemoryError"):
        await pipeline.shutdown(5.0, {})
    assert drained == [5.0] and closed == [True]


async def test_before_it_is_started_it_has_nothing_to_show_and_then_every_stage(pipeline: Pipeline) -> None:
    """Health is sampled, and the page asks, whenever they like."""
    assert list(pipeline.levels()) == [] and pipeline.stage_facts() == () and not pipeline.ready
    assert pipeline.status_facts() == StatusFacts()
    await pipeline.start()
    assert {(kind, name) for kind, name, _ in pipeline.levels()} == {("backlog", "archive"), ("buffer", "")}
    assert [stage.name for stage in pipeline.stage_facts()][:3] == ["reader", "reading", "buffer writer"]
    assert pipeline.ready and "archive" in pipeline.status_facts().sinks
    await pipeline.shutdown(5.0, {})


NEW, GONE, CHANGED = Difference(added=("new",)), Difference(removed=("host",)), Difference(changed=("archive",))


@pytest.mark.parametrize(("changed", "asked"), [
    ({"sources": NEW}, ["intake"]), ({"settings": ("process",)}, ["intake"]), ({"sinks": CHANGED}, ["outlets", "pods"]),
    ({"sinks": CHANGED, "sources": GONE}, ["outlets", "intake"]), ({"settings": ("log.level",)}, []),
])
async def test_a_reload_asks_those_whom_the_change_concerns_and_sinks_first(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], asked: list[str],
) -> None:
    await pipeline.start()
    called: list[str] = []

    def noting(name: str) -> Any:
        async def note(config: Config) -> None:
            called.append(name)
        return note

    assert pipeline._intake is not None and pipeline._outlets is not None
    monkeypatch.setattr(pipeline._intake, "apply", noting("intake"))
    monkeypatch.setattr(pipeline._outlets, "apply", noting("outlets"))
    monkeypatch.setattr(pipeline._intake.pods, "configure", lambda config: called.append("pods"))
    await pipeline.apply(pipeline._config, Changes(pipeline._config, **changed))
    assert called == asked
    monkeypatch.undo()
    await pipeline.shutdown(5.0, {})


def _counted(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each drain."""
    asked: list[float] = []
    assert pipeline._outlets is not None
    drain = pipeline._outlets.drain

    async def counting(deadline_s: float) -> Mapping[str, Mapping[str, Any]]:
        asked.append(deadline_s)
        return await drain(deadline_s)

    monkeypatch.setattr(pipeline._outlets, "drain", counting)
    return asked
