"""One journal source: W1 to W6 of journal/driver.py."""
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.errors import GapReason
from shipper.journal import driver, journalctl
from shipper.journal.driver import JournalReader
from shipper.journal.export import Entry
from shipper.journal.journalctl import Journalctl, Wanted
from shipper.journal.ports import Trouble
from shipper.process.chain import Processing
from shipper.process.redact import Redactor, builtin_rules
from shipper.telemetry import Telemetry
from tests.journal.harness import FakeBackend, FakeBuffer, FakeStream, entry, reader_of, settled, until
from tests.support.journal import Journal


def texts(*numbers: int) -> list[str]:
    return [f"entry {number}" for number in numbers]


async def test_w1_the_next_run_goes_on_behind_the_cursor_of_the_last_frame() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in range(1, 8)])
    await reader_of(buffer, backend).once(settled)
    backend.entries += [entry(8), entry(9)]
    await reader_of(buffer, backend).once(settled)
    await reader_of(buffer, backend).once(settled)
    assert buffer.messages() == texts(*range(1, 10))
    position = buffer.positions.files[buffer.sections[-1].file.key]
    assert position.offset == sum(len(text) + 1 for text in buffer.messages()) and position.cursor.startswith("s=a;i=9;")


async def test_w1_after_a_failed_sync_it_reads_again_what_went_back_with_the_same_ids() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in range(1, 10)])
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await until(lambda: len(buffer.messages()) == 9)
    before = buffer.ids()
    buffer.lose(1)
    backend.entries.append(entry(10))
    await until(lambda: len(buffer.messages()) == 10)
    reader.stop()
    await running
    assert buffer.messages() == texts(*range(1, 11)) and buffer.ids()[:9] == before


async def test_w1_what_went_back_with_another_sources_frame_is_read_again_too() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in range(1, 7)])
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await until(lambda: len(buffer.messages()) == 6)
    buffer.lose(1)
    buffer.submit([])                                     # the other source's, which tells everybody
    await until(lambda: len(buffer.messages()) == 6)
    reader.stop()
    await running
    assert buffer.messages() == texts(*range(1, 7))


def redacting(reader: JournalReader) -> JournalReader:
    reader._decoder = reader._again.decoder = Processing(
        reader._inner, [Redactor(builtin_rules("private_key", "mask", b""))], None)
    return reader


KEY = ["-----BEGIN PRIVATE KEY-----", "QUJD", "REVG", "R0hJ", "-----END PRIVATE KEY-----", "done well"]


async def test_w6_a_restart_in_the_middle_of_a_private_key_lets_none_of_it_out() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i, text) for i, text in enumerate(KEY[:2], 1)])
    await redacting(reader_of(buffer, backend)).once(settled)
    backend.entries += [entry(i, text) for i, text in enumerate(KEY[2:], 3)]
    await redacting(reader_of(buffer, backend)).once(settled)
    assert buffer.messages()[1:] == [*["[private_key]"] * 4, "done well"]


async def test_w6_a_buffer_that_went_back_into_the_middle_of_a_private_key_lets_none_of_it_out() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i, text) for i, text in enumerate(KEY, 1)], at_once=2)
    reader = redacting(reader_of(buffer, backend))
    running = asyncio.create_task(reader.run())
    await until(lambda: len(buffer.messages()) == 6)
    buffer.lose(1)
    backend.entries.append(entry(7, "later"))
    await until(lambda: len(buffer.messages()) == 7)
    reader.stop()
    await running
    assert buffer.messages()[1:] == [*["[private_key]"] * 4, "done well", "later"]


async def test_w2_another_filter_begins_a_key_and_closes_the_one_before_in_the_same_frame() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1), entry(2)])
    await reader_of(buffer, backend).once(settled)
    backend.entries.append(entry(3))
    await reader_of(buffer, backend, signature="some", unfiltered=False).once(settled)
    closing, begun = buffer.frames[-1]
    assert closing.closed and closing.file.key != begun.file.key and (begun.start, begun.end) == (0, 8)
    await reader_of(buffer, backend, signature="some", unfiltered=False).once(settled)
    assert buffer.messages() == texts(1, 2, 3)


