"""The cursor's bookkeeping under every order of events. W: window.py."""
from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from shipper.deliver.account import Position, Tally
from shipper.deliver.window import Entry, Stage, Window


class WindowMachine(RuleBasedStateMachine):
    """Against a model: the list of entries, each proven or not."""

    entries = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(Position(0, 0))
        self.model: list[Entry] = []           # launched and not passed
        self.proven: set[int] = set()          # id() of entries that may pass
        self.kept: list[Entry] = []            # keeps id() valid
        self.passed_records = self.launched_before = 0
        self.numbers: list[int] = []
        self.last_position = Position(0, 0)

    def _launched(self, entry: Entry) -> Entry:
        self.model.append(entry)
        self.kept.append(entry)
        if entry.number:
            self.numbers.append(entry.number)
        return entry

    @rule(target=entries, records=st.integers(1, 5))
    def launch(self, records):
        end = Position(self.window.end.seq, self.window.end.record + records)
        return self._launched(self.window.launch(end, Tally(records=records, source_bytes=7 * records)))

    @rule(frames=st.integers(1, 3))
    def skip(self, frames):
        entry = self._launched(self.window.skip(Position(self.window.end.seq + frames, 0), Tally()))
        self.proven.add(id(entry))

    @rule(entry=entries)
    def another_number(self, entry):
        if entry in self.model and entry is self.model[-1] and entry.stage is Stage.SENDING:
            entry.number = self.window.next_number()
            self.numbers.append(entry.number)

    @rule(entry=entries)
    def hold(self, entry):
        if entry.stage is Stage.SENDING:
            self.window.hold(entry)

    @rule(entry=consumes(entries))
    def done(self, entry):
        self.window.done(entry)
        self.proven.add(id(entry))

    @rule(entry=entries)
    def handed(self, entry):
        if entry.stage is Stage.SENDING:
            self.window.handed(entry)
            if entry.stage is Stage.DONE:
                self.proven.add(id(entry))
                assert entry.number <= self.confirmed

    confirmed = 0

    @rule(number=st.integers(0, 40))
    def confirm(self, number):
        for entry in self.model:
            if entry.number > number:
                break
            if entry.stage is Stage.HANDED:
                self.proven.add(id(entry))
        self.confirmed = max(self.confirmed, min(number, self.window.last_number))
        self.window.confirm(number)

    @rule()
    def take(self):
        passed = self.window.passed()
        assert passed == self.model[: len(passed)]
        assert all(id(entry) in self.proven for entry in passed)                      # W1, W3, W4
        self.model = self.model[len(passed):]
        assert not self.model or id(self.model[0]) not in self.proven
        assert self.window.position == (passed[-1].end if passed else self.last_position)
        self.last_position = self.window.position
        self.passed_records += sum(entry.tally.records for entry in passed)

    @precondition(lambda self: len(self.window) > 2)
    @rule()
    def rewind(self):
        sent = sum(entry.tally.records for entry in self.model)
        assert self.window.rewind() == sent
        assert len(self.window) == 0 and self.window.end == self.window.position      # W5
        self.model = []

    @invariant()
    def numbers_rise_and_positions_do_not_fall(self):
        assert self.numbers == sorted(set(self.numbers))                              # W2
        assert self.window.position >= self.last_position

    @invariant()
    def what_is_in_flight_adds_up(self):
        assert self.window.total_bytes == sum(entry.tally.total_bytes for entry in self.model)
        assert self.window.unconfirmed_records == sum(entry.tally.records for entry in self.model)   # W6
        assert self.window.end == (self.model[-1].end if self.model else self.window.position)


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_an_entry_that_would_go_back_is_refused():
    window = Window(Position(3, 5))
    with pytest.raises(ValueError, match="cannot follow"):
        window.launch(Position(3, 4), Tally())


def test_a_held_entry_is_not_passed_by_confirming_a_later_one():
    window = Window(Position(0, 0))
    first, second = window.launch(Position(1, 0), Tally()), window.launch(Position(2, 0), Tally())
    window.hold(first)
    window.handed(second)
    window.confirm(second.number)
    assert window.passed() == []
    window.done(first)
    assert window.passed() == [first, second] and window.position == (2, 0)
