"""Logs that discovery found, as the reader gets to know them. Driver: the seam between discovery, pods and reader.

    found ─► waiting ─► what its pod says ─┬─ excluded ─► reader.drop
                ▲                          └─ else, with the settings of its source and rules ─► reader.add
                └── the reader could not take it
    pods know more ─► retell ─► reader.tell, drop or add; waiting where the reader could not take it

Invariants (tests/agent/test_intake.py, test_pods.py):
  HO1  a log that was found waits until the reader has it, or it vanishes; what the old config found is forgotten by a reload
  HO2  one that the reader cannot take is counted, and keeps no other
  HO3  a log of a new source with start_at: end is passed over; one that the positions know is read on, whatever its source
"""
from __future__ import annotations

from collections.abc import Callable, Iterable

from ..buffer.positions import Positions
from ..config.types import LogFiles
from ..discover.lineage import LogFile
from ..tail.driver import Reader
from ..tail.ports import Settings
from ..telemetry import Telemetry
from .directory import NodeDirectory
from .formats import Rules
from .logging import describe
from .pods import Joined, PodMetadata
from .seen_sources import SeenSources
from .sources import settings_of


class Handover:
    """Of one intake. `rules`: those of the config that runs."""

    def __init__(
        self, rules: Rules, reader: Reader, directory: NodeDirectory, pods: PodMetadata, seen: SeenSources,
        positions: Positions, telemetry: Telemetry,
    ) -> None:
        self.rules = rules
        self._reader, self._directory, self._pods, self._seen = reader, directory, pods, seen
        self._positions, self._telemetry = positions, telemetry
        self._waiting: dict[str, LogFile] = {}
        self._last_settings: Settings | None = None

    def found(self, logfiles: Iterable[LogFile]) -> list[LogFile]:
        """HO1. All that wait now, these included."""
        self._waiting.update((logfile.source.lineage, logfile) for logfile in logfiles)
        return list(self._waiting.values())

    def forget(self) -> None:
        """The config changed: what it finds is found anew."""
        self._waiting.clear()

    def tell(self, logfile: LogFile) -> None:
        """One that waits, if it still does (HO2)."""
        if self._waiting.get(logfile.source.lineage) is logfile and self._taken(self.add, logfile):
            del self._waiting[logfile.source.lineage]

    def vanished(self, logfile: LogFile) -> None:
        """Its link is gone; what is left of it is read to its end."""
        lineage = logfile.source.lineage
        self._waiting.pop(lineage, None)
        self._reader.vanish(lineage)
        self._pods.vanish(lineage)
        if self._directory.files.get(lineage) is logfile:
            del self._directory.files[lineage]

    def _taken(self, give: Callable[[LogFile], None], logfile: LogFile) -> bool:
        try:
            give(logfile)
        except Exception as error:  # noqa: BLE001 - HO2
            self._telemetry.count("shipper_errors_total", 1, "scan")
            self._telemetry.say("error", "file_not_taken", about=logfile.source.lineage, **describe(error))
            return False
        return True

    def add(self, logfile: LogFile) -> None:
        """Raises what the reader raises."""
        lineage = logfile.source.lineage
        self._directory.files[lineage] = logfile
        joined = self._joined(logfile)
        if joined.excluded:
            self._reader.drop(lineage)
            return
        skip_old = (logfile.source_config.start_at == "end" and logfile.source_name not in self._seen
                    and lineage not in self._positions.lineages)
        self._reader.add(joined.source, self._settings(logfile, joined), skip_old=skip_old, wait_until_s=joined.wait_until_s)

    async def retell(self, logfiles: Iterable[LogFile]) -> None:
        """Something else is known of their pods."""
        async with self._reader.between_turns:
            for logfile in logfiles:
                lineage = logfile.source.lineage
                logfile = self._directory.files.get(lineage, logfile)    # HO1: a reload may have come in between
                if not self._taken(self._told_again, logfile) and self._directory.files.get(lineage) is logfile:
                    self._waiting[lineage] = logfile     # HO1: with the next scan. One that vanished would be open again

    def _told_again(self, logfile: LogFile) -> None:
        lineage = logfile.source.lineage
        if lineage not in self._reader.lineages:
            if self._directory.files.get(lineage) is logfile:
                self.add(logfile)                         # excluded until now
            return
        joined = self._joined(logfile)
        if joined.excluded:
            self._reader.drop(lineage)
        else:
            self._reader.tell(joined.source, self._settings(logfile, joined), wait_until_s=joined.wait_until_s)

    def _joined(self, logfile: LogFile) -> Joined:
        before = self._positions.lineages.get(logfile.source.lineage)
        return self._pods.joined(logfile, before.source if before is not None else None)

    def _settings(self, logfile: LogFile, joined: Joined) -> Settings:
        source = logfile.source_config
        assert isinstance(source, LogFiles)
        processing = self.rules.wanted(source, joined.source, joined.asks)
        made = settings_of(logfile.source_name, source, logfile.allowed_roots, processing)
        if self._last_settings != made:                  # nearly all logs have the same: kept once
            self._last_settings = made
        return self._last_settings
