"""`shipper positions show`: how far each log file has been read. Driver."""
from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from .client import add_state_dir, state_dir_of
from .status_command import fetch


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["show"], metavar="show", help="a table of path, position, size, lag and state")
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, with the file keys")


def run(args: Namespace) -> int:
    """Exit code 0, whether an agent runs or not."""
    found = fetch(state_dir_of(args))
    files = sorted(found["files"], key=lambda f: str(f["path"]))
    if args.json:
        print(json.dumps(files, indent=1))
        return 0
    from .status import files_table

    print("\n".join(files_table(files)) if files else "no files")
    return 0
