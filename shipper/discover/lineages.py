"""The table of known lineages: by path, by directory, by what leads to them; and the files of each.

Invariants:
  T1  one lineage per (directory, live name), also where a mount shows one directory at two paths
  T2  a lineage is gone with its directory, or with its last file once nothing leads to it
  T3  groups of siblings are kept for large directories only: 5,000 pod directories would hold 7 MB of them
Driver: lstat of siblings; everything else by way of Listings.
"""
from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Hashable, Iterable

from shipper.discover.lineage import LogFile, SiblingStat
from shipper.discover.listing import GONE, Listing, Listings
from shipper.discover.siblings import Sibling, group

SNAPSHOT_TRIES = 5
SMALL_DIRECTORY = 16


class Lineages:
    """`refresh` looks at directories again, by way of whoever wants to know what changed."""

    def __init__(self, listings: Listings, refresh: Callable[[Iterable[str]], None]) -> None:
        self._listings = listings
        self._refresh = refresh
        self._files: dict[str, LogFile] = {}
        self._links: dict[LogFile, tuple[Hashable, ...]] = {}        # nearly always one: a set is 216 bytes more
        self._at: dict[str, dict[str, LogFile]] = {}
        self._path_of: dict[tuple[int, ...], str] = {}
        self._place_of: dict[str, tuple[int, ...]] = {}
        self._grouped: dict[str, tuple[Listing, dict[str, list[Sibling]]]] = {}

    @property
    def all(self) -> Collection[LogFile]:
        return self._files.values()

    def get(self, live_path: str) -> LogFile | None:
        return self._files.get(live_path)

    def at(self, directory: str) -> dict[str, LogFile]:
        """Live name -> lineage, in this directory."""
        return self._at.get(directory, {})

    def find(self, directory: str, name: str) -> LogFile | None:
        """The lineage of this live file, though it may be known by another path to the same directory (T1)."""
        found = self.at(directory).get(name)
        listing = self._listings.get(directory)
        if found is not None or listing is None:
            return found
        place = listing.stamp[:2]
        other = self._path_of.get(place, directory)
        if other == directory or name not in self.at(other):
            return None
        try:
            seen = os.stat(other)
        except GONE:
            return None
        return self.at(other)[name] if (seen.st_dev, seen.st_ino) == place else None

    def add(self, logfile: LogFile) -> None:
        """A new lineage; its directory has a listing."""
        listing = self._listings.get(logfile.directory)
        if listing is not None:
            place = self._place_of[logfile.directory] = listing.stamp[:2]
            self._path_of[place] = logfile.directory
        self._files[logfile.live_path] = logfile
        self._links[logfile] = ()
        self._at.setdefault(logfile.directory, {})[logfile.name] = logfile
        self._grouped.pop(logfile.directory, None)

    def link(self, logfile: LogFile, match: Hashable) -> None:
        if match not in self._links[logfile]:
            self._links[logfile] += (match,)

    def unlink(self, logfile: LogFile, match: Hashable) -> None:
        self._links[logfile] = tuple(other for other in self._links[logfile] if other != match)

    def remove(self, logfile: LogFile) -> tuple[Hashable, ...]:
        """Forget a lineage; what still led to it."""
        del self._files[logfile.live_path]
        names = self._at[logfile.directory]
        del names[logfile.name]
        self._grouped.pop(logfile.directory, None)
        if not names:
            del self._at[logfile.directory]
            place = self._place_of.pop(logfile.directory, ())
            if self._path_of.get(place) == logfile.directory:
                del self._path_of[place]
        return self._links.pop(logfile)

    def is_gone(self, logfile: LogFile) -> bool:
        """T2, as of the last look."""
        if self._listings.get(logfile.directory) is None:
            return True
        return not self._links[logfile] and not self.group(logfile.directory).get(logfile.name)

    def group(self, directory: str) -> dict[str, list[Sibling]]:
        """The files of each lineage in this directory, as of the last look."""
        listing = self._listings.get(directory)
        if listing is None:
            return {}
        kept = self._grouped.get(directory)
        if kept is not None and kept[0] is listing:
            return kept[1]
        groups = group(directory, listing.entries, self.at(directory))
        if len(listing.entries) > SMALL_DIRECTORY:
            self._grouped[directory] = (listing, groups)
        return groups

    def siblings(self, logfile: LogFile) -> list[SiblingStat]:
        """See Discoverer.siblings."""
        out: list[SiblingStat] = []
        if self._listings.get(logfile.directory) is None:
            self._refresh([logfile.directory])
        for _ in range(SNAPSHOT_TRIES):
            before = self._listings.get(logfile.directory)   # however old: whether it still holds is asked behind it
            if before is None:
                return []
            names = self.group(logfile.directory).get(logfile.name, ())
            out = [found for sibling in names if (found := _stat(sibling)) is not None]
            self._refresh([logfile.directory])
            after = self._listings.get(logfile.directory)
            if after is before or (after is not None and after.same_as(before)):
                break
        return out


def _stat(sibling: Sibling) -> SiblingStat | None:
    """None for what is gone, or is no regular file: nobody rotates into a link."""
    try:
        seen = os.lstat(sibling.path)
    except OSError:  # gone since the listing, or hidden from us: opening it would say which
        return None
    if not stat.S_ISREG(seen.st_mode):
        return None
    return SiblingStat(*sibling, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_nlink)
