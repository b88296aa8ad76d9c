"""A disk that fails while a line is being cut costs a second, not the reader, and no line."""
from __future__ import annotations

import errno

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
