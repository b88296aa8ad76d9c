"""`shipper status`: what the running agent says, else what the state directory holds. Driver."""
from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from .client import add_state_dir, ask, state_dir_of


def add_arguments(parser: ArgumentParser) -> None:
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="the whole answer, as /status gives it")
    parser.add_argument("--all", action="store_true", help="all files, not only those that lag most")


def run(args: Namespace) -> int:
    """Exit code 0 where an agent runs and is healthy, 1 where it is stuck or none runs."""
    found = fetch(state_dir_of(args))
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        from .status import human

        print(human(found, args.all))
    return 0 if found["running"] and found["healthy"] else 1


def fetch(state_dir: str) -> dict[str, Any]:
    """The JSON of /status, from the agent or from the directory."""
    found = ask(state_dir, "/status")
    if found is None:
        from .offline import status_facts
        from .status import offline

        return offline(status_facts(state_dir), state_dir)
    return dict(found)
