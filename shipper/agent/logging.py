"""The agent's own log lines, on stderr: JSON (orjson) or readable text (structlog).

    Telemetry.say ──► LogWriter() ──► queue (1,000 lines) ──► thread renders, os.write(2)

Invariants (tests/agent/test_logging.py):
  G1  a caller never waits: when nobody reads stderr the queue fills, further lines are counted and left out, and the
      number is said as `lines_left_out` on the next line that gets through (and through `on_left_out`)
  G2  lines are whole: one os.write loop per line, by one thread
  G3  an error that escaped a task is said with its type and place; its message only where it is one of ours, whose
      messages hold no content (E2). SHIPPER_DEBUG=1 adds the traceback
  G4  ending never hangs: `close` waits a bounded time for what is queued
Importing structlog costs 10 to 15 ms and 1 MB (0.2 s where rich is installed, which it imports): the thread does it, at its
first line, and only for text. A line of JSON is one orjson call with it or without it.
Plane: driver.
"""
from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ShipperError
from ..telemetry import Telemetry
from .text import json_default, printable

QUEUE_LINES = 1_000
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Line(NamedTuple):
    time_s: float
    level: str
    event: str
    fields: dict[str, Any]


class LogWriter:
    """Called as `write(level, event, fields)`, from any thread; see G1 to G4."""

    def __init__(self, level: str, format: str, *, fd: int = 2, on_left_out: Callable[[int], None] = lambda lines: None) -> None:
        self.level = level
        self.left_out_lines = 0
        self._format = format
        self._fd = fd
        self._on_left_out = on_left_out
        self._lines: deque[Line] = deque()
        self._unsaid_lines = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def __call__(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS.get(level, 40) < LEVELS[self.level]:
            return
        with self._wake:
            if len(self._lines) >= QUEUE_LINES:
                self.left_out_lines += 1
                self._unsaid_lines += 1
                self._on_left_out(1)
                return
            if self._unsaid_lines:
                fields = {**fields, "lines_left_out": self._unsaid_lines}
                self._unsaid_lines = 0
            self._lines.append(Line(time.time(), level, event, fields))
            self._wake.notify()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, for up to `timeout_s` seconds, and end the thread (G4)."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        render: Callable[[Line], bytes] | None = None
        while True:
            with self._wake:
                while not self._lines and not self._closing:
                    self._wake.wait()
                if not self._lines:
                    return
                line = self._lines[0]           # taken out once it is written, so that the queue's bound holds
            try:
                render = render or renderer(self._format)
                text = render(line)
            except Exception as error:  # noqa: BLE001 - no file descriptor left to import with: the thread must live on
                text = f'{{"level":"{line.level}","event":"{line.event}","not_rendered":"{type(error).__name__}"}}\n'.encode()
            if not _write_all(self._fd, text):
                return
            with self._wake:
                self._lines.popleft()


def writer(level: str, format: str, **settings: Any) -> LogWriter:
    """What Telemetry.write takes. `level`: debug | info | warning | error; `format`: json | text."""
    return LogWriter(level, format, **settings)


def renderer(format: str) -> Callable[[Line], bytes]:
    """A line as bytes with its newline. JSON has the keys time, level, event, then the fields as they were given."""
    import orjson

    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS

    def json_bytes(value: Any) -> bytes:
        try:
            return orjson.dumps(value, default=json_default, option=options)
        except TypeError:                       # a path that is not UTF-8, an integer over 64 bits
            return orjson.dumps({name: _plain(entry) for name, entry in value.items()}, option=options)

    def json(line: Line) -> bytes:
        return json_bytes({"time": _rfc3339(line.time_s), "level": line.level, "event": line.event, **line.fields})

    if format == "json":
        return json
    import structlog

    text = structlog.processors.LogfmtRenderer(bool_as_flag=False)

    def render(line: Line) -> bytes:
        stamp = _rfc3339(line.time_s)
        flat = {name: _plain(value) for name, value in line.fields.items()}
        tail = f" {text(None, line.level, flat)}" if flat else ""
        return f"{stamp} {line.level:<7} {line.event}{tail}\n".encode()

    return render


def route_library_logs(telemetry: Telemetry) -> None:
    """Warnings of libraries (aiohttp, asyncio) become lines of ours, by name and place, without their text (G3)."""
    root = logging.getLogger()
    root.handlers = [_Handler(telemetry)]
    root.setLevel(logging.WARNING)


def loop_exception_handler(telemetry: Telemetry) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """For loop.set_exception_handler: what no task awaited is said and counted, never printed raw (G3)."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        telemetry.count("shipper_errors_total", 1, "loop")
        about = str(context.get("message", "")).split("(")[0][:80]      # "Exception in callback f(...)": arguments are content
        telemetry.say("error", "unexpected_error", about=about, **describe(error))

    return handle


def describe(error: BaseException | None) -> dict[str, Any]:
    """Type, place and (for our own errors, or with SHIPPER_DEBUG=1) message of an error, as log fields (G3)."""
    if error is None:
        return {}
    fields: dict[str, Any] = {"type": type(error).__name__}
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is not None:
        fields["place"] = f"{os.path.basename(tb.tb_frame.f_code.co_filename)}:{tb.tb_lineno}"
    if isinstance(error, OSError) and error.errno:
        fields["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    debug = os.environ.get("SHIPPER_DEBUG", "") not in ("", "0")
    if debug or isinstance(error, ShipperError):
        fields["why"] = str(error)
    if debug:
        from traceback import format_exception

        fields["traceback"] = "".join(format_exception(error))
    return fields


class _Handler(logging.Handler):
    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        self._telemetry.say(level, "library", about=f"{record.name}:{record.lineno}", **describe(error))


def _rfc3339(time_s: float) -> str:
    whole_s, fraction = divmod(time_s, 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole_s)) + f".{int(fraction * 1e6):06d}Z"


def _plain(value: Any) -> Any:
    """A number, or printable text: no control character reaches a terminal (a newline is escaped by the renderer)."""
    if isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) < 2**63):
        return value
    return "\n".join(printable(part) for part in str(value).split("\n"))


def _write_all(fd: int, data: bytes) -> bool:
    """False where stderr is gone for good (closed, its reader ended): nobody can be told."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view):]
        except BlockingIOError:                 # somebody made the shared stderr non-blocking
            select.select([], [fd], [])
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EIO):
                return _pause()
            return False
    return True


def _pause() -> bool:
    """stderr is a file on a full disk: this line is lost, later ones may be written."""
    time.sleep(1.0)
    return True
