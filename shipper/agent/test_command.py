"""`shipper test`: what lines become at each step and in each sink, and the expectations under `tests:` of the config. Driver.

Exit code 0: as expected (or nothing was expected); 1: a test failed, its differences are on stdout; 2: wrong usage or config.
"""
from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ShipperError, Usage

if TYPE_CHECKING:
    from ..config.processing import TestCase
    from ..config.types import Config
    from .trial import Trial

MAX_INPUT_BYTES = 16 * 1024 * 1024
_SHOWN_BYTES = 2000


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="the config (YAML); without it that of the environment")
    parser.add_argument("--input", metavar="SAMPLE", help="a file with lines as they stand in the log; - is standard input")
    parser.add_argument("--line", metavar="TEXT", action="append", help="one such line (may be given again)")
    parser.add_argument("--as", dest="path", metavar="PATH",
                        help="the log file whose lines these are (default: SAMPLE itself, else one that the first source reads)")


def run(args: Namespace, environ: Mapping[str, str] = os.environ) -> int:
    """Exit code 0, 1 or 2."""
    from ..config.builtin import needed_config
    from ..config.loader import load

    config = load(needed_config(args.config, environ, "shipper test"), environ).config
    if args.input is None and args.line is None:
        return run_tests(config)
    from .trial import example_path

    lines, path = _input(args)
    first, *rest = shown(config, path or example_path(config), lines)
    print(first if path else f"{first} (made up: --as PATH names the file)")
    for text in rest:
        print(text)
    return 0


def _input(args: Namespace) -> tuple[list[bytes], str | None]:
    lines = [os.fsencode(text) for text in args.line or ()]
    if args.input is not None:
        lines += _read(args.input)
    return lines, args.path or (os.path.abspath(args.input) if args.input not in (None, "-") else None)


def _read(name: str) -> list[bytes]:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES)
        else:
            with open(name, "rb") as file:
                data = file.read(MAX_INPUT_BYTES)
    except OSError as error:
        raise Usage(f"{name}: cannot be read ({error.strerror}); name a file with sample lines") from None
    return data.removesuffix(b"\n").split(b"\n") if data else []


# -------------------------------------------------------------------- showing

def shown(config: Config, path: str, lines: Sequence[bytes]) -> list[str]:
    """The whole way of these lines, as text."""
    from .trial import run_trial, sinks_of

    trial = run_trial(config, path, lines)
    source = trial.source
    names = "/".join(part for part in (source.namespace, source.pod, source.container) if part)
    out = [f"{path}: source {trial.source_name}, format {trial.form}" + (f", {names}" if names else "")]
    taken = sinks_of(config, trial.batches)
    before: dict[bytes, Any] = {}
    for stage in trial.stages:
        if stage.name == "decode":
            before = {}
        out.append(f"{stage.name}:" + "".join(f" {count} {reason}" for reason, count in stage.drops.items()
                                              if ":bytes" not in reason))
        out += [f"  {item.decode()}  {_record(row)}" for item, row in stage.records.items() if before.get(item) != row]
        out += [f"  {item.decode()}  dropped" for item in before.keys() - stage.records.keys()]
        before = stage.records
    out.append("sinks:")
    out += [f"  {item.decode()}  {', '.join(sinks) or 'none'}" for item, sinks in taken.items()]
    for name in config.sinks:
        out += _sink_text(config, name, trial)
    return out


def _record(row: tuple[bytes, bytes, bytes, bytes]) -> str:
    message, time, severity, fields = row
    parts = [_text(part) for part in (time, severity) if part]
    return " ".join([*parts, _text(message), *([_text(fields)] if fields else [])])


def _sink_text(config: Config, name: str, trial: Trial) -> list[str]:
    from .trial import encoded, wanted_by

    sink = config.sinks[name]
    batches = wanted_by(sink, trial.batches)
    if not batches:
        return [f"sink {name} ({sink.type}): nothing"]
    out = []
    try:
        payloads = encoded(config, sink, batches)
    except (ShipperError, OSError, ValueError) as error:     # a certificate or token that is only on the node
        return [f"sink {name} ({sink.type}): cannot be shown here: {error}"]
    for where, data in payloads:
        out.append(f"sink {name} ({sink.type}){' ' + where if where else ''}, {len(data)} bytes:")
        text = data[:_SHOWN_BYTES].decode("utf-8", "replace").rstrip("\n").split("\n")
        out += ["  " + _visible(line) for line in text]
        out += [f"  ... {len(data) - _SHOWN_BYTES} more bytes"] if len(data) > _SHOWN_BYTES else []
    return out or [f"sink {name} ({sink.type}): its requests cannot be shown"]


def _text(data: bytes) -> str:
    return _visible(data.decode("utf-8", "replace").replace("\n", "\\n"))


def _visible(text: str) -> str:
    """What a terminal would act upon, escaped: these are lines out of logs."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# -------------------------------------------------------------------- tests of the config

def run_tests(config: Config) -> int:
    """All `tests:`; a line for each, differences below it. 0 where all hold."""
    if not config.tests:
        raise Usage("nothing to do: the config has no tests:, and neither --input nor --line is given")
    failed = 0
    for test in config.tests:
        differences = differences_of(config, test)
        failed += bool(differences)
        print(f"{'FAILED' if differences else 'ok':<7}{test.name}")
        for line in differences:
            print(f"       {line}")
    print(f"{len(config.tests) - failed} of {len(config.tests)} tests hold")
    return 1 if failed else 0


def differences_of(config: Config, test: TestCase) -> list[str]:
    """Where the outcome differs from what the test expects; [] where it does not."""
    from .trial import run_trial, sinks_of

    lines = test.input if isinstance(test.input, list) else test.input.removesuffix("\n").split("\n")
    trial = run_trial(config, test.as_, [line.encode() for line in lines])
    found = trial.objects()
    out = []
    for number, (want, have) in enumerate(zip(test.expect, found), 1):
        out += [f"record {number}: {text}" for text in compared(want, have)]
    for number, have in enumerate(found[len(test.expect):], len(test.expect) + 1):
        out.append(f"record {number}: not expected: {_visible(str(have.get('message', '')))[:200]}")
    for number, want in enumerate(test.expect[len(found):], len(found) + 1):
        out.append(f"record {number}: expected, and there is none: {want}")
    if test.sinks is not None:
        for item, sinks in sinks_of(config, trial.batches).items():
            if sorted(sinks) != sorted(test.sinks):
                wanted = ", ".join(test.sinks) or "no sink"
                out.append(f"{item.decode()}: expected for {wanted}, goes to {', '.join(sinks) or 'none'}")
    return out


def compared(want: Any, have: Any, path: str = "") -> list[str]:
    """Lines that say where `have` lacks or differs from `want`; more keys in it are no difference."""
    if isinstance(want, dict) and isinstance(have, dict):
        out = []
        for key, value in want.items():
            where = f"{path}.{key}" if path else str(key)
            if value is None and key not in have:
                continue                                 # `severity: null` says that there is none
            out += compared(value, have[key], where) if key in have else [f"{where}: expected {value!r}, is not there"]
        return out
    same = want == have and isinstance(want, bool) == isinstance(have, bool)
    return [] if same else [f"{path}: expected {want!r}", f"{' ' * len(path)}  got      {_visible(repr(have))}"]
