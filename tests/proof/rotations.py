"""What happens to log files on a node, event by event, done by hand so that a test can stop between any two steps.

Each event is a generator over one Log. It yields where time passes: TICK (a moment) or SETTLE (as long as a running agent
needs to have read everything). `destroyed` are the lines whose last copy an event has removed: only they may be lost.
Driver: files.
"""
from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from shipper.agent.simulator import framing, rotation
from shipper.agent.simulator.messages import STDOUT, Line

TICK, SETTLE = "tick", "settle"
Steps = Iterator[str]
_NUMBER = re.compile(rb"line (\d+) of ")


class Log:
    """One container, its log file and its writer. Lines are numbered; `raw` holds each line's bytes in the file."""

    def __init__(self, root: Path, event: str, runtime: str, seed: int) -> None:
        self.event, self.runtime = event, runtime
        self.pod = f"{event.replace('_', '-')}-{runtime}"
        self._rng = random.Random(f"{seed}/{self.pod}")
        uid = f"{self._rng.getrandbits(128):032x}"
        self.pod_directory = root / "pods" / f"rot_{self.pod}_{uid}"
        entry = self.pod_directory / "c" / "0.log"
        entry.parent.mkdir(parents=True)
        container_id = f"{self._rng.getrandbits(256):064x}"
        self.live = entry
        if runtime == "docker":
            self.live = root / "docker" / "containers" / container_id / f"{container_id}-json.log"
            self.live.parent.mkdir(parents=True)
            entry.symlink_to(self.live)
        self.link = root / "containers" / f"{self.pod}_rot_c-{container_id}.log"
        self.link.parent.mkdir(parents=True, exist_ok=True)
        self.link.symlink_to(entry)
        self.directory = self.live.parent
        self.messages: list[bytes] = []
        self.raw: list[bytes] = []
        self.destroyed: set[int] = set()
        self._stamp_s = 1_792_900_000
        self.reopen()

    # ---- the writer

    def reopen(self) -> None:
        """The runtime opens the live file (and makes it)."""
        self.fd = os.open(self.live, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def close(self) -> None:
        """The writer ends."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def lines(self, count: int, size_bytes: int = 0) -> list[list[bytes]]:
        """The next lines as pieces, not written yet."""
        frame = framing.docker if self.runtime == "docker" else framing.cri
        made = []
        for _ in range(count):
            message = b"line %d of %s " % (len(self.messages), self.pod.encode())
            message += b"x" * max(self._rng.randint(0, 120), size_bytes - len(message))
            pieces = frame(Line(STDOUT, message), time.time_ns())
            self.messages.append(message)
            self.raw.append(b"".join(pieces))
            made.append(pieces)
        return made

    def put(self, *pieces: bytes, fd: int | None = None) -> None:
        os.write(self.fd if fd is None else fd, b"".join(pieces))

    def write(self, count: int = 0, *, fd: int | None = None, size_bytes: int = 0) -> None:
        """Lines at the end of the live file (or of `fd`)."""
        count = count or self._rng.randint(5, 40)
        self.put(*(piece for pieces in self.lines(count, size_bytes) for piece in pieces), fd=fd)

    # ---- who takes files away

    def holds(self, path: Path) -> set[int]:
        """The numbers of the lines that stand in this file."""
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return {int(number) for number in _NUMBER.findall(data)}

    def destroy(self, path: Path) -> None:
        """Remove the last copy of what stands in `path`."""
        self.destroyed |= self.holds(path)
        path.unlink()

    def rename(self, stamp: str | None = None) -> Path:
        """The live file gets its rotated name; the writer still has it open."""
        if self.runtime == "docker":
            self.shift()
            target = Path(f"{self.live}.1")
        else:
            self._stamp_s += self._rng.randint(1, 4000)
            target = Path(f"{self.live}.{stamp or time.strftime('%Y%m%d-%H%M%S', time.gmtime(self._stamp_s))}")
        os.rename(self.live, target)
        return target

    def shift(self) -> None:
        """.1 becomes .2 and so on, compressed or not."""
        for extension in ("", ".gz"):
            rotation._shift(str(self.live), 20, extension)

    def rotate(self, *, compress: bool = False) -> Path:
        """All of it at once: rename and reopen; `compress`: what was rotated before, as the kubelet does."""
        if compress:
            for path in self.rotated():
                if path.suffix != ".gz":
                    self.compress(path)
        old = self.fd
        target = self.rename()
        self.reopen()
        os.close(old)
        return target

    def rotated(self) -> list[Path]:
        return sorted(p for p in self.directory.iterdir() if p.name.startswith(self.live.name + "."))

    def compress(self, path: Path) -> None:
        rotation.compress(str(path), f"{path}.tmp")
        os.rename(f"{path}.tmp", f"{path}.gz")
        path.unlink()


# ---------------------------------------------------------------- the events

def rename_and_create(log: Log) -> Steps:
    for _ in range(4):
        log.write()
        yield TICK
        log.rotate()
        log.write()
        yield TICK


def copytruncate(log: Log) -> Steps:
    for _ in range(3):
        log.write()
        yield TICK
        log.shift()
        shutil.copyfile(log.live, f"{log.live}.1")
        yield TICK
        os.truncate(log.live, 0)
        log.write(2)
        yield TICK


def copytruncate_slowly_and_compressed(log: Log) -> Steps:
    for _ in range(3):
        log.write(300)
        yield TICK
        for path in log.rotated():
            if path.suffix != ".gz":
                log.compress(path)
        log.shift()
        copy = Path(f"{log.live}.1")
        copy.touch()
        yield TICK
        content = log.live.read_bytes()
        copy.write_bytes(content[: len(content) // 2])
        yield TICK
        copy.write_bytes(content)
        os.truncate(log.live, 0)
        log.write(2)
        yield TICK


def truncated_and_regrown(log: Log) -> Steps:
    log.write(20)
    yield SETTLE
    log.destroyed |= log.holds(log.live)
    os.truncate(log.live, 0)
    log.write(300)
    yield TICK
    log.write()
    yield TICK


def late_writes(log: Log) -> Steps:
    log.write()
    yield TICK
    old = log.fd
    log.rename()
    log.write(5)
    yield TICK
    log.reopen()
    log.write()
    log.write(3, fd=old)
    yield TICK
    log.write(3, fd=old)
    os.close(old)
    yield TICK


def gzip_while_reading(log: Log) -> Steps:
    log.write(4000)
    log.rotate()
    yield TICK
    log.write(2000)
    log.rotate(compress=True)
    log.write()
    yield TICK
    log.rotate(compress=True)
    log.write()
    yield TICK


def half_written_gz(log: Log) -> Steps:
    log.write(2000)
    plain = log.rotate()
    whole = gzip.compress(plain.read_bytes())
    final = Path(f"{plain}.gz")
    half = final if log.runtime == "docker" else Path(f"{plain}.tmp")
    half.write_bytes(whole[: len(whole) // 2])
    log.write()
    yield TICK
    yield TICK
    half.write_bytes(whole)
    half.rename(final)
    yield TICK
    plain.unlink()
    log.write()
    yield TICK


def dangling_link(log: Log) -> Steps:
    for _ in range(2):
        old = log.fd
        log.write()
        log.rename()
        yield TICK
        log.write()
        yield TICK
        log.reopen()
        os.close(old)
        log.write()
        yield TICK


def three_rotations(log: Log) -> Steps:
    yield TICK
    for _ in range(3):
        log.write(200)
        log.rotate(compress=True)
    log.write()
    yield TICK


def max_files_2(log: Log) -> Steps:
    for _ in range(4):
        log.write()
        yield SETTLE
        for path in log.rotated():
            log.destroy(path)
        log.rotate()
        log.write()
        yield SETTLE


def deleted_while_reading(log: Log) -> Steps:
    yield TICK
    log.write(6000)
    log.destroyed |= set(range(len(log.messages)))
    yield TICK
    log.close()
    log.link.unlink()
    if log.runtime == "docker":
        shutil.rmtree(log.directory)
    shutil.rmtree(log.pod_directory)
    yield TICK


def inode_reuse(log: Log) -> Steps:
    for _ in range(4):
        log.write()
        plain = log.rotate()
        inode = plain.stat().st_ino
        yield SETTLE
        log.compress(plain)
        log.close()
        log.rename()
        _make_with_inode(log.live, inode)
        log.reopen()
        log.write()
        yield TICK


def _make_with_inode(path: Path, inode: int) -> None:
    """ext4 hands freed inodes out again: try until it is this one, or leave it to chance."""
    tried = []
    for number in range(64):
        candidate = path.with_name(f"{path.name}~{number}")
        candidate.touch()
        tried.append(candidate)
        if candidate.stat().st_ino == inode:
            break
    os.rename(tried.pop(), path)
    for other in tried:
        other.unlink()


def inode_of_a_removed_gz(log: Log) -> Steps:
    log.write()
    log.rotate()
    for _ in range(4):
        log.write()
        log.rotate(compress=True)
        yield SETTLE
        log.write()
        yield SETTLE
        old = log.fd
        log.rename()
        packed = [path for path in log.rotated() if path.suffix == ".gz"]
        if packed:
            oldest = packed[-1 if log.runtime == "docker" else 0]
            inode = oldest.stat().st_ino
            log.destroy(oldest)
            _make_with_inode(log.live, inode)
        log.reopen()
        os.close(old)
        log.write()
        yield TICK


def piece_before_end_behind(log: Log) -> Steps:
    for _ in range(3):
        log.write()
        pieces = log.lines(1, size_bytes=40_000)[0]
        log.put(pieces[0])
        yield TICK
        log.rotate()
        log.put(*pieces[1:])
        log.write()
        yield TICK


def dst_change_in_names(log: Log) -> Steps:
    for stamp in ("20261025-023000", "20261025-025959", "20261025-020100", "20261025-030500"):
        log.write()
        old = log.fd
        log.rename(stamp)
        log.reopen()
        os.close(old)
        log.write()
        if stamp.endswith("0100"):
            yield TICK
    yield TICK


def docker_compressed_numbers(log: Log) -> Steps:
    for _ in range(4):
        log.write(50)
        yield TICK
        old = log.fd
        target = rotation.docker_rename(str(log.live), 5, compressed=True)
        assert target is not None
        log.reopen()
        os.close(old)
        log.write()
        yield TICK
        rotation.docker_compress(target)
        yield TICK


def max_file_1(log: Log) -> Steps:
    for _ in range(4):
        log.write()
        yield SETTLE
        old = log.fd
        log.destroy(log.live)
        log.reopen()
        os.close(old)
        log.write()
        yield SETTLE


BOTH, CRI, DOCKER = ("cri", "docker"), ("cri",), ("docker",)
DOWN = ("stopped", "killed")


class Event(NamedTuple):
    """`may_lose`: the states in which the agent cannot have what an event destroys."""

    steps: Callable[[Log], Steps]
    runtimes: tuple[str, ...] = BOTH
    may_lose: tuple[str, ...] = ()
    ordered: bool = True


EVENTS = (
    Event(rename_and_create), Event(copytruncate), Event(copytruncate_slowly_and_compressed),
    Event(truncated_and_regrown, may_lose=("slow", *DOWN)), Event(late_writes, ordered=False), Event(gzip_while_reading),
    Event(half_written_gz), Event(dangling_link), Event(three_rotations), Event(max_files_2, may_lose=DOWN),
    Event(deleted_while_reading, may_lose=DOWN), Event(inode_reuse), Event(inode_of_a_removed_gz, may_lose=DOWN),
    Event(piece_before_end_behind), Event(dst_change_in_names, CRI), Event(docker_compressed_numbers, DOCKER),
    Event(max_file_1, DOCKER, may_lose=DOWN),
)
