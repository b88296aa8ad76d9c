"""Segments and their indexes: L1 to L5 of log.py, X1 to X3 of index.py."""
from __future__ import annotations

import errno
from collections import deque

import pytest

from shipper.buffer.index import build
from shipper.buffer.log import Log
from shipper.model import FileRef, Frame, Section
from tests.buffer.nouns import file_of, ranges, records, section, source
from tests.support.faults import FaultyFiles

A, B = source("a"), source("b")
FILE, OTHER = file_of(A), file_of(B)


def make_log(files: FaultyFiles, segment_bytes: int = 4096) -> Log:
    return Log(files, "/b", bytes(16), segment_bytes, (), 0, lambda key: None, lambda: 42)


class Writer:
    """Appends frames of `records` records each, and remembers them."""

    def __init__(self, log: Log) -> None:
        self.log, self.seq, self.offset, self.frames = log, 0, 0, {}  # type: ignore[var-annotated]
        self.waiting: deque[Frame] = deque()

    def append(self, *counts: int, file: FileRef = FILE) -> list[Frame]:
        for count in counts:
            self.seq += 1
            made: list[Section] = [section(file, self.offset, count)]
            self.offset = made[0].end
            self.waiting.append(Frame(self.seq, made, self.offset, 1_000))
        return self.flush()

    def flush(self) -> list[Frame]:
        written: list[Frame] = []
        self.log.append(self.waiting, written)
        self.frames.update({frame.seq: frame for frame in written})
        return written


def read_all(log: Log, seq: int = 1, max_bytes: int = 1 << 20) -> list[Frame]:
    out: list[Frame] = []
    while found := log.read(seq, log.appended_seq, max_bytes)[0]:
        out += found
        seq = found[-1].seq + 1
    return out


def same(found: list[Frame], expected: list[Frame]) -> bool:
    return [(f.seq, f.total_bytes, ranges(f.sections), records(f.sections[0].batch)) for f in found] == [  # type: ignore[arg-type]
        (f.seq, f.total_bytes, ranges(f.sections), records(f.sections[0].batch)) for f in expected]  # type: ignore[arg-type]


def test_what_was_appended_is_read_back_equal_across_segments() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files))
    writer.append(*[20] * 12)
    assert len(writer.log.segments) > 2
    for max_bytes in (1, 1_500, 1 << 20):
        assert same(read_all(writer.log, max_bytes=max_bytes), list(writer.frames.values()))
    assert same(read_all(writer.log, 7), [f for seq, f in writer.frames.items() if seq >= 7])


def test_frames_that_wait_together_go_out_in_one_write() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(1)
    before = files.changes
    writer.append(5, 5, 5, 5)
    assert files.changes == before + 1


def test_l1_a_segment_is_synced_before_its_successor_is_begun() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files))
    writer.append(*[20] * 12)
    *closed, last = writer.log.segments
    assert all(len(files.durable[s.path]) == s.size for s in closed)
    assert last.path not in files.durable


def test_l2_after_a_write_that_found_no_room_the_frame_waits_and_goes_to_a_new_segment() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(5)
    files.room = 100
    with pytest.raises(OSError, match="No space"):
        writer.append(50, 3)
    assert [f.seq for f in writer.waiting] == [2, 3]
    assert same(read_all(writer.log), [writer.frames[1]])
    files.heal()
    assert [f.seq for f in writer.flush()] == [2, 3]
    assert [s.first_seq for s in writer.log.segments] == [1, 2]
    assert same(read_all(writer.log), list(writer.frames.values()))


def test_l3_abandon_leaves_nothing_behind_the_last_sync_and_retries_until_it_does() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(5)
    writer.log.sync()
    writer.append(5, 5)
    files.fail("sync")
    with pytest.raises(OSError, match="Input/output"):
        writer.log.sync()
    files.fail("truncate")
    with pytest.raises(OSError, match="Input/output"):
        writer.log.abandon()
    writer.log.abandon()
    assert writer.log.appended_seq == writer.log.synced_seq == 1
    assert same(read_all(writer.log), [writer.frames[1]])
    assert len(files.cache[writer.log.segments[0].path]) == writer.log.segments[0].synced_size
    writer.append(5)
    assert [s.first_seq for s in writer.log.segments] == [1, 4], "a number is not used again (L4)"


