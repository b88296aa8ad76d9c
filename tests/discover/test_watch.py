"""Real inotify events (W1 to W6 in shipper/discover/watch.py)."""
import asyncio
import errno
import os
from pathlib import Path

import pytest

from shipper.discover import inotify as ino
from shipper.discover import watch as watch_module
from shipper.discover.watch import Watcher
from shipper.telemetry import Telemetry


class Heard:
    """A Watcher and what it reported."""

    def __init__(self) -> None:
        self.files: list[object] = []
        self.directories: list[str] = []
        self.overflows = 0
        self.telemetry = Telemetry()
        self._news = asyncio.Event()
        self.watcher = Watcher(on_file=self._file, on_directory=self._directory, on_overflow=self._overflow,
                               telemetry=self.telemetry)

    def _file(self, token):
        self.files.append(token)
        self._news.set()

    def _directory(self, path):
        self.directories.append(path)
        self._news.set()

    def _overflow(self):
        self.overflows += 1
        self._news.set()

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def kernel_watches(self):
        with open(f"/proc/self/fdinfo/{self.watcher._fd}") as info:
            return sum(line.startswith("inotify wd:") for line in info)

    def table_entries(self):
        w = self.watcher
        return len(w._tokens), len(w._watch_of_token), len(w._directories), len(w._watch_of_directory)


@pytest.fixture
async def heard():
    heard = Heard()
    assert heard.watcher.start()
    yield heard
    heard.watcher.close()


@pytest.fixture
def marker(tmp_path, heard):
    """Makes an event that comes after all earlier ones, and waits for it."""
    directory = tmp_path / "marker"
    directory.mkdir()

    async def mark():
        heard.watcher.watch_directories({*heard.watcher.watched, str(directory)})
        before = heard.directories.count(str(directory))
        os.mkdir(directory / str(before))
        await heard.until(lambda: heard.directories.count(str(directory)) > before)
    return mark


