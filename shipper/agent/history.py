"""The last 15 minutes as rates and levels, so that a page opened now shows the past.

    sample() each EVERY_S:   counter 100 ─► 350 : rate 25/s      level: as it stands
                             ring of SAMPLES values per series, all at one common place

Invariants (tests/agent/test_page.py):
  Y1  bounded: SAMPLES single floats per series, MOST_SERIES series (180 KB), however many sources and sinks there are;
      what goes beyond has a present and no past
  Y2  what was not looked at (a stopped process, a late sample, a new or restarted counter) is a hole, never a spike
  Y3  a series that is not sampled any more (its sink left the config) is forgotten
Plane: pure; time is an argument. A sample of 20 series takes 15 us.
"""
from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

EVERY_S = 10.0
SAMPLES = 90
MOST_SERIES = 500
LEAST_S = 1.0
"""A rate over less than this says nothing."""
_HOLES = array("f", [math.nan]) * SAMPLES


class Series(NamedTuple):
    """Of what a series is. `kind`: read | records | lag of a source; delivered | delivered_records | dead | dropped | backlog
    of a sink; lost | buffer of the agent, without a name."""

    kind: str
    name: str = ""


class _Seen(NamedTuple):
    at_s: float
    counters: Mapping[Series, float]


@dataclass(slots=True)
class History:
    """Rings of one agent's run. `sample` and the readers are called in one task or between awaits."""

    _rings: dict[Series, array[float]] = field(default_factory=dict)
    _head: int = 0                       # where the newest sample stands
    _filled: int = 0
    _seen: list[_Seen] = field(default_factory=list)

    def sample(self, now_s: float, counters: Mapping[Series, float], levels: Mapping[Series, float]) -> None:
        """Take note. `counters` become rates per second since the sample before, `levels` stand as they are."""
        last = self._seen[-1] if self._seen else None
        passed_s = now_s - last.at_s if last else 0.0
        wanted = [*counters, *levels][:MOST_SERIES]
        self._rings = {series: self._rings.get(series) or _HOLES[:] for series in wanted}          # Y1, Y3
        self._step(max(1, round(passed_s / EVERY_S)))
        for series in wanted:
            value = levels[series] if series in levels else _rate(counters, last, series, passed_s)
            self._rings[series][self._head] = value
        self._seen = [*self._seen[-1:], _Seen(now_s, dict(counters))]

    def _step(self, places: int) -> None:
        """On by so many places; those in between are holes (Y2)."""
        for _ in range(min(places, SAMPLES)):
            self._head = (self._head + 1) % SAMPLES
            for ring in self._rings.values():
                ring[self._head] = math.nan
        self._filled = min(SAMPLES, self._filled + places)

    def rate(self, series: Series, now_s: float, counter: float) -> float | None:
        """Per second, now: since the sample before the last one, 10 to 20 s ago. None where that is not known."""
        before = self._seen[0] if self._seen else None
        if before is None or now_s < before.at_s + LEAST_S or counter < before.counters.get(series, 0.0):
            return None
        return (counter - before.counters.get(series, 0.0)) / (now_s - before.at_s)

    def points(self, series: Series) -> list[float | None]:
        """What was sampled, oldest first, EVERY_S apart; None is a hole. At most SAMPLES, [] where it is not kept."""
        ring = self._rings.get(series)
        if ring is None:
            return []
        start = (self._head + 1 - self._filled) % SAMPLES
        return [None if math.isnan(value) else value for value in (ring + ring)[start:start + self._filled]]

    def rose(self, series: Series) -> bool:
        """Did this counter rise within what is kept?"""
        return any(value and value > 0 for value in self.points(series))


def _rate(counters: Mapping[Series, float], last: _Seen | None, series: Series, passed_s: float) -> float:
    """A counter that is new since the last sample began at 0 then."""
    if last is None or passed_s <= 0 or passed_s > 2 * EVERY_S:
        return math.nan
    gone_up = counters[series] - last.counters.get(series, 0.0)
    return gone_up / passed_s if gone_up >= 0 else math.nan

