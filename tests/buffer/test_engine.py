"""The writer's steps: B1 to B4 of engine.py, N1 to N4 of keeper.py, S1 and S2 of smallfiles.py."""
from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from shipper.buffer.cursors import REMOVED_KEEP_S, decode
from shipper.buffer.engine import RETRY_MAX_S
from shipper.buffer.files import Space
from shipper.buffer.jobs import Job
from shipper.buffer.limits import BALLAST_BYTES, MIB, QUARANTINE_BYTES
from shipper.buffer.smallfiles import SmallFiles
from tests.buffer.nouns import file_of, source
from tests.buffer.rig import ROOT, Rig, settings
from tests.support.faults import FaultyFiles

A, B = source("a"), source("b")
FILE, OTHER = file_of(A), file_of(B)


def started(**given: int) -> Rig:
    rig = Rig(given=settings(**given) if given else None)
    rig.cursor("s", 1)
    rig.tick()
    return rig


def on_disk(rig: Rig, name: str = "s") -> tuple[int, int]:
    return decode(name, bytes(rig.files.durable[f"{ROOT}/cursors/{name}.json"]), "").place


# ---------------------------------------------------------------- group commit

def test_appends_within_the_interval_share_one_sync() -> None:
    rig = started()
    before = rig.files.syncs
    for _ in range(5):
        rig.append(FILE, 1)
    assert rig.files.syncs == before and rig.engine.log.synced_seq == 0
    assert rig.tick().synced_seq == 5
    assert rig.files.syncs == before + 1


def test_four_mebibytes_are_synced_without_waiting() -> None:
    rig = started(segment_size=16 << 20)
    while rig.engine.log.dirty_bytes < (4 << 20) and rig.engine.log.synced_seq == 0:
        rig.append(FILE, *[5_000] * 4)
    assert rig.engine.log.synced_seq == rig.engine.log.appended_seq


def test_n1_a_cursor_reaches_the_disk_only_with_the_frames_that_it_passed() -> None:
    rig = started()
    rig.append(FILE, 2, 2)
    rig.cursor("s", 3)
    rig.files.fail("sync")
    assert rig.tick().cursors == [] and on_disk(rig) == (1, 0)
    rig.append(OTHER, 1)
    out = rig.tick(6)
    assert [c.place for c in out.cursors] == [(3, 0)] and on_disk(rig) == (3, 0)


def test_an_idle_buffer_does_nothing_and_sleeps_until_it_is_woken() -> None:
    rig = started()
    rig.append(FILE, 1)
    rig.cursor("s", 2)
    rig.tick()
    rig.tick(40)
    before = rig.files.changes
    assert rig.engine.wait_s(rig.now_s) is None
    rig.tick(1_000)
    assert rig.files.changes == before


def test_n2_a_segment_goes_when_every_cursor_and_positions_json_are_beyond_it() -> None:
    rig = started(segment_size=4096)
    rig.cursor("slow", 1)
    rig.append(FILE, *[50] * 6)
    rig.cursor("s", 7)
    for _ in range(3):
        rig.tick(2)
    assert rig.engine.log.first_seq == 1, "slow holds it"
    rig.cursor("slow", 7)
    rig.files.fail("replace", errno.EIO, -1)
    rig.tick(2)
    assert rig.engine.log.first_seq == 1, "no cursor could be written"
    rig.files.heal()
    rig.tick(2)
    rig.tick(2)
    assert rig.engine.log.first_seq > 1
    rig.close()
    assert rig.engine.log.segments == () and rig.start().last_seq == 6


def test_n2_a_segment_stays_until_positions_json_covers_it_however_far_the_cursors_are() -> None:
    rig = started(segment_size=4096)
    rig.append(FILE, 50)
    rig.engine._keeper.urgent = True
    rig.tick()
    rig.append(FILE, *[50] * 6)
    rig.cursor("s", 8)
    rig.tick(0.6)
    assert on_disk(rig) == (8, 0) and rig.engine._keeper.written_seq == 1 and rig.engine.log.first_seq == 2
    rig.files.crash()
    rig.start()
    assert rig.offset(FILE) == 3_500
    rig.tick(2)
    assert rig.engine._keeper.written_seq == 7 and rig.engine.log.first_seq > 2


