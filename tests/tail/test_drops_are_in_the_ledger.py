"""What the steps drop is declared at once, and with the file whose bytes it was (P11)."""
from __future__ import annotations

from dataclasses import replace

import pytest

from shipper.agent.accounts import audit_facts
from shipper.config.process_redact import Limit
from shipper.config.processing import Condition, Processing
from tests.tail.conftest import Node, Tree, cri

DROP = Processing(drop=[Condition(match="^noise")])


def node_with(tree: Tree, processing: Processing) -> Node:
    node = Node(tree)
    node.settings = replace(node.settings, processing=processing)
    node.restart()
    return node


def unexplained(node: Node) -> dict[str, int]:
    """By file key: bytes read that are in no record, not open and not declared. Negative: declared too much."""
    positions = node.buffer.positions
    left = {file.key: file.read_bytes - file.open_bytes - sum(file.dropped.values()) for file in audit_facts(positions, {}).files}
    for item, _ in node.buffer.records:
        for part in item.split(","):
            key, _, place = part.partition(":")
            left[key] -= int(place.rpartition("+")[2], 16)
    return left


async def test_a_dropped_record_with_pieces_in_two_files_is_declared_with_both(tree: Tree) -> None:
    """All of it was counted with the second: `verify --ledger` found a hole in one file, and too much in the other."""
    node = node_with(tree, DROP)
    tree.write(cri("one"), cri("noise begun ", second=1, tag="P"))
    await node.run(0.2)
    assert set(unexplained(node).values()) == {0}
    tree.rotate("20261120-090100")
    tree.write(cri("ended", second=2), cri("two", second=3))
    assert await node.run() == [b"one", b"two"]
    assert list(unexplained(node).values()) == [0, 0]
    assert sorted([file.dropped["filtered"] for file in audit_facts(node.buffer.positions, {}).files]) == [
        len(cri("ended")), len(cri("noise begun "))]
    assert node.telemetry.value("shipper_dropped_records_total", "c", "filtered") == 1


@pytest.mark.parametrize("begun", [
    cri("noise that has no end", tag="P"), cri("noise: a.b.Exception") + cri("\tat a.B.c(B.java:1)"),
])
async def test_drops_of_what_is_closed_by_time_are_declared_without_a_next_line(tree: Tree, begun: bytes) -> None:
    """No section was written: after a kill the bytes were neither in a record nor declared."""
    node = node_with(tree, replace_multiline(DROP))
    tree.write(cri("one"), begun)
    assert await node.run(4.0) == [b"one"]
    assert list(unexplained(node).values()) == [0]
    position = node.buffer.positions.lineages[str(tree.log)]
    assert not position.state and sum(f.drops["filtered"] for f in node.buffer.positions.files.values()) == 1
    known = len(node.buffer.sections)
    await node.run(4.0)
    assert len(node.buffer.sections) == known             # once


def replace_multiline(processing: Processing) -> Processing:
    return Processing(drop=processing.drop, multiline="auto")


async def test_a_pod_that_is_deleted_with_nothing_but_dropped_lines_open_is_declared(tree: Tree) -> None:
    node = node_with(tree, DROP)
    tree.write(cri("one"), cri("noise begun ", second=1, tag="P"))
    await node.run(0.2)
    tree.log.unlink()
    node.reader.vanish(str(tree.log))
    await node.run(4.0)
    assert list(unexplained(node).values()) == [0] and not node.reader.lineages


async def test_records_over_a_limit_that_were_closed_by_time_are_declared(tree: Tree) -> None:
    node = node_with(tree, Processing(limit=Limit(records_per_s=1, burst=1.0, action="drop")))
    tree.write(cri("one"), cri("two", second=1), cri("begun", second=2, tag="P"))
    await node.run(40.0)
    assert list(unexplained(node).values()) == [0]
