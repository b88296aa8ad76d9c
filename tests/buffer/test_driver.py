"""The buffer as the reader and the sinks see it: D1 to D4 of driver.py, W1 to W4 of writer.py, with real threads."""
from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shipper.buffer.driver import Buffer
from shipper.buffer.files import Files, OsFiles
from shipper.config.types import BufferSettings
from shipper.config.units import Bytes, Seconds
from shipper.errors import BufferLost, Fatal
from shipper.model import FileRef, Frame
from shipper.telemetry import Telemetry
from tests.buffer.nouns import file_of, ranges, records, section, source
from tests.support.faults import FaultyFiles

A, B = source("a"), source("b")
FILE, OTHER = file_of(A), file_of(B)
ROOT = "/state"
LIMIT_S = 10


def settings(**given: float) -> BufferSettings:
    return BufferSettings(
        max_size=Bytes(given.get("max_size", 1 << 30)), segment_size=Bytes(given.get("segment_size", 1 << 20)),
        sync_interval=Seconds(given.get("sync_interval", 0.01)),
    )


@asynccontextmanager
async def opened(
    files: Files, directory: str = ROOT, telemetry: Telemetry | None = None, **given: float
) -> AsyncIterator[Buffer]:
    async with asyncio.timeout(LIMIT_S):
        buffer = await Buffer.open(directory, settings(**given), telemetry or Telemetry(), files=files)
        try:
            yield buffer
        finally:
            await buffer.close()


def next_section(buffer: Buffer, file: FileRef, count: int):  # type: ignore[no-untyped-def]
    found = buffer.positions.files.get(file.key)
    return section(file, found.offset if found else 0, count)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.002)


def same(found: list[Frame], expected: list[Frame]) -> bool:
    return [(f.seq, f.total_bytes, f.read_ns, ranges(f.sections)) for f in found] == [
        (f.seq, f.total_bytes, f.read_ns, ranges(f.sections)) for f in expected]


async def test_what_is_appended_is_read_delivered_and_there_after_a_restart(tmp_path) -> None:  # type: ignore[no-untyped-def]
    directory = str(tmp_path / "state")
    async with opened(OsFiles(), directory) as buffer:
        cursor = buffer.open_cursor("s", "oldest")
        assert (cursor.seq, cursor.index) == (1, 0)
        assert await buffer.append([next_section(buffer, FILE, 3), next_section(buffer, OTHER, 2)]) == 1
        assert await buffer.append([next_section(buffer, FILE, 4)]) == 2
        await buffer.wait_synced(2)
        buffer.advance("s", 2, 0, {"n": 1}, {"sent": 5})
        assert buffer.backlog_bytes("s") == 40
        uuid = buffer.uuid
    async with opened(OsFiles(), directory) as buffer:
        assert buffer.uuid == uuid and buffer.positions.files[FILE.key].offset == 70 and buffer.total_bytes == 90
        cursor = buffer.open_cursor("s")
        assert (cursor.seq, cursor.index, cursor.state, dict(cursor.counters)) == (2, 0, {"n": 1}, {"sent": 5})
        (frame,) = await buffer.read(2, 1 << 20)
        assert ranges(frame.sections) == [(FILE.key, 30, 70)]
        assert records(frame.sections[0].batch) == records(section(FILE, 30, 4).batch)  # type: ignore[arg-type]
        assert buffer.backlog_bytes("s") == 40


async def test_d1_positions_change_when_a_frame_is_submitted() -> None:
    async with opened(FaultyFiles()) as buffer:
        first = buffer.submit([section(FILE, 0, 3)])
        second = buffer.submit([section(FILE, 30, 3)])
        assert buffer.positions.files[FILE.key].offset == 60 and not first.done()
        with pytest.raises(ValueError, match="starts at byte 30"):
            buffer.submit([section(FILE, 30, 3)])
        assert [await first, await second] == [1, 2]