def test_l5_only_closed_segments_go_and_only_in_order() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files))
    writer.append(*[20] * 12)
    log = writer.log
    second = log.segments[1]
    assert log.unlink(second.first_seq + 1) == 1
    assert log.first_seq == second.first_seq
    held = len(log.segments)
    assert log.unlink(10_000) == held - 1
    assert len(log.segments) == 1, "the one that is being written stays"
    log.close_segment()
    assert log.unlink(10_000) == 1 and log.first_seq == log.appended_seq + 1
    assert read_all(log) == []


def test_a_segment_that_cannot_be_removed_stays_known() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files))
    writer.append(*[20] * 12)
    before = writer.log.segments
    files.fail("delete")
    with pytest.raises(OSError, match="Input/output"):
        writer.log.unlink(10_000)
    assert writer.log.segments == before


def test_x1_a_built_index_says_what_the_writer_kept() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(5, 6)
    writer.offset = 0
    writer.append(3, file=OTHER)
    (segment,) = writer.log.segments
    kept = segment.index
    assert kept is not None
    built = build(lambda start, length: files.read(segment.path, start, length), segment.size, segment.salt)
    assert (built.seqs, built.starts, built.ends, built.totals) == (kept.seqs, kept.starts, kept.ends, kept.totals)
    assert [(seq, sorted(files)) for seq, files in built.defined] == [(1, [FILE.key]), (3, [OTHER.key])] == [
        (seq, sorted(files)) for seq, files in kept.defined]
    assert kept.total_of(2) == 110 and kept.total_of(9) is None


def test_x2_a_frame_is_read_with_the_definitions_of_its_time() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(2, 2)
    renamed = FileRef(FILE.key, A, "/var/log/pods/a/0.log.20261120-090405", 1, 100, 64, "ab" * 8)
    writer.append(2, 2, file=renamed)
    writer.log.segments[0].index = None
    for seq, path in ((2, FILE.path), (4, renamed.path), (3, renamed.path), (1, FILE.path)):
        (frame,) = writer.log.read(seq, seq, 1)[0]
        assert frame.sections[0].file.path == path
    first, last = (writer.log.read(seq, seq, 1)[0][0].sections[0].file for seq in (1, 4))
    assert first.source is last.source, "one object per source, with what is cached on it"


def test_x3_a_small_read_reads_little() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(*[100] * 20)
    writer.log.read(1, 1, 1)
    read_bytes = 0
    read = files.read

    def counted(path: str, start: int = 0, length: int = -1) -> bytes:
        nonlocal read_bytes
        data = read(path, start, length)
        read_bytes += len(data)
        return data

    files.read = counted  # type: ignore[method-assign]
    (frame,) = writer.log.read(11, 20, 1)[0]
    assert frame.seq == 11 and read_bytes == frame.stored_bytes


def test_a_damaged_frame_is_stepped_over_and_reported_with_its_place() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files, 1 << 20))
    writer.append(5, 5, 5)
    (segment,) = writer.log.segments
    assert segment.index is not None
    files.rot(segment.path, segment.index.ends[1] - 3)
    frames, damage = writer.log.read(2, 3, 1)
    assert [f.seq for f in frames] == [3]
    (damaged,) = damage
    assert (damaged.bad.start, damaged.bad.end) == (segment.index.starts[1], segment.index.ends[1])
    assert [head.seq for head in damaged.bad.heads] == [2]


def test_records_are_counted_by_headers_from_the_middle_of_a_frame() -> None:
    writer = Writer(make_log(FaultyFiles()))
    writer.append(*[20] * 12)
    assert writer.log.count_records(1, 0, 12) == 240
    assert writer.log.count_records(3, 5, 11) == 9 * 20 - 5
    assert writer.log.count_records(13, 0, 12) == 0


def test_bytes_before_a_frame_are_known_where_its_index_is_at_hand() -> None:
    writer = Writer(make_log(FaultyFiles(), 1 << 20))
    writer.append(5, 6)
    assert writer.log.total_before(2) == 50 and writer.log.total_before(3) == 110 and writer.log.total_before(1) is None


def test_an_interrupted_system_call_error_is_not_taken_for_want_of_room() -> None:
    files = FaultyFiles()
    writer = Writer(make_log(files))
    files.fail("append", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        writer.append(5)
    writer.log.abandon()
    assert writer.log.segments == () and writer.log.appended_seq == 0
