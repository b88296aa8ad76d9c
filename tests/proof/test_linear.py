"""P10: no content costs more than linear time. Twice the input may cost twice the work, counted where it can be counted,
and measured in CPU time, best of three, with a wide margin, where it cannot."""
from __future__ import annotations

import gc
import gzip
import os
import time
from collections.abc import Callable

import pytest

from shipper.decode import Budget, Decoder
from shipper.discover.siblings import group
from shipper.model import Batch, FileRef, Source
from shipper.tail.cutter import Cutter
from shipper.tail.file import TailFile
from shipper.tail.gz import GzipFile
from shipper.tail.identity import digest
from tests.proof.fuzz.targets import SALT, framing

T = b"2026-11-20T09:04:05.123456789Z"
KEY = "k" * 16
SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web")
MIB = 1024 * 1024


def decode(data: bytes, form: str = "cri", budget: int = 1 << 22) -> int:
    """Bytes that were asked for again."""
    decoder = Decoder(SOURCE, form, max_line=MIB, max_record=MIB, budget=Budget(budget))
    again_bytes, at = 0, 0

    def reread(piece: object) -> bytes:
        nonlocal again_bytes
        start, length = piece.start, piece.length  # type: ignore[attr-defined]
        again_bytes += length
        return data[start : start + length]

    for chunk in (data[i : i + 200_000] for i in range(0, len(data), 200_000)):
        lines = chunk.split(b"\n")
        batch = decoder.decode(KEY, at, lines, read_ns=1, now_s=0.0, reread=reread)
        decoder.state()
        assert batch is None or isinstance(batch, Batch)
        at += len(chunk) + 1
    return again_bytes


def _p(stream: bytes, content: bytes) -> bytes:
    return T + b" " + stream + b" P " + content + b"\n"


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "newlines alone": lambda n: b"\n" * (n * 2),
    "pieces of one byte, never ended": lambda n: _p(b"stdout", b"x") * n,
    "pieces of both streams in turn": lambda n: (_p(b"stdout", b"x") + _p(b"stderr", b"y")) * (n // 2),
    "empty pieces": lambda n: _p(b"stdout", b"") * n,
    "nearly a time": lambda n: b"2026-11-20T09:04:05.1234567890000000000000000000Z stdout F x\n" * n,
    "digits without an end": lambda n: b"2" * (n * 50) + b"\n",
    "spaces": lambda n: (b" " * 200 + b"\n") * (n // 4),
    "one good line, one bad": lambda n: (T + b" stdout F x\n" + b"bad\n") * (n // 2),
    "brackets": lambda n: (b"[" * 500 + b"\n") * (n // 10),
    "open quotes": lambda n: (b'{"log":"' + b"\\" * 300 + b"\n") * (n // 10),
}


def cpu_s(act: Callable[[], object]) -> float:
    """The least of five, without the garbage collector: in a long test session one collection costs ten times the work."""
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            began = time.process_time()
            act()
            best = min(best, time.process_time() - began)
    finally:
        gc.enable()
    return best


@pytest.mark.parametrize("form", ["cri", "docker", "raw"])
@pytest.mark.parametrize("what", HOSTILE)
def test_four_times_the_hostile_lines_cost_no_more_than_linear_time(what: str, form: str) -> None:
    small, large = HOSTILE[what](5_000), HOSTILE[what](20_000)
    assert cpu_s(lambda: decode(large, form)) < 9 * cpu_s(lambda: decode(small, form)) + 0.02


@pytest.mark.parametrize("budget", [0, 1 << 22])
def test_bytes_that_are_read_again_for_open_records_are_bounded_by_the_input(budget: int) -> None:
    data = (_p(b"stdout", b"x" * 500) * 30 + _p(b"stderr", b"y")) * 100
    assert decode(data, budget=budget) <= 2 * len(data)


class Counting(TailFile):
    """Counts the bytes that are read."""

    __slots__ = ("counted",)

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        self.counted += len(data)
        return data


@pytest.mark.parametrize("step", [100, 4096, 70_000])
def test_a_line_that_grows_in_steps_is_read_a_bounded_number_of_times(step: int) -> None:
    """L1: bytes behind the offset are looked at once, however the line arrives; at most 64 KiB of it are read again per look."""
    fd = os.memfd_create("line")
    decoder = Decoder(SOURCE, "raw", max_line=MIB, max_record=MIB, budget=Budget())
    file = Counting("/l", 1, 1, live=True, compressed=False)
    file.attach(fd)
    file.counted = 0
    cutter = Cutter(decoder, lambda piece: file.pread(piece.length, piece.start))
    ref = FileRef(KEY, SOURCE, "/l", 1, 1, 0, digest(b""))
    total, looks = 3 * MIB, 0
    for at in range(0, total, step):
        os.pwrite(fd, b"x" * step, at)
        looks += 1
        data = file.pread(262_144, file.offset + file.scanned) if file.scanned else file.read(262_144)
        cutter.cut(file, ref, data)
    small_looks = min(looks, 65_536 // step + 1)
    assert file.counted <= 2 * total + small_looks * 66_000 + looks * 200
    os.close(fd)


def test_magic_numbers_in_a_damaged_segment_cost_linear_time() -> None:
    def segment_of(count: int) -> bytes:
        return framing.segment_head(SALT, b"u" * 16) + (framing.FRAME_MAGIC + b"\0" * 40) * count

    small, large = segment_of(20_000), segment_of(80_000)
    assert cpu_s(lambda: framing.scan(large)) < 9 * cpu_s(lambda: framing.scan(small)) + 0.02


def test_names_that_look_rotated_cost_linear_time() -> None:
    def names(count: int) -> list[str]:
        return [f"0.log.2026-11-20-{n}{'.1' * 60}-20261120" for n in range(count)]

    assert cpu_s(lambda: group("/d", names(8000))) < 9 * cpu_s(lambda: group("/d", names(2000))) + 0.02


@pytest.mark.parametrize("name", ["-20261120" * 28, "." * 255, "1" * 255, "20261120" * 31, "a.1" * 85, "-1700000000" * 23])
def test_one_name_of_255_bytes_costs_little(name: str) -> None:
    """No pattern goes back over a name more than a few times."""
    assert cpu_s(lambda: [group("/d", [f"{name[:250]}x{n}", f"{name[:250]}{n}"]) for n in range(20)]) < 0.2


def test_a_gzip_of_empty_members_and_a_bomb_cost_linear_time() -> None:
    def read(data: bytes) -> None:
        fd = os.memfd_create("gz")
        os.write(fd, data)
        file, at = GzipFile(fd), 0
        while piece := file.pread(MIB, at):
            at += len(piece)
        file.close()

    empty = gzip.compress(b"", mtime=0)
    assert cpu_s(lambda: read(empty * 16_000)) < 9 * cpu_s(lambda: read(empty * 4_000)) + 0.02
    small, large = gzip.compress(b"\0" * (8 * MIB), mtime=0), gzip.compress(b"\0" * (32 * MIB), mtime=0)
    assert cpu_s(lambda: read(large)) < 9 * cpu_s(lambda: read(small)) + 0.02
