"""Records that end without bytes of their own: closed by time, dropped, or of files that nobody will read again. Pure but for
the decoder's state and what it reads again.

Invariants:
  U1  what was open ends as a record, or as a count of what was dropped, never in silence (P1)
  U2  its section moves no offset: those bytes were read, and counted, when it began
"""
from __future__ import annotations

from collections.abc import Callable, Collection

from ..errors import GapReason
from ..model import Gap, Section, Source
from .cutter import Cutter, LineDecoder
from .lineage import Lineage
from .ports import Formats, KnownPositions, Settings

MakeDecoder = Callable[[Source, Settings], LineDecoder]

_NO_SETTINGS = Settings("", "raw", "beginning", 1 << 20, 1 << 20, 2.0, (), False)


def flush(lineage: Lineage, positions: KnownPositions, before_s: float, now_ns: int) -> list[Section]:
    """Records that have been open since before `before_s`, as sections without bytes of their own."""
    sections = []
    decoder = lineage.decoder
    for key, batch in decoder.flush(before_s=before_s, read_ns=now_ns, reread=lineage.reread):
        place = lineage.place_of(key, positions)
        if place is not None:
            ref, offset, guard, size = place
            sections.append(Section(
                ref, offset, offset, guard, batch, decoder.state(), decoder.take_drops(ref.key), size=size,
                last_ns=decoder.newest_ns(batch),
            ))
    return sections or _dropped(lineage, positions)


def _dropped(lineage: Lineage, positions: KnownPositions) -> list[Section]:
    """Where all that was closed was dropped: a section that says so, and that it is open no more."""
    keys = [file.ref.key for file in lineage.files if file.ref is not None]
    keys = keys or positions.keys_of(lineage.source.lineage)[-1:]
    place = lineage.place_of(keys[0], positions) if keys else None
    drops = lineage.decoder.take_drops(place[0].key) if place is not None else None
    if place is None or not drops:
        return []
    ref, offset, guard, size = place
    return [Section(ref, offset, offset, guard, None, lineage.decoder.state(), drops, size=size)]


def lost_sections(
    name: str, positions: KnownPositions, make_decoder: MakeDecoder, now_ns: int, elsewhere: Collection[str] = (),
) -> list[Section]:
    """A lineage of the positions whose directory is gone: what its files still held, as gaps, and what was open in it.
    `elsewhere`: keys of files that another lineage goes on with."""
    sections = []
    for key in positions.keys_of(name):
        known = positions.files[key]
        if known.closed or key in elsewhere:
            continue
        gap = Gap(known.offset, -1, GapReason.ROTATED_AWAY, max(0, known.size - known.offset), known.last_ns, 0)
        sections.append(Section(
            known.file, known.offset, known.offset, known.guard, None, (), gaps=(gap,), size=known.size, closed=True
        ))
    return sections + _lost_records(name, positions, make_decoder, now_ns)


def _lost_records(name: str, positions: KnownPositions, make_decoder: MakeDecoder, now_ns: int) -> list[Section]:
    """What was open in it, as records without content that say how much is lost: their bytes were read and counted."""
    known = positions.lineages[name]
    decoder = make_decoder(known.source, _NO_SETTINGS)   # enough for records without content
    decoder.restore(known.state, 0.0)
    sections = []
    cutter = Cutter(decoder, lambda piece: b"")
    cutter.read_ns = now_ns
    ended = decoder.flush(before_s=0.0, read_ns=now_ns, reread=cutter.reread)
    skipped = decoder.skipping
    if skipped is not None and (long_line := cutter.abandoned(skipped.key, readable=False)) is not None:
        ended.append((skipped.key, long_line))
    for key, batch in ended:
        place = positions.files.get(key)
        if place is not None:
            sections.append(Section(
                place.file, place.offset, place.offset, place.guard, batch, decoder.state(), size=place.size, closed=True
            ))
    return sections


def end_of(lineage: Lineage, formats: Formats, positions: KnownPositions, now_s: float, now_ns: int) -> list[Section]:
    """`run --once`: nobody waits for more. Unfinished lines are records, and their files stay open for the next run."""
    lineage.cutter.now_s, lineage.cutter.read_ns = now_s, now_ns
    sections = lineage.take_outbox()
    for file in lineage.files:
        if file.rest_bytes and file.handle is not None:
            ended = lineage.finish(file, formats)
            for section in ended:
                section.closed = False
            sections += ended
    return sections + flush(lineage, positions, now_s, now_ns)
