"""Zeros where a line should begin: nobody wrote them. Driver: asks the file system where its data go on.

    a writer without O_APPEND, its log cut by copytruncate ──► a hole up to where it writes on: passed over, as a gap
    preallocated, or cut by a power failure                ──► zeros to the end of the file: somebody may write there yet

Taken for a line they were 10 s of CPU a GiB, and the first line behind them was cut away as the end of a long one.

Invariants:
  ZR1  zeros are passed over only where something else follows them; until then the file waits in front of them
  ZR2  what is passed over is declared (P1); fewer than LEAST_BYTES are part of their line
"""
from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..errors import GapReason
from ..model import FileRef, Gap, Section
from .file import TailFile
from .identity import GUARD_BYTES, HEAD_BYTES, digest

if TYPE_CHECKING:
    from .lineage import Lineage

LEAST_BYTES = 4096                                        # a block: nobody logs so many
STEP_BYTES = 1024 * 1024
STEPS = 16

_LEAST = bytes(LEAST_BYTES)


def are_zeros(head: bytes) -> bool:
    """May this be the beginning of zeros, and its file have no first line yet?"""
    return len(head) == HEAD_BYTES and not head.strip(b"\0")


def stand_at_line(lineage: Lineage, file: TailFile, data: bytes) -> bool:
    """`data` was read behind the offset: does a line begin there, with zeros?"""
    return data.startswith(_LEAST) and not file.scanned and lineage.decoder.skipping is None


def without_zeros(data: bytes) -> bytes:
    """`data` up to its last line's end, where what follows ends in zeros: they may be the beginning of more of them."""
    return data[: data.rfind(b"\n") + 1] or data if data.endswith(b"\0") else data


def pass_over_zeros(lineage: Lineage, file: TailFile, ref: FileRef, end: int) -> Section:
    """A section without records that says so (ZR2); the file stands at `end` then."""
    gap = Gap(file.offset, end, GapReason.ZEROS, end - file.offset)
    guard = file.pread(GUARD_BYTES, end - GUARD_BYTES)
    file.offset, file.guard, file.rest_bytes = end, guard, 0
    return Section(ref, end, end, digest(guard), None, lineage.decoder.state(), gaps=(gap,), size=max(file.size, end))


def end_of_zeros(file: TailFile, data: bytes) -> int | None:
    """Where something else stands; None where nothing follows yet (ZR1). `data`: the first of them, behind the offset."""
    at = file.offset + _zeros(data)
    if at < file.offset + len(data) or file.compressed:   # nobody writes into a .gz
        return at
    size = file.stat_size()
    for _ in range(STEPS):
        data_at = _data_from(file.fd, at)
        data = file.pread(STEP_BYTES, data_at) if data_at is not None else b""
        if data_at is None or not data:
            return None
        at = data_at + _zeros(data)
        if at < data_at + len(data):
            return at
    return at if file.pread(1, size - 1) != b"\0" else None


def _zeros(data: bytes) -> int:
    return len(data) - len(data.lstrip(b"\0"))


def _data_from(fd: int, offset: int) -> int | None:
    """Where the data behind a hole begin; `offset` itself where the file system has no holes, None where nothing follows."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return offset
