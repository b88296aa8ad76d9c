"""The lines that are shipped: CRI as containerd writes it, seeded, kept in a cache directory, laid out like a node.

    ROOT/containers/<pod>_<ns>_<container>-<64 hex>.log -> ROOT/pods/<ns>_<pod>_<uid>/<container>/0.log

Invariants:
  K1  every CRI line, each piece of a long record included, carries its own number once, as `~0123456`; no other `~` is there
  K2  file f of n holds the numbers [first(f), first(f + 1)), rising: what is missing, repeated or out of order shows
  K3  equal shape (lines, files, version) gives equal bytes; times rise within a file, zeros at the end of a fraction trimmed
  K4  238 bytes a line on average, header and newline included (peers are measured with the same)
The mix: access lines, JSON, text in several scripts, stack traces (a line each), records of 40 KiB as P, P, F; 7 % on stderr.
"""
from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

VERSION = 4
MARK = b"~"
PIECE_BYTES = 16384
_WRITE_LINES = 2000


@dataclass(frozen=True, slots=True)
class Shape:
    """`big_every`: one record in so many is a long one, of three pieces; 0: none."""

    lines: int
    files: int
    big_every: int = 20_000

    @property
    def name(self) -> str:
        return f"corpus-{VERSION}-{self.lines}-{self.files}-{self.big_every}"

    def first(self, file: int) -> int:
        """The first number of file `file` (K2)."""
        return self.lines * file // self.files


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is on disk. `containers` is the directory that an agent watches, `pods` where its links lead."""

    shape: Shape
    root: Path
    total_bytes: int

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    def warm(self) -> None:
        """Read everything once: the page cache is what is measured from, not the disk."""
        for path in self.containers.iterdir():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shipper-bench"


def make_corpus(shape: Shape, cache: Path) -> Corpus:
    """From the cache, or made now (5 s a million lines)."""
    root = cache / shape.name
    stamp = root / "complete"
    if not stamp.exists():
        shutil.rmtree(root, ignore_errors=True)
        for file in range(shape.files):
            path = lay_out(root, file)
            with path.open("wb") as out:
                for block in _blocks(shape, file):
                    out.write(block)
        stamp.write_text(str(sum(p.stat().st_size for p in (root / "pods").rglob("*.log"))))
    return Corpus(shape, root, int(stamp.read_text()))


def lay_out(root: Path, file: int) -> Path:
    """The directories and the link of file number `file`; the path of the log itself, which is not made."""
    digest = hashlib.sha256(b"%d" % file).hexdigest()
    pod, namespace, container = f"checkout-{file:04d}-6d5f9c7b4d-{digest[:5]}", f"team-{file % 12}", "app"
    uid = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-9{digest[17:20]}-{digest[20:32]}"
    log = root / "pods" / f"{namespace}_{pod}_{uid}" / container / "0.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    link = root / "containers" / f"{pod}_{namespace}_{container}-{digest}.log"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(log)
    return log


# ---------------------------------------------------------------- the bytes of a file

def _blocks(shape: Shape, file: int) -> Iterator[bytes]:
    low, high = shape.first(file), shape.first(file + 1)
    rng = random.Random(f"{VERSION}/{shape.lines}/{shape.files}/{file}")
    lines: list[bytes] = []
    clock = _Clock(rng, start_s=1_760_000_000 + file)
    number = low
    while number < high:
        if shape.big_every and number % shape.big_every == 7 and high - number >= 3:
            lines += _long_record(rng, clock, number)
            number += 3
        elif rng.random() < 0.004 and high - number >= 8:
            lines += _trace(rng, clock, number, 8)
            number += 8
        else:
            stream = b"stderr" if rng.random() < 0.042 else b"stdout"
            lines.append(b"%b %b F %b\n" % (clock.next(), stream, _plain(rng, number)))
            number += 1
        if len(lines) > _WRITE_LINES:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


class _Clock:
    """Rising times as Go's RFC3339Nano writes them: zeros at the end of the fraction are left out."""

    def __init__(self, rng: random.Random, start_s: int) -> None:
        self._random, self._ns = rng.random, start_s * 1_000_000_000
        self._second, self._text = -1, ""

    def next(self) -> bytes:
        self._ns += int(self._random() * 40_000_000) + 1
        second, fraction = divmod(self._ns, 1_000_000_000)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        tail = f".{fraction:09d}".rstrip("0.")
        return f"{self._text}{tail}Z".encode()


