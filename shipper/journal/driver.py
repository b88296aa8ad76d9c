"""One journal source: from where it stands, through a stream of entries, to sections in the buffer. Driver; one task.

    begin ──► position in the frames? ──yes──► is its entry still there? ──no──► gap, a new key
      ▲            │ no: start_at                     │ yes
      │            ▼                                  ▼
      └──── stream of what is there, then of what comes ──► drop what was read ──► decode ──► section (range, cursor)
            trouble, rewind                                                                   ──► submit, await

Invariants (tests/journal/test_driver.py):
  W1  the position of a journal is the cursor in its newest frame, and nothing else (P2): an entry is in the buffer exactly once,
      wherever the agent is killed (standing.py says what follows of it)
  W2  the range of a section counts messages (records.py); with the same key the count only goes on, and only where the same
      entries follow: another filter, or entries that are gone, begin a new key, so that an id never means two contents
  W3  what is gone unread is a gap `vacuumed`, with the times around it and the number of entries where they are numbered
  W4  one frame is in flight; a full buffer stops reading, and then the journal waits
  W5  a stream that fails is begun again after 1 s, then up to 30 s, and shown as degraded meanwhile
  W6  what a step remembers (a private key that is being printed) is in the frames and goes back with them
  W7  what was lost with a damaged frame is read again from the journal (again.py), by this task: nothing is in flight then
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import BufferLost, GapReason
from ..model import Section, Source
from ..telemetry import Telemetry
from .again import Again
from .export import Entry
from .ports import Backend, Decoder, Known, Output, Settings, Stream, Trouble
from .records import EntryDecoder, entry_bytes
from .standing import Standing

FIRST_BACK_OFF_S, MOST_BACK_OFF_S = 1.0, 30.0
EMPTY_WAIT_S = 2.0
TICK_S = 0.05
FULL_READ_BYTES = 64 * 1024
TELL_AFTER_S = 2.0
ONCE_TRIES = 5
LAST_SWEEP_S = 1.0
STOPS_WITHIN_S = 0.2


class JournalReader:
    """Reads one source until `stop`. `backend` says where from, `decoder` what becomes of its entries; `inner` is that decoder
    without its steps."""

    def __init__(
        self, source: Source, settings: Settings, backend: Backend, inner: EntryDecoder, decoder: Decoder, output: Output,
        telemetry: Telemetry, *, now_s: Callable[[], float] = time.monotonic, now_ns: Callable[[], int] = time.time_ns,
        lost_reason: GapReason = GapReason.VACUUMED,
    ) -> None:
        self.source, self.settings = source, settings
        self._backend, self._inner, self._decoder, self._output = backend, inner, decoder, output
        self._telemetry, self._now_s, self._now_ns = telemetry, now_s, now_ns
        self._stands = Standing(source, settings, backend.place_of, output.claim, lost_reason)
        self._stop = asyncio.Event()
        self._went_back = asyncio.Event()
        self._goes_back = False
        self._stream: Stream | None = None
        self.state = "waiting"
        self._again = Again(
            source.lineage, settings, backend, decoder, output, self._submit, self._room, now_ns, now_s)

    # ---------------------------------------------------------------- what the agent tells

    def stop(self) -> None:
        """No more; what was read is submitted."""
        self._stop.set()
        if self._stream is not None:
            self._stream.interrupt()

    def rewind(self) -> None:
        """The buffer went back: begin again from its positions."""
        self._goes_back = True
        self._went_back.set()
        if self._stream is not None:
            self._stream.interrupt()

    def row(self) -> dict[str, Any]:
        """As those of tail.facts: how much is unread a journal does not say."""
        source, stands = self.source, self._stands
        return {
            "path": source.path, "key": self.key, "source": source.name, "namespace": "", "pod": "", "container": "",
            "size": stands.offset, "position": stands.offset, "lag_bytes": 0, "last_record_ns": stands.last_ns,
            "state": self.state,
        }

    @property
    def key(self) -> str:
        """That is being read; "" where there is none yet."""
        return self._stands.ref.key if self._stands.ref is not None else ""

    # ---------------------------------------------------------------- life

    async def run(self) -> None:
        """Until `stop`."""
        back_off_s = FIRST_BACK_OFF_S
        while not self._stop.is_set():
            began_s = self._now_s()
            try:
                await self._once_through(follow=True)
            except BufferLost:
                await self._pause_until_back()
            except Exception as error:  # noqa: BLE001 - W5: a mistake of ours costs this source, said and counted, not the agent
                if await self._ends_anyway():
                    break
                self._say(error)
                back_off_s = FIRST_BACK_OFF_S if self._now_s() - began_s > MOST_BACK_OFF_S else back_off_s
                await self._pause(back_off_s)
                back_off_s = min(back_off_s * 2, MOST_BACK_OFF_S)
        self._telemetry.recovered(self._degraded, said=False)

    async def once(self, settle: Callable[[], Any]) -> None:
        """To the end of what is there. `settle`: has the buffer's failures told, where nobody else does. Trouble, after some
        tries."""
        for tries in range(ONCE_TRIES):
            try:
                await self._once_through(follow=False)
                return
            except BufferLost:
                await settle()
            except Trouble as trouble:
                self._say(trouble)
                if tries == ONCE_TRIES - 1:
                    raise
                await self._pause(min(FIRST_BACK_OFF_S, 0.2 * 2**tries))

    async def _ends_anyway(self) -> bool:
        """systemd ends all processes of a unit at once: a child that ends a moment before the stop is heard of is no trouble."""
        await self._pause(STOPS_WITHIN_S)
        return self._stop.is_set()

    @property
    def _degraded(self) -> str:
        return f"journal:{self.settings.name}"

    def _say(self, error: Exception) -> None:
        self.state = "failed"
        self._telemetry.count("shipper_errors_total", 1, "journal")
        why = str(error) if isinstance(error, Trouble) else f"unexpected {type(error).__name__}"
        self._telemetry.degraded(self._degraded, why)

    async def _pause(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _pause_until_back(self) -> None:
        """The reader of files finds out within a second, and calls `rewind`."""
        await self._first_of(self._stop.wait(), self._went_back.wait())

    @staticmethod
    async def _first_of(*events: Coroutine[Any, Any, Any]) -> None:
        tasks = [asyncio.ensure_future(event) for event in events]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ---------------------------------------------------------------- where it stands

    async def _once_through(self, *, follow: bool) -> None:
        """What is there, and then what comes: a stream that follows knows no boot but this one (journalctl)."""
        self._goes_back = False
        self._went_back.clear()
        await self._again.read()                          # W7
        if not await self._begin():
            await self._pause(EMPTY_WAIT_S if follow else 0.0)
            return
        await self._pass(follow=False)
        if follow and not (self._stop.is_set() or self._goes_back):
            await self._pass(follow=True)
        if self._goes_back and not follow:
            raise BufferLost("the positions went back; not all was read")

    async def _pass(self, *, follow: bool) -> None:
        """One stream, from the position to its end."""
        stream = self._stream = await self._backend.stream(self._stands.cursor, follow=follow)
        self.state = "reading"
        try:
            await self._read(stream, follow)
        finally:
            self._stream = None
            await stream.close()

    def _known(self) -> Known | None:
        positions = self._output.positions()
        keys = positions.keys_of(self.source.lineage)
        return positions.files.get(keys[-1]) if keys else None

    async def _begin(self) -> bool:
        """Take up the position of the frames (W1). False: nothing to be read is there (yet)."""
        known = self._known()
        lineage = self._output.positions().lineages.get(self.source.lineage)
        self._decoder.restore(lineage.state if lineage is not None else (), self._now_s())          # W6
        self._stands.take_up(known, self._decoder.state())
        if known is None:
            return self.settings.start_at != "end" or await self._pass_over()
        return known.closed or self._stands.last is None or await self._look_for_loss(known)

    async def _look_for_loss(self, known: Known) -> bool:
        """W3. False where nothing at all is there: whatever comes will tell."""
        first = await self._backend.first_at(known.cursor)
        if first is None:
            return False
        lost = self._stands.lost_before(first, known, self._decoder.state())
        if lost is not None:
            await self._submit([lost])
        return True

    async def _pass_over(self) -> bool:
        """start_at: end. What is there is passed over, durably, before anything is read."""
        newest = await self._backend.newest()
        if newest is not None:
            await self._submit([self._stands.pass_over(newest)])
        return True

    # ---------------------------------------------------------------- reading

    async def _read(self, stream: Stream, follow: bool) -> None:
        begins = self._stands.last is not None
        while not (self._goes_back or self._stop.is_set()):
            entries = await stream.read()
            if entries is None:
                if follow and not self._stop.is_set():
                    raise Trouble("the stream of entries ended by itself")
                return
            self._telemetry.recovered(self._degraded)
            if self._again.due():
                await self._again.read()
            if entries and begins:
                entries = self._stands.unread(entries)
                begins = not entries
            if entries:
                if not await self._take(entries):
                    return                                # they come again: what stands behind them must not be taken first
                small = sum(map(entry_bytes, entries)) < FULL_READ_BYTES
                await self._pause(TICK_S if follow and small else 0.0)
                await self._output.pace()
            await self._tell_overdue()
        if not (begins or self._goes_back):
            await self._sweep(stream)

    async def _sweep(self, stream: Stream) -> None:
        """At the stop: what is on its way, as far as there is room and time. The journal keeps the rest, if it is on a disk."""
        try:
            async with asyncio.timeout(LAST_SWEEP_S):
                while (entries := await stream.read(TICK_S)) and await self._take(entries):
                    pass
        except TimeoutError:
            return

    async def _take(self, entries: list[Entry]) -> bool:
        """One frame of what one read gave. False where it may not be now: then nothing behind them may either."""
        await self._room()
        if self._output.full():
            return False                                  # told to stop: the cursor stands in front of them
        while (wait_s := self._decoder.hold_until_s - self._now_s()) > 0 and not self._stop.is_set() and not self._goes_back:
            await self._pause(min(wait_s, 1.0))
        if self._goes_back or wait_s > 0:
            return False
        gaps = self._stands.holes(entries)
        batch = self._decoder.decode(
            self._stands.definition().key, self._stands.offset, entries, read_ns=self._now_ns(), now_s=self._now_s(),
            reread=_nothing)
        await self._submit(self._stands.advance(
            entries, batch, gaps, self._inner.end, self._decoder.state(), self._decoder.take_drops()))
        return True

    async def _room(self) -> bool:
        """Waits until there is room; False where it is to stop, or to begin anew."""
        while self._output.full() and not (self._stop.is_set() or self._goes_back):
            await self._first_of(self._output.room(), self._stop.wait(), self._went_back.wait())
        return not (self._stop.is_set() or self._goes_back)

    async def _tell_overdue(self) -> None:
        """Records that a step makes by itself: what a limit dropped."""
        since_s, ref, at, cursor = self._decoder.oldest_open_s(), self._stands.ref, self._stands.offset, self._stands.cursor
        if since_s is None or self._now_s() - since_s < TELL_AFTER_S or ref is None:
            return
        told = self._decoder.flush(before_s=self._now_s(), read_ns=self._now_ns(), reread=_nothing)
        sections = [
            Section(ref, at, at, "", batch, self._decoder.state(), self._decoder.take_drops(), cursor=cursor, size=at)
            for key, batch in told if key == ref.key
        ]
        if sections:
            await self._submit(sections)

    async def _submit(self, sections: list[Section]) -> None:
        """W4. BufferLost where the buffer went back."""
        if self._goes_back:
            raise BufferLost("the positions went back")
        try:
            await asyncio.shield(self._output.submit(sections))
        except OSError as error:
            raise BufferLost(str(error)) from None


def _nothing(piece: Any) -> bytes:
    return b""
