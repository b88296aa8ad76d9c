"""A frame of a journal's entries that the disk damaged is read again. G1 to G4 of journal/again.py."""
from __future__ import annotations

import asyncio
from itertools import combinations
from pathlib import Path

import pytest

from shipper.buffer.positions import check
from shipper.errors import GapReason
from shipper.journal.journalctl import Journalctl, Wanted
from shipper.journal.kmsg import Kmsg
from shipper.model import Lost, Section
from tests.journal.harness import FakeBackend, FakeBuffer, entry, reader_of, settled, until
from tests.journal.test_driver import KEY, redacting
from tests.journal.test_kmsg import Device, Ring
from tests.support.journal import Journal

ALL = range(1, 10)


def damage(buffer: FakeBuffer, *numbers: int) -> list[Section]:
    """These frames (from 0) are lost, as a read that met damage reports it; their sections."""
    sections = [section for number in numbers for section in buffer.frames[number]]
    buffer.positions.commit(buffer.positions.plan_lost([Lost(s.file, s.start, s.end) for s in sections]))
    assert buffer.positions.lost
    return sections


async def three_frames(backend: FakeBackend | None = None) -> tuple[FakeBuffer, FakeBackend]:
    buffer, backend = FakeBuffer(), backend or FakeBackend([entry(i, "x" * (i * 7 % 11)) for i in ALL])
    await reader_of(buffer, backend).once(settled)
    assert len(buffer.frames) == 3
    return buffer, backend


def gaps(sections: list[Section]) -> list[tuple[int, int, str]]:
    return [(gap.start, gap.end, gap.reason) for section in sections for gap in section.gaps]


@pytest.mark.parametrize("numbers", [pair for size in (1, 2, 3) for pair in combinations(range(3), size)])
@pytest.mark.parametrize("at_once", [1, 2, 100])
async def test_g1_what_was_damaged_comes_again_with_the_same_ids_and_messages(numbers: tuple[int, ...], at_once: int) -> None:
    buffer, backend = await three_frames()
    lost = damage(buffer, *numbers)
    wanted = [(f"{s.batch.key}:{i.decode()}", m) for s in lost if s.batch for i, m in zip(s.batch.ids, s.batch.messages)]
    before, backend.at_once = len(buffer.frames), at_once
    backend.entries.append(entry(10, "new"))
    await reader_of(buffer, backend).once(settled)
    again = [section for frame in buffer.frames[before:] for section in frame]
    found = [(f"{s.batch.key}:{i.decode()}", m) for s in again if s.batch for i, m in zip(s.batch.ids, s.batch.messages)]
    assert found[:-1] == wanted and found[-1][1] == b"new"
    assert buffer.positions.lost == () and gaps(again) == []
    check(buffer.positions)
    await reader_of(buffer, backend).once(settled)
    assert backend.ways_back == 1


async def test_g1_a_running_reader_finds_it_and_goes_on() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in ALL])
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await until(lambda: len(buffer.messages()) == 9)
    damage(buffer, 1)
    await until(lambda: not buffer.positions.lost)
    backend.entries.append(entry(10))
    await until(lambda: len(buffer.messages()) == 13)
    reader.stop()
    await running
    assert buffer.messages()[9:] == ["entry 4", "entry 5", "entry 6", "entry 10"]
    assert len(set(buffer.ids())) == 10


async def test_g1_trouble_with_the_journal_is_tried_again_and_what_is_lost_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, backend = await three_frames()
    damage(buffer, 1)
    backend.troubles = ["busy"] * 2
    reader = reader_of(buffer, backend)
    await reader.once(settled)
    assert buffer.positions.lost == () and gaps(buffer.sections) == [] and backend.troubles == []


def vacuumed(backend: FakeBackend) -> None:
    del backend.entries[:5]


def in_front_of_it(backend: FakeBackend) -> None:
    del backend.entries[:3]


def emptied(backend: FakeBackend) -> None:
    backend.entries.clear()


def another_size(backend: FakeBackend) -> None:
    backend.entries[6] = entry(7, "another message, longer than it was")


def one_that_came_late(backend: FakeBackend) -> None:
    backend.entries.insert(4, {**entry(4, "from another host"), b"__CURSOR": b"s=z;i=1;b=boot;m=3ec;t=0;x=1"})


def another_newest(backend: FakeBackend) -> None:
    backend.entries[-1] = {**backend.entries[-1], b"__CURSOR": b"s=z;i=9;b=boot;m=3f1;t=0;x=1"}


