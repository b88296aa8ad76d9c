"""Records that a sink will never take, as JSON lines on disk, for a person to look at and to replay.

    state_dir/dead-letters/<sink>/000001.ndjson, 000002.ndjson ...        directory 0700, files 0600
    {"at":..,"reason":..,"response":..,"key":..,"source":{..},"read_ns":..,["message_base64":..,]["marks","severity","fields",]
     ["fields_base64": where JSON that is read and written again would not be the same bytes,] ["source_base64": likewise,]
     "record":{the record's JSON, id included}}                                        letters.py makes a record of it again

Invariants (tests/deliver/test_dead_letters.py):
  L1  when `write` returns, the records are on disk (fsync), so the cursor may pass them
  L2  an id is written once, also after a crash between writing and the cursor (the newest files are read on start)
  L3  at most `max_bytes` and `max_age_s`; the oldest file goes first, whole, and its records are counted. `tidy` does it
      where nothing is written any more
  L4  a torn last line is cut on start
  L5  the response is shortened, and what looks like a credential in it is masked (P9)
  L6  `remove` rewrites a file beside it and renames: a crash leaves the old one or the new one, never a part; what stays is
      not written anew but copied
  L7  what was begun on the thread is ended before anything else begins, whoever was cancelled meanwhile
Driver: file I/O on a thread. Once per refused record, far from the hot path.
"""
from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..durable import sync_directory
from ..errors import DropReason, Usage
from ..telemetry import Telemetry
from .letters import dead_line, letter_of
from .split import Candidate

_T = TypeVar("_T")
MIB = 1024 * 1024
MAX_BYTES = 64 * MIB
MAX_AGE_S = 7 * 86400.0
IDS_KEPT = 200_000


def letters_directory(state_dir: str) -> str:
    """Where all sinks' dead letters are, one directory each."""
    return os.path.join(state_dir, "dead-letters")


