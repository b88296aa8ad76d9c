"""What a start makes of the state directory: R1 to R4 of recovery.py, D1 to D3 of damage.py."""
from __future__ import annotations

import orjson
import pytest

from shipper.buffer.damage import KEPT, Quarantine
from shipper.buffer.framing import SEGMENT_HEAD, SEGMENT_MAGIC
from shipper.buffer.limits import BALLAST_BYTES, QUARANTINE_BYTES
from shipper.buffer.view import inspect
from shipper.errors import Fatal, Usage
from shipper.model import Gap
from tests.buffer.nouns import file_of, section, source
from tests.buffer.rig import ROOT, Rig, settings
from tests.support.faults import FaultyFiles

A, B = source("a"), source("b")
FILE, OTHER, NEXT = file_of(A), file_of(B), file_of(A, 1)


def started() -> Rig:
    rig = Rig()
    rig.cursor("s", 1)
    rig.tick()
    return rig


def test_an_empty_directory_is_an_empty_buffer_with_an_identity_that_stays() -> None:
    rig = Rig()
    uuid = rig.found.uuid
    assert (rig.found.last_seq, rig.live.total_bytes, rig.found.notes) == (0, 0, [])
    rig.files.crash()
    assert rig.start().uuid == uuid


def test_r1_kill_9_loses_nothing_that_was_appended() -> None:
    rig = started()
    rig.append(FILE, 3, 4)
    rig.append(OTHER, 5)
    before = rig.live.copy()
    rig.files.kill()
    rig.start()
    assert rig.live.total_bytes == before.total_bytes == 120 and rig.offset(FILE) == 70
    assert rig.seqs() == [1, 2, 3] and rig.next_seq == 4


@pytest.mark.parametrize("seed", range(12))
def test_frames_that_a_failed_sync_left_in_memory_survive_a_kill_and_the_power_cut_after_it(seed: int) -> None:
    rig = Rig(FaultyFiles(seed))
    rig.cursor("s", 1)
    rig.append(FILE, 2)
    rig.tick()
    rig.append(FILE, 3)
    rig.files.fail("sync")
    rig.files.failures["truncate"] = [5, -1]  # so that the failed frames cannot be cut
    rig.tick()
    rig.files.kill()
    rig.start()
    assert rig.offset(FILE) == 50, "they are in the page cache: taken as they are"
    rig.cursor("s", 2)
    rig.tick()
    rig.files.crash()
    rig.start()
    assert rig.offset(FILE) == 50 and rig.seqs() == [1, 2] and rig.notes() == []


def test_a_start_writes_nothing_again_that_is_known_to_be_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.close()
    renewed: list[str] = []
    monkeypatch.setattr(rig.files, "renew", renewed.append)
    rig.start()
    assert renewed == [] and rig.seqs() == [1]
    rig.append(FILE, 2)
    rig.files.kill()
    rig.start()
    assert [path[-20:] for path in renewed] == ["0000000000000002.seg"]


def test_a_segment_whose_removal_did_not_reach_the_disk_comes_back_and_costs_nothing() -> None:
    came_back = 0
    for seed in range(12):
        rig = Rig(FaultyFiles(seed))
        rig.append(FILE, 2)
        rig.cursor("s", 2)
        rig.close()
        assert rig.seqs() == []
        rig.files.crash()
        rig.start()
        came_back += len(rig.found.segments)
        assert (rig.notes(), rig.lost(), rig.offset(FILE)) == ([], [], 20)
        assert rig.engine.cursors.now["s"].seq == 2
    assert 0 < came_back < 12


def test_r1_a_torn_tail_is_cut_at_every_byte_and_its_range_is_read_again() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.append(FILE, 3)
    path, start, end = rig.place_of(2)
    whole = {name: bytes(data) for name, data in rig.files.cache.items() if name != f"{ROOT}/ballast"}  # 4 MiB a try
    for cut in range(start, end):
        files = FaultyFiles()
        files.room = BALLAST_BYTES // 2                    # none is made anew
        files.cache = {name: bytearray(data) for name, data in whole.items()}
        files.durable = {name: data for name, data in whole.items() if name != path}
        del files.cache[path][cut:]
        torn = Rig(files)
        assert torn.seqs() == [1] and torn.offset(FILE) == 20, f"cut at {cut}"
        assert torn.lost() == [] and len(files.cache[path]) == start
        torn.append(FILE, 3)
        assert torn.seqs() == [1, 2] and torn.live.total_bytes == 50


