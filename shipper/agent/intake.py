"""The left side of the agent: discover tells the reader what there is, the watch wakes it. Driver.

    watch ──directory──► discoverer.note ──► scan ──► handover.py ──► reader.add / changed / vanish
      └────file────────► reader.written
    every RESCAN_S ────► full scan (and the only way where inotify is not to be had)

Invariants (tests/agent/test_intake.py):
  I1  a source's start_at applies to the files that exist when the source is first seen, ever (seen_sources.py remembers,
      as soon as what is passed over is in the buffer, and synced: a kill or a power cut in between starts over)
  I2  every lineage that the positions know and did not finish is found again, or what it still held is reported
  I3  no exception of a scan ends the agent: it is counted and the next scan tries again
  I4  a scan that a reload overtakes adds nothing of the old config
"""
from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ..buffer.driver import Buffer
from ..config.types import Config, LogFiles
from ..decode import Budget
from ..discover.lineage import Changes
from ..discover.scan import Discoverer
from ..discover.watch import Watcher
from ..errors import BufferLost
from ..process.limits import Limits
from ..tail.driver import Reader
from ..telemetry import Telemetry
from .descriptors import raise_descriptor_limit
from .directory import NodeDirectory
from .formats import DecodeFormats, Rules, decoder_for, keep_redaction_secrets
from .handover import Handover
from .journals import Journals
from .logging import describe
from .pods import PodMetadata
from .seen_sources import SeenSources
from .sources import specs_of
from .unread import refused_for_good, unread_in_words

RESCAN_S = 10.0
RESCAN_UNWATCHED_S = 2.0
SCAN_PAUSE_S = 0.02
SCAN_SLICE = 50
YIELDS = 5
SEEN_EVERY_S = 3600.0
REMEMBER_S = 2.0


