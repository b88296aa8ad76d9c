"""Real journals without systemd: entries in the export format, made into journal files by systemd-journal-remote.

    journal = Journal(tmp_path / "journal"); journal.add(["one", b"two\\nlines"], unit="web.service")
"""
from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "6f1bd1c5b6b24c0aa6d8a3ba23f7f0c1"
BEGAN_US = 1_700_000_000_000_000


def export(number: int, message: bytes, *, boot: str = BOOT, **fields: str | bytes) -> bytes:
    """One entry; entry `number` was written `number` ms after the first."""
    us = BEGAN_US + number * 1000
    out = b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n" % (us, 1_000_000 + number * 1000, boot.encode())
    for name, value in {"MESSAGE": message, **fields}.items():
        raw = value if isinstance(value, bytes) else value.encode()
        out += field(name, raw)
    return out + b"\n"


def field(name: str, raw: bytes) -> bytes:
    """As text where it may be."""
    if b"\n" in raw or any(byte < 32 and byte != 9 for byte in raw):
        return name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"


class Journal:
    """A directory of journal files. `written`: every message, in order."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.written: list[bytes] = []
        self._boot = BOOT

    def add(self, messages: Iterable[str | bytes], *, file: str = "system", **fields: str) -> None:
        """Append to `file`.journal."""
        data = b""
        for message in messages:
            raw = message.encode() if isinstance(message, str) else message
            data += export(len(self.written), raw, boot=self._boot, **fields)
            self.written.append(raw)
        subprocess.run(
            [REMOTE, f"--output={self.directory}/{file}.journal", "-"], input=data, check=True, stderr=subprocess.PIPE)

    def reboot(self) -> None:
        """What follows is of another boot."""
        self._boot = f"{int(self._boot, 16) + 1:032x}"

    def vacuum(self, file: str = "system") -> None:
        """As journalctl --vacuum-size does with a file that was rotated."""
        (self.directory / f"{file}.journal").unlink()
