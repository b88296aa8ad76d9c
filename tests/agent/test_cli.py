"""C1 to C3: exact messages and exit codes of the command line."""
from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from shipper import __version__
from shipper.agent import cli
from shipper.agent.cli import COMMANDS, main
from shipper.errors import Fatal, Usage


@pytest.mark.parametrize(("argv", "message"), [
    (["rn"], "unknown command 'rn'; did you mean 'run'?"),
    (["stat"], "unknown command 'stat'; did you mean 'status'?"),
    (["zzz"], f"unknown command 'zzz'; use one of {', '.join(c.name for c in COMMANDS)}"),
    (["version"], "unknown command 'version'; did you mean '--version'?"),
    (["--nope"], "unrecognized arguments: --nope; see shipper --help"),
    (["run"],
     "no config named; write shipper run -c FILE, or set SHIPPER_SINK_ADDRESS=host:port (docs/configuration.md)"),
    (["run", "-c", "x", "--onc"], "unrecognized arguments: --onc; see shipper run --help"),
    (["check", "shipper.yaml"], "shipper.yaml: a config is named with -c: shipper check -c shipper.yaml"),
    (["run", "-c", "x", "--timeout", "5s"],
     "--timeout needs --once: an agent without --once runs until SIGTERM; add --once or leave --timeout out"),
    (["run", "-c", "x", "--once", "--timeout", "5"],
     "--timeout: '5' is not a duration; write it with its unit, for example 500ms, 5s or 2m"),
    (["status", "--state-dir", "/nonexistent"], "no state directory /nonexistent; name it with --state-dir DIR or -c FILE"),
    (["status", "--state-dir", "/x", "-c", "y"],
     "argument -c/--config: not allowed with argument --state-dir; see shipper status --help"),
    (["positions"], "the following arguments are required: show|import; see shipper positions --help"),
    (["dead-letters"],
     "the following arguments are required: list|show|replay|purge; see shipper dead-letters --help"),
    (["convert"], "the following arguments are required: fluentd|rsyslog, FILE; see shipper convert --help"),
])
def test_wrong_usage_is_one_line_with_the_mend_and_exit_code_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"shipper: {message}\n")


def test_status_before_the_first_run_says_so_and_not_to_give_what_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.yaml").write_text(f"state_dir: {tmp_path}/state\n")
    assert main(["status", "-c", f"{tmp_path}/c.yaml"]) == 2
    assert capsys.readouterr().err == (
        f"shipper: no state directory {tmp_path}/state (state_dir of {tmp_path}/c.yaml), so no agent has run with this config "
        f"here; start one: shipper run -c {tmp_path}/c.yaml\n")


