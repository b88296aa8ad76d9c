"""The objects of one range while they grow: one compressed spool file per prefix, with its crc32c. Called on the sink's thread.

    append(n, [(prefix, pieces)]) ─► compressor ─► spool file + crc32c          seal ─► compressor's end, fsync, closed
                                     (more than `most_open`: ended at once)

Invariants:
  RG1  a request is in the range once, however often it is appended (a cancelled send comes again with its number)
  RG2  what failed once is broken: a stream cannot be cut back to where a request began, so the range is made anew
  RG3  a sealed file is on disk, and its size and crc32c are those of all its bytes
  RG4  at most `most_open` files are open between two requests, and one more within one: a request of a thousand prefixes costs
       no thousand compressors. An object that was ended and gets more goes on as a second member (gzip and zstd know them)
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._http_body import compressor, few_at_once
from ._plan_store import PlanStore

Payload = Sequence[tuple[str, Sequence[bytes]]]


@dataclass(slots=True)
class Growing:
    """One object. `descriptor` < 0: sealed."""

    prefix: str
    path: str
    descriptor: int
    stream: Any
    size_bytes: int = 0
    crc32c: int = 0
    records_bytes: int = 0


@dataclass(slots=True)
class Range:
    """`began_s`: when its first request came; `began_bytes`: Plans.sent_bytes before it. `objects`: in the order of their files.
    Other threads may look at the numbers, at len(objects) and by_prefix, while `append` runs."""

    store: PlanStore
    number: int
    compression: str
    began_s: float
    began_bytes: int
    most_open: int = 1000
    objects: list[Growing] = field(default_factory=list)
    by_prefix: dict[str, Growing] = field(default_factory=dict)
    last_request: int = 0
    broken: bool = False
    void: bool = False
    largest_bytes: int = 0
    _open: int = 0

    def append(self, request: int, payload: Payload) -> None:
        """RG1, RG2. OSError where the disk does not take it."""
        if request <= self.last_request:
            return
        if self.broken:
            raise OSError(5, "a write before this one failed", self.store.directory)
        self.broken = True
        for prefix, pieces in payload:
            growing = self._object(prefix)
            self._grow(growing, pieces)
            if self._open > self.most_open:
                self._end(growing)                  # RG4
        self.broken = False
        self.last_request = request

    def _object(self, prefix: str) -> Growing:
        found = self.by_prefix.get(prefix)
        if found is None:
            path = self.store.path(self.number, len(self.objects))
            found = Growing(prefix, path, self.store.create(path), self._compressor())
            self.objects.append(found)
            self.by_prefix[prefix] = found
            self._open += 1
        elif found.descriptor < 0:
            found.descriptor, found.stream = self.store.reopen(found.path), self._compressor()
            self._open += 1
        return found

    def _compressor(self) -> Any:
        return None if self.compression == "none" else compressor(self.compression)

    def _grow(self, growing: Growing, pieces: Sequence[bytes]) -> None:
        for piece in pieces if growing.stream is None else few_at_once(pieces):
            growing.records_bytes += len(piece)
            self._write(growing, piece if growing.stream is None else growing.stream.compress(piece))

    def _write(self, growing: Growing, data: bytes) -> None:
        if not data:
            return
        view = memoryview(data)
        while view:
            view = view[os.write(growing.descriptor, view) :]
        growing.crc32c = extend_crc32c(growing.crc32c, data)
        growing.size_bytes += len(data)
        self.largest_bytes = max(self.largest_bytes, growing.size_bytes)

    def seal(self) -> None:
        """RG3. Once."""
        if self.broken:
            raise OSError(5, "a write before this one failed", self.store.directory)
        for growing in self.objects:
            if growing.descriptor >= 0:
                self._end(growing)

    def _end(self, growing: Growing) -> None:
        if growing.stream is not None:
            self._write(growing, growing.stream.flush())
            growing.stream = None
        os.fsync(growing.descriptor)
        os.close(growing.descriptor)
        growing.descriptor = -1
        self._open -= 1

    def discard(self) -> None:
        """It was made in vain; what it held is sent again."""
        self.void = self.broken = True
        self._close()
        self.store.discard(self.number, len(self.objects))

    def _close(self) -> None:
        for growing in self.objects:
            if growing.descriptor >= 0:
                os.close(growing.descriptor)
                growing.descriptor = -1

    @property
    def size_bytes(self) -> int:
        return sum(growing.size_bytes for growing in self.objects[:])


def extend_crc32c(crc32c: int, data: bytes) -> int:
    """The checksum of what `crc32c` was made of, and `data` behind it."""
    from google_crc32c import extend

    return int(extend(crc32c, data))


def measure(path: str) -> tuple[int, int]:
    """(size, crc32c) of a file; (-1, 0) where there is none."""
    size_bytes = crc32c = 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1024 * 1024):
                crc32c = extend_crc32c(crc32c, chunk)
                size_bytes += len(chunk)
    except FileNotFoundError:
        return -1, 0
    return size_bytes, crc32c
