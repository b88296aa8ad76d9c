"""Files of a lineage that are not to be read, or not now: copies, compressed ones that were read, refused ones. Pure but fstat.

Invariants:
  IG1  a file is ignored by its inode and by its looks: an inode that is freed comes again, as a live file or another .gz
  IG2  where its content is that of a file with a key, the key is known as long as it is there: that position must be kept, and
       what it says may be asked for again
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .file import TailFile
from .ports import Seen

NodeId = tuple[int, int]


class Looks(NamedTuple):
    """Of a file that is not to be read, as far as its disk says: a rename changes none of it."""

    live: bool
    compressed: bool
    size: int | None
    mtime_ns: int | None
    hard_linked: bool = False                            # refused for as long as it has another name


class Ignored:
    """Of one lineage."""

    def __init__(self) -> None:
        self._looks: dict[NodeId, Looks] = {}
        self._keys: dict[NodeId, str] = {}

    def add(self, file: TailFile, key: str = "", *, hard_linked: bool = False) -> None:
        """Never to be read, or not before it has one name again. `key`: of the file whose content it has (IG2)."""
        stat = file.stat()
        self._looks[file.node_id] = Looks(
            file.live, file.compressed, stat and stat.st_size, stat and stat.st_mtime_ns, hard_linked)
        key = key or (file.ref.key if file.ref is not None else "")
        if key:
            self._keys[file.node_id] = key

    def has(self, seen: Seen) -> bool:
        """IG1."""
        looks = self._looks.get((seen.device, seen.inode))
        if looks is None or (looks.live, looks.compressed) != (seen.live, seen.compressed):
            return False
        if looks.hard_linked and seen.links == 1:
            return False
        return looks.size in (None, seen.size) and looks.mtime_ns in (None, seen.mtime_ns)

    def holds(self, seen: Seen, key: str) -> bool:
        """Is the content of the file with this key in it?"""
        return self._keys.get((seen.device, seen.inode)) == key and self.has(seen)

    def keep(self, there: Mapping[NodeId, Seen]) -> None:
        """Forget what is gone, or is something else by now."""
        self._looks = {node_id: looks for node_id, looks in self._looks.items() if (s := there.get(node_id)) and self.has(s)}
        self._keys = {node_id: key for node_id, key in self._keys.items() if node_id in self._looks}

    def forget(self, node_id: NodeId) -> None:
        """It is read after all."""
        self._looks.pop(node_id, None)

    @property
    def keys(self) -> list[str]:
        """IG2."""
        return list(self._keys.values())

    @property
    def waits_for_a_link_to_go(self) -> bool:
        """Is there one that is refused for its second name alone? Nobody tells when that goes."""
        return any(looks.hard_linked for looks in self._looks.values())
