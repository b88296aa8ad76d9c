"""One log as its writer sees it: a container's under its runtime, or a host program's own file.

What a reader may meet, all by seed: half a line at the end of the file; pieces of a long line with lines of the other
stream between them, and before a rotation its P, behind it its F; lines written to the renamed file before the
runtime reopens; last words that are a P and never get an F.

Invariants (tests/agent/test_simulator.py):
  N3  `written` lines are whole in the files once `settle` has returned; lines 0..written-1, each once
  N4  lines of one log are in the order of their files; one stream never stands between its own pieces
Driver: files.
"""
from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from . import framing, rotation
from .messages import STDERR, STDOUT, Line, Messages

Clock = Callable[[], int]
HALF_LINE = 0.05           # of writes end inside a line
LATE_LINES = 3             # written to a renamed file before it is reopened
FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Appender:
    """An open log file. A write may stop inside its last line; the next one goes on there."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self._fd = os.open(path, FILE_FLAGS, 0o640)
        self._rng = rng
        self._rest = b""
        self.size_bytes = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        data = self._rest + data
        cut = len(data)
        if data and self._rng.random() < HALF_LINE:
            cut -= self._rng.randint(1, min(len(data), 200))
        self._rest = data[cut:]
        self._put(data[:cut])

    def settle(self) -> None:
        """Write what was held back."""
        data, self._rest = self._rest, b""
        self._put(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self.size_bytes += len(data)

    def close(self) -> None:
        self.settle()
        os.close(self._fd)


class Log:
    """What both kinds share. `label` names the log in the node's ledger."""

    frame: Callable[[Line, int], list[bytes]]

    def __init__(self, label: str, seed: str, clock: Clock) -> None:
        self.label = label
        self.written_bytes = 0
        self._clock = clock
        self._rng = random.Random(f"{seed}/{label}")
        self._messages = Messages(f"{seed}/{label}/messages")
        self._open: list[bytes] = []               # pieces of a begun line that are not in the file yet
        self._open_stream = b""
        self._file: Appender | None = None

    @property
    def written(self) -> int:
        """Lines written so far, a begun one left out."""
        return self._messages.next_number - bool(self._open)

    @property
    def running(self) -> bool:
        return self._file is not None

    @property
    def size_bytes(self) -> int:
        """Of the live file."""
        return self._file.size_bytes if self._file is not None else 0

    def write(self, count: int, *, leave_open: bool = False) -> None:
        """Append `count` lines in one write; `leave_open` lets a long last line wait for its end."""
        if self._file is None or count < 1:
            return
        now = self._clock()
        parts = self._finish(now)
        for number, line in enumerate(self._messages.take(count)):
            pieces = self.frame(line, now + number)
            if len(pieces) == 1:
                parts.append(pieces[0])
            else:
                self._begin(parts, line.stream, pieces)
                if not (leave_open and number == count - 1):
                    parts += self._finish(now + number)
        self._put(b"".join(parts))

    def _begin(self, parts: list[bytes], stream: bytes, pieces: list[bytes]) -> None:
        parts.append(pieces[0])
        self._open, self._open_stream = pieces[1:], stream

    def _finish(self, now: int) -> list[bytes]:
        """The rest of the begun line; before it, half of the times, lines of the other stream (N4)."""
        parts: list[bytes] = []
        other = STDERR if self._open_stream == STDOUT else STDOUT
        interleaved = bool(self._open) and self._rng.random() < 0.5
        for piece in self._open:
            if interleaved:
                parts += self.frame(self._messages.take_short(other), now)
            parts.append(piece)
        self._open = []
        return parts

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self.written_bytes += len(data)

    def settle(self) -> None:
        """Finish begun lines and half lines (N3)."""
        if self._file is not None:
            self._put(b"".join(self._finish(self._clock())))
            self._file.settle()

    def stop(self) -> None:
        """The writer ends; its files stay."""
        if self._file is not None:
            self.settle()
            self._file.close()
            self._file = None


