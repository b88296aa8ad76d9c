"""`shipper positions show|import`: how far each log file has been read; taking over another agent's positions. Driver."""
from __future__ import annotations

import asyncio
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import Fatal, Usage
from .client import add_state_dir, state_dir_of
from .status_command import fetch

if TYPE_CHECKING:
    from ..buffer.positions import Positions
    from ..config.types import Config
    from ..telemetry import Telemetry
    from .takeover_driver import Plan, Row


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["show", "import"], metavar="show|import",
                        help="show: a table of path, position, size, lag and state; import: go on where another agent stands")
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="as JSON; of show, with the file keys")
    parser.add_argument("--from", dest="from_agent", nargs=2, metavar=("AGENT", "PATH"),
                        help="import: fluentd and its pos_file; fluent-bit and its tail input's DB; fluentd-journal and the file "
                             "with its cursor (with --source)")
    parser.add_argument("--source", metavar="NAME", help="import --from fluentd-journal: for which journal source of the config")
    parser.add_argument("--dry-run", action="store_true", help="import: say what would happen to each file, and change nothing")
    parser.add_argument("--force", action="store_true",
                        help="import: move on where shipper has a position of its own; never back")
    parser.add_argument("--missing-ok", action="store_true", help="import: exit 0 where PATH does not exist (a new node)")


def run(args: Namespace) -> int:
    """Exit code 0, whether an agent runs or not; import: Fatal where one runs."""
    return import_positions(args) if args.action == "import" else show(args)


def show(args: Namespace) -> int:
    """The table of all files."""
    if args.from_agent or args.dry_run or args.force or args.missing_ok:
        raise Usage("positions show takes no --from, --dry-run, --force or --missing-ok; did you mean positions import?")
    found = fetch(state_dir_of(args))
    files = sorted(found["files"], key=lambda f: str(f["path"]))
    if args.json:
        print(json.dumps(files, indent=1))
        return 0
    from .status import files_table

    print("\n".join(files_table(files)) if files else "no files")
    return 0


def import_positions(args: Namespace) -> int:
    """Take over (takeover_driver). Exit code 0; what was gone, kept or not ours is in the table."""
    from ..config.builtin import path_or_built_in

    agent, path = args.from_agent or ("", "")
    named = path_or_built_in(args.config, os.environ)
    if agent not in ("fluentd", "fluent-bit", "fluentd-journal") or named is None or (
            (agent == "fluentd-journal") != bool(args.source)):
        raise Usage("write shipper positions import --from fluentd|fluent-bit PATH -c FILE [--dry-run], or "
                    "--from fluentd-journal PATH --source NAME -c FILE")
    if args.missing_ok and not os.path.exists(path):
        print(f"{path} does not exist; nothing to take over")
        return 0
    from ..config.loader import load
    from .takeover_driver import TakeOver, journal_plan
    from .takeover_entries import read_cursor, read_entries, written_ns

    config = load(named, os.environ).config
    problems: list[str] = []
    if agent == "fluentd-journal":
        cursor = read_cursor(path)

        def make(positions: Positions, telemetry: Telemetry) -> Plan:
            return journal_plan(config, positions, args.source, cursor, force=args.force)
    else:
        entries, problems = read_entries(agent, path)
        last_ns = written_ns(path)

        def make(positions: Positions, telemetry: Telemetry) -> Plan:
            return TakeOver(config, positions, telemetry, force=args.force, written_ns=last_ns).plan(entries)

    plan = asyncio.run(_take_over(config, make, dry_run=args.dry_run))
    if problems:
        print("\n".join(problems), file=sys.stderr)
    if args.json:
        print(json.dumps([{"path": r.path, "what": r.what, "offset": r.offset, "size": r.size, "why": r.why} for r in plan.rows],
                         indent=1))
    else:
        print("\n".join([*table(plan.rows), _summary(plan.rows, args.dry_run)]))
    return 0


async def _take_over(config: Config, make: Callable[[Positions, Telemetry], Plan], *, dry_run: bool) -> Plan:
    from ..buffer.driver import Buffer
    from ..buffer.files import OsFiles
    from ..buffer.lock import Lock, holder
    from ..telemetry import Telemetry
    from .takeover_driver import write

    telemetry = Telemetry(write=lambda level, event, fields: None)
    if dry_run and not os.path.isdir(config.state_dir):
        from ..buffer.positions import Positions

        return make(Positions(), telemetry)
    OsFiles().prepare(config.state_dir)
    lock = Lock.try_take(config.state_dir)
    if lock is None:
        raise Fatal(f"{holder(os.path.join(config.state_dir, 'lock'))} runs on {config.state_dir}; stop it first: positions "
                    "are taken over before an agent reads")
    try:
        if dry_run:
            return make(_positions(config.state_dir), telemetry)
        buffer = await Buffer.open(config.state_dir, config.buffer, telemetry)
        try:
            plan = make(buffer.positions, telemetry)
            await write(config, plan, buffer, telemetry)
        finally:
            await buffer.close()
        return plan
    finally:
        lock.release()


def _positions(state_dir: str) -> Positions:
    from ..buffer.positions import Positions as NoPositions
    from ..buffer.view import inspect

    try:
        return inspect(state_dir).positions
    except Usage:                                         # no agent ran here yet
        return NoPositions()


def table(rows: list[Row]) -> list[str]:
    """Aligned columns: what, from byte, of bytes, path and why."""
    lines = [f"{'what':<18} {'from byte':>14} {'of':>14}  file"]
    for row in rows:
        why = f"  ({row.why})" if row.why else ""
        lines.append(f"{row.what:<18} {row.offset:>14,} {row.size:>14,}  {row.path}{why}")
    return lines


def _summary(rows: list[Row], dry_run: bool) -> str:
    counts = ", ".join(f"{n} {what}" for what, n in sorted(Counter(row.what for row in rows).items()))
    return f"{'would be' if dry_run else 'done'}: {counts or 'no positions'}"
