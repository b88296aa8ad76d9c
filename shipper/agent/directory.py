"""The discover stage as the tail stage asks for it (tail.ports.Directory). Driver: the seam, no decisions.

Plane: per file and per directory event.
"""
from __future__ import annotations

from typing import Any, Protocol

from ..discover.lineage import LogFile
from ..discover.open import open_fd
from ..discover.scan import Discoverer
from ..errors import FileRefused
from ..model import Source
from ..tail.ports import Refused, Seen, Settings


class WatchPort(Protocol):
    """discover.watch.Watcher, as it is used here."""

    def arm(self, fd: int, token: Any) -> bool: ...
    def disarm(self, token: Any) -> None: ...


class NodeDirectory:
    """Keeps the LogFile of each lineage that the reader was told of."""

    def __init__(self, discoverer: Discoverer, watch: WatchPort | None) -> None:
        self.discoverer, self.watch = discoverer, watch
        self.files: dict[str, LogFile] = {}

    def siblings(self, source: Source) -> list[Seen]:
        """Oldest first; the live file last."""
        logfile = self.files.get(source.lineage)
        if logfile is None:
            return []
        live_path = logfile.live_path                    # kept by who asks, as long as the file is there: one string
        return [
            Seen(live_path if s.path == live_path else s.path, s.device, s.inode, s.size, not s.rotated, s.compressed, order,
                 s.mtime_ns, s.links)
            for order, s in enumerate(self.discoverer.siblings(logfile))
        ]

    def open(self, path: str, settings: Settings) -> int:
        """See Directory.open."""
        try:
            return open_fd(path, settings.allowed_roots)
        except FileRefused as refused:
            raise Refused(str(refused.reason), str(refused), again=refused.retry) from refused

    def arm(self, fd: int, token: Any) -> bool:
        return self.watch is not None and self.watch.arm(fd, token)

    def disarm(self, token: Any) -> None:
        if self.watch is not None:
            self.watch.disarm(token)
