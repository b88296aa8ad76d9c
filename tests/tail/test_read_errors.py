"""A disk that fails while a line is being cut costs a second, not the reader, and no line."""
from __future__ import annotations

import asyncio
import errno
import gzip
import os
from pathlib import Path

import pytest

from shipper.errors import GapReason
from shipper.model import Section
from shipper.tail.file import TailFile
from shipper.tail.identity import file_key
from shipper.tail.lineage import Lineage
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


async def test_the_last_line_of_a_deleted_log_whose_disk_no_longer_answers_behind_its_read_is_not_lost(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read of it was dropped with the look that says how it is to be ignored: a file system on the network forgets
    deleted files (ESTALE)."""
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    tree.write(cri("two", second=2), cri("half", second=3)[:-1])
    fd, inode = fd_of(node, tree.log), tree.log.stat().st_ino
    tree.log.unlink()
    node.scan()
    assert await node.run(0.2) == [b"one", b"two"]
    stat, finish = os.fstat, Lineage.finish

    def stale(fd: int) -> os.stat_result:
        seen = stat(fd)
        if seen.st_ino == inode:
            raise OSError(errno.ESTALE, "Stale file handle")
        return seen

    def finish_and_lose_the_disk(lineage: Lineage, *how: object) -> list[Section]:
        sections = finish(lineage, *how)  # type: ignore[arg-type]
        monkeypatch.setattr(os, "fstat", stale)
        return sections

    monkeypatch.setattr(Lineage, "finish", finish_and_lose_the_disk)
    assert await node.run(5.0) == [b"one", b"two", b"half"]
    with pytest.raises(OSError, match="Bad file"):
        stat(fd)


async def test_what_start_at_end_passes_over_is_passed_over_though_the_disk_fails_while_its_end_is_looked_for(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree.write(cri("old", second=1), cri("older", second=2))
    size, real, failures = tree.log.stat().st_size, TailFile.pread, [0]

    def pread(file: TailFile, size_bytes: int, offset: int) -> bytes:
        if (size_bytes, offset) == (size, 0) and not failures[0]:
            failures[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        return real(file, size_bytes, offset)

    monkeypatch.setattr(TailFile, "pread", pread)
    node = Node(tree, start_at="end")
    await node.run()
    tree.write(cri("new", second=3))
    assert await node.run() == [b"new"] and failures == [1]
    assert [gap.reason for section in node.buffer.sections for gap in section.gaps] == [GapReason.START_AT_END]


async def test_a_record_in_pieces_is_joined_once_where_the_disk_fails_behind_its_first_piece(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FR1: the decoder goes back too. A .gz is done at its end, whose half line is read once more there."""
    half = cri("half a line", second=3)[:-1]
    packed = tree.dir / "0.log.20261120-090100.gz"
    packed.write_bytes(gzip.compress(cri("whole", second=1) + cri("begun ", tag="P", second=2) + half))
    tree.write(cri("ended", second=4))
    real, failures = TailFile.pread, [0]

    def pread(file: TailFile, size_bytes: int, offset: int) -> bytes:
        if size_bytes == len(half) and not failures[0]:
            failures[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        return real(file, size_bytes, offset)

    monkeypatch.setattr(TailFile, "pread", pread)
    node = Node(tree)
    got = await node.run(6.0)
    assert failures == [1] and got[0] == b"whole" and b"".join(got).count(b"begun ") == 1
    assert len({item for item, _ in node.buffer.records}) == len(got)
    assert node.telemetry.value("shipper_errors_total", "read") == 1


async def test_a_log_whose_end_the_disk_refuses_for_a_while_takes_one_key(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try took another one, for ever: one a second as long as the disk did not answer."""
    first = cri("one", second=1)
    tree.write(first, *[cri("x" * 80, second=second) for second in range(2, 40)])
    real, failures = TailFile.pread, [0]

    def pread(file: TailFile, size: int, offset: int) -> bytes:
        if offset > 2000 and failures[0] < 3:
            failures[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        return real(file, size, offset)

    monkeypatch.setattr(TailFile, "pread", pread)
    node = Node(tree)
    assert len(await node.run(8.0)) == 39 and failures == [3]
    assert node.reader.facts.keys() == [file_key(node.reader.lineages[str(tree.log)].source, first.rstrip(b"\n"))]
