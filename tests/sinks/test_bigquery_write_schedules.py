"""Exactly once, whatever comes in whatever order: kills between any two writes, answers that are lost or late, streams that are
finalised, rows that are refused, a disk that fails, spool files that were changed."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.sinks.bigquery_write_model import write_rows
from tests.sinks.bigquery_write_schedules import Schedule

ROWS = 24
SHORT = 1_500


@pytest.mark.parametrize("seeds", [
    range(SHORT), *(pytest.param(range(start, start + 10_000), marks=[pytest.mark.long, pytest.mark.timeout(900)])
                    for start in range(SHORT, 60_000, 10_000))], ids=lambda seeds: f"{seeds.start} to {seeds.stop}")
def test_in_every_order_of_events_each_row_is_in_one_place(seeds: range, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", ROWS)
    happened: Counter[str] = Counter()
    for seed in seeds:
        schedule = Schedule(seed, tmp_path / "rows", ROWS)
        wrong = schedule.wrong(schedule.run())
        assert not wrong, f"seed {seed}: row: (in tables, dead letters) {wrong}\n" + "\n".join(schedule.trace[-200:])
        happened.update(schedule.happened)
    for what in ("killed", "taken late", "finalised by somebody", "damaged", "dead"):
        assert happened[what] >= len(seeds) // 20, f"{what}: a test that tries nothing proves nothing"
    assert happened["streams"] > 2 * len(seeds)
