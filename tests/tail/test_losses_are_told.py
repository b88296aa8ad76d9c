"""What nobody can read any more is a record that says so or a gap with its reason, whatever happens in between (P1)."""
from __future__ import annotations

import os
import shutil

import pytest

from shipper.errors import GapReason
from shipper.tail import handles
from tests.tail.conftest import Node, Tree, cri

LONG = cri("y" * 700_000, second=2)[:400_000]


def in_no_record(node: Node) -> int:
    """Source bytes of the sections that neither a record nor a gap names."""
    read = sum(s.end - s.start for s in node.buffer.sections)
    named = sum(int(item.rpartition("+")[2], 16) for item, _ in node.buffer.records)
    return read - named


def marks(node: Node) -> list[dict]:
    return [m for s in node.buffer.sections if s.batch is not None for m in (s.batch.marks or {}).values()]


async def skipping(tree: Tree, **how: object) -> Node:
    tree.write(cri("before", second=1), LONG)
    node = Node(tree, max_line=100_000, **how)  # type: ignore[arg-type]
    await node.run()
    assert node.buffer.positions.lineages[next(iter(node.reader.lineages))].state[0].kind == "skipping"
    return node


async def test_a_long_line_whose_file_was_rotated_away_while_stopped_leaves_no_hole_for_verify(tree: Tree) -> None:
    node = await skipping(tree)
    rotated = tree.rotate("20261120-090100")
    tree.write(cri("after", second=3))
    rotated.unlink()
    node.restart()
    assert await node.run() == [b"before", b"", b"after"]
    assert in_no_record(node) == 0
    assert marks(node) == [{"truncated": len(LONG) - 1, "lost": len(LONG)}]


async def test_a_long_line_whose_file_is_cut_leaves_no_hole_for_verify(tmp_path) -> None:
    tree = Tree(tmp_path / "log")
    live = tree.root / "app.log"
    tree.write(b"before\n", b"y" * 400_000, path=live)
    node = Node(tree, kind="files", include=str(live), form="plain", max_line=100_000)
    await node.run()
    os.truncate(live, 0)
    tree.write(b"after\n", path=live)
    assert await node.run() == [b"before", b"", b"after"]
    assert in_no_record(node) == 0
    assert not node.buffer.positions.lineages[str(live)].state


async def test_a_long_line_of_a_quiet_file_that_is_gone_leaves_no_hole_for_verify(tree: Tree) -> None:
    node = await skipping(tree)
    for file in next(iter(node.reader.lineages.values())).files:
        file.close()                                      # quiet for five minutes
    tree.write(b"z" * 50_000)
    tree.log.unlink()
    tree.write(cri("after", second=3))
    assert await node.run(6.0) == [b"before", b"", b"after"]
    assert in_no_record(node) == 0


async def test_a_long_line_of_a_pod_deleted_while_stopped_leaves_no_hole_for_verify(tree: Tree) -> None:
    node = await skipping(tree)
    shutil.rmtree(tree.dir.parent)
    for path in tree.links.iterdir():
        path.unlink()
    node.restart()
    node.reader.lost_lineage(str(tree.log))
    assert await node.run() == [b"before", b""]
    assert in_no_record(node) == 0
    assert not node.buffer.positions.lineages[str(tree.log)].state


