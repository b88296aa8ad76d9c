"""A node's log tree in a temporary directory, and a reader on it whose clock the test turns."""
from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from shipper.agent.directory import NodeDirectory
from shipper.agent.formats import DecodeFormats, decoder_for
from shipper.decode import Budget
from shipper.discover.lineage import SourceSpec
from shipper.discover.scan import Discoverer
from shipper.tail.driver import Reader
from shipper.tail.ports import Settings
from shipper.telemetry import Telemetry
from tests.support.fake_buffer import FakeBuffer

UID = "0a1b2c3d-1111-2222-3333-444455556666"


def cri(message: str, *, second: int = 0, tag: str = "F", stream: str = "stdout", nanos: int = 1) -> bytes:
    return f"2026-11-20T09:{second // 60:02d}:{second % 60:02d}.{nanos:09d}Z {stream} {tag} {message}\n".encode()


class Tree:
    """/var/log of a node. One pod `web-0` in `default` with container `web`, unless told otherwise."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pods, self.links = root / "pods", root / "containers"
        self.links.mkdir(parents=True)
        self.pods.mkdir()
        self.dir = self.pod("web-0")
        self.log = self.dir / "0.log"

    def pod(self, pod: str, namespace: str = "default", container: str = "web", uid: str = UID) -> Path:
        directory = self.pods / f"{namespace}_{pod}_{uid}" / container
        directory.mkdir(parents=True)
        link = self.links / f"{pod}_{namespace}_{container}-{'a' * 64}.log"
        link.symlink_to(directory / "0.log")
        return directory

    def write(self, *lines: bytes, path: Path | None = None) -> None:
        with open(path or self.log, "ab") as file:
            file.write(b"".join(lines))

    def rotate(self, stamp: str, *, compress: str | None = None) -> Path:
        """As the kubelet: gzip the plain rotated one named by `compress`, then rename the live file."""
        if compress:
            plain = self.dir / f"0.log.{compress}"
            (self.dir / f"0.log.{compress}.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        target = self.dir / f"0.log.{stamp}"
        os.rename(self.log, target)
        return target


class Node:
    """A reader (and its restarts) over a Tree. `run` turns the clock until nothing moves any more."""

    def __init__(self, tree: Tree, *, start_at: str = "beginning", max_line: int = 1 << 20, kind: str = "containers",
                 include: str | None = None, form: str = "auto", max_open: int = 1000) -> None:
        self.tree, self.telemetry = tree, Telemetry()
        self.buffer = FakeBuffer()
        self.now = 1000.0
        self.settings = Settings("c", form, start_at, max_line, 1 << 20, 2.0, (os.path.realpath(tree.root),), kind == "files")
        self.kind, self.include, self.max_open = kind, include or str(tree.links / "*.log"), max_open
        self.start(first=True)

    def start(self, *, first: bool = False) -> None:
        spec = SourceSpec("c", self.kind, (self.include,), (), (str(self.tree.root),), "n1", None)
        self.discoverer = Discoverer([spec], self.telemetry)
        self.directory = NodeDirectory(self.discoverer, None)
        self.reader = Reader(
            self.buffer, self.directory, DecodeFormats(), decoder_for(Budget()), self.telemetry,
            max_open_files=self.max_open, now_s=lambda: self.now,
        )
        self.scan(skip_old=first and self.settings.start_at == "end")
        self.reader.complete = True

    def scan(self, *, skip_old: bool = False) -> None:
        changes = self.discoverer.scan()
        for logfile in changes.appeared:
            self.directory.files[logfile.source.lineage] = logfile
            self.reader.add(logfile.source, self.settings, skip_old=skip_old)
        for logfile in changes.changed:
            self.reader.changed(logfile.source.lineage)
        for logfile in changes.vanished:
            self.reader.vanish(logfile.source.lineage)

    def restart(self) -> None:
        """kill -9: all that is left is what the frames said."""
        for lineage in list(self.reader.lineages.values()):
            for file in [*lineage.files, *lineage.done]:
                file.close()
        self.start()

    async def run(self, seconds: float = 3.0) -> list[bytes]:
        """Look, read, and let `seconds` pass; all messages so far."""
        end = self.now + seconds
        self.scan()
        while self.now < end:
            for _ in range(1000):
                if not await self.reader.step():
                    break
                self.now += 0.001
            self.now += 0.05
        return self.buffer.messages


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "log")
