"""K1 of tail/closings.py, B2 and B3 of tail/in_flight.py, LO1 to LO3 of tail/losses.py: by themselves."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shipper.errors import BufferLost, GapReason
from shipper.model import FileRef, Gap, Section, Source
from shipper.tail.closings import Closings
from shipper.tail.in_flight import InFlight
from shipper.tail.losses import closing_again, lose_end, report_lost
from shipper.tail.plan import KnownFile
from shipper.telemetry import Telemetry

SOURCE = Source("containers", "c", "/l", "/l", "n1")


def ref(key: str = "k") -> FileRef:
    return FileRef(key, SOURCE, "/l", 1, 2, 5, "hash")


def section(key: str = "k", end: int = 0, *gaps: Gap, closed: bool = True) -> Section:
    return Section(ref(key), end, end, "", None, gaps=gaps, size=end, closed=closed)


class Buffer:
    """Answers with the futures of `answers`; BufferLost where one is None."""

    def __init__(self, *answers: asyncio.Future[int] | None) -> None:
        self.answers, self.submitted = list(answers), list[list[Section]]()
        self.positions: Any = SimpleNamespace(files={})

    def submit(self, sections: list[Section]) -> asyncio.Future[int]:
        self.submitted.append(sections)
        answer = self.answers.pop(0)
        if answer is None:
            raise BufferLost("went back")
        return answer

    def went_back(self) -> bool:
        return False


def appended(seq: int) -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(seq)
    return future


async def test_k1_what_is_not_synced_is_given_back_whenever_the_positions_lose_it() -> None:
    buffer: Any = Buffer()
    closings, told = Closings(buffer), section()
    closings.note(appended(1), [told, section("open", closed=False)])
    closings.release(0)
    buffer.positions.files["k"] = SimpleNamespace(closed=True)
    assert closings.take_back() == [], "the positions have it"
    buffer.positions.files.clear()
    assert closings.take_back() == [told] and closings.take_back() == []


async def test_k1_what_is_synced_is_forgotten() -> None:
    buffer: Any = Buffer()
    closings = Closings(buffer)
    closings.note(appended(1), [section("first")])
    closings.note(appended(2), [section("second")])
    closings.release(1)
    assert [one.file.key for one in closings.take_back()] == ["second"]


async def test_b2_behind_a_part_that_was_refused_none_of_the_same_offsets_is_submitted() -> None:
    buffer: Any = Buffer(None, appended(1))
    lost: list[int] = []
    in_flight = InFlight(buffer, Telemetry(), lambda: lost.append(1))
    first, second = in_flight.submit([section("a")]), in_flight.submit([section("a", 10)])
    assert len(buffer.submitted) == 1 and first.exception() is not None and second.exception() is not None
    await in_flight.drained(all_of_it=True)
    assert lost and await in_flight.submit([section("a")]) == 1


async def test_b3_a_key_is_one_file_s_before_and_behind_its_first_frame() -> None:
    buffer: Any = Buffer(appended(1))
    in_flight = InFlight(buffer, Telemetry(), lambda: None)
    assert in_flight.claim("k") and not in_flight.claim("k")
    in_flight.submit([section()])
    buffer.positions.files["k"] = section()
    assert not in_flight.claim("k")


def lineage() -> Any:
    return SimpleNamespace(
        source=SOURCE, last_ns=7, outbox=[], decoder=SimpleNamespace(state=tuple, take_drops=lambda key: None),
        cutter=SimpleNamespace(abandoned=lambda key, readable: None))


@pytest.mark.parametrize("gaps, expected", [
    ((), [(60, -1, GapReason.ROTATED_AWAY, 40)]),
    ((Gap(100, -1, GapReason.TRUNCATED, 5, 7, 9),), [(60, -1, GapReason.TRUNCATED, 45)]),
])
def test_lo3_told_again_it_stands_where_the_positions_are_and_counts_what_was_read_in_between(
    gaps: tuple[Gap, ...], expected: list[tuple[int, int, GapReason, int]],
) -> None:
    positions: Any = SimpleNamespace(files={"k": SimpleNamespace(offset=60, guard="guard")})
    again = closing_again(lineage(), section("k", 100, *gaps), positions)
    assert (again.start, again.end, again.guard, again.closed) == (60, 60, "guard", True)
    assert [gap[:4] for gap in again.gaps] == expected


def test_lo3_nothing_was_lost_where_the_positions_have_all_that_was_read() -> None:
    positions: Any = SimpleNamespace(files={"k": SimpleNamespace(offset=100, guard="guard")})
    assert closing_again(lineage(), section("k", 100), positions).gaps == ()


@pytest.mark.parametrize("size, torn, expected", [
    (90, False, [(GapReason.ROTATED_AWAY, 30)]), (60, False, [(GapReason.ROTATED_AWAY, 0)]),
    (90, True, [(GapReason.TRUNCATED, 30)]), (60, True, []),
])
def test_lo1_a_file_of_the_positions_that_is_not_found_lost_what_was_seen_of_it(
    size: int, torn: bool, expected: list[tuple[GapReason, int]],
) -> None:
    of = lineage()
    report_lost(of, ref(), KnownFile("k", 1, 2, 5, "hash", 60, "guard", size, 7, False), 9, torn=torn)
    (told,) = of.outbox
    assert (told.start, told.end, told.closed) == (60, 60, True)
    assert [(gap.reason, gap.at_least) for gap in told.gaps] == expected


def test_lo1_of_a_cut_file_only_what_was_there_with_the_content_that_was_read_counts_as_lost() -> None:
    """Its size by now is that of what was written since."""
    of = lineage()
    file: Any = SimpleNamespace(proven_bytes=80, size=5000, offset=60, guard_digest="guard")
    lose_end(of, file, ref(), 9)
    (told,) = of.outbox
    assert [(gap.reason, gap.start, gap.at_least, gap.first_ns, gap.last_ns) for gap in told.gaps] == [
        (GapReason.TRUNCATED, 60, 20, 7, 9)]
    assert told.size == 80