def stored_sinks(state_dir: str) -> list[str]:
    """The sinks that have dead letters, or had."""
    try:
        return sorted(entry.name for entry in os.scandir(letters_directory(state_dir)) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def checked_name(name: str) -> str:
    """`name` where it can be the name of a sink: it becomes part of a path. Usage otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", name) or name in (".", ".."):
        raise Usage(f"{name!r} cannot be the name of a sink")
    return name


@dataclass(slots=True)
class DeadLetters:
    """The dead letters of one sink. `write` may be called by many tasks; one at a time writes."""

    directory: str
    sink: str
    telemetry: Telemetry
    max_bytes: int = MAX_BYTES
    max_age_s: float = MAX_AGE_S
    file_bytes: int = 4 * MIB
    _seen: dict[str, None] = field(default_factory=dict)
    _numbers: list[int] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def write(self, candidates: Sequence[Candidate], now_ns: int) -> int:
        """L1, L2, L3. Returns how many records were new. Raises OSError; then nothing may pass, and writing again is safe."""
        return await self._alone(self._write, self._written, candidates, now_ns)

    def _written(self, found: tuple[dict[str, int], int]) -> int:
        reasons, evicted = found
        for reason, records in reasons.items():
            self.telemetry.count("shipper_sink_dead_letters_total", records, self.sink, reason)
        self._say_evicted(evicted)
        return sum(reasons.values())

    async def tidy(self, now_ns: int) -> int:
        """What is over its age goes, the newest file too (L3). Returns how many records went. Raises OSError."""
        return await self._alone(self._tidy, self._say_evicted, now_ns)

    async def remove(self, ids: Container[str]) -> int:
        """Forget these letters, durably (L6): they were delivered, or nobody wants them. Returns how many there were."""
        return await self._alone(self._remove, int, ids)

    async def _alone(self, work: Callable[..., _T], done: Callable[[_T], int], *args: Any) -> int:
        """L7. `done` is given what the thread found, cancelled or not, so that it is counted."""
        async def locked() -> int:
            async with self._lock:
                return done(await asyncio.to_thread(work, *args))

        task = asyncio.create_task(locked())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()                             # seen: whoever asked may have been cancelled, and will ask again

    def _say_evicted(self, evicted: int) -> int:
        if evicted:
            reason = DropReason.DEAD_LETTER_EVICTED.value
            self.telemetry.count("shipper_sink_dropped_records_total", evicted, self.sink, reason)
            self.telemetry.say("warning", "dead_letters_evicted", about=self.sink, records=evicted, mend="replay or purge them")
        return evicted

    def _tidy(self, now_ns: int) -> int:
        if self._numbers is None:
            if not self._found():
                return 0
            self._open()
        self._numbers = self._found()
        evicted = self._evict(now_ns)
        assert self._numbers is not None
        if len(self._numbers) == 1 and now_ns / 1e9 - os.stat(self._path(self._numbers[0])).st_mtime > self.max_age_s:
            evicted += sum(1 for _ in self._lines(self._numbers[0]))
            os.unlink(self._path(self._numbers.pop()))
        return evicted

    def _remove(self, ids: Container[str]) -> int:
        removed: list[str] = []
        for number in self._found():
            gone = [line["record"]["id"] for line in self._lines(number) if line["record"]["id"] in ids]
            if gone:
                self._rewrite(number, frozenset(gone))
                removed += gone
        for record_id in removed:
            self._seen.pop(record_id, None)
        return len(removed)

    def _rewrite(self, number: int, gone: Container[str]) -> None:
        """L6. The file keeps its time: its age counts."""
        path, temporary = self._path(number), self._path(number) + ".tmp"
        left = [line for line, found in self._raw_lines(number) if found["record"]["id"] not in gone]
        if left:
            seen = os.stat(path)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(b"".join(left))
                file.flush()
                os.fsync(descriptor)
                os.utime(descriptor, ns=(seen.st_atime_ns, seen.st_mtime_ns))
            os.rename(temporary, path)
        else:
            os.unlink(path)
            if self._numbers is not None:
                self._numbers.remove(number)
        sync_directory(self.directory)

    def read(self) -> Iterator[dict[str, Any]]:
        """All dead letters, oldest first. Lines that are no JSON (torn by a crash) are left out."""
        for number in self._found():
            yield from self._lines(number)

    def _write(self, candidates: Sequence[Candidate], now_ns: int) -> tuple[dict[str, int], int]:
        if self._numbers is None:
            self._open()
        else:                                            # somebody may have removed files by hand
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            self._numbers = self._found()
        lines: list[bytes] = []
        ids: dict[str, None] = {}
        reasons: dict[str, int] = {}
        for batch, reason, response in candidates:
            for index, item in enumerate(batch.ids):
                record_id = f"{batch.key}:{item.decode('ascii', 'replace')}"
                if record_id not in self._seen and record_id not in ids:
                    ids[record_id] = None
                    lines.append(dead_line(batch.slice(index, index + 1), reason.value, self.telemetry.scrub(response), now_ns))
                    reasons[reason.value] = reasons.get(reason.value, 0) + 1
        if lines:
            self._append(b"".join(lines))
            self._remember(list(ids))
        return reasons, self._evict(now_ns)

    def _append(self, data: bytes) -> None:
        """One write, one fsync; a new file's name is synced with its directory. A failed write is taken back."""
        assert self._numbers is not None
        if not self._numbers or os.path.getsize(self._path(self._numbers[-1])) >= self.file_bytes:
            self._numbers.append(self._numbers[-1] + 1 if self._numbers else 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path(self._numbers[-1]), flags, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if not before:
            sync_directory(self.directory)

    def _open(self) -> None:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        numbers = self._found()
        if numbers:
            _cut_torn_line(self._path(numbers[-1]))
        for number in numbers[-2:]:
            self._remember([line["record"]["id"] for line in self._lines(number)])
        self._numbers = numbers

    def _remember(self, ids: Sequence[str]) -> None:
        self._seen.update(dict.fromkeys(ids))
        while len(self._seen) > IDS_KEPT:
            del self._seen[next(iter(self._seen))]

    def _evict(self, now_ns: int) -> int:
        """L3. The newest file stays. Returns how many records went."""
        assert self._numbers is not None
        stats = {number: os.stat(self._path(number)) for number in self._numbers}
        total_bytes = sum(stat.st_size for stat in stats.values())
        evicted = 0
        for number in self._numbers[:-1]:
            too_old = now_ns / 1e9 - stats[number].st_mtime > self.max_age_s
            if total_bytes <= self.max_bytes and not too_old:
                break
            evicted += sum(1 for _ in self._lines(number))
            os.unlink(self._path(number))
            total_bytes -= stats[number].st_size
            self._numbers = self._numbers[1:]
        return evicted

    def _found(self) -> list[int]:
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        numbers = {int(name[:-7]) for name in names if name.endswith(".ndjson") and name[:-7].isascii() and name[:-7].isdigit()}
        return sorted(number for number in numbers if os.path.basename(self._path(number)) in names)

    def _lines(self, number: int) -> Iterator[dict[str, Any]]:
        return (found for _, found in self._raw_lines(number))

    def _raw_lines(self, number: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Each letter as it stands in the file, newline included, and what it says."""
        try:
            file = open(self._path(number), "rb")  # noqa: SIM115 - closed below; only its absence is no error
        except FileNotFoundError:                  # evicted or replayed since it was listed, by the agent
            return
        with file:
            for line in file:
                found = letter_of(line)
                if isinstance(found, dict) and isinstance(found.get("record"), dict) and "id" in found["record"]:
                    yield line if line.endswith(b"\n") else line + b"\n", found

    def _path(self, number: int) -> str:
        return os.path.join(self.directory, f"{number:06d}.ndjson")


def _cut_torn_line(path: str) -> None:
    """L4."""
    with open(path, "r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
            os.fsync(file.fileno())