@pytest.mark.parametrize("first, at_least, unfiltered", [(6, 3, True), (6, 0, False)])
async def test_w3_vacuumed_entries_are_a_gap_with_their_number_and_the_times_around_it(
    first: int, at_least: int, unfiltered: bool,
) -> None:
    buffer, backend, telemetry = FakeBuffer(), FakeBackend([entry(1), entry(2)]), Telemetry()
    await reader_of(buffer, backend, unfiltered=unfiltered).once(settled)
    backend.entries = [entry(first), entry(first + 1)]
    await reader_of(buffer, backend, telemetry, unfiltered=unfiltered).once(settled)
    await reader_of(buffer, backend, telemetry, unfiltered=unfiltered).once(settled)
    (gap,) = [gap for section in buffer.sections for gap in section.gaps]
    assert (gap.reason, gap.end, gap.at_least) == (GapReason.VACUUMED, -1, at_least)
    assert (gap.first_ns, gap.last_ns) == (1_700_000_000_000_002_000, 1_700_000_000_000_000_000 + first * 1000)
    assert buffer.messages() == texts(1, 2, first, first + 1)
    assert len({each.partition(":")[0] for each in buffer.ids()}) == 2


async def test_w3_a_vacuum_that_took_only_what_was_read_is_no_gap() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1), entry(2)])
    await reader_of(buffer, backend).once(settled)
    backend.entries = [entry(3)]
    await reader_of(buffer, backend).once(settled)
    assert not any(section.gaps for section in buffer.sections) and buffer.messages() == texts(1, 2, 3)
    assert len({each.partition(":")[0] for each in buffer.ids()}) == 1


async def test_w3_numbers_that_are_missing_in_a_running_stream_are_a_gap() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1), entry(2), entry(7), entry(8)], at_once=4)
    await reader_of(buffer, backend).once(settled)
    assert buffer.messages() == texts(1, 2, 7, 8)
    backend.entries += [entry(9), entry(12)]
    await reader_of(buffer, backend).once(settled)
    assert [gap.at_least for section in buffer.sections for gap in section.gaps] == [4, 2]


async def test_w3_the_runtime_journal_flushed_to_disk_under_new_numbers_is_neither_gap_nor_repeat() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1), entry(2)])
    await reader_of(buffer, backend).once(settled)
    flushed = []
    for number in (1, 2, 3):
        one = entry(number)
        one[b"__CURSOR"] = one[b"__CURSOR"].replace(b"s=a;i=%x" % number, b"s=disk;i=%x" % (number + 500))
        flushed.append(one)
    backend.entries = flushed
    await reader_of(buffer, backend).once(settled)
    assert buffer.messages() == texts(1, 2, 3) and not any(section.gaps for section in buffer.sections)


async def test_w4_a_full_buffer_stops_reading_and_room_lets_it_go_on() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1)])
    buffer.room.clear()
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await settled()
    assert not buffer.frames
    buffer.room.set()
    await until(lambda: buffer.messages() == texts(1))
    reader.stop()
    await running


async def test_w4_a_stop_while_the_buffer_is_full_is_heard_and_loses_nothing() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1)])
    buffer.room.clear()
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await settled()
    reader.stop()
    await asyncio.wait_for(running, 5.0)
    buffer.room.set()
    await reader_of(buffer, backend).once(settled)
    assert buffer.messages() == texts(1)


async def test_w4_what_found_no_room_at_the_stop_is_not_passed_over_by_what_stands_behind_it() -> None:
    """The buffer was full at the stop, and had room again when the last sweep read on: the cursor moved over what was dropped."""
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in range(1, 7)], at_once=2)
    buffer.room.clear()
    reader, opened = reader_of(buffer, backend, unfiltered=False), backend.stream
    reads: list[int] = []

    async def watched(cursor: str, *, follow: bool) -> FakeStream:
        stream = await opened(cursor, follow=follow)
        read = stream.read

        async def reading(quiet_s: float = 0.0) -> list[Entry] | None:
            reads.append(len(reads))
            if len(reads) > 1:
                buffer.room.set()
            return await read(quiet_s)

        stream.read = reading                              # type: ignore[method-assign]
        return stream

    backend.stream = watched                               # type: ignore[method-assign]
    running = asyncio.create_task(reader.run())
    await until(lambda: reads)
    await settled()
    reader.stop()
    await running
    buffer.room.set()
    backend.stream = opened                                # type: ignore[method-assign]
    await reader_of(buffer, backend, unfiltered=False).once(settled)
    assert buffer.messages() == texts(*range(1, 7))


