"""`shipper explain -c FILE`: what this config promises, and which limit bites first. Driver; looks at the config alone."""
from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from shutil import get_terminal_size
from typing import Any

from ..config.units import Bytes
from ..errors import Usage


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="the config (YAML); without it that of the environment")
    add = parser.add_argument
    add("--rate", metavar="N", type=float, default=10_000.0, help="lines a second on this node (default 10000)")
    add("--line", metavar="BYTES", type=int, default=238, help="bytes a line, its CRI header included (default 238)")
    add("--containers", metavar="N", type=int, default=50, help="containers that write them (default 50)")
    add("--log-max-size", metavar="SIZE", default="10MiB", help="the kubelet's containerLogMaxSize (default 10MiB)")
    add("--log-max-files", metavar="N", type=int, default=5, help="its containerLogMaxFiles (default 5)")
    parser.add_argument("--json", action="store_true", help="the same, for programs")


def run(args: Namespace) -> int:
    """Exit code 0; a config that may not run is refused as by `check` (2)."""
    from ..config.builtin import needed_config
    from ..config.loader import load
    from .explain import WIDTH, Question, explain, human

    path = needed_config(args.config, os.environ, "shipper explain")
    question: Any = Question(args.rate, args.line, args.containers, _size(args.log_max_size), args.log_max_files)
    if min(question.rate, question.line_bytes, question.containers, question.log_max_bytes, question.log_max_files) <= 0:
        raise Usage("--rate, --line, --containers, --log-max-size and --log-max-files must be above 0")
    found = explain(load(path, os.environ).config, path, question)
    print(json.dumps(found, indent=1) if args.json else human(found, _width(WIDTH)))
    return 0


def _width(most: int) -> int:
    """A terminal's columns, within reason; `most` into a pipe."""
    return min(most, max(60, get_terminal_size((most, 24)).columns)) if sys.stdout.isatty() else most


def _size(text: str) -> int:
    try:
        return int(Bytes.parse(text))
    except ValueError as error:
        raise Usage(f"--log-max-size: {error}") from None
