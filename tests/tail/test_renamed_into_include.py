"""E1 to E3 of elsewhere.py: a log that is renamed to a name that `include` matches too (app.log to app.1.log under *.log, as
log4j and logback rotate; or into a directory that is read as well) came a second time as a whole, under other ids."""
from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shipper.tail.elsewhere import Elsewhere
from tests.support.fake_buffer import FakeBuffer
from tests.tail.conftest import Node, Tree


def lines(name: str, count: int) -> list[bytes]:
    return [b"%s line %d of a log\n" % (name.encode(), n) for n in range(count)]


def messages(name: str, count: int) -> list[bytes]:
    return [line[:-1] for line in lines(name, count)]


class Logs:
    def __init__(self, tmp_path: Path) -> None:
        self.tree = Tree(tmp_path / "log")
        self.dir = self.tree.root / "app"
        self.dir.mkdir()
        self.app = self.dir / "app.log"

    def node(self) -> Node:
        return Node(self.tree, kind="files", include=f"{self.dir}/*.log", form="plain")

    def rotate(self, keep: int = 4) -> None:
        """app.log to app.1.log, app.1.log to app.2.log, ..."""
        for number in range(keep, 0, -1):
            self.rename(number)

    def rename(self, number: int) -> None:
        name = self.dir / (f"app.{number - 1}.log" if number > 1 else "app.log")
        if name.exists():
            os.rename(name, self.dir / f"app.{number}.log")


def gaps(buffer: FakeBuffer) -> list[object]:
    return [gap for section in buffer.sections for gap in section.gaps]


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


@pytest.mark.parametrize("stopped", [False, True], ids=["while it is read", "while no agent runs"])
async def test_numbered_files_that_include_matches_come_once_through_every_rotation(logs: Logs, stopped: bool) -> None:
    logs.tree.write(*lines("oldest", 50), path=logs.dir / "app.1.log")
    logs.tree.write(*lines("first", 50), path=logs.app)
    node = logs.node()
    wanted = messages("oldest", 50) + messages("first", 50)
    assert sorted(await node.run()) == sorted(wanted)
    for name in ("second", "third", "fourth"):
        logs.rotate()
        logs.tree.write(*lines(name, 50), path=logs.app)
        wanted += messages(name, 50)
        if stopped:
            node.restart()
        assert sorted(await node.run()) == sorted(wanted)
    node.restart()
    assert sorted(await node.run()) == sorted(wanted)
    assert not gaps(node.buffer)
    assert len({item for item, _ in node.buffer.records}) == len(wanted)


async def test_a_chain_that_was_renamed_away_while_no_agent_ran_is_told_once(logs: Logs) -> None:
    """Each rotation after that told of the files of the chain as `rotated_away`, again and again."""
    node, number = logs.node(), 0

    def rotate() -> None:
        nonlocal number
        number += 1
        logs.rotate(keep=8)
        logs.tree.write(*lines(f"log{number}", 60), path=logs.app)

    for _ in range(10):
        rotate()
        await node.run()
    for _ in range(10):                                   # whatever was there before is gone
        rotate()
    node.restart()
    await node.run()
    for _ in range(10):
        rotate()
        await node.run()
    told = [section.file.key for section in node.buffer.sections for gap in section.gaps]
    assert len(told) == len(set(told)) == 9
    texts = await node.run()
    assert len(texts) == len(set(texts)) == (10 + 9 + 10) * 60


async def test_the_oldest_of_a_chain_that_is_overwritten_while_no_agent_runs_is_no_loss(logs: Logs) -> None:
    """All of it was read, and it stood there for long: as of app.log.5 that is removed, nothing is to be told."""
    node = logs.node()
    for number in range(8):
        logs.rotate(keep=4)
        logs.tree.write(*lines(f"log{number}", 60), path=logs.app)
        if number != 5:                                    # two rotations while it is stopped
            await node.run()
        if number in (4, 5):
            node.restart()
        if number == 5:
            await node.run(40.0)
    assert gaps(node.buffer) == []
    assert len(node.buffer.messages) == 8 * 60


@pytest.mark.parametrize("stopped", [False, True], ids=["while it is read", "while no agent runs"])
async def test_what_comes_behind_the_rename_is_read_once_by_its_new_name(logs: Logs, stopped: bool) -> None:
    logs.tree.write(*lines("a", 5), path=logs.app)
    node = logs.node()
    await node.run()
    logs.tree.write(b"not read before the rename\n", path=logs.app)
    logs.rotate()
    logs.tree.write(b"written behind the rename\n", path=logs.dir / "app.1.log")
    logs.tree.write(*lines("b", 5), path=logs.app)
    if stopped:
        node.restart()
    await node.run()
    logs.tree.write(b"late\n", path=logs.dir / "app.1.log")
    node.reader.written(str(logs.dir / "app.1.log"))
    node.reader.changed(str(logs.app))
    await node.run(40.0)
    node.restart()
    wanted = [*messages("a", 5), b"not read before the rename", b"written behind the rename", *messages("b", 5), b"late"]
    assert sorted(await node.run()) == sorted(wanted)
    assert not gaps(node.buffer)


