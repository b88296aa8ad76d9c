"""A writer that does not append writes on at its old offset when copytruncate has cut its log: what stands in front is a hole."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.errors import GapReason
from tests.tail.conftest import Node, Tree


@pytest.fixture
def app(tree: Tree) -> Path:
    return tree.root / "app.log"


def node_of(tree: Tree, app: Path) -> Node:
    return Node(tree, kind="files", include=str(app), form="plain")


def gaps(node: Node) -> list[tuple[int, int]]:
    return [(gap.start, gap.end) for section in node.buffer.sections for gap in section.gaps if gap.reason == GapReason.ZEROS]


@pytest.mark.parametrize("hole_bytes", [5_000, 70_000, 3 << 20, 1 << 40])
async def test_the_first_line_behind_a_hole_is_whole(tree: Tree, app: Path, hole_bytes: int) -> None:
    with open(app, "wb", buffering=0) as writer:
        writer.write(b"one\n")
        node = node_of(tree, app)
        await node.run()
        os.truncate(app, 0)
        await node.run()
        writer.seek(hole_bytes)
        writer.write(b"two\nthree\n")
        assert await node.run() == [b"one", b"two", b"three"]
        assert gaps(node) == [(0, hole_bytes)]
        writer.write(b"four\n")
        assert (await node.run())[-1] == b"four"
        node.restart()
        assert await node.run() == [b"one", b"two", b"three", b"four"]


async def test_zeros_that_take_room_on_the_disk_are_passed_over_too(tree: Tree, app: Path) -> None:
    app.write_bytes(b"one\n" + bytes(20 << 20) + b"two\n")
    node = node_of(tree, app)
    assert await node.run() == [b"one", b"two"]
    assert sum(end - start for start, end in gaps(node)) == 20 << 20


async def test_what_is_written_into_a_preallocated_log_is_read(tree: Tree, app: Path) -> None:
    with open(app, "wb", buffering=0) as writer:
        os.posix_fallocate(writer.fileno(), 0, 4 << 20)
        node = node_of(tree, app)
        assert await node.run() == []
        for line in (b"one", b"two", b"three"):
            writer.write(line + b"\n")
            assert (await node.run())[-1] == line
        assert gaps(node) == []
        assert node.reader.facts.lag_bytes() == sum(node.reader.facts.lag_by_source().values()) == 0
        assert [row["lag_bytes"] for row in node.reader.facts.rows()] == [0]


async def test_a_rotated_log_that_ends_in_zeros_is_done_and_they_are_declared(tree: Tree, app: Path) -> None:
    app.write_bytes(b"one\n" + bytes(8192))
    node = node_of(tree, app)
    await node.run()
    os.rename(app, f"{app}.1")
    app.write_bytes(b"two\n")
    assert await node.run(10) == [b"one", b"two"]
    assert gaps(node) == [(4, 4 + 8192)]


async def test_a_few_zeros_are_part_of_their_line(tree: Tree, app: Path) -> None:
    app.write_bytes(bytes(100) + b"one\n")
    assert await node_of(tree, app).run() == [bytes(100) + b"one"]
