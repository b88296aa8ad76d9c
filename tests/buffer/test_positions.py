"""How far each file is read: P1 to P5 of positions.py, J1 to J3 of positions_json.py."""
from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from shipper.buffer.positions import Positions, check
from shipper.buffer.positions_json import Snapshot, decode, encode
from shipper.errors import Fatal
from shipper.model import Gap, Lost, Open, Piece, Section
from tests.buffer.nouns import file_of, section, source

A, B = source("a", labels={"app": "web"}), source("b")
FILE, OTHER, NEXT = file_of(A), file_of(B), file_of(A, 1)


def fold(*frames: list[Section]) -> Positions:
    positions = Positions()
    for seq, sections in enumerate(frames, 1):
        positions.commit(positions.plan(seq, sections, 5_000_000_000))
        check(positions)
    return positions


def test_p1_positions_are_the_fold_of_the_frames() -> None:
    state = (Open("stdout", "partial", (Piece(FILE.key, 30, 10),)),)
    found = fold([section(FILE, 0, 2), section(OTHER, 0, 1)], [section(FILE, 20, 2, state=state, last_ns=9, closed=True)])
    assert found.files[FILE.key].offset == 40 and found.files[FILE.key].closed and found.files[FILE.key].last_ns == 9
    assert found.files[OTHER.key].offset == 10
    assert found.lineages[A.lineage].state == state and found.keys_of(A.lineage) == [FILE.key]
    assert (found.seq, found.total_bytes) == (2, 50)


def test_p1_a_lineage_keeps_its_files_in_order_and_the_newest_source() -> None:
    newer = source("a", labels={"app": "db"})
    moved = replace(NEXT, source=newer)
    found = fold([section(FILE, 0, 2)], [section(moved, 0, 1)])
    assert found.keys_of(A.lineage) == [FILE.key, NEXT.key]
    assert found.lineages[A.lineage].source is newer
    assert found.keys_of("never seen") == []


@pytest.mark.parametrize("start", [10, 30, 1000])
def test_p2_a_section_that_does_not_start_where_its_file_ends_is_refused_and_changes_nothing(start: int) -> None:
    positions = fold([section(FILE, 0, 2)])
    before = positions.copy()
    with pytest.raises(ValueError, match=f"starts at byte {start}, the last one ended at 20"):
        positions.plan(2, [section(OTHER, 0, 1), section(FILE, start, 1)], 0)
    assert positions == before


def test_p2_two_sections_of_one_file_in_a_frame_follow_each_other() -> None:
    assert fold([section(FILE, 0, 2), section(FILE, 20, 1)]).files[FILE.key].offset == 30
    with pytest.raises(ValueError):
        fold([section(FILE, 0, 2), section(FILE, 0, 2)])


def test_p2_a_gap_may_cover_a_jump_and_is_told_apart_from_what_was_read() -> None:
    found = fold([section(FILE, 50, 1, gaps=(Gap(0, 50, "start_at_end"),))]).files[FILE.key]
    assert (found.offset, found.read_bytes, found.skipped_bytes, dict(found.gaps)) == (60, 10, 50, {"start_at_end": 50})
    with pytest.raises(ValueError):
        fold([section(FILE, 50, 1, gaps=(Gap(0, 49, "start_at_end"),))])
    assert fold([section(FILE, 50, 1, gaps=(Gap(20, 50, "x"), Gap(0, 20, "y")))]).files[FILE.key].skipped_bytes == 50


def test_p3_gaps_within_a_section_and_drops_are_summed_by_reason() -> None:
    found = fold([section(FILE, 0, 3, gaps=(Gap(0, 10, "truncated"),), drops={"filtered": 2})],
                 [section(FILE, 30, 1, gaps=(Gap(30, -1, "rotated_away", at_least=7),), drops={"filtered": 1})])
    assert dict(found.files[FILE.key].gaps) == {"truncated": 10, "rotated_away": 7}
    assert dict(found.files[FILE.key].drops) == {"filtered": 3}


def test_p2_p3_a_lost_range_is_filled_from_its_start_piece_by_piece_or_by_a_gap() -> None:
    positions = fold([section(FILE, 0, 10)])
    positions.commit(positions.plan_lost([Lost(FILE, 20, 60)]))
    check(positions)
    assert positions.lost == (Lost(FILE, 20, 60),) and positions.files[FILE.key].offset == 100
    with pytest.raises(ValueError):
        positions.plan(2, [section(FILE, 30, 1)], 0)
    positions.commit(positions.plan(2, [section(FILE, 20, 2)], 0))
    check(positions)
    assert positions.lost == (Lost(FILE, 40, 60),)
    gone = Section(FILE, 40, 40, "", None, gaps=(Gap(40, 60, "buffer_damaged"),))
    positions.commit(positions.plan(3, [gone, section(FILE, 100, 1)], 0))
    check(positions)
    found = positions.files[FILE.key]
    assert positions.lost == () and found.offset == 110 and dict(found.gaps) == {"buffer_damaged": 20}