async def test_w5_a_mistake_of_ours_is_said_without_what_the_entry_holds() -> None:
    buffer, backend, telemetry = FakeBuffer(), FakeBackend([entry(1)]), Telemetry()
    reader = reader_of(buffer, backend, telemetry)

    def broken(*_: object, **__: object) -> None:
        raise UnicodeDecodeError("utf-8", b"secret of an entry", 0, 1, "not UTF-8")

    reader._decoder.decode = broken                        # type: ignore[method-assign, assignment]
    running = asyncio.create_task(reader.run())
    await until(lambda: telemetry.degraded_since)
    said = dict(telemetry.degraded_since)
    reader.stop()
    await running
    assert [why for _, why in said.values()] == ["unexpected UnicodeDecodeError"]


async def test_w5_a_stream_that_fails_is_begun_again_and_shown_as_degraded_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "FIRST_BACK_OFF_S", 0.01)
    buffer, telemetry = FakeBuffer(), Telemetry()
    backend = FakeBackend([entry(1)], troubles=["no permission", "no permission"])
    reader = reader_of(buffer, backend, telemetry)
    running = asyncio.create_task(reader.run())
    await until(lambda: "journal:journal" in telemetry.degraded_since)
    assert reader.row()["state"] == "failed"
    await until(lambda: buffer.messages() == texts(1))
    assert "journal:journal" not in telemetry.degraded_since
    reader.stop()
    await running


async def test_an_entry_without_a_cursor_is_trouble_and_not_the_end_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "FIRST_BACK_OFF_S", 0.01)
    buffer = FakeBuffer()
    with pytest.raises(Trouble, match="no journal cursor"):
        await reader_of(buffer, FakeBackend([{b"MESSAGE": b"x"}])).once(settled)
    assert not buffer.frames


async def test_start_at_the_end_is_durable_before_anything_is_read() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1), entry(2)])
    await reader_of(buffer, backend, start_at="end").once(settled)
    (section,) = buffer.sections
    assert section.gaps[0].reason == GapReason.START_AT_END and section.cursor.startswith("s=a;i=2;")
    backend.entries.append(entry(3))
    await reader_of(buffer, backend, start_at="end").once(settled)
    assert buffer.messages() == texts(3)


async def test_journalctl_gives_what_comes_while_it_follows(tmp_path: Path) -> None:
    journal, buffer = Journal(tmp_path / "j"), FakeBuffer()
    journal.add(["one"])
    reader = reader_of(buffer, Journalctl(Wanted(str(tmp_path / "j"), fields=("_PID",)), 1000))
    running = asyncio.create_task(reader.run())
    await until(lambda: buffer.messages() == ["one"])
    await asyncio.to_thread(journal.add, ["two\nlines"])
    await asyncio.to_thread(journal.add, ["three"], file="rotated")
    await until(lambda: buffer.messages() == ["one", "two\nlines", "three"])
    reader.stop()
    await running


@pytest.mark.parametrize("how, said", [
    ({"directory": "/nonexistent"}, "No such file or directory"), ({"program": ("false",)}, "ended with code 1"),
    ({"program": ("/no/such/journalctl",)}, "is not installed")])
async def test_what_journalctl_says_is_the_reason(how: dict[str, object], said: str) -> None:
    backend = Journalctl(Wanted(str(how.get("directory", ""))), 1000, how.get("program", ("journalctl",)))  # type: ignore[arg-type]
    stream = None
    with pytest.raises(Trouble, match=said):
        stream = await backend.stream("", follow=False)
        while await stream.read() is not None:
            pass
    if stream is not None:
        await stream.close()


async def test_w3_a_gap_is_told_once_where_no_entry_that_is_wanted_has_come_since() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1)])
    await reader_of(buffer, backend, unfiltered=False).once(settled)
    backend.entries, backend.filtered_out = [entry(6)], True
    for _ in range(3):
        await reader_of(buffer, backend, unfiltered=False).once(settled)
    backend.entries, backend.filtered_out = [entry(6), entry(7)], False
    await reader_of(buffer, backend, unfiltered=False).once(settled)
    assert len([gap for section in buffer.sections for gap in section.gaps]) == 1
    assert buffer.messages() == texts(1, 6, 7)