class Intake:
    """Runs between `start` and the end of `run`. The reader outlives a reload; the discoverer is made anew."""

    def __init__(
        self, config: Config, buffer: Buffer, telemetry: Telemetry, pace: Callable[[], Awaitable[None]]
    ) -> None:
        self._config, self._buffer, self._telemetry = config, buffer, telemetry
        keep_redaction_secrets(config, telemetry)
        self._watch: Watcher | None = None
        rules = Rules(config.process)
        self._limits = Limits()
        self._discoverer = Discoverer(specs_of(config), telemetry)
        self._directory = NodeDirectory(self._discoverer, None)
        self.reader = Reader(
            buffer, self._directory, DecodeFormats(telemetry), decoder_for(Budget(), telemetry, self._limits), telemetry,
            max_open_files=raise_descriptor_limit(), pace=pace,
        )
        self.journals = Journals(self.reader, buffer, telemetry, self._limits, pace)
        self.pods = PodMetadata(config, telemetry, lambda logfiles: self._handover.retell(logfiles))
        self._noted = asyncio.Event()
        self._remembering = asyncio.Lock()
        self._seen = SeenSources(config.state_dir, buffer.positions, telemetry)
        self._handover = Handover(rules, self.reader, self._directory, self.pods, self._seen, buffer.positions, telemetry)
        self.ready = False

    # ---------------------------------------------------------------- start

    async def start(self, *, watch: bool = True) -> None:
        """The first scan: every file known, none read."""
        self.pods.start()
        if watch:
            self._watch = Watcher(
                on_file=self._on_file, on_directory=self._on_directory, on_overflow=self._on_overflow, telemetry=self._telemetry
            )
            self._watch.start()
        self._rewire()
        self.journals.start(self._config, self._handover.rules)
        self._seen.begin()                                # before the first scan: it reads, and passes over, already
        await self._scan(full=True)
        await self._adopt()
        self._say_if_new()
        self._say_what_has_no_files()
        await self._remember_sources()
        self.ready = self.reader.complete = True

    def _say_if_new(self) -> None:
        """Logs without a state directory: the first start, or what an agent before this one knew is gone. Nobody can tell
        which, so it is said each time."""
        if self._seen.is_new and self._directory.files:
            starts = ", ".join(f"{name} at the {source.start_at}" for name, source in sorted(self._config.sources.items()))
            self._telemetry.say(
                "warning", "new_state_directory", about=self._config.state_dir, log_files=len(self._directory.files),
                why=f"nothing is known of the logs that are here, so reading starts anew: {starts}. At a first start that is as "
                    "it should be; else the state directory is gone: keep it on a disk that outlives pod and reboot")

    def _say_what_has_no_files(self) -> None:
        """One line: a slip in an `include` looks like an agent that has nothing to do."""
        found = {logfile.source_name for logfile in self._directory.files.values()}
        without = [name for name, source in sorted(self._config.sources.items())
                   if isinstance(source, LogFiles) and name not in found]
        if without:
            self._telemetry.say(
                "info" if found else "warning", "no_files", about=", ".join(without),
                why="nothing matches their `include` now, or what does is refused (`file_refused`); files that come are found; "
                    "`shipper check` names each pattern")

    def _rewire(self) -> None:
        watched = self._watch.watched if self._watch is not None else ()
        self._discoverer = Discoverer(specs_of(self._config), self._telemetry, watched=watched)
        self._handover.forget()
        self._directory.discoverer = self._discoverer
        self._directory.watch = self._watch

    async def _remember_sources(self) -> None:
        """I1. The file is there from the first start on, else the sources of the positions would count as seen."""
        async with self._remembering:
            new = self._seen.new_ones(self._config.sources)
            if not new:
                self._seen.begin()
                return
            self._seen.add(new)
            await self.reader.pass_over_old()
            try:
                if any(getattr(self._config.sources[name], "start_at", "") == "end" for name in new):
                    await self._buffer.wait_synced(self._buffer.appended_seq)
            except BufferLost as lost:
                self._seen.behind = True
                self._telemetry.say("warning", "sources_not_remembered", about=", ".join(sorted(new)),
                                    why=f"{lost}; tried again with each full scan, and taken for new ones by a start before that")
            else:
                await asyncio.to_thread(self._seen.remember)

    async def _remember_again(self) -> None:
        """I1, where the disk failed. What a reload has just added waits for that reload."""
        if not self._seen.behind or self._remembering.locked():
            return
        async with self._remembering:
            with contextlib.suppress(TimeoutError, BufferLost):     # the next full scan tries again
                async with asyncio.timeout(REMEMBER_S):
                    await self._buffer.wait_synced(self._buffer.appended_seq)
                await asyncio.to_thread(self._seen.remember)

    async def _adopt(self) -> None:
        """I2."""
        positions = self._buffer.positions
        for name, known in list(positions.lineages.items()):
            if name in self.reader.lineages or not self._discoverer.wants(known.source):
                continue
            if all(positions.files[k].closed for k in known.keys if k in positions.files) and not known.state:
                continue
            logfile = self._discoverer.adopt(known.source)
            if logfile is not None:
                self._handover.add(logfile)
            else:
                self.reader.lost_lineage(name)

    # ---------------------------------------------------------------- scanning

    async def _scan(self, *, full: bool) -> None:
        changes = self._discoverer.scan(full=full)
        replaced = self._discoverer.take_replaced()
        if replaced and self._watch is not None:
            self._watch.watch_anew(replaced)
        await self._apply(changes)
        if (changes or not self.ready) and self._watch is not None:
            self._watch.watch_directories(self._discoverer.directories())

    async def _apply(self, changes: Changes) -> None:
        """I3, I4."""
        discoverer = self._discoverer
        for logfile in changes.changed:
            self.reader.changed(logfile.source.lineage)
        for count, logfile in enumerate(self._handover.found(changes.appeared), 1):
            self._handover.tell(logfile)
            if count % SCAN_SLICE == 0:
                # 5,000 files take a quarter of a second to open: nobody waits for all, and the first lines leave meanwhile.
                await (asyncio.sleep(0) if self.ready else self._read_meanwhile())
                if self._discoverer is not discoverer:
                    return                               # a reload came in between, and looked at everything itself
        for logfile in changes.vanished:
            self._handover.vanished(logfile)

    async def _read_meanwhile(self) -> None:
        """One turn of the reader, and a moment for the buffer's thread and the sinks: without it no line left before all
        files were open, however early it was read."""
        await self.reader.step()
        for _ in range(YIELDS):
            await asyncio.sleep(0)

    def _on_file(self, token: Any) -> None:
        self.reader.written(token)

    def _on_directory(self, path: str) -> None:
        self._discoverer.note(path)
        self._noted.set()

    def _on_overflow(self) -> None:
        self._telemetry.count("shipper_inotify_overflows_total")
        self._discoverer.distrust()
        self._full_due = True
        self._noted.set()
        for name in list(self.reader.lineages):
            self.reader.changed(name)

    _full_due = False

    # ---------------------------------------------------------------- running

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`; what was read is in the buffer when this returns."""
        scanning = asyncio.create_task(self._scan_for_ever(), name="scan")
        waking = asyncio.create_task(self._wake_at(stop), name="wake")
        self.journals.run()
        try:
            await self.reader.run(stop)
        finally:
            await self.journals.stop()
            for task in (scanning, waking):
                task.cancel()
            await asyncio.gather(scanning, waking, return_exceptions=True)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.reader.wake()

    async def _scan_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        next_full_s = loop.time() + RESCAN_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_full_s):
                    await self._noted.wait()
                    await asyncio.sleep(SCAN_PAUSE_S)    # a rotation is several events; one scan sees them all
            self._noted.clear()
            full = self._full_due or loop.time() >= next_full_s
            try:
                await self._scan(full=full)
                if full:
                    self._tell_seen(loop.time())
                    await self._remember_again()
            except Exception as error:  # noqa: BLE001 - I3
                self._telemetry.count("shipper_errors_total", 1, "scan")
                self._telemetry.say("error", "scan_failed", **describe(error))
            if full:
                self._full_due = False
                watching = self._watch is not None and self._watch.working
                next_full_s = loop.time() + (RESCAN_S if watching else RESCAN_UNWATCHED_S)

    def _tell_seen(self, now_s: float) -> None:
        """Each hour: positions of files that are not there any more are forgotten after 7 days."""
        if now_s < self._next_seen_s:
            return
        self._next_seen_s = now_s + SEEN_EVERY_S
        self._buffer.seen([*self.reader.facts.keys(), *self.journals.keys()], time.time())

    _next_seen_s = 0.0

    async def once(self) -> list[str]:
        """See Reader.once. It reads what is there, whatever a limit with `delay` says: it has to end. Labels that a rule
        asks for are waited for, as ever. Returns what was not read, in words, one each (unread.py)."""
        self._limits.delays = False
        await self.pods.calm()
        unread = await self.reader.once()
        await self.journals.once()
        return unread_in_words(refused_for_good(self._telemetry), unread, self._discoverer.unreadable())

    async def apply(self, config: Config) -> None:
        """Go over to other sources; what both have is read on from where it stands."""
        async with self.reader.between_turns:
            await self._go_over(config)
        await self.journals.apply(config, self._handover.rules)
        await self._remember_sources()

    async def _go_over(self, config: Config) -> None:
        old, self._config = self._config, config
        keep_redaction_secrets(config, self._telemetry)
        self._handover.rules = Rules(config.process)
        self.pods.configure(config)
        self._rewire()
        self._directory.files.clear()
        gone = [n for n, lineage in self.reader.lineages.items() if lineage.source.name not in config.sources]
        for name in gone:
            self.reader.drop(name)
        await self._scan(full=True)
        kept = set(self._directory.files)
        for name in [n for n, x in self.reader.lineages.items() if n not in kept]:
            if self._still_wanted(name, old, config):
                self._readopt(name)
            else:
                self.reader.drop(name)
        await self._adopt()
        self.pods.keep(self.reader.lineages.keys() | self._directory.files.keys())

    def _still_wanted(self, lineage: str, old: Config, new: Config) -> bool:
        """Its files are not matched any more: by the new config's doing, or because their link is gone?"""
        source = self.reader.lineages[lineage].source.name
        before, now = old.sources.get(source), new.sources.get(source)
        return before is not None and now is not None and (before.include, before.exclude) == (now.include, now.exclude)

    def _readopt(self, lineage: str) -> None:
        logfile = self._discoverer.adopt(self.reader.lineages[lineage].source)
        if logfile is not None:
            self._directory.files[lineage] = logfile
        else:
            self.reader.vanish(lineage)

    def facts(self) -> list[dict[str, Any]]:
        """One row per file, and one per source that is no file."""
        return [*self.reader.facts.rows(), *self.journals.facts()]

    def states(self) -> dict[str, int]:
        """How many rows of `facts` are in which state, without making them."""
        counts = self.reader.facts.states()
        for row in self.journals.facts():
            counts[row["state"]] = counts.get(row["state"], 0) + 1
        return counts

    async def close(self) -> None:
        """Descriptors and watches."""
        await self.pods.close()
        if self._watch is not None:
            self._watch.close()
        self.reader.close()

    def directories(self) -> Iterable[str]:
        return self._discoverer.directories()
