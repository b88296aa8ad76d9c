"""A body on its way: its pieces are written one by one, some of them read from a file only then. aiohttp is imported at the
first use.

Invariants (tests/sinks/test_http_client.py, test_http_body.py):
  HP1  pieces are never joined; one of `Once` is let go when it is written (_http_body.HB4), one that is `Later` costs memory only
       while its turn lasts
  HP2  a far side that takes nothing for `write_timeout_s` ends the request; one that takes slowly does not
Driver: per request; per WRITE_BYTES one look at the transport.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from ._http_body import Once

WRITE_BYTES = 128 * 1024


class Later:
    """A piece of a body, `length` bytes, that `read` gives when its turn comes, on a thread of `executor`: an upload costs no
    memory."""

    def __init__(self, length: int, read: Callable[[], bytes], executor: Executor | None) -> None:
        self._length, self._read, self._executor = length, read, executor

    def __len__(self) -> int:
        return self._length

    async def load(self) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read)


def as_payload(pieces: Sequence[bytes | Later], write_timeout_s: float) -> Any:
    """For aiohttp: never joined, and each part has `write_timeout_s` to be taken."""
    return _payload_class()(pieces, write_timeout_s)


_made: list[type] = []


def _payload_class() -> type:
    """Made at the first use, because its base is aiohttp's."""
    if _made:
        return _made[0]
    from aiohttp.payload import Payload

    class Pieces(Payload):
        _autoclose = True

        def __init__(self, pieces: Sequence[bytes | Later], write_timeout_s: float) -> None:
            super().__init__(pieces, content_type="application/octet-stream")
            self._size = sum(map(len, pieces))
            self._write_timeout_s = write_timeout_s

        def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
            return b"".join(self._value).decode(encoding, errors)

        async def write(self, writer: Any) -> None:
            try:
                for index, piece in enumerate(self._value):
                    if isinstance(self._value, Once):
                        self._value.let_go(index, index + 1)
                    view = memoryview(await piece.load() if isinstance(piece, Later) else piece)
                    for at in range(0, len(view), WRITE_BYTES):
                        await writer.write(view[at : at + WRITE_BYTES], drain=False)
                        if writer.transport is None or writer.transport.get_write_buffer_size():
                            async with asyncio.timeout(self._write_timeout_s):
                                await writer.drain()
            except TimeoutError as error:
                raise TimeoutError("nothing was taken") from error

        async def write_with_length(self, writer: Any, content_length: int | None) -> None:
            await self.write(writer)

    _made.append(Pieces)
    return Pieces
