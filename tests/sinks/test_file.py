"""The file sink as its users and its operators meet it."""
from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shipper.config.units import Bytes, Seconds
from shipper.errors import Fatal, Retryable
from shipper.model import Batch, Request, Source
from shipper.sinks import SinkContext, find
from shipper.sinks import file as file_module
from shipper.sinks._file_config import FileConfig, RotateConfig, trouble
from shipper.sinks._file_disk import Disk
from shipper.sinks.file import FileSink
from shipper.telemetry import Telemetry

from .file_world import FaultyDisk

POD = Source("containers", "c", "/l", "/l", "n1", "default", "web-0", "uid", "web", "cid")
TIME = b"2026-11-20T09:04:05.123456789Z"
NS = 1795165445_000000000


def batch(*messages: bytes, source: Source = POD, read_ns: int = NS) -> Batch:
    count = len(messages)
    return Batch(source, "key", [TIME] * count, [b"stdout"] * count, [b"%x+1" % i for i in range(count)], messages, None, read_ns)


def pod(name: str, namespace: str = "default") -> Source:
    return replace(POD, pod=name, namespace=namespace, cache={})


class Desk:
    """A sink and what delivery would do with it. Numbers rise; `states`: what was confirmed, by number."""

    def __init__(
        self, directory: Path, disk: Disk | None = None, now_s: Callable[[], float] = time.time, **config: Any,
    ) -> None:
        config.setdefault("path", f"{directory}/out/{{namespace}}/{{pod}}.log")
        config.setdefault("format", "raw")
        self.telemetry, self.states, self.resends, self.number = Telemetry(), {}, [], 0
        self.context = SinkContext("archive", "n1", f"{directory}/state", self.telemetry, self._confirmed, self.resends.append)
        self.sink = FileSink(FileConfig(**config), self.context, disk, now_s)
        self.news = asyncio.Event()
        self.durable_at_once = False

    def _confirmed(self, number: int, state: Any = None) -> None:
        assert number > max(self.states, default=0)
        self.states[number] = json.loads(json.dumps(state))
        self.news.set()
        if self.durable_at_once:
            self.sink.durable(number)

    async def send(self, *batches: Batch) -> None:
        self.number += 1
        await self.sink.send(Request(self.number, list(batches)), self.sink.encode(batches))

    @property
    def state(self) -> Any:
        return self.states[max(self.states)] if self.states else None

    @property
    def events(self) -> list[str]:
        return [event for _, event, _ in self.telemetry.lines]


@asynccontextmanager
async def desk(directory: Path, state: Any = None, **more: Any) -> AsyncIterator[Desk]:
    made = Desk(directory, **more)
    await made.sink.start(state)
    try:
        yield made
    finally:
        await made.sink.close()


# ------------------------------------------------------------ what is written


async def test_records_go_to_the_path_that_their_metadata_name(tmp_path):
    async with desk(tmp_path, format="ndjson", path=f"{tmp_path}/a/{{namespace}}/{{time:%Y}}/{{pod}}-{{container}}.ndjson") as d:
        await d.send(batch(b"one"), batch(b"two", source=pod("web-1", "shop")), batch(b"three"))
        await d.sink.flush(5)
    lines = (tmp_path / "a/default/2026/web-0-web.ndjson").read_bytes().splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["one", "three"]
    assert json.loads((tmp_path / "a/shop/2026/web-1-web.ndjson").read_bytes())["kubernetes"]["namespace_name"] == "shop"


async def test_a_hostile_pod_name_stays_in_the_directory_of_the_template(tmp_path):
    async with desk(tmp_path) as d:
        await d.send(batch(b"x", source=pod("../../../etc/passwd", "..")))
        await d.sink.flush(5)
    found = [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.log")]
    assert found == ["%2E./%2E.%2F..%2F..%2Fetc%2Fpasswd.log"]


async def test_modes_are_those_of_the_config_and_the_journal_is_nobody_elses(tmp_path):
    before = os.umask(0)
    try:
        async with desk(tmp_path, mode="0604", dir_mode="0705") as d:
            await d.send(batch(b"x"))
    finally:
        os.umask(before)
    expected = {"out/default/web-0.log": 0o604, "out/default": 0o705, "state/sinks/archive.json": 0o600}
    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in expected} == expected


