"""E2 to E4 of tail/elsewhere.py by themselves; whole stories: test_renamed_into_include.py."""
from __future__ import annotations

import os
from typing import Any

import pytest

from shipper.tail import elsewhere as module
from shipper.tail.elsewhere import Busy, Elsewhere
from shipper.tail.file import TailFile
from shipper.tail.lineage import Lineage
from tests.tail.conftest import Node, Tree


class Renamed:
    """app.log was read, and is called app.1.log by now, which `include` matches too; a lineage for that name."""

    def __init__(self, tree: Tree) -> None:
        self.dir = tree.root / "app"
        self.dir.mkdir()
        self.old, self.new = self.dir / "app.log", self.dir / "app.1.log"
        tree.write(b"a line of the log\n", b"another one\n", path=self.old)
        self.node = Node(tree, kind="files", include=f"{self.dir}/*.log", form="plain")

    async def read(self) -> None:
        await self.node.run(0.2)
        self.former = self.node.reader.lineages[str(self.old)]
        os.rename(self.old, self.new)
        self.elsewhere: Elsewhere = self.node.reader._elsewhere
        reader, of = self.node.reader, self.former
        source = type(of.source)("files", "c", str(self.new), str(self.new), "n1")
        self.mine = Lineage(source, of.settings, reader._make_decoder(source, of.settings), self.node.directory,
                            reader.claim, self.elsewhere)

    def opened(self) -> TailFile:
        stat = self.new.stat()
        file = TailFile(str(self.new), stat.st_dev, stat.st_ino, live=True, compressed=False)
        file.attach(os.open(self.new, os.O_RDONLY))
        return file


@pytest.fixture
async def renamed(tree: Tree) -> Renamed:
    found = Renamed(tree)
    await found.read()
    return found


async def test_e2_a_file_that_was_read_goes_on_and_is_the_other_s_no_more(renamed: Renamed) -> None:
    ref = renamed.former.files[0].ref
    file = renamed.opened()
    section = renamed.elsewhere.take(renamed.mine, file)
    assert section is not None and ref is not None and file.ref is not None
    assert (file.ref.key, file.offset, section.start, section.end) == (ref.key, 30, 30, 30)
    assert renamed.former.files == [] and file.ref.source is renamed.mine.source


@pytest.mark.parametrize("why", ["unread", "open", "waiting", "closed"])
async def test_e2_as_long_as_the_other_is_not_ready_with_it_it_stays_there(renamed: Renamed, why: str) -> None:
    former: Any = renamed.former
    (tracked,) = former.files
    if why == "unread":
        with open(renamed.new, "ab") as log:
            log.write(b"unread\n")
    elif why == "open":
        former.decoder.opened.begin(b"", tracked.ref.key, 0, 5, b"", b"begun", 0.0)
    elif why == "waiting":
        former.outbox.append(object())
    else:
        tracked.close()
    with pytest.raises(Busy):
        renamed.elsewhere.take(renamed.mine, renamed.opened())
    assert former.files == [tracked]


async def test_e3_a_file_with_two_names_is_nobody_s_but_its_own(renamed: Renamed) -> None:
    os.link(renamed.new, renamed.dir / "second name")
    assert renamed.elsewhere.take(renamed.mine, renamed.opened()) is None and len(renamed.former.files) == 1


async def test_e4_files_that_are_gone_are_not_remembered_for_ever(renamed: Renamed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NOTED", 10)
    renamed.elsewhere._most = 10
    for inode in range(1000):
        renamed.mine.files = [TailFile("/gone", 1, inode, live=False, compressed=False)]
        renamed.elsewhere.note(renamed.mine)
    assert len(renamed.elsewhere._owner) <= 11
