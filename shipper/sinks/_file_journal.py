"""What the file sink is about to do to files that no durable state knows yet: `state_dir/sinks/<name>.json`, JSON lines.

    {"path":..,"length":n,"inode":i,"generation":g}                 before the first write to a file: how long it was
    {"path":..,"rotated_to":..,"inode":i,"generation":g}            before a file is renamed

`generation` is that of the newest state that had been given out. After a crash the state of generation k counts; of a file that
is not in it, a mark with generation >= k says how long it was then.

Invariants:
  JO1  a mark is durable when `append` returns, and the first write or the rename it announces comes after that
  JO2  a mark is dropped only when a state of a later generation is durable, and what it announced is finished
  JO3  a line that does not parse was torn by a crash: what it announced never began
Driver, on the sink's thread.
"""
from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from .. import exact_json
from ._file_disk import Disk


class Mark(NamedTuple):
    """`length` of a file before its first write, or `rotated_to` and what it is renamed to."""

    path: str
    inode: int
    generation: int
    length: int = 0
    rotated_to: str = ""

    def line(self) -> bytes:
        kind = {"rotated_to": self.rotated_to} if self.rotated_to else {"length": self.length}
        return exact_json.dumps({"path": self.path, **kind, "inode": self.inode, "generation": self.generation}) + b"\n"


def parse(line: bytes) -> Mark | None:
    """None for what is no mark (JO3)."""
    try:
        data = exact_json.loads(line)
        return Mark(str(data["path"]), int(data["inode"]), int(data["generation"]), int(data.get("length", 0)),
                    str(data.get("rotated_to", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Journal:
    """The marks that may be needed after a crash. `load` comes first."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk, self._path, self._descriptor = disk, path, -1
        self.marks: list[Mark] = []

    def load(self) -> None:
        """Read what is on disk. May be called again. Synced first: the last mark may have been written and not synced by a
        process that was killed, and what is trusted here must survive a power cut."""
        self.close()
        self._descriptor = self._open(self._path)
        self._disk.sync(self._descriptor)
        data = self._disk.read(self._descriptor, self._disk.look_at(self._descriptor).size_bytes, 0)
        self._disk.sync_names()
        self.marks = [mark for mark in map(parse, data.split(b"\n")) if mark is not None]

    def append(self, marks: Iterable[Mark]) -> None:
        """JO1. A newline comes first: what an append that failed has left is a line of its own."""
        added = list(marks)
        if added:
            self._disk.append(self._descriptor, [b"\n", *[mark.line() for mark in added]])
            self._disk.sync(self._descriptor)
            self.marks += added

    def keep(self, marks: list[Mark]) -> None:
        """Go on with these alone: a new file beside the old one, then renamed over it."""
        temp_path = self._path + ".tmp"
        descriptor = self._open(temp_path)
        try:
            self._disk.truncate(descriptor, 0)
            self._disk.append(descriptor, [mark.line() for mark in marks])
            self._disk.sync(descriptor)
            self._disk.rename(os.path.dirname(self._path), temp_path, self._path)
        except BaseException:
            self._disk.close(descriptor)
            raise
        self.close()
        self._descriptor, self.marks = descriptor, marks

    def close(self) -> None:
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1

    def _open(self, path: str) -> int:
        return self._disk.open(os.path.dirname(self._path), path, make=True)
