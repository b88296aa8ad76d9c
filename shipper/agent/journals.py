"""The sources that are no files (journal, kmsg), beside the reader of files. Driver.

Invariants (tests/agent/test_journals.py):
  J1  their frames go through the reader's one way into the buffer; when the buffer goes back, they go back with the files
  J2  a reload leaves those alone that it does not change; the others end first, and what they had read is in the buffer
  J3  one that fails is shown as degraded and tried again; it stops neither the files nor another one
"""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from ..buffer.driver import Buffer
from ..config.journal import JournalSource, KmsgSource
from ..config.types import Config
from ..errors import GapReason
from ..journal.driver import JournalReader
from ..journal.journalctl import Journalctl, Wanted
from ..journal.kmsg import Kmsg
from ..journal.ports import Backend, Decoder, Output, Settings, Trouble
from ..journal.records import EntryDecoder
from ..model import Source
from ..process.build import steps_for
from ..process.chain import Processing
from ..process.limits import Limits
from ..tail.driver import Reader
from ..telemetry import Telemetry
from .formats import Rules

Settings_ = JournalSource | KmsgSource


@dataclass(slots=True)
class _One:
    """`made_of`: equal means that a reload need not touch it."""

    made_of: Any
    reader: JournalReader
    task: asyncio.Task[None] | None = None


class Journals:
    """All of them. Runs between `run` and its end; `start` says which there are."""

    def __init__(
        self, reader: Reader, buffer: Buffer, telemetry: Telemetry, limits: Limits, pace: Callable[[], Awaitable[None]]
    ) -> None:
        self._files, self._telemetry, self._limits = reader, telemetry, limits
        self._output = Output(
            lambda: buffer.positions, reader.submit_beside, reader.claim, lambda: buffer.full, buffer.wait_room, pace)
        self._all: dict[str, _One] = {}
        self._running = False
        reader.rewound.append(self._rewind)
        reader.reads_elsewhere = self.reads

    def start(self, config: Config, rules: Rules) -> None:
        """Those of the config that are not there yet."""
        for name, settings in config.sources.items():
            if isinstance(settings, Settings_) and name not in self._all:
                source = source_of(name, settings, config.node)
                wanted = rules.wanted(settings, source)
                self._all[name] = _One((settings, wanted), self._make(source, settings, wanted))
        if self._running:
            self._begin()

    def _make(self, source: Source, settings: Settings_, wanted: Any) -> JournalReader:
        backend, mine = _backend_of(settings)
        fields = settings.fields if isinstance(settings, JournalSource) else []
        inner = EntryDecoder(source, fields, settings.max_line)
        lost = GapReason.VACUUMED if isinstance(settings, JournalSource) else GapReason.OVERWRITTEN
        return JournalReader(
            source, mine(source.name), backend, inner, self._decoder(inner, wanted), self._output, self._telemetry,
            lost_reason=lost)

    def _decoder(self, inner: EntryDecoder, wanted: Any) -> Decoder:
        steps = steps_for(wanted, inner.source, self._limits) if wanted is not None else []
        if not steps:
            return inner
        if wanted.parse not in (None, "off"):
            from ..process.parse_beside import ParseBeside

            steps[0] = ParseBeside(steps[0])
        name, telemetry = inner.source.name, self._telemetry
        return Processing(
            inner, steps, None, lambda records: telemetry.count("shipper_unparsed_records_total", records, name))

    def _rewind(self) -> None:
        for one in self._all.values():
            one.reader.rewind()

    # ---------------------------------------------------------------- running

    def run(self) -> None:
        """From now on they read."""
        self._running = True
        self._begin()

    def _begin(self) -> None:
        for name, one in self._all.items():
            if one.task is None:
                one.task = asyncio.create_task(one.reader.run(), name=f"journal {name}")

    async def stop(self) -> None:
        """What was read is in the buffer when this returns."""
        self._running = False
        await self._end(list(self._all))

    async def _end(self, names: list[str]) -> None:
        for name in names:
            self._all[name].reader.stop()
        tasks = [task for name in names if (task := self._all[name].task) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in names:
            del self._all[name]

    async def apply(self, config: Config, rules: Rules) -> None:
        """J2."""
        gone = []
        for name, one in self._all.items():
            settings = config.sources.get(name)
            if not isinstance(settings, Settings_) or one.made_of != (settings, rules.wanted(settings, one.reader.source)):
                gone.append(name)
        await self._end(gone)
        self.start(config, rules)

    async def once(self) -> None:
        """To the end of what is there. Trouble is said, and costs that source alone (J3); False in `shipper run --once`'s sum."""
        for one in self._all.values():
            try:
                await one.reader.once(self._files.settle)
            except Trouble as trouble:
                self._telemetry.say("error", "once_unfinished", about=f"source {one.reader.source.name}", why=str(trouble))
                self.failed = True

    failed = False

    # ---------------------------------------------------------------- facts

    def facts(self) -> list[dict[str, Any]]:
        """One row per source, as the reader has one per file."""
        return [one.reader.row() for one in self._all.values()]

    def reads(self, lineage: str) -> bool:
        """Whether one of them is of this lineage: then it reads again what was damaged of it."""
        return any(one.reader.source.lineage == lineage for one in self._all.values())

    def keys(self) -> list[str]:
        """Of the streams that are being read."""
        return [key for one in self._all.values() if (key := one.reader.key)]


def source_of(name: str, settings: Settings_, node: str) -> Source:
    """The lineage is the place and the name: another directory is another journal."""
    if isinstance(settings, KmsgSource):
        return Source("kmsg", name, settings.path, f"kmsg:{name}:{settings.path}", node)
    path = f"journal:{settings.directory or 'host'}"
    return Source("journal", name, path, f"{path}:{name}", node)


def signature_of(settings: JournalSource) -> str:
    """What tells another filter from this one (W2): positions carry it."""
    return _backend_of(settings)[1]("").signature


def _backend_of(settings: Settings_) -> tuple[Backend, Callable[[str], Settings]]:
    if isinstance(settings, KmsgSource):
        return Kmsg(settings.path), lambda name: Settings(name, settings.start_at, "kmsg", True)
    wanted = Wanted(
        settings.directory or "", tuple(settings.units), tuple(settings.identifiers), settings.priority or "",
        settings.boot == "current", tuple(settings.fields))
    chosen = "\0".join([*sorted(wanted.units), "", *sorted(wanted.identifiers), "", wanted.priority, str(wanted.this_boot)])
    signature = blake2b(chosen.encode(), digest_size=8).hexdigest()
    return Journalctl(wanted, settings.max_line), lambda name: Settings(name, settings.start_at, signature, wanted.unfiltered)
