"""The small files of the state directory (cursors, positions) and the ballast that lets them be written on a full disk.

Invariants (tests/buffer/test_engine.py):
  S1  a write that finds no room releases the ballast and is tried once more: so sinks can always drain a full disk
  S2  the ballast is made again only where it leaves as much room as it takes
Plane: driver, on the writer thread.
"""
from __future__ import annotations

import os

from .files import NO_ROOM, Files, Space
from .limits import BALLAST_BYTES

BALLAST = "ballast"


class SmallFiles:
    def __init__(self, files: Files, directory: str, ballast_bytes: int = BALLAST_BYTES) -> None:
        self._files, self._path, self._bytes = files, os.path.join(directory, BALLAST), ballast_bytes
        self.has_ballast = BALLAST in files.names(directory) and files.size(self._path) >= ballast_bytes

    def write(self, path: str, data: bytes) -> None:
        """Replace a file (files.F1). OSError where even the ballast's room does not help."""
        try:
            self._files.replace(path, data)
        except OSError as error:
            if error.errno not in NO_ROOM or not self.has_ballast:
                raise
            self._files.delete(self._path)
            self.has_ballast = False
            self._files.replace(path, data)

    def restore_ballast(self, space: Space) -> bool:
        """Make it again where there is room (S2). True where it was made now."""
        if self.has_ballast:
            return False
        if space.free_bytes < max(4 * self._bytes, space.total_bytes // 20):
            return False
        try:
            self._files.allocate(self._path, self._bytes)
        except OSError:
            return False  # no ballast is no harm yet; the next commit tries again
        self.has_ballast = True
        return True
