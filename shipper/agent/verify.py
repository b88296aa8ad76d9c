"""`shipper verify`: is what was delivered whole? The ids alone say it; no log file and no running agent is needed.

    NDJSON, RFC 5424 lines, octet-counted RFC 5424; plain or .gz; files or standard input ──► lines ──► verify_report

Memory: one chunk of input and the longest line, besides the tally.
Exit: 0 whole, 1 not whole, 2 wrong usage.
Driver: opens files, prints. What whole means stands in verify_report.py (V3), the arithmetic in ranges.py.
"""
from __future__ import annotations

import argparse
import gzip
import re
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import orjson

from ..errors import Usage
from .verify_report import Report, Tally, human, make_report

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
MAX_LENGTH_DIGITS = 9
_is_counted = re.compile(rb"[0-9]{1,9} <").match
"""A receiver's own template may begin with a time, which is digits too."""


def read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The records of a stream: octet-counted frames where it begins with one (`LENGTH <PRI>`), else lines. Empty ones are left
    out.

    Raises Usage where a line is longer than 64 MiB or a frame has no length: then this is no such file.
    """
    chunk = stream.read(CHUNK_BYTES)
    while len(chunk) < MAX_LENGTH_DIGITS + 2 and (more := stream.read(CHUNK_BYTES)):
        chunk += more
    if _is_counted(chunk):
        yield from _read_frames(stream, chunk)
        return
    rest: list[bytes] = []
    rest_bytes = 0
    while chunk:
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield from filter(None, (b"".join(rest) + head).split(b"\n"))
            rest, rest_bytes = [], 0
        rest.append(tail)
        rest_bytes += len(tail)
        if rest_bytes > MAX_LINE_BYTES:
            raise Usage(f"a line is longer than {MAX_LINE_BYTES} bytes; give NDJSON or syslog, one record a line")
        chunk = stream.read(CHUNK_BYTES)
    yield from filter(None, [b"".join(rest)])


def _read_frames(stream: IO[bytes], data: bytes) -> Iterator[bytes]:
    at = 0
    while True:
        at += data[at : at + 1] == b"\n"                     # some receivers put a newline after each frame
        end, space = -1, data.find(b" ", at, at + MAX_LENGTH_DIGITS + 1)
        if space >= 0 and data[at:space].isdigit():
            end = space + 1 + int(data[at:space])
        elif space >= 0 or len(data) - at > MAX_LENGTH_DIGITS:
            raise Usage("a syslog frame has no length; a file that begins with one must be 'LENGTH MESSAGE' throughout")
        if 0 <= end <= len(data):
            yield data[space + 1 : end]
            at = end
            continue
        more = stream.read(CHUNK_BYTES)
        if not more:
            if data[at:].strip():
                yield b""                                    # a frame that was cut is a record without an id
            return
        data, at = data[at:] + more, 0


def open_input(path: str) -> IO[bytes]:
    """`-` is standard input; .gz is inflated. Usage where it cannot be opened."""
    if path == "-":
        return sys.stdin.buffer
    try:
        return cast(IO[bytes], gzip.open(path)) if path.endswith(".gz") else open(path, "rb")
    except OSError as error:
        raise Usage(f"cannot read {path}: {error.strerror}; give files that exist, or - for standard input") from error


def verify_files(paths: list[str], ledger: dict[str, Any] | None = None) -> Report:
    """Read every file once and judge. Raises Usage where one cannot be read or is of another form."""
    tally = Tally()
    for path in paths:
        with open_input(path) as stream:
            try:
                tally.add_lines(read_lines(stream), path)
            except Usage as error:
                raise Usage(f"{path}: {error}") from error
            except (OSError, EOFError, zlib.error) as error:
                raise Usage(f"cannot read {path} to its end: {error}; is it still being written?") from error
    try:
        return make_report(tally, ledger)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Usage(f"the ledger is not one of `shipper audit --json`: {type(error).__name__}: {error}") from error


def read_ledger(path: str) -> dict[str, Any]:
    """The object of `shipper audit --json`. Usage where it is none."""
    with open_input(path) as stream:
        try:
            ledger = orjson.loads(stream.read())
        except (orjson.JSONDecodeError, OSError, EOFError, zlib.error) as error:
            raise Usage(f"the ledger {path} is not JSON: {error}; write it with `shipper audit --json`") from error
    if not isinstance(ledger, dict) or not isinstance(ledger.get("files"), list):
        raise Usage(f'the ledger {path} has no "files"; write it with `shipper audit --json`')
    return ledger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `shipper verify`."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="NDJSON or syslog, also .gz; - or none: standard input")
    parser.add_argument("--ledger", metavar="FILE", help="from `shipper audit --json`: checks the ends, accounts for drops")
    parser.add_argument("--no-repeats", action="store_true", help="repeated records are a failure too")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    """0 whole, 1 not whole. Raises Usage (2)."""
    if args.ledger == "-" and (not args.files or "-" in args.files):
        raise Usage("standard input cannot be both the ledger and the records; give one of them as a file")
    ledger = read_ledger(args.ledger) if args.ledger else None
    report = verify_files(args.files or ["-"], ledger)
    if args.json:
        sys.stdout.write(orjson.dumps(report.to_json(), option=orjson.OPT_APPEND_NEWLINE).decode())
    else:
        print(human(report))
        if args.no_repeats and report.repeated:
            print(f"{report.repeated:,} records came more than once, and --no-repeats was given")
    return 0 if report.whole and not (args.no_repeats and report.repeated) else 1
