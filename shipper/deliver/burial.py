"""Records of a plan that the far side will never take: found by their ids, and written to the dead letters. Driver; rare.

A plan holds what is sent, not what it was made of: that lies in the buffer, which keeps it until the plan is confirmed, or, for a
letter that is being replayed, in the dead letters.

Invariants (tests/deliver/test_burial.py):
  UB1  when `bury` returns, each record is in the dead letters (fsynced), or was there already; what is found nowhere (the sink
       dropped its oldest records, the plan is another buffer's) is said and counted
  UB2  burying the same records again changes nothing
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DropReason, Retryable
from ..telemetry import Telemetry
from .account import Position
from .dead_letters import DeadLetters
from .gone import say_gone
from .replay import Replays
from .split import Candidate
from .view import BufferView, Clock

READ_BYTES = 1024 * 1024


@dataclass(slots=True)
class Burial:
    """Of one sink."""

    sink: str
    buffer: BufferView
    letters: DeadLetters
    replays: Replays
    clock: Clock
    telemetry: Telemetry

    async def bury(self, receipt: Mapping[str, Any], dead: Mapping[str, str]) -> list[Candidate]:
        """UB1. dead: words by id. Returns those that were found in the buffer. Retryable where the disk does not take them."""
        found = await self._find(receipt, dead)
        try:
            await self.letters.write(found, self.clock.wall_ns())
        except OSError as error:
            raise Retryable(f"cannot write dead letters: {error}; make room or mend the state directory") from error
        missing = dead.keys() - {id_of(one) for one in found}
        if missing:
            self._missed(missing - self.replays.refused_again(dead) - {line["record"]["id"] for line in self.letters.read()})
        return found

    async def _find(self, receipt: Mapping[str, Any], dead: Mapping[str, str]) -> list[Candidate]:
        found: list[Candidate] = []
        start, end = Position(*receipt["start"]), Position(*receipt["end"])
        seq = start.seq
        while Position(seq, 0) < end:
            frames = await self.buffer.read(seq, READ_BYTES)
            for frame in frames:
                for section in frame.sections if Position(frame.seq, 0) < end else ():
                    batch = section.batch
                    prefix = "" if batch is None else f"{batch.key}:"
                    if batch is None or not any(name.startswith(prefix) for name in dead):
                        continue
                    for index, item in enumerate(batch.ids):
                        words = dead.get(prefix + item.decode("ascii", "replace"))
                        if words is not None:
                            found.append(Candidate(batch.slice(index, index + 1), DropReason.REJECTED, words))
            if not frames:
                break
            seq = frames[-1].seq + 1
        return found

    def _missed(self, ids: set[str]) -> None:
        if ids:
            say_gone(self.telemetry, self.sink, len(ids))


def id_of(one: Candidate) -> str:
    """Of its one record."""
    return f"{one.batch.key}:{one.batch.ids[0].decode('ascii', 'replace')}"
