"""The decode stage as the tail stage asks for it (tail.ports.Formats). The seam, no decisions. Plane: per file."""
from __future__ import annotations

from collections.abc import Callable

from .. import decode
from ..model import Source
from ..process.build import steps_for
from ..process.chain import Processing
from ..tail.cutter import LineDecoder
from ..tail.ports import Settings


class DecodeFormats:
    """See tail.ports.Formats."""

    def sniff(self, line: bytes) -> str:
        return decode.sniff(line)

    def first_ns(self, line: bytes, form: str) -> int:
        return decode.first_ns(line, form)


def decoder_for(budget: decode.Budget) -> Callable[[Source, Settings], LineDecoder]:
    """Makes the decoder of one lineage; all share one budget for open records."""

    def make(source: Source, settings: Settings) -> LineDecoder:
        form = "raw" if settings.form in ("auto", "plain") else settings.form
        decoder = decode.Decoder(source, form, max_line=settings.max_line, max_record=settings.max_record, budget=budget)
        steps = steps_for(settings.processing, source) if settings.processing is not None else []
        return Processing(decoder, steps) if steps else decoder

    return make
