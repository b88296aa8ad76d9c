"""What the file sink asks of the file system. Tests pass one that fails, stops and forgets.

Invariants:
  D1  nothing outside `root` is opened, made, renamed or deleted: each component below it is opened on its own, from the
      directory above, and a symbolic link on the way is an error (ELOOP, ENOTDIR); a pod's name cannot lead elsewhere
  D2  `append` has written all of it or raises OSError; then the end of the file is undefined
  D3  after `sync` of a file and `sync_names`, its bytes and its name survive a power cut
Driver, on the sink's thread.
"""
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ..durable import sync_directory

_MAX_PIECES = 512       # below IOV_MAX (1024) everywhere
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Seen(NamedTuple):
    """A file as it is now."""

    inode: int
    size_bytes: int
    changed_s: float


class Disk:
    """The real one. Paths are absolute; `mode` and `dir_mode` are for what is made."""

    def __init__(self, mode: int = 0o640, dir_mode: int = 0o750) -> None:
        self._mode, self._dir_mode = mode, dir_mode
        self._unsynced_names: set[str] = set()

    # ------------------------------------------------------------ files

    def open(self, root: str, path: str, *, make: bool) -> int:
        """A descriptor that appends (D1). `make`: with its directories; else FileNotFoundError where there is none."""
        with self._parent(root, path, make) as (directory, name):
            try:
                descriptor = os.open(name, _FILE | os.O_RDWR | os.O_APPEND, dir_fd=directory)
            except FileNotFoundError:
                if not make:
                    raise
                descriptor = os.open(name, _FILE | os.O_RDWR | os.O_APPEND | os.O_CREAT, self._mode, dir_fd=directory)
                self._unsynced_names.add(os.path.dirname(path))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", path)
        return descriptor

    def look(self, path: str) -> Seen | None:
        """What stands at `path`, links not followed; None where there is nothing."""
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Seen(found.st_ino, found.st_size, found.st_mtime)

    def look_at(self, descriptor: int) -> Seen:
        found = os.fstat(descriptor)
        return Seen(found.st_ino, found.st_size, found.st_mtime)

    def append(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        """D2. A short write is followed by another one, which says why."""
        for low in range(0, len(pieces), _MAX_PIECES):
            chunk = pieces[low : low + _MAX_PIECES]
            size_bytes = sum(map(len, chunk))
            written_bytes = os.writev(descriptor, chunk)
            if written_bytes < size_bytes:
                rest = memoryview(b"".join(chunk))[written_bytes:]
                while rest:
                    rest = rest[os.write(descriptor, rest) :]

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        return os.pread(descriptor, length, offset)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        os.ftruncate(descriptor, size_bytes)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    # ------------------------------------------------------------ names

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; [] where there is none."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def rename(self, root: str, path: str, new_path: str) -> None:
        """Within one directory; durable when it returns."""
        with self._parent(root, path, False) as (directory, name):
            os.rename(name, os.path.basename(new_path), src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    def unlink(self, root: str, path: str) -> None:
        """Durable when it returns; nothing where there is no such file."""
        with self._parent(root, path, False) as (directory, name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    def sync_names(self) -> None:
        """The names of all files and directories made since (D3)."""
        for path in sorted(self._unsynced_names):
            sync_directory(path)
            self._unsynced_names.discard(path)

    @contextmanager
    def _parent(self, root: str, path: str, make: bool) -> Iterator[tuple[int, str]]:
        """The directory that `path` stands in, as a descriptor, and the last component."""
        if make:
            self._make_root(root)
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            *parents, name = os.path.relpath(path, root).split("/")
            if ".." in (*parents, name):
                raise OSError(errno.EINVAL, f"not below {root}", path)
            at = root
            for parent in parents:
                below = self._enter(directory, parent, at, make)
                os.close(directory)
                directory, at = below, f"{at}/{parent}"
            yield directory, name
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        finally:
            os.close(directory)

    def _enter(self, directory: int, name: str, at: str, make: bool) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            if not make:
                raise
        try:
            os.mkdir(name, self._dir_mode, dir_fd=directory)
        except FileExistsError:
            return os.open(name, _DIRECTORY, dir_fd=directory)
        self._unsynced_names.add(at)
        return os.open(name, _DIRECTORY, dir_fd=directory)

    def _make_root(self, root: str) -> None:
        """The root is the config's own: links in it are followed."""
        missing = root
        while not os.path.isdir(missing):
            missing = os.path.dirname(missing)
            self._unsynced_names.add(missing)
        os.makedirs(root, self._dir_mode, exist_ok=True)
