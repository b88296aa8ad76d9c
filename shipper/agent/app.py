"""The agent as a process: what is opened in which order, what ends it, and in which order it is put away.

    load config ─► log ─► signals ─► state lock ─► admin sockets ─► pipeline.start ─► READY ─► run_until | once
                                                                                                  │ stop, end, Fatal
    last line ◄─ lock freed ◄─ admin closed ◄─ pipeline.shutdown(grace) ◄─ STOPPING ◄─────────────┘

Invariants (tests/agent/test_app.py):
  S1  SIGTERM ends each of these steps, waiting for the lock and recovery included; a second one ends the process at once
  S2  whatever ends it, what was opened is closed, and the last log line names what stays in the buffer, per sink;
      where that takes too long it is cut off, and the lock stays with the process
  S3  a side task (health, reload, watchdog) that fails is said and counted; it never ends the agent (side_tasks.py)
  S4  exit codes: 0 stopped or --once finished; 1 failed, --once out of time, stopped, or with a log not read; 2 wrong config
Plane: driver.
"""
from __future__ import annotations

import asyncio
import errno
import gc
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import __version__
from ..config.secrets import secrets_of
from ..errors import ShipperError, Usage
from ..telemetry import Telemetry
from . import memory
from .admin import Admin
from .health import SAMPLE_EVERY_S, Health
from .history import EVERY_S as PAGE_SAMPLE_EVERY_S
from .logging import LogWriter, describe, loop_exception_handler, route_library_logs, writer
from .loop_watch import LoopWatch
from .reload import Reloader
from .side_tasks import SideTasks
from .signals import WATCH_EVERY_S, ConfigWatch, Signals
from .systemd import notify, watchdog_interval_s
from .views import AgentViews

if TYPE_CHECKING:
    from ..config.loader import Loaded
    from ..config.types import Config
    from .pipeline import Pipeline

T = TypeVar("T")
DONE, FAILED, USAGE = 0, 1, 2

SHUTDOWN_MARGIN_S = 5.0
"""How long after shutdown_grace the final sync and the closing of files may take."""

CUT_OFF_S = 2.0
"""How long what is cut off then may take to close the buffer: a disk that stands still takes for ever."""


def _load(path: str, environ: Mapping[str, str]) -> Loaded:
    from ..config.loader import load

    return load(path, environ)


def _build(config: Config, telemetry: Telemetry) -> Pipeline:
    from .run import Pipeline as Built

    return Built(config, telemetry)


async def _lock(config: Config, telemetry: Telemetry) -> Releasable:
    from ..buffer.lock import Lock

    try:
        os.makedirs(config.state_dir, 0o700, exist_ok=True)
    except OSError as error:
        mend = "mount a directory there that can be written" if error.errno == errno.EROFS else "make it"
        raise Usage(f"state_dir {config.state_dir} cannot be made: {error.strerror}; {mend}, or name another one") from None
    return await Lock.take(config.state_dir, config.lock_wait, telemetry)