def test_without_any_cursor_nothing_is_removed() -> None:
    rig = Rig(given=settings(segment_size=4096))
    rig.append(FILE, *[50] * 6)
    for _ in range(3):
        rig.tick(40)
    assert rig.engine.log.first_seq == 1


# ---------------------------------------------------------------- failing disks

def test_b2_after_a_failed_sync_positions_go_back_to_the_last_good_one() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.tick()
    rig.append(FILE, 3)
    rig.append(FILE, 4)
    rig.files.fail("sync")
    out = rig.tick()
    assert out.lost is not None and rig.offset(FILE) == 20 and "buffer_error" in out.degraded
    rig.append(FILE, 7)
    assert rig.seqs() == [1], "the disk has just failed: the new frame waits a little"
    rig.tick(6)
    assert rig.seqs() == [1, 4] and rig.tick().degraded == {}
    rig.files.crash()
    rig.start()
    assert rig.offset(FILE) == 90


def test_b2_a_disk_that_stays_broken_is_tried_again_ever_more_slowly_and_recovers_by_itself() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.files.fail("sync", times=-1)
    rig.files.failures["delete"] = [errno.EIO, -1]
    rig.tick()
    assert "buffer_error" in rig.degraded
    waits = []
    for _ in range(8):
        wait_s = rig.engine.wait_s(rig.now_s)
        assert wait_s is not None
        waits.append(rig.engine._retry_at_s - rig.now_s)
        rig.tick(RETRY_MAX_S)
    assert waits == sorted(waits) and waits[-1] <= RETRY_MAX_S
    rig.files.heal()
    rig.tick(RETRY_MAX_S)
    rig.append(FILE, 5)
    rig.tick(RETRY_MAX_S)
    assert rig.tick().degraded == {} and rig.engine.log.synced_seq == rig.next_seq - 1


def test_b3_a_full_disk_loses_nothing_frames_wait_and_go_out_when_there_is_room() -> None:
    rig = started()
    rig.append(FILE, 2)
    rig.files.room = 50
    out = rig.append(FILE, 30, 3)
    assert out.lost is None and "disk_full" in out.degraded and rig.seqs() == [1]
    rig.tick(6)
    assert rig.offset(FILE) == 350 and "disk_full" in rig.degraded
    rig.files.heal()
    out = rig.tick(6)
    assert [f.seq for f in out.written] == [2, 3] and rig.tick().degraded == {} and rig.seqs() == [1, 2, 3]


def test_s1_a_full_disk_is_drained_with_the_help_of_the_ballast() -> None:
    rig = started(segment_size=4096)
    rig.files.cache[f"{ROOT}/ballast"] = bytearray(BALLAST_BYTES)
    rig.engine._keeper.small.has_ballast = True
    rig.append(FILE, *[50] * 6)
    rig.tick()
    rig.files.room = 0
    rig.cursor("s", 7)
    out = rig.tick(2)
    assert [c.place for c in out.cursors] == [(7, 0)] and f"{ROOT}/ballast" not in rig.files.cache
    rig.tick(2)
    assert rig.engine.log.first_seq > 1, "segments went, so there is room"


def test_s1_s2_the_ballast_is_used_once_and_made_again_where_it_leaves_room() -> None:
    files = FaultyFiles()
    small = SmallFiles(files, ROOT, 1_000)
    assert not small.restore_ballast(Space(10_000, 3_999)) and not small.has_ballast
    assert small.restore_ballast(Space(10_000, 4_000)) and files.size(f"{ROOT}/ballast") == 1_000
    files.room = 10
    small.write(f"{ROOT}/x", b"y" * 500)
    assert not small.has_ballast and files.size(f"{ROOT}/x") == 500
    with pytest.raises(OSError, match="No space"):
        small.write(f"{ROOT}/z", b"y" * 5_000)
    assert small.restore_ballast(Space(10_000, 4_000)) is False or files.room >= 0


def test_b4_no_error_of_the_filesystem_leaves_a_step() -> None:
    for operation in ("append", "sync", "truncate", "create", "replace", "rename", "delete", "space", "read", "allocate"):
        rig = started(segment_size=4096)
        rig.files.fail(operation, errno.EIO, -1)
        for _ in range(3):
            rig.append(FILE, 50)
            rig.cursor("s", max(rig.engine.cursors.now["s"].seq, rig.engine.log.appended_seq + 1))
            rig.tick(6)
        rig.files.heal()
        rig.tick(6)
        rig.append(FILE, 50)
        rig.tick(6)
        rig.tick(6)
        assert rig.degraded == {} and rig.engine.log.synced_seq == rig.next_seq - 1, operation


