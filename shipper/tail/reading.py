"""One read of one file. Driver: system calls on the loop when the file is read to its end, on a thread in catch-up.

Cost: a look at a quiet file is one pread; 256 KiB from the page cache 40 us; a hop to a thread 50 us, so it reads 1 MiB.
"""
from __future__ import annotations

import asyncio
import os

from aiofiles.base import wrap

from ..errors import GapReason
from ..model import FileRef, Gap, Section
from .cutter import CHUNK_BYTES
from .file import TailFile
from .identity import GUARD_BYTES, digest
from .lineage import Lineage

SMALL_READ_BYTES = 64 * 1024
BULK_READ_BYTES = 1024 * 1024

_pread_on_thread = wrap(os.pread)


async def read(file: TailFile) -> tuple[bytes, bool]:
    """(bytes behind offset and scanned, did they fill the read). Raises Changed, OSError."""
    if file.compressed:
        return await asyncio.to_thread(_read_compressed, file)
    if file.scanned:
        file.check()
        data = file.pread(CHUNK_BYTES, file.offset + file.scanned)
        return data, _full(file, data, CHUNK_BYTES)
    if file.size - file.offset < SMALL_READ_BYTES:
        data = file.read(SMALL_READ_BYTES)
        return data, _full(file, data, SMALL_READ_BYTES)
    file.check()
    data = await _pread_on_thread(file.fd, BULK_READ_BYTES, file.offset)
    return data, _full(file, data, BULK_READ_BYTES)


def _full(file: TailFile, data: bytes, wanted: int) -> bool:
    if len(data) == wanted:
        file.stat_size()
        return True
    file.size = file.proven_bytes = file.offset + file.scanned + len(data)
    return False


def _read_compressed(file: TailFile) -> tuple[bytes, bool]:
    if file.scanned:
        data = file.pread(CHUNK_BYTES, file.offset + file.scanned)
        return data, len(data) == CHUNK_BYTES
    data = file.read(BULK_READ_BYTES)
    file.size = file.offset + len(data)
    return data, len(data) == BULK_READ_BYTES


def pass_over(lineage: Lineage, file: TailFile, ref: FileRef) -> Section | None:
    """start_at: end. What is there is passed over up to its last newline, as a section without records that says so.

    A last line over 1 MiB without an end is passed over whole: the next record begins behind its newline.
    """
    file.gap_start = None
    size = file.stat_size()
    before = max(0, size - BULK_READ_BYTES)
    end = before + file.pread(BULK_READ_BYTES, before).rfind(b"\n") + 1
    if not end:
        return None
    width = min(GUARD_BYTES, end)
    guard = file.pread(width, end - width)
    file.offset, file.guard = end, guard
    gap = Gap(0, end, GapReason.START_AT_END, end)
    return Section(ref, end, end, digest(guard), None, lineage.decoder.state(), gaps=(gap,), size=size)
