"""What is planned follows the cursor, and goes with it."""
from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from shipper.agent import spools
from shipper.deliver.dead_letters import DeadLetters, letters_directory
from shipper.deliver.split import Candidate
from shipper.errors import DropReason
from shipper.sinks._plan_store import PlanStore
from shipper.telemetry import Telemetry
from tests.deliver.support import section, source


def planned(state: Path, sink: str) -> PlanStore:
    store = PlanStore(str(state), sink)
    store.open()
    store.write(store.new_number(), {"objects": []})
    return store


def test_a_renamed_sink_finds_the_plans_of_its_former_name(tmp_path: Path) -> None:
    planned(tmp_path, "a/b")
    spools.inherit(str(tmp_path), "new", None)
    spools.inherit(str(tmp_path), "new", "a/b")
    assert [number for number, _ in PlanStore(str(tmp_path), "new").open()] == [1]
    spools.inherit(str(tmp_path), "new", "a/b")
    planned(tmp_path, "other")
    spools.inherit(str(tmp_path), "new", "other")
    assert [number for number, _ in PlanStore(str(tmp_path), "new").open()] == [1], "its own plans are not written over"


def test_a_spool_goes_when_neither_sink_nor_cursor_has_its_name(tmp_path: Path) -> None:
    assert spools.tidy(str(tmp_path), set()) == ([], [])
    for name in ("a/b", "kept", "in the config"):
        planned(tmp_path, name)
    assert spools.tidy(str(tmp_path), {"kept", "in the config"}) == (["a/b"], [])
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["in%20the%20config", "kept"]


def test_a_spool_that_cannot_be_removed_is_not_said_to_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """"spool_removed" stood in the log each hour, and its bytes went on to count against the buffer."""
    for name in ("a", "b"):
        planned(tmp_path, name)
    remove = shutil.rmtree

    def failing(path: str, ignore_errors: bool = False) -> None:
        if path.endswith("/a"):
            if ignore_errors:
                return
            raise PermissionError(13, "Permission denied", path)
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", failing)
    gone, [(name, error)] = spools.tidy(str(tmp_path), set())
    assert (gone, name, error.errno) == (["b"], "a", 13)


def test_of_a_spool_with_one_file_that_stays_all_others_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They counted against max_size as long as that one did."""
    root = Path(spools.spool_directory(str(tmp_path), "gone"))
    root.mkdir(parents=True)
    for name in ("1", "2", "3"):
        (root / name).write_bytes(b"x")
    unlink, first = os.unlink, next(os.scandir(root)).name

    def busy(path: str, **more: Any) -> None:
        if path == first:
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", busy)
    gone, [(name, error)] = spools.tidy(str(tmp_path), [])
    assert (gone, name, error.errno) == ([], "gone", errno.EBUSY)
    assert [path.name for path in root.iterdir()] == [first]


async def test_a_renamed_sink_finds_the_dead_letters_of_its_former_name(tmp_path: Path) -> None:
    old, new = (DeadLetters(f"{letters_directory(str(tmp_path))}/{name}", name, Telemetry()) for name in ("old", "new"))
    made = section(source("web"), 0, [b"x"]).batch
    await old.write([Candidate(made, DropReason.REJECTED, "400")], 1)
    spools.inherit(str(tmp_path), "new", "old")
    assert [letter["record"]["message"] for letter in new.read()] == ["x"] and list(old.read()) == []
    await old.write([Candidate(made, DropReason.REJECTED, "400")], 1)
    spools.inherit(str(tmp_path), "new", "old")
    assert len(list(old.read())) <= 1 and len(list(new.read())) == 1, "its own letters are not written over"
