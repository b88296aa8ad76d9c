"""The kernel's ring: /dev/kmsg, a record a read. Driver, and the parse of its records (pure).

    6,1234,5678901,-;message\\n SUBSYSTEM=pci\\n DEVICE=+pci:0000:00:01.0\\n        (Documentation/ABI/testing/dev-kmsg)
    │ │    └ us since boot    └ one line; bytes that are not printable stand as \\x0a
    │ └ sequence number: of this boot, without holes
    └ facility * 8 + priority

Invariants (tests/journal/test_kmsg.py):
  K1  a cursor is boot id and sequence number; numbers that are missing were overwritten, of this boot they are counted
  K2  a record has the same time whenever it is read: the cursor carries the wall clock at the boot, as it was first thought to be
  K3  what is no record of the kernel's is left out, never an error: the device is the kernel's, a test's file is not
"""
from __future__ import annotations

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Callable

from .export import MESSAGE, Entry
from .journalctl import BOOT_ID, QUIET_S
from .places import Place, place_of
from .ports import Trouble
from .records import CURSOR, PRIORITY, REALTIME

MOST_RECORD_BYTES = 8192
READ_RECORDS = 500
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def entry_of(record: bytes, boot: str, boot_us: int) -> Entry | None:
    """What one read gave, as the journal would have it. `boot_us`: wall clock at the boot."""
    head, found, rest = record.partition(b";")
    parts = head.split(b",")
    if not found or len(parts) < 3 or not all(part.isdigit() and len(part) < 19 for part in parts[:3]):
        return None
    priority, number, monotonic_us = map(int, parts[:3])
    message = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), rest.partition(b"\n")[0])
    cursor = f"s={boot};i={number:x};b={boot};m={monotonic_us:x};t={boot_us:x};x={number:x}"
    return {
        CURSOR: cursor.encode(), REALTIME: b"%d" % (boot_us + monotonic_us), PRIORITY: b"%d" % (priority & 7), MESSAGE: message,
    }


def boot_id() -> str:
    """Of the boot that the machine runs."""
    with open(BOOT_ID) as file:
        return file.read().strip().replace("-", "")


def boot_us() -> int:
    """Wall clock at the boot, in us since 1970, as far as the kernel's own clock (CLOCK_MONOTONIC) tells."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 1000


def booted_us_of(cursor: str, boot: str) -> int:
    """The wall clock at this boot, as `cursor` has it; 0 where it is of another one (K2)."""
    if not cursor or place_of(cursor).boot != boot:
        return 0
    return int(dict(part.split("=", 1) for part in cursor.split(";") if "=" in part).get("t", "0"), 16)


class Kmsg:
    """See ports.Backend."""

    def __init__(self, path: str, boot: Callable[[], str] = boot_id, booted_us: Callable[[], int] = boot_us) -> None:
        self._path, self._boot, self._booted_us = path, boot, booted_us

    async def stream(self, cursor: str, *, follow: bool) -> KmsgStream:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Trouble(f"{self._path} cannot be opened: {error.strerror}; it needs CAP_SYSLOG, and a container the device "
                          "itself; or remove this source") from None
        boot = self._boot()
        return KmsgStream(fd, self._path, boot, booted_us_of(cursor, boot) or self._booted_us(), follow)

    async def backwards(self, cursor: str) -> ListStream:
        """The ring is small: all of it up to the cursor's record, turned round."""
        wanted, found = place_of(cursor), list[Entry]()
        stream = await self.stream(cursor, follow=False)
        try:
            while (entries := await stream.read()) is not None:
                found += entries
        finally:
            await stream.close()
        return ListStream([entry for entry in found if _is_behind(wanted, place_of(entry[CURSOR]))][::-1])

    async def first_at(self, cursor: str) -> Entry | None:
        """The oldest record of the ring that is not in front of the cursor."""
        return await self._find(place_of(cursor))

    async def newest(self) -> Entry | None:
        return await self._find(None)

    async def _find(self, wanted: Place | None) -> Entry | None:
        stream = await self.stream("", follow=False)
        newest: Entry | None = None
        try:
            while (entries := await stream.read()) is not None:
                for entry in entries:
                    newest = entry
                    if wanted is not None and _reaches(place_of(entry[CURSOR]), wanted):
                        return entry
            return newest if wanted is None else None
        finally:
            await stream.close()

    def place_of(self, cursor: str | bytes) -> Place:
        return place_of(cursor)


class ListStream:
    """See ports.Stream; of entries that are there."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries: list[Entry] | None = entries

    def interrupt(self) -> None:
        """It never waits."""

    async def read(self, quiet_s: float = QUIET_S) -> list[Entry] | None:
        entries, self._entries = self._entries, None
        return entries

    async def close(self) -> None:
        """Nothing is open."""


def _is_behind(newest: Place, place: Place) -> bool:
    return place.numbering == newest.numbering and place.number <= newest.number


def _reaches(place: Place, wanted: Place) -> bool:
    return place.boot != wanted.boot or place.number >= wanted.number


class KmsgStream:
    """See ports.Stream. Begins at the oldest record of the ring: what was read is passed over by who reads."""

    def __init__(self, fd: int, path: str, boot: str, booted_us: int, follow: bool) -> None:
        self._fd, self._path, self._boot, self._booted_us, self._follow = fd, path, boot, booted_us, follow
        self._interrupted = False
        self._ready = asyncio.Event()

    def interrupt(self) -> None:
        self._interrupted = True
        self._ready.set()

    async def read(self, quiet_s: float = QUIET_S) -> list[Entry] | None:
        records = self._records()
        if records is None and self._follow and not self._interrupted:
            await self._wait(quiet_s)
            records = self._records()
        if records is None:
            return [] if self._follow else None
        found = [entry_of(record, self._boot, self._booted_us) for record in records]
        return [entry for entry in found if entry is not None]

    async def _wait(self, quiet_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._ready.clear()
        loop.add_reader(self._fd, self._ready.set)
        try:
            async with asyncio.timeout(quiet_s):
                await self._ready.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(self._fd)

    def _records(self) -> deque[bytes] | None:
        """Up to READ_RECORDS at once, each a system call that never blocks; None where there is none now."""
        records: deque[bytes] = deque()
        while len(records) < READ_RECORDS:
            try:
                record = os.read(self._fd, MOST_RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:                       # the ring went round: the next read gives the oldest record, K1
                continue
            except OSError as error:
                raise Trouble(f"{self._path} cannot be read: {error.strerror}") from None
            if not record:
                break
            records.append(record)
        return records or None

    async def close(self) -> None:
        os.close(self._fd)
