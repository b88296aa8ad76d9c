"""What moves together with the cursor, and who is told. P: progress.py, G: goals.py."""
from __future__ import annotations

import asyncio

import pytest

from shipper.deliver.account import Position, Tally
from shipper.deliver.goals import Goals
from shipper.deliver.progress import Progress
from shipper.errors import Retryable
from shipper.telemetry import Telemetry

from .support import FakeBuffer, FakeSink, TurnedClock


def opened() -> Progress:
    buffer = FakeBuffer()
    buffer.next_seq = 100
    progress = Progress("central", buffer, FakeSink(), Telemetry())
    progress.open()
    return progress


async def test_a_state_is_stored_when_the_cursor_covers_its_request_and_not_before():
    progress = opened()
    first = progress.window.launch(Position(1, 0), Tally())
    second = progress.window.launch(Position(2, 0), Tally())
    progress.window.handed(first)
    progress.window.hold(second)
    assert not progress.confirm(2, {"length": 200})
    assert progress.window.position == (0, 0) and progress.buffer.cursor("central").state is None
    progress.window.done(second)
    assert progress.advance()
    assert progress.window.position == (2, 0) and progress.buffer.cursor("central").state == {"length": 200}


async def test_a_cursor_never_stands_behind_a_request_that_its_state_does_not_know():
    progress = opened()
    entries = [progress.window.launch(Position(seq, 0), Tally()) for seq in (1, 2, 3)]
    for entry in entries[:2]:
        progress.window.handed(entry)
    progress.confirm(1, {"length": 100})
    progress.confirm(3, {"length": 300})             # while 3 is still on its way, and 2 has no state of its own
    assert (progress.window.position, progress.buffer.cursor("central").state) == ((1, 0), {"length": 100})
    progress.window.handed(entries[2])
    assert progress.advance()
    assert (progress.window.position, progress.buffer.cursor("central").state) == ((3, 0), {"length": 300})


async def test_a_sink_that_asks_is_told_of_every_rewind():
    progress, told = opened(), []
    progress.sink.rewound = told.append
    progress.window.handed(progress.window.launch(Position(1, 0), Tally()))
    progress.confirm(1, {"length": 100})
    progress.window.handed(progress.window.launch(Position(2, 0), Tally()))
    progress.rewind()
    assert told == [1]


async def test_a_state_from_before_a_rewind_is_forgotten():
    progress = opened()
    progress.window.hold(progress.window.launch(Position(1, 0), Tally()))
    progress.window.handed(progress.window.launch(Position(2, 0), Tally()))
    progress.confirm(2, {"length": 200})
    progress.rewind()
    progress.window.handed(progress.window.launch(Position(1, 0), Tally()))
    progress.confirm(3, None)
    assert progress.window.position == (1, 0) and progress.buffer.cursor("central").state is None


async def test_the_sink_hears_of_a_number_once_a_cursor_that_covers_it_is_on_disk():
    progress = opened()
    for seq in (1, 2, 3):
        progress.window.done(progress.window.launch(Position(seq, 0), Tally()))
        progress.advance()
    for durable in ((0, 5), (2, 0), (2, 7), (3, 0)):
        progress._durable(*durable)
    assert progress.sink.durable_numbers == [2, 3]


async def test_a_goal_is_met_only_when_it_is_confirmed_and_flushed_since():
    goals = Goals(TurnedClock(), lambda: "held: 7 bytes")
    task = asyncio.ensure_future(goals.reach(Position(3, 0), None))
    await asyncio.sleep(0)
    assert not goals.needs_flush(Position(2, 0)) and goals.needs_flush(Position(3, 0))
    goals.look(Position(3, 0))
    await asyncio.sleep(0)
    assert not task.done()
    goals.flushed(Position(3, 0))
    assert not goals.needs_flush(Position(3, 0))
    goals.look(Position(3, 0))
    await task
    assert not goals


async def test_a_goal_that_fails_says_what_is_held():
    goals = Goals(TurnedClock(), lambda: "held: 7 bytes")
    task = asyncio.ensure_future(goals.reach(Position(3, 0), None))
    await asyncio.sleep(0)
    goals.fail("sink central was stopped")
    with pytest.raises(Retryable, match="sink central was stopped; held: 7 bytes"):
        await task