# ------------------------------------------------------------ confirming


async def test_a_request_is_confirmed_by_itself_after_a_moment_with_the_lengths_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "SYNC_INTERVAL_S", 0.01)
    async with desk(tmp_path) as d:
        await d.send(batch(b"one", b"two"))
        await asyncio.wait_for(d.news.wait(), 30)
        (path, (length, inode, _)), = d.state["files"].items()
        assert path == f"{tmp_path}/out/default/web-0.log" and length == 8 and inode == os.stat(path).st_ino
        assert list(d.states) == [1]


async def test_much_is_confirmed_without_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "SYNC_INTERVAL_S", 3600)
    async with desk(tmp_path) as d:
        await d.send(batch(b"x" * file_module.SYNC_BYTES))
        await asyncio.wait_for(d.news.wait(), 30)


async def test_a_flush_with_nothing_sent_confirms_nothing(tmp_path):
    async with desk(tmp_path) as d:
        await d.sink.flush(5)
        assert not d.states


async def test_a_clean_close_cuts_off_what_was_not_confirmed(tmp_path):
    async with desk(tmp_path) as d:
        await d.send(batch(b"kept"))
        await d.sink.flush(5)
        await d.send(batch(b"comes again"))
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"kept\n"
    d.sink.durable(1)                   # the buffer closes after the sinks


async def test_what_was_synced_before_a_rewind_is_not_confirmed_after_it(tmp_path):
    async with desk(tmp_path) as d:
        await d.send(batch(b"one"))
        flushing = asyncio.create_task(d.sink.flush(5))
        await asyncio.sleep(0)
        d.sink.rewound(0)
        await flushing
        assert not d.states
        await d.send(batch(b"one"))
        await d.sink.flush(5)
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"one\n"


