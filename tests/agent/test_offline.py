"""F1, F2: the commands on a state directory without an agent, and on one with a running agent."""
from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from shipper.agent.cli import main
from shipper.buffer.driver import Buffer
from shipper.buffer.lock import Lock
from shipper.config.types import BufferSettings
from shipper.model import FileRef, Gap, Section, Source
from shipper.telemetry import Telemetry

from .fakes import World
from .test_app import ended, running, started, terminate

KEY = "k3v9q2f7abcdefgh"


@pytest.fixture
def log_path(tmp_path: Path) -> str:
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * 120)
    return str(path)


@pytest.fixture
def state_dir(tmp_path: Path, log_path: str) -> str:
    """100 bytes read behind a start at byte 10, 0 of them confirmed by the one sink; the log file has grown by 10 since."""
    directory = str(tmp_path / "state")
    os.mkdir(directory)
    seen = os.stat(log_path)
    source = Source("files", "host", log_path, log_path, "n1")
    file = FileRef(KEY, source, log_path, seen.st_dev, seen.st_ino, 10, "00")

    async def fill() -> None:
        buffer = await Buffer.open(directory, BufferSettings(), Telemetry())
        buffer.open_cursor("central", start_at="oldest")
        await buffer.append([Section(file, 10, 110, "00", None, gaps=(Gap(0, 10, "start_at_end"),), size=110, last_ns=1)])
        await buffer.close()

    asyncio.run(fill())
    return directory


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def test_status_says_not_running_and_what_is_there(
    state_dir: str, log_path: str, capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = said(capsys, "status", "--state-dir", state_dir)
    assert code == 1
    assert out.startswith(f"not running; what {state_dir} holds:\n")
    assert "110       120   10 B" in out and f"  {log_path}\n" in out
    assert "central  -     stopped  100 B" in out


def test_positions_show_is_a_table_and_json(state_dir: str, log_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "positions", "show", "--state-dir", state_dir)
    assert (code, out.splitlines()[0].split()) == (0, ["POSITION", "SIZE", "LAG", "BEHIND", "STATE", "PATH"])
    code, out, _ = said(capsys, "positions", "show", "--json", "--state-dir", state_dir)
    file, = json.loads(out)
    assert (code, file["key"], file["position_bytes"], file["lag_bytes"]) == (0, KEY, 110, 10)


def test_audit_balances_and_its_json_is_the_ledger(state_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "audit", "--state-dir", state_dir)
    assert code == 0 and out.endswith("BALANCED: every byte read is accounted for in every sink\n")
    code, out, _ = said(capsys, "audit", "--json", "--state-dir", state_dir)
    ledger = json.loads(out)
    file, = ledger["files"]
    assert (code, file["size"], file["read_bytes"], file["framed_bytes"], file["unread_bytes"]) == (0, 120, 110, 100, 10)
    assert file["gaps"] == [{"start": 0, "end": 10, "reason": "start_at_end", "at_least": 0}]
    assert (ledger["sink"], ledger["sinks"]["central"]["held_bytes"]) == ("central", 100)


def test_a_sum_that_is_off_is_exit_code_1_with_a_clear_line(state_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(state_dir, "cursors", "central.json")
    cursor: dict[str, Any] = json.loads(path.read_bytes())
    cursor["counters"] = {**cursor["counters"], "total_bytes": 100, "delivered_bytes": 93}
    path.write_text(json.dumps(cursor))
    code, out, _ = said(capsys, "audit", "--state-dir", state_dir)
    assert code == 1
    assert out.endswith("NOT BALANCED: sink central: delivered + dead + dropped + unrouted + before_start + held = 93 bytes, "
                        "which is 7 less than the buffer's total of 100\n")


def test_an_unknown_sink_is_wrong_usage(state_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "audit", "--sink", "x", "--state-dir", state_dir) == (2, "", "shipper: no sink 'x'; there are central\n")


def test_looking_changes_nothing(state_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in Path(state_dir).rglob("*") if p.is_file()}

    said(capsys, "status", "--state-dir", state_dir)
    before = content()
    for argv in (["status"], ["audit"], ["positions", "show"]):
        said(capsys, *argv, "--state-dir", state_dir)
    assert content() == before


def test_a_directory_without_a_buffer_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "audit", "--state-dir", str(tmp_path)) == (
        2, "", f"shipper: {tmp_path}: no buffer here; is it the state_dir of an agent that ran?\n")


def test_an_agent_that_holds_the_lock_and_does_not_answer_is_named(state_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    lock = Lock.try_take(state_dir)
    assert lock is not None
    code, out, err = said(capsys, "audit", "--state-dir", state_dir)
    lock.release()
    assert (code, out) == (1, "")
    assert err.startswith(f"shipper: pid {os.getpid()} (") and err.endswith("it is starting or stopping: ask again\n")


def test_the_state_dir_comes_from_the_config_or_the_environment(
    state_dir: str, tmp_path: Path, log_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"state_dir: {state_dir}\nsources: {{host: {{type: files, include: [{log_path}]}}}}\n"
                      "sinks: {central: {type: syslog, address: 'localhost:1', protocol: tcp}}\n")
    assert said(capsys, "audit", "-c", str(config))[0] == 0
    monkeypatch.setenv("SHIPPER_STATE_DIR", state_dir)
    assert said(capsys, "audit")[0] == 0


async def test_a_running_agent_is_asked_over_its_socket(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    task = started(world)
    await running(world)
    loop = asyncio.get_running_loop()
    argv = ["--state-dir", world.state_dir]
    assert await loop.run_in_executor(None, main, ["status", *argv]) == 0
    assert "shipper 0" in (out := capsys.readouterr().out) and "healthy, ready" in out
    assert await loop.run_in_executor(None, main, ["audit", *argv]) == 0
    assert await loop.run_in_executor(None, main, ["positions", "show", *argv]) == 0
    assert capsys.readouterr().out.endswith("no files\n")
    terminate()
    assert await ended(task) == 0


def test_a_config_with_errors_or_unset_variables_still_names_the_state_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reload was refused, or the variable is set for the service alone: that is when one asks."""
    config = tmp_path / "c.yaml"
    config.write_text(f"state_dir: {tmp_path}/none\nsinks: {{a: {{type: fax, address: '${{NOT_SET}}'}}}}\n")
    assert main(["status", "-c", str(config)]) == 2
    assert capsys.readouterr().err.startswith(f"shipper: no state directory {tmp_path}/none (state_dir of {config})")
    config.write_text("state_dir: ${NOT_SET}\n")
    assert main(["status", "-c", str(config)]) == 2
    assert "the environment variable NOT_SET is not set" in (err := capsys.readouterr().err) and "or use --state-dir" in err