@pytest.mark.parametrize(("text", "message"), [
    ("", ":1:1: no config: it has no keys; name the agent's config, or use --state-dir"),
    ("- a\n", ":1:1: no config: it has no keys; name the agent's config, or use --state-dir"),
    ("#" * (1 << 20) + "\n", ": larger than 1048576 bytes; this is no shipper config, or split it over two agents"),
    ("stat_dir: /x\n", ":1:1: stat_dir: unknown key; did you mean 'state_dir'? (or use --state-dir)"),
])
@pytest.mark.parametrize("command", ["status", "audit", "positions show", "dead-letters list"])
def test_a_config_that_names_no_state_directory_is_not_answered_with_that_of_another_agent(
    command: str, text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert main([*command.split(), "-c", str(path)]) == 2
    assert capsys.readouterr().err == f"shipper: {path}{message}\n"


def test_dead_letters_of_a_directory_that_is_no_state_directory_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["dead-letters", "list", "--state-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"shipper: {tmp_path}: no buffer here; is it the state_dir of an agent that ran?\n"


def test_what_may_not_be_read_is_no_fault_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(state_dir: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", f"{state_dir}/dead-letters")

    monkeypatch.setattr("shipper.agent.dead_letters_command.stored_sinks", denied)
    assert main(["dead-letters", "list", "--state-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"shipper: may not open {tmp_path}/dead-letters; run this as the agent's user (sudo)\n"


def test_status_where_no_agent_has_ever_run_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHIPPER_STATE_DIR", f"{tmp_path}/none")
    assert main(["status"]) == 2
    assert capsys.readouterr().err == (f"shipper: no state directory {tmp_path}/none: no agent has run here, or its state_dir is "
                                       "another one; name it with --state-dir DIR or -c FILE\n")


def test_version_and_help_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"shipper {__version__}\n"
    assert main(["--help"]) == 0


@pytest.mark.parametrize(("argv", "first"), [
    (["help"], "usage: shipper COMMAND"), (["help", "run"], "usage: shipper run "), (["run", "--help"], "usage: shipper run "),
])
def test_help_is_had_as_a_command_too(argv: list[str], first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith(first)


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    out = capsys.readouterr().out
    assert [c.name for c in COMMANDS if f"\n  {c.name:<12} {c.help}\n" not in out] == []


@pytest.mark.parametrize("command", ["", *(c.name for c in COMMANDS)])
def test_help_fits_80_columns(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main([*command.split(), "--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_no_command_shows_the_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("usage: shipper COMMAND [OPTION ...]\n")


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def run(argv: list[str]) -> int:
        raise error

    return run


@pytest.mark.parametrize(("error", "code", "err"), [
    (Usage("c.yaml:1:2: a: wrong; mend\nc.yaml:3:4: b: wrong; mend"), 2,
     "shipper: c.yaml:1:2: a: wrong; mend\nshipper: c.yaml:3:4: b: wrong; mend\n"),
    (Fatal("the disk is gone; mount it"), 1, "shipper: the disk is gone; mount it\n"),
    (KeyboardInterrupt(), 130, ""),
])
def test_an_error_decides_the_exit_code(
    error: BaseException, code: int, err: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "_run", raising(error))
    assert main([]) == code
    assert capsys.readouterr().err == err


def test_an_unexpected_error_is_one_line_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SHIPPER_DEBUG", raising=False)
    monkeypatch.setattr(cli, "_run", raising(RuntimeError("hunter2")))
    assert main([]) == 1
    err = capsys.readouterr().err
    assert err.startswith("shipper: unexpected RuntimeError in test_cli.py:")
    assert err.endswith(" (a fault in shipper; set SHIPPER_DEBUG=1 for the traceback)\n")
    assert "hunter2" not in err and err.count("\n") == 1


def test_with_debug_set_the_traceback_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SHIPPER_DEBUG", "1")
    monkeypatch.setattr(cli, "_run", raising(RuntimeError("hunter2")))
    assert main([]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", [c for c in COMMANDS if (Path(cli.__file__).parent / f"{c.module}.py").exists()],
                         ids=lambda command: command.name)
def test_every_command_keeps_the_protocol_and_its_help_has_examples(
    command: cli.Command, capsys: pytest.CaptureFixture[str],
) -> None:
    from importlib import import_module

    module: ModuleType = import_module(f"shipper.agent.{command.module}")
    assert callable(module.run)
    assert main([command.name, "--help"]) == 0
    assert f"examples:\n  shipper {command.name}" in (text := capsys.readouterr().out) or f"| shipper {command.name}" in text


# ---------------------------------------------------------------- as a process

def shipper(*argv: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "SHIPPER_DEBUG": ""}
    return run([sys.executable, "-m", "shipper", *argv], environ)


def run(argv: list[str], environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environ, check=False)


def test_the_process_ends_with_the_code() -> None:
    done = shipper("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"shipper {__version__}\n", "")
    wrong = shipper("rn")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "shipper: unknown command 'rn'; did you mean 'run'?\n")


def test_a_missing_config_is_wrong_usage(tmp_path: Path) -> None:
    done = shipper("run", "-c", str(tmp_path / "none.yaml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"shipper: {tmp_path}/none.yaml: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["--help"], ["check", "--schema"]])
def test_a_reader_that_goes_away_is_no_error(argv: list[str], unbuffered: str) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "shipper", *argv], stdout=write_fd, stderr=subprocess.PIPE, timeout=30, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    finally:
        os.close(write_fd)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys; from shipper.agent.cli import main; main(['--version'])\n"
        "heavy = {'asyncio', 'aiohttp', 'structlog', 'orjson', 'msgspec', 'yaml', 'prometheus_client', 'ssl', 'http'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = run([sys.executable, "-c", code])
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [["explain"], ["test", "--as", "/var/log/pods/a_b_c/d/0.log", "--line", "x"], ["check"]])
def test_an_agent_that_the_environment_configures_is_explained_without_a_file(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SHIPPER_SINK_ADDRESS", raising=False)
    assert main(command) == 2
    assert "-c FILE" in capsys.readouterr().err
    monkeypatch.setenv("SHIPPER_SINK_ADDRESS", "logs.example.com:6514")
    assert main(command) == 0
    assert "central" in capsys.readouterr().out
