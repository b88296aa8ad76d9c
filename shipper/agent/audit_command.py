"""`shipper audit`: the proof of P1, from the running agent or, with the lock taken, from the state directory. Driver."""
from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from ..errors import Usage
from .client import add_state_dir, ask, state_dir_of


def add_arguments(parser: ArgumentParser) -> None:
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="the ledger that `shipper verify --ledger` reads")
    parser.add_argument("--sink", metavar="NAME", help="declare per file what this sink dropped (default: the only sink)")
    parser.add_argument("--all", action="store_true", help="all files, also those that are read whole")


def run(args: Namespace) -> int:
    """Exit code 0 where every sum holds, 1 where one is off."""
    found = _for_sink(fetch(state_dir_of(args)), args.sink)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        from .audit import human

        print(human(found, args.all))
    return 0 if found["totals"]["balanced"] else 1


def _for_sink(found: dict[str, Any], name: str | None) -> dict[str, Any]:
    """With one sink, or the one that was named, its own drops are declared file by file."""
    from .audit import ledger_for

    sinks = found["sinks"]
    if name is None:
        return ledger_for(found, *sinks) if len(sinks) == 1 else found
    if name not in sinks:
        raise Usage(f"no sink {name!r}; there are {', '.join(sinks) or 'none'}")
    return ledger_for(found, name)


def fetch(state_dir: str) -> dict[str, Any]:
    """The JSON form of the audit."""
    found = ask(state_dir, "/audit")
    if found is None:
        from .audit import to_json
        from .offline import audit_facts

        return to_json(audit_facts(state_dir))
    return dict(found)
