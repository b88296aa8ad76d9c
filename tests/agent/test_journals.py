"""Journals beside the files, with the real buffer on a disk that fails: J1 to J3 of agent/journals.py."""
from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.agent import journals as wiring
from shipper.agent.intake import Intake
from shipper.buffer.driver import Buffer
from shipper.config.journal import JournalSource
from shipper.config.types import BufferSettings, Config, FilesSource
from shipper.config.units import Bytes, Seconds
from shipper.telemetry import Telemetry
from tests.journal.harness import FakeBackend, entry
from tests.support.faults import FaultyFiles


async def pace() -> None:
    await asyncio.sleep(0)


async def until(wanted: Callable[[], Any], within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not wanted():
            await asyncio.sleep(0.005)


class Rig:
    """One disk, one log file, one journal; agents come and go."""

    def __init__(self, root: Path) -> None:
        self.files, self.telemetry, self.backend = FaultyFiles(), Telemetry(), FakeBackend([entry(1)], at_once=1)
        self.log = root / "a.log"
        self.log.write_bytes(b"line 1\n")
        self.config = Config(
            node="n1", state_dir=str(root / "state"), sinks={}, sources={
                "files": FilesSource(include=[str(self.log)], allowed_roots=[str(root)]), "journal": JournalSource()})
        (root / "state").mkdir()
        self.buffer: Buffer
        self.sync_interval_s = 0.02

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Intake]:
        settings = BufferSettings(
            max_size=Bytes(1 << 30), segment_size=Bytes(1 << 20), sync_interval=Seconds(self.sync_interval_s))
        self.buffer = await Buffer.open("/state", settings, self.telemetry, files=self.files)
        self.buffer.open_cursor("sink", "oldest")
        intake, stop = Intake(self.config, self.buffer, self.telemetry, pace), asyncio.Event()
        await intake.start(watch=False)
        task = asyncio.create_task(intake.run(stop))
        try:
            yield intake
        finally:
            stop.set()
            await asyncio.wait_for(task, 15.0)
            await intake.close()
            await self.buffer.close()

    async def records(self) -> dict[str, list[str]]:
        """Messages of all frames, by source."""
        found: dict[str, list[str]] = {"files": [], "journal": []}
        seq = 1
        while frames := await self.buffer.read(seq, 1 << 20):
            for frame in frames:
                for section in frame.sections:
                    if section.batch is not None:
                        found[section.file.source.name] += [message.decode() for message in section.batch.messages]
            seq = frames[-1].seq + 1
        return found

    def rot(self, message: bytes) -> None:
        """The disk changes a byte of it."""
        (path, at), = [(path, at) for path in self.files.names("/state/buffer") if (at := self.files.read(
            f"/state/buffer/{path}").find(message)) >= 0]
        self.files.rot(f"/state/buffer/{path}", at)

    async def found_again(self, entries: int) -> None:
        async with asyncio.timeout(15.0):
            while sorted((await self.records())["journal"]) != [f"entry {i + 1}" for i in range(entries)]:
                await asyncio.sleep(0.01)
        assert self.buffer.positions.lost == ()

    async def holds(self, lines: int, entries: int) -> None:
        async with asyncio.timeout(15.0):
            while [len(found) for found in (await self.records()).values()] < [lines, entries]:
                await asyncio.sleep(0.01)
        assert await self.records() == {
            "files": [f"line {i + 1}" for i in range(lines)], "journal": [f"entry {i + 1}" for i in range(entries)]}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path)
    real = wiring._backend_of
    monkeypatch.setattr(wiring, "_backend_of", lambda settings: (made.backend, real(settings)[1]))
    return made


async def test_j1_after_a_failed_sync_files_and_journal_go_back_together_and_nothing_is_there_twice(rig: Rig) -> None:
    async with rig.running():
        await rig.holds(1, 1)
        for count in range(2, 8):
            rig.files.fail("sync")
            with rig.log.open("ab") as log:
                log.write(b"line %d\n" % count)
            rig.backend.entries.append(entry(count))
            await until(lambda: "sync" not in rig.files.failures)
            await rig.holds(count, count)
    assert any(event == "buffer_lost" for _, event, _ in rig.telemetry.lines)


async def test_what_a_sync_loses_after_it_was_appended_is_read_again_though_nothing_new_comes(rig: Rig) -> None:
    rig.sync_interval_s = 1.0
    async with rig.running():
        await rig.holds(1, 1)                             # appended, and told so
        rig.files.fail("sync")
        await until(lambda: any(event == "buffer_lost" for _, event, _ in rig.telemetry.lines))
        await rig.holds(1, 1)


async def test_j1_after_a_power_cut_the_journal_goes_on_behind_the_last_frame_that_is_left(rig: Rig) -> None:
    rig.sync_interval_s = 60.0
    for round_ in range(1, 6):
        rig.backend.entries += [entry(len(rig.backend.entries) + i + 1) for i in range(5)]
        async with rig.running():
            await rig.holds(1, 1 + 5 * round_)
            left = copy.deepcopy(rig.files)               # what an agent that ends in good order adds is not on this disk
        rig.files = left
        rig.files.crash()
    async with rig.running():
        await rig.holds(1, 26)


async def test_a_frame_that_the_disk_damaged_is_read_again_from_the_journal(rig: Rig) -> None:
    """It was a gap in the ledger, though journald still had the entries."""
    rig.backend.entries += [entry(number) for number in range(2, 8)]
    async with rig.running():
        await rig.holds(1, 7)
    rig.rot(b"entry 3")
    async with rig.running():
        await rig.found_again(7)
    assert rig.telemetry.value("shipper_buffer_damaged_frames_total") == 1
    assert rig.telemetry.value("shipper_gaps_total", "buffer_damaged") == 0


async def test_j2_a_reload_touches_only_the_journal_that_it_changes(rig: Rig) -> None:
    async with rig.running() as intake:
        await rig.holds(1, 1)
        before = intake.journals._all["journal"].reader
        await intake.apply(rig.config)
        assert intake.journals._all["journal"].reader is before
        changed = Config(**{name: getattr(rig.config, name) for name in rig.config.__struct_fields__} | {
            "sources": {**rig.config.sources, "journal": JournalSource(fields=[])}})
        await intake.apply(changed)
        assert intake.journals._all["journal"].reader is not before
        rig.backend.entries.append(entry(2))
        await rig.holds(1, 2)
        assert [row["path"] for row in intake.facts() if row["source"] == "journal"] == ["journal:host"]


async def test_j3_a_mistake_in_one_journal_costs_that_source_alone_and_is_said(rig: Rig) -> None:
    rig.backend.place_of = lambda cursor: 1 // 0  # type: ignore[method-assign,assignment,return-value]
    async with rig.running():
        await until(lambda: "journal:journal" in rig.telemetry.degraded_since)
        await rig.holds(1, 0)
        assert "ZeroDivisionError" in rig.telemetry.degraded_since["journal:journal"][1]
