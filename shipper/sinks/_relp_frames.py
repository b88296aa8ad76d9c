"""RELP frames, as librelp reads and writes them. Pure.

    TXNR SP COMMAND SP DATALEN [SP DATA] LF        TXNR 0 to 999999999, COMMAND letters, DATALEN in bytes

    ours     1 open 85 relp_version=0\\nrelp_software=..\\ncommands=syslog     2 syslog 231 <14>1 ..    3 syslog ..    n close 0
    theirs   1 rsp 92 200 OK\\nrelp_version=0\\n..\\ncommands=syslog           2 rsp 6 200 OK           0 serverclose 0

Invariants (tests/sinks/test_relp_frames.py):
  R1  frames come out the same wherever the bytes are cut
  R2  what is no frame, and a frame of more than MAX_DATA_BYTES, is a BrokenStream; nothing behind it is looked at
  R3  numbers go up by one from 1, and from 999999999 to 1: librelp ends a session that skips one
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_TXNR = 999_999_999
MAX_DATA_BYTES = 64 * 1024           # of what a receiver says; its own words are short
_HEAD = re.compile(rb"(\d{1,9}) ([A-Za-z]{1,32}) (\d{1,9})([ \n])")
_LONGEST_HEAD = 9 + 1 + 32 + 1 + 9 + 1
OFFERS = b"relp_version=0\nrelp_software=shipper\ncommands=syslog"


class BrokenStream(ValueError):
    """The peer does not speak RELP."""


class Frame(NamedTuple):
    txnr: int
    command: bytes
    data: bytes


class Response(NamedTuple):
    """What an `rsp` says. `text`: for people, one line. `lines`: what follows the first one."""

    code: int
    text: str
    lines: tuple[bytes, ...]


def body(command: bytes, data: bytes) -> bytes:
    """A frame without its number and the blank behind that."""
    return b"%b %d %b\n" % (command, len(data), data) if data else b"%b 0\n" % command


def bodies(messages: Sequence[bytes]) -> list[bytes]:
    """Syslog messages as bodies; none of them is empty. Hot: once per request."""
    return [b"syslog %d %b\n" % (len(message), message) for message in messages]


def numbered(first: int, made: Sequence[bytes]) -> bytes:
    """Bodies as frames, counting from `first` (R3). Hot: once per group of a window."""
    if first + len(made) <= MAX_TXNR:
        return b"".join([b"%d %b" % pair for pair in enumerate(made, first)])
    return b"".join([b"%d %b" % pair for pair in zip(numbers(first, len(made)), made)])


def numbers(first: int, count: int) -> list[int]:
    """R3."""
    return [(number - 1) % MAX_TXNR + 1 for number in range(first, first + count)]


class Reader:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes (R1). BrokenStream where it is none (R2)."""
        self._held += data
        at = 0
        while (found := _HEAD.match(self._held, at)) is not None:
            length = int(found[3])
            if length > MAX_DATA_BYTES or (found[4] == b"\n") != (not length):
                raise BrokenStream(f"a length that cannot be: {found[0]!r}")
            end = found.end() + length
            if length and len(self._held) <= end:
                break
            if length and self._held[end:end + 1] != b"\n":
                raise BrokenStream(f"no newline behind {length} bytes")
            yield Frame(int(found[1]), found[2], self._held[found.end():end])
            at = end + 1 if length else end
        else:
            rest = self._held[at:at + _LONGEST_HEAD]
            if len(rest) == _LONGEST_HEAD or not _begins(rest):
                raise BrokenStream(f"no RELP frame: {rest[:40]!r}")
        self._held = self._held[at:]


def _begins(rest: bytes) -> bool:
    """Could more bytes make a head of this?"""
    return re.fullmatch(rb"(\d{1,9}( ([A-Za-z]{1,32}( \d{0,9})?)?)?)?", rest) is not None


def response(data: bytes) -> Response:
    """`200 OK\\nrelp_version=0`. BrokenStream where no code begins it."""
    first, *lines = data.split(b"\n")
    if re.match(rb"\d{3}( |$)", first) is None:
        raise BrokenStream(f"a response without a code: {first[:40]!r}")
    return Response(int(first[:3]), first[4:].decode("utf-8", "replace"), tuple(lines))