async def test_d1_after_a_failed_sync_the_reader_hears_of_it_and_reads_again() -> None:
    files = FaultyFiles()
    async with opened(files) as buffer:
        await buffer.append([section(FILE, 0, 1)])
        await buffer.wait_synced(1)
        files.fail("sync")
        with pytest.raises(BufferLost):
            await buffer.append([section(FILE, 10, 2)])
            await buffer.wait_synced(2)
        await until(lambda: buffer.positions.files[FILE.key].offset == 10)
        with pytest.raises(BufferLost):
            buffer.submit([section(FILE, 30, 1)])
        await buffer.append([section(FILE, 10, 2)])
        await buffer.wait_synced(buffer.appended_seq)
        assert buffer.total_bytes == 30
        with pytest.raises(BufferLost, match="frame 2 was abandoned"):
            await buffer.wait_synced(2)
        assert [ranges(f.sections) for f in await buffer.read(1, 1 << 20)] == [[(FILE.key, 0, 10)], [(FILE.key, 10, 30)]]


async def test_d1_every_frame_in_flight_hears_of_a_loss() -> None:
    files = FaultyFiles()
    telemetry = Telemetry()
    async with opened(files, telemetry=telemetry) as buffer:
        files.fail("create")
        flying = [buffer.submit([section(FILE, n * 10, 1)]) for n in range(5)]
        heard = await asyncio.gather(*flying, return_exceptions=True)
        assert all(isinstance(each, BufferLost) for each in heard), heard
        assert buffer.positions.files == {}
        assert next(event for _, event, _ in telemetry.lines) == "buffer_lost"      # degraded until the next commit, maybe now
        with pytest.raises(BufferLost):
            await buffer.append([section(FILE, 0, 1)])
        await buffer.append([section(FILE, 0, 1)])
        await until(lambda: not telemetry.degraded_since)


async def test_d2_hot_frames_are_the_very_objects_and_cold_ones_are_equal() -> None:
    files = FaultyFiles()
    async with opened(files) as buffer:
        made = [section(FILE, n * 50, 5) for n in range(6)]
        for each in made:
            await buffer.append([each])
        buffer.open_cursor("s", "oldest")
        hot = await buffer.read(1, 1 << 20)
        assert [f.sections[0].batch for f in hot] == [each.batch for each in made]
        assert all(f.sections[0].batch is each.batch for f, each in zip(hot, made, strict=True))
        buffer._ring.trim(5)
        cold = await buffer.read(1, 1 << 20)
        assert same(cold, hot[:4])
        assert all(records(c.sections[0].batch) == records(h.sections[0].batch)  # type: ignore[arg-type]
                   for c, h in zip(cold, hot, strict=False))
        assert [f.seq for f in await buffer.read(5, 1)] == [5]
        assert await buffer.read(7, 1 << 20) == []


async def test_d4_what_every_sink_has_taken_leaves_memory_and_is_read_again_from_disk() -> None:
    async with opened(FaultyFiles()) as buffer:
        for number in range(6):
            await buffer.append([section(FILE, number * 50, 5)])
        hot = await buffer.read(1, 1 << 20)
        buffer.taken("quick", 0)
        buffer.taken("slow", 0)
        buffer.taken("quick", 7)
        assert await buffer.read(1, 1 << 20) == hot, "the slow one has not had them"
        buffer.taken("slow", 4)
        assert buffer._ring.first_seq(99) == 4
        buffer.taken("slow", None)
        assert buffer._ring.first_seq(99) == 99, "who reads no more holds nothing"
        again = await buffer.read(1, 1 << 20)
        assert same(again, hot) and again[0] is not hot[0]


async def test_a_frame_has_one_read_time_whether_it_is_read_hot_or_cold() -> None:
    async with opened(FaultyFiles()) as buffer:
        first, second = section(FILE, 0, 1), section(OTHER, 0, 1)
        assert first.batch is not None and second.batch is not None
        first.batch.read_ns, second.batch.read_ns = 5, 9
        await buffer.append([first, second])
        (hot,) = await buffer.read(1, 1)
        buffer._ring.trim(99)
        (cold,) = await buffer.read(1, 1)
        for frame in (hot, cold):
            assert [s.batch.read_ns for s in frame.sections if s.batch] == [9, 9]


async def test_w1_frames_that_pile_up_share_writes_and_hops() -> None:
    files = FaultyFiles()
    async with opened(files, sync_interval=30) as buffer:
        await buffer.append([section(FILE, 0, 1)])
        hops = 0
        apply = buffer._writer._apply

        def counted(outcome: object) -> None:
            nonlocal hops
            hops += 1
            apply(outcome)  # type: ignore[arg-type]

        buffer._writer._apply = counted  # type: ignore[assignment]
        before = files.changes
        await asyncio.gather(*[buffer.submit([section(FILE, 10 + n * 10, 1)]) for n in range(200)])
        assert hops < 100 and files.changes - before < 100


