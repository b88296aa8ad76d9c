"""After a power cut a log is shorter than it was read, or ends in zeros: the buffer syncs each half second, the file system
writes the log itself back seconds later. What is left of it was shipped and does not come again."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.errors import GapReason
from tests.tail.conftest import Node, Tree, cri


def lines(low: int, high: int) -> list[bytes]:
    return [cri(f"line {i:04}", second=i) for i in range(low, high)]


def cut(log: Path, left_bytes: int) -> None:
    os.truncate(log, left_bytes)


def zero(log: Path, left_bytes: int) -> None:
    size = log.stat().st_size
    os.truncate(log, left_bytes)
    os.truncate(log, size + 4096)


HOWS = pytest.mark.parametrize("took", [cut, zero])


@HOWS
@pytest.mark.parametrize("left_bytes", [30 * len(cri("line 0000")), 30 * len(cri("line 0000")) + 17])
async def test_a_log_whose_end_a_power_cut_took_is_not_shipped_again(tree: Tree, took, left_bytes: int) -> None:  # type: ignore[no-untyped-def]
    tree.write(*lines(0, 100))
    node = Node(tree)
    read = await node.run()
    took(tree.log, left_bytes)
    node.restart()
    assert await node.run() == read
    passed = [gap for section in node.buffer.sections for gap in section.gaps if gap.reason == GapReason.READ_BEFORE]
    assert [(gap.start, gap.end) for gap in passed] == [(0, 30 * len(cri("line 0000")))]
    assert node.telemetry.value("shipper_gaps_total", GapReason.ROTATED_AWAY) == 0          # nothing known is lost: no alert
    node.restart()
    assert await node.run() == read


async def test_streams_whose_times_are_not_in_order_are_no_new_lines(tree: Tree) -> None:
    tree.write(*lines(0, 99), cri("late", second=98, nanos=9, stream="stderr"), cri("line 0099", second=98))
    node = Node(tree)
    read = await node.run()
    cut(tree.log, tree.log.stat().st_size - len(cri("line 0099")))
    node.restart()
    assert await node.run() == read


@HOWS
async def test_what_is_written_to_it_after_the_power_cut_is_read(tree: Tree, took) -> None:  # type: ignore[no-untyped-def]
    tree.write(*lines(0, 100))
    node = Node(tree)
    read = len(await node.run())
    took(tree.log, 30 * len(cri("line 0000")))
    node.restart()
    await node.run()
    tree.write(b"\n", *lines(200, 203))
    assert (await node.run())[read:][-3:] == [b"line 0200", b"line 0201", b"line 0202"]
    assert len(node.buffer.messages) - read in (3, 4)     # the zeros are a line of their own
    assert len({item for item, _ in node.buffer.records}) == len(node.buffer.records)
    node.restart()
    assert len(await node.run()) - read in (3, 4)


@HOWS
async def test_what_was_written_to_it_before_the_agent_was_back_is_read(tree: Tree, took) -> None:  # type: ignore[no-untyped-def]
    tree.write(*lines(0, 100))
    node = Node(tree)
    await node.run()
    took(tree.log, 30 * len(cri("line 0000")))
    tree.write(b"\n", *lines(200, 203))
    node.restart()
    assert (await node.run())[-3:] == [b"line 0200", b"line 0201", b"line 0202"]


async def test_a_hosts_log_whose_end_a_power_cut_took_is_not_shipped_again(tree: Tree) -> None:
    log = tree.root / "app.log"
    log.write_bytes(b"".join(b"line %d\n" % i for i in range(1000)))
    node = Node(tree, kind="files", include=str(log), form="plain")
    read = await node.run()
    written_ns = log.stat().st_mtime_ns
    os.truncate(log, 4000)
    os.utime(log, ns=(written_ns, written_ns))
    node.restart()
    node.reader.complete = True                           # as when every log of the start was looked at once
    assert await node.run() == read
    assert node.telemetry.value("shipper_gaps_total", GapReason.ROTATED_AWAY) == 0
    with log.open("ab") as file:
        file.write(b"\nnew\n")
    assert (await node.run())[-1] == b"new"


async def test_a_hosts_log_that_begins_alike_and_was_written_since_is_read_from_its_start(tree: Tree) -> None:
    log = tree.root / "app.log"
    log.write_bytes(b"".join(b"line %d\n" % i for i in range(1000)))
    node = Node(tree, kind="files", include=str(log), form="plain")
    read = await node.run()
    log.write_bytes(b"".join(b"line %d\n" % i for i in range(500)))
    node.restart()
    assert await node.run() == read + read[:500]
