"""What the agent tells the reader, and looks: V3 of tail/driver.py, LK1 to LK3 of tail/looks.py."""
from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import replace

import pytest

from shipper.agent.directory import NodeDirectory
from shipper.decode import Decoder
from shipper.errors import GapReason
from shipper.model import Source
from shipper.tail import due
from shipper.tail.file import TailFile
from shipper.tail.lineage import Lineage
from shipper.tail.ports import Refused, Settings
from tests.tail.conftest import Node, Tree, cri


def lineage_of(node: Node) -> Lineage:
    return node.reader.lineages[str(node.tree.log)]


def held_bytes(lineage: Lineage) -> int:
    decoder = lineage.decoder
    assert isinstance(decoder, Decoder)
    return decoder.opened.budget.held_bytes


async def test_v3_a_full_buffer_stops_reading_and_a_log_deleted_meanwhile_is_read_when_there_is_room(tree: Tree) -> None:
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    node.buffer.full = True
    stop = asyncio.Event()
    running = asyncio.create_task(node.reader.run(stop))
    tree.write(cri("two", second=2))
    tree.rotate("20261120-090100").unlink()
    tree.write(cri("three", second=3))
    node.scan()
    rounds = node.reader.rounds
    async with asyncio.timeout(10):
        while node.reader.rounds < rounds + 5:
            node.now += 0.1
            node.reader.wake()
            await asyncio.sleep(0)
    assert node.buffer.messages == [b"one"] and node.reader.blocked
    node.buffer.full = False
    async with asyncio.timeout(10):
        while len(node.buffer.messages) < 3:
            node.now += 0.1
            node.reader.wake()
            await asyncio.sleep(0)
    stop.set()
    node.reader.wake()
    await running
    assert node.buffer.messages == [b"one", b"two", b"three"]


async def test_a_log_that_is_dropped_gives_back_its_descriptors_its_watch_and_its_share_of_the_budget(tree: Tree) -> None:
    tree.write(cri("half", tag="P", second=1))
    node = Node(tree)
    disarmed: list[object] = []
    node.directory.disarm = disarmed.append  # type: ignore[method-assign, assignment]
    await node.run(0.2)
    lineage = lineage_of(node)
    (file,) = lineage.files
    assert held_bytes(lineage) == 4 and file.handle is not None
    node.reader.drop(str(tree.log))
    assert held_bytes(lineage) == 0 and file.handle is None and disarmed == [str(tree.log)]
    assert str(tree.log) not in node.reader.lineages and not node.reader.prepare(node.now + 1)


async def test_other_settings_take_what_is_open_with_them_and_nothing_more_of_the_budget(tree: Tree) -> None:
    tree.write(cri("half ", tag="P", second=1))
    node = Node(tree)
    await node.run(0.2)
    before = lineage_of(node).decoder
    node.reader.add(lineage_of(node).source, replace(node.settings, max_line=1000))
    tree.write(cri("and whole", second=1))
    assert await node.run() == [b"half and whole"]
    assert lineage_of(node).decoder is not before and lineage_of(node).decoder.max_line == 1000
    assert held_bytes(lineage_of(node)) == 0


async def test_a_loss_after_a_restart_says_when_the_last_record_before_it_was_written(tree: Tree) -> None:
    tree.write(cri("one", second=7))
    node = Node(tree)
    await node.run()
    node.restart()
    os.truncate(tree.log, 0)
    tree.write(cri("x", second=9))
    await node.run()
    (gap,) = [gap for section in node.buffer.sections for gap in section.gaps]
    assert (gap.reason, gap.first_ns % 60_000_000_000) == (GapReason.TRUNCATED, 7_000_000_001)


async def test_a_lineage_that_is_gone_is_not_lost_where_another_goes_on_with_its_file(tree: Tree) -> None:
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    shared = lineage_of(node).files[0].ref
    assert shared is not None
    name, source = str(tree.log), Source("containers", "c", "/former", "/former", "n1")
    node.buffer.positions.lineages["/former"] = node.buffer.positions.lineages[name]
    node.buffer.positions.files[shared.key].file = replace(shared, source=source)
    node.reader.lost_lineage("/former")
    await node.run()
    assert not [gap for section in node.buffer.sections for gap in section.gaps]


async def test_lk1_looks_at_more_logs_than_descriptors_leave_no_more_open_than_there_is_room_for(tree: Tree) -> None:
    logs = [tree.pod(f"api-{n}", uid=f"0a1b2c3d-1111-2222-3333-{n:012d}") / "0.log" for n in range(8)]
    for number, log in enumerate(logs):
        tree.write(cri(f"line {number}", second=number), path=log)
    node = Node(tree, max_open=3)
    open_files = sum(file.handle is not None for x in node.reader.lineages.values() for file in x.files)
    assert 0 < open_files <= 3
    assert sorted(await node.run()) == [b"line %d" % n for n in range(8)]


