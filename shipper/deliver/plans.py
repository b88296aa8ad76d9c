"""What sinks with plans (exactly once) need of delivery: `SinkContext.plans`. The contract is in sinks/__init__.py.

    send ... send ─► settled? ─► (spool files fsynced) ─► synced ─► fix ─► manifest with the receipt, durable ─► sent
    crash ─► start: manifests ─► resume(receipts) ─► delivery reads on behind them ─► sent ─► confirmed, as ever

    receipt   {"start": [seq, record], "end": [seq, record], "parts": [{"end", "tally", "dropped"?, "files"?}, ...]}, JSON

Invariants (tests/deliver/test_plans.py):
  PL1  a plan covers whole entries of the window, none of which is being sent or held back, and synced frames only
  PL2  what is fixed is never formed into a request again: not after a rewind, nor, with its receipt, after a crash
  PL3  the sums are exact whether a plan was finished by the process that made it or by a later one: the receipt holds the tallies
  PL5  records of a plan that are buried count as dead, once, whichever process passes the plan
  PL4  a receipt that the cursor has passed, wholly or in part, counts nothing twice
Driver: once per plan.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

from ..errors import Retryable
from .account import Position, Tally
from .burial import Burial
from .progress import Progress
from .retry import Persistence
from .trouble import Troubles
from .view import BufferView
from .window import Entry, Stage, Window


class PlanDesk:
    """`moved`: called when entries were put into the window by `resume`."""

    def __init__(
        self, progress: Progress, buffer: BufferView, patient: Persistence, trouble: Troubles, stopping: Callable[[], bool],
        moved: Callable[[], None], burial: Burial | None = None,
    ) -> None:
        self._progress, self._buffer, self._patient, self._trouble = progress, buffer, patient, trouble
        self._stopping, self._moved, self._burial = stopping, moved, burial

    @property
    def _window(self) -> Window:
        return self._progress.window

    @property
    def buffer_id(self) -> str:
        return self._buffer.uuid

    @property
    def sent_bytes(self) -> int:
        return self._progress.sent_total_bytes

    def settled(self, number: int) -> bool:
        return self._window.decided(number)

    async def synced(self, number: int) -> None:
        end = self._window.end_of(number)
        await self._buffer.wait_synced(end.seq if end.record else end.seq - 1)

    def fix(self, number: int) -> dict[str, Any]:
        """PL1, PL2."""
        found = self._window.unplanned_to(number)
        if not found or not self.settled(number):
            raise Retryable(f"requests up to {number} cannot be planned: there are none, or some are being sent")
        start = next(start for start, entry in found if entry.number)
        for _, entry in found:
            entry.planned = True
        return {"start": list(start), "end": list(found[-1][1].end), "parts": _parts([entry for _, entry in found])}

    def resume(self, receipts: Sequence[Mapping[str, Any]]) -> list[int]:
        """PL3, PL4."""
        numbers = [self._resume(receipt["parts"]) for receipt in receipts]
        self._moved()
        return numbers

    def _resume(self, parts: Sequence[Mapping[str, Any]]) -> int:
        number = 0
        for part in parts:
            end = Position(*part["end"])
            if end <= self._window.end:
                continue
            tally = Tally(**part["tally"])
            if part.get("dropped"):
                entry = self._window.skip(end, tally)
                entry.dropped_for, entry.files = part["dropped"], dict(part["files"])
            elif part["skipped"]:
                entry = self._window.skip(end, tally)
            else:
                entry = self._window.launch(end, tally)
                number = entry.number
                self._window.handed(entry)
            entry.planned = True
        return number

    async def bury(self, number: int, receipt: Mapping[str, Any], dead: Mapping[str, str]) -> dict[str, Any]:
        """PL5. burial.UB1; the entry in the window and the new receipt say the same."""
        assert self._burial is not None
        found = await self._burial.bury(receipt, dead)
        entry = self._window.planned_entry(number)
        made = {**receipt, "parts": [dict(part) for part in receipt["parts"]]}
        last = next((part for part in reversed(made["parts"]) if not part["skipped"] and not part["dropped"]), None)
        tally = deepcopy(Tally(**last["tally"])) if last is not None else Tally()
        for one in found:
            tally.bury(one.batch, one.reason.value)
            if entry is not None:
                entry.tally.bury(one.batch, one.reason.value)
        if last is not None:
            last["tally"] = asdict(tally)
        return made

    async def persist(self, work: Callable[[], Awaitable[None]]) -> None:
        def pausing(error: BaseException, pause_s: float) -> None:
            self._trouble.note(work, error, pause_s=pause_s)

        try:
            await self._patient.persist(work, self._stopping, pausing)
        finally:
            self._trouble.clear(work)


def _parts(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Neighbours of one kind as one part. What comes before the first request stays apart: the cursor may stop behind it."""
    parts: list[dict[str, Any]] = []
    sums: list[Tally] = []
    for entry in entries:
        skipped = entry.stage is Stage.DONE and not entry.number
        last = parts[-1] if parts else None
        # A skip behind a request joins it: the cursor passes both together, when the plan is confirmed.
        if last is None or last["dropped"] or entry.dropped_for or (last["skipped"] and not skipped):
            last = {"dropped": entry.dropped_for, "files": entry.files or {}, "skipped": skipped and not entry.dropped_for}
            parts.append(last)
            sums.append(Tally())
        last["end"] = list(entry.end)
        _add(sums[-1], entry.tally)
    for part, tally in zip(parts, sums):
        part["tally"] = asdict(tally)
    return parts


def _add(to: Tally, tally: Tally) -> None:
    for name in ("records", "source_bytes", "unrouted_records", "unrouted_bytes", "lost_bytes", "again_bytes"):
        setattr(to, name, getattr(to, name) + getattr(tally, name))
    for reason, (records, source_bytes) in (tally.dead or {}).items():
        to.dead = to.dead or {}
        pair = to.dead.setdefault(reason, [0, 0])
        pair[0] += records
        pair[1] += source_bytes
    for key, source_bytes in (tally.dead_files or {}).items():
        to.dead_files = to.dead_files or {}
        to.dead_files[key] = to.dead_files.get(key, 0) + source_bytes
    if tally.unrouted_files:
        to.leave_out(tally.unrouted_files)
