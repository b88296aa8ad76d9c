"""What a refusal means for the records of a request. Pure. Only on the way of errors.

    TooLarge | Rejected     without indexes, one record     that record is a candidate for the dead letters
                            without indexes, more           two halves, left first
                            with indexes                    those are candidates; the rest was taken, or goes once more
    Partial                                                 dead: candidates, each with its words; retry: once more, after a
                                                            pause; the rest was taken

    Refusals   counts what is refused in a row. Candidates become dead letters only with proof that the sink takes others:
               something accepted in the same request, or afterwards. 100 records in a row, or two whole requests, and it
               is the sink that is wrong, not the records: `over`.

Invariants (tests/deliver/test_split.py):
  V1  every record of the request is in exactly one of: dead, again, or accepted
  V2  order is kept in `again`
  V3  halving ends: each half is smaller
  V4  with nothing ever accepted, nothing is dead
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import DropReason, Partial, Rejected, Retryable, TooLarge
from ..model import Batch
from .account import Position

RECORDS_IN_A_ROW = 100
REQUESTS_IN_A_ROW = 2


class Candidate(NamedTuple):
    """Records that were refused (mostly one) and what the far side said."""

    batch: Batch
    reason: DropReason
    response: str


class Verdict(NamedTuple):
    """dead: candidates; again: what to send next, in order; accepted: some records of the request were taken.

    pause  not None: `again` is sent after the pause that this error asks for
    """

    dead: list[Candidate]
    again: list[list[Batch]]
    accepted: bool = False
    pause: Retryable | None = None


Refusal = TooLarge | Rejected | Partial


def judge(error: Refusal, batches: Sequence[Batch]) -> Verdict:
    """What to do with a request that was refused (V1). Indexes outside the request are ignored."""
    records = sum(map(len, batches))
    if isinstance(error, Partial):
        return _judge_partial(error, batches, records)
    indexes = sorted({index for index in error.indexes if 0 <= index < records})
    reason = DropReason.TOO_LARGE if isinstance(error, TooLarge) else DropReason.REJECTED
    if not indexes:
        if records <= 1:
            return Verdict([Candidate(batch, reason, str(error)) for batch in batches if len(batch)], [])
        middle = records // 2
        return Verdict([], [cut(batches, 0, middle), cut(batches, middle, records)])
    picked, rest = part(batches, indexes)
    dead = [Candidate(batch, reason, str(error)) for batch in picked]
    taken = bool(rest) and isinstance(error, Rejected) and error.rest_delivered
    return Verdict(dead, [] if taken or not rest else [rest], taken)


def _judge_partial(error: Partial, batches: Sequence[Batch], records: int) -> Verdict:
    indexes = sorted(index for index in error.dead if 0 <= index < records)
    retry = sorted({index for index in error.retry if 0 <= index < records}.difference(indexes))
    dead = [Candidate(b, DropReason.REJECTED, error.dead[i]) for i, b in zip(indexes, part(batches, indexes)[0])]
    again = chosen(batches, retry)
    pause = Retryable(str(error), retry_after_s=error.retry_after_s) if again else None
    return Verdict(dead, [again] if again else [], len(indexes) + len(retry) < records, pause)


def chosen(batches: Sequence[Batch], indexes: Sequence[int]) -> list[Batch]:
    """The records at `indexes` (rising), neighbours together. Cost: runs of neighbours x batches."""
    found: list[Batch] = []
    start = 0
    for at, index in enumerate(indexes):
        if at + 1 == len(indexes) or indexes[at + 1] != index + 1:
            found += cut(batches, indexes[start], index + 1)
            start = at + 1
    return found


def cut(batches: Sequence[Batch], low: int, high: int) -> list[Batch]:
    """Records [low, high), counted over all batches."""
    found, first = [], 0
    for batch in batches:
        last = first + len(batch)
        if first < high and last > low:
            found.append(batch.slice(max(low - first, 0), min(high, last) - first))
        first = last
    return found


def part(batches: Sequence[Batch], indexes: Sequence[int]) -> tuple[list[Batch], list[Batch]]:
    """The records at `indexes` (rising), each as a batch of its own, and all others in order. Cost: batches + indexes."""
    picked: list[Batch] = []
    others: list[Batch] = []
    first = at = 0
    for batch in batches:
        low = 0
        while at < len(indexes) and indexes[at] < first + len(batch):
            local = indexes[at] - first
            if local > low:
                others.append(batch.slice(low, local))
            picked.append(batch.slice(local, local + 1))
            low = local + 1
            at += 1
        if low < len(batch):
            others.append(batch.slice(low, len(batch)))
        first += len(batch)
    return picked, others


@dataclass(slots=True)
class Refusals:
    """What one sink refused since it last accepted something.

    lifted_until  a probe behind a row of refused records was accepted: up to there the row is no reason to stop
    """

    records: int = 0
    requests: int = 0
    ever_accepted: bool = False
    lifted_until: Position = field(default=Position(-1, 0))

    @property
    def over(self) -> bool:
        """The sink refuses everything: stop, and hold what would have been a dead letter."""
        return self.records >= RECORDS_IN_A_ROW or self.requests >= REQUESTS_IN_A_ROW

    def lifted(self, start: Position) -> bool:
        return start < self.lifted_until

    def refused(self, records: int) -> None:
        self.records += records

    def request_refused(self) -> None:
        """All records of a request were refused."""
        self.requests += 1

    def accepted(self) -> None:
        self.records = self.requests = 0
        self.ever_accepted = True

    def start_over(self) -> None:
        """The row is counted anew; nothing was accepted."""
        self.records = self.requests = 0


def samples(frames_batches: Sequence[tuple[Position, Batch]], most: int) -> list[tuple[Position, Batch]]:
    """Single records to ask a refusing sink with: the first, then the last ones of as many sources as possible."""
    if not frames_batches:
        return []
    position, batch = frames_batches[0]
    chosen = [(position, batch.slice(0, 1))]
    last_of: dict[int, tuple[Position, Batch]] = {id(batch.source): (position, batch) for position, batch in frames_batches}
    others = list(last_of.values())
    step = max(1, -(-len(others) // (most - 1)))
    for position, batch in others[::-step][: most - 1]:
        end = Position(position.seq, position.record + len(batch))
        chosen.append((end, batch.slice(len(batch) - 1, len(batch))))
    return chosen
