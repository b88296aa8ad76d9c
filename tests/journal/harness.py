"""A journal reader in the test's own loop: positions that really fold, and entries from a list."""
from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from shipper.buffer.positions import Positions
from shipper.errors import BufferLost, GapReason
from shipper.journal.driver import JournalReader
from shipper.journal.export import Entry
from shipper.journal.places import Place, place_of
from shipper.journal.ports import Backend, Output, Settings, Trouble
from shipper.journal.records import EntryDecoder
from shipper.model import Section, Source
from shipper.telemetry import Telemetry

SOURCE = Source("journal", "journal", "journal:host", "journal:host:journal", "n1")


def entry(number: int, message: str | None = None, numbering: str = "a") -> Entry:
    cursor = f"s={numbering};i={number:x};b=boot;m={1000 + number:x};t=0;x={number:x}"
    text = f"entry {number}" if message is None else message
    return {
        b"__CURSOR": cursor.encode(), b"__REALTIME_TIMESTAMP": b"%d" % (1_700_000_000_000_000 + number),
        b"MESSAGE": text.encode(),
    }


class FakeBuffer:
    """Frames in a list. `lose(n)`: as after a failed sync, only the first n are there, and the next submit is refused."""

    def __init__(self) -> None:
        self.frames: list[list[Section]] = []
        self.positions = Positions()
        self.room = asyncio.Event()
        self.room.set()
        self._must_reload = False
        self.on_lost: list[Any] = []

    def submit(self, sections: list[Section]) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._must_reload:
            self._must_reload = False
            future.set_exception(BufferLost("went back"))
            asyncio.get_running_loop().call_soon(lambda: [call() for call in self.on_lost])
            return future
        self.positions.commit(self.positions.plan(len(self.frames) + 1, sections, 1))
        self.frames.append(sections)
        future.set_result(len(self.frames))
        return future

    def lose(self, keep: int) -> None:
        kept, self.frames, before = self.frames[:keep], [], Positions()
        for sections in kept:
            before.commit(before.plan(len(self.frames) + 1, sections, 1))
            self.frames.append(sections)
        self.positions.go_back(before)
        self._must_reload = True

    @property
    def sections(self) -> list[Section]:
        return [section for frame in self.frames for section in frame]

    def messages(self) -> list[str]:
        return [message.decode() for section in self.sections if section.batch is not None for message in section.batch.messages]

    def ids(self) -> list[str]:
        return [f"{s.batch.key}:{item.decode()}" for s in self.sections if s.batch is not None for item in s.batch.ids]


@dataclass
class FakeBackend:
    """A journal that is a list. `troubles`: what the next streams say instead."""

    entries: list[Entry] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    at_once: int = 3
    filtered_out: bool = False                            # a stream gives nothing
    ways_back: int = 0

    async def stream(self, cursor: str, *, follow: bool) -> FakeStream:
        if self.troubles:
            raise Trouble(self.troubles.pop(0))
        return FakeStream(self, len(self.entries) if self.filtered_out else self._from(cursor), follow)

    def _from(self, cursor: str) -> int:
        if not cursor:
            return 0
        wanted = place_of(cursor)
        return next((i for i, each in enumerate(self.entries) if place_of(each[b"__CURSOR"]).monotonic_us >= wanted.monotonic_us),
                    len(self.entries))

    async def backwards(self, cursor: str) -> FakeStream:
        self.ways_back += 1
        wanted = place_of(cursor)
        older = [each for each in self.entries if place_of(each[b"__CURSOR"]).monotonic_us <= wanted.monotonic_us]
        return FakeStream(FakeBackend(older[::-1], at_once=self.at_once), 0, False)

    async def first_at(self, cursor: str) -> Entry | None:
        return next(iter(self.entries[self._from(cursor):]), None)

    async def newest(self) -> Entry | None:
        return self.entries[-1] if self.entries else None

    def place_of(self, cursor: str | bytes) -> Place:
        return place_of(cursor)


class FakeStream:
    def __init__(self, backend: FakeBackend, at: int, follow: bool) -> None:
        self._backend, self._at, self._follow = backend, at, follow

    def interrupt(self) -> None:
        """It never waits for long."""

    async def read(self, quiet_s: float = 0.0) -> list[Entry] | None:
        found = self._backend.entries[self._at : self._at + self._backend.at_once]
        self._at += len(found)
        await asyncio.sleep(0 if found else 0.001)
        return found if found or self._follow else None

    async def close(self) -> None:
        """Nothing is open."""


def reader_of(
    buffer: FakeBuffer, backend: Backend, telemetry: Telemetry | None = None, *, start_at: str = "beginning",
    signature: str = "all", unfiltered: bool = True, lost_reason: GapReason = GapReason.VACUUMED,
) -> JournalReader:
    async def room() -> None:
        await buffer.room.wait()

    async def pace() -> None:
        await asyncio.sleep(0)

    inner = EntryDecoder(SOURCE, ["_PID"], 1000)
    output = Output(
        lambda: buffer.positions, buffer.submit, lambda key: key not in buffer.positions.files,
        lambda: not buffer.room.is_set(), room, pace)
    settings = Settings("journal", start_at, signature, unfiltered)
    reader = JournalReader(SOURCE, settings, backend, inner, inner, output, telemetry or Telemetry(), lost_reason=lost_reason)
    buffer.on_lost = [reader.rewind]
    return reader


async def settled() -> None:
    """Nobody else drains: the fake tells at once."""
    await asyncio.sleep(0.005)


async def until(wanted: Any, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not wanted():
            await asyncio.sleep(0.002)
