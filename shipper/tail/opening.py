"""A log file gets its descriptor, or it is clear why not. Driver: opens; once per file and after each time that it was closed.

    no room ──► another try in a second         refused ──► another try, or never again
    its name is another file's, or gone ──► its directory is looked at; not found there either: goes on elsewhere, or lost

Invariants:
  I1  the descriptor is of the file that was looked at: compared by inode behind the open
  I2  each refusal is counted and said
"""
from __future__ import annotations

import os
from collections.abc import Iterable

from ..errors import RefusedReason
from ..telemetry import Telemetry
from .attention import Attention
from .file import TailFile
from .handles import Handles
from .lineage import Lineage
from .losses import gone
from .ports import Directory, Refused


class Opener:
    """One per reader."""

    def __init__(self, directory: Directory, handles: Handles, attention: Attention, telemetry: Telemetry) -> None:
        self._directory, self._handles, self._attention, self._telemetry = directory, handles, attention, telemetry

    def open(self, name: str, lineage: Lineage, file: TailFile, now: float) -> bool:
        """Attach a descriptor to `file`. False where there is none now: what follows of it is arranged."""
        if not self._handles.make_room():
            self._attention.again(name, now, look=False)
            return False
        try:
            fd = self._directory.open(file.path, lineage.settings)
        except Refused as refused:
            self._not_opened(name, lineage, file, refused, now)
            return False
        stat = os.fstat(fd)
        if (stat.st_dev, stat.st_ino) != file.node_id:
            os.close(fd)
            self._without_name(name, lineage, file)       # another has its name
            return False
        file.attach(fd)
        return True

    def _not_opened(self, name: str, lineage: Lineage, file: TailFile, refused: Refused, now: float) -> None:
        if refused.reason == "vanished":
            self._without_name(name, lineage, file)
            return
        if refused.again:
            self._attention.again(name, now, look=False)
        else:
            lineage.files.remove(file)
            lineage.ignored.add(file, hard_linked=refused.reason == RefusedReason.HARD_LINKED)
        self.refused([(refused.reason, str(refused))])

    def _without_name(self, name: str, lineage: Lineage, file: TailFile) -> None:
        """Renamed since the last look; or, where that did not find it either, gone while it was closed: read to its end, or
        for want of descriptors."""
        if file.deleted_since_s is not None:
            gone(lineage, file)
        self._attention.look_at(name)

    def refused(self, refusals: Iterable[tuple[str, str]]) -> None:
        """Say and count them: (reason, message) each."""
        for reason, message in refusals:
            self._telemetry.count("shipper_refused_files_total", 1, reason)
            self._telemetry.say("warning", "file_refused", about=message, reason=reason)
