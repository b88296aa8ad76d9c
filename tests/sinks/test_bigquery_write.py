"""Rows exactly once into BigQuery: the sink with a real delivery, against a fake that speaks Google's own messages."""
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sinks.bigquery_write_world import WriteWorld, short_ranges
from tests.support.fake_bigquery_write import FakeBigQueryWrite


@pytest.fixture
async def fake() -> AsyncIterator[FakeBigQueryWrite]:
    async with FakeBigQueryWrite() as running:
        yield running


async def test_records_become_rows_and_the_cursor_follows(fake: FakeBigQueryWrite, tmp_path: Path) -> None:
    world = WriteWorld(tmp_path, fake)
    world.run()
    world.write(300)
    await world.flushed()
    assert world.done and len(fake.streams) == 1
    world.assert_exactly_once()
    await world.stop()


async def test_a_restart_goes_on_in_the_same_stream(
    fake: FakeBigQueryWrite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_ranges(monkeypatch)
    world = WriteWorld(tmp_path, fake, max_request_records=10)
    for _ in range(3):
        world.run()
        world.write(50, padding=100)
        await world.flushed()
        await world.stop()
    assert len(fake.streams) == 1 and set(fake.answers) == {"ok"} and len(fake.answers) >= 15
    world.assert_exactly_once()