@pytest.mark.parametrize("change", [vacuumed, emptied, another_size, one_that_came_late, another_newest])
async def test_g2_where_the_entries_are_not_those_that_were_read_it_is_a_gap(change: object) -> None:
    buffer, backend = await three_frames()
    (lost,) = damage(buffer, 1)
    before = len(buffer.frames)
    change(backend)                                       # type: ignore[operator]
    await reader_of(buffer, backend).once(settled)
    again = [section for frame in buffer.frames[before:] for section in frame if section.file.key == lost.file.key]
    assert (lost.start, lost.end, GapReason.BUFFER_DAMAGED) in gaps(again)
    assert not any(s.batch for s in again if s.start == lost.start) and buffer.positions.lost == ()
    check(buffer.positions)


async def test_g2_of_another_filter_it_is_a_gap_and_what_is_vacuumed_in_front_of_it_is_none() -> None:
    buffer, backend = await three_frames()
    (lost,) = damage(buffer, 1)
    await reader_of(buffer, backend, signature="some", unfiltered=False).once(settled)
    assert (lost.start, lost.end, GapReason.BUFFER_DAMAGED) in gaps(buffer.sections)
    buffer, backend = await three_frames()
    damage(buffer, 1)
    in_front_of_it(backend)
    await reader_of(buffer, backend).once(settled)
    assert gaps(buffer.sections) == [] and len(buffer.messages()) == 12


async def test_g3_the_middle_of_a_private_key_that_is_read_again_stays_redacted() -> None:
    for number in range(len(KEY)):
        buffer, backend = FakeBuffer(), FakeBackend([entry(i, text) for i, text in enumerate(KEY, 1)], at_once=1)
        await redacting(reader_of(buffer, backend)).once(settled)
        damage(buffer, number)
        backend.entries.append(entry(7, "later"))
        await redacting(reader_of(buffer, backend)).once(settled)
        assert buffer.messages()[6:] == [buffer.messages()[number], "later"]
    assert buffer.messages()[1:5] == ["[private_key]"] * 4


async def test_g3_a_private_key_that_is_being_printed_meanwhile_stays_redacted() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i, text) for i, text in enumerate(["before", *KEY[:2]], 1)], at_once=1)
    reader = redacting(reader_of(buffer, backend))
    running = asyncio.create_task(reader.run())
    await until(lambda: len(buffer.messages()) == 3)
    damage(buffer, 0)
    await until(lambda: not buffer.positions.lost)
    backend.entries += [entry(i, text) for i, text in enumerate(KEY[2:], 4)]
    await until(lambda: len(buffer.messages()) == 8)
    reader.stop()
    await running
    assert buffer.messages()[2:] == ["[private_key]", "before", *["[private_key]"] * 3, "done well"]


async def test_a_stop_while_the_buffer_is_full_leaves_it_for_the_next_start() -> None:
    buffer, backend = await three_frames()
    damage(buffer, 1)
    buffer.room.clear()
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await until(lambda: backend.ways_back == 1)
    reader.stop()
    await asyncio.wait_for(running, 10)
    assert len(buffer.positions.lost) == 1 and gaps(buffer.sections) == []
    buffer.room.set()
    await reader_of(buffer, backend).once(settled)
    assert buffer.positions.lost == () and len(buffer.messages()) == 12


async def test_real_journals_across_a_boot_and_with_a_filter(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for boot in range(2):
        for unit in ("web.service", "db.service"):
            lines = [f"{unit} {boot} {i} {'y' * (i * 13 % 37)}" for i in range(300)]
            journal.add(lines, file=f"{unit}{boot}", _SYSTEMD_UNIT=unit)
        journal.reboot()
    for units in ((), ("web.service",)):
        wanted = Wanted(directory=str(tmp_path / "journal"), units=units)
        buffer = FakeBuffer()
        await reader_of(buffer, Journalctl(wanted, 1000)).once(settled)
        messages = buffer.messages()
        assert len(messages) == (600 if units else 1200)
        damage(buffer, 0)
        await reader_of(buffer, Journalctl(wanted, 1000)).once(settled)
        assert buffer.messages()[len(messages):] == buffer.messages()[:len(buffer.messages()) - len(messages)]
        assert buffer.positions.lost == () and gaps(buffer.sections) == []


async def test_the_kernels_ring_is_read_again_as_long_as_it_holds_it() -> None:
    ring = Ring()
    try:
        ring.holds(1, 2, 3)
        buffer, device = FakeBuffer(), Device(ring)
        await reader_of(buffer, device).once(settled)
        ring.holds(1, 2, 3, 4, 5)
        await reader_of(buffer, device).once(settled)
        damage(buffer, 0)
        await reader_of(buffer, device).once(settled)
        assert buffer.messages() == [f"message {i}" for i in (1, 2, 3, 4, 5, 1, 2, 3)] and gaps(buffer.sections) == []
        (lost,) = damage(buffer, 1)
        ring.holds(5, 6)
        await reader_of(buffer, device).once(settled)
        assert (lost.start, lost.end, GapReason.BUFFER_DAMAGED) in gaps(buffer.sections)
    finally:
        ring.close()
    assert isinstance(device, Kmsg)