async def test_d3_close_syncs_everything_and_leaves_no_thread() -> None:
    files = FaultyFiles()
    async with opened(files, sync_interval=60) as buffer:
        buffer.open_cursor("s", "oldest")
        await asyncio.gather(*[buffer.submit([section(FILE, n * 10, 1)]) for n in range(5)])
        buffer.advance("s", 3, 0)
        await buffer.read(1, 1)
    await buffer.close()
    await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("shipper-buffer")])
    files.crash()
    async with opened(files) as buffer:
        assert buffer.total_bytes == 50 and buffer.open_cursor("s").seq == 3


async def test_a_waiting_sink_is_woken_by_the_frame_it_waits_for() -> None:
    async with opened(FaultyFiles()) as buffer:
        waiting = asyncio.create_task(buffer.wait_beyond(2))
        cancelled = asyncio.create_task(buffer.wait_beyond(2))
        await buffer.append([section(FILE, 0, 1)])
        assert not waiting.done()
        cancelled.cancel()
        await buffer.append([section(FILE, 10, 1)])
        await waiting


async def test_a_full_buffer_holds_the_reader_back_until_a_sink_moves() -> None:
    telemetry, files = Telemetry(), FaultyFiles()
    async with opened(files, telemetry=telemetry, max_size=64 * 1024, segment_size=8 * 1024) as buffer:
        buffer.open_cursor("slow", "oldest")
        buffer.open_cursor("fast", "oldest")
        while not buffer.full:
            await buffer.append([next_section(buffer, FILE, 50)])
        buffer.advance("fast", buffer.appended_seq + 1, 0)
        held = asyncio.create_task(buffer.append([next_section(buffer, FILE, 50)]))
        await asyncio.sleep(0)
        assert not held.done() and buffer.out_of_room and buffer.furthest_behind() == "slow"
        assert "buffer_full" in telemetry.degraded_since and buffer.usage.total <= 64 * 1024
        assert await buffer.count_records(1, 0, buffer.appended_seq) == buffer.total_bytes // 10
        buffer.advance("slow", buffer.appended_seq + 1, 0)
        await held
        assert telemetry.degraded_since == {}


async def test_l1_a_late_writer_does_not_let_the_reader_pass_the_limit() -> None:
    """4 MiB in flight went into a disk whose reserve was 2.4."""
    async with opened(FaultyFiles(), max_size=64 * 1024) as buffer:
        buffer.open_cursor("s", "oldest")
        release = threading.Event()
        buffer._engine.others = lambda: int(not release.wait(LIMIT_S))
        flying = [buffer.submit([next_section(buffer, FILE, 50)])]
        while not buffer.full and len(flying) < 500:
            flying.append(buffer.submit([next_section(buffer, FILE, 50)]))
        assert not buffer.out_of_room, "the writer has said nothing yet"
        release.set()
        await flying[-1]
        assert 32 * 1024 < buffer.usage.total <= 64 * 1024


async def test_a_full_disk_is_waited_out() -> None:
    telemetry, files = Telemetry(), FaultyFiles()
    async with opened(files, telemetry=telemetry) as buffer:
        await buffer.append([section(FILE, 0, 1)])
        files.room = 10
        flying = buffer.submit([section(FILE, 10, 50)])
        await until(lambda: "disk_full" in telemetry.degraded_since)
        assert not flying.done()
        files.heal()
        assert await flying == 2
        await until(lambda: not telemetry.degraded_since)
        assert buffer.total_bytes == 510


async def test_cursors_become_durable_and_say_so() -> None:
    files = FaultyFiles()
    async with opened(files) as buffer:
        buffer.open_cursor("s", "oldest")
        heard: list[tuple[int, int]] = []
        buffer.on_durable("s", lambda seq, index: heard.append((seq, index)))
        await buffer.append([section(FILE, 0, 3)])
        buffer.advance("s", 1, 2, {"half": True})
        await until(lambda: (1, 2) in heard)
        assert buffer.synced_seq == 1 and b'"half":true' in files.durable[f"{ROOT}/cursors/s.json"]
        assert buffer.cursor("s").total_bytes == 0
        buffer.advance("s", 2, 0)
        assert buffer.cursor("s").total_bytes == 30 and buffer.backlog_bytes("s") == 0
        with pytest.raises(ValueError, match="is before"):
            buffer.advance("s", 1, 0)
        with pytest.raises(KeyError):
            buffer.cursor("nobody")


