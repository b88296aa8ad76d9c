"""What is held while files, pods and frames come and go: descriptors, keys, the decoder's state."""
from __future__ import annotations

import asyncio
import dataclasses
import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from shipper.buffer.unseen import plan_seen
from shipper.errors import GapReason
from shipper.model import Lost
from shipper.tail.file import TailFile
from shipper.tail.handles import CLOSE_QUIET_AFTER_S, Handles
from shipper.tail.lineage import MOST_SALTED
from tests.tail.conftest import Node, Tree, cri


def lines(first: int, last: int) -> list[bytes]:
    return [cri(f"line {n}", second=n) for n in range(first, last)]


def texts(first: int, last: int) -> list[bytes]:
    return [b"line %d" % n for n in range(first, last)]


def descriptors(below: Path) -> int:
    """Of ours, on files that are or were below `below`."""
    found = 0
    for entry in os.scandir("/proc/self/fd"):
        try:
            found += os.readlink(entry.path).startswith(str(below))
        except FileNotFoundError:
            continue
    return found


async def test_a_line_over_max_line_whose_file_rotated_away_takes_no_line_of_the_next_file_along(tree: Tree) -> None:
    tree.write(cri("before", second=1), cri("y" * 700_000, second=2)[:400_000])
    node = Node(tree, max_line=100_000)
    await node.run()
    rotated = tree.rotate("20261120-090100")
    tree.write(*lines(20, 30))
    rotated.unlink()
    node.restart()
    assert await node.run() == [b"before", b"", *texts(20, 30)]
    assert [g.reason for s in node.buffer.sections for g in s.gaps] == [GapReason.ROTATED_AWAY]
    assert not node.buffer.positions.lineages[str(tree.log)].state


async def test_an_empty_log_of_a_deleted_pod_leaves_no_descriptor_open(tree: Tree) -> None:
    tree.write(b"")
    node = Node(tree)
    await node.run()
    for path in tree.links.iterdir():
        path.unlink()
    shutil.rmtree(tree.dir.parent)
    await node.run()
    assert not node.reader.lineages
    assert descriptors(tree.root) == 0


async def test_a_compressed_log_older_than_a_week_is_not_shipped_again_by_the_next_start(tree: Tree) -> None:
    tree.write(*lines(0, 5))
    node = Node(tree)
    await node.run()
    held = os.open(tree.rotate("20261120-090100"), os.O_RDONLY)   # so that its inode is not given to the next file
    tree.write(*lines(5, 6))
    await node.run()
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(*lines(6, 7))
    assert await node.run() == texts(0, 7)
    os.close(held)
    positions = node.buffer.positions
    now_s = max(p.seen_s for p in positions.files.values()) + 8 * 86400
    positions.commit(plan_seen(positions, node.reader.facts.keys(), now_s))
    node.restart()
    assert await node.run() == texts(0, 7)


async def test_a_compressed_log_that_was_read_as_such_is_known_for_as_long_as_it_is_there(tree: Tree) -> None:
    archive = tree.dir / "0.log.20261120-090000.gz"
    archive.write_bytes(gzip.compress(b"".join(lines(0, 5))))
    tree.write(*lines(5, 6))
    node = Node(tree)
    assert await node.run() == texts(0, 6)
    assert set(node.reader.facts.keys()) == set(node.buffer.positions.files)
    archive.unlink()
    tree.rotate("20261120-090200")
    tree.write(*lines(6, 7))
    assert await node.run() == texts(0, 7)
    assert len(node.reader.facts.keys()) == 2


async def test_a_lineage_dropped_and_added_again_while_it_is_read_repeats_nothing(tree: Tree) -> None:
    """A reload that renames a source."""
    (tree.dir / "0.log.20261120-090000.gz").write_bytes(gzip.compress(b"".join(lines(0, 500))))
    tree.write(*lines(500, 505))
    node = Node(tree)
    turn = asyncio.create_task(node.reader.step())
    await asyncio.sleep(0)
    async with node.reader.between_turns:
        for name, lineage in list(node.reader.lineages.items()):
            node.reader.drop(name)
            node.reader.add(lineage.source, node.settings)
    await turn
    assert await node.run() == texts(0, 505)


