"""Sinks over HTTP whose body is what each batch gives, one behind the other: delivery has each batch encoded while it is in
the processor's cache (sinks, `encode_one`).

A sink gives `part(batch)`, and `frame` where something stands around the parts; where single records can be over a limit,
`too_long(batch)` and `limit_words`.

Invariants (tests/sinks/test_assembled.py, test_http_contract.py):
  HA1  assembling what each batch gave makes the same request as encoding them together
  HA2  a record over its own limit is TooLarge by its index in the request, before the first byte is sent
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..encode.frame import Frame
from ..errors import TooLarge
from ..model import Batch
from ._http_body import Body
from ._http_sink import HttpSink

Part = tuple[list[bytes], int, list[int]]
"""Pieces, how many records, and which of them are over a limit of their own."""


class PartsSink(HttpSink):
    """HA1, HA2. `body_headers` must not look at the batches. limit_words: what `too_long` is about."""

    frame: ClassVar[Frame] = Frame()
    limit_words: str = ""

    def part(self, batch: Batch) -> list[bytes]:
        """What a batch gives, in pieces; [] for an empty one. Pure; hot: once per batch."""
        raise NotImplementedError

    def too_long(self, batch: Batch) -> list[int]:
        """Indexes of the batch's records that are over a limit of their own."""
        return []

    def pieces(self, batches: Sequence[Batch]) -> Sequence[bytes]:
        return self.frame.around(map(self.part, batches))

    def encode(self, batches: Sequence[Batch]) -> Body:
        return self.assemble([self.encode_one(batch) for batch in batches])

    def encode_one(self, batch: Batch) -> Part:
        return self.part(batch), len(batch), self.too_long(batch)

    def assemble(self, pieces: Sequence[Part]) -> Body:
        over: list[int] = []
        first = 0
        for _, records, long in pieces:
            over += [first + row for row in long]
            first += records
        if over:
            raise TooLarge(self.limit_words, indexes=tuple(over))
        return self.body(self.frame.around(part for part, _, _ in pieces), self.body_headers(()), first)
