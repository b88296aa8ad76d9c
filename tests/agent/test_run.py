"""The pipeline put away: whatever the disk does, sinks have their time and everything is closed (pipeline.py)."""
from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shipper.agent.run import Pipeline
from shipper.config.loader import load_text
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
