"""Trying one request until it is taken: tenacity with our own clock, sleep and randomness.

    error                          pause before the next try
    Retryable                      uniform(0, min(60 s, 0.5 s x 2^n)); its Retry-After instead, where it names one
                                   (up to an hour); never past give_up_after: then comes the last try
    Fatal                          60 s: only a human mends it, and then nobody has to restart us
    anything unexpected            as Retryable, counted as an error of ours
    Rejected, TooLarge, Partial    none: they go to the caller at once

Invariants (tests/deliver/test_retry.py):
  B1  one AsyncRetrying per request, never shared between tasks
  B2  `persist` ends in exactly one of: success, the caller's own error class, GaveUp, Interrupted
  B3  a pause ends at once when `Naps.wake_all` is called; what was called off is not tried again
Driver: once per request; 13 us where the first try succeeds.
"""
from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from ..errors import Fatal, Partial, Rejected, Retryable, ShipperError, TooLarge
from .view import Clock

LONGEST_RETRY_AFTER_S = 3600.0
HURRIED_S = 0.5


class Interrupted(ShipperError):
    """The request was called off: shutdown, a rewind, or its records were dropped. It stays unconfirmed."""


class GaveUp(ShipperError):
    """`give_up_after` has passed; the message is the last error's."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to pause. Pure."""

    first_s: float = 0.5
    longest_s: float = 60.0
    failed_s: float = 60.0

    def delay_s(self, attempt: int, error: BaseException | None, uniform: Callable[[float, float], float]) -> float:
        """The pause after failed try number `attempt` (from 1)."""
        if isinstance(error, Fatal):
            return self.failed_s
        if isinstance(error, Retryable) and error.retry_after_s is not None:
            return min(max(error.retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
        return uniform(0.0, min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30)))


class Naps:
    """Pauses that can all be ended at once (B3)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: set[asyncio.Event] = set()
        self._parked: asyncio.Event | None = None
        self.hurry = False

    def __len__(self) -> int:
        """How many tasks are pausing."""
        return len(self._events)

    async def nap(self, delay_s: float) -> None:
        """Return after `delay_s` seconds, or at `wake_all`. At most HURRIED_S in a hurry (shutdown). Longer while parked."""
        event = asyncio.Event()
        timer = self._clock.call_later(min(delay_s, HURRIED_S) if self.hurry else delay_s, event.set)
        self._events.add(event)
        try:
            await event.wait()
            while self._parked is not None:
                await self._parked.wait()
        finally:
            timer.cancel()
            self._events.discard(event)

    def wake_all(self) -> None:
        self.park(False)
        for event in self._events:
            event.set()

    def park(self, wanted: bool) -> None:
        """While parked, whoever pauses goes on pausing: a moment comes in which all do. Whoever parks must not pause itself."""
        if wanted and self._parked is None:
            self._parked = asyncio.Event()
        elif not wanted and self._parked is not None:
            self._parked.set()
            self._parked = None


@dataclass(slots=True)
class Persistence:
    """What all requests of one sink share: only settings, no state of a request (B1)."""

    clock: Clock
    naps: Naps
    give_up_after_s: float | None = None
    backoff: Backoff = Backoff()
    uniform: Callable[[float, float], float] = random.uniform

    async def persist(
        self, attempt: Callable[[], Awaitable[None]], called_off: Callable[[], bool],
        pausing: Callable[[BaseException, float], None],
    ) -> None:
        """B2. `attempt` is called until it returns; `pausing(error, delay_s)` before each pause.

        The first try goes without tenacity: its AsyncRetrying refers to itself, and what it holds (a request's batches)
        would stay until the next garbage collection. Measured: 850 MB instead of 60 MB in catch-up.
        """
        started_s = self.clock.now_s()
        if called_off():
            raise Interrupted("called off")
        try:
            return await attempt()
        except (Rejected, TooLarge, Partial, Interrupted):
            raise
        except Exception as error:  # noqa: BLE001 - judged below, as every later one
            failed: list[BaseException] = [error]

        def gave_up(error: BaseException | None) -> bool:
            limit_s = self.give_up_after_s
            return limit_s is not None and not isinstance(error, Fatal) and self.clock.now_s() - started_s >= limit_s

        async def once() -> None:
            if failed:
                raise failed.pop()
            if called_off():
                raise Interrupted("called off")
            await attempt()

        retrying = AsyncRetrying(
            sleep=self.naps.nap,
            wait=lambda state: self._pause_s(state.attempt_number, _error(state), self.clock.now_s() - started_s),
            stop=lambda state: called_off() or gave_up(_error(state)),
            retry=retry_if_exception(_is_worth_another_try),
            before_sleep=lambda state: pausing(
                _with_what_was_asked(_error(state) or GaveUp("no outcome"), state.upcoming_sleep), state.upcoming_sleep),
            reraise=True,
        )
        try:
            await retrying(once)
        except (Rejected, TooLarge, Partial, Interrupted):
            raise
        except Exception as error:
            if called_off() or not gave_up(error):
                raise Interrupted(f"called off after: {error}") from error
            raise GaveUp(str(error)) from error

    def _pause_s(self, attempt: int, error: BaseException | None, tried_for_s: float) -> float:
        """What the error wants; the last try comes when give_up_after is over, not when the far side likes it."""
        delay_s = self.backoff.delay_s(attempt, error, self.uniform)
        if self.give_up_after_s is None or isinstance(error, Fatal):
            return delay_s
        return min(delay_s, max(0.0, self.give_up_after_s - tried_for_s))


def _with_what_was_asked(error: BaseException, pause_s: float) -> BaseException:
    """`error`; where its Retry-After is longer than the pause that is made, it says both."""
    asked_s = error.retry_after_s if isinstance(error, Retryable) else None
    if asked_s is None or asked_s <= pause_s + 0.5:
        return error
    why = "no pause is over an hour" if pause_s >= LONGEST_RETRY_AFTER_S else "give_up_after is over then"
    return Retryable(f"{error}; it asks for a pause of {asked_s:g} s, the pause is {pause_s:.0f} s: {why}")


def _error(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, (Rejected, TooLarge, Partial, Interrupted))


def describe(error: BaseException) -> str:
    """One line for status and log: our own errors speak for themselves (E1, E2); of others only the class is safe."""
    text: Any = str(error) if isinstance(error, (ShipperError, OSError)) else f"unexpected {type(error).__name__}"
    return " ".join(str(text).split())[:500]
