"""copytruncate, gzip of the copies, looks and kills in any order: nothing comes twice, and only lines that are in no file are
missing."""
from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest

from tests.tail.conftest import Node, Tree


class Log:
    """app.log under logrotate with copytruncate and compress: app.log.1 (plain), app.log.2.gz, ..."""

    def __init__(self, tmp_path: Path) -> None:
        self.tree = Tree(tmp_path / "log")
        self.live = self.tree.root / "app.log"
        self.number = 0
        self.only_here: list[bytes] = []

    def write(self, count: int) -> list[bytes]:
        texts = [b"%06d a line of this log" % (self.number + n) for n in range(count)]
        self.number += count
        self.tree.write(*(text + b"\n" for text in texts), path=self.live)
        return texts

    def copy(self) -> None:
        first = self.live.with_name("app.log.1")
        for old in range(4, 1, -1):
            name = self.live.with_name(f"app.log.{old}.gz")
            if name.exists():
                os.rename(name, self.live.with_name(f"app.log.{old + 1}.gz"))
        if first.exists():
            self.compress()
        first.write_bytes(self.live.read_bytes())

    def compress(self) -> None:
        first, packed = self.live.with_name("app.log.1"), self.live.with_name("app.log.2.gz")
        packed.write_bytes(gzip.compress(first.read_bytes()))
        seen = first.stat()
        os.utime(packed, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        first.unlink()


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_comes_twice_and_only_what_is_in_no_file_is_missing(tmp_path: Path, seed: int) -> None:
    rng, log = random.Random(seed), Log(tmp_path)
    log.write(3)
    node = Node(log.tree, kind="files", include=str(log.live), form="plain")
    may_miss: set[bytes] = set()
    for _ in range(40):
        action = rng.choice(["write", "write", "rotate", "kill", "run", "run"])
        if action == "write":
            log.write(rng.randint(10, 90))
        elif action == "rotate":
            if log.live.stat().st_size <= 1024:              # a copy that is shorter than a head tells too little
                continue
            log.copy()
            if rng.random() < 0.5:
                await node.run(0.1)
            if rng.random() < 0.7:
                may_miss |= set(log.write(rng.randint(1, 30)))       # behind the copy, in front of the cut
                if rng.random() < 0.7:
                    await node.run(rng.choice([0.1, 3.0]))
            os.truncate(log.live, 0)
            log.write(rng.randint(0, 20))
        elif action == "kill":
            node.restart()
        else:
            await node.run(rng.choice([0.1, 3.0]))
    await node.run(40.0)
    node.restart()
    got = await node.run(3.0)
    wanted = {b"%06d a line of this log" % n for n in range(log.number)}
    assert len(got) == len(set(got)), sorted(text for text in set(got) if got.count(text) > 1)[:3]
    gone = {text for text in wanted - set(got) if text not in may_miss}
    assert gone == set(), sorted(gone)[:3]
