"""The real filesystem behind the seam: F1 to F4 of files.py."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shipper.buffer.files import OsFiles
from shipper.errors import Usage


def test_f4_the_state_directory_and_what_is_in_it_are_ours_alone(tmp_path: Path) -> None:
    files, directory = OsFiles(), str(tmp_path / "a" / "state")
    files.prepare(directory)
    files.make_dir(directory + "/buffer")
    files.replace(directory + "/x.json", b"{}")
    files.allocate(directory + "/ballast", 8192)
    writer = files.create(directory + "/buffer/1.seg")
    writer.close()
    assert os.stat(directory).st_mode & 0o777 == 0o700 == os.stat(directory + "/buffer").st_mode & 0o777
    for name in ("x.json", "ballast", "buffer/1.seg"):
        assert os.stat(f"{directory}/{name}").st_mode & 0o777 == 0o600
    assert os.stat(directory + "/ballast").st_blocks * 512 >= 8192


def test_f1_replace_leaves_the_old_content_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, path = OsFiles(), str(tmp_path / "x")
    files.replace(path, b"old")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.replace(path, b"new content")
    assert files.read(path) == b"old" and files.names(str(tmp_path)) == ["x"]


def test_many_pieces_and_short_writes_arrive_whole_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, path = OsFiles(), str(tmp_path / "x")
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, pieces: real(fd, [b"".join(pieces)[:70]]))
    pieces = [b"%04d" % n for n in range(1_500)]
    writer = files.create(path)
    writer.append([*pieces, b""])
    writer.sync()
    writer.append([b"end"])
    writer.close()
    assert files.read(path) == b"".join(pieces) + b"end"
    assert files.read(path, 4, 8) == b"00010002" and files.read(path, 5_998, 100) == b"99end" and files.size(path) == 6_003


def test_a_cut_file_goes_on_at_its_new_end(tmp_path: Path) -> None:
    files, path = OsFiles(), str(tmp_path / "x")
    writer = files.create(path)
    writer.append([b"good torn"])
    files.truncate(path, 5)
    writer.append([b"again"])
    writer.close()
    files.renew(path)
    assert files.read(path) == b"good again"


def test_a_start_on_a_full_disk_that_copies_on_write_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, number = str(tmp_path / "x"), errno.ENOSPC

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    (tmp_path / "x").write_bytes(b"whole")
    monkeypatch.setattr(os, "pwrite", refuse)
    OsFiles().renew(path)
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        OsFiles().renew(path)
    assert OsFiles().read(path) == b"whole"


def test_a_segment_is_never_created_over_another_or_through_a_link(tmp_path: Path) -> None:
    files, path = OsFiles(), str(tmp_path / "x")
    files.create(path).close()
    os.symlink(tmp_path / "elsewhere", tmp_path / "link")
    for taken in (path, str(tmp_path / "link")):
        with pytest.raises(FileExistsError):
            files.create(taken)


def test_missing_names_are_no_error_where_the_caller_wants_them_gone(tmp_path: Path) -> None:
    files = OsFiles()
    files.delete(str(tmp_path / "no"))
    assert files.names(str(tmp_path / "no")) == []
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "no"))
    assert files.space(str(tmp_path)).total_bytes > 0


def test_a_state_directory_of_another_owner_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(Usage, match=rf"run: chown -R 4242 {tmp_path}"):
        OsFiles().prepare(str(tmp_path))


def test_the_command_that_mends_another_owner_goes_through_the_link_that_systemd_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under DynamicUser= /var/lib/shipper is a link: chown -R of its name changed nothing."""
    (tmp_path / "private").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "private")
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(Usage) as refused:
        OsFiles().prepare(str(link))
    assert str(refused.value).endswith(f"run: chown -R 4242 {link}/")


def test_a_state_directory_that_is_a_file_is_said_as_that(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    with pytest.raises(Usage, match="state: is a file; move it away, or name another state_dir"):
        OsFiles().prepare(str(tmp_path / "state"))


def test_a_read_only_state_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **how: False)
    with pytest.raises(Usage, match="not writable"):
        OsFiles().prepare(str(tmp_path))


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Usage, match="cannot be made"):
        OsFiles().prepare(str(tmp_path / "file" / "state"))
