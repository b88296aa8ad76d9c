"""S1 to S4: the order in which the agent is put together and put away, whatever ends it."""
from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.agent import app as under_test
from shipper.agent.app import run_agent
from shipper.agent.audit import AuditFacts
from shipper.agent.client import ask
from shipper.config.loader import Loaded
from shipper.config.types import Admin, Log
from shipper.errors import Fatal, ShipperError, Usage

from .fakes import World

WITHIN_S = 30.0


def started(world: World, **settings: Any) -> asyncio.Task[int]:
    return asyncio.create_task(run_agent(world.config_path, parts=world.parts, **settings))


async def running(world: World) -> None:
    await asyncio.wait_for(world.pipeline.running.wait(), WITHIN_S)


def terminate(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


async def ended(task: asyncio.Task[int]) -> int:
    return await asyncio.wait_for(task, WITHIN_S)


async def test_sigterm_drains_and_the_last_line_names_what_stays_per_sink(world: World) -> None:
    world.pipeline.held = {"central": {"bytes": 4096}}
    task = started(world)
    await running(world)
    terminate()
    assert await ended(task) == 0
    assert world.pipeline.calls == ["lock", "start", "run", "shutdown 1.5", "release"]
    last = world.lines()[-1]
    assert (last["event"], last["exit_code"], last["signal"]) == ("stopped", 0, "SIGTERM")
    assert last["held"] == {"central": {"bytes": 4096}}
    assert world.line("started")["level"] == "info"


async def test_the_last_line_names_what_stays_where_the_buffer_cannot_be_closed_too(world: World) -> None:
    world.pipeline.held = {"central": {"bytes": 4096}}
    world.pipeline.shutdown_error = Fatal("the buffer's writer stopped: OSError()")
    task = started(world)
    await running(world)
    terminate()
    assert await ended(task) == 1
    last = world.lines()[-1]
    assert (last["event"], last["exit_code"], last["held"]) == ("stopped", 1, {"central": {"bytes": 4096}})


async def test_the_admin_socket_answers_while_it_runs_and_is_gone_afterwards(world: World) -> None:
    world.pipeline.audit = AuditFacts([], {}, total_bytes=5, retired_bytes=5)
    task = started(world)
    await running(world)
    loop = asyncio.get_running_loop()
    status = await loop.run_in_executor(None, ask, world.state_dir, "/status")
    assert (status["node"], status["ready"], status["healthy"], status["config"]["shutdown_grace"]) == ("n1", True, True, 1.5)
    assert (await loop.run_in_executor(None, ask, world.state_dir, "/audit"))["totals"]["balanced"]
    terminate()
    assert await ended(task) == 0
    assert not os.path.exists(os.path.join(world.state_dir, "admin.sock"))


async def test_vw1_who_asks_during_recovery_is_answered_and_told_that_it_is_not_ready(world: World) -> None:
    """`shipper audit` said "failed: ShipperError; see the agent's log", where it was counted as an error of ours."""
    world.pipeline.start_gate = asyncio.Event()
    task = started(world)
    await running(world)
    loop = asyncio.get_running_loop()
    status = await loop.run_in_executor(None, ask, world.state_dir, "/status")
    assert (status["node"], status["ready"], status["healthy"]) == ("n1", False, True)
    with pytest.raises(ShipperError, match="503 to /audit: the buffer is not open yet; ask again"):
        await loop.run_in_executor(None, ask, world.state_dir, "/audit")
    assert not [line for line in world.lines() if line["event"] == "admin_error"]
    world.pipeline.start_gate.set()
    while "run" not in world.pipeline.calls:
        await asyncio.sleep(0)
    assert (await loop.run_in_executor(None, ask, world.state_dir, "/status"))["ready"]
    terminate()
    assert await ended(task) == 0


async def test_sigterm_while_waiting_for_the_lock_ends_it(world: World) -> None:
    world.lock_gate = asyncio.Event()
    task = started(world)
    await running(world)
    terminate()
    assert await ended(task) == 0
    assert world.pipeline.calls == ["lock"]


async def test_sigterm_during_recovery_ends_it_and_closes_what_was_opened(world: World) -> None:
    world.pipeline.start_gate = asyncio.Event()
    task = started(world)
    await running(world)
    terminate()
    assert await ended(task) == 0
    assert world.pipeline.calls == ["lock", "start", "start ended", "shutdown 1.5", "release"]


@pytest.mark.parametrize(("error", "code"), [
    (Fatal("disk gone; mount it"), 1), (Usage("sinks.a.path: wrong; mend it"), 2), (RuntimeError("hunter2"), 1),
])
async def test_a_start_that_fails_is_one_line_and_everything_is_put_away(world: World, error: Exception, code: int) -> None:
    world.pipeline.start_error = error
    assert await ended(started(world)) == code
    assert world.pipeline.calls == ["lock", "start", "shutdown 1.5", "release"]
    failed = world.line("failed")
    if isinstance(error, RuntimeError):
        assert failed["type"] == "RuntimeError" and failed["place"].startswith("fakes.py:") and "hunter2" not in repr(failed)
    else:
        assert failed["why"] == str(error)
    assert world.lines()[-1]["event"] == "stopped"


async def test_a_pipeline_that_cannot_go_on_exits_1(world: World) -> None:
    world.pipeline.run_error = Fatal("state_dir is gone; bring it back")
    assert await ended(started(world)) == 1
    assert world.pipeline.calls[-2:] == ["shutdown 1.5", "release"]


@pytest.mark.parametrize("code", [0, 1])
async def test_once_gives_the_pipelines_code_and_still_shuts_down(world: World, code: int) -> None:
    world.pipeline.once_code = code
    assert await ended(started(world, once=True, timeout_s=3.0)) == code
    shutdown = "shutdown 1.5" if code == 0 else "shutdown 0.0"      # who waited 3 s for the sinks does not wait once more
    assert world.pipeline.calls == ["lock", "start", "once 3.0", shutdown, "release"]


async def test_sigterm_during_once_is_a_failure(world: World) -> None:
    world.pipeline.once_gate = asyncio.Event()
    task = started(world, once=True)
    await running(world)
    terminate()
    assert await ended(task) == 1
    assert world.line("stopped_early")["why"] == "SIGTERM came before --once was finished"


async def test_a_wrong_config_is_usage_before_anything_is_touched(world: World) -> None:
    def load(path: str, environ: Any) -> Loaded:
        raise Usage("shipper.yaml:1:1: wrong")

    with pytest.raises(Usage):
        await run_agent(world.config_path, parts=replace(world.parts, load=load))
    assert world.pipeline.calls == [] and world.lines() == []


async def test_a_port_in_use_fails_before_the_pipeline_starts(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        world.config = msgspec.structs.replace(world.config, admin=Admin(listen=listen))
        assert await ended(started(world)) == 1
    assert world.pipeline.calls == ["lock", "release"]
    assert world.line("failed")["why"].startswith(f"admin.listen: cannot listen on {listen}: Address already in use; ")


async def test_a_shutdown_that_hangs_is_cut_off_and_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "SHUTDOWN_MARGIN_S", -1.49)
    world.pipeline.shutdown_gate = asyncio.Event()
    task = started(world)
    await running(world)
    terminate()
    assert await ended(task) == 0
    assert world.pipeline.calls[-1] == "shutdown 1.5"        # not "release": another agent would write beside what still does
    assert "nothing is lost" in world.line("shutdown_stuck")["why"]


async def test_a_shutdown_that_hangs_and_a_buffer_that_cannot_be_closed_either_end_with_the_last_line(
    world: World, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that stands still: nothing was said any more, until whoever runs the agent killed it."""
    monkeypatch.setattr(under_test, "SHUTDOWN_MARGIN_S", -1.49)
    monkeypatch.setattr(under_test, "CUT_OFF_S", 0.01)
    world.pipeline.held = {"central": {"bytes": 4096}}
    world.pipeline.shutdown_gate, disk = asyncio.Event(), asyncio.Event()
    shutdown = world.pipeline.shutdown

    async def with_a_buffer(grace_s: float, held: dict[str, Any]) -> None:
        try:
            await shutdown(grace_s, held)
        finally:
            await disk.wait()

    monkeypatch.setattr(world.pipeline, "shutdown", with_a_buffer)
    task = started(world)
    await running(world)
    terminate()
    done, _ = await asyncio.wait([task], timeout=5.0)
    disk.set()
    assert done and task.result() == 0
    assert [line["event"] for line in world.lines()][-2:] == ["shutdown_stuck", "stopped"]
    assert world.lines()[-1]["held"] == {"central": {"bytes": 4096}}


async def test_who_stops_the_agent_is_told_at_once_how_long_it_may_take(world: World) -> None:
    world.pipeline.shutdown_gate = asyncio.Event()
    task = started(world)
    await running(world)
    terminate()
    async with asyncio.timeout(10):
        while not any(line["event"] == "stopping" for line in world.lines()):
            await asyncio.sleep(0.01)
    assert world.line("stopping")["signal"] == "SIGTERM" and "up to 1.5 s" in world.line("stopping")["why"]
    world.pipeline.shutdown_gate.set()
    assert await ended(task) == 0


async def test_sighup_reloads_and_the_log_level_follows(world: World) -> None:
    task = started(world)
    await running(world)
    world.config = msgspec.structs.replace(world.config, log=Log(level="debug"))
    terminate(signal.SIGHUP)
    await asyncio.wait_for(world.pipeline.applied.wait(), WITHIN_S)
    terminate()
    assert await ended(task) == 0
    assert world.line("reload_applied")["changes"] == "log.level"


async def test_a_changed_config_file_reloads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "WATCH_EVERY_S", 0.01)
    task = started(world)
    await running(world)
    world.config = msgspec.structs.replace(world.config, log=Log(level="debug"))
    Path(world.config_path).write_text("sources: {a: 1}\n")
    await asyncio.wait_for(world.pipeline.applied.wait(), WITHIN_S)
    terminate()
    assert await ended(task) == 0
    assert world.line("reload_applied")["cause"] == f"{world.config_path} changed"


async def test_a_config_that_changed_while_the_agent_waited_for_its_lock_is_loaded(world: World) -> None:
    """A rolling update: the ConfigMap came while the agent before this one still held the lock, and was never looked at."""
    world.lock_gate = asyncio.Event()
    task = started(world)
    await running(world)
    world.config = msgspec.structs.replace(world.config, log=Log(level="debug"))
    Path(world.config_path).write_text("sources: {a: 1}\n")
    world.lock_gate.set()
    await asyncio.wait_for(world.pipeline.applied.wait(), WITHIN_S)
    terminate()
    assert await ended(task) == 0
    assert world.line("reload_applied")["cause"] == f"{world.config_path} changed"


async def test_systemd_hears_ready_watchdog_and_stopping(world: World) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = os.path.join(world.state_dir, "n")
        manager.bind(path)
        world.environ.update({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"})
        loop = asyncio.get_running_loop()
        manager.setblocking(False)
        heard: list[bytes] = []
        loop.add_reader(manager, lambda: heard.append(manager.recv(100)))       # at once: a full queue takes no STOPPING=1
        task = started(world)
        await running(world)
        async with asyncio.timeout(WITHIN_S):
            while not {b"READY=1", b"WATCHDOG=1"} <= set(heard):
                await asyncio.sleep(0.001)
            assert b"STOPPING=1" not in heard
            terminate()
            assert await ended(task) == 0
            while b"STOPPING=1" not in heard:
                await asyncio.sleep(0.001)
        loop.remove_reader(manager)


async def test_the_watchdog_starves_as_soon_as_healthz_would_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck: list[str] = []
    looked: list[list[str]] = []

    def problems(health: object, now_s: float) -> list[str]:
        looked.append(list(stuck))
        return stuck

    monkeypatch.setattr(under_test.Health, "problems", problems)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = os.path.join(world.state_dir, "n")
        manager.bind(path)
        manager.setblocking(False)
        world.environ.update({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"})
        task = started(world)
        await running(world)
        loop = asyncio.get_running_loop()
        while await asyncio.wait_for(loop.sock_recv(manager, 100), WITHIN_S) != b"WATCHDOG=1":
            pass
        stuck.append("loop silent for 31 s")
        status = await loop.run_in_executor(None, ask, world.state_dir, "/status")
        assert status["healthy"] is False
        while looked[-5:] != [stuck] * 5:                          # it was looked at, five times, and not fed
            await asyncio.sleep(0.002)
        with contextlib.suppress(BlockingIOError):                 # what was sent before
            while manager.recv(100):
                pass
        seen = len(looked)
        while len(looked) < seen + 5:
            await asyncio.sleep(0.002)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        terminate()
        assert await ended(task) == 0


async def test_the_garbage_collector_is_set_for_the_hot_path(world: World) -> None:
    task = started(world)
    await running(world)
    assert gc.get_threshold() == (100_000, 50, 50) and gc.get_freeze_count() > 0
    terminate()
    await ended(task)


async def test_aiohttp_and_prometheus_are_not_imported_by_a_start(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, signal, os\n"
        "from tests.agent.fakes import World\n"
        "from shipper.agent.app import run_agent\n"
        f"world = World({str(tmp_path)!r})\n"
        "async def main():\n"
        "    task = asyncio.create_task(run_agent(world.config_path, parts=world.parts))\n"
        "    await world.pipeline.running.wait()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return await task\n"
        "assert asyncio.run(main()) == 0\n"
        "print([m for m in ('aiohttp', 'prometheus_client') if m in sys.modules])\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"[]\n"
