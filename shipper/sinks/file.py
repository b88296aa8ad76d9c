"""Files, exactly once: NDJSON, raw lines or logfmt to paths made of metadata, with rotation.

    encode ─► [(path, pieces)] ─► send ─► Engine.write ─┐ one thread; the order of jobs is the order of calls
    each 4 MiB or 0.5 s ───────────────► Engine.sync  ──┤
    delivery: durable, rewound ────────► Engine.durable ┘          confirmed(number, state) ─► cursor, durable together

Invariants (the engine's are in _file_engine.py):
  FS1  `confirmed(n, state)` is called only after everything up to request n is fsynced, and `state` knows exactly that
  FS2  what was synced before a rewind is not confirmed after it
  FS3  a send that is cancelled is taken back, also where its write is already running
  FS4  a file that is due to be rotated waits for the durable cursor, at most ROTATE_WAIT_S; then it grows on
Driver: per request one hop to the thread (50 us), one lstat and one writev per path.
"""
from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote

from ..encode import logfmt, raw, record_json
from ..encode.template import compile_template
from ..errors import Fatal, Retryable
from ..model import Batch, Request
from . import SinkContext, SinkSpec
from ._file_config import FileConfig, guarantee, problems, root_of, rules_of, trouble
from ._file_disk import Disk
from ._file_engine import Engine, Notice
from ._file_journal import Journal
from ._file_rotate import Rotation

SYNC_BYTES = 4 * 1024 * 1024
SYNC_INTERVAL_S = 0.5
ROTATE_WAIT_S = 5.0
_ENCODERS: dict[str, ModuleType] = {"ndjson": record_json, "raw": raw, "logfmt": logfmt}
_T = TypeVar("_T")
Payload = list[tuple[str, list[bytes]]]


