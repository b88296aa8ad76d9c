"""Rows of a plan that the far side refuses: found in the buffer by their ids, and dead letters before anything else."""
from __future__ import annotations

from pathlib import Path

import pytest

from shipper.deliver.account import Position, Tally
from shipper.deliver.burial import Burial
from shipper.deliver.dead_letters import DeadLetters
from shipper.deliver.plans import PlanDesk
from shipper.deliver.progress import Progress
from shipper.deliver.replay import Replays
from shipper.errors import Retryable
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, TurnedClock, section, source


class Grave:
    """Three frames of four records in a buffer, and a desk whose one request covers them all but the first record."""

    def __init__(self, root: Path) -> None:
        self.buffer, self.telemetry = FakeBuffer(), Telemetry()
        for frame in range(3):
            self.buffer.write(source(), *[b"m%d%d" % (frame, row) for row in range(4)])
        self.letters = DeadLetters(str(root / "letters"), "far", self.telemetry)
        self.replays = Replays()
        self.progress = Progress("far", self.buffer, None, self.telemetry)  # type: ignore[arg-type]
        self.progress.open()
        burial = Burial("far", self.buffer, self.letters, self.replays, TurnedClock(), self.telemetry)  # type: ignore[arg-type]
        self.desk = PlanDesk(
            self.progress, self.buffer, None, None, lambda: False, lambda: None, burial)  # type: ignore[arg-type]
        self.ids = [f"{batch.key}:{item.decode()}" for frame in self.buffer.frames
                    for section in frame.sections if (batch := section.batch) is not None for item in batch.ids]
        self.progress.window.skip(Position(0, 1), Tally(1, 13))
        self.entry = self.progress.window.launch(Position(3, 0), Tally(11, 143))
        self.progress.window.handed(self.entry)
        self.receipt = self.desk.fix(self.entry.number)

    def dead(self) -> list[str]:
        return [letter["record"]["message"] for letter in self.letters.read()]

    def dropped(self) -> float:
        return self.telemetry.value("shipper_sink_dropped_records_total", "far", "buffer_damaged")


async def test_ub1_records_are_found_across_frames_and_are_dead_with_their_words(tmp_path: Path) -> None:
    one = Grave(tmp_path)
    made = await one.desk.bury(1, one.receipt, {one.ids[2]: "too old", one.ids[11]: "too long"})
    assert one.dead() == ["m02", "m23"]
    assert [letter["response"] for letter in one.letters.read()] == ["too old", "too long"]
    tally = made["parts"][-1]["tally"]
    assert tally["dead"]["rejected"][0] == 2 and tally["records"] == 11
    assert one.entry.tally.dead == tally["dead"], "whoever passes the plan, this process or a later one (PL5)"
    assert one.receipt["parts"][-1]["tally"]["dead"] is None, "the old receipt stays what it was"


async def test_ub2_a_later_process_that_buries_them_again_writes_nothing_new_and_counts_them_once(tmp_path: Path) -> None:
    for _ in range(2):
        one = Grave(tmp_path)
        made = await one.desk.bury(1, one.receipt, {one.ids[2]: "too old"})
        assert one.dead() == ["m02"] and made["parts"][-1]["tally"]["dead"]["rejected"][0] == 1


async def test_a_frame_without_records_in_the_middle_of_a_plan_is_no_obstacle(tmp_path: Path) -> None:
    """A section that only moves a position on, of a log that was emptied, say."""
    one = Grave(tmp_path)
    one.buffer.frames[1].sections.insert(0, section(source("other"), 0, []))
    await one.desk.bury(1, one.receipt, {one.ids[2]: "too old", one.ids[6]: "too long"})
    assert one.dead() == ["m02", "m12"]


async def test_nothing_is_buried_where_the_disk_does_not_take_it(tmp_path: Path) -> None:
    one = Grave(tmp_path)
    (tmp_path / "letters").write_bytes(b"a file in the directory's place")
    with pytest.raises(Retryable, match="cannot write dead letters"):
        await one.desk.bury(1, one.receipt, {one.ids[2]: "too old"})
    assert one.entry.tally.dead is None


async def test_ub1_what_is_nowhere_is_said_and_a_letter_in_the_store_is_somewhere(tmp_path: Path) -> None:
    one = Grave(tmp_path)
    await one.desk.bury(1, one.receipt, {one.ids[2]: "too old"})
    one.buffer.frames.clear()
    await one.desk.bury(1, one.receipt, {one.ids[2]: "too old", one.ids[3]: "too old"})
    assert one.dead() == ["m02"] and one.dropped() == 1


async def test_a_letter_under_way_is_refused_again_and_no_new_one(tmp_path: Path) -> None:
    one = Grave(tmp_path)
    batch = one.buffer.frames[0].sections[0].batch
    assert batch is not None
    replay = one.replays.add([(batch.slice(2, 3), "rejected"), (batch.slice(3, 4), "rejected")])
    one.replays.launch(one.entry)
    one.buffer.frames.clear()
    await one.desk.bury(1, one.receipt, {one.ids[2]: "too old"})
    assert [found.batch.ids for found in replay.refused] == [batch.ids[2:3]] and len(replay.delivered) == 1
