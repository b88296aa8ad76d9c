"""Who is looked at, and when. Pure but for the wake event: names and times in, names out.

    ready ──► busy: each tick ──► quiet after SWEEPS_BEFORE_WATCH empty looks: the kernel tells (or, unwatched, each poll)
      ▲                            │   └── by a line after SELDOM_S of silence: watched in front of its read, quiet behind it
      └── stirred: its next tick ──┘

Invariants:
  Q1  a lineage is in at most one of busy, quiet; `ready` puts it into busy from wherever it is; one that was held or is
      tried again is in busy from its time on (tests/tail/test_after_a_hold.py)
  Q2  a tick costs per busy lineage, a poll per lineage that asked for it; nothing costs per known lineage
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable

TICK_S = 0.05
TICK_PER_BUSY_S = 0.0006
LONGEST_TICK_S = 0.08
POLL_S = 1.0
SWEEPS_BEFORE_WATCH = 4
SELDOM_S = 0.5
LATE_WRITES_S = 30.0


class Attention:
    """By lineage name. `quiet`: quiet since, longest first. `waiting`: something of theirs ends by time. `seldom`: written to
    after a silence, and not read since."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.busy: dict[str, None] = {}
        self.quiet: dict[str, float] = {}
        self.waiting: dict[str, None] = {}
        self.seldom: dict[str, None] = {}
        self.look: dict[str, None] = {}
        self.deleted: dict[str, None] = {}
        self._unwatched: dict[str, None] = {}
        self._trailing: dict[str, float] = {}
        self._again: dict[str, tuple[float, bool]] = {}
        self._next_tick_s = self._next_poll_s = 0.0

    def ready(self, name: str) -> None:
        """Somebody wrote to it, or may have."""
        self.quiet.pop(name, None)
        self._unwatched.pop(name, None)
        self.busy[name] = None
        self.wake.set()

    def stirred(self, name: str, now: float) -> None:
        """Its watch fired: its turn comes with the next tick, which is at once where there was none lately. 300 files with a line
        now and then woke the reader for each; with 20 busy ones beside them that was half of all frames."""
        since_s = self.quiet.pop(name, None)
        if since_s is not None and now - since_s >= SELDOM_S:
            self.seldom[name] = None
        self._unwatched.pop(name, None)
        if not self.busy:                                # else the reader wakes for the others
            self.wake.set()
        self.busy[name] = None

    def look_at(self, name: str) -> None:
        """Its directory changed."""
        self.look[name] = None
        self.wake.set()

    def quieten(self, name: str, now: float, *, watched: bool) -> None:
        """Read to its end for some ticks; quiet since the first time that it is said."""
        self.busy.pop(name, None)
        self.quiet.setdefault(name, now)
        if not watched:
            self._unwatched[name] = None

    def trail(self, name: str, now: float) -> None:
        """A file of it was renamed and read to its end: no event tells of a late write, so look for a while."""
        self._trailing[name] = now + LATE_WRITES_S

    def again(self, name: str, now: float, *, look: bool) -> None:
        """Something could not be opened or read just now: another try in POLL_S."""
        self.busy.pop(name, None)
        self._again[name] = now + POLL_S, look or self._again.get(name, (0.0, False))[1]

    def hold(self, name: str, until_s: float) -> None:
        """Its decoder wants no more before `until_s` (a rate limit, metadata): no ticks until then."""
        self.busy.pop(name, None)
        self._again[name] = until_s, self._again.get(name, (0.0, False))[1]
        self._next_poll_s = min(self._next_poll_s, until_s)

    def release(self, name: str) -> None:
        """What it was held for is there: no longer, and its look, where one was due, at once."""
        if self._again.pop(name, (0.0, False))[1]:
            self.look[name] = None

    def tried_again(self, name: str) -> bool:
        """It could not be opened or read, or is held, and waits for the next try."""
        return name in self._again

    def forget(self, name: str) -> None:
        for table in (
            self.busy, self.quiet, self.waiting, self.seldom, self.look, self.deleted, self._unwatched, self._trailing,
            self._again,
        ):
            table.pop(name, None)

    def tick(self, now: float) -> bool:
        """Is a tick due? Then the next one is set: the more are busy, the later. A look costs 100 us per busy file, so that
        50 files at 10,000 lines/s cost a third less at 80 ms than at 50, and a line still leaves within 100 ms."""
        if now < self._next_tick_s:
            return False
        self._next_tick_s = now + min(TICK_S + TICK_PER_BUSY_S * len(self.busy), LONGEST_TICK_S)
        return True

    def poll(self, now: float) -> Iterable[str] | None:
        """None where no poll is due; else who is read now because nobody tells of them."""
        if now < self._next_poll_s:
            return None
        self._next_poll_s = now + POLL_S
        for name, until_s in list(self._trailing.items()):
            self.look[name] = None
            if now > until_s:
                del self._trailing[name]
        due = [name for name, (at_s, _) in self._again.items() if now >= at_s]
        for name in due:
            if self._again.pop(name)[1]:
                self.look[name] = None
            if name not in self.quiet:                    # else one look that finds nothing would be the last one
                self.busy[name] = None
        return [*self._unwatched, *due]

    def sleep_s(self, now: float) -> float:
        """How long nothing is due."""
        if self.busy or self.waiting:
            return max(0.0, self._next_tick_s - now)
        return max(0.0, min(POLL_S, self._next_poll_s - now)) if self._again else POLL_S
