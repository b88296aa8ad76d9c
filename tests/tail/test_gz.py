"""Z1 to Z4: a compressed sibling read as if it were plain."""
from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest

from shipper.tail import gz
from shipper.tail.gz import WINDOW_BYTES, GzipFile


def opened(path: Path, data: bytes) -> GzipFile:
    path.write_bytes(data)
    return GzipFile(os.open(path, os.O_RDONLY))


CONTENT = random.Random(1).randbytes(300_000) + b"a" * 3_000_000 + random.Random(2).randbytes(300_000)


def test_any_range_is_what_the_plain_file_has(tmp_path):
    file = opened(tmp_path / "x.gz", gzip.compress(CONTENT))
    rng = random.Random(3)
    for _ in range(60):
        offset, size = rng.randrange(len(CONTENT) + 1000), rng.randrange(200_000)
        assert file.pread(size, offset) == CONTENT[offset : offset + size]
    assert not file.damaged
    file.close()


def test_z2_any_range_is_what_the_plain_file_has_also_in_front_of_the_window(tmp_path, monkeypatch):
    monkeypatch.setattr(gz, "WINDOW_BYTES", 400_000)
    file = opened(tmp_path / "x.gz", gzip.compress(CONTENT))
    for offset in (len(CONTENT) - 1000, 0, 3_000_000, 1_000_000, 10):
        assert file.pread(1000, offset) == CONTENT[offset : offset + 1000]
        assert len(file._window) < 1_000_000
    file.close()


def test_several_members_are_one_file(tmp_path):
    """RFC 1952, section 2.2"""
    file = opened(tmp_path / "x.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n") + gzip.compress(b""))
    assert file.pread(100, 0) == b"one\ntwo\n" and not file.damaged
    file.close()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no gzip at all", "garbage behind"])
def test_damage_gives_what_inflates_and_is_told(tmp_path, damage):
    whole = gzip.compress(CONTENT[:400_000])
    data = {
        "cut": whole[: len(whole) // 2], "flipped": whole[:1000] + bytes([whole[1000] ^ 0xFF]) + whole[1001:],
        "empty": b"", "no gzip at all": b"plain text\n" * 50, "garbage behind": whole + b"garbage",
    }[damage]
    file = opened(tmp_path / "x.gz", data)
    got = file.pread(1_000_000, 0)
    assert CONTENT[:400_000].startswith(got) or damage == "flipped"
    assert file.damaged
    assert damage != "garbage behind" or got == CONTENT[:400_000]
    file.close()


def test_a_bomb_is_inflated_within_the_window(tmp_path):
    """Z3: 200 MB of zeros from 200 KB; what is held stays within the window and one step."""
    file = opened(tmp_path / "x.gz", gzip.compress(bytes(200_000_000), 6))
    assert file.pread(10, 150_000_000) == bytes(10)
    assert len(file._window) <= WINDOW_BYTES + 10 + 64 * 1024 * 4
    file.close()
