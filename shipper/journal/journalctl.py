"""The journal by `journalctl -o export`, a child process: what every host with systemd has. Driver.

Invariants:
  X1  the cursor's own entry is asked for, not what follows it: journalctl --after-cursor passes over one entry too many where
      the cursor's is gone (systemd 252), and only the entry itself proves that nothing was vacuumed
  X2  --follow means this boot alone (systemd 250 and later, whatever --boot says): what is there is read without it first. The
      boots of another machine's journal (`directory`) are told apart by nobody but --merge
  X3  the child ends with its stream, whatever ends that; where the agent is killed, its pipe is closed and it ends by itself
  X4  what it says on standard error is bounded, and is the reason of the Trouble
"""
from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .export import MESSAGE, Entry, ExportParser
from .places import Place, place_of
from .ports import Trouble
from .records import CURSOR, MOST_FIELD_BYTES, PRIORITY, REALTIME

READ_BYTES = 128 * 1024
QUIET_S = 1.0
ENDS_WITHIN_S = 2.0
MOST_ERROR_BYTES = 2000
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the journal is read. Empty: no filter of that kind. `directory` "": the host's own journal."""

    directory: str = ""
    units: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    priority: str = ""
    this_boot: bool = False
    fields: tuple[str, ...] = ()

    @property
    def unfiltered(self) -> bool:
        return not (self.units or self.identifiers or self.priority or self.this_boot)


def arguments(
    wanted: Wanted, *, cursor: str = "", follow: bool = False, lines: int | None = None, filtered: bool = True,
    reverse: bool = False,
) -> list[str]:
    """What stands behind `journalctl`."""
    out = ["--output=export", "--quiet", "--no-pager", "--all"]
    names = ["MESSAGE", "PRIORITY", *wanted.fields]
    out.append("--output-fields=" + ",".join(dict.fromkeys(names)))
    if wanted.directory:
        out.append(f"--directory={wanted.directory}")
    if cursor:
        out.append(f"--cursor={cursor}")
    if reverse:
        out.append("--reverse")
    if lines is not None:
        out.append(f"--lines={lines}")
    elif follow:
        out += ["--follow", "--no-tail", *(["--merge"] if wanted.directory else [])]
    if filtered:
        out += [f"--unit={unit}" for unit in wanted.units]
        out += [f"--identifier={name}" for name in wanted.identifiers]
        out += [f"--priority={wanted.priority}"] if wanted.priority else []
        out += [f"_BOOT_ID={_boot_id()}"] if wanted.this_boot else []
    return out


def _boot_id() -> str:
    with open(BOOT_ID) as file:
        return file.read().strip().replace("-", "")


class Journalctl:
    """See ports.Backend."""

    def __init__(self, wanted: Wanted, max_line: int, program: Sequence[str] = ("journalctl",)) -> None:
        self._wanted, self._max_line, self._program = wanted, max_line, tuple(program)

    async def stream(self, cursor: str, *, follow: bool) -> ProcessStream:
        return await self._begin(arguments(self._wanted, cursor=cursor, follow=follow))

    async def backwards(self, cursor: str) -> ProcessStream:
        return await self._begin(arguments(self._wanted, cursor=cursor, reverse=True))

    async def first_at(self, cursor: str) -> Entry | None:
        return await self._one(arguments(self._wanted, cursor=cursor, lines=1, filtered=False))

    async def newest(self) -> Entry | None:
        return await self._one(arguments(self._wanted, lines=1, filtered=False))

    def place_of(self, cursor: str | bytes) -> Place:
        return place_of(cursor)

    async def _one(self, argv: list[str]) -> Entry | None:
        stream = await self._begin(argv)
        try:
            found: Entry | None = None
            while (entries := await stream.read()) is not None:
                found = found or (entries[0] if entries else None)
            return found
        finally:
            await stream.close()

    async def _begin(self, argv: list[str]) -> ProcessStream:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program, *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, limit=READ_BYTES, env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
            )
        except FileNotFoundError:
            raise Trouble(f"{self._program[0]} is not installed, so the journal cannot be read; install systemd's, or remove "
                          "this source") from None
        except OSError as error:
            raise Trouble(f"{self._program[0]} cannot be started: {error.strerror}") from None
        wanted = {CURSOR, REALTIME, MESSAGE, PRIORITY, *(name.encode() for name in self._wanted.fields)}
        return ProcessStream(process, ExportParser(wanted, max(self._max_line, MOST_FIELD_BYTES)), self._program[0])


class ProcessStream:
    """See ports.Stream."""

    def __init__(self, process: asyncio.subprocess.Process, parser: ExportParser, name: str) -> None:
        self._process, self._parser, self._name = process, parser, name
        self._errors = bytearray()
        assert process.stdout is not None and process.stderr is not None
        self._stdout = process.stdout
        self._listening = asyncio.create_task(self._listen(process.stderr), name="journal errors")
        self._reading: asyncio.Task[bytes] | None = None
        self._interrupted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        """X4."""
        while data := await stderr.read(4096):
            self._errors += data[: max(0, MOST_ERROR_BYTES - len(self._errors))]

    def interrupt(self) -> None:
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    async def read(self, quiet_s: float = QUIET_S) -> list[Entry] | None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._stdout.read(READ_BYTES), name="journal")
        # `wait` leaves the read alone when time is up: a cancelled one could have taken bytes already.
        waits: set[asyncio.Future[Any]] = {self._reading} if self._interrupted.done() else {self._reading, self._interrupted}
        await asyncio.wait(waits, timeout=quiet_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return []
        data = self._reading.result()
        self._reading = None
        if not data:
            await self._ended()
            return None
        try:
            return self._parser.feed(data)
        except ValueError as error:
            raise Trouble(f"{self._name}: {error}") from None

    async def _ended(self) -> None:
        code = await self._process.wait()
        await self._listening
        if code:
            said = " ".join(bytes(self._errors).decode("utf-8", "replace").split()) or "no reason given"
            mend = "; add the agent's user to the group systemd-journal" if "permission" in said.lower() else ""
            raise Trouble(f"{self._name} ended with code {code}: {said}{mend}")

    async def close(self) -> None:
        """X3."""
        for sign in (self._process.terminate, self._process.kill):
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):        # it ended by itself meanwhile
                    sign()
                with contextlib.suppress(TimeoutError):              # it did not listen: the next one is stronger
                    async with asyncio.timeout(ENDS_WITHIN_S):
                        await self._process.wait()
        for task in (self._reading, self._listening):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
