"""The `shipper` command: finds the command's module, runs it, turns what it raises into one line and an exit code.

Invariants (tests/agent/test_cli.py):
  C1  exit codes: 0 done, 1 failed, 2 wrong usage or config, 130 interrupted (Ctrl-C)
  C2  an error is on stderr, says what and the mend, and never shows a traceback (SHIPPER_DEBUG=1 does)
  C3  only the module of the chosen command is imported, and that imports what is heavy when it runs
A new command is one module (`add_arguments(parser)`, `run(args) -> int`) and one line in COMMANDS.
Plane: driver. Starts in about 10 ms.
"""
from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from .. import __version__
from ..errors import Fatal, ShipperError, Usage

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Command(NamedTuple):
    """`module` lies in shipper.agent; it defines add_arguments(parser) and run(args) -> exit code."""

    name: str
    module: str
    help: str
    examples: str = ""


COMMANDS = (
    Command("run", "run_command", "run the agent until SIGTERM; --once: until all is delivered",
            "  shipper run -c /etc/shipper/shipper.yaml\n"
            "  shipper run -c shipper.yaml --once --timeout 60s    exit 0: all is delivered"),
    Command("check", "check_command", "check a config: each problem with file, line, column and mend",
            "  shipper check -c shipper.yaml\n"
            "  shipper check --schema > shipper.schema.json    for completion in an editor"),
    Command("test", "test_command", "what lines become at each step and sink; the tests: of a config",
            "  shipper test -c shipper.yaml\n"
            "  shipper test -c shipper.yaml --input sample.log \\\n"
            "      --as /var/log/pods/shop_web-0_UID/web/0.log\n"
            "  shipper test -c shipper.yaml --line 'a line' --as /var/log/syslog"),
    Command("explain", "explain_command", "what a config promises, and which limit bites first in an outage",
            "  shipper explain -c shipper.yaml\n"
            "  shipper explain -c shipper.yaml --rate 2000 --line 300 --json"),
    Command("status", "status_command", "what the agent does now: files, lag, sinks, buffer",
            "  shipper status\n"
            "  shipper status --json | jq .sinks"),
    Command("audit", "audit_command", "prove that every byte is accounted for; exit 1 where it is not",
            "  shipper audit\n"
            "  shipper audit --json > ledger.json    for `shipper verify --ledger`"),
    Command("verify", "verify", "prove from delivered data alone that nothing is missing",
            "  cat archive/*.ndjson | shipper verify\n"
            "  cat archive/*.ndjson | shipper verify --ledger ledger.json"),
    Command("dead-letters", "dead_letters_command", "records that a sink refused for good: list, show, replay, purge",
            "  shipper dead-letters list --since 2h\n"
            "  shipper dead-letters replay --sink central --reason rejected"),
    Command("positions", "positions_command", "how far each file has been read; take over another agent's",
            "  shipper positions show\n"
            "  shipper positions show --json --state-dir /var/lib/shipper\n"
            "  shipper positions import --from fluentd /var/log/gcp-containers.log.pos \\\n"
            "      -c shipper.yaml --dry-run"),
    Command("convert", "convert_command", "another agent's config as ours; what is not carried over: stderr",
            "  kubectl get cm -n kube-system fluentd-gcp-config -o yaml \\\n"
            "      | shipper convert fluentd - > shipper.yaml\n"
            "  shipper convert rsyslog /etc/rsyslog.conf > shipper.yaml"),
    Command("demo", "demo", "a small node, the real agent on it, live counts, and the proof",
            "  shipper demo\n"
            "  shipper demo --kill                   and kill -9 the agent five times"),
)


class OneLineParser(ArgumentParser):
    """argparse whose errors are `Usage`: one line with the mend."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        defaults: dict[str, Any] = {"formatter_class": RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(*args, **(defaults | settings))

    def error(self, message: str) -> NoReturn:
        stray = message.removeprefix("unrecognized arguments: ")
        if stray != message and stray.endswith((".yaml", ".yml")) and "-c" in self._option_string_actions:
            raise Usage(f"{stray}: a config is named with -c: {self.prog} -c {stray.split()[-1]}")
        raise Usage(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv). Returns the exit code (C1); never raises."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()                      # here, where a reader that has gone away is no error
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:                     # `shipper status | head`
        _forget_stdout()
        return DONE
    except Usage as error:
        return _tell(error, USAGE)
    except ShipperError as error:
        return _tell(error, FAILED)
    except PermissionError as error:
        return _tell(Fatal(f"may not open {error.filename or 'what it needs'}; run this as the agent's user (sudo)"), FAILED)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line instead of a traceback (C2)
        return _tell_unexpected(error)


def _run(argv: list[str]) -> int:
    if argv[:1] == ["help"]:                             # `shipper help run`
        argv = [*argv[1:2], "--help"]
    if not argv or argv[0].startswith("-"):
        return _top_level(argv)
    command = find(argv[0])
    module = import_module(f"{__package__}.{command.module}")
    epilog = f"examples:\n{command.examples}" if command.examples else None
    parser = OneLineParser(prog=f"shipper {command.name}", description=command.help, epilog=epilog)
    module.add_arguments(parser)
    args = _parse(parser, argv[1:])
    return DONE if args is None else int(module.run(args))


def _parse(parser: ArgumentParser, argv: list[str]) -> Namespace | None:
    """None where argparse has printed what was asked for (--help, --version)."""
    try:
        return parser.parse_args(argv)
    except SystemExit:
        return None


def find(name: str) -> Command:
    """The command `name`; Usage with the nearest name where there is none."""
    for command in COMMANDS:
        if command.name == name:
            return command
    near = ["--version"] if name == "version" else get_close_matches(name, [c.name for c in COMMANDS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(c.name for c in COMMANDS)}"
    raise Usage(f"unknown command {name!r}; {hint}")


def _top_level(argv: list[str]) -> int:
    listing = "\n".join(f"  {c.name:<12} {c.help}" for c in COMMANDS)
    parser = OneLineParser(
        prog="shipper",
        usage="shipper COMMAND [OPTION ...]",
        description="A log shipping agent: reads container and host logs, buffers and delivers them.",
        epilog=f"commands:\n{listing}\n\nexamples:\n  shipper demo\n  shipper check -c shipper.yaml\n"
               "  shipper run -c shipper.yaml\n\n`shipper COMMAND --help` says more."
               "\nexit codes: 0 done, 1 failed, 2 wrong usage or config, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"shipper {__version__}")
    if not argv:
        parser.print_help(sys.stderr)
        return USAGE
    _parse(parser, argv)
    return DONE


def _tell(error: ShipperError, code: int) -> int:
    """A Usage may have several lines, one per problem of a config: each is one line on stderr."""
    for line in str(error).splitlines() or [type(error).__name__]:
        print(f"shipper: {line}", file=sys.stderr)
    if _debug():
        _traceback()
    return code


def _tell_unexpected(error: Exception) -> int:
    hint = "" if _debug() else " (a fault in shipper; set SHIPPER_DEBUG=1 for the traceback)"
    print(f"shipper: unexpected {type(error).__name__}{_where(error)}{hint}", file=sys.stderr)
    if _debug():
        _traceback()
    return FAILED


def _where(error: BaseException) -> str:
    """Where it was raised. The message is left out: it may quote what was read (P9)."""
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    return f" in {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def _traceback() -> None:
    from traceback import print_exc

    print_exc(file=sys.stderr)


def _debug() -> bool:
    return os.environ.get("SHIPPER_DEBUG", "") not in ("", "0")


def _forget_stdout() -> None:
    """Point stdout at nothing, else the interpreter complains once more when it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
