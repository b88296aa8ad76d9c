"""The right side of the agent: one delivery per sink, and what happens to them when the config changes. Driver.

Invariants (tests/agent/test_outlets.py):
  O1  a sink that ends by a bug of ours is said, counted and started again after RESTART_S; the others go on (P5)
  O2  a changed sink is drained, unless it is in trouble, and built anew on the same cursor; a removed one leaves its cursor to
      the buffer
  O3  all sinks of a new config are built before an old one is stopped: where one cannot be, nothing has changed
  O4  dead letters over their age go, whether their sink writes new ones or not; what fails of it is tried again the next hour
  O5  a sink that takes its time to stop keeps only those waiting that take its place: its own next one, one that inherits its
      cursor, one that writes to the same target
"""
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from ..buffer.driver import Buffer
from ..config.types import Config, SinkEntry
from ..deliver.dead_letters import DeadLetters, checked_name, letters_directory, stored_sinks
from ..deliver.driver import Delivery
from ..errors import Retryable, ShipperError
from ..sinks import SinkContext
from ..telemetry import Telemetry
from . import spools
from .buffer_view import BufferForDelivery, pace
from .dead_letter_desk import DeadLetterDesk
from .logging import describe

RESTART_S = 1.0
REBUILD_S = 30.0
CHANGE_DRAIN_S = 5.0
COUNT_S = 1.0
TIDY_S = 3600.0