@pytest.fixture
def log(tmp_path):
    fd = os.open(tmp_path / "0.log", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


async def test_a_write_fires_once_however_many_follow(heard, log, marker):
    assert heard.watcher.arm(log, "a")
    for _ in range(100):
        os.write(log, b"line\n")
    await marker()
    assert heard.files == ["a"]
    assert heard.watcher.arm(log, "a")
    os.write(log, b"line\n")
    await marker()
    assert heard.files == ["a", "a"]


async def test_a_truncation_fires(heard, log):
    os.write(log, b"line\n")
    heard.watcher.arm(log, "a")
    os.ftruncate(log, 0)
    await heard.until(lambda: heard.files == ["a"])


async def test_a_file_keeps_its_watch_when_it_is_renamed_or_our_descriptor_is_closed(heard, tmp_path):
    writer = os.open(tmp_path / "0.log", os.O_WRONLY | os.O_CREAT)
    reader = os.open(tmp_path / "0.log", os.O_RDONLY)
    heard.watcher.arm(reader, "a")
    os.close(reader)
    os.rename(tmp_path / "0.log", tmp_path / "0.log.1")
    os.write(writer, b"late\n")
    await heard.until(lambda: heard.files == ["a"])
    os.close(writer)


async def test_a_deleted_file_that_is_still_written_to_fires(heard, log, tmp_path):
    os.unlink(tmp_path / "0.log")
    assert heard.watcher.arm(log, "a")
    os.write(log, b"last\n")
    await heard.until(lambda: heard.files == ["a"])


async def test_the_end_of_a_watched_file_fires_and_leaves_nothing(heard, tmp_path):
    fd = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    heard.watcher.arm(fd, "a")
    os.close(fd)
    os.unlink(tmp_path / "x")
    await heard.until(lambda: heard.files == ["a"])
    assert heard.table_entries() == (0, 0, 0, 0)


async def test_a_disarmed_token_is_silent(heard, log, marker):
    heard.watcher.arm(log, "a")
    heard.watcher.disarm("a")
    heard.watcher.disarm("never armed")
    os.write(log, b"x")
    await marker()
    assert heard.files == []
    heard.watcher.arm(log, "b")
    os.write(log, b"x")
    heard.watcher.disarm("b")  # fired already, not yet read
    await marker()
    assert heard.files == []
    assert heard.table_entries()[:2] == (0, 0)


async def test_a_token_that_is_armed_again_moves_to_the_new_file(heard, log, marker, tmp_path):
    heard.watcher.arm(log, "a")
    new = os.open(tmp_path / "new", os.O_RDWR | os.O_CREAT)
    heard.watcher.arm(new, "a")
    os.write(log, b"x")
    await marker()
    assert heard.files == []
    os.write(new, b"x")
    await heard.until(lambda: heard.files == ["a"])
    os.close(new)


async def test_two_tokens_on_one_file_both_fire(heard, log):
    heard.watcher.arm(log, "a")
    heard.watcher.arm(log, "b")
    os.write(log, b"x")
    await heard.until(lambda: len(heard.files) == 2)
    assert sorted(map(str, heard.files)) == ["a", "b"]


async def test_one_of_two_tokens_on_one_file_can_leave(heard, log, marker):
    heard.watcher.arm(log, "a")
    heard.watcher.arm(log, "b")
    heard.watcher.disarm("a")
    os.write(log, b"x")
    await marker()
    assert heard.files == ["b"]


async def test_arming_within_a_callback_works(heard, log):
    seen = []

    def again(token):
        seen.append(token)
        if len(seen) < 3:
            heard.watcher.arm(log, token)
            os.write(log, b"x")
        heard._news.set()

    heard.watcher._on_file = again
    heard.watcher.arm(log, "a")
    os.write(log, b"x")
    await heard.until(lambda: len(seen) == 3)


async def test_the_tables_do_not_grow_with_what_fired(heard, log, marker):
    for _ in range(500):
        heard.watcher.arm(log, "a")
        os.write(log, b"x")
        await heard.until(lambda: not heard.watcher._tokens)
    await marker()
    assert len(heard.files) == 500
    assert heard.table_entries() == (0, 0, 1, 1)
    assert heard.kernel_watches() == 1


async def test_what_happens_in_a_directory_is_reported_with_its_path(heard, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    heard.watcher.watch_directories([str(one), str(two)])
    assert sorted(heard.directories) == [str(one), str(two)], "W3"
    for act in (lambda: (one / "0.log").write_bytes(b"x"), lambda: (one / "0.log").rename(one / "0.log.1"),
                lambda: (one / "link").symlink_to("x"), lambda: (one / "0.log.1").unlink(), lambda: (one / "d").mkdir()):
        heard.directories.clear()
        act()
        await heard.until(lambda: bool(heard.directories))
        assert heard.directories == [str(one)]


async def test_writes_do_not_wake_the_directory(heard, log, marker, tmp_path):
    heard.watcher.watch_directories([str(tmp_path)])
    await marker()
    heard.directories.clear()
    os.write(log, b"x")
    os.fchmod(log, 0o600)
    await marker()
    assert str(tmp_path) not in heard.directories


async def test_a_deleted_directory_is_reported_and_watched_again_when_it_is_back(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(watch_module, "RETRY_S", 0.2)
    directory = tmp_path / "one"
    directory.mkdir()
    heard.watcher.watch_directories([str(directory)])
    heard.directories.clear()
    directory.rmdir()
    await heard.until(lambda: str(directory) in heard.directories)
    assert str(directory) not in heard.watcher.watched
    assert heard.table_entries() == (0, 0, 0, 0)
    heard.directories.clear()
    directory.mkdir()
    await heard.until(lambda: heard.directories == [str(directory)])
    assert heard.kernel_watches() == 1


async def test_a_directory_that_moved_with_its_parent_is_watched_anew_when_the_scan_says_so(heard, tmp_path):
    directory = tmp_path / "parent" / "one"
    directory.mkdir(parents=True)
    heard.watcher.watch_directories([str(directory)])
    (tmp_path / "parent").rename(tmp_path / "moved")      # no event tells of it (W5)
    directory.mkdir(parents=True)
    heard.watcher.watch_anew([str(directory), "/not/watched"])
    heard.directories.clear()
    (directory / "0.log").write_bytes(b"")
    await heard.until(lambda: heard.directories == [str(directory)])
    assert heard.kernel_watches() == 1


async def test_a_directory_that_was_moved_away_is_not_watched_under_its_old_name(heard, tmp_path):
    (tmp_path / "one").mkdir()
    heard.watcher.watch_directories([str(tmp_path / "one")])
    (tmp_path / "one").rename(tmp_path / "two")
    await heard.until(lambda: not heard.watcher.watched)
    assert heard.kernel_watches() == 0


async def test_what_is_not_wanted_any_more_is_not_watched(heard, marker, tmp_path):
    (tmp_path / "one").mkdir()
    heard.watcher.watch_directories([str(tmp_path / "one")])
    heard.watcher.watch_directories([])
    assert heard.table_entries() == (0, 0, 0, 0)
    assert heard.kernel_watches() == 0
    heard.directories.clear()
    (tmp_path / "one" / "x").mkdir()
    await marker()
    assert str(tmp_path / "one") not in heard.directories


async def test_a_directory_that_is_not_there_and_a_file_in_its_place_stop_nothing(heard, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "one").mkdir()
    heard.watcher.watch_directories([str(tmp_path / "none"), str(tmp_path / "file"), str(tmp_path / "one")])
    assert list(heard.watcher.watched) == [str(tmp_path / "one")]
    assert heard.telemetry.degraded_since == {}


async def test_one_that_is_missing_does_not_keep_the_others_from_being_watched(heard, tmp_path):
    directories = [tmp_path / str(number) for number in range(20)]
    for directory in directories:
        directory.mkdir()
    heard.watcher.watch_directories(map(str, directories[:1]))
    directories[0].rmdir()
    await heard.until(lambda: not heard.watcher.watched)
    heard.watcher.watch_directories(map(str, directories))
    assert sorted(heard.watcher.watched) == sorted(map(str, directories[1:]))


async def test_a_full_queue_fires_every_token_and_reports_every_directory(heard, log, tmp_path):
    events = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    (tmp_path / "noisy").mkdir()
    (tmp_path / "quiet").mkdir()
    heard.watcher.watch_directories([str(tmp_path / "noisy"), str(tmp_path / "quiet")])
    heard.watcher.arm(log, "a")
    heard.directories.clear()
    for _ in range(events // 2 + 10):  # nothing is drained: the loop does not run
        os.close(os.open(tmp_path / "noisy" / "x", os.O_CREAT | os.O_WRONLY))
        os.unlink(tmp_path / "noisy" / "x")
    os.write(log, b"lost\n")
    (tmp_path / "quiet").rmdir()
    await heard.until(lambda: heard.overflows == 1)
    assert heard.files == ["a"]
    assert str(tmp_path / "noisy") in heard.directories
    assert list(heard.watcher.watched) == [str(tmp_path / "noisy")], "the end of the other one was lost as well"
    assert heard.watcher.arm(log, "a")
    os.write(log, b"x")
    await heard.until(lambda: heard.files == ["a", "a"])


async def test_a_container_that_makes_events_in_a_loop_is_cut_short_per_wake_up(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(watch_module, "READS_PER_WAKE", 1)
    heard.watcher.watch_directories([str(tmp_path)])
    heard.directories.clear()
    for number in range(5000):
        os.mkdir(tmp_path / f"{number:0100}")
    reads = []
    real_read = os.read

    def counting_read(fd, size):
        reads.append(fd)
        return real_read(fd, size)

    monkeypatch.setattr(os, "read", counting_read)
    heard.watcher._drain()
    assert len(reads) == 1
    assert heard.directories == [str(tmp_path)]


class TestWithoutInotify:
    async def test_no_instance_left_means_polling_until_there_is_one(self, monkeypatch, log, tmp_path):
        monkeypatch.setattr(watch_module, "RETRY_S", 0.01)

        def no_instance():
            raise OSError(errno.EMFILE, "Too many open files")

        heard, real_init = Heard(), ino.init
        monkeypatch.setattr(ino, "init", no_instance)
        assert heard.watcher.start() is False
        assert heard.watcher.working is False
        assert heard.watcher.arm(log, "a") is False
        heard.watcher.watch_directories([str(tmp_path)])
        assert list(heard.watcher.watched) == []
        assert "inotify_unavailable" in heard.telemetry.degraded_since
        heard.watcher.disarm("a")

        monkeypatch.setattr(ino, "init", real_init)
        await heard.until(lambda: heard.directories == [str(tmp_path)])
        assert heard.watcher.working and heard.telemetry.degraded_since == {}
        assert heard.watcher.arm(log, "a")
        os.write(log, b"x")
        await heard.until(lambda: heard.files == ["a"])
        heard.watcher.close()

    async def test_no_watch_left_means_polling_the_rest_until_there_is_one(self, heard, monkeypatch, log, tmp_path):
        monkeypatch.setattr(watch_module, "RETRY_S", 0.01)
        real_add = ino.add_watch

        def no_watch(fd, path, mask):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(ino, "add_watch", no_watch)
        assert heard.watcher.arm(log, "a") is False
        heard.watcher.watch_directories([str(tmp_path)])
        assert list(heard.watcher.watched) == []
        assert list(heard.telemetry.degraded_since) == ["inotify_watches_exhausted"]
        assert heard.watcher.working

        monkeypatch.setattr(ino, "add_watch", real_add)
        await heard.until(lambda: heard.directories == [str(tmp_path)])
        assert heard.telemetry.degraded_since == {}
        assert heard.watcher.arm(log, "a")

    async def test_a_closed_watcher_says_nothing(self, log, tmp_path):
        heard = Heard()
        heard.watcher.start()
        heard.watcher.arm(log, "a")
        heard.watcher.close()
        heard.watcher.close()
        os.write(log, b"x")
        assert heard.watcher.arm(log, "a") is False
        assert heard.table_entries() == (0, 0, 0, 0)
        assert heard.files == []


async def test_five_thousand_files_and_directories(heard, tmp_path):
    directories = []
    for number in range(5000):
        directory = tmp_path / str(number)
        directory.mkdir()
        fd = os.open(directory / "0.log", os.O_WRONLY | os.O_CREAT)
        assert heard.watcher.arm(fd, number)
        os.close(fd)
        directories.append(str(directory))
    heard.watcher.watch_directories(directories)
    assert heard.kernel_watches() == 10_000
    heard.directories.clear()
    for directory in directories:
        Path(directory, "0.log").write_bytes(b"x")
    os.mkdir(f"{directories[4321]}/new")
    await heard.until(lambda: len(heard.files) == 5000 and heard.directories != [])
    assert sorted(heard.files) == list(range(5000))
    assert heard.directories == [directories[4321]]
    assert heard.table_entries() == (0, 0, 5000, 5000)
