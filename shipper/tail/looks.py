"""Looks at lineages whose directory changed (looking.py is one of them), and what follows of each. Driver; waits for nothing.

    due ──► room for descriptors? ──► look ──► refusals are said ──► read it, at once
                                        │ refused for now, moved meanwhile, its disk failed
                                        └──► another look in a second

Invariants:
  LK1  a look leaves no more descriptors open than there is room for; those of deleted files stay: nothing else leads to them
  LK2  a look that could not see everything is made again
  LK3  no look at one lineage keeps another from its own: a disk that fails is said, and counted
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from ..telemetry import Telemetry
from .attention import Attention
from .handles import Handles
from .lineage import Lineage
from .opening import Opener
from .ports import BufferPort, Formats
from .turns import Turns


class Looks:
    """Of one reader."""

    def __init__(
        self, lineages: Mapping[str, Lineage], buffer: BufferPort, formats: Formats, handles: Handles, opener: Opener,
        attention: Attention, turns: Turns[str], telemetry: Telemetry, *, now_s: Callable[[], float], now_ns: Callable[[], int],
    ) -> None:
        self._lineages, self._buffer, self._formats, self._handles, self._opener = lineages, buffer, formats, handles, opener
        self._attention, self._turns, self._telemetry, self._now_s, self._now_ns = attention, turns, telemetry, now_s, now_ns

    def where_due(self) -> None:
        """At each lineage that asked for one since the last call."""
        due, self._attention.look = self._attention.look, {}
        for name in due:
            if name in self._lineages:
                self.at(name, self._lineages[name])

    def at(self, name: str, lineage: Lineage, *, skip_old: bool = False) -> None:
        """See Lineage.look; then it is read."""
        held = None if self._handles.room_to_look() else {f.node_id for f in lineage.files if f.handle is not None}
        try:
            self._opener.refused(lineage.look(
                self._buffer.positions, skip_old=skip_old, formats=self._formats, now_ns=self._now_ns()))
            lineage.tell_truncations(self._telemetry)
        except OSError as error:
            self._telemetry.count("shipper_errors_total", 1, "look")
            self._telemetry.say("error", "look_failed", about=name, why=str(error))
            lineage.look_due = True
        if held is not None:                              # opened again when its turn comes
            self._handles.close_new(lineage, held)
        self.ready(name, lineage)
        if any(file.deleted_since_s is not None for file in lineage.files):
            self._attention.deleted[name] = None
        if lineage.ignored.waits_for_a_link_to_go:
            self._attention.trail(name, self._now_s())
        if lineage.look_due:                              # something was refused for now, or moved while we looked
            self._attention.again(name, self._now_s(), look=True)

    def ready(self, name: str, lineage: Lineage) -> None:
        """There may be something to read."""
        lineage.eof_ticks = 0
        self._attention.ready(name)
        self.queue(name)

    def queue(self, name: str) -> None:
        """It has a turn."""
        lineage = self._lineages.get(name)
        if lineage is not None:
            self._turns.add(lineage.source.namespace, name)
