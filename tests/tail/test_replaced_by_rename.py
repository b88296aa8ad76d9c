"""A log whose new version is written beside it and renamed over it, as rsync, editors and sed -i do: the same content, longer,
under another inode."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tail.conftest import Node, Tree

Reader = Callable[[Path], Node]


def replace(log: Path, content: bytes) -> None:
    beside = log.with_name(".app.log.Xy12")
    beside.write_bytes(content)
    os.rename(beside, log)


@pytest.fixture
def app(tree: Tree) -> Path:
    return tree.root / "app.log"


@pytest.fixture
def reader_of(tree: Tree) -> Reader:
    return lambda app: Node(tree, kind="files", include=str(app), form="plain")


async def test_a_log_that_rsync_brings_again_and_again_is_read_on_each_time(app: Path, reader_of: Reader) -> None:
    content = b"one\n"
    app.write_bytes(content)
    node = reader_of(app)
    assert await node.run() == [b"one"]
    for more in (b"two", b"three", b"four", b"five"):
        content += more + b"\n"
        replace(app, content)
        assert (await node.run())[-1] == more
        assert [row["position"] for row in node.reader.facts.rows()] == [len(content)]
    assert await node.run() == [b"one", b"two", b"three", b"four", b"five"]


async def test_a_line_that_rsync_brought_half_is_whole_with_the_next_version(app: Path, reader_of: Reader) -> None:
    app.write_bytes(b"one\nhal")
    node = reader_of(app)
    assert await node.run() == [b"one"]
    replace(app, b"one\nhalf\ntwo\n")
    assert await node.run() == [b"one", b"half", b"two"]


async def test_lines_not_read_when_the_log_was_replaced_come_from_its_new_version(app: Path, reader_of: Reader) -> None:
    app.write_bytes(b"one\n")
    node = reader_of(app)
    await node.run()
    node.buffer.full = True
    with app.open("ab") as file:
        file.write(b"two\n")
    replace(app, b"one\ntwo\nthree\n")
    node.scan()
    node.reader.prepare(node.now)
    node.buffer.full = False
    assert await node.run() == [b"one", b"two", b"three"]


async def test_a_new_version_without_the_last_unread_line_costs_no_line(app: Path, reader_of: Reader) -> None:
    app.write_bytes(b"one\ntwo\n")
    node = reader_of(app)
    await node.run()
    with app.open("ab") as file:
        file.write(b"three\n")                            # not read yet
    replace(app, b"one\ntwo\nfour\n")
    seen = await node.run(10)
    assert {b"one", b"two", b"three", b"four"} <= set(seen)


async def test_a_log_replaced_while_the_agent_was_stopped_is_read_on(app: Path, reader_of: Reader) -> None:
    app.write_bytes(b"one\n")
    node = reader_of(app)
    await node.run()
    replace(app, b"one\ntwo\n")
    node.restart()
    assert await node.run() == [b"one", b"two"]


async def test_a_new_version_with_other_content_is_another_file(app: Path, reader_of: Reader) -> None:
    app.write_bytes(b"one\ntwo\n")
    node = reader_of(app)
    await node.run()
    replace(app, b"one\nTWO\nthree\n")
    assert await node.run() == [b"one", b"two", b"one", b"TWO", b"three"]
