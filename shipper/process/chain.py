"""The seam of the process stage: a decoder with steps behind it looks like a decoder to the reader.

    reader ──lines──► Processing.decode ──► decoder.decode ──batch──► Joiner ──► step ──► step ──► batch, drops

Invariants (tests/process/test_filter.py, test_limit.py):
  R1  columns stay equally long (M1); a step changes columns, never their order
  R2  what a step takes away is counted with its reason and its source bytes in the same section (P11)
  R3  without steps and joiner nothing of this is there: the reader has the bare decoder
Pure. Hot: once per batch and step.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..model import Batch, Open, Piece

if TYPE_CHECKING:
    from .multiline import Joiner

Reread = Callable[[Piece], bytes]


@dataclass(slots=True)
class Work:
    """One batch on its way through the steps. A step replaces `batch` or calls `select`.

    values  what `parse` found, per record, None where it found nothing; None where nothing parsed this batch
    drops   see model.Section.drops
    now_s   monotonic, of the read
    hold_until_s  set by a step that wants this file to wait
    unparsed  records that `parse` left as they were
    """

    batch: Batch
    now_s: float
    values: Sequence[dict[str, Any] | None] | None = None
    drops: dict[str, int] = field(default_factory=dict)
    hold_until_s: float = 0.0
    unparsed: int = 0

    def select(self, keep: Sequence[bool], reason: str) -> None:
        """Keep the records whose flag is true; the others are counted as dropped for `reason` (R2)."""
        count = len(self.batch)
        kept = sum(map(bool, keep))
        if kept == count:
            return
        dropped = [item for item, kept_one in zip(self.batch.ids, keep) if not kept_one]
        self._count(reason, len(dropped))
        self._count(reason + ":bytes", sum([int(item.partition(b",")[0].partition(b"+")[2], 16) for item in dropped]))
        for item in [item for item in dropped if b"," in item]:
            for key, length in elsewhere(item):
                self._count(f"{reason}:bytes@{key}", length)
        self.batch = self.batch.select(keep)
        if self.values is not None:
            self.values = list(compress(self.values, keep))

    def _count(self, reason: str, amount: int) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + amount


def elsewhere(item: bytes) -> list[tuple[str, int]]:
    """(file key, source bytes) that an id item names in other files (model M3)."""
    parts = [part.partition(b":") for part in item.split(b",")[1:]]
    return [(key.decode("ascii", "replace"), int(place.rpartition(b"+")[2], 16)) for key, _, place in parts]


class Step(Protocol):
    """Parse, redact, filter, limit: one per configured kind and source, made by process.build."""

    def __call__(self, work: Work) -> None: ...


@runtime_checkable
class Teller(Protocol):
    """A step that says in a record of its own, of zero source bytes, what it did since it last said so."""

    def overdue_since_s(self) -> float | None: ...
    def overdue(self, before_s: float, read_ns: int) -> tuple[str, Batch] | None: ...


@runtime_checkable
class Rememberer(Protocol):
    """A step for which what a record is depends on those before it in its stream. What it remembers is in the frames, as an open
    record without bytes of its own."""

    kind: str
    look_back_bytes: int

    def remembered(self) -> list[bytes]: ...              # streams
    def remember(self, streams: Sequence[bytes]) -> None: ...


class InnerDecoder(Protocol):
    """decode.Decoder, as this stage sees it; the same as tail.cutter.LineDecoder."""

    max_line: int
    form: str
    skipping: Piece | None
    hold_until_s: float

    def decode(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> Batch | None: ...
    def oversized(
        self, key: str, start: int, total: int, head: bytes, *, read_ns: int, now_s: float, reread: Reread
    ) -> Batch | None: ...
    def unterminated(self, key: str, start: int, rest: bytes, *, read_ns: int, now_s: float, reread: Reread) -> Batch | None: ...
    def flush(self, *, before_s: float, read_ns: int, reread: Reread) -> list[tuple[str, Batch]]: ...
    def state(self) -> tuple[Open, ...]: ...
    def restore(self, state: tuple[Open, ...], now_s: float) -> None: ...
    def oldest_open_s(self) -> float | None: ...
    def newest_ns(self, batch: Batch) -> int: ...
    def take_drops(self) -> dict[str, int] | None: ...
    @property
    def look_back_bytes(self) -> int: ...


class Processing:
    """A decoder with steps and perhaps a joiner in front of them. `hold_until_s` and drops come from the steps, open lines
    from the joiner; all else is the inner decoder's."""

    def __init__(
        self, inner: InnerDecoder, steps: Sequence[Step], joiner: Joiner | None = None,
        on_unparsed: Callable[[int], None] | None = None,
    ) -> None:
        self._inner, self._steps, self._joiner, self._on_unparsed = inner, tuple(steps), joiner, on_unparsed
        self._tellers = [step for step in steps if isinstance(step, Teller)]
        self._rememberers = [step for step in steps if isinstance(step, Rememberer)]
        self._newest_ns = 0
        self._drops: dict[str, dict[str, int]] = {}       # by file key
        self._hold_until_s = 0.0

    def decode(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> Batch | None:
        batch = self._inner.decode(key, start, lines, read_ns=read_ns, now_s=now_s, reread=reread)
        return self._through(batch, now_s, reread)

    def oversized(
        self, key: str, start: int, total: int, head: bytes, *, read_ns: int, now_s: float, reread: Reread
    ) -> Batch | None:
        batch = self._inner.oversized(key, start, total, head, read_ns=read_ns, now_s=now_s, reread=reread)
        return self._through(batch, now_s, reread)

    def unterminated(self, key: str, start: int, rest: bytes, *, read_ns: int, now_s: float, reread: Reread) -> Batch | None:
        batch = self._inner.unterminated(key, start, rest, read_ns=read_ns, now_s=now_s, reread=reread)
        return self._through(batch, now_s, reread)

    def flush(self, *, before_s: float, read_ns: int, reread: Reread) -> list[tuple[str, Batch]]:
        flushed = [
            (key, self._through(batch, before_s, reread))
            for key, batch in self._inner.flush(before_s=before_s, read_ns=read_ns, reread=reread)
        ]
        if self._joiner is not None:
            joined = self._joiner.flush(before_s=before_s, read_ns=read_ns, form=self._inner.form, reread=reread)
            flushed += [(key, self._stepped(batch, before_s)) for key, batch in joined]
        flushed += [told for step in self._tellers if (told := step.overdue(before_s, read_ns)) is not None]
        return [(key, batch) for key, batch in flushed if batch is not None]

    def _through(self, batch: Batch | None, now_s: float, reread: Reread) -> Batch | None:
        if self._joiner is not None and batch is not None and len(batch):
            batch = self._joiner.join(batch, self._inner.form, now_s, reread)
        return self._stepped(batch, now_s)

    def _stepped(self, batch: Batch | None, now_s: float) -> Batch | None:
        if batch is None or not len(batch):
            return None
        self._newest_ns = self._inner.newest_ns(batch)   # what a program says of its time may be any time
        drops = self._drops.pop(batch.key, {})
        work = Work(batch, now_s, drops=drops)
        for step in self._steps:
            step(work)
            if not len(work.batch):
                break
        if drops:
            self._drops[batch.key] = drops
        self._hold_until_s = max(self._hold_until_s, work.hold_until_s)
        if work.unparsed and self._on_unparsed is not None:
            self._on_unparsed(work.unparsed)
        return work.batch if len(work.batch) else None

    def take_drops(self, key: str = "") -> dict[str, int] | None:
        """What was dropped since the last call, for a section of file `key` (model.Section.drops). "": there is one file only."""
        if not self._drops:
            return None
        taken, self._drops = self._drops, {}
        found: dict[str, int] = {}
        for own, drops in taken.items():
            for reason, amount in drops.items():
                what, _, place = reason.partition("@")
                place = place or (own if what.endswith(":bytes") else key)
                name = what if place == key or not key else f"{what}@{place}"
                found[name] = found.get(name, 0) + amount
        return found

    @property
    def hold_until_s(self) -> float:
        return max(self._hold_until_s, self._inner.hold_until_s)

    @hold_until_s.setter
    def hold_until_s(self, until_s: float) -> None:
        self._inner.hold_until_s = until_s

    @property
    def max_line(self) -> int:
        return self._inner.max_line

    @max_line.setter
    def max_line(self, limit_bytes: int) -> None:
        self._inner.max_line = limit_bytes

    @property
    def form(self) -> str:
        return self._inner.form

    @form.setter
    def form(self, form: str) -> None:
        self._inner.form = form

    @property
    def skipping(self) -> Piece | None:
        return self._inner.skipping

    @skipping.setter
    def skipping(self, piece: Piece | None) -> None:
        self._inner.skipping = piece

    @property
    def look_back_bytes(self) -> int:
        """How far in front of a range that is read again something may stand that says what a record in it is."""
        found = [self._inner.look_back_bytes, *[step.look_back_bytes for step in self._rememberers]]
        return max(found if self._joiner is None else [*found, self._joiner.look_back_bytes])

    def look_back(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> None:
        """As `decode`, for what is elsewhere already: only what remembers looks at it, nothing is dropped or counted."""
        batch = self._inner.decode(key, start, lines, read_ns=read_ns, now_s=now_s, reread=reread)
        if self._joiner is not None and batch is not None and len(batch):
            batch = self._joiner.join(batch, self._inner.form, now_s, reread)
        last = max([self._steps.index(step) for step in self._rememberers], default=-1)
        if batch is not None and len(batch):
            work = Work(batch, now_s)
            for step in self._steps[: last + 1]:
                step(work)

    def end_with_next(self) -> None:
        """With the next batch everything that is open in whole lines ends."""
        if self._joiner is not None:
            self._joiner.ending = True

    def state(self) -> tuple[Open, ...]:
        state = self._inner.state() if self._joiner is None else (*self._inner.state(), *self._joiner.state())
        for step in self._rememberers:
            state += tuple([Open(stream.decode(), step.kind, ()) for stream in step.remembered()])
        return state

    def restore(self, state: tuple[Open, ...], now_s: float) -> None:
        for step in self._rememberers:
            step.remember([item.stream.encode() for item in state if item.kind == step.kind])
        if self._joiner is not None:
            self._joiner.restore([item for item in state if item.kind == "lines"], now_s)
            state = tuple([item for item in state if item.kind != "lines"])
        self._inner.restore(state, now_s)

    def oldest_open_s(self) -> float | None:
        waits = [self._inner.oldest_open_s(), self._joiner.oldest_open_s() if self._joiner is not None else None]
        waits += [step.overdue_since_s() for step in self._tellers]
        return min([since_s for since_s in waits if since_s is not None], default=None)

    def newest_ns(self, batch: Batch) -> int:
        return self._newest_ns