async def test_files_read_to_their_end_are_read_again_in_order_after_a_failed_sync(tree: Tree) -> None:
    tree.write(*lines(0, 2))
    node = Node(tree)
    await node.run()
    node.buffer.auto_sync = False
    good = node.buffer.positions.copy()
    tree.write(*lines(2, 4))
    tree.rotate("20261120-090100")
    tree.write(*lines(4, 6))
    await node.run()
    tree.rotate("20261120-090200")
    tree.write(*lines(6, 8))
    assert await node.run() == texts(0, 8)
    del node.buffer.records[2:]
    node.buffer.positions.go_back(good)
    node.buffer.fail_next = OSError(5, "Input/output error")
    tree.write(*lines(8, 9))
    node.reader.written(str(tree.log))
    assert await node.run() == texts(0, 9)


async def test_the_last_lines_of_a_deleted_pod_are_read_again_after_a_failed_sync(tree: Tree) -> None:
    tree.write(*lines(0, 2))
    other = tree.pod("web-1", uid="99999999-1111-2222-3333-444455556666")
    node = Node(tree)
    await node.run()
    node.buffer.auto_sync = False
    good = node.buffer.positions.copy()
    tree.write(*lines(2, 4))
    for path in tree.links.glob("web-0*"):
        path.unlink()
    shutil.rmtree(tree.dir.parent)
    assert await node.run() == texts(0, 4)
    assert str(tree.log) not in node.reader.lineages
    del node.buffer.records[2:]
    node.buffer.positions.go_back(good)
    node.buffer.fail_next = OSError(5, "Input/output error")
    tree.write(*lines(9, 10), path=other / "0.log")
    node.buffer.auto_sync = True
    assert sorted(await node.run()) == sorted(texts(0, 4) + texts(9, 10))
    node.buffer.synced_seq = node.buffer.seq
    await node.run()
    assert descriptors(tree.root / "pods" / "default_web-0") == 0
    assert node.buffer.positions.files[good.keys_of(str(tree.log))[0]].closed


async def test_a_log_deleted_while_it_was_closed_for_want_of_descriptors_is_reported(tree: Tree) -> None:
    tree.write(*lines(0, 2))
    node = Node(tree)
    await node.run()
    read = os.path.getsize(tree.log)
    node.reader.lineages[str(tree.log)].files[0].close()
    tree.write(*lines(2, 4))
    node.reader.changed(str(tree.log))
    node.reader.looks.where_due()                         # seen with its size, not opened yet
    size = os.path.getsize(tree.log)
    tree.log.unlink()
    await node.run()
    gaps = [g for s in node.buffer.sections for g in s.gaps]
    assert [(g.start, g.end, g.at_least, g.reason) for g in gaps] == [(read, -1, size - read, GapReason.ROTATED_AWAY)]


