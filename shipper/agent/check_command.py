"""`shipper check`: is this config right, and what would run? Driver.

Exit code 0: it may run (warnings go to stderr too); 2: it may not, and every problem is on stderr, one a line (P8).
"""
from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from ..config.builtin import path_or_built_in
from ..config.types import Config
from ..errors import Usage


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="the config (YAML); without it that of the environment")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the config, for editors, and end")


def run(args: Namespace) -> int:
    """Exit code 0 or 2."""
    return run_check(args.config, args.schema)


def run_check(path: str | None, schema: bool, environ: Mapping[str, str] = os.environ) -> int:
    """Print the schema, or check the config at `path`: errors and warnings to stderr, one `ok` line to stdout."""
    if schema:
        from ..config.schema import json_schema

        print(json.dumps(json_schema(), indent=1))
        return 0
    path = path_or_built_in(path, environ)
    if path is None:
        raise Usage("no config named; write shipper check -c FILE, or set SHIPPER_SINK_ADDRESS=host:port (docs/configuration.md)")
    from ..config.loader import load

    try:
        loaded = load(path, environ)
    except Usage as error:
        print(error, file=sys.stderr)
        return 2
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    config = loaded.config
    for warning in unmatched(config):
        print(f"warning: {warning}", file=sys.stderr)
    sources = ", ".join(f"{name} ({source.type})" for name, source in config.sources.items())
    sinks = ", ".join(f"{name} ({sink.type})" for name, sink in config.sinks.items())
    print(f"ok: {path}: sources {sources}; sinks {sinks}; state in {config.state_dir}")
    return 0


def unmatched(config: Config) -> list[str]:
    """A line for each source with include patterns that match nothing on this machine now: mostly a slip, and no error, since
    logs may come later and a config may be checked elsewhere."""
    from ..discover.globs import compile_pattern
    from ..discover.listing import Listings
    from ..discover.walk import Walk

    walk = Walk(Listings())
    said = []
    for name, source in config.sources.items():
        vain = [repr(pattern) for pattern in source.include
                if next(iter(walk.paths(compile_pattern(pattern))), None) is None and not os.path.isdir(pattern)]
        said += [f"sources.{name}.include: {pattern!r} is a directory, and files are read; write {pattern}/*.log"
                 for pattern in source.include if os.path.isdir(pattern)]
        if vain and not walk.listings.unreadable:        # by this user; the agent may be another
            said.append(
                f"sources.{name}.include: nothing here matches {', '.join(vain)} now; nothing is read until something does")
    return said
