"""P4: rotation is followed, not raced. Real files; the clock is the test's."""
from __future__ import annotations

import gzip
import os
import shutil
import time
from pathlib import Path

import pytest

from shipper.errors import GapReason
from shipper.tail import reading
from shipper.tail.file import TailFile
from shipper.tail.lineage import Lineage
from tests.tail.conftest import Node, Tree, cri


def lines(first: int, last: int) -> list[bytes]:
    return [cri(f"line {n}", second=n) for n in range(first, last)]


def texts(first: int, last: int) -> list[bytes]:
    return [b"line %d" % n for n in range(first, last)]


def total_bytes(node: Node) -> int:
    return sum(int(item.partition("+")[2].partition(",")[0], 16) for item, _ in node.buffer.records)


async def test_lines_come_out_once_and_in_order(tree: Tree) -> None:
    tree.write(*lines(0, 10))
    node = Node(tree)
    assert await node.run() == texts(0, 10)
    tree.write(*lines(10, 20))
    node.reader.written(str(tree.log))
    assert await node.run() == texts(0, 20)
    assert total_bytes(node) == os.path.getsize(tree.log)
    assert len({i for i, _ in node.buffer.records}) == 20


async def test_a_renamed_file_is_read_to_its_end_before_the_new_one(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    tree.write(*lines(5, 8))
    tree.rotate("20261120-090100")
    tree.write(*lines(8, 12))
    assert await node.run() == texts(0, 12)


async def test_no_line_is_lost_while_the_live_name_does_not_exist(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    rotated = tree.rotate("20261120-090100")
    await node.run()
    tree.write(*lines(5, 7), path=rotated)                # the runtime has not reopened yet
    assert await node.run() == texts(0, 7)
    tree.write(*lines(7, 9))
    assert await node.run() == texts(0, 9)


async def test_a_late_write_to_the_renamed_file_is_not_lost(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    rotated = tree.rotate("20261120-090100")
    tree.write(*lines(10, 13))
    await node.run()
    tree.write(*lines(3, 5), path=rotated)                # changes no directory: nothing tells us
    assert sorted(await node.run()) == sorted(texts(0, 5) + texts(10, 13))


async def test_three_rotations_while_stopped_lose_nothing_and_keep_the_order(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    tree.write(*lines(5, 10))
    tree.rotate("20261120-090100")
    tree.write(*lines(10, 20))
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(*lines(20, 30))
    tree.rotate("20261120-090300", compress="20261120-090200")
    tree.write(*lines(30, 40))
    node.restart()
    assert await node.run() == texts(0, 40)
    keys = {item.partition(":")[0] for item, _ in node.buffer.records}
    assert len(keys) == 4


async def test_a_file_that_rotated_away_unread_is_reported_with_what_is_known(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    read = os.path.getsize(tree.log)
    tree.write(*lines(5, 8))
    rotated = tree.rotate("20261120-090100")
    tree.write(*lines(20, 22))
    rotated.unlink()
    node.restart()
    assert await node.run() == texts(0, 5) + texts(20, 22)
    gaps = [(s, g) for s in node.buffer.sections for g in s.gaps]
    assert len(gaps) == 1
    section, gap = gaps[0]
    assert (gap.start, gap.end, gap.reason) == (read, -1, GapReason.ROTATED_AWAY)
    assert gap.first_ns and gap.last_ns > gap.first_ns and section.closed
    assert node.telemetry.value("shipper_gaps_total", GapReason.ROTATED_AWAY) == 1


async def test_the_same_content_compressed_is_not_read_twice(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    tree.rotate("20261120-090100")
    tree.write(*lines(5, 6))
    await node.run()
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(*lines(6, 7))
    assert await node.run() == texts(0, 7)
    node.restart()
    assert await node.run() == texts(0, 7)
    assert not [g for s in node.buffer.sections for g in s.gaps]


async def test_a_file_compressed_before_it_was_read_to_its_end_goes_on_in_the_gz(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    tree.write(*lines(5, 2000))
    tree.rotate("20261120-090100")
    tree.write(*lines(2000, 2005))
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(*lines(2005, 2006))
    node.restart()
    assert await node.run() == texts(0, 2006)


async def test_copytruncate_goes_on_in_the_copy(tmp_path) -> None:
    tree = Tree(tmp_path / "log")
    app = tree.root / "app.log"
    tree.write(b"a 1\n", b"a 2\n", path=app)
    node = Node(tree, kind="files", include=str(app), form="plain")
    assert await node.run() == [b"a 1", b"a 2"]
    tree.write(b"a 3\n", path=app)                        # written, copied and cut before the next look
    shutil.copy(app, tree.root / "app.log.1")
    os.truncate(app, 0)
    tree.write(b"b 1\n", path=app)
    assert await node.run() == [b"a 1", b"a 2", b"a 3", b"b 1"]
    assert not [g for s in node.buffer.sections for g in s.gaps]


@pytest.mark.parametrize("looked", [False, True], ids=["copy and cut between two looks", "the copy was seen before the cut"])
@pytest.mark.parametrize("then", ["nothing", "gzip", "restart", "gzip and restart"])
async def test_copytruncate_of_a_busy_log_whose_last_lines_came_behind_the_copy_ships_nothing_twice(
    tmp_path: Path, looked: bool, then: str,
) -> None:
    """logrotate syncs the copy before it cuts: what is written and read meanwhile is in no copy, so the copy is shorter than what
    was read. The whole file came a second time, under another key."""
    tree = Tree(tmp_path / "log")
    app, copy = tree.root / "app.log", tree.root / "app.log.1"
    node = Node(tree, kind="files", include=str(app), form="plain")
    for first in range(0, 100, 10):
        tree.write(*(b"a line of this log, number %d\n" % n for n in range(first, first + 10)), path=app)
        await node.run()
    whole, copied_ns = app.read_bytes(), time.time_ns()
    tree.write(*(b"a line of this log, number %d\n" % n for n in range(100, 116)), path=app)
    if looked:
        copy.write_bytes(whole)
        node.scan()
    await node.run()
    if not looked:
        copy.write_bytes(whole)
        os.utime(copy, ns=(0, copied_ns))
    os.truncate(app, 0)
    tree.write(*(b"b %d\n" % n for n in range(3)), path=app)
    wanted = [b"a line of this log, number %d" % n for n in range(116)] + [b"b %d" % n for n in range(3)]
    assert await node.run() == wanted
    if "gzip" in then:
        packed = tree.root / "app.log.1.gz"
        packed.write_bytes(gzip.compress(whole))
        os.utime(packed, ns=(0, copy.stat().st_mtime_ns))      # as gzip and logrotate do
        copy.unlink()
    if "restart" in then:
        node.restart()
    tree.write(b"b 3\n", path=app)
    assert await node.run() == [*wanted, b"b 3"]
    assert not sum(g.at_least for s in node.buffer.sections for g in s.gaps)


async def test_a_copy_that_got_name_and_inode_of_the_copy_before_it_is_not_read_again(tree: Tree) -> None:
    copy = tree.dir / "0.log.1"
    tree.write(*lines(0, 10))
    node = Node(tree)
    await node.run()
    copy.write_bytes(tree.log.read_bytes())
    os.truncate(tree.log, 0)
    tree.write(*lines(10, 12))
    await node.run()
    tree.write(*lines(12, 30))
    await node.run()
    (tree.dir / "0.log.2.gz").write_bytes(gzip.compress(copy.read_bytes()))
    copy.write_bytes(tree.log.read_bytes())               # in place: what an inode that was freed and given out again looks like
    os.truncate(tree.log, 0)
    tree.write(*lines(30, 32))
    assert await node.run() == texts(0, 32)


async def test_a_copy_that_is_filled_between_the_look_at_it_and_its_first_read_is_no_file_of_its_own(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tree.dir / "0.log.1"
    tree.write(*lines(0, 10))
    node = Node(tree)
    await node.run()
    copy.touch()
    tree.write(*lines(10, 12))
    look = Lineage.told_apart

    def look_and_lose_the_processor(self: Lineage, file: TailFile, now_ns: int) -> bool:
        told = look(self, file, now_ns)
        if not file.live and not copy.stat().st_size:
            copy.write_bytes(tree.log.read_bytes())
        return told

    monkeypatch.setattr(Lineage, "told_apart", look_and_lose_the_processor)
    assert await node.run() == texts(0, 12)
    assert copy.stat().st_size


async def test_a_file_cut_and_regrown_past_the_offset_is_read_from_its_start(tmp_path) -> None:
    tree = Tree(tmp_path / "log")
    app = tree.root / "app.log"
    tree.write(b"old 1\n", path=app)
    node = Node(tree, kind="files", include=str(app), form="plain")
    await node.run()
    node.buffer.records.clear()
    os.truncate(app, 0)
    tree.write(b"new 1\n", b"new 2\n", b"new 3\n", path=app)
    assert await node.run() == [b"new 1", b"new 2", b"new 3"]


async def test_two_files_that_begin_alike_have_other_keys(tmp_path) -> None:
    tree = Tree(tmp_path / "log")
    app = tree.root / "app.log"
    tree.write(b"start\n", b"one\n", path=app)
    node = Node(tree, kind="files", include=str(app), form="plain")
    await node.run()
    os.rename(app, tree.root / "app.log.1")
    tree.write(b"start\n", b"two\n", path=app)
    assert await node.run() == [b"start", b"one", b"start", b"two"]
    assert len({i for i, _ in node.buffer.records}) == 4
    node.restart()
    assert await node.run() == [b"start", b"one", b"start", b"two"]


async def test_a_reused_inode_is_a_new_file(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    node.reader.lineages[str(tree.log)].files[0].close()
    with open(tree.log, "r+b") as file:                   # the same inode with other content: what a reuse looks like
        file.truncate(0)
        file.write(b"".join(lines(50, 60)))
    node.restart()
    assert await node.run() == texts(0, 5) + texts(50, 60)


async def test_a_deleted_pod_is_read_to_its_last_line(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    tree.write(*lines(5, 9), b"2026-11-20T09:10:00.1Z stdout F no newline")
    for path in (*tree.links.iterdir(),):
        path.unlink()
    shutil.rmtree(tree.dir.parent)
    got = await node.run()
    assert got == [*texts(0, 9), b"no newline"]
    assert not node.reader.lineages
    assert node.buffer.sections[-1].closed


async def test_pieces_are_joined_across_a_rotation_and_both_files_are_named(tree: Tree) -> None:
    tree.write(cri("first ", tag="P", second=1))
    node = Node(tree)
    await node.run(0.2)
    tree.rotate("20261120-090100")
    tree.write(cri("second", second=2), cri("third", second=3))
    assert await node.run() == [b"first second", b"third"]
    joined = node.buffer.records[0][0]
    assert joined.count(",") == 1 and joined.count(":") == 2
    assert not node.buffer.sections[-1].state


async def test_pieces_survive_a_kill_as_ranges(tree: Tree) -> None:
    tree.write(cri("first ", tag="P", second=1), cri("err", stream="stderr", second=1))
    node = Node(tree)
    assert await node.run(0.2) == [b"err"]
    node.restart()
    tree.write(cri("second", second=2))
    assert await node.run() == [b"err", b"first second"]
    assert total_bytes(node) == os.path.getsize(tree.log)


async def test_a_piece_whose_end_never_comes_is_shipped_as_partial(tree: Tree) -> None:
    tree.write(cri("begun", tag="P"))
    node = Node(tree)
    assert await node.run(1.0) == []
    assert await node.run(4.0) == [b"begun"]
    batch = node.buffer.sections[-1].batch
    assert batch is not None and batch.marks == {0: {"partial": True}}


async def test_a_record_that_had_begun_in_a_pod_deleted_while_stopped_is_not_lost_in_silence(tree: Tree) -> None:
    piece = cri("begun", tag="P")
    tree.write(cri("before"), piece)
    node = Node(tree)
    assert await node.run(0.5) == [b"before"]
    shutil.rmtree(tree.dir.parent)
    for path in tree.links.iterdir():
        path.unlink()
    node.restart()
    node.reader.lost_lineage(str(tree.log))
    assert await node.run() == [b"before", b""]
    assert total_bytes(node) == len(cri("before")) + len(piece)
    batch = node.buffer.sections[-1].batch
    assert batch is not None and batch.marks == {0: {"partial": True, "lost": len(piece)}}
    assert node.telemetry.value("shipper_gap_bytes_total", GapReason.ROTATED_AWAY) == len(piece)
    assert not node.buffer.positions.lineages[str(tree.log)].state


async def test_a_half_written_gz_whose_plain_is_gone_gives_what_inflates_and_says_so(tree: Tree) -> None:
    content = b"".join(lines(0, 3000))
    (tree.dir / "0.log.20261120-090000.gz").write_bytes(gzip.compress(content)[:-4000])
    tree.write(*lines(3000, 3002))
    node = Node(tree)
    got = await node.run()
    assert got[-2:] == texts(3000, 3002)
    whole = got[:-3] if got[-3:-2] != texts(len(got) - 3, len(got) - 2) else got[:-2]
    assert whole == texts(0, len(whole)) and len(whole) > 500
    assert [g.reason for s in node.buffer.sections for g in s.gaps] == [GapReason.GZIP_DAMAGED]


async def test_start_at_end_passes_over_what_is_there_and_says_how_much(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree, start_at="end")
    await node.run()
    tree.write(*lines(5, 7))
    assert await node.run() == texts(5, 7)
    gap = node.buffer.sections[0].gaps[0]
    assert (gap.reason, gap.start, gap.end) == (GapReason.START_AT_END, 0, sum(map(len, lines(0, 5))))
    node.restart()
    assert await node.run() == texts(5, 7)


@pytest.mark.parametrize("pieces", [(b"rest\nnew\n",), (b"re", b"st\n", b"new\n")])
async def test_start_at_end_in_the_middle_of_a_very_long_line_ships_no_end_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...],
) -> None:
    monkeypatch.setattr(reading, "OLD_LINE_BYTES", 1000)
    monkeypatch.setattr(reading, "BULK_READ_BYTES", 500)
    tree = Tree(tmp_path / "log")
    live = tree.root / "app.log"
    tree.write(b"old\n" + b"x" * 5000, path=live)
    node = Node(tree, kind="files", include=str(live), form="plain", start_at="end")
    await node.run()
    for piece in pieces:
        tree.write(piece, path=live)
        node.reader.written(str(live))
        await node.run()
    assert node.buffer.messages == [b"new"]
    gaps = [gap for section in node.buffer.sections for gap in section.gaps]
    assert {gap.reason for gap in gaps} == {GapReason.START_AT_END}
    assert sum(gap.end - gap.start for gap in gaps) == len(b"old\n") + 5000 + len(b"rest\n")


async def test_docker_files_rotate_by_number(tmp_path) -> None:
    tree = Tree(tmp_path / "log")
    live = tree.root / "x-json.log"

    def docker(n: int) -> bytes:
        return b'{"log":"line %d\\n","stream":"stdout","time":"2026-11-20T09:%02d:%02d.5Z"}\n' % (n, n // 60, n % 60)

    tree.write(*map(docker, range(5)), path=live)
    node = Node(tree, kind="files", include=str(live), form="auto")
    assert await node.run() == texts(0, 5)
    tree.write(*map(docker, range(5, 8)), path=live)
    os.rename(live, tree.root / "x-json.log.1")
    tree.write(*map(docker, range(8, 10)), path=live)
    (tree.root / "x-json.log.2.gz").write_bytes(gzip.compress((tree.root / "x-json.log.1").read_bytes()))
    os.rename(live, tree.root / "x-json.log.1")
    tree.write(*map(docker, range(10, 12)), path=live)
    node.restart()
    assert await node.run() == texts(0, 12)


async def test_a_failed_append_is_read_again(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    node.buffer.fail_next = OSError(28, "No space left on device")
    assert await node.run() == texts(0, 5)
    assert total_bytes(node) == os.path.getsize(tree.log)


async def test_a_line_over_max_line_is_cut_marked_and_its_neighbours_are_whole(tree: Tree) -> None:
    long = cri("x" * 700_000, second=2)
    tree.write(cri("before", second=1), long[:400_000])
    node = Node(tree, max_line=100_000)
    await node.run()
    tree.write(long[400_000:], cri("after", second=3))
    got = await node.run()
    assert [m[:6] for m in got] == [b"before", b"xxxxxx", b"after"]
    assert len(got[1]) < 100_000
    marks = [s.batch.marks for s in node.buffer.sections if s.batch is not None and s.batch.marks]
    assert marks == [{0: {"truncated": len(long) - 1}}]
    assert total_bytes(node) == os.path.getsize(tree.log)


async def test_a_kill_in_the_middle_of_a_long_line_neither_loses_nor_repeats(tree: Tree) -> None:
    long = cri("y" * 700_000, second=2)
    tree.write(cri("before", second=1), long[:400_000])
    node = Node(tree, max_line=100_000)
    await node.run()
    node.restart()
    tree.write(long[400_000:], cri("after", second=3))
    node.restart()
    got = await node.run()
    assert [m[:6] for m in got] == [b"before", b"yyyyyy", b"after"]
    assert total_bytes(node) == os.path.getsize(tree.log)


async def test_a_log_cut_and_regrown_with_lines_that_end_alike_is_seen_by_its_beginning(tmp_path) -> None:
    tree = Tree(tmp_path / "log")
    app = tree.root / "app.log"

    def same_long(n: int) -> bytes:
        return b"%08d %s\n" % (n, b"x" * 100)

    tree.write(*map(same_long, range(10)), path=app)
    node = Node(tree, kind="files", include=str(app), form="plain")
    await node.run()
    app.with_suffix(".log.1").write_bytes(app.read_bytes())
    os.truncate(app, 0)                                   # and then the lines of an hour, while reading was held back
    tree.write(*map(same_long, range(10, 25)), path=app)
    assert [int(message[:8]) for message in await node.run()] == list(range(25))
