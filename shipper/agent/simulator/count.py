"""The own count: which of the lines that the simulator wrote were delivered, by the numbers inside them.

It shares nothing with the agent: neither ids nor positions. A line counts for the log that its metadata names, so
wrong metadata is a lost line here and a stray one there.

Plane: pure.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from .messages import read_stamp


@dataclass(frozen=True, slots=True)
class Counted:
    """lost, repeated: lines by the simulator's ledger. damaged: a line whose content is not what was written. stray:
    a line of a log or with a number that the simulator never wrote."""

    written: int
    delivered: int
    lost: int
    repeated: int
    damaged: int
    stray: int
    lost_by_log: dict[str, int]

    @property
    def exact(self) -> bool:
        """Every line once, unchanged, under its name."""
        return not (self.lost or self.repeated or self.damaged or self.stray)


class Count:
    """Feed it delivered records, then ask `result`."""

    def __init__(self) -> None:
        self.delivered = 0
        self.damaged = 0
        self._times: dict[str, dict[int, int]] = {}

    def add_lines(self, lines: Iterable[bytes]) -> None:
        """Delivered NDJSON lines."""
        for line in lines:
            self.add_record(orjson.loads(line))

    def add_record(self, record: Mapping[str, Any]) -> None:
        """One delivered record as JSON gives it."""
        self.delivered += 1
        number = read_stamp(str(record.get("message", "")).encode("utf-8", "replace"))
        if number is None:
            self.damaged += 1
            return
        times = self._times.setdefault(label(record), {})
        times[number] = times.get(number, 0) + 1

    def result(self, ledger: Mapping[str, int]) -> Counted:
        """Held against the lines written, by label (`Node.ledger()`)."""
        lost = {}
        stray = repeated = 0
        for name, written in ledger.items():
            missing = written - sum(number < written for number in self._times.get(name, ()))
            if missing:
                lost[name] = missing
        for name, times in self._times.items():
            written = ledger.get(name, 0)
            stray += sum(count for number, count in times.items() if number >= written)
            repeated += sum(count - 1 for number, count in times.items() if number < written)
        return Counted(sum(ledger.values()), self.delivered, sum(lost.values()), repeated, self.damaged, stray, lost)


def label(record: Mapping[str, Any]) -> str:
    """The log that a record says it is of: `ns/pod/container`, or `host/NAME` by its `file`."""
    pod = record.get("kubernetes")
    if isinstance(pod, Mapping):
        return f"{pod.get('namespace_name')}/{pod.get('pod_name')}/{pod.get('container_name')}"
    return f"host/{str(record.get('file', '')).rsplit('/', 1)[-1]}"
