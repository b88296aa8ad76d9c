"""Where a row stands in which stream, against a model; what an answer means."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.sinks._bigquery_write_chain import Chain, Plan, Refusals, Verdict, chains_from, judge
from shipper.sinks._bigquery_write_streams import Streams, World
from shipper.sinks._bigquery_write_wire import Answer
from shipper.telemetry import Telemetry


def plan(number: int, *counts: int, **keys: Any) -> Plan:
    return Plan(number, {"buffer": "b", "table": "t", "blocks": [[0, 0, 0, 0, count, []] for count in counts]}, number, **keys)


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=5), st.data())
@settings(max_examples=100)
def test_wc1_after_any_moves_removals_and_dead_rows_each_row_is_sent_to_one_place(counts: list[list[int]], data: Any) -> None:
    """The model: streams as lists of rows. Appends go in order; at any moment the stream is replaced, a plan is forgotten, or
    rows in front of everything that was sent die."""
    plans = [plan(number, *blocks) for number, blocks in enumerate(counts, 5)]
    chain, streams = Chain("s0", 5, 0), [[]]      # type: ignore[var-annotated]
    gone: list[Plan] = []
    while plans:
        what = data.draw(st.sampled_from(["append", "append", "append", "move", "die"]))
        waiting = plans[0]
        if what == "move":
            chain = chain.moved(f"s{len(streams)}", plans, waiting, len(streams[-1]))
            streams.append([])
            waiting.acked = 0
        elif waiting.acked < len(waiting.blocks):
            index, block = waiting.acked, waiting.blocks[waiting.acked]
            offset = chain.offset_of(plans, waiting, index)
            if block.live and offset + block.live > 0:
                skip = max(-offset, 0)
                assert max(offset, 0) == len(streams[-1]), "the next append stands at the end of the stream"
                if what == "die" and not block.dead:
                    block.dead = [block.living()[skip]]
                    continue
                streams[-1] += [(waiting.number, index, row) for row in block.living()[skip:]]
            waiting.acked += 1
        else:
            chain = chain.after(waiting)
            gone.append(plans.pop(0))
    there = [row for stream in streams for row in stream]
    assert there == [(one.number, i, row) for one in gone for i, block in enumerate(one.blocks) for row in block.living()]


def test_a_stream_that_cannot_be_counted_counts_as_what_was_acknowledged() -> None:
    one, two = plan(5, 10, 10), plan(6, 10)
    one.acked = 1
    moved = Chain("old", 5, 100).moved("new", [one, two], one, None)
    assert moved == Chain("new", 5, -10)
    assert [moved.offset_of([one, two], *place) for place in ((one, 0), (one, 1), (two, 0))] == [-10, 0, 10]


class _Channel:
    """Whose old stream has ten rows."""

    async def finalize(self, stream: str) -> int:
        return 10

    async def create_stream(self, table: str) -> str:
        return "new"


@pytest.mark.parametrize(("torn", "ours_to", "offset"), [
    (None, None, -6), (5, None, 0), (None, 7, -3), (5, 7, 0), (6, None, -6), (6, 4, 0)])
async def test_wc4_rows_of_a_plan_that_was_given_up_are_not_taken_for_those_of_the_one_that_has_its_number(
    torn: int | None, ours_to: int | None, offset: int,
) -> None:
    """Its spool file was damaged after six of its rows were appended behind four of ours. The new plan's rows are others: with
    six of them skipped as being there already they would be lost."""
    one = plan(5, 8)
    world = World("far", [one], lambda: None, None, None, Telemetry(), lambda: 0.0, None, lambda: None)  # type: ignore[arg-type]
    streams = Streams(_Channel(), world)  # type: ignore[arg-type]
    streams.chains["b/t"] = Chain("old", 5, 4, torn)
    await streams.move(one, ours_to)
    assert streams.chains["b/t"] == Chain("new", 5, offset)


def test_wc4_a_stream_is_torn_at_the_first_of_the_plans_that_were_given_up_and_one_that_never_was_is_not() -> None:
    chain = Chain("old", 3, 0)
    for number in (5, 7, 6):
        chain.tear(number)
    assert chain.torn == 5 and chain.takes(plan(4, 1)) and not chain.takes(plan(5, 1))
    never = Chain("", 3, 0)
    never.tear(5)
    assert never.torn is None


def test_a_stream_with_fewer_rows_than_the_plan_begins_with_repeats_nothing_of_before() -> None:
    assert Chain("old", 5, 100).moved("new", [plan(5, 10)], plan(5, 10), 90) == Chain("new", 5, 0)


@pytest.mark.parametrize(("answer", "verdict"), [
    (Answer(offset=0), Verdict.WRITTEN), (Answer(6), Verdict.EXISTS), (Answer(6, "", 8), Verdict.EXISTS),
    (Answer(11), Verdict.BEHIND), (Answer(11, "", 9), Verdict.BEHIND), (Answer(3, "", 0, ((0, "x"),)), Verdict.ROWS),
    (Answer(9, "", 6), Verdict.LOST), (Answer(5), Verdict.LOST), (Answer(5, "", 3), Verdict.LOST),
    (Answer(3, "", 5), Verdict.LOST),
    (Answer(5, "", 1), Verdict.NO_TABLE), (Answer(3, "", 7), Verdict.COLUMNS), (Answer(3), Verdict.INVALID),
    *[(Answer(code), Verdict.AGAIN) for code in (1, 2, 4, 7, 8, 10, 12, 13, 14, 15, 16, 99)], (Answer(7, "", 14), Verdict.AGAIN)])
def test_what_an_answer_means(answer: Answer, verdict: Verdict) -> None:
    assert judge(answer) is verdict


def test_a_hundred_rows_or_two_whole_requests_refused_in_a_row_are_the_table() -> None:
    refusals = Refusals()
    assert refusals.is_table(100, 100) and not refusals.is_table(99, 99) and not refusals.is_table(100, 101)
    refusals.refused(99, 99)
    assert refusals.is_table(1, 1) and not refusals.is_table(1, 2)
    refusals.written()
    assert not refusals.is_table(1, 1)


def test_what_was_kept_comes_back_and_damage_is_said() -> None:
    chain = Chain("s", 7, -3)
    assert chains_from({"chains": {"b/t": chain.to_json()}}) == {"b/t": chain} and chains_from({}) == {}
    for damaged in ({"chains": {"b/t": {}}}, {"chains": 7}, {"chains": {"b/t": {"stream": "s", "plan": None, "offset": 0}}}):
        with pytest.raises(ValueError):
            chains_from(damaged)
