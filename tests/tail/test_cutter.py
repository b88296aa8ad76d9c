"""L1 to L3: however the bytes arrive, the same records; a line without end costs one chunk of memory."""
from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from shipper.decode import Budget, Decoder
from shipper.model import FileRef, Piece, Section, Source
from shipper.tail.cutter import LONG_LINE_BYTES, Cutter
from shipper.tail.file import TailFile

SOURCE = Source("files", "f", "/l", "/l", "n1")
REF = FileRef("k" * 16, SOURCE, "/l", 1, 2, 3, "x")


class Growing:
    """A file that a test writes to, and the cutter over it as the reader drives it."""

    def __init__(self, path: Path, max_line: int = 1 << 20) -> None:
        self.path = path
        path.touch()
        self.file = TailFile(str(path), 1, 2, live=True, compressed=False)
        self.file.attach(os.open(path, os.O_RDONLY))
        self.decoder = Decoder(SOURCE, "raw", max_line=max_line, max_record=1 << 20, budget=Budget())
        self.cutter = Cutter(self.decoder, self.reread)
        self.sections: list[Section] = []
        self.looked_at_bytes = 0

    def reread(self, piece: Piece) -> bytes:
        return self.file.pread(piece.length, piece.start)

    def write(self, data: bytes) -> None:
        with open(self.path, "ab") as out:
            out.write(data)
        file = self.file
        while True:
            got = file.pread(1 << 18, file.offset + file.scanned) if file.scanned else file.read(1 << 18)
            self.looked_at_bytes += len(got)
            before = file.offset, file.scanned
            self.sections += self.cutter.cut(file, REF, got) if got else []
            if (file.offset, file.scanned) == before:
                return

    @property
    def messages(self) -> list[bytes]:
        return [m for s in self.sections if s.batch is not None for m in s.batch.messages]


def contiguous(sections: list[Section]) -> bool:
    return all(one.end == two.start for one, two in itertools.pairwise(sections))


CONTENT = b"one\n\n" + b"x" * (LONG_LINE_BYTES + 100) + b"\n\r\nmid\0dle\n" + b"y" * 300_000 + b"\nlast\n"


@pytest.mark.parametrize("step", [1_000, 7_777, 65_536, 100_000, 1_000_000])
def test_records_do_not_depend_on_how_the_bytes_arrive(tmp_path, step):
    growing = Growing(tmp_path / "f")
    for at in range(0, len(CONTENT), step):
        growing.write(CONTENT[at : at + step])
    assert growing.messages == CONTENT.split(b"\n")[:-1]
    assert contiguous(growing.sections) and growing.file.offset == len(CONTENT)


@pytest.mark.parametrize("cut", range(0, 40))
def test_every_cut_of_short_lines(tmp_path, cut):
    content = b"a\nbb\n\nccc\r\n\xff\xfe\nend of it\nx\n"
    growing = Growing(tmp_path / "f")
    growing.write(content[:cut])
    growing.write(content[cut:])
    assert growing.messages == content.split(b"\n")[:-1]


@pytest.mark.parametrize("step", [9_000, 50_000, 300_000])
def test_an_oversized_line_is_cut_once_and_its_bytes_counted(tmp_path, step):
    content = b"before\n" + b"z" * 900_000 + b"\nafter\n"
    growing = Growing(tmp_path / "f", max_line=100_000)
    for at in range(0, len(content), step):
        growing.write(content[at : at + step])
    assert [len(m) for m in growing.messages] == [6, 100_000, 5]
    assert growing.messages[2] == b"after"
    marks = [s.batch.marks for s in growing.sections if s.batch is not None and s.batch.marks]
    assert marks == [{0: {"truncated": 900_000}}]
    assert contiguous(growing.sections) and growing.file.offset == len(content)
    ids = [item for s in growing.sections if s.batch is not None for item in s.batch.ids]
    assert sum(int(item.split(b"+")[1], 16) for item in ids) == len(content)


def test_a_line_that_grows_byte_by_byte_is_looked_at_once(tmp_path):
    """L1: linear. 1.5 MB in 300 writes; reading it again each time would look at 225 MB."""
    growing = Growing(tmp_path / "f")
    for _ in range(300):
        growing.write(b"w" * 5_000)
    growing.write(b"\n")
    assert len(growing.messages) == 1
    assert growing.looked_at_bytes < 3 * growing.file.offset


def test_a_long_line_of_a_file_that_is_gone_ends_there_and_not_in_the_next_file(tmp_path):
    growing = Growing(tmp_path / "log")
    growing.decoder.skipping = Piece("another", 2, 5_000_000)
    growing.write(b"one\ntwo\n")
    assert growing.messages == [b"one", b"two"] and growing.decoder.skipping is None
    growing.decoder.skipping = Piece("another", 2, 5_000_000)
    (section,) = growing.cutter.finish(growing.file, REF, b"")
    assert section.batch is None and section.closed and growing.decoder.skipping is None
