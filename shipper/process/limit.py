"""Rate limits: token buckets, shared by all files of a namespace, pod, ... Pure; time is an argument. Hot: once per batch.

    bucket  holds at most burst_s seconds' worth; a batch takes what it is; below zero is debt
    delay   the batch that went below zero passes, and its file waits until the debt is paid: never more than one read
    drop    records that find no tokens go, counted; once per TELL_EVERY_S, and when the file is quiet, one record says how many

Invariants (tests/process/test_limit.py):
  L1  the state belongs to the agent (Limits), not to a lineage: a reload or a rotation gives nobody a fresh burst
  L2  memory is bounded (limits.MOST_BUCKETS, MOST_TOLD)
  L3  every record passes or is counted (work.select), and what tells of it has zero source bytes (P11)
Cost: with one key per file a few operations per batch; by field one dict access per record.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from ..config.process_redact import ByField, Limit
from ..errors import DropReason
from ..model import Batch, Source
from .chain import Work
from .filter import values_of
from .limits import Limits

TELL_EVERY_S = 30.0
LONGEST_HOLD_S = 600.0
MOST_TOLD = 10


@dataclass(slots=True)
class Untold:
    """Records dropped since the last record that told of some."""

    since_s: float
    until_s: float
    key: str
    first: bytes
    last: bytes
    time: bytes
    stream: bytes
    counts: dict[bytes, int] = field(default_factory=dict)


class Limiter:
    """The step. One per lineage."""

    def __init__(self, limit: Limit, source: Source, limits: Limits, clean: Callable[[bytes], bytes] | None = None) -> None:
        self._limit, self._limits, self._clean = limit, limits, clean
        self._source = source
        self._name = limit.name or f"by {limit.by.field if isinstance(limit.by, ByField) else limit.by}"
        self._value = b"" if isinstance(limit.by, ByField) else value_of(source, limit.by)
        self._path = limit.by.field.split(".") if isinstance(limit.by, ByField) else None
        self._untold: Untold | None = None

    def __call__(self, work: Work) -> None:
        if self._limit.action == "delay":
            if self._limits.delays:
                self._delay(work)
            return
        batch = work.batch
        keep = self._kept(work)
        if not all(keep):
            self._note(batch, keep, work)
            work.select(keep, DropReason.RATE_LIMITED)
        if self._untold is not None and work.now_s - self._untold.since_s >= TELL_EVERY_S:
            work.batch = joined(work.batch, self._tell(batch.read_ns))
            if work.values is not None:
                work.values = [*work.values, None]

    # -------------------------------------------------------- delay

    def _delay(self, work: Work) -> None:
        limit, now_s = self._limit, work.now_s
        for value, records, size in self._amounts(work):
            bucket = self._limits.bucket(limit, self._name, value, now_s)
            bucket.records -= records
            bucket.size -= size
            wait_s = 0.0
            if limit.records_per_s is not None:
                wait_s = -bucket.records / limit.records_per_s
            if limit.bytes_per_s is not None:
                wait_s = max(wait_s, -bucket.size / limit.bytes_per_s)
            if wait_s > 0:
                work.hold_until_s = max(work.hold_until_s, bucket.since_s + min(wait_s, LONGEST_HOLD_S))

    def _amounts(self, work: Work) -> Iterable[tuple[bytes, int, int]]:
        messages = work.batch.messages
        if self._path is None:
            return [(self._value, len(messages), sum(map(len, messages)))]
        found: dict[bytes, tuple[int, int]] = {}
        for value, message in zip(self._values(work), messages):
            records, size = found.get(value, (0, 0))
            found[value] = records + 1, size + len(message)
        return [(value, records, size) for value, (records, size) in found.items()]

    # -------------------------------------------------------- drop

    def _kept(self, work: Work) -> Sequence[bool]:
        messages = work.batch.messages
        if self._path is not None:
            return [self._passes(value, len(message), work.now_s) for value, message in zip(self._values(work), messages)]
        limit = self._limit
        bucket = self._limits.bucket(limit, self._name, self._value, work.now_s)
        count = len(messages)
        passing = count
        if limit.records_per_s is not None:
            passing = min(passing, max(0, int(bucket.records)))
        if limit.bytes_per_s is not None:
            # The record that takes the last token passes whole: else one larger than the burst never would.
            before = accumulate(map(len, messages[:passing]), initial=0)
            passing = sum([size < bucket.size for size in list(before)[:passing]])
            bucket.size -= sum(map(len, messages[:passing]))
        bucket.records -= passing
        return [True] * passing + [False] * (count - passing)

    def _passes(self, value: bytes, size: int, now_s: float) -> bool:
        limit = self._limit
        bucket = self._limits.bucket(limit, self._name, value, now_s)
        if (limit.records_per_s is not None and bucket.records < 1) or (limit.bytes_per_s is not None and bucket.size <= 0):
            return False
        bucket.records -= 1
        bucket.size -= size
        return True

    def _values(self, work: Work) -> list[bytes]:
        assert self._path is not None
        return [at_path(values, self._path) for values in values_of(work)]

    # -------------------------------------------------------- telling

    def _note(self, batch: Batch, keep: Sequence[bool], work: Work) -> None:
        dropped = [index for index, kept in enumerate(keep) if not kept]
        first, last = dropped[0], dropped[-1]
        untold = self._untold
        if untold is None:
            untold = self._untold = Untold(work.now_s, work.now_s, batch.key, _start(batch.ids[first]), b"", b"", b"")
        untold.until_s = work.now_s
        untold.last = _start(batch.ids[last]) if batch.key == untold.key else batch.key.encode() + b":" + _start(batch.ids[last])
        untold.time, untold.stream = batch.times[last], batch.streams[last]
        values = self._values(work) if self._path is not None else None
        for index in dropped if values is not None else ():
            value = values[index] if values is not None else b""
            if value in untold.counts or len(untold.counts) < MOST_TOLD:
                untold.counts[value] = untold.counts.get(value, 0) + 1
            else:
                untold.counts[_OTHERS] = untold.counts.get(_OTHERS, 0) + 1
        if values is None:
            untold.counts[self._value] = untold.counts.get(self._value, 0) + len(dropped)

    def overdue_since_s(self) -> float | None:
        """When what has not been told yet began; None where all is told."""
        return None if self._untold is None else self._untold.since_s

    def overdue(self, before_s: float, read_ns: int) -> tuple[str, Batch] | None:
        """(file key, the record that tells of what was dropped since before `before_s`); None where nothing is due."""
        if self._untold is None or self._untold.until_s > before_s:
            return None
        return self._untold.key, self._tell(read_ns)

    def _tell(self, read_ns: int) -> Batch:
        untold = self._untold
        assert untold is not None
        self._untold = None
        total = sum(untold.counts.values())
        seconds = max(1, round(untold.until_s - untold.since_s))
        text = told(untold.counts, self._name, seconds)
        if self._clean is not None:
            text = self._clean(text)
        last = untold.last if b":" in untold.last else untold.key.encode() + b":" + untold.last
        item = untold.first + b"+0," + last + b"+0"
        return Batch(self._source, untold.key, [untold.time], [untold.stream], [item], [text], {0: {"rate_limited": total}},
                     read_ns, True)


_OTHERS = b"others"


def told(counts: dict[bytes, int], name: str, seconds: int) -> bytes:
    """`12,034 records of web-0 dropped by limit L in 30 s`."""
    parts = [f"{count:,} records of ".encode() + (value or b"(none)") for value, count in counts.items()]
    return b", ".join(parts) + f" dropped by limit {name!r} in {seconds} s".encode()


def _start(item: bytes) -> bytes:
    return item.partition(b"+")[0]


def value_of(source: Source, by: str) -> bytes:
    """The name that the budget belongs to. Host files have no pod: each is its own."""
    if source.kind != "containers" and by != "source":
        return source.path.encode("utf-8", "surrogateescape")
    parts = {
        "namespace": (source.namespace,), "pod": (source.namespace, source.pod),
        "container": (source.namespace, source.pod, source.container), "source": (source.name,),
    }[by]
    return "/".join(parts).encode("utf-8", "surrogateescape")


def at_path(values: Any, path: Sequence[str]) -> bytes:
    """The value at a dotted path as text, at most 256 bytes of it; b"" where there is none."""
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return b""
        values = values[name]
    return b"" if isinstance(values, (dict, list)) or values is None else str(values).encode("utf-8", "replace")[:256]


def joined(batch: Batch, told_one: Batch) -> Batch:
    """`batch` with the one record of `told_one` behind it. Columns that only one of them has are filled up."""
    count = len(batch)
    if not count:
        return told_one
    severities = None if batch.severities is None else [*batch.severities, b"WARNING"]
    fields = None if batch.fields is None else [*batch.fields, b""]
    marks = {**(batch.marks or {}), count: (told_one.marks or {})[0]}
    return replace(
        batch, times=[*batch.times, *told_one.times], streams=[*batch.streams, *told_one.streams],
        ids=[*batch.ids, *told_one.ids], messages=[*batch.messages, *told_one.messages], marks=marks, severities=severities,
        fields=fields,
    )