async def test_a_line_without_its_end_is_finished_under_the_new_name(logs: Logs) -> None:
    logs.tree.write(b"one\n", b"tw", path=logs.app)
    node = logs.node()
    assert await node.run() == [b"one"]
    os.rename(logs.app, logs.dir / "other.log")
    await node.run()
    logs.tree.write(b"o\n", path=logs.dir / "other.log")
    node.reader.written(str(logs.dir / "other.log"))
    assert await node.run() == [b"one", b"two"]


async def test_another_file_that_got_the_inode_is_read_from_its_start(logs: Logs) -> None:
    logs.tree.write(*lines("a", 5), path=logs.app)
    node = logs.node()
    await node.run()
    os.rename(logs.app, logs.dir / "other.log")
    (logs.dir / "other.log").write_bytes(b"".join(lines("new", 9)))        # in place: what an inode given out again looks like
    node.restart()
    assert sorted(await node.run()) == sorted(messages("a", 5) + messages("new", 9))


class Positions(dict[str, object]):
    passes = 0

    def items(self):  # type: ignore[no-untyped-def, override]
        self.passes += 1
        return super().items()


def test_e4_thousands_of_new_files_at_once_cost_one_pass_over_the_positions(tmp_path: Path) -> None:
    ref = SimpleNamespace(device=1, inode=0)
    files = Positions({f"key{n}": SimpleNamespace(file=ref) for n in range(3000)})
    mine: Any = SimpleNamespace(settings=SimpleNamespace(host_file=True))
    elsewhere = Elsewhere({}, lambda: SimpleNamespace(files=files), lambda: True)  # type: ignore[arg-type, return-value]
    (tmp_path / "new.log").write_text("new\n")
    file: Any = SimpleNamespace(compressed=False, fd=os.open(tmp_path / "new.log", os.O_RDONLY), node_id=(1, 2))
    assert [elsewhere.take(mine, file) for _ in range(3000)] == [None] * 3000
    assert files.passes == 1
    files["one more"] = SimpleNamespace(file=ref)
    assert elsewhere.take(mine, file) is None and files.passes == 2
    os.close(file.fd)


async def test_two_names_of_one_file_take_nothing_from_each_other(logs: Logs) -> None:
    logs.tree.write(*lines("a", 5), path=logs.app)
    node = logs.node()
    await node.run()
    os.link(logs.app, logs.dir / "other.log")
    logs.tree.write(b"more\n", path=logs.app)
    await node.run()
    node.reader.written(str(logs.app))
    assert (await node.run()).count(b"more") >= 1
    assert not gaps(node.buffer)


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_of_writes_renames_looks_and_kills_ships_each_line_that_stays_once(tmp_path: Path, seed: int) -> None:
    rng, logs = random.Random(seed), Logs(tmp_path)
    node, held, number, unread_gone = logs.node(), dict[str, list[bytes]](), 0, set[bytes]()
    wanted: list[bytes] = []
    for _ in range(60):
        action = rng.choice(["write", "write", "late", "rotate", "rotate", "half a chain", "kill", "run", "run"])
        names = sorted(path.name for path in logs.dir.iterdir())
        if action == "write" or (action == "late" and names):
            name = "app.log" if action == "write" else rng.choice(names)
            texts = [b"line %d of %s" % (number + n, name.encode()) for n in range(rng.randint(1, 40))]
            number += len(texts)
            logs.tree.write(*(text + b"\n" for text in texts), path=logs.dir / name)
            wanted += texts
            held.setdefault(name, []).extend(texts)
        elif action in ("rotate", "half a chain"):
            for shift in range(4, 0, -1):
                old, new = f"app.{shift - 1}.log" if shift > 1 else "app.log", f"app.{shift}.log"
                if (logs.dir / old).exists():
                    unread_gone |= set(held.get(new, [])) - set(node.buffer.messages)
                    held[new] = held.pop(old, [])
                logs.rename(shift)
                if action == "half a chain" and rng.random() < 0.5:
                    await node.run(0.1)
        elif action == "kill":
            node.restart()
        else:
            await node.run(rng.choice([0.1, 0.5, 3.0]))
    got = await node.run(40.0)
    node.restart()
    got = await node.run(3.0)
    assert len(got) == len(set(got)), sorted(text for text in set(got) if got.count(text) > 1)[:3]
    assert set(wanted) - set(got) <= unread_gone
