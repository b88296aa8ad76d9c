"""An object is there once and as it was planned before its records count, whatever comes in whatever order."""
from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

import shipper.sinks._gcs_upload as upload_module
from tests.sinks.gcs_schedules import CHUNK_BYTES, SMALL_BYTES, Schedule, write_files


@pytest.mark.parametrize("seeds", [
    range(250), pytest.param(range(250, 20_000), marks=[pytest.mark.long, pytest.mark.timeout(900)])],
    ids=lambda seeds: f"{seeds.start} to {seeds.stop}")
def test_in_every_order_of_events_a_plan_counts_when_its_objects_are_there(
    seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "MULTIPART_BYTES", SMALL_BYTES)
    monkeypatch.setattr(upload_module, "CHUNK_BYTES", CHUNK_BYTES)
    write_files(tmp_path)
    happened: Counter[str] = Counter()

    async def all_of_them() -> None:
        for seed in seeds:
            schedule = Schedule(seed, tmp_path)
            try:
                await schedule.run()
            except BaseException as error:
                raise AssertionError(f"seed {seed}") from error
            happened.update(schedule.happened)

    asyncio.run(all_of_them())
    assert happened["killed"] > len(seeds) and happened["late"] > len(seeds) and happened["gone"] > len(seeds) // 20, happened