class FileSink:
    """See the module. `disk`, `now_s`: for tests."""

    def __init__(
        self, config: FileConfig, context: SinkContext, disk: Disk | None = None, now_s: Callable[[], float] = time.time,
    ) -> None:
        self._context = context
        self._template = compile_template(config.path, "path")
        self._pieces: Callable[[Batch], list[bytes]] = _ENCODERS[config.format].pieces
        if config.merge and config.format != "raw":
            self._pieces = partial(self._pieces, merge=True)
        root, modes = root_of(self._template), (int(config.mode, 8), int(config.dir_mode, 8))
        self._late_notices: deque[Notice] = deque()
        self._background: ThreadPoolExecutor | None = None
        self._rotation = Rotation(root, disk or Disk(*modes), rules_of(config.rotate), self._in_background, self._not_finished)
        journal = Journal(disk or Disk(0o600, 0o700), f"{context.state_dir}/sinks/{quote(context.name, safe='')}.json")
        self._engine = Engine(root, disk or Disk(*modes), journal, self._rotation, config.max_open_files, now_s)
        self._thread: ThreadPoolExecutor | None = None
        self._sync_lock, self._durable_news = asyncio.Lock(), asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._sync_task: asyncio.Task[None] | None = None
        self._unsynced_bytes = self._rewinds = self._confirmed_number = self._durable_number = 0
        self._rotate_not_before_s = 0.0

    # ------------------------------------------------------------ what delivery calls

    async def start(self, state: Any) -> None:
        """Cut the files back to `state`. Retryable where they cannot be reached, Fatal where the state is not ours."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, f"sink-{self._context.name}")
        try:
            await self._run(self._engine.recover, state)
        except ValueError as error:
            raise Fatal(f"cannot go on from the stored state: {error}; give this sink another name, or `previously`") from error

    def encode(self, batches: Sequence[Batch]) -> Payload:
        """Pieces per path, paths in the order of their first batch."""
        parts: dict[str, list[bytes]] = {}
        for batch in batches:
            if len(batch):
                parts.setdefault(self._template.render(batch), []).extend(self._pieces(batch))
        return list(parts.items())

    async def send(self, request: Request, payload: Payload) -> None:
        """All of it into the page cache; Retryable with none of it written."""
        try:
            patient = asyncio.get_running_loop().time() >= self._rotate_not_before_s
            if not await self._run(self._write, request.number, payload, patient):
                await self._wait_for_rotation()
                await self._run(self._write, request.number, payload, False)
        except asyncio.CancelledError:
            self._submit(self._engine.undo, request.number - 1)
            raise
        self._unsynced_bytes += sum(len(piece) for _, pieces in payload for piece in pieces)
        self._sync_soon()

    async def flush(self, deadline_s: float) -> None:
        try:
            await asyncio.wait_for(self._sync(), deadline_s)
        except TimeoutError:
            raise Retryable(f"fsync takes longer than {deadline_s:g} s; see to the disk") from None

    def durable(self, number: int) -> None:
        self._durable_number = number
        self._submit(self._engine.durable, number)
        self._durable_news.set()

    def rewound(self, number: int) -> None:
        """What came after `number` is cut off: it will come again (FS2)."""
        self._rewinds += 1
        self._confirmed_number = min(self._confirmed_number, number)
        self._submit(self._engine.rewound, number)

    async def close(self) -> None:
        """Files end where the last confirmed request ends."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sync_task is not None:
            self._sync_task.cancel()
            await asyncio.gather(self._sync_task, return_exceptions=True)
        self._rotation.stop()
        if self._thread is not None:
            await self._run(self._engine.close, self._confirmed_number)
            self._thread.shutdown(wait=False)
            self._thread = None             # a cursor may become durable later
        if self._background is not None:
            self._background.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------ sync and confirm

    def _sync_soon(self) -> None:
        if self._unsynced_bytes >= SYNC_BYTES:
            self._begin_sync()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SYNC_INTERVAL_S, self._begin_sync)

    def _begin_sync(self) -> None:
        if self._sync_task is None or self._sync_task.done():
            self._sync_task = asyncio.create_task(self._sync_in_background())

    async def _sync_in_background(self) -> None:
        try:
            await self._sync()
        except Retryable:
            return              # delivery was told by `resend`

    async def _sync(self) -> None:
        """FS1. Retryable, with everything asked for again, where the disk does not take it."""
        async with self._sync_lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._unsynced_bytes, rewinds = 0, self._rewinds
            try:
                synced = await self._run(self._engine.sync)
            except Retryable as error:
                if rewinds == self._rewinds:
                    self._context.resend(error)
                raise
            if synced is not None and rewinds == self._rewinds and synced[0] > self._confirmed_number:
                self._confirmed_number = synced[0]
                self._context.confirmed(*synced)

    async def _wait_for_rotation(self) -> None:
        """FS4: all that was sent becomes durable; nothing is written meanwhile."""
        await self._sync()
        try:
            async with asyncio.timeout(ROTATE_WAIT_S):
                while self._durable_number < self._confirmed_number:
                    self._durable_news.clear()
                    await self._durable_news.wait()
        except TimeoutError:
            self._rotate_not_before_s = asyncio.get_running_loop().time() + 6 * ROTATE_WAIT_S
            self._context.telemetry.say("warning", "rotation_put_off", about=self._context.name,
                                        why="the cursor did not become durable in time; the file grows on meanwhile")

    # ------------------------------------------------------------ the threads

    def _write(self, number: int, payload: Payload, patient: bool) -> bool:
        return self._engine.write(number, payload, patient=patient)

    async def _run(self, job: Callable[..., _T], *args: Any) -> _T:
        """On the sink's thread, behind all jobs before it. OSError comes back as Retryable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job, *args)
        except OSError as error:
            raise trouble(error) from error
        finally:
            self._report()

    def _submit(self, job: Callable[..., object], *args: Any) -> None:
        """Like `_run`, for those who cannot wait. What fails is tried again with the next such job."""
        if self._thread is not None:
            self._thread.submit(job, *args).add_done_callback(self._submitted)

    def _submitted(self, future: Future[object]) -> None:
        error = future.exception()
        if error is not None:
            why = str(trouble(error)) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            self._late_notices.append(Notice("warning", "output files not tidied up", self._context.name, why))

    def _in_background(self, job: Callable[[], None]) -> None:
        """Compression: one at a time, beside the writing."""
        if self._background is None:
            self._background = ThreadPoolExecutor(1, f"gzip-{self._context.name}")
        self._background.submit(job)

    def _not_finished(self, path: str, why: str) -> None:
        self._late_notices.append(Notice("warning", "rotated file not finished", path, why))

    def _report(self) -> None:
        """What the threads have to say, said from the loop."""
        for notices in (self._engine.notices, self._late_notices):
            while notices:
                notice = notices.popleft()
                self._context.telemetry.say(notice.level, notice.event, about=notice.about, why=notice.why)


SINK = SinkSpec(
    summary="Files, exactly once: NDJSON, raw lines or logfmt, with rotation and paths made of metadata.",
    config=FileConfig,
    build=FileSink,
    check=problems,
    guarantee=guarantee,
    confirms="later",
    targets=lambda config: [f"file {config.path}"],
    concurrency=1,
)
