"""Which sources of the config were ever seen: `sources.json` in the state directory. Driver: one small file, read once.

    no file  ─► the sources that the positions know (an agent without the file, or one whose file cannot be read)
    a file   ─► its names, and no others

Invariants (tests/agent/test_seen_sources.py):
  SE1  a source that was remembered is never new again; the file is replaced as a whole, and survives a power cut
  SE2  once `begin` returned there is a file: a kill during the first scan does not make sources seen by their positions
  SE3  a file that cannot be read or written is said, once, with what follows from it, and ends nothing
Plane: once per start and per reload.
"""
from __future__ import annotations

import os
from collections.abc import Iterable

import orjson

from ..buffer.files import Files, OsFiles
from ..buffer.positions import Positions
from ..telemetry import Telemetry

NAME = "sources.json"


class SeenSources:
    """Of one state directory. Blocking: called before anything runs, or on a thread."""

    def __init__(self, state_dir: str, positions: Positions, telemetry: Telemetry, files: Files | None = None) -> None:
        self._path, self._telemetry, self._files = os.path.join(state_dir, NAME), telemetry, files or OsFiles()
        found = self._load()
        self.is_new = found is None and not positions.lineages
        """Nothing at all is known here."""
        self._on_disk = found is not None
        self.behind = False
        """Something was added that is not on the disk yet, for the disk failed: `remember` is due."""
        self._said = False
        self._names = {lineage.source.name for lineage in positions.lineages.values()} if found is None else found

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def new_ones(self, names: Iterable[str]) -> set[str]:
        """Those that were never seen."""
        return set(names) - self._names

    def begin(self) -> None:
        """SE2."""
        if not self._on_disk:
            self.remember()

    def add(self, names: Iterable[str]) -> None:
        """Seen from now on, in memory; a crash before `remember` makes them new again."""
        self._names |= set(names)

    def remember(self) -> None:
        """SE1: what was added. SE3."""
        try:
            self.store()
        except OSError as error:
            if not self._said:
                self._telemetry.say(
                    "warning", "sources_unwritable", about=self._path,
                    why=f"{error.strerror or error}; make room, or mend the disk: it is tried again with each full scan. A start "
                        "before that takes these sources for new ones: with `start_at: end` it passes over logs that came since "
                        "the last one")
            self.behind = self._said = True

    def store(self) -> None:
        """As `remember`, for whoever has to know: OSError where it cannot be written."""
        self._files.replace(self._path, orjson.dumps(sorted(self._names)))
        self._on_disk, self.behind, self._said = True, False, False

    def _load(self) -> set[str] | None:
        """None where there is no file, or none that can be read."""
        try:
            return {str(name) for name in orjson.loads(self._files.read(self._path))}
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError, TypeError) as error:
            self._telemetry.say("warning", "sources_unreadable", about=self._path,
                                why=f"{error}; sources whose logs the positions know count as seen, it is written anew")
            return None
