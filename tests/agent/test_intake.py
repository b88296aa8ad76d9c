"""The left side of the agent on a small log tree: what it takes up at the start, what a scan that fails does."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.agent import intake as module
from shipper.agent.intake import Intake
from shipper.config.loader import load_text
from shipper.config.types import Config
from shipper.errors import BufferLost, GapReason
from shipper.model import Section, Source
from shipper.tail import attention
from shipper.telemetry import Telemetry
from tests.support.fake_buffer import FakeBuffer
from tests.tail.conftest import Tree, cri


def config_of(tree: Tree, state_dir: Path, *, exclude: str = "[]", start_at: str = "beginning") -> Config:
    state_dir.mkdir(exist_ok=True)
    text = f"""
state_dir: {state_dir}
sources:
  pods:
    type: containers
    include: ["{tree.links}/*.log"]
    exclude: {exclude}
    start_at: {start_at}
    allowed_roots: ["{os.path.realpath(tree.root)}"]
sinks:
  out: {{type: stdout}}
"""
    return load_text(text, "test.yaml", {}).config


async def no_pace() -> None:
    await asyncio.sleep(0)


async def run_once(config: Config, buffer: FakeBuffer) -> Intake:
    intake = Intake(config, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    await intake.once()
    await intake.close()
    return intake


async def test_a_pod_that_is_excluded_from_the_next_start_on_is_not_read_any_more(tmp_path: Path) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("before"))
    await run_once(config_of(tree, tmp_path / "state"), buffer)
    tree.write(cri("secret", second=1))
    excluding = config_of(tree, tmp_path / "state", exclude='["*_default_*"]')
    await run_once(excluding, buffer)
    assert buffer.messages == [b"before"]
    shutil.rmtree(tree.pods)
    await run_once(excluding, buffer)
    assert not [gap for section in buffer.sections for gap in section.gaps]      # nobody wanted it: no loss


async def test_what_a_pod_wrote_before_its_link_went_is_read_by_the_next_start(tmp_path: Path) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("before"))
    config = config_of(tree, tmp_path / "state")
    await run_once(config, buffer)
    tree.write(cri("last words", second=1))
    next(tree.links.iterdir()).unlink()
    await run_once(config, buffer)
    assert buffer.messages == [b"before", b"last words"]


async def test_a_scan_that_fails_unexpectedly_is_counted_and_the_next_one_finds_the_new_pod(tmp_path: Path) -> None:
    tree, buffer, telemetry = Tree(tmp_path / "log"), FakeBuffer(), Telemetry()
    tree.write(cri("one"))
    intake = Intake(config_of(tree, tmp_path / "state"), buffer, telemetry, no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    stop = asyncio.Event()
    running = asyncio.create_task(intake.run(stop))
    scan, failed = intake._discoverer.scan, asyncio.Event()

    def failing(*, full: bool = True) -> object:
        if not failed.is_set():
            failed.set()
            raise KeyError("a bug")
        return scan(full=full)

    intake._discoverer.scan = failing  # type: ignore[method-assign,assignment]
    second = tree.pod("web-1", uid="99999999-1111-2222-3333-444455556666") / "0.log"
    tree.write(cri("two"), path=second)
    intake._noted.set()
    async with asyncio.timeout(30):
        await failed.wait()
        while b"two" not in buffer.messages:
            await asyncio.sleep(0.02)
            intake._discoverer.note(str(tree.links))
            intake._noted.set()
    assert telemetry.value("shipper_errors_total", "scan") == 1
    stop.set()
    await running
    await intake.close()


async def test_positions_that_cannot_be_aged_do_not_end_the_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception there ended the task that scans, in silence: no new pod was found until the next start."""
    monkeypatch.setattr(module, "RESCAN_S", 0.001)
    monkeypatch.setattr(module, "RESCAN_UNWATCHED_S", 0.001)
    tree, buffer, telemetry, asked = Tree(tmp_path / "log"), FakeBuffer(), Telemetry(), []

    def seen(keys: list[str], now_s: float) -> None:
        asked.append(keys)
        intake._next_seen_s = 0.0
        raise RuntimeError

    buffer.seen = seen  # type: ignore[attr-defined]
    intake = Intake(config_of(tree, tmp_path / "state"), buffer, telemetry, no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    stop = asyncio.Event()
    running = asyncio.create_task(intake.run(stop))
    async with asyncio.timeout(10):
        while len(asked) < 3:
            await asyncio.sleep(0.001)
    stop.set()
    await running
    await intake.close()
    assert telemetry.value("shipper_errors_total", "scan") >= 2


async def test_the_log_of_a_deleted_pod_is_forgotten_by_the_directory_too(tmp_path: Path) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("one"))
    intake = Intake(config_of(tree, tmp_path / "state"), buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    forgotten: list[str] = []
    intake.pods.vanish = forgotten.append  # type: ignore[method-assign]
    lineages = list(intake._directory.files)
    shutil.rmtree(tree.dir.parent)
    for path in tree.links.iterdir():
        path.unlink()
    await intake._scan(full=True)
    await intake.once()
    assert not intake._directory.files
    assert forgotten == lineages and len(lineages) == 1, "what is kept of its pod ends with it"
    await intake.close()


async def test_a_source_that_comes_back_with_a_reload_reports_what_was_lost_meanwhile(tmp_path: Path) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("before"))
    config = config_of(tree, tmp_path / "state")
    intake = Intake(config, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    await intake.once()
    await intake.apply(msgspec.structs.replace(config, sources={}))
    shutil.rmtree(tree.pods)
    next(tree.links.iterdir()).unlink()
    await intake.apply(config)
    assert [gap.reason for section in buffer.sections for gap in section.gaps] == [GapReason.ROTATED_AWAY]
    await intake.apply(config)
    assert len([gap for section in buffer.sections for gap in section.gaps]) == 1
    await intake.close()


async def test_a_kill_right_after_the_first_start_with_start_at_end_ships_no_old_line(tmp_path: Path) -> None:
    """sources.json said that the source was known before the frame that passes its files over was in the buffer."""
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("old"))
    second = tree.pod("web-1", uid="99999999-1111-2222-3333-444455556666") / "0.log"
    tree.write(cri("old too"), path=second)
    config = config_of(tree, tmp_path / "state", start_at="end")
    intake = Intake(config, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    submit, killed = buffer.submit, []

    def submit_once(sections: list[Section]) -> asyncio.Future[int]:
        if killed:
            raise SystemExit
        killed.append(sections)
        return submit(sections[:1])                      # one of the two files is in the frame that the kill leaves

    buffer.submit = submit_once  # type: ignore[method-assign]
    with contextlib.suppress(SystemExit):
        await intake.start(watch=False)
    await intake.close()
    buffer.submit = submit  # type: ignore[method-assign]
    assert len(killed) == 1
    intake = await run_once(config, buffer)
    assert buffer.messages == []
    tree.write(cri("new", second=1), path=second)
    await run_once(config, buffer)
    assert buffer.messages == [b"new"]


@pytest.mark.parametrize(("start_at", "waits"), [("end", True), ("beginning", False)])
async def test_a_power_cut_right_after_the_first_start_with_start_at_end_ships_no_old_line(
    tmp_path: Path, start_at: str, waits: bool,
) -> None:
    """sources.json was on the disk before the frame that passes the logs over was."""
    tree, buffer, synced = Tree(tmp_path / "log"), FakeBuffer(), []
    remembered = tmp_path / "state/sources.json"

    async def wait_synced(seq: int) -> None:
        synced.append((seq, remembered.read_bytes()))

    buffer.wait_synced = wait_synced  # type: ignore[method-assign]
    tree.write(cri("old"))
    intake = Intake(config_of(tree, tmp_path / "state", start_at=start_at), buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    assert synced == ([(buffer.seq, b"[]")] if waits else [])
    assert remembered.read_bytes() == b'["pods"]'
    await intake.close()


async def test_a_source_whose_frames_a_failing_disk_lost_is_new_at_the_next_start(tmp_path: Path) -> None:
    tree, buffer, telemetry = Tree(tmp_path / "log"), FakeBuffer(), Telemetry()

    async def wait_synced(seq: int) -> None:
        raise BufferLost(f"frame {seq} was abandoned")

    buffer.wait_synced = wait_synced  # type: ignore[method-assign]
    tree.write(cri("old"))
    intake = Intake(config_of(tree, tmp_path / "state", start_at="end"), buffer, telemetry, no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    await intake.close()
    assert (tmp_path / "state/sources.json").read_bytes() == b"[]"
    assert [event for _, event, _ in telemetry.lines if event == "sources_not_remembered"] == ["sources_not_remembered"]


@pytest.mark.parametrize("lost", [BufferLost("frame 1 was abandoned"), OSError(errno.ENOSPC, "No space left on device")])
async def test_a_source_that_was_new_while_the_disk_failed_is_remembered_as_soon_as_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Exception,
) -> None:
    """Room was made, and the next start passed over the logs that had come since: nothing had been written meanwhile."""
    monkeypatch.setattr(module, "RESCAN_S", 0.01)
    monkeypatch.setattr(module, "RESCAN_UNWATCHED_S", 0.01)
    tree, buffer, telemetry = Tree(tmp_path / "log"), FakeBuffer(), Telemetry()
    remembered, asked = tmp_path / "state/sources.json", []
    tree.write(cri("old"))
    intake = Intake(config_of(tree, tmp_path / "state", start_at="end"), buffer, telemetry, no_pace)  # type: ignore[arg-type]
    intake._seen.begin()
    wait_synced, replace = buffer.wait_synced, intake._seen._files.replace

    def failing(what: Any) -> Any:
        asked.append(what)
        if len(asked) <= 2:
            raise lost
        return wait_synced(what) if isinstance(lost, BufferLost) else replace(str(remembered), b'["pods"]')

    if isinstance(lost, BufferLost):
        monkeypatch.setattr(buffer, "wait_synced", failing)
    else:
        monkeypatch.setattr(intake._seen._files, "replace", lambda path, data: failing(data))
    await intake.start(watch=False)
    assert remembered.read_bytes() == b"[]"
    scanning = asyncio.create_task(intake._scan_for_ever())
    async with asyncio.timeout(30):
        while remembered.read_bytes() != b'["pods"]':
            await asyncio.sleep(0.01)
    scanning.cancel()
    assert len(asked) == 3
    said = [event for _, event, _ in telemetry.lines if event in ("sources_not_remembered", "sources_unwritable")]
    assert said == (["sources_not_remembered"] if isinstance(lost, BufferLost) else ["sources_unwritable"])
    await intake.close()


async def test_a_log_that_the_reader_cannot_take_is_tried_again_and_the_ones_behind_it_are_read(tmp_path: Path) -> None:
    tree, buffer, telemetry = Tree(tmp_path / "log"), FakeBuffer(), Telemetry()
    logs = [tree.pod(f"web-{n}", uid=f"9999999{n}-1111-2222-3333-444455556666") / "0.log" for n in range(1, 4)]
    for n, log in enumerate(logs):
        tree.write(cri(f"line {n}"), path=log)
    tree.write(cri("first"))
    intake = Intake(config_of(tree, tmp_path / "state"), buffer, telemetry, no_pace)  # type: ignore[arg-type]
    add, failed = intake.reader.add, []

    def failing(source: Source, *rest: object, **more: object) -> None:
        if "web-1" in source.lineage and not failed:
            failed.append(source)
            raise KeyError("a bug")
        add(source, *rest, **more)  # type: ignore[arg-type]

    intake.reader.add = failing  # type: ignore[method-assign]
    await intake.start(watch=False)
    await intake.once()
    assert sorted(buffer.messages) == [b"first", b"line 1", b"line 2"]
    assert telemetry.value("shipper_errors_total", "scan") == 1
    await intake._scan(full=False)
    await intake.once()
    assert sorted(buffer.messages) == [b"first", b"line 0", b"line 1", b"line 2"]
    await intake.close()


async def test_labels_that_one_log_cannot_take_reach_the_others_and_that_one_with_the_next_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception in the middle kept the labels of all pods behind it away, until something else changed in them."""
    tree, buffer, telemetry = Tree(tmp_path / "log"), FakeBuffer(), Telemetry()
    tree.write(cri("one"))
    tree.write(cri("two"), path=tree.pod("web-1", uid="99999999-1111-2222-3333-444455556666") / "0.log")
    intake = Intake(config_of(tree, tmp_path / "state"), buffer, telemetry, no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    told: list[str] = []
    tell = intake.reader.tell

    def failing(source: Source, settings: object, **more: object) -> None:
        told.append(source.lineage)
        if len(told) == 1:
            raise OSError(2, "No such file or directory", "a redaction's secret")
        tell(source, settings, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(intake.reader, "tell", failing)
    first, second = intake._directory.files.values()
    await intake._handover.retell([first, second])
    assert told == [first.source.lineage, second.source.lineage]
    assert telemetry.value("shipper_errors_total", "scan") == 1
    assert [fields["about"] for _, event, fields in telemetry.lines if event == "file_not_taken"] == [first.source.lineage]
    await intake._scan(full=False)
    assert told[2:] == [first.source.lineage]
    await intake._scan(full=False)
    assert len(told) == 3
    await intake.close()


async def test_labels_that_come_while_a_reload_runs_do_not_bring_the_old_config_back(tmp_path: Path) -> None:
    """That log kept max_line, keep, drop and redact of before the reload, until its pod changed once more."""
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("one"))
    config = config_of(tree, tmp_path / "state")
    intake = Intake(config, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    (lineage,) = intake.reader.lineages.values()
    changed = msgspec.structs.replace(config.sources["pods"], max_line=4096)
    async with intake.reader.between_turns:
        reload = asyncio.create_task(intake.apply(msgspec.structs.replace(config, sources={"pods": changed})))
        await asyncio.sleep(0)
        told = asyncio.create_task(intake._handover.retell(list(intake._directory.files.values())))
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(reload, told), 5.0)
    assert lineage.settings.max_line == 4096
    await intake.close()


async def test_a_scan_that_a_reload_overtakes_adds_nothing_of_the_old_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    monkeypatch.setattr("shipper.agent.intake.SCAN_SLICE", 1)
    config = config_of(tree, tmp_path / "state")
    intake = Intake(config, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    for n in range(1, 5):
        tree.write(cri("secret"), path=tree.pod(f"web-{n}", uid=f"9999999{n}-1111-2222-3333-444455556666") / "0.log")
    scan = asyncio.create_task(intake._scan(full=True))
    while len(intake.reader.lineages) < 2:
        await asyncio.sleep(0)
    await intake.apply(config_of(tree, tmp_path / "state", exclude='["*_default_*"]'))
    await scan
    assert not intake.reader.lineages and not intake._directory.files
    await intake.close()


async def test_the_first_lines_leave_before_all_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were read during the first scan, and neither the buffer nor a sink had a moment to take them on."""
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    monkeypatch.setattr("shipper.agent.intake.SCAN_SLICE", 1)
    for n in range(10):
        tree.write(cri(f"line {n}"), path=tree.pod(f"web-{n + 1}", uid=f"9999999{n}-1111-2222-3333-444455556666") / "0.log")
    intake = Intake(config_of(tree, tmp_path / "state"), buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    open_then = []

    async def sink() -> None:
        while not buffer.messages:
            await asyncio.sleep(0)
        open_then.append(len(intake.reader.lineages))

    taking = asyncio.create_task(sink())
    await intake.start(watch=False)
    await taking
    assert open_then[0] < 5 < len(intake.reader.lineages)
    await intake.close()


async def test_a_kill_during_the_first_scan_with_start_at_end_ships_no_old_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first files were passed over, sources.json was not there yet, and the positions said that the source was known."""
    class Killed(Exception):
        pass

    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    for number in range(60):
        tree.write(cri("old"), path=tree.pod(f"api-{number}", uid=f"0a1b2c3d-1111-2222-3333-{number:012d}") / "0.log")
    config = config_of(tree, tmp_path / "state", start_at="end")
    meanwhile = Intake._read_meanwhile

    async def read_and_die(intake: Intake) -> None:
        await meanwhile(intake)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Intake, "_read_meanwhile", read_and_die)
        await run_once(config, buffer)
    assert buffer.sections, "something was passed over before the kill"
    await run_once(config, buffer)
    assert buffer.messages == []


async def test_what_was_written_while_its_source_got_another_name_is_shipped_with_start_at_end_too(tmp_path: Path) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    config = config_of(tree, tmp_path / "state", start_at="end")
    await run_once(config, buffer)
    tree.write(cri("before"))
    await run_once(config, buffer)
    tree.write(cri("meanwhile", second=1))
    tree.rotate("20261120-120000")
    tree.write(cri("and behind a rotation", second=2))
    renamed = msgspec.structs.replace(config, sources={"mine": config.sources["pods"]})
    tree.write(cri("of a new one"), path=tree.pod("web-1", uid="99999999-1111-2222-3333-444455556666") / "0.log")
    await run_once(renamed, buffer)
    assert buffer.messages == [b"before", b"meanwhile", b"and behind a rotation"]


async def test_a_log_that_another_source_takes_over_with_a_reload_has_that_source_s_name_at_once(tmp_path: Path) -> None:
    tree, buffer = Tree(tmp_path / "log"), FakeBuffer()
    tree.write(cri("before"))
    one = config_of(tree, tmp_path / "state")
    two = msgspec.structs.replace(
        one, sources={"mine": one.sources["pods"], "pods": msgspec.structs.replace(one.sources["pods"], exclude=["*web-0*"])})
    intake = Intake(one, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start(watch=False)
    await intake.once()
    await intake.apply(two)
    tree.write(cri("after", second=1))
    await intake.once()
    await intake.close()
    assert [(s.file.source.name, s.batch.messages[0]) for s in buffer.sections if s.batch] == [
        ("pods", b"before"), ("mine", b"after")]


async def test_files_made_in_a_directory_that_took_anothers_place_are_seen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was moved away with its parent and made anew, or something was mounted over it: the watch was on the old one."""
    monkeypatch.setattr(module, "RESCAN_S", 3600.0)
    logs, buffer = tmp_path / "logs" / "app", FakeBuffer()
    logs.mkdir(parents=True)
    text = f"""
state_dir: {tmp_path}
sources: {{app: {{type: files, include: ["{logs}/*.log"]}}}}
sinks: {{out: {{type: stdout}}}}
"""
    intake = Intake(load_text(text, "test.yaml", {}).config, buffer, Telemetry(), no_pace)  # type: ignore[arg-type]
    await intake.start()
    os.rename(logs.parent, tmp_path / "old")
    logs.mkdir(parents=True)
    for _ in range(6):                                    # a watched directory has its turn in one of six full scans
        await intake._scan(full=True)
    stop = asyncio.Event()
    running = asyncio.create_task(intake.run(stop))
    (logs / "new.log").write_bytes(b"one\n")
    async with asyncio.timeout(30):                       # the next full scan is an hour away
        while b"one" not in buffer.messages:
            await asyncio.sleep(0.01)
    stop.set()
    await running
    await intake.close()


class Unpolled:
    """An intake that runs without a look that comes by itself: whoever is not told of something would be late with it, by a
    second or by ten."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "RESCAN_S", 3600.0)
        monkeypatch.setattr(attention, "POLL_S", 3600.0)
        self.tree, self.buffer, self.stop = Tree(tmp_path / "log"), FakeBuffer(), asyncio.Event()
        self.tree.write(cri("zero"))
        config = config_of(self.tree, tmp_path / "state")
        self.intake = Intake(config, self.buffer, Telemetry(), no_pace)  # type: ignore[arg-type]

    async def __aenter__(self) -> Unpolled:
        await self.intake.start()
        self._running = asyncio.create_task(self.intake.run(self.stop))
        await self.arrived(b"zero")
        await self.waits()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await asyncio.wait_for(self._running, 30)
        await self.intake.close()

    async def arrived(self, *texts: bytes) -> None:
        async with asyncio.timeout(30):
            while self.buffer.messages != [*texts]:
                await asyncio.sleep(0.01)

    async def waits(self) -> None:
        """The reader is in the wait that only somebody ends who tells it of more: it went no round for a few ticks."""
        rounds, since_s = -1, 0.0
        async with asyncio.timeout(30):
            while rounds < 0 or time.monotonic() < since_s + 5 * attention.LONGEST_TICK_S:
                await asyncio.sleep(0.01)
                if self.intake.reader.rounds != rounds:
                    rounds, since_s = self.intake.reader.rounds, time.monotonic()


async def test_a_quiet_log_is_read_when_its_watch_fires_and_when_it_was_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Unpolled(tmp_path, monkeypatch) as run:
        run.tree.write(cri("one", second=1))
        await run.arrived(b"zero", b"one")
        await run.waits()
        run.tree.rotate("20261120-120000")
        run.tree.write(cri("two", second=2))
        await run.arrived(b"zero", b"one", b"two")


async def test_the_stop_wakes_a_reader_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Unpolled(tmp_path, monkeypatch) as run:
        assert not run.stop.is_set()                      # leaving this says it, and does not wait an hour


async def test_what_an_overflow_of_the_kernels_queue_swallowed_is_looked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Unpolled(tmp_path, monkeypatch) as run:
        watch = run.intake._watch
        assert watch is not None
        monkeypatch.setattr(watch, "_on_directory", lambda path: None)
        run.tree.write(cri("of a new one"), path=run.tree.pod("web-1", uid="99999999-1111-2222-3333-444455556666") / "0.log")
        await run.waits()
        assert run.buffer.messages == [b"zero"]
        watch._on_overflow()
        await run.arrived(b"zero", b"of a new one")
