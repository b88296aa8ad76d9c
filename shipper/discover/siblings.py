"""Which entries of a directory are older parts of a live file, told by their names.

    kubelet    0.log.20060102-150405  .gz                    (X.tmp is half written: no sibling)
    docker     X.1  X.2  X.2.gz
    logrotate  app.log.1  app.log.2.gz  app.log-20261120  app.log-20261120.gz  app.log-20261120-1700000000.gz
    by date    app.log.2026-11-20  app.log.2026-11-20_09-04-05  app.log-1700000000
    date first app-20261120.log  app-2026-11-20T09-04-05.123.log.gz   (only where app.log is there as well)

Invariants:
  S1  a name has at most one live file; "0.log" never claims "0.log.foo", "10.log..." or "1.log"
  S2  X.gz does not count while X is there: it is half written, or X is about to go
  S3  oldest first, the live file last. This is the names' order: they carry local time, so an hour repeats each
      autumn, and a change of the scheme mixes numbers with dates. Who can read the first timestamps refines it
  S4  cost is linear in the number of names, however many live files a directory has
Plane: pure. Once per changed directory.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

OrderHint = tuple[int, ...]
LIVE_HINT: OrderHint = (2,)

_STAMP = (
    r"(?P<y>(?:19|20)[0-9]{2})(?P<sep>[-_.]?)(?P<mo>0[1-9]|1[0-2])(?P=sep)(?P<d>0[1-9]|[12][0-9]|3[01])"
    r"(?:[-_.T]?(?P<time>(?:[01][0-9]|2[0-3])(?:[-_.:]?[0-5][0-9](?:[-_.:]?[0-6][0-9])?)?))?"
    r"(?:[-.](?P<rest>[0-9]{1,11}))?"
)
_NUMBERED = re.compile(r"(?P<live>.+)\.(?P<n>[0-9]{1,5})", re.DOTALL)
_EPOCH = re.compile(r"(?P<live>.+)[-._](?P<s>1[0-9]{9})", re.DOTALL)
_DATED = re.compile(rf"(?P<live>.+?)[-._]{_STAMP}", re.DOTALL)
_DATE_FIRST = re.compile(rf"(?P<stem>.+?)[-._]{_STAMP}(?P<ext>\.[A-Za-z]\w{{0,9}})", re.DOTALL)
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z")


class Sibling(NamedTuple):
    """One file of a lineage. `compressed`: gzip. `rotated`: False for the live file alone. `order_hint`: see S3."""

    path: str
    name: str
    compressed: bool
    rotated: bool
    order_hint: OrderHint


class Rotated(NamedTuple):
    """What a rotated name says: the live file's name, its place in the order, and whether it is gzip."""

    live: str
    order_hint: OrderHint
    compressed: bool


def rotated_from(name: str, lives: Container[str]) -> Rotated | None:
    """The live file that `name` was rotated from, or None.

    `lives` are the names known to be live or present: of several readings the one whose live file is there wins, else
    the one with the shortest live name; "date first" is believed only with its live file there (S1).
    """
    body = name.removesuffix(".gz")
    compressed = body != name
    readings = list(_readings(body, lives))
    for live, hint in readings:
        if live in lives:
            return Rotated(live, hint, compressed)
    if not readings:
        return None
    live, hint = min(readings, key=lambda reading: len(reading[0]))
    return Rotated(live, hint, compressed)


def _readings(body: str, lives: Container[str]) -> Iterable[tuple[str, OrderHint]]:
    if not body[-1:].isdigit():
        dated = _DATE_FIRST.fullmatch(body)
        if dated and dated["stem"] + dated["ext"] in lives:
            yield dated["stem"] + dated["ext"], _date_hint(dated)
        return
    if dated := _DATED.fullmatch(body):
        yield dated["live"], _date_hint(dated)
    if epoch := _EPOCH.fullmatch(body):
        when = datetime.fromtimestamp(int(epoch["s"]), UTC)
        yield epoch["live"], (1, int(when.strftime("%Y%m%d")), int(when.strftime("%H%M%S")), 0)
    if numbered := _NUMBERED.fullmatch(body):
        yield numbered["live"], (0, -int(numbered["n"]))


def _date_hint(match: re.Match[str]) -> OrderHint:
    time = re.sub("[^0-9]", "", match["time"] or "")
    return 1, int(match["y"] + match["mo"] + match["d"]), int(time.ljust(6, "0")), int(match["rest"] or 0)


def is_compressed(name: str) -> bool:
    """True for a name that no writer appends to: a compressed file is never a live one."""
    return name.endswith(_COMPRESSED)


def group(directory: str, names: Collection[str], lives: Container[str] = ()) -> dict[str, list[Sibling]]:
    """All lineages that `names`, the entries of `directory`, can belong to: live name -> its files, oldest first.

    Every name is there as a live file of its own too, unless it is compressed or was rotated from one that is in
    `names` or `lives`. A live file that is not in `names` (renamed, not yet made again) has its rotated ones all the
    same.
    """
    present = frozenset(names)
    known = Either(present, lives)
    groups: dict[str, list[Sibling]] = {}
    for name in names:
        rotated = rotated_from(name, known)
        if rotated is not None and not (rotated.compressed and name.removesuffix(".gz") in present):  # S2
            sibling = Sibling(f"{directory}/{name}", name, rotated.compressed, True, rotated.order_hint)
            groups.setdefault(rotated.live, []).append(sibling)
        if not is_compressed(name) and (rotated is None or rotated.live not in known):
            groups.setdefault(name, []).append(Sibling(f"{directory}/{name}", name, False, False, LIVE_HINT))
    for files in groups.values():
        files.sort(key=lambda sibling: (sibling.order_hint, sibling.name))
    return groups


class Either:
    """`x in Either(a, b)`: in one of the two, without making their union."""

    def __init__(self, one: Container[str], other: Container[str]) -> None:
        self.one, self.other = one, other

    def __contains__(self, name: object) -> bool:
        return name in self.one or name in self.other