async def test_a_new_sink_starts_at_the_end_or_at_the_oldest_frame_held() -> None:
    async with opened(FaultyFiles()) as buffer:
        await buffer.append([section(FILE, 0, 3)])
        assert buffer.open_cursor("new").seq == 2 and buffer.backlog_bytes("new") == 0
        assert buffer.open_cursor("all", "oldest").seq == 1 and buffer.backlog_bytes("all") == 30
        assert set(buffer.cursors()) == {"new", "all"}


async def test_a_renamed_sink_inherits_the_cursor_once() -> None:
    files = FaultyFiles()
    async with opened(files) as buffer:
        buffer.open_cursor("old", "oldest")
        await buffer.append([section(FILE, 0, 3)])
        buffer.advance("old", 1, 2, {"n": 7})
        await until(lambda: f"{ROOT}/cursors/old.json" in files.durable)
    async with opened(files) as buffer:
        cursor = buffer.open_cursor("new", previously="old")
        assert (cursor.seq, cursor.index, cursor.state) == (1, 2, {"n": 7})
        await until(lambda: f"{ROOT}/cursors/old.json" not in files.cache)
        assert "old" not in buffer.cursors() and f"{ROOT}/cursors/new.json" in files.durable
    async with opened(files) as buffer:
        assert buffer.open_cursor("new", previously="old").index == 2


async def test_an_inherited_cursor_that_a_crash_left_behind_goes_without_a_count() -> None:
    files, telemetry = FaultyFiles(), Telemetry()
    async with opened(files) as buffer:
        buffer.open_cursor("old", "oldest")
        buffer.open_cursor("new", "oldest")
        await buffer.append([section(FILE, 0, 3)])
    async with opened(files, telemetry=telemetry) as buffer:
        buffer.open_cursor("new", previously="old")
        await until(lambda: "old" not in buffer.cursors())
        assert telemetry.value("shipper_sink_dropped_records_total", "old", "sink_removed") == 0


async def test_w2_an_idle_writer_takes_no_step() -> None:
    async with opened(FaultyFiles()) as buffer:
        buffer.open_cursor("s", "oldest")
        await buffer.append([section(FILE, 0, 3)])
        buffer.advance("s", 2, 0)
        # positions.json alone is due then, in 30 s.
        await until(lambda: (buffer._engine.wait_s(buffer._writer._beat_s) or 99) > 20)


async def test_a_sink_that_left_the_config_is_kept_and_one_that_returns_goes_on() -> None:
    telemetry = Telemetry()
    async with opened(FaultyFiles(), telemetry=telemetry) as buffer:
        buffer.open_cursor("s", "oldest")
        await buffer.append([section(FILE, 0, 3)])
        buffer.retain([])
        assert buffer.cursor("s").removed_s > 0 and telemetry.lines[-1][1] == "sink_left_config"
        assert buffer.open_cursor("s", "end").seq == 1 and buffer.cursor("s").removed_s == 0


async def test_a_damaged_frame_is_stepped_over_counted_and_its_range_is_lost_until_it_is_read_again() -> None:
    telemetry, files = Telemetry(), FaultyFiles()
    async with opened(files, telemetry=telemetry) as buffer:
        buffer.open_cursor("s", "oldest")
        for n in range(3):
            await buffer.append([section(FILE, n * 20, 2)])
        await buffer.wait_synced(3)
        buffer._ring.trim(99)
        (segment,) = buffer._engine.log.segments
        assert segment.index is not None
        files.rot(segment.path, segment.index.ends[1] - 3)
        assert [f.seq for f in await buffer.read(1, 1 << 20)] == [1, 3]
        assert [(e.start, e.end) for e in buffer.positions.lost] == [(20, 40)]
        await buffer.read(1, 1 << 20)
        assert telemetry.value("shipper_buffer_damaged_frames_total") == 1, "counted once"
        seq = await buffer.append([section(FILE, 20, 2)])
        assert buffer.positions.lost == ()
        assert [ranges(f.sections) for f in await buffer.read(seq, 1)] == [[(FILE.key, 20, 40)]]


