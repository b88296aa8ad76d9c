"""A disk that fails while a line is being cut costs a second, not the reader, and no line."""
from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from shipper.tail.file import TailFile
from tests.tail.conftest import Node, Tree, cri


async def test_a_read_error_in_the_middle_of_cutting_neither_loses_nor_repeats(tree: Tree, monkeypatch) -> None:
    long = cri("x" * 400_000, second=2)
    tree.write(cri("before", second=1), long[:200_000])
    node = Node(tree)
    await node.run()
    tree.write(long[200_000:], cri("after", second=3))
    node.reader.written(str(tree.log))
    real, failures = TailFile.pread, [0]

    def pread(file: TailFile, size: int, offset: int) -> bytes:
        if size > 300_000 and failures[0] < 3:            # the whole long line, read once its end was found
            failures[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        return real(file, size, offset)

    monkeypatch.setattr(TailFile, "pread", pread)
    got = await node.run(8.0)
    assert failures[0] == 3
    assert [m[:6] for m in got] == [b"before", b"x" * 6, b"after"]
    assert len(got[1]) == 400_000
    assert len({item for item, _ in node.buffer.records}) == 3


def break_disk_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that was shut down (XFS does that after an error) answers each call on an open file with EIO."""
    stat, pread = os.fstat, os.pread
    node_id = os.stat(path).st_ino

    def ask(fd: int) -> os.stat_result:
        seen = stat(fd)
        if seen.st_ino == node_id:
            raise OSError(errno.EIO, "Input/output error")
        return seen

    monkeypatch.setattr(os, "fstat", ask)
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: ask(fd) and pread(fd, size, offset))


@pytest.mark.parametrize("how", ["quiet", "written", "deleted", "deleted with half a line"])
async def test_a_log_on_a_disk_that_died_ends_neither_status_nor_the_agent(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, how: str,
) -> None:
    other = tree.pod("api-0") / "0.log"
    tree.write(cri("one", second=1)[: 9 if "half" in how else None])
    tree.write(cri("other 1", second=1), path=other)
    node = Node(tree)
    await node.run()
    if how in ("written", "deleted"):
        tree.write(cri("two", second=2))
    if how.startswith("deleted"):
        tree.log.unlink()
        node.scan()
        node.reader.prepare(node.now)
    break_disk_of(tree.log if tree.log.exists() else Path(f"/proc/self/fd/{fd_of(node, tree.log)}"), monkeypatch)
    node.reader.written(str(tree.log))
    await node.run()
    node.now += 601                                       # quiet files are closed, deleted ones held no longer
    await node.run()
    tree.write(cri("other 2", second=2), path=other)
    assert b"other 2" in await node.run()
    assert [row["position"] for row in node.reader.facts.rows() if row["path"] == str(other)] == [other.stat().st_size]
    assert node.reader.facts.held_bytes() >= 0
    stop = asyncio.Event()
    stop.set()
    await node.reader.run(stop)


def fd_of(node: Node, log: Path) -> int:
    return node.reader.lineages[str(log)].files[0].fd
