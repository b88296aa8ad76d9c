"""Whose turn it is: deficit round robin by namespace, then file. Pure. Once per read.

Invariants:
  R1  a namespace with unread bytes is served within one round, however many files another one has
  R2  over time each namespace with unread bytes gets an equal share of bytes
  R3  a queued entry is in exactly one queue, once
Source: Shreedhar and Varghese, "Efficient Fair Queueing Using Deficit Round Robin" (1995).
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Entry = TypeVar("Entry", bound=Hashable)
QUANTUM_BYTES = 256 * 1024


class Turns(Generic[Entry]):
    """`add` what is ready, `take` the next, `spent` what its read cost."""

    def __init__(self, quantum_bytes: int = QUANTUM_BYTES) -> None:
        self._quantum_bytes = quantum_bytes
        self._queues: OrderedDict[str, OrderedDict[Entry, None]] = OrderedDict()
        self._credit_bytes: dict[str, int] = {}
        self._current = ""
        self.queued: set[Entry] = set()                   # all of them (R3)

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __len__(self) -> int:
        return len(self.queued)

    def add(self, namespace: str, entry: Entry) -> None:
        """Queue `entry` at the end of its namespace; nothing where it is queued already (R3)."""
        if entry in self.queued:
            return
        self.queued.add(entry)
        queue = self._queues.get(namespace)
        if queue is None:
            queue = self._queues[namespace] = OrderedDict()
            credit = self._credit_bytes.get(namespace, 0)
            if namespace == self._current and credit > 0:
                self._queues.move_to_end(namespace, last=False)      # its round is not over
            elif credit >= 0:
                # Whoever was idle has saved nothing up; debt stays.
                self._credit_bytes[namespace] = self._quantum_bytes
        queue[entry] = None

    def take(self) -> tuple[str, Entry]:
        """The next entry, taken out of its queue. Call `spent` with what it read, then `add` it again if it has more."""
        while True:
            namespace, queue = next(iter(self._queues.items()))
            if self._credit_bytes[namespace] <= 0:
                self._credit_bytes[namespace] += self._quantum_bytes
                self._queues.move_to_end(namespace)
                continue
            self._current = namespace
            entry, _ = queue.popitem(last=False)
            self.queued.discard(entry)
            if not queue:
                del self._queues[namespace]
            return namespace, entry

    def spent(self, namespace: str, size_bytes: int) -> None:
        """A read of `namespace` cost so many bytes."""
        if namespace in self._credit_bytes:
            self._credit_bytes[namespace] -= size_bytes

    def discard(self, entry: Entry) -> None:
        """Take `entry` out, wherever it is queued."""
        if entry not in self.queued:
            return
        self.queued.discard(entry)
        for namespace, queue in list(self._queues.items()):
            if entry in queue:
                del queue[entry]
                if not queue:
                    del self._queues[namespace]
