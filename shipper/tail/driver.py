"""The reader: who is read next, how much, and when nobody is. Driver: one task; the loop, the clock, the files.

    event or tick ──► turns (fair) ──► read one lineage's front file ──► cut ──► sections ──► buffer.submit
                        ▲ more to read       │ at its end
                        └────────────────────┴─► busy: looked at each tick ──► quiet: one-shot watch ──► closed after 5 min

Invariants:
  V1  sections reach the buffer in the order of their reads; an offset advances only with its section
  V2  at everyday rates work is per tick, not per line: what woke within TICK_S is read, framed and appended together;
      a file that was quiet is read at once where no tick was within the last TICK_S
  V3  a full buffer stops reading, the log files wait; rotation is followed all the same, so that their descriptors are held
  V4  records are closed by time only when their lineage is read to its end
  V5  a descriptor of a file that was read to its end is kept until its last frame is synced: a failed sync reads it again
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..model import Section, Source
from ..telemetry import Telemetry
from .at_end import Ends
from .attention import TICK_S, Attention
from .closings import Closings
from .cutter import LineDecoder
from .damage import LostRanges
from .due import Due
from .elsewhere import Elsewhere
from .facts import Facts
from .front import Finished, Front
from .goal import Goal
from .going_back import GoingBack
from .handles import Handles
from .in_flight import FRAME_BYTES, InFlight, frames_of, weight_bytes
from .lineage import Lineage
from .looks import Looks
from .opening import Opener
from .ports import BufferPort, Directory, Formats, Settings
from .turns import Turns
from .unfinished import end_of, flush, lost_sections

LAST_SWEEP_S = 1.5
ONCE_TRIES = 40
ONCE_LOOKS = 4

_LEARNT = ("name", "labels", "annotations", "about_pod")
"""What of a source can come to be known later than its file, or with another config be another."""


async def _no_pace() -> None:
    await asyncio.sleep(0)


class Reader:
    """Reads every lineage that it was told of, for ever. `make_decoder(source, settings)` gives a fresh decoder."""

    def __init__(
        self, buffer: BufferPort, directory: Directory, formats: Formats, make_decoder: Callable[[Source, Settings], LineDecoder],
        telemetry: Telemetry, *, max_open_files: int, now_s: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns, pace: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._buffer, self._directory, self._formats, self._make_decoder = buffer, directory, formats, make_decoder
        self._telemetry, self._now_s, self._now_ns = telemetry, now_s, now_ns
        self._pace = pace or _no_pace
        self.lineages: dict[str, Lineage] = {}
        self._attention = Attention()
        self._handles = Handles(self.lineages, self._attention.quiet, max_open_files)
        self._opener = Opener(directory, self._handles, self._attention, telemetry)
        self._turns: Turns[str] = Turns()
        self.looks = Looks(self.lineages, buffer, formats, self._handles, self._opener, self._attention, self._turns, telemetry,
                            now_s=now_s, now_ns=now_ns)
        self.facts = Facts(self.lineages, self._attention)
        self._in_flight = InFlight(buffer, telemetry, self._rewind)
        self._elsewhere = Elsewhere(self.lineages, lambda: buffer.positions, lambda: self.complete)
        self._closings = Closings(buffer)
        self._going_back = GoingBack(
            buffer, self.lineages, self._handles, self._closings, telemetry, make_decoder, now_s=now_s, now_ns=now_ns,
            ready=self.looks.ready, submit_told=lambda sections: self._in_flight.submit(sections, told=True))
        self._lost_ranges = LostRanges(
            buffer, self.lineages, formats, make_decoder, now_s=now_s, now_ns=now_ns, submit=self._submit,
            elsewhere=lambda lineage: self.reads_elsewhere(lineage))
        self._ends = Ends(
            self._attention, directory, formats, telemetry, now_ns=now_ns, queue=self.looks.queue, flush=self._flush)
        self._due = Due(
            self.lineages, self._attention, self._handles, formats, telemetry, flush=self._flush, submit=self._submit,
            queue=self.looks.queue)
        self._front = Front(
            self._attention, self._opener, self._ends, formats, telemetry, make_decoder, self._without_files, now_s=now_s,
            now_ns=now_ns)
        self.between_turns = asyncio.Lock()               # who drops and adds lineages holds it: sections may be on their way
        self.blocked = False
        self.rounds = 0                                   # of `run`: at least one a second, whatever there is to read
        self.rewound: list[Callable[[], None]] = []       # sources beside the files: told when the buffer went back
        self.reads_elsewhere: Callable[[str], bool] = lambda lineage: False
        self.complete = False                             # every lineage that there is was told: what is not found is gone

    @property
    def read_bytes(self) -> int:
        """Source bytes read and given to the buffer since the start."""
        return self._in_flight.read_bytes

    # -------------------------------------------------------- what the agent tells

    def add(self, source: Source, settings: Settings, *, skip_old: bool = False, wait_until_s: float = 0.0) -> None:
        """A lineage exists. `skip_old`: its source is new and says start_at: end. `wait_until_s`: it is not read before then
        (0: at once); what stands in it waits in it."""
        name = source.lineage
        known = self.lineages.get(name)
        if known is not None:
            known.vanished = False
            self.tell(source, settings, wait_until_s=wait_until_s)
            self._attention.look_at(name)
            return
        lineage = Lineage(source, settings, self._make_decoder(source, settings), self._directory, self._in_flight.claim,
                          self._elsewhere)
        position = self._buffer.positions.lineages.get(name)
        if position is not None:
            lineage.decoder.restore(position.state, self._now_s())
            lineage.last_ns = position.last_ns
        lineage.wait_until_s = wait_until_s
        self.lineages[name] = lineage
        self.looks.at(name, lineage, skip_old=skip_old)

    def tell(self, source: Source, settings: Settings, *, wait_until_s: float = 0.0) -> None:
        """More, or other, is known of a lineage: labels, what its records need. In force from its next read on."""
        name = source.lineage
        lineage = self.lineages.get(name)
        if lineage is None:
            return
        now_known = lineage.next_source or lineage.source
        if any(getattr(source, each) != getattr(now_known, each) for each in _LEARNT):
            lineage.next_source = source
        if lineage.settings != settings or lineage.next_source is not None:
            lineage.settings, lineage.settings_due = settings, True
        if lineage.wait_until_s and not wait_until_s:
            self._attention.release(name)
            self.looks.ready(name, lineage)
        lineage.wait_until_s = wait_until_s

    def vanish(self, name: str) -> None:
        """Its directory is gone: read what is still open to its end, then forget it."""
        if name in self.lineages:
            self.lineages[name].vanished = True
            self._attention.look_at(name)

    def drop(self, name: str) -> None:
        """Its source left the config: nothing more is read from it. Its positions stay. Hold `between_turns`."""
        lineage = self.lineages.pop(name, None)
        if lineage is None:
            return
        self._directory.disarm(name)
        self._attention.forget(name)
        self._turns.discard(name)
        if not lineage.vanished:
            self._closings.forget(name)                   # its positions tell, should it ever be wanted again
        lineage.decoder.restore((), 0.0)                  # gives back what its open records hold of the budget
        for file in [*lineage.files, *lineage.done]:
            file.close()

    def changed(self, name: str) -> None:
        """Something was created, renamed or removed beside this lineage's files."""
        if name in self.lineages:
            self._attention.look_at(name)

    def written(self, name: str) -> None:
        """The one-shot watch of this lineage fired."""
        lineage = self.lineages.get(name)
        if lineage is not None:
            lineage.armed, lineage.eof_ticks = None, 0
            self._attention.stirred(name, self._now_s())

    def lost_lineage(self, name: str) -> None:
        """A lineage of the positions whose directory is gone: what it still held is reported, its files are closed."""
        elsewhere = {key for lineage in self.lineages.values() for key in lineage.file_keys()}    # under another name
        self._submit(lost_sections(name, self._buffer.positions, self._make_decoder, self._now_ns(), elsewhere))

    def wake(self) -> None:
        """Leave the wait (the stop event was set)."""
        self._attention.wake.set()

    def close(self) -> None:
        """Every descriptor."""
        self._handles.close_all()

    # -------------------------------------------------------- sources beside the files

    def submit_beside(self, sections: list[Section]) -> asyncio.Future[int]:
        """One frame of a source that is no file (the journal), on the one way into the buffer (V1). Its future fails where the
        buffer went back, and then `rewound` is called, as it is when another source's frame fails."""
        future = self._in_flight.submit(sections)
        future.add_done_callback(self._wake_if_failed)    # found in the next round
        return future

    def _wake_if_failed(self, future: asyncio.Future[int]) -> None:
        if future.cancelled() or future.exception() is not None:
            self.wake()

    def claim(self, key: str) -> bool:
        """See InFlight.claim."""
        return self._in_flight.claim(key)

    async def settle(self) -> None:
        """Nothing is in flight any more, and who has to go back was told. Not while `run` is running."""
        await self._in_flight.drained(all_of_it=True)

    # -------------------------------------------------------- the loop

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`, then sweep once more and wait for what is in flight."""
        while not stop.is_set():
            await self._round(stop)
        for name, lineage in self.lineages.items():
            if not lineage.at_rest():
                self._turns.add(lineage.source.namespace, name)
        end_s = self._now_s() + LAST_SWEEP_S
        while self._turns and self._now_s() < end_s and not self._buffer.full:
            await self._turn()
            await self._in_flight.drained()
        await self._in_flight.drained(all_of_it=True)

    async def _round(self, stop: asyncio.Event) -> None:
        now = self._now_s()
        self.rounds += 1
        self._attention.wake.clear()
        async with self.between_turns:
            self.prepare(now)
            await self._read_lost_ranges()
        await self._in_flight.drained()
        self._release()
        self.blocked = self._buffer.full
        if stop.is_set():
            return
        if self.blocked:
            await self._wait(self._buffer.wait_room(), self._attention.sleep_s(now))
        elif self._turns:
            await self._turn()
            await self._pace()
        else:
            await self._wait(None, self._attention.sleep_s(now))

    async def _wait(self, event: Awaitable[None] | None, limit_s: float) -> None:
        """Until somebody wakes us, `event` comes, or the time is up."""
        waits = {asyncio.ensure_future(self._attention.wake.wait())}
        if event is not None:
            waits.add(asyncio.ensure_future(event))  # type: ignore[arg-type]
        _, pending = await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()

    def prepare(self, now: float) -> bool:
        """What is due by time or by event is queued; is anything?"""
        self.looks.where_due()
        if self._attention.tick(now):
            queued = self._turns.queued                   # in catch-up nearly all of them are: 10 us less for each log
            for name in [name for name in self._attention.busy if name not in queued]:
                self.looks.queue(name)
            self._due.tick(now)
        return bool(self._turns)

    async def step(self) -> bool:
        """One round without waiting for anything outside; False where there was nothing to read. For tests."""
        ready = self.prepare(self._now_s())
        await self._read_lost_ranges()
        await self._in_flight.drained()
        self._release()
        if ready:
            await self._turn()
        return ready

    async def _read_lost_ranges(self) -> None:
        """Once a second, where there are any and every lineage is known."""
        if self._due.take_polled() and self.complete and self._buffer.positions.lost:
            await self._lost_ranges.read()

    def _release(self) -> None:
        self._handles.release(self._buffer.synced_seq)
        self._closings.release(self._buffer.synced_seq)

    async def once(self) -> list[str]:
        """Read every file to the size that it has now, then close what is open as `partial` (`run --once`). The paths of the
        logs that could not be opened or read to there; what is refused for good is counted, and not among them."""
        goal, tries, self._front.hurried = Goal(self.lineages), 0, True
        while tries < ONCE_TRIES:
            self.looks.where_due()
            short = goal.not_reached()
            unseen = [name for name, lineage in self.lineages.items() if lineage.look_due]
            if not short and not self._attention.look and (not unseen or tries >= ONCE_LOOKS):
                break
            before = self._progress()
            for name in unseen:                           # refused for now: descriptors may be free in a moment
                self._attention.look_at(name)
            for name in short:
                self.looks.queue(name)
            while self._turns:
                await self._buffer.wait_room()
                await self._in_flight.drained()
                await self._turn()
                await self._pace()
            if self._progress() == before:                # a file that cannot be opened just now, a gz that is replaced
                tries += 1
                await asyncio.sleep(TICK_S)
        short = goal.not_reached()
        unread = [x.source.path for name, x in self.lineages.items() if x.look_due or name in short]
        for lineage in self.lineages.values():
            self._submit(end_of(lineage, self._formats, self._buffer.positions, self._now_s(), self._now_ns()))
        await self._in_flight.drained(all_of_it=True)
        return unread

    def _progress(self) -> tuple[int, int]:
        return self.read_bytes, sum(len(x.files) for x in self.lineages.values())

    # -------------------------------------------------------- one turn

    async def _turn(self) -> None:
        async with self.between_turns:
            await self._take_turn()

    async def pass_over_old(self) -> None:
        """start_at: end: returns when what is to be passed over is in the buffer, as far as its files can be opened."""
        for name in [name for name, x in self.lineages.items() if any(f.passes_over for f in x.files)]:
            async with self.between_turns:
                lineage, finished = self.lineages.get(name), Finished()
                if lineage is not None:
                    sections, _ = await self._front.read(name, lineage, finished)
                    self._hand_over(sections, finished)
                    self.looks.queue(name)
        await self._in_flight.drained(all_of_it=True)

    async def _take_turn(self) -> None:
        """Read from who is next until a frame's worth is there or nobody is left."""
        sections: list[Section] = []
        size = 0
        finished: Finished = []
        while self._turns and size < FRAME_BYTES:
            namespace, name = self._turns.take()
            lineage = self.lineages.get(name)
            if lineage is None:
                continue
            found, more = await self._front.read(name, lineage, finished)
            weight = weight_bytes(found)
            size += weight
            self._turns.spent(namespace, max(weight, 1))
            sections += found
            if more:
                self._turns.add(namespace, name)
        self._hand_over(sections, finished)

    def _hand_over(self, sections: list[Section], finished: Finished) -> None:
        future = self._submit(sections)
        for lineage, file in finished:
            if future is not None:
                self._handles.retire(future, lineage, file)
            elif file not in lineage.done:                # it was empty: no frame names it
                file.close()

    def _submit(self, sections: list[Section]) -> asyncio.Future[int] | None:
        """As frames of FRAME_BYTES, so that delivery starts with the first; the last one's future."""
        future = None
        for part in frames_of(sections):
            future = self._in_flight.submit(part)
            self._closings.note(future, part)
        return future

    def _without_files(self, name: str, lineage: Lineage) -> list[Section]:
        self._attention.busy.pop(name, None)
        sections = lineage.take_outbox()
        if lineage.vanished:
            sections += self._flush(lineage, self._now_s())
            self.drop(name)
        return sections

    def _flush(self, lineage: Lineage, before_s: float) -> list[Section]:
        return flush(lineage, self._buffer.positions, before_s, self._now_ns())

    def _rewind(self) -> None:
        self._going_back.files()
        for go_back in list(self.rewound):
            go_back()
        self._going_back.tell_again()
