"""What a refusal means. V: split.py."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver.account import Position
from shipper.deliver.split import Refusals, cut, judge, part, samples
from shipper.errors import DropReason, Partial, Rejected, TooLarge
from shipper.model import Batch

from .support import section, source

SOURCES = [source(f"s{n}") for n in range(12)]


def batches_of(sizes: list[int]) -> list[Batch]:
    made, n = [], 0
    for which, size in enumerate(sizes):
        batch = section(SOURCES[which], 0, [b"%d" % (n + i) for i in range(size)]).batch
        assert batch is not None
        made.append(batch)
        n += size
    return made


def numbers(batches: list[Batch]) -> list[int]:
    return [int(m) for batch in batches for m in batch.messages]


sizes = st.lists(st.integers(1, 8), min_size=1, max_size=5)
errors = st.one_of(
    st.builds(lambda i: TooLarge("x", indexes=tuple(i)), st.lists(st.integers(-2, 45), max_size=5)),
    st.builds(
        lambda i, taken: Rejected("x", indexes=tuple(i), rest_delivered=taken),
        st.lists(st.integers(-2, 45), max_size=5), st.booleans(),
    ),
)


@given(sizes, errors)
def test_each_record_is_dead_or_sent_again_or_accepted_in_order(sizes, error):
    batches = batches_of(sizes)
    verdict = judge(error, batches)
    dead = numbers([candidate.batch for candidate in verdict.dead])
    again = [n for part in verdict.again for n in numbers(part)]
    assert again == sorted(again) and dead == sorted(dead) and not set(again) & set(dead)
    rest = set(range(sum(sizes))) - set(again) - set(dead)
    assert bool(rest) == verdict.accepted
    assert all(sum(map(len, part)) < sum(sizes) for part in verdict.again)                   # V3


@given(sizes, st.sets(st.integers(0, 39)))
def test_part_takes_out_single_records_and_leaves_all_others_in_order(sizes, indexes):
    count = sum(sizes)
    picked, others = part(batches_of(sizes), sorted(i for i in indexes if i < count))
    assert numbers(picked) == sorted(i for i in indexes if i < count) and all(len(batch) == 1 for batch in picked)
    assert numbers(others) == [n for n in range(count) if n not in indexes]


@given(sizes, st.integers(0, 40), st.integers(0, 40))
def test_cut_is_a_slice_over_all_batches(sizes, low, high):
    assert numbers(cut(batches_of(sizes), low, high)) == list(range(sum(sizes)))[low:high]


def test_a_single_record_is_a_candidate_with_the_answer_it_got():
    [batch] = batches_of([1])
    assert judge(TooLarge("413 over 1 MiB"), [batch]).dead == [(batch, DropReason.TOO_LARGE, "413 over 1 MiB")]
    assert judge(Rejected("bad field"), [batch]).dead == [(batch, DropReason.REJECTED, "bad field")]


def test_a_hundred_records_or_two_requests_in_a_row_are_too_many():
    refusals = Refusals()
    refusals.refused(99)
    refusals.request_refused()
    assert not refusals.over
    refusals.refused(1)
    assert refusals.over
    refusals.accepted()
    assert not refusals.over and refusals.ever_accepted
    refusals.request_refused()
    refusals.request_refused()
    assert refusals.over


def test_samples_are_the_first_record_and_the_last_of_as_many_sources_as_there_is_room_for():
    pieces = [(Position(n, 0), batch) for n, batch in enumerate(batches_of([3] * 12))]
    chosen = samples(pieces, 8)
    assert numbers([batch for _, batch in chosen])[0] == 0
    assert numbers([batch for _, batch in chosen])[1] == 35
    assert len(chosen) <= 8 and all(len(batch) == 1 for _, batch in chosen)
    assert chosen[1][0] == (11, 3)
    assert samples([], 8) == []
    [(first, _), (last, batch)] = samples(pieces[:1], 8)
    assert (first, last, numbers([batch])) == ((0, 0), (0, 3), [2])


def test_an_answer_record_by_record_parts_the_dead_from_those_that_go_again():
    batches = batches_of([4, 3])
    error = Partial("2 of 7", dead={1: "bad date", 5: "too old"}, retry=(0, 2, 3, 4, 5, 99), retry_after_s=3.0)
    verdict = judge(error, batches)
    assert [(c.batch.messages[0], c.reason, c.response) for c in verdict.dead] == [
        (b"1", DropReason.REJECTED, "bad date"), (b"5", DropReason.REJECTED, "too old")]
    assert [list(b.messages) for b in verdict.again[0]] == [[b"0"], [b"2", b"3"], [b"4"]]
    assert verdict.accepted and verdict.pause is not None and verdict.pause.retry_after_s == 3.0
    assert judge(Partial("", retry=range(7)), batches).accepted is False
    assert judge(Partial("nothing wrong"), batches) == ([], [], True, None)
