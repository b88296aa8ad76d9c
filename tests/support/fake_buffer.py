"""A buffer in memory, as strict as the real one about ranges: it applies sections to real Positions and keeps the records."""
from __future__ import annotations

import asyncio

from shipper.buffer.positions import Positions
from shipper.model import Section


class FakeBuffer:
    """`records`: (whole id, message) in the order of arrival. `fail_next`: the next append fails with this error."""

    def __init__(self, positions: Positions | None = None) -> None:
        self.positions = positions or Positions()
        self.sections: list[Section] = []
        self.records: list[tuple[str, bytes]] = []
        self.full = False
        self.seq = 0
        self.fail_next: OSError | None = None
        self.synced_seq = 0
        self.auto_sync = True

    def submit(self, sections: list[Section]) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.fail_next is not None:
            future.set_exception(self.fail_next)
            self.fail_next = None
            return future
        self.seq += 1
        self.positions.commit(self.positions.plan(self.seq, sections, 0))
        for section in sections:
            self.sections.append(section)
            if section.batch is not None:
                self.records += [
                    (f"{section.batch.key}:{item.decode()}", message)
                    for item, message in zip(section.batch.ids, section.batch.messages, strict=True)
                ]
        if self.auto_sync:
            self.synced_seq = self.seq
        future.set_result(self.seq)
        return future

    @property
    def appended_seq(self) -> int:
        return self.seq

    async def wait_synced(self, seq: int) -> None:
        while self.synced_seq < seq:
            await asyncio.sleep(0)

    def went_back(self) -> bool:
        return False

    async def wait_room(self) -> None:
        while self.full:
            await asyncio.sleep(0)

    @property
    def messages(self) -> list[bytes]:
        return [message for _, message in self.records]
