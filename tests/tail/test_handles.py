"""Which descriptors stay open: H1 to H3 of tail/handles.py."""
from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from shipper.tail import handles as module
from shipper.tail.file import TailFile
from shipper.tail.handles import CLOSE_QUIET_AFTER_S, HELD_DELETED_S, Handles


class Held:
    """As much of a lineage as is asked for."""

    def __init__(self, *files: TailFile) -> None:
        self.files, self.done = list(files), list[TailFile]()


def opened(path: Path, *, size: int = 10, read: int = 10) -> TailFile:
    path.write_bytes(b"x" * size)
    stat = path.stat()
    file = TailFile(str(path), stat.st_dev, stat.st_ino, live=True, compressed=False)
    file.attach(os.open(path, os.O_RDONLY))
    file.offset = read
    return file


def handles_of(lineages: dict[str, Held], quiet: dict[str, float] | None = None, *, most: int = 100) -> Handles:
    return Handles(lineages, quiet if quiet is not None else {}, most)  # type: ignore[arg-type]


def test_h3_what_is_quiet_for_five_minutes_is_closed_and_nothing_else(tmp_path: Path) -> None:
    lineages = {name: Held(opened(tmp_path / name)) for name in ("long", "just")}
    quiet = {"long": 0.0, "just": 1.0}
    handles_of(lineages, quiet).close_quiet(CLOSE_QUIET_AFTER_S)
    assert [x.files[0].handle is None for x in lineages.values()] == [True, False] and quiet == {"just": 1.0}


def test_h1_neither_unread_bytes_nor_what_has_no_name_any_more_is_closed_for_being_quiet(tmp_path: Path) -> None:
    lineages = {"unread": Held(opened(tmp_path / "unread", read=9)), "deleted": Held(opened(tmp_path / "deleted"))}
    (tmp_path / "deleted").unlink()
    handles_of(lineages, dict.fromkeys(lineages, 0.0)).close_quiet(1e9)
    assert all(x.files[0].handle is not None for x in lineages.values())


def test_at_the_limit_an_eighth_is_closed_the_quietest_first_then_whatever_is_read(tmp_path: Path) -> None:
    lineages = {f"{n}": Held(opened(tmp_path / f"{n}")) for n in range(16)}
    quiet = {"5": 0.0}
    handles = handles_of(lineages, quiet, most=16)
    assert all(handles.make_room() for _ in range(17)), "as many as it was made for, and one more"
    closed = [name for name, x in lineages.items() if x.files[0].handle is None]
    assert closed == ["0", "5"] and quiet == {}, "two are an eighth of 16, and only one was quiet"


def test_h1_where_every_open_file_has_unread_bytes_there_is_no_room_for_one_more(tmp_path: Path) -> None:
    lineages = {f"{n}": Held(opened(tmp_path / f"{n}", read=9)) for n in range(4)}
    handles = handles_of(lineages, {"0": 0.0}, most=4)
    assert [handles.make_room() for _ in range(5)] == [True] * 4 + [False]
    assert all(x.files[0].handle is not None for x in lineages.values())


def test_h2_a_done_file_is_closed_with_its_synced_frame_and_not_where_it_is_read_again(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    first, back, last = (opened(tmp_path / name) for name in ("first", "back", "last"))
    lineage: Any = Held(back)
    handles = handles_of({})
    for seq, file in ((1, first), (2, back), (3, last)):
        future = loop.create_future()
        future.set_result(seq)
        handles.retire(future, lineage, file)
    handles.release(2)
    assert [file.handle is None for file in (first, back, last)] == [True, False, False]
    handles.release(3)
    assert last.handle is None
    loop.close()


def test_h2_what_is_not_safe_yet_is_given_back(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    file = opened(tmp_path / "0.log")
    lineage: Any = Held()
    handles = handles_of({})
    handles.retire(loop.create_future(), lineage, file)
    handles.release(9)
    assert file.handle is not None and handles.take_back() == [(lineage, file)] and handles.take_back() == []
    loop.close()


@pytest.fixture
def deleted(tmp_path: Path) -> dict[str, Held]:
    """Two deleted files of 100 and of 50 unread bytes, and one that is there."""
    lineages = {name: Held(opened(tmp_path / name, size=size)) for name, size in (("a", 110), ("b", 60), ("c", 10))}
    for name in "ab":
        (tmp_path / name).unlink()
        lineages[name].files[0].deleted_since_s = 1000.0
    return lineages


def over(lineages: dict[str, Held], now: float) -> list[int]:
    return [unread for _, _, unread in handles_of(lineages).over_limit(dict.fromkeys(lineages), now)]


def test_h1_deleted_files_are_let_go_after_ten_minutes(deleted: dict[str, Held]) -> None:
    assert over(deleted, 1000.0 + HELD_DELETED_S) == []
    assert over(deleted, 1001.0 + HELD_DELETED_S) == [100, 50]


def test_h1_of_deleted_files_over_the_limit_of_bytes_no_more_than_needed_are_let_go(
    deleted: dict[str, Held], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HELD_DELETED_BYTES", 99)
    assert over(deleted, 1000.0) == [100], "the other one is within it by itself"
    monkeypatch.setattr(module, "HELD_DELETED_BYTES", 150)
    assert over(deleted, 1000.0) == []


def test_lineages_without_deleted_files_are_not_asked_again(deleted: dict[str, Held]) -> None:
    names: dict[str, None] = dict.fromkeys([*deleted, "forgotten"])
    list(handles_of(deleted).over_limit(names, 1000.0))
    assert list(names) == ["a", "b"]


def test_what_a_look_opened_beyond_the_limit_is_closed_but_for_what_has_no_other_way_to_it(tmp_path: Path) -> None:
    held, new, gone = (opened(tmp_path / name) for name in ("held", "new", "gone"))
    (tmp_path / "gone").unlink()
    lineage: Any = Held(held, new, gone)
    Handles.close_new(lineage, {held.node_id})
    assert [file.handle is None for file in (held, new, gone)] == [False, True, False]