class Outlets:
    """All deliveries, by sink name."""

    def __init__(self, buffer: Buffer, telemetry: Telemetry) -> None:
        self._buffer, self._telemetry = buffer, telemetry
        self._running: dict[str, tuple[SinkEntry, Delivery, asyncio.Task[None]]] = {}
        self._views: dict[str, BufferForDelivery] = {}
        self._config: Config | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._letters: dict[str, DeadLetters] = {}
        self.desk = DeadLetterDesk(self._delivery_of, self._letters_of, telemetry)

    def start(self, config: Config, only: str | None = None) -> None:
        """Build and run every sink of the config, or `only` one; the cursors of the others stay."""
        self._config = config
        self._buffer.retain(config.sinks)
        for entry in config.sinks.values():
            if only in (None, entry.name):
                self._start(entry, *self._build(entry, config))
        self._tidying = asyncio.create_task(self._tidy_for_ever(), name="tidy")

    def _delivery_of(self, name: str) -> Delivery | None:
        found = self._running.get(name)
        return found[1] if found is not None else None

    def _letters_of(self, name: str) -> DeadLetters:
        """One store per sink, whichever delivery it has, and also where it left the config: two would overwrite each other."""
        if name not in self._letters:
            assert self._config is not None
            directory = os.path.join(letters_directory(self._config.state_dir), checked_name(name))
            self._letters[name] = DeadLetters(directory, name, self._telemetry)
        return self._letters[name]

    async def _tidy_for_ever(self) -> None:
        while True:
            try:
                await self._tidy()
            except Exception as error:  # noqa: BLE001 - O4: the next time it may work
                self._telemetry.count("shipper_errors_total", 1, "tidy")
                self._telemetry.say("error", "not_tidied", **describe(error))
            await asyncio.sleep(TIDY_S)

    async def _tidy(self) -> None:
        """O4, of sinks that are gone too."""
        assert self._config is not None
        for name in stored_sinks(self._config.state_dir):
            try:
                await self._letters_of(name).tidy(time.time_ns())
            except (OSError, ShipperError) as error:
                self._telemetry.say("warning", "dead_letters_not_tidied", about=name, **describe(error))
        gone, stuck = spools.tidy(self._config.state_dir, {*self._config.sinks, *self._buffer.cursors()})
        for name in gone:
            self._telemetry.say("warning", "spool_removed", about=name, why="neither the sink nor its cursor is there")
        for name, cause in stuck:
            self._telemetry.say("warning", "spool_not_removed", about=name,
                                why=f"{cause.strerror or cause} ({cause.filename}); it counts against max_size until it goes")

    def _start(self, entry: SinkEntry, delivery: Delivery, view: BufferForDelivery) -> None:
        common = entry.common
        assert self._config is not None
        spools.inherit(self._config.state_dir, entry.name, common.previously)
        self._buffer.open_cursor(entry.name, start_at=common.start_at, previously=common.previously)
        self._views[entry.name] = view
        task = asyncio.create_task(self._supervise(entry, delivery), name=f"sink {entry.name}")
        self._running[entry.name] = entry, delivery, task

    def _build(self, entry: SinkEntry, config: Config) -> tuple[Delivery, BufferForDelivery]:
        """Touches nothing yet (SinkSpec.build). Raises Usage or Fatal where the sink cannot be had."""
        view = BufferForDelivery(self._buffer)
        # Any: mypy takes a dataclass field that holds a function for a method, which could not be assigned.
        context: Any = SinkContext(
            entry.name, config.node, config.state_dir, self._telemetry, buffer_bytes=config.buffer.max_size)
        sink = entry.spec.build(entry.config, context)
        delivery = Delivery(
            entry.name, entry.common, entry.spec, sink, view, context, self._telemetry,
            guarantee=_guarantee(entry.spec.guarantee(entry.config)), dead_letters=self._letters_of(entry.name),
        )
        return delivery, view

    async def _supervise(self, entry: SinkEntry, delivery: Delivery) -> None:
        while True:
            try:
                await delivery.run()
                return
            except Exception as error:  # noqa: BLE001 - O1: the others go on, and so does this one
                self._telemetry.count("shipper_errors_total", 1, "deliver")
                self._telemetry.say("error", "sink_ended", about=entry.name, **describe(error))
                await asyncio.sleep(RESTART_S)
                delivery = await self._rebuild(entry)

    async def _rebuild(self, entry: SinkEntry) -> Delivery:
        """O1. What cannot be built just now (a secret's file is gone) is tried again each REBUILD_S."""
        while True:
            assert self._config is not None
            try:
                delivery, view = self._build(entry, self._config)
            except Exception as error:  # noqa: BLE001 - O1
                self._telemetry.count("shipper_errors_total", 1, "deliver")
                why = str(error) if isinstance(error, ShipperError) else describe(error)["type"]
                self._telemetry.say("error", "sink_not_built", about=entry.name, why=why, again_in_s=REBUILD_S)
                await asyncio.sleep(REBUILD_S)
                continue
            self._views[entry.name] = view
            self._running[entry.name] = entry, delivery, self._running[entry.name][2]
            return delivery

    async def apply(self, config: Config) -> None:
        """O2, O3."""
        old = self._config
        assert old is not None
        gone = [n for n in self._running if n not in config.sinks]
        changed = [n for n, e in config.sinks.items() if n in self._running and not _same(e, old.sinks[n])]
        built = {
            name: self._build(entry, config) for name, entry in config.sinks.items()
            if name in changed or name not in self._running
        }
        self._config = config
        self._buffer.retain({*config.sinks, *gone})
        stopping = {
            name: asyncio.create_task(self._stop(name, CHANGE_DRAIN_S, while_well=True)) for name in [*gone, *changed]}

        async def begin(name: str) -> None:
            entry = config.sinks[name]
            waits_for = [stopping[each] for each in stopping if _takes_its_place(entry, old.sinks[each])]
            await asyncio.gather(*waits_for)
            self._start(entry, *built[name])

        await asyncio.gather(*stopping.values(), *(begin(name) for name in built))
        self._buffer.retain(config.sinks)

    async def _stop(self, name: str, deadline_s: float, *, while_well: bool = False) -> dict[str, Any]:
        """What it leaves in the buffer (Delivery.drain)."""
        _, delivery, task = self._running[name]
        held = await delivery.drain(deadline_s, while_well=while_well)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._running.pop(name, None)
        self._views.pop(name, None)
        return held

    async def pace(self) -> None:
        """See buffer_view.pace."""
        await pace(self._views.values())

    async def caught_up(self, seq: int, timeout_s: float | None) -> list[str]:
        """Wait until every sink has confirmed frame `seq`; what the ones say that have not."""
        waits = [delivery.caught_up(seq, timeout_s) for _, delivery, _ in self._running.values()]
        results = await asyncio.gather(*waits, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Retryable):
                raise result
        failed = zip(self._running, results)
        return [_named(name, str(result)) for name, result in failed if isinstance(result, BaseException)]

    async def drain(self, deadline_s: float) -> Mapping[str, Mapping[str, Any]]:
        """Shutdown: what stays in the buffer, per sink that has something left."""
        names = list(self._running)
        left = zip(names, await asyncio.gather(*(self._stop(name, deadline_s) for name in names)))
        await self.desk.close()
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
        return {
            name: {"bytes": held["source_bytes"], "records": await self._held_records(name, held)}
            for name, held in left if held.get("source_bytes")
        }

    async def _held_records(self, name: str, held: Mapping[str, Any]) -> int:
        """Counted by the frames' headers; where that takes too long, what delivery makes of the average."""
        try:
            cursor = self._buffer.cursor(name)
            async with asyncio.timeout(COUNT_S):
                return await self._buffer.count_records(cursor.seq, cursor.index, self._buffer.appended_seq)
        except (TimeoutError, OSError, KeyError):            # KeyError: it left the config, and its cursor is gone
            return int(held["records"])

    def status(self) -> dict[str, dict[str, Any]]:
        """Per sink, for /status."""
        found = {}
        for name, (entry, delivery, _) in self._running.items():
            facts = delivery.status()
            counters = facts["counters"]
            found[name] = {
                "type": entry.type, "state": facts["state"], "last_error": facts["last_error"], "next_try_s": facts["next_try_s"],
                "backlog_bytes": facts["backlog_bytes"], "oldest_s": facts["oldest_age_s"],
                "delivered_records": counters["delivered_records"], "delivered_bytes": counters["delivered_bytes"],
                "dead_records": sum(v[0] for v in counters["dead"].values()),
                "dead_by_reason": {reason: records for reason, (records, _) in counters["dead"].items()},
                "dropped_records": sum(v[0] for v in counters["dropped"].values()),
                "in_flight_requests": facts["in_flight_requests"], "unconfirmed_records": facts["unconfirmed_records"],
                "proof": facts["proof"], "guarantee": facts["guarantee"],
            }
        return found

    def counters(self) -> dict[str, dict[str, Any]]:
        """Per sink, for the audit."""
        return {name: delivery.status()["counters"] for name, (_, delivery, _) in self._running.items()}


def _named(name: str, why: str) -> str:
    return why if why.startswith(f"sink {name} ") else f"sink {name}: {why}"


def _same(one: SinkEntry, other: SinkEntry) -> bool:
    return (one.type, one.common, one.config) == (other.type, other.common, other.config)


def _takes_its_place(new: SinkEntry, old: SinkEntry) -> bool:
    """O5."""
    if old.name in (new.name, new.common.previously):
        return True
    return not set(new.spec.targets(new.config)).isdisjoint(old.spec.targets(old.config))


def _guarantee(found: Any) -> dict[str, str]:
    return {"delivered_means": found.delivered_means, "can_repeat": found.can_repeat, "can_lose": found.can_lose}