def test_r1_zeros_at_the_end_are_a_torn_tail() -> None:
    rig = started()
    rig.append(FILE, 2)
    path, _, _ = rig.place_of(1)
    rig.files.cache[path] += bytes(5_000)
    rig.start()
    assert rig.seqs() == [1] and rig.notes() == ["torn_tail_cut"]


def test_a_new_process_never_appends_to_an_old_segment() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.start()
    rig.append(FILE, 2)
    assert [s.first_seq for s in rig.engine.log.segments] == [1, 2]


@pytest.mark.parametrize("junk", [b"", bytes(5_000), b"garbage" * 100, SEGMENT_MAGIC, SEGMENT_MAGIC + bytes(10)])
def test_r3_empty_zeroed_and_garbage_segments_are_set_aside(junk: bytes) -> None:
    rig = started()
    rig.append(FILE, 2)
    for name in ("0000000000000009.seg", "0000000000000000.seg"):
        rig.files.cache[f"{ROOT}/buffer/{name}"] = bytearray(junk)
    rig.start()
    assert rig.seqs() == [1] and rig.offset(FILE) == 20
    assert len(rig.files.names(f"{ROOT}/buffer")) == 1
    kept = rig.files.names(f"{ROOT}/quarantine")
    assert len(kept) == (2 if junk.strip(b"\0") else 0)


def test_r3_files_that_are_not_ours_are_left_alone_and_leftover_temp_files_removed() -> None:
    rig = started()
    for name in ("buffer/README", "buffer/xyz.seg", "cursors/note.txt"):
        rig.files.cache[f"{ROOT}/{name}"] = bytearray(b"hello")
    for name in ("positions.json.tmp", "cursors/s.json.tmp", "buffer/x.tmp"):
        rig.files.cache[f"{ROOT}/{name}"] = bytearray(b"half")
    rig.start()
    assert not [name for name in rig.files.cache if name.endswith(".tmp")]
    assert rig.files.cache[f"{ROOT}/buffer/xyz.seg"] == b"hello"


@pytest.mark.parametrize("name", [
    "buffer/0000_0000_0000_9.seg", "buffer/+00000000000000f.seg", "buffer/000000000000000F.seg", "buffer/-000000000000001.seg",
    "cursors/50%.json", "cursors/%zz%.json", "cursors/%fffffffff%.json", "cursors/central (copy).json", "cursors/.json",
])
def test_r3_a_copy_that_somebody_left_there_does_not_keep_the_agent_from_starting(name: str) -> None:
    """A backup with a % in its name ended the start with a traceback, each time; others held the buffer as a sink that left."""
    rig = started()
    rig.append(FILE, 2)
    copied = f"{ROOT}/buffer/0000000000000001.seg" if name.startswith("buffer") else f"{ROOT}/cursors/s.json"
    rig.files.cache[f"{ROOT}/{name}"] = bytearray(rig.files.cache.get(copied, b"{}"))
    before = bytes(rig.files.cache[f"{ROOT}/{name}"])
    rig.start()
    assert rig.seqs() == [1] and rig.offset(FILE) == 20 and set(rig.engine.cursors.now) <= {"s"}
    assert rig.files.cache[f"{ROOT}/{name}"] == before


@pytest.mark.parametrize("path", ["buffer/0000000000000001.seg", "positions.json", "cursors/s.json"])
def test_a_version_from_the_future_is_fatal_and_nothing_is_touched(path: str) -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.close()
    rig.append(FILE, 1)
    segment = rig.engine.log.segments[0].path
    rig.files.cache[segment] += b"torn"
    rig.files.cache[f"{ROOT}/positions.json.tmp"] = bytearray(b"half")
    if path.endswith(".seg"):
        head = SEGMENT_HEAD.pack(SEGMENT_MAGIC, 99, 0, bytes(16))
        rig.files.cache[f"{ROOT}/{path}"] = bytearray(head) + rig.files.cache[segment][SEGMENT_HEAD.size :]
    else:
        content = orjson.loads(rig.files.cache[f"{ROOT}/{path}"])
        rig.files.cache[f"{ROOT}/{path}"] = bytearray(orjson.dumps({**content, "version": 99}))
    before = {name: bytes(data) for name, data in rig.files.cache.items()}
    with pytest.raises(Fatal, match="later release"):
        rig.start()
    assert {name: bytes(data) for name, data in rig.files.cache.items()} == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version":1}', bytes(300)])
