"""Positions of files that are gone are forgotten, and take nothing along (UN1, UN2 of buffer/unseen.py)."""
from __future__ import annotations

import pytest

from shipper.buffer.positions import Positions, check
from shipper.buffer.unseen import KEEP_S, SEEN_EVERY_S, plan_seen
from shipper.model import Lost, Section
from tests.buffer.nouns import file_of, section, source

A, B = source("a"), source("b")
FILE, OTHER, NEXT = file_of(A), file_of(B), file_of(A, 1)
READ_S = 5.0


def fold(*frames: list[Section]) -> Positions:
    positions = Positions()
    for seq, sections in enumerate(frames, 1):
        positions.commit(positions.plan(seq, sections, int(READ_S * 1e9)))
    return positions


def after(positions: Positions, *, keys: list[str], now_s: float, limit: int = 50_000) -> Positions:
    positions.commit(plan_seen(positions, keys, now_s, limit=limit))
    check(positions)
    return positions


def test_files_unseen_for_seven_days_are_forgotten_and_their_bytes_retired() -> None:
    now_s = READ_S + KEEP_S + 1
    positions = after(fold([section(FILE, 0, 2), section(OTHER, 0, 1)]), keys=[OTHER.key], now_s=now_s)
    assert list(positions.files) == [OTHER.key] and list(positions.lineages) == [B.lineage]
    assert positions.retired_bytes == 20 and positions.files[OTHER.key].seen_s == now_s


def test_a_file_is_not_forgotten_on_the_last_of_the_seven_days() -> None:
    positions = after(fold([section(FILE, 0, 2)]), keys=[], now_s=READ_S + KEEP_S)
    assert list(positions.files) == [FILE.key] and positions.retired_bytes == 0


def test_a_lineage_keeps_its_other_files() -> None:
    positions = after(fold([section(FILE, 0, 2)], [section(NEXT, 0, 1)]), keys=[NEXT.key], now_s=READ_S + KEEP_S + 1)
    assert positions.keys_of(A.lineage) == [NEXT.key]


def test_the_lost_range_of_a_forgotten_file_goes_with_it_and_others_stay() -> None:
    """The bytes of a lost range are retired already: they are not read, and not counted twice."""
    positions = fold([section(FILE, 0, 2), section(OTHER, 0, 2)])
    positions.commit(positions.plan_lost([Lost(FILE, 0, 10), Lost(OTHER, 10, 20)]))
    after(positions, keys=[OTHER.key], now_s=READ_S + KEEP_S + 1)
    assert positions.lost == (Lost(OTHER, 10, 20),) and positions.retired_bytes == 30


@pytest.mark.parametrize("limit", [0, 2])
def test_beyond_the_limit_the_oldest_closed_files_go_and_open_ones_stay(limit: int) -> None:
    positions = fold(*[[section(file_of(A, n), 0, 1, closed=n != 3)] for n in range(6)])
    for n in range(6):
        positions.files[file_of(A, n).key].seen_s = READ_S + (5 - n)      # the last one is the oldest
    after(positions, keys=[file_of(A, 0).key], now_s=READ_S + 6, limit=4 if limit else 0)
    kept = [0, 1, 2, 3] if limit else [0, 3]
    assert positions.keys_of(A.lineage) == [file_of(A, n).key for n in kept]


def test_those_that_go_by_their_age_are_not_counted_among_those_that_go_beyond_the_limit() -> None:
    positions = fold(*[[section(file_of(A, n), 0, 1, closed=True)] for n in range(6)])
    now_s = READ_S + KEEP_S + 1
    for n in (3, 4, 5):
        positions.files[file_of(A, n).key].seen_s = now_s - n             # 5 is the oldest of them, and 0 to 2 are too old
    after(positions, keys=[], now_s=now_s, limit=2)
    assert positions.keys_of(A.lineage) == [file_of(A, 3).key, file_of(A, 4).key]


def test_what_exists_is_written_anew_each_hour_and_not_each_time() -> None:
    positions = fold([section(FILE, 0, 2)])
    assert not plan_seen(positions, [FILE.key, "unknown"], READ_S + SEEN_EVERY_S).files
    later = plan_seen(positions, [FILE.key], READ_S + SEEN_EVERY_S + 1)
    assert later.files[FILE.key].seen_s == READ_S + SEEN_EVERY_S + 1 and positions.files[FILE.key].seen_s == READ_S
