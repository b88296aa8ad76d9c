"""Rotations of every kind, new versions, compression, late writes and restarts in any order, with and without a look in between:
each line comes once. What a writer does that nobody could follow (a truncation without a copy) is not among them."""
from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.tail.conftest import Node, Tree

CHANGES = (
    "append", "append", "rename", "write late", "compress", "copytruncate", "replace", "replace", "restart", "look", "wait",
)


class Story:
    """One log, and what happens to it."""

    def __init__(self, tree: Tree, rng: random.Random) -> None:
        self.tree, self.rng, self.app, self.written = tree, rng, tree.root / "app.log", 0
        self.widths = (0,) if rng.random() < 0.5 else (10, 300, 3000)
        self.rotated: list[Path] = []
        self.renamed = False                              # just now: its writer may not have noticed
        self.app.write_bytes(self.lines(0, 5))
        self.node = Node(tree, kind="files", include=str(self.app), form="plain")

    def lines(self, least: int, most: int) -> bytes:
        made = b""
        for _ in range(self.rng.randint(least, most)):
            minute, second = divmod(self.written, 60)
            made += b"2026-11-20T09:%02d:%02d %06d %s\n" % (minute, second, self.written, b"x" * self.rng.choice(self.widths))
            self.written += 1
        return made

    def add(self, path: Path, lines: bytes) -> None:
        with path.open("ab") as file:
            file.write(lines)

    def next_name(self) -> Path:
        self.rotated.append(Path(f"{self.app}.20261120-{len(self.rotated):06}"))
        return self.rotated[-1]

    async def change(self, what: str) -> None:
        there = self.app.exists() and self.app.stat().st_size > 0
        last = self.rotated[-1] if self.rotated and self.rotated[-1].exists() else None
        renamed, self.renamed = self.renamed, False
        if what == "append":
            self.add(self.app, self.lines(1, 4))
        elif what == "rename" and there:
            self.app.rename(self.next_name())
            self.renamed = True
            if self.rng.random() < 0.7:
                self.app.write_bytes(self.lines(0, 3))
        elif what == "write late" and renamed and last is not None:
            self.add(last, self.lines(1, 1))
        elif what == "compress" and last is not None:
            await self.node.run(1)
            Path(f"{last}.gz").write_bytes(gzip.compress(last.read_bytes()))
            last.unlink()
        elif what == "copytruncate" and there:
            self.next_name().write_bytes(self.app.read_bytes())
            os.truncate(self.app, 0)
            self.add(self.app, self.lines(0, 2))
            await self.node.run(1)
        elif what == "replace" and there:
            beside = self.tree.root / ".app.log.Xy12"
            beside.write_bytes(self.app.read_bytes() + self.lines(0, 3))
            beside.rename(self.app)
        elif what == "restart":
            self.node.restart()
        elif what in ("look", "wait"):
            await self.node.run(3 if what == "look" else 40)

    async def told(self) -> Counter[int]:
        self.add(self.app, self.lines(1, 1))
        await self.node.run(60)
        return Counter(int(message.split()[1]) for message in self.node.buffer.messages)


async def tell(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    story = Story(Tree(root / str(seed)), rng)
    told = []
    for _ in range(rng.randint(3, 14)):
        told.append(rng.choice(CHANGES))
        await story.change(told[-1])
    assert await story.told() == Counter(range(story.written)), (seed, told)
    for lineage in story.node.reader.lineages.values():
        for file in [*lineage.files, *lineage.done]:
            file.close()


async def test_each_line_comes_once(tmp_path: Path) -> None:
    for seed in range(25):
        await tell(tmp_path, seed)


@pytest.mark.long
async def test_each_line_comes_once_in_a_thousand_stories(tmp_path: Path) -> None:
    for seed in range(1000, 2000):
        await tell(tmp_path, seed)
