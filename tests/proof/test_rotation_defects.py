"""P4, found by the proofs: each of these lost, repeated, misplaced or misreported lines once. Real files; the clock is the
test's. `look` is what a reader does while a full buffer keeps it from reading: it follows the names and reads nothing."""
from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from shipper.errors import GapReason
from shipper.model import Gap
from tests.tail.conftest import Node, Tree, cri


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "log")


def lines(first: int, last: int) -> list[bytes]:
    return [cri(f"line {n}", second=n) for n in range(first, last)]


def texts(first: int, last: int) -> list[bytes]:
    return [b"line %d" % n for n in range(first, last)]


def look(node: Node) -> None:
    node.scan()
    for name in node.reader.lineages:
        node.reader.changed(name)
    node.reader.prepare(node.now)
    node.now += 0.1


def gaps(node: Node) -> list[Gap]:
    return [gap for section in node.buffer.sections for gap in section.gaps]


async def test_a_file_compressed_before_it_was_read_comes_once(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    tree.rotate("20261120-090100")
    tree.write(*lines(3, 200))
    look(node)
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(*lines(200, 210))
    look(node)
    tree.rotate("20261120-090300", compress="20261120-090200")
    tree.write(*lines(210, 220))
    look(node)
    assert await node.run() == texts(0, 220)


async def test_three_copytruncates_before_the_next_read_keep_the_order(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "log")
    app = tree.root / "app.log"
    tree.write(b"0\n", path=app)
    node = Node(tree, kind="files", include=str(app), form="plain")
    await node.run()
    for n in range(1, 4):
        tree.write(b"%d\n" % n, path=app)
        look(node)
        for number in (3, 2, 1):
            if (tree.root / f"app.log.{number}").exists():
                os.rename(tree.root / f"app.log.{number}", tree.root / f"app.log.{number + 1}")
        shutil.copy(app, tree.root / "app.log.1")
        os.truncate(app, 0)
        tree.write(b"%d begins\n" % n, path=app)
        look(node)
    assert await node.run() == [b"0", b"1", b"1 begins", b"2", b"2 begins", b"3", b"3 begins"]


async def test_a_truncated_file_that_has_grown_is_reported_with_no_more_than_was_lost(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    tree.write(*lines(3, 6))
    look(node)
    os.truncate(tree.log, 0)
    tree.write(*lines(100, 400))
    look(node)
    assert await node.run() == texts(0, 3) + texts(100, 400)
    assert [(gap.reason, gap.at_least) for gap in gaps(node)] == [(GapReason.TRUNCATED, sum(map(len, lines(3, 6))))]


async def test_a_truncation_is_said_also_where_nothing_is_known_to_be_lost(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    tree.write(*lines(3, 6))
    os.truncate(tree.log, 0)
    tree.write(*lines(100, 102))
    assert await node.run() == texts(0, 3) + texts(100, 102)
    assert [(gap.reason, gap.at_least) for gap in gaps(node)] == [(GapReason.TRUNCATED, 0)]


async def test_a_copy_that_was_there_before_its_original_was_ever_read_comes_once(tree: Tree) -> None:
    tree.write(*lines(0, 30))
    shutil.copy(tree.log, f"{tree.log}.1")
    node = Node(tree)
    assert await node.run() == texts(0, 30)
    os.truncate(tree.log, 0)
    tree.write(*lines(30, 32))
    assert await node.run() == texts(0, 32)


async def test_a_copy_cut_from_its_original_before_that_was_read_comes_once_and_whole(tree: Tree) -> None:
    tree.write(*lines(0, 30))
    node = Node(tree)
    look(node)
    shutil.copy(tree.log, f"{tree.log}.1")
    look(node)
    os.truncate(tree.log, 0)
    tree.write(*lines(30, 90))
    look(node)
    assert await node.run() == texts(0, 90)


@pytest.mark.parametrize("copied_bytes", [0, 20, 700, 5000, 15000])
async def test_a_copy_that_is_still_being_made_is_not_read_beside_its_original(tree: Tree, copied_bytes: int) -> None:
    content = b"".join(lines(0, 300))
    tree.write(content)
    node = Node(tree)
    await node.run()
    copy = Path(f"{tree.log}.1")
    copy.write_bytes(content[:copied_bytes])
    await node.run()
    copy.write_bytes(content)
    await node.run(0.1)
    os.truncate(tree.log, 0)
    tree.write(*lines(300, 303))
    assert await node.run() == texts(0, 303)
    assert gaps(node) == []


async def test_a_copy_seen_empty_and_compressed_before_it_was_read_comes_once(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    for n in range(3):
        tree.write(*lines(10 + 100 * n, 110 + 100 * n))
        look(node)
        copy = Path(f"{tree.log}.1")
        for number in (n, 1):
            if Path(f"{tree.log}.{number}").exists():
                Path(f"{tree.log}.{number + 1}.gz").write_bytes(gzip.compress(Path(f"{tree.log}.{number}").read_bytes()))
                Path(f"{tree.log}.{number}").unlink()
        copy.touch()
        look(node)
        copy.write_bytes(tree.log.read_bytes())
        os.truncate(tree.log, 0)                          # tells no directory: the next look comes when .1 is gone again
    assert await node.run() == texts(0, 3) + texts(10, 310)


async def test_a_copy_seen_empty_and_put_away_comes_once(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    copy = Path(f"{tree.log}.1")
    copy.touch()
    await node.run()
    (put_away,) = node.reader.lineages[str(tree.log)].done
    put_away.close()                                      # as when the frame of its turn is synced
    tree.write(*lines(3, 60))
    copy.write_bytes(tree.log.read_bytes())
    os.truncate(tree.log, 0)
    tree.write(*lines(60, 62))
    look(node)
    assert await node.run() == texts(0, 62)


async def test_a_new_log_with_the_inode_of_a_compressed_one_that_was_removed_is_read(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    tree.rotate("20261120-090100")
    tree.write(*lines(3, 6))
    await node.run()
    tree.rotate("20261120-090200", compress="20261120-090100")
    tree.write(*lines(6, 9))
    await node.run()
    packed = tree.dir / "0.log.20261120-090100.gz"
    tree.rotate("20261120-090300")
    os.rename(packed, tree.log)                           # what an inode freed and handed out again comes to
    tree.log.write_bytes(b"".join(lines(9, 12)))
    assert await node.run() == texts(0, 12)


async def test_a_file_renamed_while_it_is_looked_for_is_not_called_lost(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    tree.write(*lines(3, 6))
    tree.rotate("20261120-090100")
    tree.write(*lines(6, 9))
    opened, real = [], node.directory.open.__func__      # type: ignore[attr-defined]

    def rename_first(directory: object, path: str, settings: object) -> int:
        if not opened and path.endswith("090100"):
            opened.append(path)
            os.rename(path, path.replace("090100", "090101"))
        return int(real(directory, path, settings))

    type(node.directory).open, kept = rename_first, type(node.directory).open  # type: ignore[method-assign]
    try:
        node.restart()
        got = await node.run()
    finally:
        type(node.directory).open = kept                 # type: ignore[method-assign]
    assert opened and got == texts(0, 9)
    assert gaps(node) == []


async def test_docker_files_with_equal_first_kib_are_not_taken_for_copies(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "log")
    live = tree.root / "x-json.log"

    def docker(n: int) -> bytes:
        return b'{"log":"%s\\n","stream":"stdout","time":"2026-11-20T09:00:%02d.5Z"}\n' % (b"x" * 2000, n)

    tree.write(docker(0), path=live)
    node = Node(tree, kind="files", include=str(live), form="docker")
    await node.run()
    for n in range(1, 5):
        for number in range(n, 0, -1):
            if (tree.root / f"x-json.log.{number}").exists():
                os.rename(tree.root / f"x-json.log.{number}", tree.root / f"x-json.log.{number + 1}")
        os.rename(live, tree.root / "x-json.log.1")
        tree.write(docker(n), path=live)
        look(node)
    await node.run()
    assert len(node.buffer.messages) == 5


async def test_files_that_came_and_went_while_the_agent_was_down_are_not_passed_over_in_silence(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    read = tree.rotate("20261120-090100")
    tree.log.touch()
    assert await node.run() == texts(0, 3)
    assert node.buffer.sections[-1].closed                # read to its end, and nothing is known of what comes next
    tree.write(*lines(3, 6))
    tree.rotate("20261120-090200").unlink()
    read.unlink()
    tree.write(*lines(6, 9))
    node.restart()
    assert await node.run() == texts(0, 3) + texts(6, 9)
    (gap,) = gaps(node)
    assert (gap.reason, gap.end, gap.at_least) == (GapReason.ROTATED_AWAY, -1, 0)
    assert 0 < gap.first_ns < gap.last_ns
    node.restart()
    await node.run()
    assert len(gaps(node)) == 1


async def test_names_that_go_back_an_hour_are_ordered_by_content_also_while_the_new_log_is_empty(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    tree.rotate("20261025-024500")
    tree.write(*lines(3, 6))
    tree.rotate("20261025-025959")
    tree.write(*lines(6, 9))
    tree.rotate("20261025-020100")
    tree.log.touch()
    look(node)
    tree.write(*lines(9, 12))
    assert await node.run() == texts(0, 12)


async def test_a_piece_in_a_file_that_is_compressed_at_this_moment_is_not_lost(tree: Tree) -> None:
    tree.write(cri("first ", tag="P", second=1))
    node = Node(tree)
    await node.run(0.2)
    plain = tree.rotate("20261120-090100")
    tree.write(cri("err", stream="stderr", second=2))
    await node.run(0.2)
    tree.write(cri("last", second=4))
    node.restart()                                        # has looked, has not read
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    while await node.reader.step():
        node.now += 0.001
    assert node.buffer.messages == [b"err", b"first last"]
    assert await node.run() == [b"err", b"first last"]
    assert gaps(node) == []


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_shorter_docker_file_that_begins_like_a_known_one_is_read(tmp_path: Path, compressed: bool) -> None:
    tree = Tree(tmp_path / "log")
    live = tree.root / "x-json.log"

    def docker(text: bytes, n: int) -> bytes:
        return b'{"log":"%s\\n","stream":"stdout","time":"2026-11-20T09:00:%02d.5Z"}\n' % (text, n)

    tree.write(docker(b"x" * 2000, 0), *(docker(b"%d" % n, n) for n in range(1, 50)), path=live)
    node = Node(tree, kind="files", include=str(live), form="docker")
    await node.run()
    known = tree.root / "x-json.log.2"
    os.rename(live, tree.root / "x-json.log.1")
    tree.write(docker(b"x" * 2000, 50), path=live)
    os.rename(tree.root / "x-json.log.1", known)
    os.rename(live, tree.root / "x-json.log.1")
    tree.write(docker(b"last", 51), path=live)
    if compressed:
        for path in (known, tree.root / "x-json.log.1"):
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    node.restart()
    got = await node.run()
    assert got[50:] == [b"x" * 2000, b"last"]
    node.restart()
    assert await node.run() == got
