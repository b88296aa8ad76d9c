"""What a request carries: pieces, compressed at most once, sent again as the same bytes.

Invariants (tests/sinks/test_http_body.py, test_http_contract.py):
  HB1  `wire` gives the same object each time: what was compressed once is not compressed again
  HB2  equal pieces give equal wire bytes, also in another process (no time, no name in the gzip header)
  HB3  isal compresses on the loop, HERE_BYTES (4 ms) in a turn: on a thread it waits for the interpreter's lock between any two
       calls, and the loop for it. Measured in catch-up, two series of 6 pairs: 0.88 and 1.0 of the CPU, 1.13 and 1.06 times
       the lines a second, 4 MB less. What is slower is compressed on a thread from THREAD_FROM_BYTES on; below, the hop
       (50 us) costs more than it spares
  HB4  with `once`, pieces are let go one by one as they are written or compressed; from the first one on the body is `spent`,
       until it is compressed: what comes of that is small, and kept
Driver: once per request.
"""
from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..errors import Fatal
from ._http_config import ZSTD_MEND

THREAD_FROM_BYTES = 32 * 1024
HERE_BYTES = 4 * 1024 * 1024
_ZSTD_LEVEL = 1
JOINED_BYTES = 400 * 1024


class Once(list[Any]):
    """Pieces that are taken out as they are used: nobody needs them behind that. `begun`: the first one is out."""

    begun = False

    def let_go(self, low: int, high: int) -> None:
        self.begun = True
        self[low:high] = [b""] * (high - low)


@dataclass(slots=True)
class Body:
    """`size_bytes`: before compression, which is what receivers limit. `headers`: of this request alone. `once`: HB4."""

    pieces: Sequence[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int = -1
    once: bool = False
    _wire: Sequence[bytes] | None = None

    def __post_init__(self) -> None:
        if self.size_bytes < 0:
            self.size_bytes = sum(map(len, self.pieces))

    def __len__(self) -> int:
        """Bytes of the body: on the wire once they are known, else before compression."""
        return sum(map(len, self._wire)) if self._wire is not None else self.size_bytes

    @property
    def spent(self) -> bool:
        """HB4."""
        pieces = self.pieces if self._wire is None else self._wire
        return isinstance(pieces, Once) and pieces.begun

    async def wire(self, compression: str) -> Sequence[bytes]:
        """The bytes to send, in pieces (HB1). Fatal where the library for `compression` is not installed."""
        if self._wire is None:
            if self.once:
                self.pieces = Once(self.pieces)
            if compression == "none":
                self._wire = self.pieces
            elif self.size_bytes < THREAD_FROM_BYTES:
                self._wire = [compress(self.pieces, compression)]
            elif compression == "gzip" and _isal() is not None:
                self._wire = [await _compress_here(self.pieces, compression)]
            else:
                self._wire = [await asyncio.to_thread(compress, self.pieces, compression)]
            self.pieces = ()                # the compressed bytes are enough for every repeat
        return self._wire


def compress(pieces: Sequence[bytes], compression: str) -> bytes:
    """One gzip or zstd stream (HB2, HB4). gzip by isal where it is installed (ten times as fast), else zlib level 1."""
    made = compressor(compression)
    parts = [made.compress(joined) for joined in few_at_once(pieces)]
    parts.append(made.flush())
    return b"".join(parts)


async def _compress_here(pieces: Sequence[bytes], compression: str) -> bytes:
    """`compress`, letting others have their turn."""
    made, parts, since_bytes = compressor(compression), [], 0
    for joined in few_at_once(pieces):
        parts.append(made.compress(joined))
        since_bytes += len(joined)
        if since_bytes >= HERE_BYTES:
            since_bytes = 0
            await asyncio.sleep(0)
    parts.append(made.flush())
    return b"".join(parts)


def few_at_once(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """The bytes of the pieces, JOINED_BYTES at a time or a little more (HB4): on a thread each call waits for the interpreter's
    lock when it is done, and a few hundred KiB make few calls without being much memory."""
    low = held_bytes = 0
    for high, piece in enumerate(pieces, 1):
        held_bytes += len(piece)
        if held_bytes >= JOINED_BYTES or high == len(pieces):
            joined = b"".join(pieces[low:high])
            if isinstance(pieces, Once):
                pieces.let_go(low, high)
            yield joined
            low, held_bytes = high, 0


def compressor(compression: str) -> Any:
    """A new gzip or zstd stream, with `compress` and `flush`. Fatal where its library is not installed."""
    return _compressors[compression]()


def _gzip() -> Any:
    isal = _isal()
    return zlib.compressobj(1, zlib.DEFLATED, 31) if isal is None else isal.compressobj(1, wbits=31)


def _isal() -> Any:
    """isal's zlib; None where it is not installed."""
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return None


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name).ZstdCompressor(level=_ZSTD_LEVEL)
        except ImportError:
            continue
    raise Fatal(f"compression: {ZSTD_MEND}")


_compressors: dict[str, Callable[[], Any]] = {"gzip": _gzip, "zstd": _zstd}