def test_close_writes_what_a_failing_disk_had_held_back() -> None:
    rig = started()
    rig.files.fail("create")
    rig.append(FILE, 2)
    rig.append(FILE, 2)
    rig.close()
    rig.start()
    assert rig.live.total_bytes == rig.offset(FILE) == 20


# ---------------------------------------------------------------- limits

def test_a_full_buffer_is_said_before_the_limit_and_recovers_when_a_sink_moves() -> None:
    rig = started(max_size=64 * 1024, segment_size=8 * 1024)
    while "buffer_full" not in rig.degraded:
        rig.append(FILE, 50)
    assert rig.out.usage.total <= 64 * 1024 and "max_size" in rig.degraded["buffer_full"]
    rig.cursor("s", rig.next_seq)
    for _ in range(4):
        rig.tick(2)
    assert rig.degraded == {} and rig.engine.log.used_bytes < 16 * 1024


def test_a_full_buffer_of_one_open_segment_ends_it_to_make_room() -> None:
    rig = started(max_size=64 * 1024, segment_size=64 * 1024)
    others = [0]
    rig.engine.others = lambda: others[0]
    rig.append(FILE, 50)
    rig.cursor("s", 2)
    rig.tick()
    others[0] = 60 * 1024
    rig.tick()
    assert "buffer_full" in rig.degraded
    others[0] = 56 * 1024
    for _ in range(4):
        rig.tick(2)
    assert rig.engine.log.segments == () and rig.degraded == {}


def test_dead_letters_and_quarantine_count_against_the_limit() -> None:
    rig = started(max_size=1 << 20)
    rig.engine.others = lambda: (1 << 20) - 100
    assert "buffer_full" in rig.tick().degraded and rig.out.usage.others == (1 << 20) - 100


def test_dead_letters_that_cannot_be_counted_do_not_stop_the_writer() -> None:
    rig = started()
    rig.engine.others = lambda: 500
    rig.tick()

    def broken() -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    rig.engine.others = broken
    out = rig.append(FILE, 2)
    assert out.usage.others == 500 and out.notes[0][1] == "spools_not_counted" and rig.seqs() == [1]


def test_the_last_tenth_of_the_filesystem_stays_free() -> None:
    rig = started()
    rig.files.total, rig.files.room = 1 << 30, 90 << 20
    out = rig.tick()
    assert "90 % of the filesystem" in out.degraded["buffer_full"]
    rig.files.room = 500 << 20
    assert rig.tick().degraded == {}


def test_a_ballast_that_was_just_made_is_not_taken_for_room() -> None:
    """A node's first start with a sink that is down filled a disk of 24 MiB to the last byte."""
    files = FaultyFiles()
    files.total = files.room = 24 * MIB
    rig = Rig(files)
    assert rig.out.limit_bytes <= 24 * MIB - 24 * MIB // 10 - BALLAST_BYTES


def test_the_limit_does_not_rise_with_dead_letters_that_were_written_since_the_last_look() -> None:
    rig = started()
    rig.files.total, rig.files.room = 1 << 30, 200 << 20
    limit = rig.tick().limit_bytes
    rig.engine.others = lambda: 50 << 20
    assert rig.append(FILE, 1).limit_bytes == limit


# ---------------------------------------------------------------- sinks come and go

def test_a_removed_sinks_backlog_is_kept_a_day_and_then_counted() -> None:
    rig = started()
    rig.cursor("gone", 1)
    rig.append(FILE, 5)
    rig.append(OTHER, 7)
    rig.cursor("s", 3)
    rig.tick()
    rig.engine.cursors.retain(["s"], rig.wall_s)
    rig.tick()
    rig.wall_s += REMOVED_KEEP_S - 1
    assert rig.tick().counts == []
    assert "gone" in {c.name for c in rig.start().cursors.values()}, "a restart does not begin the day anew"
    rig.wall_s += 2
    counts = rig.tick().counts
    assert ("shipper_sink_dropped_records_total", 12, ("gone", "sink_removed")) in counts
    assert f"{ROOT}/cursors/gone.json" not in rig.files.cache and "gone" not in rig.engine.cursors.now


