"""Cursors of the journal and of the kernel's ring: which entry is meant, what was read already, what is missing. Pure.

    s=<seqnum id>;i=<seqnum>;b=<boot id>;m=<monotonic us>;t=<realtime us>;x=<hash>      numbers in hex (sd_journal_get_cursor)

Invariants (tests/journal/test_places.py):
  C1  an entry is counted as missing only where one numbering goes on (same `s`) and has a hole: whatever else differs is no
      proof of a loss, and its count is unknown
  C2  in one numbering the number decides. journald copies the runtime journal to the disk under new ones: there an entry of the
      same boot that is not younger than the last one read was read
"""
from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """One entry. `numbering`: what `number` counts in."""

    numbering: str
    number: int
    boot: str
    monotonic_us: int
    mark: str


def place_of(cursor: str | bytes) -> Place:
    """ValueError where it is no cursor."""
    text = cursor.decode("ascii", "replace") if isinstance(cursor, bytes) else cursor
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    try:
        return Place(parts["s"], int(parts["i"], 16), parts["b"], int(parts["m"], 16), parts["x"])
    except KeyError as error:
        raise ValueError(f"no journal cursor (without {error}): {text[:200]!r}") from error


def is_read(entry: Place, last: Place) -> bool:
    """Was `entry` read, `last` being the last one (C2)? Ask only where a stream begins at `last`."""
    if entry.boot != last.boot:
        return False
    if entry.numbering == last.numbering:                 # of two CPUs' messages the later one may say an earlier time
        return entry.number <= last.number
    if entry.monotonic_us != last.monotonic_us:
        return entry.monotonic_us < last.monotonic_us
    return entry.mark == last.mark


def missing(last: Place, first: Place) -> int:
    """How many entries are gone between the last one read and the first one found behind it; -1 where nobody can know (C1)."""
    if first.numbering != last.numbering or first.number <= last.number:
        return -1
    return first.number - last.number - 1
