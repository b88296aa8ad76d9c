"""R1 to R3: fair turns."""
from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from shipper.tail.turns import Turns


def test_a_namespace_with_many_files_gets_no_more_than_one_with_one():
    """R2"""
    turns: Turns[str] = Turns(100)
    for number in range(50):
        turns.add("loud", f"loud-{number}")
    turns.add("quiet", "quiet-0")
    got = {"loud": 0, "quiet": 0}
    for _ in range(2000):
        namespace, entry = turns.take()
        got[namespace] += 100
        turns.spent(namespace, 100)
        turns.add(namespace, entry)
    assert abs(got["loud"] - got["quiet"]) <= 200


def test_big_reads_are_paid_for_in_later_rounds():
    """R2: one namespace reads 1 MiB at once, the other 1 KiB; bytes are equal, not turns."""
    turns: Turns[str] = Turns(1000)
    sizes = {"bulk": 10_000, "small": 100}
    for namespace in sizes:
        turns.add(namespace, namespace)
    got = dict.fromkeys(sizes, 0)
    for _ in range(5000):
        namespace, entry = turns.take()
        got[namespace] += sizes[namespace]
        turns.spent(namespace, sizes[namespace])
        turns.add(namespace, entry)
    assert abs(got["bulk"] - got["small"]) < 0.1 * got["small"]       # a read is known only after its turn


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=60), st.integers(0, 1000))
def test_everything_queued_is_taken_exactly_once(entries, seed):
    """R1, R3"""
    turns: Turns[tuple[int, int]] = Turns(10)
    for namespace, number in entries:
        turns.add(str(namespace), (namespace, number))
    assert len(turns) == len(set(entries))
    rng, taken = random.Random(seed), []
    while turns:
        namespace, entry = turns.take()
        turns.spent(namespace, rng.randint(1, 50))
        taken.append(entry)
    assert sorted(taken) == sorted(set(entries))


def test_a_dropped_entry_is_not_taken():
    turns: Turns[str] = Turns()
    turns.add("a", "one")
    turns.add("a", "two")
    turns.discard("one")
    turns.discard("never there")
    assert turns.take() == ("a", "two") and not turns
