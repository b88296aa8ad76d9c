"""Include patterns against listings: the paths that match now.

Invariants:
  W1  only listings are asked, so a walk over directories that are listed already costs no system call
  W2  `**` never enters a symbolic link, so it ends; a plain wildcard does, as in a shell
  W3  at most MAX_DIRECTORIES are consulted; `Walk.cut` says that more were there (P7)
Driver by way of Listings.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shipper.discover.globs import RECURSIVE, Part, Pattern, component
from shipper.discover.listing import Listings

MAX_DIRECTORIES = 20_000
_ANY = component("*")


@dataclass(slots=True)
class Walk:
    """One expansion of patterns. `consulted`: every directory whose change can change the result."""

    listings: Listings
    consulted: set[str] = field(default_factory=set)
    cut: bool = False

    def paths(self, pattern: Pattern) -> Iterator[str]:
        """Regular files and symbolic links that match. A path may come twice where `**` stands twice."""
        return self._below(pattern.base.rstrip("/"), pattern.parts)

    def _below(self, directory: str, parts: tuple[Part, ...]) -> Iterator[str]:
        if len(self.consulted) >= MAX_DIRECTORIES:
            self.cut = True
            return
        self.consulted.add(directory or "/")
        listing = self.listings.get(directory or "/")
        if listing is None:
            return
        part, rest = parts[0], parts[1:]
        if part is RECURSIVE:
            yield from self._below(directory, rest or (_ANY,))
            for name, kind in listing.entries.items():
                if kind == "d" and not name.startswith("."):
                    yield from self._below(f"{directory}/{name}", parts)
            return
        wanted = "dl" if rest else "fl"
        for name, kind in listing.entries.items():
            if kind in wanted and part.fullmatch(name):
                if rest:
                    yield from self._below(f"{directory}/{name}", rest)
                else:
                    yield f"{directory}/{name}"