def test_lost_ranges_never_overlap_nor_pass_the_offset() -> None:
    positions = fold([section(FILE, 0, 10)])
    for entry in (Lost(FILE, 20, 40), Lost(FILE, 10, 50), Lost(FILE, 90, 500), Lost(OTHER, 0, 5)):
        positions.commit(positions.plan_lost([entry]))
        check(positions)
    assert sorted((e.start, e.end) for e in positions.lost) == [(10, 20), (20, 40), (40, 50), (90, 100)]


def test_replay_takes_a_jump_as_lost_and_the_total_from_the_frame() -> None:
    positions = fold([section(FILE, 0, 2)])
    positions.commit(positions.plan_replay(4, [section(FILE, 50, 1)], 0, 20 + 30 + 10))
    check(positions)
    assert positions.lost == (Lost(FILE, 20, 50),)
    assert (positions.total_bytes, positions.retired_bytes, positions.files[FILE.key].offset) == (60, 30, 60)


def test_replay_without_the_frames_before_takes_a_file_as_read_so_far() -> None:
    positions = Positions()
    positions.commit(positions.plan_replay(70, [section(FILE, 500, 1)], 0, 9_000, whole=False))
    check(positions)
    assert positions.lost == () and positions.files[FILE.key].offset == 510 and positions.total_bytes == 9_000


def test_p5_a_copy_and_entries_handed_out_stay_as_they_were() -> None:
    positions = fold([section(FILE, 0, 2)])
    entry, copy = positions.files[FILE.key], positions.copy()
    positions.commit(positions.plan(2, [section(FILE, 20, 2)], 0))
    assert entry.offset == 20 and copy.files[FILE.key].offset == 20 and positions.files[FILE.key].offset == 40


def test_a_range_that_is_lost_now_ends_where_it_ends_whatever_is_lost_behind_it() -> None:
    positions = fold([section(FILE, 0, 10)])
    for start, end in ((80, 90), (10, 30), (20, 40), (0, 5), (15, 25)):
        positions.commit(positions.plan_lost([Lost(FILE, start, end)]))
        check(positions)
    assert sorted((entry.start, entry.end) for entry in positions.lost) == [(0, 5), (10, 30), (30, 40), (80, 90)]


# ---------------------------------------------------------------- positions.json

def snapshot() -> Snapshot:
    state = (Open("stdout", "lines", (Piece(FILE.key, 0, 10),)),)
    positions = fold([section(FILE, 0, 9, state=state), section(OTHER, 50, 1, gaps=(Gap(0, 50, "truncated"),))],
                     [section(NEXT, 0, 1, closed=True, drops={"filtered": 4})])
    positions.commit(positions.plan_lost([Lost(FILE, 10, 30)]))
    return Snapshot(positions, bytes(range(16)), frozenset({(3, 99)}))


def without_source(positions: Positions) -> object:
    """Sources and files are equal by identity; compare what they say."""
    return [(k, f.offset, f.guard, f.size, f.last_ns, f.closed, f.read_bytes, f.skipped_bytes, dict(f.gaps), dict(f.drops),
             f.seen_s, f.seq, f.file.path, f.file.inode, f.file.source.to_json()) for k, f in positions.files.items()]


def test_j1_what_was_written_comes_back_equal_and_shares_its_sources() -> None:
    written = snapshot()
    read = decode(encode(written, 7.0), "positions.json")
    assert without_source(read.positions) == without_source(written.positions)
    assert (read.uuid, read.damaged) == (written.uuid, written.damaged)
    assert read.positions.lineages[A.lineage].state == written.positions.lineages[A.lineage].state
    assert read.positions.lineages[A.lineage].keys == (FILE.key, NEXT.key)
    assert read.positions.files[FILE.key].file.source is read.positions.lineages[A.lineage].source
    assert [(e.file.key, e.start, e.end) for e in read.positions.lost] == [(FILE.key, 10, 30)]


def test_it_reads_well_one_file_a_line() -> None:
    lines = encode(snapshot(), 7.0).decode().splitlines()
    assert any(line.startswith(f'"{FILE.key}":{{"offset":90,') for line in lines)


def test_j2_j3_any_other_bytes_are_refused_and_a_later_version_names_the_mend() -> None:
    good = encode(snapshot(), 7.0)
    for cut in range(0, len(good) - 2, 7):
        with pytest.raises(ValueError):
            decode(good[:cut], "positions.json")
    edited = orjson.loads(good)
    edited["files"][FILE.key]["offset"] += 1
    with pytest.raises(ValueError, match="offset 91 is not read"):
        decode(orjson.dumps(edited), "positions.json")
    edited["version"] = 99
    with pytest.raises(Fatal, match="later release"):
        decode(orjson.dumps(edited), "positions.json")
