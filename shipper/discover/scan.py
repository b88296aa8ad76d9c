"""Which lineages there are, and what changed since the last look.

    include patterns ─► matched paths ─► resolved paths ─► lineages (LogFile)
         walk.py            exclude          resolve.py      one per live file, whatever links and rotated
                                                             siblings of it matched
Invariants:
  D1  a lineage belongs to the first source that matched it, for as long as it lives; an overlap is reported once
  D2  a rotated sibling is never a lineage of its own while its live file is there, was there, or would match as well
  D3  a lineage vanishes with its directory, or with its last file once no matched path leads to it. A dangling link
      does not make it vanish: between the rename and the reopen there is no live file
  D4  what resolves to a place outside the source's roots is no lineage; open_log decides once more, on the descriptor
  D5  a look at an unchanged directory is one stat, never a listing. Where a watcher reports changes, watched directories
      are looked at in turn, a sixth per full scan: what an event missed shows within a minute
  D6  no name on disk raises
Driver: file system calls in the loop's thread. A full scan that finds nothing at 5,000 lineages costs 16 to 20 ms without a
watcher, 3 to 4 ms with one; the first one 0.5 s (2 cores, ext4, 4 us per stat; tests/bench/bench_discover.py).
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Container, Iterable

from shipper.discover.lineage import Changes, LogFile, SiblingStat, SourceSpec
from shipper.discover.lineages import Lineages
from shipper.discover.listing import Listings
from shipper.discover.names import clean, source_of
from shipper.discover.open import inside
from shipper.discover.resolve import Directories, Resolved, resolve
from shipper.discover.siblings import Either, group, is_compressed, rotated_from
from shipper.discover.sources import Configured, Match
from shipper.discover.walk import MAX_DIRECTORIES, Walk
from shipper.errors import FileRefused
from shipper.model import Source
from shipper.telemetry import Telemetry

TURNS = 6


class Discoverer:
    """The lineages of all sources. One per config; not thread-safe.

    `watched`: directories that a live watch reports through `note` (Watcher.watched); where empty, all are polled.
    """

    def __init__(self, specs: Iterable[SourceSpec], telemetry: Telemetry, *, watched: Container[str] = (),
                 now_ns: Callable[[], int] = time.time_ns) -> None:
        self._telemetry = telemetry
        self._configured = [Configured(spec) for spec in specs]
        self._listings = Listings(now_ns=now_ns)
        self._lineages = Lineages(self._listings, self._refresh)
        self._watched = watched
        self._glob_directories: set[str] = set()
        self._hop_directories: dict[str, set[Match]] = {}
        self._pending: set[Match] = set()
        self._noted: set[str] = set()
        self._changed: set[str] = set()
        self._loose: set[LogFile] = set()
        self._overlaps: set[tuple[str, str]] = set()
        self._turn = 0
        self._directories = Directories()
        self._all_due = self._first = True

    @property
    def files(self) -> Collection[LogFile]:
        """All lineages, in the order of their discovery."""
        return self._lineages.all

    def directories(self) -> set[str]:
        """What a watcher should watch: every directory that is looked at; for a missing one its nearest ancestor."""
        wanted = set()
        for path in self._listings.known():
            while path != "/" and self._listings.get(path) is None and not os.path.isdir(path):
                path = os.path.dirname(path)
            wanted.add(path)
        return wanted

    def take_replaced(self) -> set[str]:
        """Directories in whose place another one was found since the last call: a watch on them hears of the old one."""
        replaced, self._listings.replaced = self._listings.replaced, set()
        return replaced

    def note(self, directory: str) -> None:
        """Something happened in `directory`: the next scan, full or not, looks at it."""
        self._noted.add(directory)

    def distrust(self) -> None:
        """Events were lost: the next full scan looks at every directory, watched or not."""
        self._all_due = True

    def scan(self, *, full: bool = True) -> Changes:
        """Look, and say what changed since the last scan. Not full: only at directories that were noted.

        The first scan lists everything. Raises for nothing that is on disk (D6).
        """
        self._refresh(self._due() if full else self._noted_ones())
        changes = Changes()
        changed, self._changed = self._changed, set()
        if self._first or not changed.isdisjoint(self._glob_directories):
            self._first = False
            self._match_all(changed, changes)
        for match in [m for path in changed & self._hop_directories.keys() for m in self._hop_directories[path]]:
            self._resolve_again(match, changes)
        if full or changed:
            for match in [m for m in self._pending if m.resolved and os.path.isdir(os.path.dirname(m.resolved.path))]:
                self._resolve_again(match, changes)
        self._settle(changed, changes)
        self._directories = Directories()                # what this scan found is not believed by the next
        return changes

    def siblings(self, logfile: LogFile) -> list[SiblingStat]:
        """The lineage's files, oldest first, the live one last; regular files only. [] once the directory is gone.

        A snapshot: the directory is looked at before and after, and again while it changes (five times at most). File
        systems with coarse times can hide a change within one tick of 10 ms: who misses an inode here asks again.
        """
        return self._lineages.siblings(logfile)

    def wants(self, source: Source) -> bool:
        """Is this source, known from positions, one that the config still asks for? Not what is excluded now, nor what is still
        there at the path that was matched and is matched no more."""
        configured = self._configured_for(source)
        if configured is None or configured.excluded(source.path):
            return False
        return configured.includes(source.path) or not os.path.lexists(source.path)

    def _configured_for(self, source: Source) -> Configured | None:
        return next((c for c in self._configured if (c.spec.name, c.spec.kind) == (source.name, source.kind)), None)

    def adopt(self, source: Source) -> LogFile | None:
        """The lineage of a source known from positions, though nothing matches it any more (its link is gone).

        None where its directory or all its files are gone, where its source is not in the config any more, or where it
        lies outside the roots. A lineage that is known already is returned as it is, with its own Source.
        """
        known = self._lineages.get(source.lineage)
        if known is not None:
            return known
        directory, name = os.path.split(source.lineage)
        configured = self._configured_for(source)
        if configured is None or not name or os.path.realpath(directory) != directory:
            return None
        listing = self._listings.get(directory) if inside(source.lineage, configured.roots) else None
        if listing is None or not group(directory, listing.entries, (name,)).get(name):
            self._forget_directory(directory)
            return None
        logfile = configured.logfile(source, source.lineage, directory, name)
        self._lineages.add(logfile)
        return logfile

    def _due(self) -> Iterable[str]:
        known = self._listings.known()
        noted, self._noted = self._noted, set()
        everything, self._all_due = self._all_due, False
        self._turn = (self._turn + 1) % TURNS
        if everything:
            return known
        watched, turn, unsure = self._watched, self._turn, self._listings.unsure
        return [p for i, p in enumerate(known) if i % TURNS == turn or p not in watched or p in noted or p in unsure]

    def _noted_ones(self) -> Iterable[str]:
        """Ancestors that were noted stand for the missing directories below them."""
        noted, self._noted = self._noted, set()
        missing = [path for path in self._glob_directories if self._listings.get(path) is None]
        return [path for path in noted if path in self._listings] + missing

    def _refresh(self, paths: Iterable[str]) -> None:
        self._changed |= self._listings.refresh(paths)
        unreadable = self._listings.unreadable
        if unreadable:
            path, why = next(iter(unreadable.items()))
            self._telemetry.say("warning", "directory_unreadable", path=clean(path), why=why, directories=len(unreadable),
                                mend="give the agent CAP_DAC_READ_SEARCH, or read access to the directory")

    def unreadable(self) -> list[str]:
        """Directories that are there and could not be listed."""
        return [clean(path) for path in self._listings.unreadable]

    def _match_all(self, changed: set[str], changes: Changes) -> None:
        walk = Walk(self._listings)
        for configured in self._configured:
            seen = dict.fromkeys(path for pattern in configured.patterns for path in walk.paths(pattern))
            matches = configured.matches
            for path in [path for path in matches if path not in seen]:
                self._detach(matches.pop(path))
            for path in seen:
                if path not in matches:
                    matches[path] = match = None if configured.excluded(path) else Match(configured, path)
                    self._attach(match, changes)
                elif (match := matches[path]) and os.path.dirname(path) in changed and match.can_change():
                    self._resolve_again(match, changes)
        if walk.cut:
            self._telemetry.say("warning", "too_many_directories", limit=MAX_DIRECTORIES, mend="narrow the include patterns")
        unused, self._glob_directories = self._glob_directories - walk.consulted, walk.consulted
        for path in unused:
            self._forget_directory(path)

    def _resolve_again(self, match: Match, changes: Changes) -> None:
        try:
            same = match.logfile is not None and match.resolved == self._resolved(match)
        except FileRefused:
            same = False
        if not same:
            self._detach(match)
            self._attach(match, changes)

    def _resolved(self, match: Match) -> Resolved:
        """Raises FileRefused. The directory that it leads to is listed for the lineage anyway: that tells a file from a link."""
        directories, listings, roots = self._directories, self._listings, match.configured.roots

        def is_file(path: str) -> bool:
            directory, _, name = path.rpartition("/")
            if not directory or directories.of(directory) != directory or not inside(directory, roots):
                return False
            listing = listings.get(directory)
            return listing is not None and listing.entries.get(name) == "f"

        return resolve(match.path, directories, is_file=is_file)

    def _attach(self, match: Match | None, changes: Changes) -> None:
        if match is None:
            return
        try:
            match.resolved = resolved = self._resolved(match)
            match.configured.check_inside(match.path, resolved.path)
        except FileRefused as refusal:
            if os.path.lexists(match.path):
                self._refuse(match.configured.spec.name, refusal)
            else:                                        # gone since it was listed: what was a link looked like a file there
                match.resolved = None
            return
        for hop in resolved.hops[1:-1]:
            self._hop_directories.setdefault(os.path.dirname(hop), set()).add(match)
            self._listings.get(os.path.dirname(hop))
        directory, name = os.path.split(resolved.path)
        listing = self._listings.get(directory)
        if listing is None:
            self._forget_directory(directory)
            self._pending.add(match)
            return
        live = self._live_name(match.configured, directory, name, listing.entries)
        if live is not None:
            self._claim(match, resolved, listing.path, live, changes)      # whose string is kept anyway

    def _live_name(self, configured: Configured, directory: str, name: str, present: Container[str]) -> str | None:
        """Whose lineage `name` is part of (D2); None for a compressed file without a live one."""
        lives = Either(present, self._lineages.at(directory))
        rotated = rotated_from(name, lives)
        if rotated and (rotated.live in lives or configured.includes(os.path.join(directory, rotated.live))):
            return rotated.live
        return None if is_compressed(name) else name

    def _claim(self, match: Match, resolved: Resolved, directory: str, live: str, changes: Changes) -> None:
        spec = match.configured.spec
        logfile = self._lineages.find(directory, live)
        if logfile is None:
            path = os.path.join(directory, live)
            path = resolved.path if path == resolved.path else path
            hops = resolved.hops if path == resolved.hops[-1] else (*resolved.hops, path) if path == resolved.path else (path,)
            source = source_of(spec.kind, spec.name, spec.node, hops, path)
            logfile = match.configured.logfile(source, path, directory, live)
            self._lineages.add(logfile)
            changes.appeared.append(logfile)
        elif logfile.source_name != spec.name and (logfile.source_name, spec.name) not in self._overlaps:
            self._overlaps.add((logfile.source_name, spec.name))
            self._telemetry.say("warning", "sources_overlap", about=f"{logfile.source_name}/{spec.name}",
                                path=clean(match.path), read_by=logfile.source_name, not_by=spec.name,
                                mend="exclude these files from one of the two sources")
        match.logfile = logfile
        self._lineages.link(logfile, match)

    def _detach(self, match: Match | None) -> None:
        if match is None:
            return
        self._pending.discard(match)
        for hop in match.resolved.hops[1:-1] if match.resolved else ():
            directory = os.path.dirname(hop)
            users = self._hop_directories.get(directory, set())
            users.discard(match)
            if not users:
                self._hop_directories.pop(directory, None)
                self._forget_directory(directory)
        if match.logfile is not None:
            self._lineages.unlink(match.logfile, match)
            self._loose.add(match.logfile)
        match.resolved = match.logfile = None

    def _settle(self, changed: set[str], changes: Changes) -> None:
        """Which lineages are gone (D3), which have other files than before."""
        loose, self._loose = self._loose, set()
        touched = dict.fromkeys(logfile for path in changed for logfile in self._lineages.at(path).values())
        fresh = set(changes.appeared)
        for logfile in touched | dict.fromkeys(loose):
            if self._lineages.is_gone(logfile):
                changes.vanished.append(logfile)
                for match in self._lineages.remove(logfile):
                    assert isinstance(match, Match)
                    match.logfile = None
                    self._pending.add(match)
                self._forget_directory(logfile.directory)
            elif logfile in touched and logfile not in fresh:
                changes.changed.append(logfile)

    def _forget_directory(self, path: str) -> None:
        """Stop looking at a directory, unless something else needs it."""
        if path not in self._glob_directories and path not in self._hop_directories and not self._lineages.at(path):
            self._listings.forget(path)

    def _refuse(self, source_name: str, refusal: FileRefused) -> None:
        self._telemetry.count("shipper_refused_files_total", 1, refusal.reason.value)
        self._telemetry.say("warning", "file_refused", about=f"{source_name}/{refusal.reason.value}", why=str(refusal))