_PATHS = ("/api/v1/orders", "/api/v1/orders/{}/items", "/healthz", "/static/app.{:x}.js", "/checkout/{}/payment?retry=1")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "kube-probe/1.34", "okhttp/4.12.0",
)
_WORDS = (
    "заказ принят и передан на склад", "注文を受け付けました。発送準備中です", "Größe geändert, bitte prüfen Sie die Übersicht",
    "la réservation a été confirmée — merci", "주문이 접수되었습니다", "✅ done in 12 ms 🚀",
)
_CAUSES = ("connection reset by peer", "context deadline exceeded", "no such host", "upstream returned 503")


def _access(rng: random.Random, number: int) -> str:
    value = rng.getrandbits(24)
    path = _PATHS[value % 5].format(value)
    method, status = ("GET", "POST")[value & 1], (200, 200, 304, 404, 500)[value % 5]
    return (f'10.42.{value % 250}.{value % 199} - - "{method} {path} HTTP/1.1" {status} {value % 90000} '
            f'"https://shop.example.com/" "{_AGENTS[value % 4]}" rt=0.{value % 1000:03d} req=~{number:07d}')


def _json(rng: random.Random, number: int) -> str:
    value = rng.getrandbits(32)
    level, cache = ("info", "info", "warn", "debug")[value % 4], ("true", "false")[value & 1]
    return (f'{{"level":"{level}","ts":17600{value % 100000:05d}.{value % 1000:03d},"caller":"server/handler.go:{value % 900}",'
            f'"msg":"req done","trace_id":"{value:032x}","span_id":"{value:016x}","user":"u-{value % 99991}",'
            f'"duration_ms":{value % 1700},"cache":{cache},"tags":["eu-west-1","blue"],"req":"~{number:07d}"}}')


def _text(rng: random.Random, number: int) -> str:
    value = rng.getrandbits(20)
    return f"[worker-{value % 16}] {_WORDS[value % 6]}; {_WORDS[value % 5]} ({value}) ~{number:07d} {_CAUSES[value % 4]}"


_KINDS: tuple[Callable[[random.Random, int], str], ...] = (_access,) * 6 + (_json,) * 5 + (_text,) * 2


def _plain(rng: random.Random, number: int) -> bytes:
    return _KINDS[rng.randrange(13)](rng, number).encode()


def _trace(rng: random.Random, clock: _Clock, number: int, lines: int) -> list[bytes]:
    """A stack trace as runtimes write it: each of its lines is a CRI line, on stderr."""
    value = rng.getrandbits(16)
    texts = [f"java.lang.IllegalStateException: {_CAUSES[value % 4]} ~{number:07d}"]
    texts += [
        f"\tat com.example.shop.checkout.Service{value % 50}.handle(Service{value % 50}.java:{value % 800 + i}) ~{number + i:07d}"
        for i in range(1, lines)
    ]
    return [b"%b stderr F %b\n" % (clock.next(), text.encode()) for text in texts]


def _long_record(rng: random.Random, clock: _Clock, number: int) -> list[bytes]:
    """One record of 40 KiB as containerd cuts it: P, P, F. Each piece has its number (K1)."""
    filler = (_CAUSES[rng.randrange(4)] + " ").encode() * (PIECE_BYTES // 8)
    pieces = []
    for offset, (tag, size) in enumerate(((b"P", PIECE_BYTES), (b"P", PIECE_BYTES), (b"F", PIECE_BYTES // 2))):
        head = b"dump ~%07d " % (number + offset)
        pieces.append(b"%b stdout %b %b\n" % (clock.next(), tag, (head + filler)[:size]))
    return pieces