async def test_a_cancelled_send_leaves_nothing_behind_wherever_it_was(tmp_path):
    async with desk(tmp_path) as d:
        for turns in range(8):
            sending = asyncio.create_task(d.send(batch(b"number %d" % turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            sending.cancel()
            was_cancelled = (await asyncio.gather(sending, return_exceptions=True))[0] is not None
            if was_cancelled:
                await d.send(batch(b"number %d" % turns))
        await d.sink.flush(5)
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"".join(b"number %d\n" % n for n in range(8))


# ------------------------------------------------------------ restart


async def test_a_restart_cuts_files_back_and_unknown_files_to_what_they_were(tmp_path):
    known, unknown, foreign = (tmp_path / f"out/default/{name}.log" for name in ("known", "unknown", "foreign"))
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody else's\n")
    first = Desk(tmp_path)
    await first.sink.start(None)
    await first.send(batch(b"kept", source=pod("known")))
    await first.sink.flush(5)
    await first.send(*[batch(b"again", source=pod(name)) for name in ("known", "unknown", "foreign")])
    async with desk(tmp_path, first.state):
        assert [path.read_bytes() for path in (known, unknown, foreign)] == [b"kept\n", b"", b"somebody else's\n"]
    await first.sink.close()


async def test_a_state_of_another_sink_type_is_refused_with_the_mend(tmp_path):
    with pytest.raises(Fatal, match=r"another sink type or of a newer release; give this sink another name"):
        await Desk(tmp_path).sink.start({"plan": 7})


async def test_a_changed_path_still_cuts_back_what_the_old_one_wrote(tmp_path):
    first = Desk(tmp_path)
    await first.sink.start(None)
    await first.send(batch(b"again"))
    async with desk(tmp_path, None, path=f"{tmp_path}/elsewhere/{{pod}}.log") as d:
        await d.send(batch(b"again"))
        await d.sink.flush(5)
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b""
    assert (tmp_path / "elsewhere/web-0.log").read_bytes() == b"again\n"
    await first.sink.close()


# ------------------------------------------------------------ trouble


@pytest.mark.parametrize(("number", "message"), [
    (errno.ENOSPC, "the disk is full; make room"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota"),
    (errno.EIO, "kernel's log"),
])
async def test_a_write_that_fails_halfway_leaves_nothing_and_goes_on_when_there_is_room(tmp_path, number, message):
    disk = FaultyDisk()
    async with desk(tmp_path, disk=disk) as d:
        await d.send(batch(b"one"))
        disk.fail = {"append": OSError(number, os.strerror(number))}
        for _ in range(3):
            with pytest.raises(Retryable, match=message):
                await d.send(batch(b"two", source=pod("web-0")))
            d.number -= 1
        assert (tmp_path / "out/default/web-0.log").read_bytes() == b"one\n"
        disk.fail = {}
        await d.send(batch(b"two"))
        await d.sink.flush(5)
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"one\ntwo\n"


async def test_where_the_cut_fails_too_nothing_is_written_behind_the_torn_bytes(tmp_path):
    disk = FaultyDisk()
    async with desk(tmp_path, disk=disk) as d:
        await d.send(batch(b"one"))
        disk.fail = {"append": OSError(errno.EIO, "bad"), "truncate": OSError(errno.EIO, "bad")}
        with pytest.raises(Retryable):
            await d.send(batch(b"a long line of which a part is written"))
        del disk.fail["append"]
        with pytest.raises(Retryable):
            await d.send(batch(b"two"))
        assert d.events.count("output file not cut back yet") == 1
        disk.fail = {}
        await d.send(batch(b"two"))
        await d.sink.flush(5)
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"one\ntwo\n"


async def test_after_a_failed_fsync_everything_unconfirmed_comes_again_and_nothing_is_confirmed_before(tmp_path):
    disk = FaultyDisk()
    async with desk(tmp_path, disk=disk) as d:
        await d.send(batch(b"one"))
        await d.sink.flush(5)
        await d.send(batch(b"two"))
        disk.fail = {"sync": OSError(errno.EIO, "Input/output error")}
        with pytest.raises(Retryable, match="Input/output error"):
            await d.sink.flush(5)
        disk.fail = {}
        assert len(d.resends) == 1
        for refused in (d.send(batch(b"three")), d.sink.flush(5)):
            with pytest.raises(Retryable, match="going back after a failed sync"):
                await refused
        d.sink.rewound(1)
        await d.send(batch(b"two"), batch(b"three"))
        await d.sink.flush(5)
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("obstacle", ["link", "directory", "fifo", "linked directory"])
async def test_what_is_no_plain_file_is_not_written_to(tmp_path, obstacle):
    path, outside = tmp_path / "out/default/web-0.log", tmp_path / "outside"
    outside.mkdir()
    if obstacle == "linked directory":
        path.parent.parent.mkdir()
        path.parent.symlink_to(outside)
    else:
        path.parent.mkdir(parents=True)
        make = {"link": lambda: path.symlink_to(outside / "target"), "directory": path.mkdir, "fifo": lambda: os.mkfifo(path)}
        make[obstacle]()
    async with desk(tmp_path) as d:
        with pytest.raises(Retryable, match=r"cannot write .*web-0.log: .*; .*(link|directory|regular file)"):
            await d.send(batch(b"x"))
    assert list(outside.iterdir()) == []


def test_a_directory_that_may_not_be_written_to_names_the_mend():
    error = trouble(PermissionError(errno.EACCES, "Permission denied", "/var/log/archive/a.log"))
    assert str(error) == ("cannot write /var/log/archive/a.log: Permission denied; "
                          "give the agent's user write access to this directory")


# ------------------------------------------------------------ somebody else


@pytest.mark.parametrize(("deed", "event", "left"), [
    (lambda path: path.rename(path.with_suffix(".1")), "output file was moved or removed", b"two\n"),
    (lambda path: path.unlink(), "output file was moved or removed", b"two\n"),
    (lambda path: os.truncate(path, 0), "output file was cut", b"two\n"),
    (lambda path: path.write_bytes(b"one\nmore\n"), "output file was written to", b"one\nmore\ntwo\n"),
])
async def test_a_file_that_somebody_else_changes_is_reported_and_never_cut_below_what_is_there(tmp_path, deed, event, left):
    path = tmp_path / "out/default/web-0.log"
    async with desk(tmp_path) as d:
        await d.send(batch(b"one"))
        await d.sink.flush(5)
        deed(path)
        await d.send(batch(b"two"))
        await d.sink.flush(5)
        assert event in d.events
        await d.send(batch(b"comes again"))
    assert path.read_bytes() == left
    async with desk(tmp_path, d.state):
        assert path.read_bytes() == left


@pytest.mark.parametrize("deed", ["replace", "remove", "cut"])
async def test_a_file_that_was_changed_while_we_were_down_is_reported_and_left_alone(tmp_path, deed):
    path = tmp_path / "out/default/web-0.log"
    async with desk(tmp_path) as d:
        await d.send(batch(b"one", b"two"))
        await d.sink.flush(5)
    if deed == "cut":
        os.truncate(path, 2)
    elif deed == "remove":
        path.unlink()
    else:
        (tmp_path / "new").write_bytes(b"a new file, longer than the old one\n")
        (tmp_path / "new").replace(path)
    async with desk(tmp_path, d.state) as again:
        assert again.events == ["output file was cut" if deed == "cut" else "output file was moved or removed"]
        await again.send(batch(b"three"))
        await again.sink.flush(5)
    left = {"cut": b"on", "remove": b"", "replace": b"a new file, longer than the old one\n"}
    assert path.read_bytes() == left[deed] + b"three\n"


# ------------------------------------------------------------ rotation


class Now:
    now_s = 1_795_165_445.0

    def __call__(self) -> float:
        return self.now_s


def names(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "out/default").iterdir())


async def background_done(sink: FileSink) -> None:
    """Until what was handed to the compressing thread so far has run."""
    await sink._run(lambda: None)                       # jobs of the sink's thread that may hand it over
    await asyncio.wrap_future(sink._background.submit(lambda: None))


async def test_a_full_file_is_rotated_once_its_records_are_durable_and_not_before(tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "ROTATE_WAIT_S", 0.02)
    async with desk(tmp_path, now_s=Now(), rotate=RotateConfig(max_size=Bytes(6))) as d:
        await d.send(batch(b"one"))
        await d.send(batch(b"two"))
        await d.send(batch(b"three"))                   # the cursor does not become durable: it grows on
        assert names(tmp_path) == ["web-0.log"] and "rotation_put_off" in d.events
        d.durable_at_once = True
        await d.sink.flush(5)
        await d.send(batch(b"four"))                    # 14 bytes, all durable once it has waited
        await d.sink.flush(5)
    assert names(tmp_path) == ["web-0.log", "web-0.log.20261120T090405Z"]
    assert (tmp_path / "out/default/web-0.log.20261120T090405Z").read_bytes() == b"one\ntwo\nthree\n"
    assert (tmp_path / "out/default/web-0.log").read_bytes() == b"four\n"


async def test_a_send_waits_for_the_durable_cursor_and_then_writes_to_the_new_file(tmp_path):
    async with desk(tmp_path, now_s=Now(), rotate=RotateConfig(max_size=Bytes(4))) as d:
        d.durable_at_once = True
        for message in (b"one", b"two", b"three"):
            await d.send(batch(message))
        await d.sink.flush(5)
    found = {name: (tmp_path / "out/default" / name).read_bytes() for name in names(tmp_path)}
    assert found == {"web-0.log.20261120T090405Z": b"one\n", "web-0.log.20261120T090405Z_001": b"two\n",
                     "web-0.log.20261120T090405Z_002": b"three\n"}


async def test_an_old_file_is_rotated_compressed_and_only_the_newest_are_kept(tmp_path):
    now = Now()
    rotate = RotateConfig(max_age=Seconds(60.0), keep=2, compress="gzip")
    async with desk(tmp_path, now_s=now, rotate=rotate) as d:
        d.durable_at_once = True
        for number in range(5):
            await d.send(batch(b"number %d" % number))
            await d.sink.flush(5)
            now.now_s += 61.0
        await d.send(batch(b"last"))
        await d.sink.flush(5)
        await background_done(d.sink)
    kept = [name for name in names(tmp_path) if name.endswith(".gz")]
    assert len(kept) == 2 and len(names(tmp_path)) == 3
    assert [gzip.decompress((tmp_path / "out/default" / name).read_bytes()) for name in kept] == [b"number 3\n", b"number 4\n"]


async def test_a_failed_compression_is_reported_and_done_at_the_next_start(tmp_path):
    disk, now = FaultyDisk(), Now()
    rotate = RotateConfig(max_size=Bytes(1), compress="gzip")
    async with desk(tmp_path, disk=disk, now_s=now, rotate=rotate) as d:
        await d.send(batch(b"one"))
        await d.sink.flush(5)
        disk.fail = {"unlink": OSError(errno.EIO, "bad disk")}
        d.sink.durable(1)
        path = tmp_path / "out/default/web-0.log.20261120T090405Z"
        await d.sink._run(lambda: None)
        await background_done(d.sink)
        await d.sink.flush(5)
        assert "rotated file not finished" in d.events and path.exists() and Path(f"{path}.gz").exists()
    async with desk(tmp_path, d.state, now_s=now, rotate=rotate) as again:
        await background_done(again.sink)
    assert names(tmp_path) == ["web-0.log.20261120T090405Z.gz"]


async def test_no_more_files_are_open_than_allowed(tmp_path):
    async with desk(tmp_path, max_open_files=3) as d:
        for _ in range(2):
            await d.send(*[batch(b"x", source=pod(f"p{number}")) for number in range(10)])
            links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
            assert len([link for link in links if os.readlink(link).startswith(f"{tmp_path}/out/default/")]) == 3
        await d.sink.flush(5)
    assert {path.read_bytes() for path in (tmp_path / "out/default").iterdir()} == {b"x\nx\n"}


# ------------------------------------------------------------ config


@pytest.mark.parametrize(("config", "key", "message"), [
    ({"path": "relative/{pod}"}, "path", "not absolute"),
    ({"path": "/{pod}.log"}, "path", "no directory below / in front of its name or first field"),
    ({"path": "/a/../b/{pod}.log"}, "path", "write /b$"),
    ({"path": "//a/b.log"}, "path", "write /a$"),
    ({"path": "/a/{pood}.log"}, "path", r"column 4: unknown field \{pood\}; known are node"),
    ({"path": "/a/{pod}.log", "mode": "rw"}, "mode", "three octal digits"),
    ({"path": "/a/{pod}.log", "max_open_files": 0}, "max_open_files", "1 or more"),
    ({"path": "/a/{pod}.log", "rotate": RotateConfig()}, "rotate", "never happens without max_size or max_age"),
    ({"path": "/a/{pod}.log", "rotate": RotateConfig(max_size=Bytes(0))}, "rotate.max_size", "larger than 0"),
    ({"path": "/a/{pod}.log", "rotate": RotateConfig(max_age=Seconds(0.5))}, "rotate.max_age", "1s or longer"),
    ({"path": "/a/{pod}.log", "rotate": RotateConfig(max_age=Seconds(60), keep=0)}, "rotate.keep", "1 or more"),
])
def test_check_names_what_is_wrong_and_the_mend(config, key, message):
    (found_key, text), = find("file").check(FileConfig(**config))
    assert found_key == key and re.search(message, text), text


def test_a_good_config_has_no_problems_and_says_what_it_promises():
    spec = find("file")
    config = FileConfig(path="/var/log/archive/{namespace}/{pod}.ndjson", rotate=RotateConfig(max_size=Bytes(1), keep=3))
    assert spec.check(config) == [] and spec.targets(config) == ["file /var/log/archive/{namespace}/{pod}.ndjson"]
    promise = spec.guarantee(config)
    assert promise.can_repeat.startswith("nothing") and "more than 3 rotated files" in promise.can_lose
