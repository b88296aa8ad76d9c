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
    node.reader._look_where_due()
    node.reader._poll(node.now)
    assert [g.reason for s in node.buffer.sections for g in s.gaps] == [GapReason.HELD_TOO_LONG]
    assert node.buffer.messages[-1][:6] == b"yyyyyy"
    assert in_no_record(node) == 0
