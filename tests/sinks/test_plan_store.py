"""Plans on disk: what is a plan, what is scratch, what a power cut or a full disk leaves."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.encode.bigquery_proto import Rows
from shipper.sinks._bigquery_write_plans import Payload
from shipper.sinks._bigquery_write_range import Range as RowsRange
from shipper.sinks._gcs_range import Range as GcsRange
from shipper.sinks._plan_store import PlanStore


def spooled(store: PlanStore, number: int, *contents: bytes) -> None:
    for file, content in enumerate(contents):
        descriptor = store.create(store.path(number, file))
        os.write(descriptor, content)
        os.close(descriptor)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    made = PlanStore(str(tmp_path), "a/b")
    assert made.open() == []
    return made


def names(store: PlanStore) -> list[str]:
    return sorted(os.listdir(store.directory))


def test_a_plan_is_found_again_with_its_files_and_progress_and_the_rest_is_removed(store: PlanStore, tmp_path: Path) -> None:
    first, second = store.new_number(), store.new_number()
    spooled(store, first, b"x", b"y")
    store.write(first, {"objects": [1, 2]})
    store.note(first, {"0": {"session": "s"}})
    spooled(store, second, b"never planned")
    Path(store.directory, f"{first:010d}.plan.json.tmp").write_bytes(b"{")
    Path(store.directory, "what is this").write_bytes(b"")
    again = PlanStore(str(tmp_path), "a/b")
    assert again.open() == [(first, {"objects": [1, 2]})]
    assert names(again) == ["0000000001-0.part", "0000000001-1.part", "0000000001.plan.json", "0000000001.progress.json"]
    assert again.progress(first) == {"0": {"session": "s"}} and again.new_number() == 2
    again.remove(first, 2)
    assert names(again) == []


def test_it_is_readable_by_nobody_else_and_stays_below_the_state_directory(store: PlanStore, tmp_path: Path) -> None:
    spooled(store, 1, b"records")
    assert os.stat(store.directory).st_mode & 0o777 == 0o700
    assert os.stat(store.path(1, 0)).st_mode & 0o777 == 0o600
    assert Path(store.directory).parent == tmp_path / "spool"


def test_a_manifest_is_written_behind_its_files_and_goes_before_them(store: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("fsync", "rename", "unlink"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _real=real, _name=name: (done.append(_what(_name, args)), _real(*args))[1])
    spooled(store, 1, b"x")
    store.write(1, {"objects": [1]})
    assert done == ["fsync directory", "fsync file", "rename 0000000001.plan.json", "fsync directory"]
    done.clear()
    store.remove(1, 1)
    assert done[:2] == ["unlink 0000000001.plan.json", "fsync directory"] and "unlink 0000000001-0.part" in done


def _objects(store: PlanStore) -> GcsRange:
    made = GcsRange(store, 1, "gzip", 0.0, 0, most_open=1)
    made.append(1, [("a", [b"x"]), ("b", [b"y"])])          # one over `most_open`: it is ended at once
    return made


def _rows(store: PlanStore) -> RowsRange:
    made = RowsRange(store, 1, "t", b"", 0.0, 0)
    made.append(1, Payload(b"", [Rows(b"\x0a\x01r", b"id\n", 1)], {}, 1))
    return made


@pytest.mark.parametrize("made", [_objects, _rows])
def test_a_sealed_file_is_whole_on_disk_before_a_manifest_can_name_it(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch, made: Callable[[PlanStore], GcsRange | RowsRange],
) -> None:
    """PS1: what a power cut leaves of a file that was not synced is anything."""
    synced: dict[str, int] = {}

    def fsync(descriptor: int, real: Callable[[int], None] = os.fsync) -> None:
        synced[os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))] = os.fstat(descriptor).st_size
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    made(store).seal()
    files = [name for name in names(store) if name.endswith(".part")]
    assert files and synced == {name: os.stat(os.path.join(store.directory, name)).st_size for name in files}


def _what(name: str, args: tuple[object, ...]) -> str:
    if name == "fsync":
        directory = os.path.isdir(f"/proc/self/fd/{args[0]}")
        return "fsync directory" if directory else "fsync file"
    return f"{name} {os.path.basename(str(args[-1]))}"


def test_a_damaged_manifest_is_named_and_damaged_progress_is_none(store: PlanStore) -> None:
    store.write(1, {"objects": []})
    Path(store.directory, "0000000001.progress.json").write_bytes(b"{")
    assert store.progress(1) == {}
    Path(store.directory, "0000000001.plan.json").write_bytes(b"{")
    with pytest.raises(ValueError, match=r"0000000001\.plan\.json is damaged; move .*/spool/[^ /]+ away"):
        store.open()


def test_a_full_disk_leaves_no_half_manifest(store: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: 0)
    with pytest.raises(OSError):
        store.write(1, {"objects": []})
    assert "0000000001.plan.json" not in names(store)
    monkeypatch.undo()
    store.write(1, {"objects": []})
    assert "0000000001.plan.json" in names(store)


def test_what_a_sink_keeps_outlives_its_plans_and_is_replaced_in_one_step(tmp_path: Path) -> None:
    store = PlanStore(str(tmp_path), "far")
    store.open()
    assert store.kept() == {}
    store.keep({"a": 1})
    store.keep({"a": 2})
    again = PlanStore(str(tmp_path), "far")
    assert again.open() == [] and again.kept() == {"a": 2}
    again.rise_over(7)
    assert again.new_number() == 8
    (tmp_path / "spool" / "far" / "kept.json").write_bytes(b"{")
    with pytest.raises(ValueError, match=r"kept\.json is damaged"):
        again.kept()