def test_damaged_positions_are_derived_from_the_frames_that_are_held(damage: bytes) -> None:
    rig = started()
    rig.append(FILE, 2, 3)
    rig.frame(section(OTHER, 90, 1, gaps=(Gap(0, 90, "start_at_end"),)))
    rig.files.cache[f"{ROOT}/positions.json"] = bytearray(damage)
    rig.start()
    assert "positions_damaged" in rig.notes()
    assert rig.offset(FILE) == 50 and rig.offset(OTHER) == 100 and rig.live.total_bytes == 60 and rig.lost() == []
    assert rig.seqs() == [1, 2, 3]


def test_lost_positions_of_a_file_whose_first_frames_are_gone_take_it_as_read_so_far() -> None:
    rig = Rig(given=settings(segment_size=4096))
    rig.cursor("s", 1)
    rig.append(FILE, *[50] * 4)
    rig.cursor("s", 3)
    rig.tick(2)
    rig.tick(2)
    assert rig.engine.log.first_seq > 1
    del rig.files.cache[f"{ROOT}/positions.json"]
    rig.start()
    assert rig.offset(FILE) == 2_000 and rig.lost() == [] and rig.live.total_bytes == 2_000


def test_the_next_number_is_behind_everything_that_was_ever_said() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.tick()
    content = orjson.loads(rig.files.cache[f"{ROOT}/cursors/s.json"])
    rig.files.cache[f"{ROOT}/cursors/s.json"] = bytearray(orjson.dumps({**content, "seq": 40, "index": 3}))
    rig.start()
    assert rig.next_seq == 41
    cursor = rig.engine.cursors.now["s"]
    assert cursor.place == (2, 0) and "cursor_clamped" in rig.notes()
    rig.append(FILE, 1)
    assert rig.seqs() == [41], "frame 1 is behind the cursor: its segment is gone"


def test_a_damaged_cursor_gets_everything_that_is_held_again() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.cursor("s", 2)
    rig.tick()
    rig.files.cache[f"{ROOT}/cursors/s.json"] = bytearray(b'{"version":1,"se')
    rig.start()
    assert rig.engine.cursors.now["s"].place == (0, 0) and "cursor_damaged" in rig.notes()


# ---------------------------------------------------------------- damage behind positions.json

def test_d1_a_damaged_frame_in_the_middle_costs_its_range_which_is_told_once() -> None:
    for rot in ("rot_header", "rot_body"):
        rig = started()
        rig.append(FILE, 2, 3, 4)
        rig.append(FILE, 1)
        getattr(rig, rot)(2)
        rig.start()
        assert rig.lost() == [(FILE.key, 20, 50)] and rig.offset(FILE) == 100, rot
        assert rig.seqs() == [1, 3, 4] and rig.found.damaged_frames == 1
        assert len(rig.files.names(f"{ROOT}/quarantine")) == 1
        rig.start()
        assert rig.lost() == [(FILE.key, 20, 50)] and rig.found.damaged_frames == 0, "R2: once, however often we start"
        rig.append(OTHER, 1)
        rig.frame(section(FILE, 20, 3))
        rig.files.kill()
        rig.start()
        assert rig.lost() == [], "read again, and known to be"


def test_a_damaged_last_frame_of_a_file_is_just_read_again() -> None:
    rig = started()
    rig.append(FILE, 2, 3)
    rig.append(OTHER, 1)
    rig.rot_body(2)
    rig.start()
    assert rig.offset(FILE) == 20 and rig.lost() == [] and rig.live.total_bytes == 60
    rig.append(FILE, 3)
    rig.start()
    assert rig.offset(FILE) == 50


def test_a_frame_that_defined_its_files_does_not_take_the_later_ones_along() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.tick(40)
    rig.start()               # positions.json knows the file now
    rig.append(FILE, 3)       # a new segment: this frame defines it again
    rig.append(FILE, 4)
    rig.rot_header(2)
    rig.start()
    assert rig.seqs() == [1, 3]
    assert rig.lost() == [(FILE.key, 20, 50)]


# ---------------------------------------------------------------- damage that positions.json covers

def covered(*frames: tuple[object, int]) -> Rig:
    """Frames of one segment that positions.json covers, and a cursor that needs them all."""
    rig = started()
    for file, count in frames:
        rig.append(file, count)  # type: ignore[arg-type]
    rig.tick(40)
    rig.engine._keeper.urgent = rig.engine._keeper.changed = True
    rig.tick()
    assert rig.engine._keeper.written_seq == len(frames)
    return rig


