"""The cursor of one sink, with everything that moves together with it: sums, the sink's own state, what is durable.

Invariants (tests/deliver/test_progress.py):
  P1  the cursor, its sums and the sink's state go to the buffer in one step, and belong to the same position
  P2  a state that a sink gave for request n is stored once the cursor covers n, never before; and the cursor moves over
      what it proves in the same step. Else a cursor could stand at n - 1 with a state that does not know n - 1 yet, and
      a sink that goes back to its state (file) would cut off what the cursor has passed
  P3  `sink.durable(n)` is called only after the buffer said that a cursor covering n is on disk
Driver: once per request. Not thread-safe: everything is called in the loop.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..model import Batch
from ..telemetry import Telemetry
from .account import Counters, Position, Tally
from .view import BufferView, SinkView
from .window import Window


@dataclass(slots=True)
class Progress:
    name: str
    buffer: BufferView
    sink: SinkView
    telemetry: Telemetry
    window: Window = field(default_factory=lambda: Window(Position(0, 0)))
    counters: Counters = field(default_factory=Counters)
    state: Any = None
    _states: deque[tuple[int, Any]] = field(default_factory=deque)
    _passed_number: int = 0
    _undurable: deque[tuple[Position, int]] = field(default_factory=deque)

    def open(self) -> None:
        """Take up the cursor where the buffer has it."""
        cursor = self.buffer.cursor(self.name)
        self.window.position = Position(cursor.seq, cursor.index)
        self.counters = Counters.from_json(cursor.counters, self.window.position, cursor.total_bytes)
        self.state = cursor.state
        self.buffer.on_durable(self.name, self._durable)

    def confirm(self, number: int, state: Any) -> bool:
        """All requests up to `number` are delivered; True where the cursor moved."""
        if state is None:
            self.window.confirm(number)
        else:
            self._states.append((number, state))
        return self.advance()

    def advance(self) -> bool:
        """Move the cursor over what is done (P1); True where it moved."""
        while self._states and self.window.decided(self._states[0][0]):
            number, self.state = self._states.popleft()
            self.window.confirm(number)
        entries = self.window.passed()
        if not entries:
            return False
        counters = self.counters
        before_records, before_bytes = counters.delivered_records, counters.delivered_bytes
        for entry in entries:
            if entry.dropped_for:
                counters.gave_away(entry.tally, entry.dropped_for, entry.files or {})
            else:
                counters.delivered(entry.tally)
        count = self.telemetry.count
        count("shipper_sink_delivered_records_total", counters.delivered_records - before_records, self.name)
        count("shipper_sink_delivered_bytes_total", counters.delivered_bytes - before_bytes, self.name)
        self._passed_number = max(self._passed_number, *(entry.number for entry in entries))
        position = self.window.position
        self._undurable.append((position, self._passed_number))
        self.buffer.advance(self.name, position.seq, position.record, self.state, counters.to_json(position))
        return True

    def revived(self, letters: Iterable[tuple[Batch, str]]) -> None:
        """Dead letters (one record each, with the reason they had) were delivered: the sums say so, at the same cursor."""
        before_records = self.counters.delivered_records
        for batch, reason in letters:
            tally = Tally()
            tally.bury(batch, reason)
            self.counters.revived(reason, tally)
        self.telemetry.count(
            "shipper_sink_delivered_records_total", self.counters.delivered_records - before_records, self.name)
        position = self.window.position
        self.buffer.advance(self.name, position.seq, position.record, self.state, self.counters.to_json(position))

    def rewind(self) -> int:
        """Forget what is unconfirmed, and tell the sink where it asks to be told; returns how many records had been sent."""
        self._states.clear()
        repeated = self.window.rewind()
        rewound = getattr(self.sink, "rewound", None)
        if rewound is not None:
            rewound(max(self._passed_number, self.window.planned_number))
        if repeated:
            self.telemetry.count("shipper_sink_repeated_records_total", repeated, self.name)
        return repeated

    def _durable(self, seq: int, index: int) -> None:
        """The buffer's word that the cursor (seq, index) is on disk (P3)."""
        number = 0
        while self._undurable and self._undurable[0][0] <= (seq, index):
            number = self._undurable.popleft()[1]
        if number:
            self.sink.durable(number)

    @property
    def sent_total_bytes(self) -> int:
        """Source bytes up to the end of what is in flight."""
        return self.counters.total_bytes + self.window.total_bytes

    @property
    def backlog_bytes(self) -> int:
        """Source bytes behind the cursor."""
        return max(self.buffer.total_bytes - self.counters.total_bytes, 0)

    def remaining(self) -> dict[str, Any]:
        """What stays: `records` is an estimate from the average where not all of it was read (`records_exact`)."""
        unread_bytes = max(self.buffer.total_bytes - self.sent_total_bytes, 0)
        seen = self.counters
        average_bytes = seen.delivered_bytes / seen.delivered_records if seen.delivered_records else 200.0
        return {
            "records": self.window.unconfirmed_records + round(unread_bytes / max(average_bytes, 1.0)),
            "source_bytes": self.backlog_bytes, "records_exact": not unread_bytes,
        }