async def test_pieces_that_the_disk_does_not_give_again_do_not_end_the_agent(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    piece, end = cri("begun ", tag="P", second=1), cri("ended", second=2)
    tree.write(piece)
    node = Node(tree)
    await node.run(0.2)
    node.restart()
    pread = TailFile.pread

    def failing(self: TailFile, size: int, offset: int) -> bytes:
        if (size, offset) == (len(piece) + len(end), 0):
            raise OSError(5, "Input/output error")
        return pread(self, size, offset)

    monkeypatch.setattr(TailFile, "pread", failing)
    tree.write(end, cri("next", second=3))
    got = await node.run()
    assert got[-1] == b"next" and len(got) == 2
    marks = [s.batch.marks for s in node.buffer.sections if s.batch is not None and s.batch.marks]
    assert marks[0][0]["lost"] == len(piece) + len(end)


async def test_old_lines_stay_passed_over_when_the_first_append_fails(tree: Tree) -> None:
    tree.write(cri("old"))
    node = Node(tree, start_at="end")
    node.buffer.fail_next = OSError(5, "Input/output error")
    await node.run()
    tree.write(cri("new", second=1))
    assert await node.run() == [b"new"]


@pytest.mark.parametrize("there", [b"", b"the first half of "])
async def test_with_start_at_end_a_line_that_ends_after_the_first_look_is_shipped(tree: Tree, there: bytes) -> None:
    """An empty log, or one with half a line: its first whole line was passed over."""
    line = cri("the first half of a line")
    half = len(line) // 2 if there else 0
    tree.write(line[:half])
    node = Node(tree, start_at="end")
    await node.run()
    tree.write(line[half:])
    assert await node.run() == [b"the first half of a line"]


async def test_with_start_at_end_a_last_line_over_1_mib_is_not_begun_in_its_middle(tree: Tree) -> None:
    long = cri("x" * (2 << 20), second=1)
    tree.write(cri("old"), long[:-1000])
    node = Node(tree, start_at="end", max_line=4 << 20)
    await node.run()
    tree.write(long[-1000:], cri("new", second=2))
    assert await node.run() == [long[:-1].split(b" ", 3)[3], b"new"]
    assert sum(g.end for s in node.buffer.sections for g in s.gaps) == len(cri("old"))


async def test_a_file_whose_last_line_has_no_newline_is_unfinished_and_not_quiet(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write(cri("whole", second=1), cri("begun", second=2)[:-1])
    node = Node(tree)
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: True)
    await node.run()
    assert [row["state"] for row in node.reader.facts.rows()] == ["unfinished"]
    tree.write(b"\n")
    node.reader.changed(next(iter(node.reader.lineages)))
    await node.run()
    assert [row["state"] for row in node.reader.facts.rows()] == ["quiet"]


async def test_a_renamed_source_has_its_new_name_in_the_buffer_too(tree: Tree) -> None:
    """Records read from disk had the old one, so that routes by source differed from those of the same file in memory."""
    tree.write(*lines(0, 2))
    node = Node(tree)
    await node.run()
    (name,) = node.reader.lineages
    source = dataclasses.replace(node.reader.lineages[name].source, name="renamed", cache={})
    node.reader.drop(name)
    node.reader.add(source, node.settings)
    tree.write(*lines(2, 4))
    assert await node.run() == texts(0, 4)
    section = node.buffer.sections[-1]
    assert section.batch is not None and (section.batch.source.name, section.file.source.name) == ("renamed", "renamed")


async def test_a_damaged_frame_that_is_read_again_leaves_no_open_record_in_the_budget(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write(*lines(0, 2), cri("begun", second=2, tag="P"))
    node = Node(tree)
    await node.run(0.5)
    positions = node.buffer.positions
    (key,) = positions.files
    decoders = []
    ranges = node.reader._lost_ranges
    make = ranges._make_decoder
    ranges._make_decoder = lambda *a: decoders.append(make(*a)) or decoders[-1]  # type: ignore[func-returns-value]
    held = node.reader.lineages[str(tree.log)].decoder.opened.budget.held_bytes  # type: ignore[attr-defined]
    positions.commit(positions.plan_lost([Lost(positions.files[key].file, 0, positions.files[key].offset)]))
    threads = []
    monkeypatch.setattr(asyncio, "to_thread", lambda call, *a: threads.append(call) or asyncio.sleep(0, call(*a)))
    node.reader.complete = True
    assert (await node.run(1.2))[2:4] == texts(0, 2)
    assert not positions.lost and len(threads) == 1
    assert decoders[0].opened.budget.held_bytes == held == len("begun")


async def test_a_gz_that_got_the_inode_of_one_that_was_read_is_read_too(tree: Tree) -> None:
    first = tree.dir / "0.log.20261120-090000.gz"
    first.write_bytes(gzip.compress(b"".join(lines(0, 5))))
    tree.write(*lines(10, 12))
    node = Node(tree)
    assert await node.run() == [*texts(0, 5), *texts(10, 12)]
    second = tree.dir / "0.log.20261120-090100.gz"
    first.write_bytes(gzip.compress(b"".join(lines(5, 10))))           # the inode stays, as if it had been given out again
    os.rename(first, second)
    node.reader.changed(str(tree.log))
    assert sorted(await node.run()) == sorted(texts(0, 12))


async def test_a_log_cut_each_minute_for_days_leaves_no_trail_in_memory(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "log")
    live = tree.root / "app.log"
    tree.write(b"line 0\n", path=live)
    node = Node(tree, kind="files", include=str(live), form="plain")
    await node.run(0.2)
    for n in range(1, MOST_SALTED + 10):
        os.truncate(live, 0)
        tree.write(b"%d\n" % n, path=live)
        node.reader.written(str(live))
        await node.run(0.12)
    assert node.buffer.messages[-1] == b"%d" % (MOST_SALTED + 9)
    assert len(node.reader.lineages[str(live)].salted) <= MOST_SALTED


async def test_a_log_that_nobody_has_written_to_lately_is_watched_after_one_look(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven looks at each of 5,000 quiet files were a third of what they cost."""
    tree.write(*lines(0, 3))
    os.utime(tree.log, (1, 1))
    node = Node(tree)
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: True)
    steps, step = [], node.reader._front.read
    monkeypatch.setattr(node.reader._front, "read", lambda *a: steps.append(a) or step(*a))
    assert await node.run() == texts(0, 3)
    assert len(steps) == 1
    tree.write(*lines(3, 4))
    node.reader.written(str(tree.log))
    assert await node.run(0.1) == texts(0, 4)
    assert len(steps) == 2 and not node.reader._attention.busy, "a line after a silence: one look"
    tree.write(*lines(4, 5))
    node.reader.written(str(tree.log))
    assert await node.run() == texts(0, 5)
    assert len(steps) > 4                                 # it is written to now: looked at for a while


async def test_a_log_that_is_quiet_for_five_minutes_is_closed_and_its_next_line_is_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write(*lines(0, 1))
    os.utime(tree.log, (1, 1))
    node = Node(tree)
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: True)
    await node.run()
    (file,) = node.reader.lineages[str(tree.log)].files
    node.now += CLOSE_QUIET_AFTER_S - 10
    await node.run(2)
    assert file.handle is not None
    node.now += 10
    await node.run(2)
    assert file.handle is None
    tree.write(*lines(1, 2))
    node.reader.written(str(tree.log))
    assert await node.run(0.1) == texts(0, 2)


def test_quiet_logs_cost_nothing_while_none_of_them_is_to_be_closed() -> None:
    looked_at: list[str] = []

    class Quiet(dict[str, float]):
        def items(self) -> Any:
            for item in super().items():
                looked_at.append(item[0])
                yield item

    Handles({}, Quiet({f"{n}": 100.0 + n for n in range(5000)}), 10).close_quiet(101.0)
    assert looked_at == ["0"]


async def test_lines_that_quiet_logs_get_within_a_tick_are_one_frame(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 quiet pods with a line a second each woke reader, writer and sinks 300 times a second."""
    logs = [tree.pod(f"quiet-{n}") / "0.log" for n in range(5)]
    for log in logs:
        tree.write(*lines(0, 1), path=log)
        os.utime(log, (1, 1))
    node = Node(tree)
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: True)
    await node.run()
    attention, frames = node.reader._attention, node.buffer.seq

    def write(log: Path, n: int) -> None:
        tree.write(*lines(n, n + 1), path=log)
        node.reader.written(str(log))

    write(logs[0], 1)
    assert attention.wake.is_set() and await node.reader.step(), "the first one is read at once"
    for log in logs[1:]:
        write(log, 1)
    assert not await node.reader.step(), "its tick is not over"
    assert node.buffer.seq == frames + 1
    await node.run(0.1)
    assert node.buffer.seq == frames + 2
    assert sorted(node.buffer.messages) == sorted(texts(0, 2) * 5)
    assert not attention.busy and attention.quiet.keys() >= {str(log) for log in logs}


async def test_a_line_that_comes_between_the_watch_and_the_read_of_a_quiet_log_is_read_once_and_the_next_one_too(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write(*lines(0, 1))
    os.utime(tree.log, (1, 1))
    node = Node(tree)
    fired: list[str] = []

    def arm(fd: int, token: str) -> bool:
        if len(node.buffer.messages) == 1 and not fired:
            tree.write(*lines(2, 3))                      # behind the watch: it fires, and the read has the line
            fired.append(token)
        return True

    monkeypatch.setattr(node.directory, "arm", arm)
    assert await node.run() == texts(0, 1)
    tree.write(*lines(1, 2))
    node.reader.written(str(tree.log))
    assert await node.run(0.06) == texts(0, 3) and fired
    node.reader.written(fired[0])
    tree.write(*lines(3, 4))
    assert await node.run(0.2) == texts(0, 4)


async def test_the_log_behind_one_that_was_rotated_in_the_middle_of_a_burst_is_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was quiet for long got more than one read takes, and was renamed before the rest was read: with that it was
    taken for quiet, and the new log stood still until something else happened in its directory."""
    tree.write(*lines(0, 1))
    os.utime(tree.log, (1, 1))
    node = Node(tree)
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: True)
    await node.run()
    long = [f"line {n} {'x' * 500}" for n in range(1, 2001)]
    tree.write(*[cri(text, second=n) for n, text in enumerate(long, 1)])
    node.reader.written(str(tree.log))
    node.now += 1.0
    assert await node.reader.step() and 1 < len(node.buffer.messages) < 2001, "watched, and read in part"
    tree.rotate("20261120-090000")
    tree.write(*lines(2001, 2003))
    assert await node.run() == [b"line 0", *(text.encode() for text in long), *texts(2001, 2003)]


async def test_the_log_behind_a_quiet_one_that_was_rotated_is_watched_itself(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch of the old file never fires any more: taken for that of the new one, its lines came only with a poll."""
    tree.write(*lines(0, 3))
    os.utime(tree.log, (1, 1))
    node = Node(tree)
    armed: list[int] = []
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: armed.append(os.fstat(fd).st_ino) or True)
    assert await node.run() == texts(0, 3)
    tree.rotate("20261120-090405")
    tree.write(*lines(3, 5))
    node.scan()
    assert await node.run(1.0) == texts(0, 5)
    assert armed[-1] == os.stat(tree.log).st_ino and len(set(armed)) == 2


async def test_a_log_that_ends_in_half_a_line_is_watched_too(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write(*lines(0, 3))
    with open(tree.log, "ab") as file:
        file.write(b"2026-11-20T09:04:05.0Z stdout F hal")
    os.utime(tree.log, (1, 1))
    node = Node(tree)
    monkeypatch.setattr(node.directory, "arm", lambda fd, token: True)
    assert await node.run(1.0) == texts(0, 3)
    assert str(tree.log) in node.reader._attention.quiet and str(tree.log) not in node.reader._attention.busy


@pytest.mark.parametrize("before", ["found", "known"])
async def test_a_log_that_had_a_second_name_for_a_while_is_read_when_it_has_one_again(tree: Tree, before: str) -> None:
    snapshot = tree.root / "snapshot"
    tree.write(cri("one", second=1))
    if before == "found":
        os.link(tree.log, snapshot)
    node = Node(tree)
    await node.run()
    if before == "known":
        os.link(tree.log, snapshot)
        node.restart()
    tree.write(cri("two", second=2))
    await node.run(200)
    refused = node.telemetry.value("shipper_refused_files_total", "hard_linked")
    assert refused == 1 and b"two" not in node.buffer.messages
    snapshot.unlink()
    assert await node.run() == [b"one", b"two"]


async def test_a_log_that_was_not_to_be_seen_for_a_moment_is_not_held_as_a_deleted_one(tree: Tree, monkeypatch) -> None:
    """Its directory could not be searched, or was moved away and back. 10 minutes of a full buffer later it was let go unread."""
    tree.write(*lines(0, 3))
    node = Node(tree, max_open=1)
    await node.run()
    node.reader._handles.close_quiet(node.now + 1000)     # quiet for long: closed
    name = str(tree.log)
    assert node.reader.lineages[name].files[0].handle is None
    siblings = node.directory.siblings
    monkeypatch.setattr(node.directory, "siblings", lambda source: [])
    node.reader.changed(name)
    node.reader.prepare(node.now)
    monkeypatch.setattr(node.directory, "siblings", siblings)
    tree.write(*lines(3, 6))
    node.reader.changed(name)
    node.reader.prepare(node.now)
    file = node.reader.lineages[name].files[0]
    assert node.reader._opener.open(name, node.reader.lineages[name], file, node.now)
    for _ in range(700):                                  # a full buffer: nothing is read, time goes on
        node.now += 1
        node.reader.prepare(node.now)
    assert await node.run() == texts(0, 6)
    assert not [gap for section in node.buffer.sections for gap in section.gaps]


async def test_after_a_failed_append_another_pod_s_copy_of_a_log_does_not_get_its_key(tree: Tree) -> None:
    """B3: two files of one key would be one file with jumps."""
    tree.write(cri("the same", second=1))
    node = Node(tree)
    node.buffer.fail_next = OSError(28, "No space left on device")
    await node.reader.step()                              # its frame fails: the key is in no positions
    await node.reader.step()                              # found out
    other = tree.pod("web-0-copy") / "0.log"              # with the same uid
    tree.write(cri("the same", second=1), cri("and more", second=2), path=other)
    node.scan()
    assert sorted(await node.run()) == [b"and more", b"the same", b"the same"]
    assert len({item.partition(":")[0] for item, _ in node.buffer.records}) == 2
