"""G1 to G4: own log lines are whole, never hold the agent up, and hold no content."""
from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import select
import time
from collections.abc import Callable, Iterator

import orjson
import pytest

from shipper.agent import logging as under_test
from shipper.agent.logging import LogWriter, describe, loop_exception_handler, renderer, route_library_logs, writer
from shipper.config.units import Seconds
from shipper.errors import Fatal
from shipper.telemetry import Telemetry


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)
    os.close(write_fd)


def written(pipe: tuple[int, int], log: LogWriter) -> list[dict[str, object]]:
    log.close()
    return [orjson.loads(line) for line in os.read(pipe[0], 1 << 20).splitlines()]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen within 10 s"
        time.sleep(0.001)


def test_a_json_line_has_time_level_event_and_then_the_fields(pipe: tuple[int, int]) -> None:
    log = writer("info", "json", fd=pipe[1])
    log("warning", "degraded", {"about": "buffer_full", "n": 3, "wait_s": Seconds(0.5)})
    line, = written(pipe, log)
    assert list(line) == ["time", "level", "event", "about", "n", "wait_s"]
    assert str(line.pop("time")).endswith("Z")
    assert line == {"level": "warning", "event": "degraded", "about": "buffer_full", "n": 3, "wait_s": 0.5}


def test_a_text_line_is_one_line_whatever_stands_in_it() -> None:
    line = under_test.Line(0.0, "info", "opened", {"path": "/a b\n\x1b[31m\r\udcff", "n": 1, "ok": True})
    assert renderer("text")(line) == b'1970-01-01T00:00:00.000000Z info    opened ' + (
        b'path="/a b\\n\\\\x1b[31m\\\\r\\\\udcff" n=1 ok=true\n')


def test_a_path_that_is_not_utf8_and_a_huge_number_do_not_break_json() -> None:
    line = under_test.Line(0.0, "info", "opened", {"path": "/\udcff", "n": 2**70})
    assert orjson.loads(renderer("json")(line)) == {
        "time": "1970-01-01T00:00:00.000000Z", "level": "info", "event": "opened", "path": "/\\udcff", "n": str(2**70)}


def test_lines_below_the_level_are_not_written_and_the_level_can_change(pipe: tuple[int, int]) -> None:
    log = writer("warning", "json", fd=pipe[1])
    log("info", "one", {})
    log.level = "debug"
    log("debug", "two", {})
    assert [line["event"] for line in written(pipe, log)] == ["two"]


def test_a_reader_that_stalls_costs_lines_and_never_time(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "QUEUE_LINES", 5)
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    told: list[int] = []
    log = writer("info", "json", fd=pipe[1], on_left_out=told.append)
    log("info", "big", {"text": "x" * 10_000})                      # stays stuck in the pipe
    for n in range(20):
        log("info", "small", {"n": n})
    assert (log.left_out_lines, len(told)) == (16, 16)
    got = bytearray()
    while got.count(b"\n") < 5:
        got += os.read(pipe[0], 65536)
    until(lambda: not log._lines)
    log("info", "after", {})
    last = written(pipe, log)[-1]
    assert (last["event"], last["lines_left_out"]) == ("after", 16)


def test_close_does_not_wait_for_ever(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log = writer("info", "json", fd=pipe[1])
    log("info", "big", {"text": "x" * 10_000})
    began_s = time.monotonic()
    log.close(0.05)
    assert time.monotonic() - began_s < 10.0
    while log._thread.is_alive():                                   # let the thread end before its pipe is closed
        if select.select([pipe[0]], [], [], 0.05)[0]:
            os.read(pipe[0], 65536)


def test_an_error_is_told_by_type_and_place_and_its_text_only_where_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def raised(error: Exception) -> dict[str, object]:
        try:
            raise error
        except Exception as caught:  # noqa: BLE001 - it is what is tested
            return describe(caught)

    place = raised(ValueError("password=hunter2"))
    assert place["type"] == "ValueError" and str(place["place"]).startswith("test_logging.py:") and "why" not in place
    assert raised(Fatal("disk gone; mount it"))["why"] == "disk gone; mount it"
    assert raised(OSError(28, "full"))["errno"] == "ENOSPC"
    monkeypatch.setenv("SHIPPER_DEBUG", "1")
    assert "hunter2" in str(raised(ValueError("password=hunter2"))["traceback"])


async def test_what_no_task_awaited_is_said_and_counted_without_its_arguments() -> None:
    telemetry = Telemetry()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_exception_handler(telemetry))
    done = asyncio.Event()

    def explode(content: bytes) -> None:
        loop.call_soon(done.set)
        raise ValueError(content)

    loop.call_soon(explode, b"hunter2")
    await asyncio.wait_for(done.wait(), 5)
    (level, event, fields), = telemetry.lines
    assert (level, event, fields["type"]) == ("error", "unexpected_error", "ValueError")
    assert "hunter2" not in repr(telemetry.lines)
    assert telemetry.value("shipper_errors_total", "loop") == 1


def test_a_library_warning_becomes_a_line_of_ours_without_its_text() -> None:
    telemetry, root = Telemetry(), logging.getLogger()
    before = root.handlers, root.level
    try:
        route_library_logs(telemetry)
        logging.getLogger("aiohttp.server").error("Error handling request %s", "hunter2", exc_info=KeyError("x"))
        logging.getLogger("aiohttp.server").info("quiet")
    finally:
        root.handlers, root.level = before
    (level, event, fields), = telemetry.lines
    assert (level, event, fields["type"]) == ("error", "library", "KeyError")
    assert str(fields["about"]).startswith("aiohttp.server:") and "hunter2" not in repr(fields)


def test_a_line_that_cannot_be_rendered_is_said_as_such_and_the_next_ones_are_written(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once no file descriptor was left to import structlog with: the thread ended, and the agent was silent from then on."""
    def full(format: str) -> Callable[[object], bytes]:
        monkeypatch.undo()
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(under_test, "renderer", full)
    log = writer("info", "json", fd=pipe[1])
    log("error", "first", {})
    log("info", "second", {})
    first, second = written(pipe, log)
    assert first == {"level": "error", "event": "first", "not_rendered": "OSError"} and second["event"] == "second"