class Releasable(Protocol):
    """A held lock."""

    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the agent is put together from; tests put in their own.

    lock  makes the state directory and waits until it is ours
    """

    load: Callable[[str, Mapping[str, str]], Loaded] = _load
    build: Callable[[Config, Telemetry], Pipeline] = _build
    lock: Callable[[Config, Telemetry], Awaitable[Releasable]] = _lock
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    log_fd: int = 2


class Stopped(Exception):
    """SIGTERM or SIGINT came while something was awaited (S1)."""


async def run_agent(
    config_path: str, *, once: bool = False, timeout_s: float | None = None, parts: Parts | None = None,
) -> int:
    """Run until told to stop; the exit code (S4). Raises Usage where the config is wrong: nothing was touched then."""
    memory.tune_malloc()
    parts = parts or Parts()
    watch = ConfigWatch(config_path)   # before it is read: what changes while the agent waits for its lock is loaded behind that
    loaded = parts.load(config_path, parts.environ)
    config = loaded.config
    telemetry = Telemetry()
    log = writer(config.log.level, config.log.format, fd=parts.log_fd,
                 on_left_out=lambda lines: telemetry.count("shipper_log_lines_dropped_total", lines))
    telemetry.write = log
    route_library_logs(telemetry)
    _keep_secrets(config, telemetry)
    for warning in loaded.warnings:
        telemetry.say("warning", "config", about=warning)
    agent = Agent(config_path, config, telemetry, log, parts, watch)
    try:
        return await agent.run(once, timeout_s)
    finally:
        log.close()


def _keep_secrets(config: Config, telemetry: Telemetry) -> None:
    for secret in secrets_of(config):
        telemetry.keep_secret(secret)


class Agent:
    """One run of the agent."""

    def __init__(
        self, config_path: str, config: Config, telemetry: Telemetry, log: LogWriter, parts: Parts, watch: ConfigWatch,
    ) -> None:
        self._config_watch = watch
        self._path, self._telemetry, self._log, self._parts = config_path, telemetry, log, parts
        self._pipeline = parts.build(config, telemetry)
        self._health, self._loop_watch = Health(), LoopWatch(telemetry)
        self._reloader = Reloader(config, self._load_again, self._pipeline, telemetry)
        self._signals, self._cause = Signals(self._exit_at_once), ""
        self._views, self._shows_page = AgentViews(self._pipeline, self._health, self._reloader, telemetry), False
        self._side = SideTasks(telemetry)
        self._cut_off = False
        self._out_of_time = False          # --once --timeout has waited for the sinks already: no grace on top
        self._held: dict[str, Mapping[str, Any]] = {}

    def _load_again(self) -> Config:
        config = self._parts.load(self._path, self._parts.environ).config
        _keep_secrets(config, self._telemetry)
        return config

    @property
    def config(self) -> Config:
        """What runs now, reloads included."""
        return self._reloader.config

    async def run(self, once: bool, timeout_s: float | None) -> int:
        asyncio.get_running_loop().set_exception_handler(loop_exception_handler(self._telemetry))
        self._telemetry.say("info", "starting", version=__version__, node=self.config.node, config=self._path, pid=os.getpid(),
                            state_dir=self.config.state_dir, admin=self.config.admin.listen, sources=sorted(self.config.sources),
                            sinks=sorted(self.config.sinks))
        began_s = time.monotonic()
        code = await self._survive(self._locked(once, timeout_s), "agent")
        self._telemetry.say("info" if code == DONE else "error", "stopped", exit_code=code, signal=self._signals.received,
                            after_s=round(time.monotonic() - began_s, 1), held={k: dict(v) for k, v in self._held.items()})
        self._signals.close()
        return code

    async def _survive(self, step: Coroutine[Any, Any, int], about: str) -> int:
        """The exit code of `step`; what it raises becomes a line and a code."""
        try:
            return await step
        except Stopped:
            return DONE
        except ShipperError as error:
            self._telemetry.say("error", "failed", about=about, why=str(error))
            return USAGE if isinstance(error, Usage) else FAILED
        except Exception as error:  # noqa: BLE001 - S2: also then everything is put away and the last line is written
            self._telemetry.count("shipper_errors_total", 1, about)
            self._telemetry.say("error", "failed", about=about, **describe(error))
            return FAILED

    async def _locked(self, once: bool, timeout_s: float | None) -> int:
        lock = await self._unless_stopped(self._parts.lock(self.config, self._telemetry))
        try:
            admin = Admin(self.config.state_dir, self.config.admin, self._telemetry)
            self._shows_page = admin.shows_page
            admin.serve(self._views.served())
            try:
                return await self._with_pipeline(once, timeout_s)
            finally:
                await admin.close()
        finally:
            if not self._cut_off:                        # else its writer may still write: the lock ends with the process
                lock.release()

    async def _with_pipeline(self, once: bool, timeout_s: float | None) -> int:
        code = FAILED
        try:
            await self._unless_stopped(self._pipeline.start())
            self._views.started = True
            gc.freeze()                                  # not collected first: 25 ms, a tenth of a start, for 0.1 MB of garbage
            memory.tune_collector()
            self._begin_side_tasks()
            self._loop_watch.start()
            notify("READY=1", self._parts.environ)
            self._telemetry.say("info", "started", after_s=round(self._views.age_s, 3))
            code = await self._main(once, timeout_s)
        finally:
            notify("STOPPING=1", self._parts.environ)
            await self._side.close()
            self._loop_watch.close()
            await self._shut_down()
        return code

    async def _shut_down(self) -> None:
        grace_s = 0.0 if self._out_of_time else self.config.shutdown_grace
        if self._signals.received:
            self._telemetry.say("info", "stopping", signal=self._signals.received,
                                why=f"sinks have up to {grace_s:g} s for what they can take; the rest stays in the buffer. "
                                    "A second signal ends it at once")
        closing = asyncio.create_task(self._pipeline.shutdown(grace_s, self._held), name="shutdown")
        done, _ = await asyncio.wait([closing], timeout=grace_s + SHUTDOWN_MARGIN_S)
        if not done:
            self._telemetry.say("error", "shutdown_stuck", why=f"not finished {SHUTDOWN_MARGIN_S:.0f} s after shutdown_grace; "
                                "nothing is lost: what was not confirmed is sent again at the next start")
            self._cut_off = True
            closing.cancel()
            done, _ = await asyncio.wait([closing], timeout=CUT_OFF_S)
        if done and not closing.cancelled():
            closing.result()

    async def _main(self, once: bool, timeout_s: float | None) -> int:
        if not once:
            await self._pipeline.run_until(self._signals.stop)
            return DONE
        try:
            code = await self._unless_stopped(self._pipeline.once(timeout_s))
            self._out_of_time = code != DONE
            return code
        except Stopped:
            self._telemetry.say("error", "stopped_early", why=f"{self._signals.received} came before --once was finished")
            return FAILED

    async def _unless_stopped(self, step: Awaitable[T]) -> T:
        """What `step` gives, or Stopped as soon as the stop signal comes; `step` is then cancelled and awaited (S1)."""
        task = asyncio.ensure_future(step)
        stop = asyncio.ensure_future(self._signals.stop.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            await asyncio.wait([task])
            raise Stopped
        finally:
            stop.cancel()

    # ---------------------------------------------------------------- beside the pipeline

    def _begin_side_tasks(self) -> None:
        every = self._side.every
        every(SAMPLE_EVERY_S, "health", self._sample_health)
        every(WATCH_EVERY_S, "config_watch", self._look_at_config)
        every(memory.GIVE_BACK_EVERY_S, "memory", memory.give_back)
        if self._shows_page:
            every(PAGE_SAMPLE_EVERY_S, "page_history", self._views.page.sample)
        interval_s = watchdog_interval_s(self._parts.environ)
        if interval_s is not None:
            every(interval_s, "watchdog", self._feed_watchdog)
        self._side.go_on("reload", self._reload_when_told)

    def _sample_health(self) -> None:
        now_s = time.monotonic()
        self._loop_watch.beat()
        self._health.beat("loop", now_s)
        self._health.sample(self._pipeline.stage_facts(), now_s)
        for problem in self._health.problems(now_s):
            self._telemetry.say("error", "stuck", about=problem.split(" for ")[0], why=problem)

    def _look_at_config(self) -> None:
        if self._config_watch.changed():
            self._cause = f"{self._path} changed"
            self._signals.reload.set()

    async def _reload_when_told(self) -> None:
        while True:
            await self._signals.reload.wait()
            self._signals.reload.clear()
            cause, self._cause = self._cause or "SIGHUP", ""
            await self._reloader.reload(cause)
            self._log.level = self.config.log.level

    def _feed_watchdog(self) -> None:
        if not self._health.problems(time.monotonic()):
            notify("WATCHDOG=1", self._parts.environ)

    def _exit_at_once(self, code: int) -> None:
        self._telemetry.say("error", "killed", why="a second signal came; what was not confirmed is sent again at the next start")
        self._log.close(0.5)
        os._exit(code)