async def test_lk2_a_look_whose_disk_failed_is_said_and_made_again_in_a_second(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = tree.pod("api-0", uid="99999999-1111-2222-3333-444455556666") / "0.log"
    tree.write(cri("one", second=1))
    tree.write(cri("other", second=1), path=other)
    node = Node(tree)
    await node.run()
    siblings, failures = node.directory.siblings, [0]

    def failing(source: Source) -> object:
        if source.lineage == str(tree.log) and not failures[0]:
            failures[0] += 1
            raise OSError(5, "Input/output error")
        return siblings(source)

    monkeypatch.setattr(node.directory, "siblings", failing)
    tree.rotate("20261120-090100")
    tree.write(cri("two", second=2))
    tree.write(cri("other 2", second=2), path=other)
    node.reader.changed(str(other))
    assert sorted(await node.run(3.0)) == [b"one", b"other", b"other 2", b"two"]
    assert failures == [1] and node.telemetry.value("shipper_errors_total", "look") == 1
    assert [fields["why"] for _, event, fields in node.telemetry.lines if event == "look_failed"] == [
        "[Errno 5] Input/output error"]


async def test_a_cut_that_a_look_finds_is_counted(tree: Tree) -> None:
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    os.truncate(tree.log, 0)
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    assert node.telemetry.value("shipper_rotations_total", "truncated") == 1


async def test_what_was_told_of_a_pod_that_is_gone_is_told_again_after_a_failed_sync(tree: Tree) -> None:
    """K1: its lineage is dropped by itself, and not because its source left the config."""
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    lineage_of(node).files[0].close()
    tree.write(cri("never read", second=2))
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    node.buffer.auto_sync = False
    good = node.buffer.positions.copy()
    for link in tree.links.iterdir():
        link.unlink()
    shutil.rmtree(tree.dir.parent)
    await node.run()

    def losses() -> list[GapReason]:
        return [gap.reason for section in node.buffer.sections for gap in section.gaps]  # type: ignore[misc]

    assert losses() == [GapReason.ROTATED_AWAY] and str(tree.log) not in node.reader.lineages
    node.buffer.positions.go_back(good)
    del node.buffer.sections[1:]
    node.buffer.fail_next = OSError(5, "Input/output error")
    other = tree.pod("api-0", uid="99999999-1111-2222-3333-444455556666") / "0.log"
    tree.write(cri("other", second=3), path=other)
    assert (await node.run())[-1] == b"other"
    assert losses() == [GapReason.ROTATED_AWAY]


def descriptors_of(tree: Tree) -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):                # that of the listing itself
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(tree.root))
    return found


async def test_x2_nothing_is_called_lost_while_a_file_that_may_be_it_could_not_be_opened(tree: Tree) -> None:
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    tree.write(cri("two", second=2))
    tree.rotate("20261120-090100")
    tree.write(cri("three", second=3))
    opened, refused = NodeDirectory.open, [0]

    def refuse(directory: NodeDirectory, path: str, settings: Settings) -> int:
        if path != str(tree.log) and refused[0] < 2:
            refused[0] += 1
            raise Refused("too_many_open_files", f"{path} is not read: too many open files", again=True)
        return opened(directory, path, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeDirectory, "open", refuse)
        node.restart()
        got = await node.run(6.0)
    assert refused == [2] and sorted(got) == [b"one", b"three", b"two"]
    assert not [gap for section in node.buffer.sections for gap in section.gaps]
    assert node.telemetry.value("shipper_refused_files_total", "too_many_open_files") == 2, "each refusal is counted (I2)"


async def test_x3_a_look_whose_disk_fails_in_its_middle_leaves_no_descriptor(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        tree.write(cri(f"line {number}", second=number), path=tree.dir / f"0.log.20261120-09010{number}")
    tree.write(cri("live", second=9))
    real, broken = TailFile.head, [True]

    def head(file: TailFile) -> bytes:
        if broken[0] and file.live:
            raise OSError(5, "Input/output error")
        return real(file)

    monkeypatch.setattr(TailFile, "head", head)
    node = Node(tree)
    for _ in range(3):
        node.reader.changed(str(tree.log))
        node.reader.looks.where_due()
        assert descriptors_of(tree) == 0
    broken[0] = False
    assert await node.run(3.0) == [b"line 0", b"line 1", b"line 2", b"live"]


async def test_a_log_that_is_refused_when_its_turn_comes_is_counted_and_tried_again(tree: Tree) -> None:
    """I2 of tail/opening.py: it was closed for being quiet."""
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    lineage_of(node).files[0].close()
    tree.write(cri("two", second=2))
    opened, refused = NodeDirectory.open, [0]

    def refuse(directory: NodeDirectory, path: str, settings: Settings) -> int:
        refused[0] += 1
        if refused[0] == 1:
            raise Refused("permission", f"{path} is not read: permission denied", again=True)
        return opened(directory, path, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeDirectory, "open", refuse)
        node.reader.written(str(tree.log))
        assert await node.run(3.0) == [b"one", b"two"]
    assert node.telemetry.value("shipper_refused_files_total", "permission") == 1
    assert [event for _, event, _ in node.telemetry.lines].count("file_refused") == 1


async def test_du1_a_tick_closes_no_more_records_by_time_than_fill_a_frame(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 pods whose open records of 1 MiB ended in one tick made one frame of 300 MiB."""
    monkeypatch.setattr(due, "FRAME_BYTES", 1)
    for number in range(3):
        log = tree.pod(f"api-{number}", uid=f"0a1b2c3d-1111-2222-3333-{number:012d}") / "0.log"
        tree.write(cri(f"open {number}", tag="P", second=1), path=log)
    node = Node(tree)
    await node.run(0.2)
    node.now += 3.0
    closed = []
    for _ in range(4):
        node.reader.prepare(node.now)
        closed.append(len(node.buffer.messages))
        node.now += 0.1
    assert closed == [1, 2, 3, 3] and not node.reader._attention.waiting, "who has nothing open waits for nothing"
