"""What the pods say. Every line is stamped with its number and a checksum over all of its content.

    GET /cart/17 200 12ms seq=0000123 crc=89abcdef        crc32 of the line without " crc=89abcdef"

So whoever receives a line can tell which one it is and that it is whole, without asking the agent (see count.py).

Invariants (tests/agent/test_simulator.py):
  N1  numbers of one log run from 0 without a gap; equal seeds give equal lines
  N2  every line is valid UTF-8 without newline and without a carriage return at its end
Plane: pure. About 1 us a line.
"""
from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

PIECE_BYTES = 16 * 1024
STDOUT, STDERR = b"stdout", b"stderr"
STAMP_BYTES = len(b"seq=0000000 crc=00000000")
_STAMP = re.compile(rb"seq=(\d{7,}) crc=([0-9a-f]{8})")


class Template(NamedTuple):
    """A line but for its stamp, which stands between `before` and `after`."""

    stream: bytes
    before: bytes
    after: bytes
    before_crc: int


class Line(NamedTuple):
    """One line as the program wrote it, without its newline."""

    stream: bytes
    message: bytes


def read_stamp(message: bytes) -> int | None:
    """The number of a delivered line, or None where it has no stamp or any byte of it is not what was written."""
    found = _STAMP.search(message)
    if found is None:
        return None
    crc = crc32(message[found.end() :], crc32(message[: found.end(1)]))
    return int(found[1]) if b"%08x" % crc == found[2] else None


class Messages:
    """An endless seeded supply of stamped lines. `next_number` is the number of the next line."""

    def __init__(self, seed: int | str) -> None:
        self._rng = random.Random(seed)
        self._blocks, self._weights = _blocks(self._rng)
        self._short = [block[0] for block in self._blocks if len(block) == 1 and len(block[0].before) < 1000]
        self._templates = self._endless()
        self.next_number = 0

    def take(self, count: int) -> list[Line]:
        """The next `count` lines."""
        return [self._stamp(next(self._templates)) for _ in range(count)]

    def take_short(self, stream: bytes) -> Line:
        """The next line, a short one of this stream: what stands between the pieces of a long one of the other."""
        return self._stamp(self._rng.choice(self._short)._replace(stream=stream))

    def _endless(self) -> Iterator[Template]:
        while True:
            for block in self._rng.choices(self._blocks, self._weights, k=200):
                yield from block

    def _stamp(self, template: Template) -> Line:
        number = b"seq=%07d" % self.next_number
        self.next_number += 1
        crc = crc32(template.after, crc32(number, template.before_crc))
        return Line(template.stream, b"%b%b crc=%08x%b" % (template.before, number, crc, template.after))


# ---------------------------------------------------------------- the texts

_JAVA = """java.lang.IllegalStateException: cart 17 is empty
\tat com.example.shop.Cart.total(Cart.java:142)
\tat com.example.shop.Checkout$Step.<init>(Checkout.java:61)
Caused by: java.net.SocketTimeoutException: Read timed out
\tat java.base/java.net.Socket.read(Socket.java:1099)
\t... 23 more"""
_PYTHON = """Traceback (most recent call last):
  File "/app/main.py", line 17, in <module>
    handle(request)
  File "/app/shop.py", line 230, in handle
    return cart["total"] / len(items)
ZeroDivisionError: division by zero"""
_GO = """panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a3f21]
goroutine 1 [running]:
main.(*Cart).Total(0x0)
\t/src/cart.go:42 +0x1d"""

_HOSTILE = (
    "2026-11-20T09:04:05.1Z stdout F not a header ",
    'say "id":"k3v9q2f7abcdefgh:0+ffff" \\" \\\\ ',
    '{"log":"nested \\n","stream":"stderr"} ',
    '<script>alert("&amp;")</script> ',
    "\x1b[31mred\x1b[0m bell \x07 nul \x00 tab\t",
    "  leading and trailing blanks   ",
    "carriage\rreturn ",
    "line separators \u2028 \u2029 \x85 \x0b \x0c ",
)
_UNICODE = (
    "Grüße aus Zürich ", "世界你好 订单已发货 ", "доставка завершена 🚢🚢🚢 ",
    "e\u0301 zero\u200bwidth \U0001f469\u200d\U0001f680 ",
)


def _template(text: str, after: str = "", stream: bytes = STDOUT) -> Template:
    before = text.encode()
    return Template(stream, before, after.encode(), crc32(before))


def _blocks(rng: random.Random) -> tuple[list[list[Template]], list[float]]:
    """Lines that come together, and how often. Long lines are 1 in 400: 40 KB each would otherwise be all there is."""
    kinds: list[tuple[float, list[list[Template]]]] = [
        (70, [[_template(_access(rng))] for _ in range(40)]),
        (20, [[_template(f'{{"level":"info","msg":"paid \\"order {n}\\" in {rng.randint(1, 99)} ms ', '"}')] for n in range(20)]),
        (4, [[_template(f"WARN slow query took {rng.randint(1, 9)}s ", stream=STDERR)] for _ in range(5)]),
        (2, [[_template(text)] for text in _UNICODE]),
        (2, [[_template(text, stream=rng.choice([STDOUT, STDERR]))] for text in _HOSTILE]),
        (0.4, [[_template(line + " ", stream=STDERR) for line in text.split("\n")] for text in (_JAVA, _PYTHON, _GO)]),
        (0.25, [[_template(_long(rng, size))] for size in (40_000, 40_000, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES)]),
    ]
    blocks = [block for _, some in kinds for block in some]
    return blocks, [weight / len(some) for weight, some in kinds for _ in some]


def _access(rng: random.Random) -> str:
    path = rng.choice(["/", "/cart/17", "/api/v1/orders?limit=50", "/static/app.js", "/healthz"])
    return (f'10.0.{rng.randint(0, 255)}.{rng.randint(1, 254)} - - "{rng.choice(["GET", "POST"])} {path} HTTP/1.1" '
            f'{rng.choice([200, 200, 200, 304, 404, 500])} {rng.randint(80, 90_000)} "-" "curl/8.5" {rng.randint(1, 900)}ms ')


def _long(rng: random.Random, size_bytes: int) -> str:
    """Text that makes a stamped line of exactly `size_bytes`; has characters of several bytes at the runtime's cuts."""
    left = size_bytes - STAMP_BYTES
    shift = "x" * rng.randint(1, 4)
    text = shift + "données 数据 🚢 " * (left // len("données 数据 🚢 ".encode()))
    while len(text.encode()) > left:
        text = text[:-1]
    return text + "." * (left - len(text.encode()))
