"""What the buffer asks of a filesystem. Tests pass one that forgets, tears and fails (tests/support/faults.py).

    Files    names, whole small files, ranges of large ones
    Writer   one segment that is being appended to

Invariants (tests/buffer/test_files.py):
  F1  `replace` leaves the old content or the new one, never a mixture: temp file, fsync, rename, fsync of the directory
  F2  after `Writer.sync` returns, what was appended and the file's name survive a power cut
  F3  every failure is an OSError; after one in `Writer.append` the end of the file is undefined
  F4  directories are made 0700, files 0600: log lines are nobody else's to read
Plane: driver, on the writer thread; `read` also on the reading thread.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..durable import sync_directory
from ..errors import Usage

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
TEMP_SUFFIX = ".tmp"
_MAX_PIECES = 512  # below IOV_MAX (1024) everywhere


class Space(NamedTuple):
    """A filesystem: its size, and what an unprivileged process may still use of it."""

    total_bytes: int
    free_bytes: int


RENEW_BYTES = 1024 * 1024


class Writer(Protocol):
    """A file that is only appended to."""

    def append(self, pieces: Sequence[bytes]) -> None:
        """All pieces, in the page cache when it returns. OSError: the end of the file is undefined (F3)."""

    def sync(self) -> None:
        """F2. OSError: the file must not be trusted beyond the last good sync."""

    def close(self) -> None: ...


class Files(Protocol):
    """The world as far as the buffer knows it. All paths are absolute."""

    def prepare(self, directory: str) -> None:
        """Make the state directory (F4). Usage, with the command that mends it, where it cannot be ours."""

    def make_dir(self, path: str) -> None: ...

    def names(self, path: str) -> list[str]:
        """Sorted names in a directory; [] where there is none."""

    def size(self, path: str) -> int: ...

    def read(self, path: str, start: int = 0, length: int = -1) -> bytes:
        """Bytes [start, start + length), or to the end; less where the file ends before."""

    def create(self, path: str) -> Writer:
        """A new file, open for appending. FileExistsError where there is one."""

    def truncate(self, path: str, size: int) -> None:
        """Cut a file and sync it."""

    def renew(self, path: str) -> None:
        """Content and name of an existing file survive a power cut when it returns, also where an earlier sync of it failed."""

    def replace(self, path: str, data: bytes) -> None:
        """F1."""

    def allocate(self, path: str, size: int) -> None:
        """A file whose blocks are really taken."""

    def delete(self, path: str) -> None:
        """Nothing where there is no such file."""

    def space(self, path: str) -> Space: ...


class OsFiles:
    """The real filesystem."""

    def prepare(self, directory: str) -> None:
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            owner = os.stat(directory).st_uid
        except OSError as error:
            if os.path.isfile(directory):
                raise Usage(f"state_dir {directory}: is a file; move it away, or name another state_dir") from error
            raise Usage(f"state_dir {directory}: cannot be made: {error.strerror}; make it with: "
                        f"install -d -m 0700 -o {os.geteuid()} {directory}") from error
        mend = f"run: chown -R {os.geteuid()} {directory.rstrip('/')}/"       # the slash: through systemd's link
        if owner != os.geteuid():
            raise Usage(f"state_dir {directory}: belongs to uid {owner}, this process runs as {os.geteuid()}; {mend}")
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            raise Usage(f"state_dir {directory}: mounted read-only; mount it writable, or name another state_dir")
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):   # ambient capabilities count
            raise Usage(f"state_dir {directory}: not writable; {mend}")

    def make_dir(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def read(self, path: str, start: int = 0, length: int = -1) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            wanted = length if length >= 0 else max(0, os.fstat(fd).st_size - start)
            data = os.pread(fd, wanted, start)
            while len(data) < wanted:
                more = os.pread(fd, wanted - len(data), start + len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(fd)

    def create(self, path: str) -> Writer:
        return _OsWriter(path)

    def truncate(self, path: str, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def renew(self, path: str) -> None:
        # Written again over itself: after a failed sync the kernel holds pages for clean that the disk never got, and a
        # second fsync says nothing of them (fsync(2), errors are reported once).
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _write_over_itself(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(os.path.dirname(path))

    def replace(self, path: str, data: bytes) -> None:
        temp = path + TEMP_SUFFIX
        try:
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(fd, [data])
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temp, path)
        except OSError:
            self.delete(temp)
            raise
        sync_directory(os.path.dirname(path))

    def allocate(self, path: str, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def delete(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return

    def space(self, path: str) -> Space:
        found = os.statvfs(path)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class _OsWriter:
    """O_APPEND, so that a cut of the file by path moves the place of the next write along."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        self._directory: str | None = os.path.dirname(path)

    def append(self, pieces: Sequence[bytes]) -> None:
        _write_all(self._fd, pieces)

    def sync(self) -> None:
        os.fdatasync(self._fd)
        if self._directory is not None:
            # Once per segment, and with its first sync rather than at creation: an append never waits for it.
            sync_directory(self._directory)
            self._directory = None

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _write_all(fd: int, pieces: Sequence[bytes]) -> None:
    for low in range(0, len(pieces), _MAX_PIECES):
        rest = list(pieces[low : low + _MAX_PIECES])
        while rest:
            written = os.writev(fd, rest)
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]


def _write_over_itself(fd: int) -> None:
    at = 0
    try:
        while data := os.pread(fd, RENEW_BYTES, at):
            at += os.pwrite(fd, data, at)
    except OSError as error:
        if error.errno not in NO_ROOM:  # copy on write and no room: a full disk must not keep the agent from starting
            raise
