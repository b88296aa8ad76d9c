"""What stands around and between the parts of a body: an array's brackets and commas, say. Pure."""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Frame(NamedTuple):
    """head part between part ... tail"""

    head: bytes = b""
    between: bytes = b""
    tail: bytes = b""

    def around(self, parts: Iterable[list[bytes]]) -> list[bytes]:
        """The body in pieces; each part is what one batch gave, in pieces of its own. Parts without pieces are left out."""
        found = [self.head] if self.head else []
        first = True
        for part in parts:
            if part:
                if not first and self.between:
                    found.append(self.between)
                found += part
                first = False
        if self.tail:
            found.append(self.tail)
        return found
