"""Rotation of output files: when, to which name, compressed, and how many are kept.

    web.ndjson ──rename──► web.ndjson.20261120T090405Z ──gzip──► ...Z.gz.tmp ──fsync, rename──► ...Z.gz, then ...Z is deleted

Invariants:
  FR1  a file is renamed only when a durable state holds all of it (the engine sees to that), to a name that nobody has
  FR2  at every moment the records are in one of: the file, its renamed file, the whole .gz. A crash in between is finished at
       the next start, because the journal keeps the mark until `is_pending` says no
  FR3  only names that this module gives are ever deleted
Driver: deciding and naming on the sink's thread, `finish` on another one, through `spawn`.
"""
from __future__ import annotations

import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ._file_disk import Disk
from ._file_journal import Mark

_COPY_BYTES = 1024 * 1024
_STAMP = r"\.\d{8}T\d{6}Z(_\d{3})?"


class _Stopped(Exception):
    """The agent ends; what is not finished is begun anew at the next start."""


def _compressor() -> Any:
    """zlib level 1, or isal's (ten times as fast at nearly the same size) where it is installed."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    return isal_zlib.compressobj(1, wbits=31)


@dataclass(frozen=True, slots=True)
class Rules:
    """None: no limit. `keep`: rotated files per path, the oldest go first."""

    max_size_bytes: int | None = None
    max_age_s: float | None = None
    keep: int | None = None
    compress: bool = False


class Rotation:
    """`spawn` runs what it is given later, in order, on a thread of its own; `failed(path, why)` is told what went wrong."""

    def __init__(
        self, root: str, disk: Disk, rules: Rules, spawn: Callable[[Callable[[], None]], Any], failed: Callable[[str, str], None],
    ) -> None:
        self._root, self._disk, self._rules, self._spawn, self._failed = root, disk, rules, spawn, failed
        self._pending: dict[str, Mark] = {}
        self._stopping = threading.Event()

    def is_due(self, length: int, born_s: float, now_s: float) -> bool:
        """Whether a file of that length and birth is to be rotated. An empty one never is."""
        rules = self._rules
        return length > 0 and (
            (rules.max_size_bytes is not None and length >= rules.max_size_bytes)
            or (rules.max_age_s is not None and now_s - born_s >= rules.max_age_s))

    def free_name(self, path: str, now_s: float) -> str:
        """The name to rotate `path` to at `now_s`, later in the alphabet than those of the same second before it (FR1)."""
        directory, _, name = path.rpartition("/")
        taken = {n.removesuffix(".tmp").removesuffix(".gz") for n in self._disk.names(directory or "/")}
        stamp = f"{name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_s))}"
        found, number = stamp, 0
        while found in taken:
            number += 1
            found = f"{stamp}_{number:03d}"
        return f"{directory}/{found}"

    def begin(self, mark: Mark) -> None:
        """A file was renamed: compress it and see to `keep`, in the background. What failed before is tried again."""
        self._pending[mark.rotated_to] = mark
        for path in list(self._pending):
            self._spawn(lambda path=path: self.finish(path))     # type: ignore[misc]

    def resume(self, marks: Iterable[Mark]) -> None:
        """After a start: finish what these marks announced (FR2)."""
        for mark in marks:
            self.begin(mark)

    def is_pending(self, mark: Mark) -> bool:
        return mark.rotated_to in self._pending

    def stop(self) -> None:
        self._stopping.set()

    def finish(self, path: str) -> None:
        """Compress one rotated file and see to `keep`; done already: nothing. What fails is reported, and stays pending."""
        if path not in self._pending or self._stopping.is_set():
            return
        try:
            if self._rules.compress and self._disk.look(path) is not None:
                self._compress(path)
            self._thin_out(self._pending[path].path)
        except _Stopped:
            return
        except OSError as error:
            self._failed(path, f"{error.strerror}; it stays as it is and is tried again at the next rotation or start")
            return
        del self._pending[path]

    def _compress(self, path: str) -> None:
        packed_path = path + ".gz"
        if self._disk.look(packed_path) is None:
            self._copy(path, packed_path + ".tmp")
            self._disk.rename(self._root, packed_path + ".tmp", packed_path)
        self._disk.unlink(self._root, path)

    def _copy(self, path: str, temp_path: str) -> None:
        disk, compressor, offset = self._disk, _compressor(), 0
        source = disk.open(self._root, path, make=False)
        try:
            target = disk.open(self._root, temp_path, make=True)
            try:
                disk.truncate(target, 0)
                while chunk := disk.read(source, _COPY_BYTES, offset):
                    if self._stopping.is_set():
                        raise _Stopped
                    offset += len(chunk)
                    disk.append(target, [compressor.compress(chunk)])
                disk.append(target, [compressor.flush()])
                disk.sync(target)
            finally:
                disk.close(target)
        finally:
            disk.close(source)

    def _thin_out(self, path: str) -> None:
        """Delete the oldest rotated files of `path` beyond `keep` (FR3)."""
        if self._rules.keep is None:
            return
        directory, _, name = path.rpartition("/")
        ours = re.compile(re.escape(name) + _STAMP + r"(\.gz)?")
        names = [n for n in self._disk.names(directory or "/") if ours.fullmatch(n)]
        stems = sorted({n.removesuffix(".gz") for n in names})
        gone = set(stems[: max(0, len(stems) - self._rules.keep)])
        for name in names:
            if name.removesuffix(".gz") in gone:
                self._disk.unlink(self._root, f"{directory}/{name}")
