"""The newest frames in memory: H1 to H3 of ring.py."""
from __future__ import annotations

from shipper.buffer.ring import Ring
from shipper.model import Frame


def frames(*seqs: int, size: int = 10) -> list[Frame]:
    return [Frame(seq, [], 0, 0, size) for seq in seqs]


def ring_of(*made: Frame, limit: int = 100) -> Ring:
    ring = Ring(limit)
    for frame in made:
        ring.add(frame)
    return ring


def test_h1_the_oldest_go_when_the_limit_is_passed_but_never_the_newest() -> None:
    ring = ring_of(*frames(1, 2, 3), limit=25)
    assert ring.first_seq(0) == 2 and ring.bytes == 20
    assert ring_of(*frames(1, size=500), limit=25).read(1, 1)[0].seq == 1  # type: ignore[index]


def test_h2_the_very_frames_come_back_up_to_the_bytes_asked_for_and_at_least_one() -> None:
    made = frames(4, 5, 6)
    ring = ring_of(*made)
    assert ring.read(5, 15) == made[1:2] and ring.read(4, 1)[0] is made[0]  # type: ignore[index]
    assert ring.read(4, 1000) == made
    assert ring.read(7, 1000) == []
    assert ring.read(3, 1000) is None, "older ones are on disk"
    assert ring_of().read(1, 10) is None


def test_h2_missing_numbers_are_stepped_over() -> None:
    ring = ring_of(*frames(4, 9, 10))
    assert [f.seq for f in ring.read(5, 1000) or []] == [9, 10]
    assert [f.seq for f in ring.read(10, 1000) or []] == [10]


def test_h3_passed_frames_are_let_go_and_abandoned_ones_cut_off() -> None:
    ring = ring_of(*frames(1, 2, 3, 4))
    ring.trim(3)
    assert ring.first_seq(0) == 3 and ring.bytes == 20
    ring.cut(3)
    assert [f.seq for f in ring.read(3, 100) or []] == [3] and ring.bytes == 10
    ring.trim(99)
    assert ring.first_seq(77) == 77 and ring.bytes == 0
