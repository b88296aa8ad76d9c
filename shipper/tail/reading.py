"""One read of one file. Driver: system calls on the loop for what is in the page cache, on a thread for what a disk has to fetch.

Cost: a look at a quiet file is one pread; 256 KiB from the page cache 40 us. In catch-up the page cache is asked with
RWF_NOWAIT, which never waits for a disk; only what it does not hold takes the hop to a thread (50 us, so it reads 1 MiB).
Bytes that a thread has copied lie in the other core's cache: reading all on threads costs a sixth more CPU.
"""
from __future__ import annotations

import asyncio
import errno
import os

from ..model import FileRef, Gap, Section
from .cutter import CHUNK_BYTES
from .file import TailFile
from .identity import GUARD_BYTES, digest
from .lineage import Lineage

SMALL_READ_BYTES = 64 * 1024
BULK_READ_BYTES = 1024 * 1024
CACHED_READ_BYTES = CHUNK_BYTES
OLD_LINE_BYTES = 16 * 1024 * 1024

_scratch = memoryview(bytearray(CACHED_READ_BYTES))
_without_nowait: set[int] = set()


async def _pread_on_thread(fd: int, size: int, offset_bytes: int) -> bytes:
    from aiofiles.base import wrap  # 5 ms to import, of which most agents start without: where a disk is waited for

    return bytes(await wrap(os.pread)(fd, size, offset_bytes))


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
    cached = _cached(file)
    if cached is not None:
        return cached, _full(file, cached, CACHED_READ_BYTES) or file.offset + len(cached) < file.stat_size()
    data = await _pread_on_thread(file.fd, BULK_READ_BYTES, file.offset)
    return data, _full(file, data, BULK_READ_BYTES)


def _cached(file: TailFile) -> bytes | None:
    """What the page cache holds behind the offset, read without waiting for a disk; None where it holds nothing."""
    if file.device in _without_nowait:
        return None
    try:
        size = os.preadv(file.fd, [_scratch], file.offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        _without_nowait.add(file.device)                  # a file system without it: threads, as for cold files
        return None
    return bytes(_scratch[:size])


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
    """What was there at the first look (start_at: end), or was read before a power cut, is passed over up to its last newline,
    as a section without records that says so.

    Where the last OLD_LINE_BYTES of it hold no newline, all of it is, and what is still to come of that line (`pass_over_line`).
    """
    size = min(file.old_bytes, file.stat_size())
    end = _last_newline(file, size)
    width = min(GUARD_BYTES, end)
    guard = file.pread(width, end - width) if end else b""
    file.old_bytes = 0                                    # behind the reads: where the disk fails it is still to be passed over
    if not end:
        return None
    file.offset, file.guard = end, guard
    gap = Gap(0, end, file.old_because, end)
    file.in_old_line = not guard.endswith(b"\n")
    file.passed = Section(ref, end, end, digest(guard), None, lineage.decoder.state(), gaps=(gap,), size=size)
    return file.passed


def pass_over_line(lineage: Lineage, file: TailFile, ref: FileRef, data: bytes) -> Section:
    """`data` up to the end of the line in whose middle start_at: end began, or all of it, as a section without records. After a
    restart nobody knows of that line any more: its end is a record."""
    used = data[: data.find(b"\n") + 1] or data
    start = file.offset
    file.advance(used, len(used))
    file.in_old_line = not used.endswith(b"\n")
    file.rest_bytes = 0
    gap = Gap(start, file.offset, file.old_because, len(used))
    return Section(ref, file.offset, file.offset, digest(file.guard or b""), None, lineage.decoder.state(), gaps=(gap,),
                   size=max(file.size, file.offset))


def _last_newline(file: TailFile, size: int) -> int:
    """The end of the last whole line in front of `size`; 0 where the first one is not complete."""
    high = size
    while high > 0 and size - high < OLD_LINE_BYTES:
        low = max(0, high - BULK_READ_BYTES)
        end = file.pread(high - low, low).rfind(b"\n") + 1
        if end:
            return low + end
        high = low
    return size if high else 0