class HostLog(Log):
    """A program that writes /var/log/<name>.log itself, rotated by logrotate with copytruncate."""

    frame = staticmethod(framing.host)

    def __init__(self, directory: Path, name: str, seed: str, clock: Clock, max_files: int) -> None:
        super().__init__(f"host/{name}.log", seed, clock)
        self.path = directory / f"{name}.log"
        self._max_files = max_files
        self._file = Appender(self.path, self._rng)

    def rotate(self) -> None:
        """copytruncate: the same inode, from its beginning."""
        if self._file is not None:
            self.settle()
            rotation.copytruncate(str(self.path), self._max_files)
            self._file.size_bytes = 0


class ContainerLog(Log):
    """A container. `live` is the file that the runtime writes, `entry` its name in pods/, `link` the one in containers/."""

    def __init__(
        self, root: Path, pod_directory: Path, namespace: str, pod: str, name: str, runtime: str, seed: str, clock: Clock,
        max_files: int,
    ) -> None:
        super().__init__(f"{namespace}/{pod}/{name}", seed, clock)
        self.frame = framing.docker if runtime == "docker" else framing.cri
        self.runtime, self.name, self.restarts = runtime, name, -1
        self._root, self._directory = root, pod_directory / name
        self._link_name, self._max_files = f"{pod}_{namespace}_{name}", max_files
        self._compressed = self._rng.random() < 0.5
        self._ended: list[tuple[Path, Path, Path]] = []
        self._directory.mkdir(parents=True)
        self._start()

    def _start(self) -> None:
        self.restarts += 1
        self.container_id = f"{self._rng.getrandbits(256):064x}"
        self.entry = self._directory / f"{self.restarts}.log"
        self.link = self._root / "containers" / f"{f'{self._link_name}-{self.container_id}'[:251]}.log"
        self.live = self.entry
        if self.runtime == "docker":
            self.live = self._root / "docker" / "containers" / self.container_id / f"{self.container_id}-json.log"
            self.live.parent.mkdir(parents=True)
        self._file = Appender(self.live, self._rng)
        if self.live != self.entry:
            self.entry.symlink_to(self.live)
        self.link.symlink_to(self.entry)

    # ---- rotation

    def rotate(self) -> None:
        """All steps, with late lines before the runtime reopens."""
        self.rotate_begin()
        if self._file is not None and self.runtime != "docker":
            self.write(self._rng.randint(0, LATE_LINES))
        self.rotate_finish()

    def rotate_begin(self) -> None:
        """Up to where the live name is gone. What is written from here goes to the renamed file. docker: nothing yet."""
        if self._file is not None and self.runtime != "docker":
            rotation.kubelet_prepare(str(self.live), self._max_files)
            rotation.kubelet_rename(str(self.live), self._clock() / 1e9)

    def rotate_finish(self) -> None:
        """The runtime opens a new live file; half a line is finished before, a begun one goes on in the new file."""
        if self._file is None:
            return
        self._file.close()
        renamed = None
        if self.runtime == "docker":
            renamed = rotation.docker_rename(str(self.live), self._max_files, self._compressed)
        self._file = Appender(self.live, self._rng)
        if renamed is not None and self._compressed:
            rotation.docker_compress(renamed)

    # ---- restart, end

    def restart(self) -> None:
        """The container ends, perhaps in the middle of a line, and starts again: next number, new id, new link.

        As the kubelet does, one ended container's files are kept; those before it are removed.
        """
        self.stop(last_words=self.runtime != "docker" and self._rng.random() < 0.5)
        self._start()
        self.remove_ended(keep=1)

    def stop(self, last_words: bool = False) -> None:
        """The container ends. With `last_words` its last line has no newline: a P that no F follows."""
        if self._file is not None and last_words:
            self.settle()
            self._put(framing.cri_without_end(self._messages.take_short(STDERR), self._clock()))
        ended = self._file is not None
        super().stop()
        if ended:
            self._ended.append((self.live, self.entry, self.link))

    def remove_ended(self, keep: int = 0) -> None:
        """Remove the oldest ended ones' LOG* and their links, all but `keep`."""
        gone, self._ended = self._ended[: max(0, len(self._ended) - keep)], self._ended[max(0, len(self._ended) - keep) :]
        for live, entry, link in gone:
            link.unlink(missing_ok=True)
            for path in entry.parent.glob(f"{entry.name}*"):
                path.unlink()
            if live != entry:
                shutil.rmtree(live.parent)
