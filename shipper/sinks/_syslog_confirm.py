"""What a plain TCP connection proves about delivery: the arithmetic. Pure; once per request, never per line.

    bytes on one connection    0 ────────── confirmed ─────────────── acked ──────── written
                                              │◄─ may lie unread in ─►│◄─ in our own ─►│
                                                the peer's kernel          kernel

Writing proves nothing, and neither does the peer's acknowledgement: the bytes may lie unread in its receive queue when it
dies. Two rules confirm all the same:
  window    confirmed = acked - 3 x the largest window that was seen on this connection, at least 1 MiB, and at least
            2 x the largest window that can have been between two looks: the peer's right edge never moves back, so that is
            the window now + what was acknowledged since the look before.
            (measured on Linux 6.18: unread bytes reached 0.95 of twice the largest window, 1.32 of the largest that can
            have been, and 25 times the largest seen: 300 receivers that read a little and stall. Without the second bound
            9 of 150 had up to 1.3 MB confirmed that nobody had read)
  barrier   we half-closed, and the peer's FIN came after its kernel had acknowledged ours: it read to the end

Invariants (tests/sinks/test_syslog_confirm.py):
  V1  a number is confirmed only when every request up to it is, on this connection and on those before it
  V2  by the window rule nothing is confirmed whose last byte is within `unread_bound` of what the peer acknowledged
  V3  confirmed numbers only rise; each is given at most once
  V4  memory: (number, position) pairs, at most one per PAIR_BYTES of unconfirmed bytes
  V5  idle time proves nothing, an unsolicited FIN proves nothing
  V6  the bound is at least twice every window that was advertised, however rarely somebody looks
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

MIN_UNREAD_BYTES = 1024 * 1024
WINDOWS = 3
REACHES = 2
UNKNOWN_WINDOW_BYTES = 6 * 1024 * 1024     # Linux' default tcp_rmem maximum; for kernels before 5.4, which do not tell
PAIR_BYTES = 4096


@dataclass(slots=True)
class Ledger:
    """What went over one connection, and how much of it is proven read.

    resend_window_bytes  None: the window rule as above; else the number of acknowledged bytes that may lie unread
    """

    resend_window_bytes: int | None = None
    largest_window_bytes: int = 0
    largest_reach_bytes: int = 0        # V6: window + acknowledged since the look before
    confirmed_bytes: int = 0
    _looked_at_bytes: int = 0
    _pairs: deque[tuple[int, int]] = field(default_factory=deque)

    def note(self, number: int, position_bytes: int) -> None:
        """Request `number` ends at this byte of the connection. Numbers and positions rise."""
        pairs = self._pairs
        if len(pairs) > 1 and position_bytes - pairs[-2][1] < PAIR_BYTES:
            pairs.pop()
        pairs.append((number, position_bytes))

    @property
    def unconfirmed(self) -> bool:
        """Is anything on this connection not proven?"""
        return bool(self._pairs)

    def unread_bound(self) -> int:
        """How many acknowledged bytes may lie unread at the peer."""
        if self.resend_window_bytes is not None:
            return self.resend_window_bytes
        return max(WINDOWS * self.largest_window_bytes, REACHES * self.largest_reach_bytes, MIN_UNREAD_BYTES)

    def observe(self, acked_bytes: int, window_bytes: int | None) -> None:
        """What the peer has acknowledged, and the window that it advertises now (None: the kernel does not tell)."""
        window = UNKNOWN_WINDOW_BYTES if window_bytes is None else window_bytes
        reach = window + acked_bytes - self._looked_at_bytes
        self._looked_at_bytes = acked_bytes
        self.largest_window_bytes = max(self.largest_window_bytes, window)
        self.largest_reach_bytes = max(self.largest_reach_bytes, reach)

    def on_ack(self, acked_bytes: int, window_bytes: int | None) -> int | None:
        """The highest request that the window rule newly confirms; None where there is none."""
        self.observe(acked_bytes, window_bytes)
        safe = acked_bytes - self.unread_bound()
        confirmed = None
        while self._pairs and self._pairs[0][1] <= safe:
            confirmed, self.confirmed_bytes = self._pairs.popleft()
        return confirmed

    def on_barrier(self) -> int | None:
        """The peer read to the end: all is confirmed. The last number, None where nothing was open."""
        last = self._pairs[-1][0] if self._pairs else None
        self._pairs.clear()
        return last

    def forget(self) -> None:
        """What is open is sent again under other numbers."""
        self._pairs.clear()


def barrier_proven(written_bytes: int, acked_raw: int | None, unsent_bytes: int | None) -> bool:
    """Did the peer's kernel acknowledge our FIN, and so all before it?

    acked_raw     tcpi_bytes_acked, which counts our SYN and our FIN as a byte each
    unsent_bytes  SIOCOUTQ, for kernels that do not tell the former: 0 once the FIN is acknowledged
    """
    if acked_raw is not None:
        return acked_raw - 2 >= written_bytes
    return unsent_bytes == 0


class Step(Enum):
    """What to do about barriers now."""

    NONE = "none"
    BEGIN = "begin"          # open the next connection, half-close this one
    GIVE_UP = "give_up"      # the peer never answered: send the rest again, leave it to the window rule


@dataclass(slots=True)
class BarrierPolicy:
    """When to ask for proof. A peer that did not answer is asked ten times more rarely each time (V5, no churn)."""

    idle_s: float
    interval_s: float
    answer_s: float
    unanswered: int = 0
    not_before_s: float = 0.0

    def when_open(self, now_s: float, *, unconfirmed: bool, last_send_s: float, since_s: float) -> Step:
        """For the connection in use, with no barrier under way. `since_s`: its first unproven byte's time."""
        if not unconfirmed or now_s < self.not_before_s:
            return Step.NONE
        if now_s - last_send_s >= self.idle_s or now_s - since_s >= self.interval_s:
            return Step.BEGIN
        return Step.NONE

    def when_closing(self, now_s: float, *, last_progress_s: float, all_acked: bool) -> Step:
        """For a half-closed connection. A slow peer gets more time while it takes bytes; one that takes none is left to
        TCP_USER_TIMEOUT."""
        if all_acked and now_s - last_progress_s >= self.answer_s:
            return Step.GIVE_UP
        return Step.NONE

    def answered(self) -> None:
        self.unanswered, self.not_before_s = 0, 0.0

    def not_answered(self, now_s: float) -> None:
        """10 intervals, then 100, at most a day."""
        self.unanswered += 1
        self.not_before_s = now_s + min(self.interval_s * 10**min(self.unanswered, 4), 86400.0)

    def postponed(self, now_s: float) -> None:
        """The next connection could not be opened: this one stays, and is asked again after an interval."""
        self.not_before_s = now_s + self.interval_s

    def lost(self) -> None:
        """The connection is gone, and the reason for a postponement with it; how often nobody answered is not."""
        if not self.unanswered:
            self.not_before_s = 0.0
