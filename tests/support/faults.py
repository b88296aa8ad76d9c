"""A filesystem in memory that forgets what was not synced, tears what was being written, and fails when told to.

    fail("sync", errno.EIO)           the next fdatasync of a segment fails (times=n, or -1 until `heal`)
    room = 10_000                     writes beyond these free bytes are cut short and raise ENOSPC
    crash()                           the machine lost power: what was not synced is torn, zeroed, or gone
    kill()                            the process died: everything that was written is there
"""
from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence

from shipper.buffer.files import Space

PAGE = 4096


class FaultyFiles:
    """Implements buffer.files.Files. Paths are names; directories exist by themselves."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.cache: dict[str, bytearray] = {}
        self.durable: dict[str, bytes] = {}       # content as of the last sync, of files whose name is durable too
        self.deleted: dict[str, bytes] = {}       # unlinked, but the directory was not synced since
        self.poisoned: dict[str, int] = {}        # a failed sync: bytes from here on may never reach the disk
        self.room: int | None = None
        self.total = 1 << 40
        self.changes = 0
        self.failures: dict[str, list[int]] = {}  # operation -> [errno, times]
        self.syncs = 0

    # ------------------------------------------------------------ what tests do

    def fail(self, operation: str, number: int = errno.EIO, times: int = 1) -> None:
        self.failures[operation] = [number, times]

    def heal(self) -> None:
        self.failures.clear()
        self.room = None

    def kill(self) -> None:
        """The process is gone, the page cache is not."""
        self.heal()

    def crash(self) -> None:
        """Power is gone. Unsynced ends are cut anywhere, half of the time refilled with zeros, or their pages mixed."""
        self.heal()
        for name, data in list(self.deleted.items()):
            if name not in self.cache and self.rng.random() < 0.5:
                # Whole: its blocks were synced, and are not given to others before the unlink is on the disk.
                self.cache[name] = bytearray(data)
                self.durable[name] = data
        self.deleted.clear()
        for name in list(self.cache):
            if name not in self.durable and self.rng.random() < 0.3:
                del self.cache[name]
                continue
            self.cache[name] = bytearray(self._torn(bytes(self.cache[name]), self.durable.get(name, b""), name))
        for name, data in self.durable.items():
            if name not in self.cache:
                self.cache[name] = bytearray(data)
        self.poisoned.clear()
        self.durable = {name: bytes(data) for name, data in self.cache.items()}

    def _torn(self, data: bytes, safe: bytes, name: str) -> bytes:
        keep = min(len(safe), self.poisoned.get(name, len(safe)))
        if not data.startswith(safe[:keep]):
            return self.rng.choice((safe, data))
        kept = bytearray(data[: self.rng.randint(keep, len(data))])
        way = self.rng.random()
        if way < 0.4:      # the size reached the disk, the data did not
            kept += bytes(self.rng.randint(0, len(data) - len(kept)))
        elif way < 0.6:    # pages reached it out of order
            kept = bytearray(data)
            for page in range(keep, len(data), PAGE):
                if self.rng.random() < 0.5:
                    kept[page : page + PAGE] = bytes(min(PAGE, len(data) - page))
        return bytes(kept)

    def rot(self, path: str, at: int) -> None:
        """One bit turned over on the disk."""
        self.cache[path][at] ^= 1 << self.rng.randrange(8)
        if path in self.durable and at < len(self.durable[path]):
            content = bytearray(self.durable[path])
            content[at] = self.cache[path][at]
            self.durable[path] = bytes(content)

    # ------------------------------------------------------------ Files

    def prepare(self, directory: str) -> None:
        self._maybe("prepare")

    def make_dir(self, path: str) -> None:
        self._maybe("make_dir")

    def names(self, path: str) -> list[str]:
        head = path.rstrip("/") + "/"
        return sorted({name[len(head) :].split("/")[0] for name in self.cache if name.startswith(head)})

    def size(self, path: str) -> int:
        return len(self._content(path))

    def read(self, path: str, start: int = 0, length: int = -1) -> bytes:
        self._maybe("read")
        data = self._content(path)
        return bytes(data[start:] if length < 0 else data[start : start + length])

    def create(self, path: str) -> MemoryWriter:
        self._maybe("create")
        if path in self.cache:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        self._changed()
        self.cache[path] = bytearray()
        self.deleted.pop(path, None)
        return MemoryWriter(self, path)

    def truncate(self, path: str, size: int) -> None:
        self._maybe("truncate")
        self._changed()
        data = self._content(path)
        self._take(size - len(data))
        del data[size:]
        self.durable[path] = bytes(data)
        self.poisoned.pop(path, None)

    def renew(self, path: str) -> None:
        self._maybe("sync")
        self.durable[path] = bytes(self._content(path))
        self.poisoned.pop(path, None)

    def replace(self, path: str, data: bytes) -> None:
        self._maybe("replace")
        self._changed()
        self._take(len(data) - len(self.cache.get(path, b"")))
        self.cache[path + ".tmp"] = bytearray(data[: self.rng.randint(0, len(data))])
        self._maybe("rename")
        del self.cache[path + ".tmp"]
        self.cache[path] = bytearray(data)
        self.durable[path] = bytes(data)

    def allocate(self, path: str, size: int) -> None:
        self._maybe("allocate")
        self._changed()
        self._take(size)
        self.cache[path] = bytearray(size)
        self.durable[path] = bytes(size)

    def delete(self, path: str) -> None:
        self._maybe("delete")
        if path not in self.cache:
            return
        self._changed()
        self._take(-len(self.cache[path]))
        del self.cache[path]
        if path in self.durable:
            self.deleted[path] = self.durable.pop(path)
        self.poisoned.pop(path, None)

    def space(self, path: str) -> Space:
        self._maybe("space")
        return Space(self.total, self.total if self.room is None else self.room)

    # ------------------------------------------------------------ inside

    def _content(self, path: str) -> bytearray:
        if path not in self.cache:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.cache[path]

    def _changed(self) -> None:
        self.changes += 1

    def _maybe(self, operation: str) -> None:
        failure = self.failures.get(operation)
        if failure is None:
            return
        failure[1] -= 1
        if failure[1] == 0:
            del self.failures[operation]
        raise OSError(failure[0], os.strerror(failure[0]), operation)

    def _take(self, size: int) -> None:
        if self.room is None:
            return
        if size > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size


class MemoryWriter:
    def __init__(self, files: FaultyFiles, path: str) -> None:
        self._files, self._path = files, path
        self._open = True

    def append(self, pieces: Sequence[bytes]) -> None:
        assert self._open, "append after close"
        files, data = self._files, b"".join(pieces)
        content = files._content(self._path)
        files._changed()
        try:
            files._maybe("append")
            files._take(len(data))
        except OSError:
            content += data[: files.rng.randint(0, len(data))]  # what a short write leaves behind
            raise
        content += data

    def sync(self) -> None:
        assert self._open, "sync after close"
        files = self._files
        files._changed()
        files.syncs += 1
        content = files._content(self._path)
        try:
            files._maybe("sync")
        except OSError:
            # The kernel reports a failed write-back once and then calls the pages clean.
            files.poisoned.setdefault(self._path, len(files.durable.get(self._path, b"")))
            raise
        files.durable[self._path] = bytes(content)

    def close(self) -> None:
        self._open = False
