"""How container runtimes write a line. Pure. Hot in the simulator: once per line.

CRI (containerd):  `TIME SP stream SP P|F SP content NEWLINE`. More than 16384 bytes are cut there, inside a character
                   too; exactly 16384 are one F. The fraction of the time has no trailing zeros.
docker json-file:  `{"log":"content\\n","stream":"stdout","time":"TIME"}`. Pieces of 16384 bytes, all but the last without
                   the newline; `<`, `>` and `&` are written \\u003c, \\u003e, \\u0026.
"""
from __future__ import annotations

import time
from functools import lru_cache

import orjson

from .messages import PIECE_BYTES, Line


@lru_cache(maxsize=16)
def _second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


def rfc3339_nano(now_ns: int) -> bytes:
    """As Go's time.RFC3339Nano in UTC: the fraction without trailing zeros, and without its point where it is zero."""
    second, fraction = divmod(now_ns, 1_000_000_000)
    if not fraction:
        return _second(second) + b"Z"
    return b"%b.%bZ" % (_second(second), (b"%09d" % fraction).rstrip(b"0"))


def cri(line: Line, now_ns: int) -> list[bytes]:
    """The file lines of one line, each with its newline: P pieces and an F."""
    stream, message = line
    at = rfc3339_nano(now_ns)
    if len(message) <= PIECE_BYTES:
        return [b"%b %b F %b\n" % (at, stream, message)]
    pieces = [message[low : low + PIECE_BYTES] for low in range(0, len(message), PIECE_BYTES)]
    last = len(pieces) - 1
    return [b"%b %b %b %b\n" % (at, stream, b"P" if n < last else b"F", piece) for n, piece in enumerate(pieces)]


def cri_without_end(line: Line, now_ns: int) -> bytes:
    """Last words without a newline: containerd writes what there is (up to 16384 bytes) as a P, and never an F."""
    return b"%b %b P %b\n" % (rfc3339_nano(now_ns), line.stream, line.message[:PIECE_BYTES])


def docker(line: Line, now_ns: int) -> list[bytes]:
    """The file lines of one line. Cut between characters: a cut one would be written as U+FFFD by docker itself."""
    pieces, rest = [], line.message + b"\n"
    while rest:
        cut = min(PIECE_BYTES, len(rest))
        while cut < len(rest) and rest[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(_docker_line(rest[:cut], line.stream, now_ns))
        rest = rest[cut:]
    return pieces


def _docker_line(log: bytes, stream: bytes, now_ns: int) -> bytes:
    text = orjson.dumps(log.decode())
    for plain, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        text = text.replace(plain, escaped)
    return b'{"log":%b,"stream":"%b","time":"%b"}\n' % (text, stream, rfc3339_nano(now_ns))


def host(line: Line, now_ns: int) -> list[bytes]:
    """A line of a program that writes its own file."""
    return [line.message + b"\n"]
