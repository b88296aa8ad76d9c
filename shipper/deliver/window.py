"""What one sink was sent and what of it is proven: the cursor's bookkeeping. Pure. Once per request.

             launch             sent (later sinks)          confirm(number)
    (next) ─────────► sending ─────────────────────► handed ───────────────► done ──► passed, in order ──► position
                      │  │ done (on_send sinks)                               ▲
                      │  └────────────────────────────────────────────────────┤
                 hold ▼                                                  done │
                      held ───────────────────────────────────────────────────┘

Invariants (tests/deliver/test_window.py):
  W1  the position never goes back, and moves only over entries that are done, in order, whatever order they finish in
  W2  numbers rise and are never used twice, rewinds included
  W3  confirming a number that is not in flight any more (or not yet) confirms nothing that is unproven
  W4  an entry that is held, or still being sent, is not passed by confirming a later one
  W5  after `rewind` nothing is in flight, and the position stands where it stood
  W7  entries that are planned, and all before them, outlive a `rewind`: what a durable plan covers is not sent otherwise
  W6  what was passed adds up: the tallies of passed entries are those between the first position and this one
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from .account import Position, Tally


class Stage(Enum):
    SENDING = "sending"
    HANDED = "handed"
    HELD = "held"
    DONE = "done"


@dataclass(slots=True, eq=False)
class Entry:
    """Everything up to `end` from the entry before.

    number       of its last request that was taken (at first: of its first request); 0 where there is nothing to send
    dropped_for  why the records in it are not sent; "" where they are
    files        of what is dropped: source bytes by file key
    passed       the position has moved over it
    planned      it is part of a plan of the sink (deliver/plans.py)
    """

    number: int
    end: Position
    tally: Tally
    stage: Stage = Stage.SENDING
    read_ns: int = 0
    dropped_for: str = ""
    files: dict[str, int] | None = None
    passed: bool = False
    planned: bool = False


class Window:
    """Entries between the confirmed position and the last one that was launched, in order."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.last_number = 0
        self._entries: deque[Entry] = deque()
        self._confirmed_number = 0
        self.total_bytes = 0
        """Source bytes in flight."""

    def next_number(self) -> int:
        """W2."""
        self.last_number += 1
        return self.last_number

    def launch(self, end: Position, tally: Tally, read_ns: int = 0) -> Entry:
        """A request is about to be sent; it covers all from the last entry's end to `end`."""
        return self._append(Entry(self.next_number(), end, tally, Stage.SENDING, read_ns))

    def skip(self, end: Position, tally: Tally, read_ns: int = 0) -> Entry:
        """Nothing to send up to `end`: it passes as soon as all before it has."""
        return self._append(Entry(0, end, tally, Stage.DONE, read_ns))

    def _append(self, entry: Entry) -> Entry:
        if entry.end < self.end:
            raise ValueError(f"an entry that ends at {entry.end} cannot follow {self.end}")
        self._entries.append(entry)
        self.total_bytes += entry.tally.total_bytes
        return entry

    def handed(self, entry: Entry) -> None:
        """All requests of the entry were handed over; `confirm` proves it, or already has (a sink may be that quick)."""
        entry.stage = Stage.DONE if entry.number <= self._confirmed_number else Stage.HANDED

    def hold(self, entry: Entry) -> None:
        """The entry must not be passed until `done` says so (W4)."""
        entry.stage = Stage.HELD

    def done(self, entry: Entry) -> None:
        """The entry is delivered, or what was not is safe in the dead letters."""
        entry.stage = Stage.DONE

    def confirm(self, number: int) -> None:
        """All requests up to `number` are proven delivered. Cost: the entries that this proves."""
        self._confirmed_number = max(self._confirmed_number, min(number, self.last_number))
        for entry in self._entries:
            if entry.number > number:
                break
            if entry.stage is Stage.HANDED:
                entry.stage = Stage.DONE

    def decided(self, number: int) -> bool:
        """No request up to `number` is still being sent or held back: confirming it passes all of them at once."""
        return not any(e.stage in (Stage.SENDING, Stage.HELD) and 0 < e.number <= number for e in self._entries)

    def passed(self) -> list[Entry]:
        """Take what is done off the front and move the position over it (W1)."""
        entries = []
        while self._entries and self._entries[0].stage is Stage.DONE:
            entry = self._entries.popleft()
            entry.passed = True
            self.total_bytes -= entry.tally.total_bytes
            entries.append(entry)
        if entries:
            self.position = entries[-1].end
        return entries

    def rewind(self) -> int:
        """Forget what is in flight (W5, W7). Returns how many records of it had been sent, wholly or in part."""
        gone = []
        while self._entries and not self._entries[-1].planned:
            gone.append(self._entries.pop())
        self.total_bytes -= sum(entry.tally.total_bytes for entry in gone)
        return sum(entry.tally.records for entry in gone if entry.number)

    @property
    def revocable(self) -> bool:
        """Whether `rewind` would forget anything."""
        return bool(self._entries) and not self._entries[-1].planned

    @property
    def planned_number(self) -> int:
        """The last request that is part of a plan; 0 where there is none in flight."""
        return max((entry.number for entry in self._entries if entry.planned), default=0)

    def planned_entry(self, number: int) -> Entry | None:
        """The planned one whose last request is `number`; None where it was passed."""
        return next((entry for entry in self._entries if entry.planned and entry.number == number and number), None)

    def unplanned_to(self, number: int) -> list[tuple[Position, Entry]]:
        """The entries behind the last plan, up to that of request `number`, each with where it starts."""
        found: list[tuple[Position, Entry]] = []
        last = 0
        start = self.position
        for entry in self._entries:
            if not entry.planned:
                found.append((start, entry))
                last = len(found) if 0 < entry.number <= number else last
            start = entry.end
        return found[:last]

    def end_of(self, number: int) -> Position:
        """Where the last entry ends whose requests are all up to `number`."""
        return max((entry.end for entry in self._entries if 0 < entry.number <= number), default=self.position)

    def set_aside(self) -> None:
        """What is planned is safe in its plan: the position may pass it before it is confirmed."""
        for entry in self._entries:
            if entry.planned and entry.stage is Stage.HANDED:
                entry.stage = Stage.DONE

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def end(self) -> Position:
        """Where the next entry starts."""
        return self._entries[-1].end if self._entries else self.position

    @property
    def unconfirmed_records(self) -> int:
        """Records in flight. Cost: the entries."""
        return sum(entry.tally.records for entry in self._entries)

    @property
    def oldest_ns(self) -> int:
        """When the oldest frame in flight was read; 0 with nothing in flight."""
        return self._entries[0].read_ns if self._entries else 0