async def test_a_limit_that_delays_lets_the_journal_wait_and_a_stop_loses_nothing() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1), entry(2)])
    reader = reader_of(buffer, backend)
    reader._inner.hold_until_s = reader._now_s() + 3600.0
    running = asyncio.create_task(reader.run())
    await until(lambda: reader.state == "reading")
    await settled()
    reader.stop()
    await asyncio.wait_for(running, 5.0)
    assert not buffer.frames
    await reader_of(buffer, backend).once(settled)
    assert buffer.messages() == texts(1, 2)


async def test_w1_a_buffer_that_goes_back_while_a_limit_delays_begins_again() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in range(1, 7)])
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await until(lambda: len(buffer.messages()) == 6)
    reader._inner.hold_until_s = reader._now_s() + 1.5
    backend.entries.append(entry(7))
    await settled()
    buffer.lose(1)
    buffer.submit([])
    await until(lambda: len(buffer.messages()) == 7)
    reader.stop()
    await running
    assert buffer.messages() == texts(*range(1, 8))


async def test_what_journalctl_may_not_read_is_said_with_the_mend(tmp_path: Path) -> None:
    script = tmp_path / "journalctl"
    script.write_text("#!/bin/sh\necho 'No journal files were opened due to insufficient permissions.' >&2\nexit 1\n")
    script.chmod(0o755)
    stream = await Journalctl(Wanted(), 1000, (str(script),)).stream("", follow=False)
    with pytest.raises(Trouble, match=r"insufficient permissions.*; add the agent's user to the group systemd-journal"):
        while await stream.read() is not None:
            pass
    await stream.close()


async def test_x3_x4_a_child_that_talks_and_does_not_listen_is_ended_and_what_it_said_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journalctl, "ENDS_WITHIN_S", 0.1)
    script = tmp_path / "journalctl"
    script.write_text("#!/bin/sh\ntrap '' TERM\nhead -c 100000 /dev/zero | tr '\\0' x >&2\nwhile :; do sleep 0.05; done\n")
    script.chmod(0o755)
    stream = await Journalctl(Wanted(), 1000, (str(script),)).stream("", follow=False)
    await until(lambda: len(stream._errors) >= 2000)
    await settled()
    assert len(stream._errors) == 2000
    await stream.close()
    assert stream._process.returncode == -9


async def test_w5_a_stream_that_ends_by_itself_while_it_follows_is_trouble_and_the_pause_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, backend, telemetry = FakeBuffer(), FakeBackend([entry(1)]), Telemetry()
    reader = reader_of(buffer, backend, telemetry)
    pauses: list[float] = []
    streams = backend.stream

    async def ends(cursor: str, *, follow: bool) -> FakeStream:
        return await streams(cursor, follow=False)

    async def pause(limit_s: float) -> None:
        if limit_s >= driver.FIRST_BACK_OFF_S:
            pauses.append(limit_s)
        await asyncio.sleep(0)

    monkeypatch.setattr(backend, "stream", ends)
    monkeypatch.setattr(reader, "_pause", pause)
    running = asyncio.create_task(reader.run())
    await until(lambda: len(pauses) >= 7)
    reader.stop()
    await running
    said = {fields["why"] for _, event, fields in telemetry.lines if event == "degraded"}
    assert said == {"the stream of entries ended by itself"} and pauses[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert telemetry.degraded_since == {}, "a source that was stopped is not degraded"


async def test_a_run_once_whose_positions_go_back_reads_again_what_went_back() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(i) for i in range(1, 5)], at_once=1)
    reader, settles = reader_of(buffer, backend), []
    read = FakeStream.read

    async def go_back(stream: FakeStream, quiet_s: float = 0.0) -> list[Entry] | None:
        entries = await read(stream)
        if entries is None and not settles:
            buffer.lose(2)
            reader.rewind()
        return entries

    async def settle() -> None:
        settles.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeStream, "read", go_back)
        await reader.once(settle)
    assert buffer.messages() == texts(1, 2, 3, 4) and settles


async def test_at_the_stop_what_is_on_its_way_is_taken() -> None:
    buffer, backend = FakeBuffer(), FakeBackend([entry(1)])
    reader = reader_of(buffer, backend)
    running = asyncio.create_task(reader.run())
    await until(lambda: buffer.messages() == texts(1))
    await until(lambda: isinstance(reader._stream, FakeStream) and reader._stream._follow)
    backend.entries.append(entry(2))
    await until(lambda: buffer.messages() == texts(1, 2))
    backend.entries += [entry(3), entry(4)]
    reader.stop()
    await running
    assert buffer.messages() == texts(1, 2, 3, 4)
