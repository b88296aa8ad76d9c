"""What was held (a rate limit, labels, an error) and then had nothing to give is looked at again as any other log."""
from __future__ import annotations

import errno

from shipper.tail.file import TailFile
from tests.tail.conftest import Node, Tree, cri


async def test_a_log_that_was_empty_when_its_wait_for_labels_was_over_is_read_when_it_has_lines(tree: Tree) -> None:
    tree.write()
    node = Node(tree)
    (lineage,) = node.reader.lineages.values()
    lineage.wait_until_s = node.now + 3
    assert await node.run(8) == []
    tree.write(cri("first"))
    assert await node.run(4) == [b"first"]


async def test_a_log_whose_last_line_reached_its_rate_is_read_on_when_it_has_more(tree: Tree) -> None:
    """10,000 lines at their limit, then quiet, then one: it never came, until the next rotation."""
    tree.write(cri("line", second=1))
    node = Node(tree)
    assert await node.run(0.06) == [b"line"]
    (lineage,) = node.reader.lineages.values()
    lineage.decoder.hold_until_s = node.now + 3
    await node.run(8)
    tree.write(cri("late", second=2))
    assert await node.run(4) == [b"line", b"late"]


async def test_a_log_that_could_not_be_read_once_while_there_was_nothing_new_is_read_on(tree: Tree, monkeypatch) -> None:
    tree.write(cri("line", second=1))
    node = Node(tree)
    assert await node.run(0.06) == [b"line"]
    real, failures = TailFile.pread, [0]

    def pread(file: TailFile, size: int, offset: int) -> bytes:
        failures[0] += 1
        if failures[0] == 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(file, size, offset)

    monkeypatch.setattr(TailFile, "pread", pread)
    await node.run(8)
    assert failures[0] > 1
    tree.write(cri("late", second=2))
    assert await node.run(4) == [b"line", b"late"]