async def test_a_long_line_of_a_deleted_file_that_is_held_too_long_keeps_its_first_bytes(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await skipping(tree)
    monkeypatch.setattr(handles, "HELD_DELETED_BYTES", 0)
    tree.write(b"z" * 1000)
    rotated = tree.rotate("20261120-090100")
    node.reader.blocked = node.buffer.full = True
    rotated.unlink()
    node.scan()
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    node.reader._due.poll(node.now)
    assert [g.reason for s in node.buffer.sections for g in s.gaps] == [GapReason.HELD_TOO_LONG]
    assert node.buffer.messages[-1][:6] == b"yyyyyy"
    assert in_no_record(node) == 0


def losses(node: Node) -> list[tuple[str, int]]:
    return [(str(g.reason), g.at_least) for s in node.buffer.sections for g in s.gaps]


def told(node: Node, reason: GapReason) -> tuple[float, float, int]:
    said = [fields for _, event, fields in node.telemetry.lines if event == "bytes_not_read"]
    value = node.telemetry.value
    return value("shipper_gaps_total", reason), value("shipper_gap_bytes_total", reason), len(said)


async def test_a_file_lost_while_stopped_is_in_the_ledger_although_the_first_append_failed(tree: Tree) -> None:
    tree.write(cri("before"))
    node = Node(tree)
    await node.run()
    positions = node.buffer.positions
    (key,) = positions.files
    positions.files[key].size += 500                     # so much of it was seen, and not read
    rotated = tree.rotate("20261120-090100")
    tree.write(cri("after", second=3))
    rotated.unlink()
    node.restart()
    node.buffer.fail_next = OSError(28, "No space left on device")
    assert await node.run() == [b"before", b"after"]
    assert losses(node) == [(GapReason.ROTATED_AWAY, 500)]
    assert told(node, GapReason.ROTATED_AWAY) == (1, 500, 1)


async def test_a_pod_lost_while_stopped_is_in_the_ledger_although_the_first_append_failed(tree: Tree) -> None:
    tree.write(cri("before"), cri("begun", second=1, tag="P"))
    node = Node(tree)
    await node.run(0.5)
    (key,) = node.buffer.positions.files
    node.buffer.positions.files[key].size += 500
    shutil.rmtree(tree.dir.parent)
    for path in tree.links.iterdir():
        path.unlink()
    node.restart()
    node.buffer.fail_next = OSError(28, "No space left on device")
    node.reader.lost_lineage(str(tree.log))
    assert await node.run() == [b"before", b""]
    assert losses(node) == [(GapReason.ROTATED_AWAY, 500)]
    assert told(node, GapReason.ROTATED_AWAY)[0] == 2     # the gap, and the record that had begun: each once
    assert not node.buffer.positions.lineages[str(tree.log)].state


@pytest.mark.parametrize("appended", [False, True])
async def test_what_a_truncation_lost_is_in_the_ledger_after_a_failed_sync(tmp_path, appended: bool) -> None:
    """The lines before it had been read, and are gone with the frames that were taken back: they count as lost too."""
    tree = Tree(tmp_path / "log")
    live = tree.root / "app.log"
    tree.write(b"one\n", path=live)
    node = Node(tree, kind="files", include=str(live), form="plain")
    await node.run()
    node.buffer.auto_sync = False
    good = node.buffer.positions.copy()
    tree.write(b"two\n", path=live)
    await node.run()
    os.truncate(live, 0)
    if appended:
        tree.write(b"three\n", path=live)
    await node.run()
    assert losses(node) == [(GapReason.TRUNCATED, 0)]
    node.buffer.positions.go_back(good)                   # the sync failed
    del node.buffer.sections[1:]
    node.buffer.fail_next = OSError(5, "Input/output error")
    node.buffer.auto_sync = True
    tree.write(b"four\n", path=live)
    assert (await node.run())[-1] == b"four"
    assert losses(node) == [(GapReason.TRUNCATED, 4)]
    assert told(node, GapReason.TRUNCATED) == (1, 4, 1)


async def test_a_log_lost_while_closed_is_in_the_ledger_after_a_failed_sync(tree: Tree) -> None:
    tree.write(cri("one"))
    node = Node(tree)
    await node.run()
    node.reader.lineages[str(tree.log)].files[0].close()
    tree.write(cri("two"))
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    held = os.open(tree.log, os.O_RDONLY)                 # so that its inode is not given to the next file
    os.unlink(tree.log)
    tree.write(cri("three", second=3))
    node.buffer.fail_next = OSError(5, "Input/output error")
    await node.run()
    node.reader.changed(str(tree.log))
    assert await node.run() == [b"one", b"three"]
    os.close(held)
    assert losses(node) == [(GapReason.ROTATED_AWAY, len(cri("two")))]
    assert told(node, GapReason.ROTATED_AWAY) == (1, len(cri("two")), 1)


@pytest.mark.parametrize("read", [0, 5])
async def test_a_log_closed_for_want_of_descriptors_goes_on_in_its_gz(tree: Tree, read: int) -> None:
    """The gz counted as a copy, and the unread bytes as lost."""
    tree.write(*[cri(f"line {n}", second=n) for n in range(read)])
    node = Node(tree)
    if read:
        await node.run()
    tree.write(*[cri(f"line {n}", second=n) for n in range(read, 10)])
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    node.reader.lineages[str(tree.log)].files[0].close()
    held = os.open(tree.log, os.O_RDONLY)                 # so that its inode is not given to the next file
    tree.rotate("20261120-090100")
    tree.write(cri("line 10", second=10))
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    for file in node.reader.lineages[str(tree.log)].files:
        file.close()
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(cri("line 11", second=11))
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    for file in node.reader.lineages[str(tree.log)].files:
        file.close()
    assert await node.run() == [b"line %d" % n for n in range(12)]
    assert losses(node) == []
    os.close(held)
    node.restart()
    assert await node.run() == [b"line %d" % n for n in range(12)]


async def test_a_deleted_log_that_was_emptied_while_the_buffer_was_full_is_no_negative_loss(tree: Tree) -> None:
    """`: > /proc/<pid>/fd/<n>` gives the space of a deleted log back; until there is room again nobody reads it."""
    tree.write(*[cri(f"line {n}", second=n) for n in range(20)])
    node = Node(tree)
    await node.run()
    tree.write(cri("unread", second=21))
    node.reader.written(str(tree.log))
    with open(tree.log, "ab") as writer:
        tree.log.unlink()
        node.scan()
        node.reader.prepare(node.now)                     # and no turn: it is blocked
        writer.truncate(0)
        for _ in range(3):
            node.now += handles.HELD_DELETED_S
            node.reader.prepare(node.now)
        writer.write(cri("behind it", second=30))
        writer.flush()
        assert (await node.run())[-1] == b"behind it"
    (gap,) = [gap for section in node.buffer.sections for gap in section.gaps]
    assert (gap.reason, gap.at_least >= 0) == (GapReason.TRUNCATED, True)


async def test_bytes_that_are_lost_are_a_warning_and_a_loss_that_may_be_none_is_not(tree: Tree) -> None:
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    node.reader.lineages[str(tree.log)].files[0].close()
    tree.write(cri("seen", second=2))
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()
    tree.log.unlink()
    await node.run()
    tree.write(cri("two", second=3))
    await node.run()
    os.truncate(tree.log, 0)
    tree.write(cri("3", second=4))
    await node.run()
    lines = [(level, fields) for level, event, fields in node.telemetry.lines if event == "bytes_not_read"]
    told = [(level, fields["reason"], fields["at_least_bytes"]) for level, fields in lines]
    assert told == [("warning", GapReason.ROTATED_AWAY, len(cri("seen", second=2))), ("info", GapReason.TRUNCATED, 0)]