async def test_files_not_seen_for_a_week_are_forgotten_also_after_a_restart() -> None:
    files = FaultyFiles()
    async with opened(files) as buffer:
        buffer.open_cursor("s", "oldest")
        await buffer.append([section(FILE, 0, 3), section(OTHER, 0, 1)])
        buffer.seen([OTHER.key], 8 * 86400.0)
        assert list(buffer.positions.files) == [OTHER.key]
    async with opened(files) as buffer:
        assert list(buffer.positions.files) == [OTHER.key] and buffer.total_bytes == 40


async def test_a_state_directory_that_cannot_be_read_is_fatal_with_the_mend() -> None:
    files = FaultyFiles()
    files.fail("make_dir", errno.EROFS, -1)
    with pytest.raises(Fatal, match=r"Read-only file system.*mend the disk"):
        await Buffer.open(ROOT, settings(), Telemetry(), files=files)


async def test_w3_a_writer_that_stops_unexpectedly_is_heard_by_everybody() -> None:
    telemetry = Telemetry()
    buffer = await Buffer.open(ROOT, settings(), telemetry, files=FaultyFiles())

    def broken(*args: object) -> object:
        raise RuntimeError("a bug")

    buffer._engine.step = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(Fatal, match="a bug"):
        await buffer.append([section(FILE, 0, 1)])
    with pytest.raises(Fatal, match="a bug"):
        await asyncio.wait_for(buffer.wait_beyond(1), LIMIT_S)
    with pytest.raises(Fatal, match="a bug"):
        buffer.submit([section(FILE, 10, 1)])
    with pytest.raises(Fatal, match="a bug"):
        await buffer.close()
    assert telemetry.lines[-1][1] == "buffer_writer_stopped"


async def test_w4_a_silent_writer_shows_only_while_it_has_work() -> None:
    files = FaultyFiles()
    async with opened(files) as buffer:
        assert buffer.stalled_s() == 0
        release = threading.Event()
        buffer._engine.others = lambda: int(not release.wait(LIMIT_S))
        flying = buffer.submit([section(FILE, 0, 1)])
        await until(lambda: buffer.stalled_s() > 0)
        release.set()
        await flying
        assert buffer.stalled_s() == 0


async def test_what_stops_the_buffer_is_shown_as_it_is_now_and_not_as_it_began() -> None:
    telemetry = Telemetry()
    async with opened(FaultyFiles(), telemetry=telemetry) as buffer:
        for why in ("segments: Input/output error", "segments: No space left on device"):
            buffer._room.say({"buffer_error": why})
            assert telemetry.degraded_since["buffer_error"][1] == why
        assert [event for _, event, _ in telemetry.lines].count("degraded") == 1
        buffer._room.say({})
        assert telemetry.degraded_since == {}


async def test_a_stop_during_recovery_gives_the_state_lock_back_when_recovery_no_longer_changes_files() -> None:
    files, entered, go_on, ended = FaultyFiles(), threading.Event(), threading.Event(), threading.Event()

    def names_slowly(path: str, real: Callable[[str], list[str]] = files.names) -> list[str]:
        entered.set()
        go_on.wait(LIMIT_S)
        found = real(path)
        ended.set()
        return found

    files.names = names_slowly  # type: ignore[method-assign]
    opening = asyncio.create_task(Buffer.open(ROOT, settings(), Telemetry(), files=files))
    await until(entered.is_set)
    opening.cancel()
    await asyncio.wait([opening], timeout=0.05)
    assert not opening.done()
    go_on.set()
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert ended.is_set()


async def test_op1_a_state_directory_that_is_not_there_is_made_for_the_agent_alone(tmp_path: Path) -> None:
    buffer = await Buffer.open(str(tmp_path / "var" / "state"), settings(), Telemetry())
    await buffer.close()
    assert (tmp_path / "var/state").stat().st_mode & 0o777 == 0o700


async def test_op1_a_state_directory_that_cannot_be_made_ends_the_start_with_what_to_do_and_no_thread() -> None:
    files = FaultyFiles()
    files.fail("make_dir", errno.EROFS)
    with pytest.raises(Fatal, match=r"Read-only file system .*; mend the disk or its mount"):
        await Buffer.open(ROOT, settings(), Telemetry(), files=files)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("shipper-buffer")]
