"""Directory listings that are read again only when the directory has changed.

Invariants:
  L1  the stamp is taken before the listing, so that a change during it shows at the next look
  L2  a stamp younger than a second when it was taken is not believed: on most file systems times move in ticks of up to
      10 ms (of a second on some), and a change within the same tick leaves the stamp as it was. Such a directory is
      listed again at the next look
  L3  the stamp has ctime: mtime can be set back by whoever owns the directory
  L4  a directory that is there and cannot be listed keeps its last listing; only one that is gone has none
Driver: stat and scandir. A look at an unchanged directory is one stat, 4 us.
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

UNSURE_NS = 1_000_000_000
SMALL = 8
GONE = (FileNotFoundError, NotADirectoryError)

Kind = Literal["d", "f", "l", "o"]
"""Directory, regular file, symbolic link, other."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of the directory at `path`, name -> kind; read only, directories that look alike share theirs.
    `stamp`: (device, inode, mtime_ns, ctime_ns); `sure`: see L2.

    `print_` is a hash over names, kinds and inodes: two listings with the same one hold the same files.
    """

    path: str
    stamp: tuple[int, int, int, int]
    sure: bool
    entries: Mapping[str, Kind]
    print_: int

    def same_as(self, other: Listing) -> bool:
        return self.stamp == other.stamp and self.print_ == other.print_


class Listings:
    """Listings by path. `get` looks at the disk only for a path it does not have; `refresh` does for those named.

    unsure      paths whose listing is to be taken again at the next look (L2)
    unreadable  paths that are there and cannot be listed, and why
    replaced    paths where another directory is than at the look before: one was mounted there, or the old one was moved away
    """

    def __init__(self, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.now_ns = now_ns
        self.unsure: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self.replaced: set[str] = set()
        self._known: dict[str, Listing | None] = {}

    def get(self, path: str) -> Listing | None:
        """The listing as of the last look; None where there is no such directory."""
        if path not in self._known:
            self._known[path] = self._look(path, None)
        return self._known[path]

    def __contains__(self, path: str) -> bool:
        return path in self._known

    def known(self) -> list[str]:
        """Every path that was asked for and not forgotten."""
        return list(self._known)

    def forget(self, path: str) -> None:
        """Drop a path that nobody needs any more."""
        self._known.pop(path, None)
        self.unreadable.pop(path, None)
        self.unsure.discard(path)

    def refresh(self, paths: Iterable[str]) -> set[str]:
        """Look at `paths` again; those whose entries changed since the last look (or came, or went)."""
        changed = set()
        known, look = self._known, self._look
        for path in paths:
            old = known.get(path)
            new = look(path, old)
            if new is not old:
                known[path] = new
                if old is None or new is None or not new.same_as(old):
                    changed.add(path)
                if old is not None and new is not None and new.stamp[:2] != old.stamp[:2]:
                    self.replaced.add(path)
        return changed

    def _look(self, path: str, old: Listing | None) -> Listing | None:
        try:
            seen = os.stat(path)
            if old is not None and old.sure and old.stamp == (seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns):
                return old
            return self._list(path, seen)
        except GONE:
            self.unreadable.pop(path, None)
            self.unsure.discard(path)
            return None
        except OSError as error:  # L4
            self.unreadable[path] = error.strerror or str(error)
            return old

    def _list(self, path: str, seen: os.stat_result) -> Listing:
        taken_ns = self.now_ns()
        with os.scandir(path) as there:
            found = sorted((entry.name, _kind(entry), entry.inode()) for entry in there)
        self.unreadable.pop(path, None)
        sure = seen.st_ctime_ns < taken_ns - UNSURE_NS
        (self.unsure.discard if sure else self.unsure.add)(path)
        stamp = (seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns)
        entries = tuple([(name, kind) for name, kind, _ in found])
        shared = _entries if len(entries) <= SMALL else dict
        return Listing(path, stamp, sure, shared(entries), hash(tuple(found)))


@lru_cache(maxsize=256)
def _entries(entries: tuple[tuple[str, Kind], ...]) -> Mapping[str, Kind]:
    """One mapping for 5,000 directories that hold `0.log` and nothing else: 300 bytes each."""
    return dict(entries)


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "l"
    if entry.is_dir(follow_symlinks=False):
        return "d"
    return "f" if entry.is_file(follow_symlinks=False) else "o"