def test_the_body_of_a_covered_frame_leaves_its_exact_ranges_in_its_header() -> None:
    rig = covered((FILE, 2), (OTHER, 3), (FILE, 4))
    rig.rot_body(2)
    rig.start()
    assert rig.lost() == [(OTHER.key, 0, 30)] and rig.seqs() == [1, 3]


def test_without_its_header_the_neighbours_tell() -> None:
    rig = covered((FILE, 2), (FILE, 3), (FILE, 4))
    rig.rot_header(2)
    rig.start()
    assert rig.lost() == [(FILE.key, 20, 50)] and "damaged_ranges_unknown" not in rig.notes()


def test_without_its_header_and_with_no_frame_before_it_the_totals_tell() -> None:
    rig = covered((OTHER, 1), (FILE, 3), (FILE, 4))
    rig.rot_header(2)
    rig.start()
    assert rig.lost() == [(FILE.key, 0, 30)] and "damaged_ranges_unknown" not in rig.notes()


def test_the_last_frame_of_a_file_without_its_header_is_told_by_its_position() -> None:
    rig = covered((FILE, 2), (FILE, 3), (OTHER, 4))
    rig.rot_header(2)
    rig.start()
    assert rig.lost() == [(FILE.key, 20, 50)]


def test_what_cannot_be_told_is_said_in_bytes() -> None:
    rig = started()
    rig.append(FILE, 1)
    rig.frame(section(OTHER, 0, 2), section(NEXT, 0, 3))
    rig.append(OTHER, 1)
    rig.append(NEXT, 1)
    rig.engine._keeper.urgent = True
    rig.tick()
    rig.rot_header(2)
    rig.start()
    assert rig.lost() == [] and rig.found.unknown_bytes == 50 and "damaged_ranges_unknown" in rig.notes()


def test_d2_damage_that_every_cursor_has_passed_costs_nothing() -> None:
    for rot in ("rot_header", "rot_body"):
        rig = covered((FILE, 2), (FILE, 3), (FILE, 4))
        rig.cursor("s", 3)
        rig.tick()
        getattr(rig, rot)(2)
        rig.start()
        assert rig.lost() == [] and rig.offset(FILE) == 90 and rig.found.damaged_frames == 1


def test_frames_that_a_disk_lost_after_calling_them_synced_are_noticed() -> None:
    rig = covered((OTHER, 2), (FILE, 3))
    path, start, _ = rig.place_of(2)
    del rig.files.cache[path][start:]
    rig.start()
    assert rig.lost() == [(FILE.key, 0, 30)] and rig.found.damaged_frames == 1 and rig.next_seq == 3


def test_the_quarantine_holds_the_bytes_as_they_were_found() -> None:
    rig = covered((FILE, 2), (FILE, 3), (FILE, 4))
    path, start, end = rig.place_of(2)
    rig.rot_body(2)
    found = bytes(rig.files.cache[path][start:end])
    rig.start()
    (name,) = rig.files.names(f"{ROOT}/quarantine")
    assert rig.files.cache[f"{ROOT}/quarantine/{name}"] == found
    assert rig.found.quarantine_bytes == len(found) == rig.out.usage.quarantine


# ---------------------------------------------------------------- looking without touching

def test_r4_inspect_sees_what_a_start_would_and_changes_nothing() -> None:
    rig = started()
    rig.append(FILE, 2, 3)
    rig.rot_body(1)
    path = rig.engine.log.segments[0].path
    rig.files.cache[path] += b"torn"
    rig.files.cache[f"{ROOT}/positions.json.tmp"] = bytearray(b"half")
    before, changes = {name: bytes(data) for name, data in rig.files.cache.items()}, rig.files.changes
    view = inspect(ROOT, rig.files)
    assert view.positions.files[FILE.key].offset == 50 and (view.first_seq, view.last_seq) == (1, 2)
    assert view.cursors["s"].place == (1, 0) and len(view.notes) == 2
    assert {name: bytes(data) for name, data in rig.files.cache.items()} == before and rig.files.changes == changes


def test_inspecting_a_directory_without_a_buffer_is_wrong_usage() -> None:
    with pytest.raises(Usage, match="no buffer here"):
        inspect(ROOT, FaultyFiles())


def test_what_quarantine_has_no_room_for_is_not_said_to_be_there() -> None:
    files = FaultyFiles()
    files.make_dir("/q")
    quarantine = Quarantine(files, "/q")
    assert quarantine.keep("1.seg", 0, b"abc") == KEPT
    quarantine.bytes = QUARANTINE_BYTES
    assert "not kept" in quarantine.keep("1.seg", 9, b"abc")
    assert len(files.names("/q")) == 1
