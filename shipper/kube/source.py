"""What api.py and kubelet.py share: the facts for /status, back-off, and how troubles are told.

Invariants (tests/kube/test_api.py):
  F1  a trouble is counted each time, said once per 30 s, and `degraded{reason="metadata"}` from the third in a row on, or
      at once where only a human can mend it (401, 403, a CA or token that cannot be read)
  F2  pauses are exponential with full jitter, at most MOST_PAUSE_S: a thousand agents do not come back together
  F3  nothing raises out of `run` but a cancellation
Plane: driver.
"""
from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..telemetry import Telemetry
from .client import KubeError
from .objects import Wanted

FIRST_PAUSE_S = 0.5
MOST_PAUSE_S = 60.0
DEGRADED = "metadata"
NODE, NAMESPACE = "node", "namespace/"
"""Marks among changed uids: the labels of the node, of the namespace of this name."""
TROUBLES_TO_TELL = 3
FOR_A_HUMAN = ("401", "403", "ca", "token", "tls")


class PodSource(Protocol):
    """Fills a store for ever. `listed_from_s`: when the last whole list began (monotonic), 0.0 before the first one."""

    listed_from_s: float

    async def run(self) -> None: ...
    def ask(self) -> None:
        """Somebody waits for a pod that is not known: a whole list soon, if the last one is older."""
    def want(self, wanted: Wanted) -> None:
        """Other labels or annotations are asked for: a whole list soon, where that is something else."""
    def labels_of_node(self) -> dict[str, str]: ...
    def labels_of_namespace(self, name: str) -> dict[str, str]: ...
    def status(self) -> dict[str, Any]: ...
    async def close(self) -> None: ...


class Trouble:
    """Failures in a row, and what was said of them."""

    def __init__(self, telemetry: Telemetry, about: str) -> None:
        self._telemetry, self._about = telemetry, about
        self.in_a_row = 0
        self.last_error = ""
        self.last_error_s = 0.0

    def note(self, error: KubeError) -> None:
        """F1."""
        self.in_a_row += 1
        self.last_error, self.last_error_s = self._telemetry.scrub(str(error)), time.time()
        self._telemetry.count("shipper_metadata_errors_total", 1, error.reason)
        if self.in_a_row >= TROUBLES_TO_TELL or error.reason in FOR_A_HUMAN:
            self._telemetry.degraded(DEGRADED, f"{self.last_error}; records come without what is not known")
            self._telemetry.say("warning", "metadata_failed", about=self._about, why=self.last_error)

    def over(self) -> None:
        """An answer came."""
        self.in_a_row = 0
        self._telemetry.recovered(DEGRADED)

    def status(self) -> dict[str, Any]:
        return {"last_error": self.last_error or None, "last_error_s": round(self.last_error_s, 3) or None}


def pause_s(failures: int, first_s: float = FIRST_PAUSE_S, most_s: float = MOST_PAUSE_S,
            uniform: Callable[[float, float], float] = random.uniform) -> float:
    """F2. After so many failures in a row; at least a tenth of `first_s`, so that nothing spins."""
    return max(first_s / 10, uniform(0.0, min(most_s, first_s * 2 ** min(failures, 20))))


async def until_set(event: asyncio.Event, limit_s: float) -> bool:
    """Wait for `event` or the time; was it set?"""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
