"""What is sent by the Storage Write API while it grows, and when it is planned: blocks of rows in one spool file.

    file        rows of block 0 | rows of block 1 | ... | ids of block 0 | ids of block 1 ...
    a block     one append: [rows start, rows bytes, ids start, ids bytes, rows, [indexes of dead rows]], in the manifest

Invariants (tests/sinks/test_bigquery_write.py):
  BR1  a request is in the range once, however often it is appended (a cancelled send comes again with its number)
  BR2  what failed once is broken, and made anew
  BR3  a sealed file is on disk, and its size and crc32 are those of all its bytes
  BR4  blocks never change once a manifest names them but by rows that are found dead, and by being halved after a refusal as a
       whole; the manifest says so first
The range is called on the sink's thread.
"""
from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..encode.bigquery_proto import Rows, split_rows
from ._plan_store import PlanStore

BLOCK_BYTES = 1024 * 1024


@dataclass(slots=True)
class Block:
    """`tried`: it may have been sent to the stream that it belongs to now."""

    start: int
    rows_bytes: int
    ids_start: int
    ids_bytes: int
    count: int
    dead: list[int] = field(default_factory=list)
    tried: bool = False

    @property
    def live(self) -> int:
        return self.count - len(self.dead)

    def to_json(self) -> list[Any]:
        return [self.start, self.rows_bytes, self.ids_start, self.ids_bytes, self.count, self.dead]

    def living(self) -> list[int]:
        """Indexes in the block of the rows that are sent, in their order."""
        gone = set(self.dead)
        return [index for index in range(self.count) if index not in gone]


class _HasRows(Protocol):
    @property
    def rows(self) -> Sequence[Rows]: ...


@dataclass(slots=True)
class Range:
    """`began_s`: when its first request came; `began_bytes`: Plans.sent_bytes before it."""

    store: PlanStore
    number: int
    table: str
    descriptor: bytes
    began_s: float
    began_bytes: int
    blocks: list[Block] = field(default_factory=list)
    last_request: int = 0
    size_bytes: int = 0
    crc32: int = 0
    broken: bool = False
    void: bool = False
    _ids: list[list[bytes]] = field(default_factory=list)
    _descriptor: int = -1

    @property
    def path(self) -> str:
        return self.store.path(self.number, 0)

    def append(self, request: int, payload: _HasRows) -> None:
        """BR1, BR2. OSError where the disk does not take it."""
        if request <= self.last_request:
            return
        if self.broken:
            raise OSError(5, "a write before this one failed", self.store.directory)
        self.broken = True
        if self._descriptor < 0:
            self._descriptor = self.store.create(self.path)
        for piece in payload.rows:
            self._grow(piece)
        self.broken = False
        self.last_request = request

    def _grow(self, piece: Rows) -> None:
        last = self.blocks[-1] if self.blocks else None
        if last is None or last.rows_bytes + len(piece.data) > BLOCK_BYTES:
            last = Block(self.size_bytes, 0, 0, 0, 0)
            self.blocks.append(last)
            self._ids.append([])
        self._write(piece.data)
        last.rows_bytes += len(piece.data)
        last.count += piece.records
        self._ids[-1].append(piece.ids)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view):]
        self.crc32 = zlib.crc32(data, self.crc32)
        self.size_bytes += len(data)

    def seal(self) -> None:
        """BR3. Once."""
        if self.broken:
            raise OSError(5, "a write before this one failed", self.store.directory)
        self.broken = True
        for block, ids in zip(self.blocks, self._ids):
            joined = b"".join(ids)
            block.ids_start, block.ids_bytes = self.size_bytes, len(joined)
            self._write(joined)
        os.fsync(self._descriptor)
        self._close()
        self._ids.clear()
        self.broken = False

    def discard(self) -> None:
        """It was made in vain; what it held is sent again."""
        self.void = self.broken = True
        self._close()
        self.store.discard(self.number, 1)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def read_rows(path: str, block: Block, skip: int) -> bytes:
    """The block's living rows but for the first `skip` of them: ProtoRows."""
    data = _read(path, block.start, block.rows_bytes)
    if not block.dead and not skip:
        return data
    rows = split_rows(data)
    return b"".join([rows[index] for index in block.living()[skip:]])


def halves(path: str, block: Block, skip: int) -> list[Block]:
    """Two blocks in the place of one: the same rows at the same places, in two appends. At least two are sent: see read_rows."""
    living = block.living()[skip:]
    at = living[len(living) // 2]
    rows_bytes = sum(map(len, split_rows(_read(path, block.start, block.rows_bytes))[:at]))
    ids_bytes = sum([len(one) + 1 for one in _read(path, block.ids_start, block.ids_bytes).split(b"\n")[:at]])
    return [
        Block(block.start, rows_bytes, block.ids_start, ids_bytes, at, [row for row in block.dead if row < at]),
        Block(block.start + rows_bytes, block.rows_bytes - rows_bytes, block.ids_start + ids_bytes, block.ids_bytes - ids_bytes,
              block.count - at, [row - at for row in block.dead if row >= at])]


def read_ids(path: str, block: Block) -> list[str]:
    """Of all rows of the block, dead ones too."""
    return _read(path, block.ids_start, block.ids_bytes).decode("utf-8", "replace").split("\n")[:-1]


def _read(path: str, start: int, size_bytes: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, size_bytes, start)
    finally:
        os.close(descriptor)
    if len(data) != size_bytes:
        raise OSError(5, "the spool file is shorter than its manifest says", path)
    return data


def measure(path: str) -> tuple[int, int]:
    """(size, crc32) of a file; (-1, 0) where there is none."""
    size_bytes = crc32 = 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1024 * 1024):
                crc32 = zlib.crc32(chunk, crc32)
                size_bytes += len(chunk)
    except FileNotFoundError:
        return -1, 0
    return size_bytes, crc32
