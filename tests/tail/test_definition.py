"""Keys and formats: DE1 to DE3 of tail/definition.py, F1 and F2 of tail/identity.py."""
from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shipper.model import FileRef, Source
from shipper.tail.definition import form_by
from shipper.tail.identity import digest, file_key, has_head_of, known_part
from shipper.tail.ports import Settings
from tests.tail.conftest import Node, Tree, cri

SETTINGS = Settings("c", "auto", "beginning", 1 << 20, 1 << 20, 2.0, (), False)
POD = Source("containers", "c", "/l", "/pods/l", "n1", "default", "web-0", "uid", "web")


class Sniffed:
    """Formats that say one thing, and remember what was taken as plain."""

    def __init__(self, form: str) -> None:
        self.form, self.plain = form, list[tuple[bytes, str]]()

    def taken_as_plain(self, line: bytes, source: str) -> None:
        self.plain.append((line, source))

    def sniff(self, line: bytes) -> str:
        return self.form

    def first_ns(self, line: bytes, form: str) -> int:
        return 0


@pytest.mark.parametrize("form, host_file, sniffed, found", [
    ("auto", False, "docker", "docker"), ("auto", False, "raw", "cri"), ("auto", True, "raw", "raw"),
    ("docker", False, "cri", "docker"), ("plain", True, "cri", "raw"),
])
def test_de3_the_format_is_what_the_settings_say_else_what_the_first_line_is(
    form: str, host_file: bool, sniffed: str, found: str,
) -> None:
    formats = Sniffed(sniffed)
    assert form_by(replace(SETTINGS, form=form, host_file=host_file), b"line", formats) == found
    assert formats.plain == ([(b"line", "c")] if form == "plain" else []), "a container's log that is taken as plain is said"


async def test_de2_two_logs_that_begin_alike_in_one_directory_have_two_keys(tree: Tree) -> None:
    tree.write(cri("start", second=1), cri("first", second=2))
    node = Node(tree)
    await node.run()
    tree.rotate("20261120-090100")
    tree.write(cri("start", second=1), cri("second", second=2))
    assert await node.run() == [b"start", b"first", b"start", b"second"]
    assert len({item.partition(":")[0] for item, _ in node.buffer.records}) == 2


@pytest.mark.parametrize("restarted", [False, True])
async def test_de2_a_cut_log_that_begins_alike_again_has_another_key(tree: Tree, restarted: bool) -> None:
    tree.write(cri("start", second=1), cri("before the cut", second=2))
    node = Node(tree)
    await node.run()
    os.truncate(tree.log, 0)
    tree.write(cri("start", second=1), cri("behind", second=2))
    if restarted:
        node.restart()
    assert await node.run() == [b"start", b"before the cut", b"start", b"behind"]
    assert len({item.partition(":")[0] for item, _ in node.buffer.records}) == 2


def host(tmp_path: Path, content: bytes, **how: Any) -> tuple[Node, Path]:
    tree = Tree(tmp_path / "log")
    log = tree.root / "app.log"
    tree.write(content, path=log)
    return Node(tree, kind="files", include=str(log), form="plain", **how), log


async def test_de2_host_files_that_begin_alike_at_one_path_have_keys_of_their_own(tmp_path: Path) -> None:
    """No uid tells them apart: a log that is made anew each day with one first line, the one before deleted."""
    node, log = host(tmp_path, b"start\none\n")
    await node.run()
    log.unlink()
    await node.run()
    node.tree.write(b"start\ntwo\n", path=log)
    assert await node.run() == [b"start", b"one", b"start", b"two"]
    after_its_positions_were_forgotten = Node(node.tree, kind="files", include=str(log), form="plain")
    await after_its_positions_were_forgotten.run()
    records = [*node.buffer.records, *after_its_positions_were_forgotten.buffer.records]
    assert len({item.partition(":")[0] for item, _ in records}) == 3


async def test_de1_a_preallocated_log_gets_no_key_before_something_is_written_and_its_zeros_are_not_in_it(tmp_path: Path) -> None:
    node, log = host(tmp_path, bytes(8192))
    await node.run()
    assert not node.buffer.positions.files
    with open(log, "r+b") as file:
        file.write(b"first\n")
    await node.run()
    (known,) = node.buffer.positions.files.values()
    assert known.file.head_bytes == len(b"first\n")


async def test_de1_half_a_first_line_that_nobody_will_finish_is_a_record(tree: Tree) -> None:
    tree.write(cri("half", second=1)[:-1])
    node = Node(tree)
    assert await node.run() == []
    tree.log.unlink()
    assert await node.run(5.0) == [b"half"]


def test_f1_a_key_tells_restarts_and_containers_of_a_pod_apart_but_not_its_directories() -> None:
    same = file_key(POD, b"line")
    assert same == file_key(replace(POD, lineage="/elsewhere", cache={}), b"line")
    ways: list[dict[str, Any]] = [{"restart": 1}, {"container": "api"}, {"pod_uid": "x"}]
    others = [file_key(replace(POD, cache={}, **how), b"line") for how in ways]
    assert len({same, *others, file_key(POD, b"other"), file_key(POD, b"line", "salt")}) == 6


def test_a_head_without_the_zeros_behind_it_says_which_file_it_is() -> None:
    assert known_part(b"line\n" + bytes(100)) == b"line\n" and known_part(bytes(10)) == bytes(10)


def test_a_shorter_head_is_not_that_of_a_longer_one() -> None:
    known = FileRef("k", POD, "/l", 1, 2, 5, digest(b"12345"))
    assert has_head_of(known, b"12345678") and not has_head_of(known, b"1234") and not has_head_of(known, b"12346")
