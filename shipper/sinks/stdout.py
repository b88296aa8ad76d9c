"""Standard output: NDJSON into a pipe or file, readable lines on a terminal. For trying out a config, and for `docker logs`.

    09:04:05.123 default/web-0/web listening on :8080

Invariants:
  SO1  hostile logs send nothing to a terminal but text: in `pretty` every control character, and every one that turns the
       direction of writing, is shown as <U+XXXX>; newlines inside a message are indented
  SO2  a request is written whole and in order; a reader that does not read blocks neither the loop nor the end of the process
  SO3  a reader that is gone is Fatal
Driver: one hop to a thread per request.
"""
from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from typing import Any, Literal

import msgspec

from ..encode import record_json
from ..errors import Fatal, Retryable
from ..model import Batch, Request, Source
from . import Guarantee, SinkContext, SinkSpec

_CHUNK_BYTES = select.PIPE_BUF      # what a pipe that is reported writable takes without blocking
_LOOK_S = 0.1
_RED, _DIM, _RESET = b"\x1b[31m", b"\x1b[2m", b"\x1b[0m"
_COLOURS = [b"\x1b[%dm" % code for code in (32, 33, 34, 35, 36, 92, 93, 94, 95, 96)]       # no red: that is stderr
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class StdoutConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """auto: pretty on a terminal, else ndjson. Colours only on a terminal, and not where NO_COLOR is set.

    merge   parsed fields at the top of the JSON, not below `fields`
    """

    format: Literal["auto", "ndjson", "pretty"] = "auto"
    merge: bool = False


class StdoutSink:
    """`descriptor`, `environ`: for tests."""

    def __init__(
        self, config: StdoutConfig, context: SinkContext, descriptor: int | None = None, environ: Any = os.environ,
    ) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        terminal = os.isatty(self._descriptor)
        colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        pretty = config.format == "pretty" or (config.format == "auto" and terminal)
        self._encode: Callable[[Batch], bytes] = (
            partial(encode_pretty, colour=colour) if pretty else partial(record_json.encode, merge=config.merge))
        self._thread = ThreadPoolExecutor(1, f"sink-{context.name}")
        self._stopping = threading.Event()

    async def start(self, state: Any) -> None:
        return

    def encode(self, batches: Sequence[Batch]) -> bytes:
        return b"".join(map(self._encode, batches))

    async def send(self, request: Request, payload: bytes) -> None:
        """Written to the pipe, file or terminal. Retryable where that is full, Fatal where its reader is gone (SO3)."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, payload)
        except BrokenPipeError as error:
            raise Fatal("standard output was closed by its reader; start the agent with a reader, or remove this sink") from error
        except OSError as error:
            raise Retryable(f"cannot write to standard output: {error.strerror}; see to where it leads") from error

    async def flush(self, deadline_s: float) -> None:
        return                      # `send` returns when it is written

    def durable(self, number: int) -> None:
        return

    async def close(self) -> None:
        """Ends a write that waits for its reader (SO2); the request stays unconfirmed."""
        self._stopping.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _write(self, payload: bytes) -> None:
        rest = memoryview(payload)
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while rest:
            if self._stopping.is_set():
                raise OSError(errno.ECANCELED, "stopped while its reader does not read")
            if poll.poll(_LOOK_S * 1000):
                try:
                    rest = rest[os.write(self._descriptor, rest[:_CHUNK_BYTES]) :]
                except BlockingIOError:
                    continue        # somebody made it non-blocking, and it is full


# ------------------------------------------------------------ for people


def encode_pretty(batch: Batch, colour: bool) -> bytes:
    """A batch for a terminal (SO1). Cost: 1.5 us a line; nobody reads more than that."""
    name: bytes = batch.source.cached(("pretty", colour), lambda source: _name(source, colour))
    times = [_short(time, colour) for time in record_json.time_strings(batch)]
    marks = batch.marks or {}
    bodies = [_body(message, stream, colour) for message, stream in zip(batch.messages, batch.streams)]
    if batch.severities is not None:
        bodies = [severity.ljust(8) + b" " + body if severity else body for severity, body in zip(batch.severities, bodies)]
    if batch.fields is not None:
        shown = [_dim(b" " + visible(one.decode("utf-8", "replace")).encode(), colour) if one else b"" for one in batch.fields]
        bodies = [body + one for body, one in zip(bodies, shown)]
    for index, mark in marks.items():
        bodies[index] += _dim(f" ({', '.join(mark)})".encode(), colour)
    return b"".join([b"%b %b %b\n" % line for line in zip(times, repeat(name), bodies)])


def visible(text: str) -> str:
    """`text` with everything that a terminal would act upon made visible; newlines and tabs stay."""
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text) if not text.isprintable() else text


def _body(message: bytes, stream: bytes, colour: bool) -> bytes:
    text = visible(message.decode("utf-8", "replace")).replace("\n", "\n    ").encode()
    return _RED + text + _RESET if colour and stream == b"stderr" else text


def _name(source: Source, colour: bool) -> bytes:
    """namespace/pod/container, or the path; its colour is made of the pod, so that a pod keeps it."""
    parts = (source.namespace, source.pod, source.container) if source.kind == "containers" else (source.path,)
    text = "/".join(visible(part).replace("\n", "<U+000A>").replace("\t", "<U+0009>") for part in parts if part)
    name = text.encode("utf-8", "replace")
    if not colour:
        return name
    seed = f"{source.namespace}/{source.pod}" if source.pod else source.path
    return _COLOURS[zlib.crc32(seed.encode("utf-8", "replace")) % len(_COLOURS)] + name + _RESET


def _short(time: bytes, colour: bool) -> bytes:
    """09:04:05.123 of an RFC 3339 time; what is not one stays as it is, made visible."""
    if time[10:11] == b"T" and time[13:14] == b":" and len(time) >= 19:
        time = (time[11:19] + (time[19:23].rstrip(b"Z+-") if time[19:20] == b"." else b"")).ljust(12)
    return _dim(visible(time.decode("utf-8", "replace")).encode(), colour)


def _dim(text: bytes, colour: bool) -> bytes:
    return _DIM + text + _RESET if colour else text


def _guarantee(config: StdoutConfig) -> Guarantee:
    return Guarantee(
        delivered_means="written to the pipe, file or terminal",
        can_repeat="the last request, after a crash or a reader that went away: ndjson carries the ids",
        can_lose="what the reader of the pipe had not taken when it ended",
    )


SINK = SinkSpec(
    summary="Standard output: NDJSON, or readable lines on a terminal.",
    config=StdoutConfig,
    build=StdoutSink,
    guarantee=_guarantee,
    targets=lambda config: ["standard output"],
    concurrency=1,
)