def test_n4_a_removed_sinks_cursor_that_cannot_be_deleted_is_said_and_counted_only_when_it_went() -> None:
    rig = started()
    rig.cursor("gone", 1)
    rig.append(FILE, 5)
    rig.cursor("s", 2)
    rig.tick()
    rig.engine.cursors.retain(["s"], rig.wall_s)
    rig.tick()
    rig.wall_s += REMOVED_KEEP_S + 1
    rig.files.fail("delete", errno.EACCES)
    out = rig.tick()
    assert [(level, event, name) for level, event, name, _ in out.notes] == [("warning", "cursor_not_removed", "gone")]
    assert not [count for count in out.counts if count[0] == "shipper_sink_dropped_records_total"]
    assert ("shipper_sink_dropped_records_total", 5, ("gone", "sink_removed")) in rig.tick().counts


def test_a_removed_sinks_backlog_goes_at_once_when_it_holds_the_room_that_is_needed() -> None:
    rig = started(max_size=64 * 1024, segment_size=8 * 1024)
    rig.cursor("gone", 1)
    rig.tick()
    rig.engine.cursors.retain(["s"], rig.wall_s)
    while "buffer_full" not in rig.degraded:
        rig.append(FILE, 50)
    rig.cursor("s", rig.next_seq)
    for _ in range(5):
        rig.tick(2)
    assert "gone" not in rig.engine.cursors.now and rig.degraded == {}


def test_a_sink_that_comes_back_has_its_backlog() -> None:
    rig = started()
    rig.append(FILE, 5)
    rig.engine.cursors.retain([], rig.wall_s)
    rig.tick()
    rig.engine.cursors.set(replace(rig.engine.cursors.now["s"], removed_s=0.0))
    rig.tick()
    rig.wall_s += 10 * REMOVED_KEEP_S
    rig.tick()
    assert rig.engine.cursors.now["s"].place == (1, 0)


# ---------------------------------------------------------------- damage while delivering

def test_damage_that_a_sink_meets_is_set_aside_and_stays_accounted_for() -> None:
    rig = started()
    rig.append(FILE, 2, 3, 4)
    rig.rot_body(2)
    frames, (damaged,) = rig.engine.log.read(2, 3, 1)
    assert [f.seq for f in frames] == [3]
    lost, unknown_bytes, unknown_frames = rig.engine.log.lost_in(damaged, rig.live, 1)
    assert (unknown_bytes, unknown_frames) == (0, 0)
    delta = rig.live.plan_lost(lost)
    rig.live.commit(delta)
    out = rig.hear(rig.engine.step([Job(delta, lost=tuple(lost), damaged=(damaged,), epoch=rig.epoch)], rig.now_s))
    rig.tick()
    assert len(rig.files.names(f"{ROOT}/quarantine")) == 1 and out.notes == []
    rig.start()
    assert rig.lost() == [(FILE.key, 20, 50)] and rig.found.damaged_frames == 0


def test_damage_for_which_quarantine_has_no_room_is_said_not_to_be_kept() -> None:
    rig = started()
    rig.append(FILE, 2, 3, 4)
    rig.rot_body(2)
    _, (damaged,) = rig.engine.log.read(2, 3, 1)
    rig.engine._quarantine.bytes = QUARANTINE_BYTES
    out = rig.engine.step([Job(rig.live.plan_lost([]), damaged=(damaged,), epoch=rig.epoch)], rig.now_s)
    [(level, event, path, fields)] = out.notes
    assert (level, event, path) == ("warning", "not_quarantined", damaged.path) and "64 MiB" in fields["why"]


def test_damage_reported_while_a_write_fails_is_not_forgotten() -> None:
    rig = started()
    rig.append(FILE, 2, 3, 4)
    rig.tick()
    rig.rot_body(2)
    _, (damaged,) = rig.engine.log.read(2, 3, 1)
    lost, _, _ = rig.engine.log.lost_in(damaged, rig.live, 1)
    delta = rig.live.plan_lost(lost)
    rig.live.commit(delta)
    rig.files.fail("append")
    frame = rig.job(*[])
    out = rig.engine.step([frame, Job(delta, lost=tuple(lost), damaged=(damaged,), epoch=rig.epoch)], rig.now_s)
    assert out.lost is not None
    rig.hear(out)
    assert rig.lost() == [(FILE.key, 20, 50)]
