"""`shipper positions show|import`: how far each log file has been read; taking over another agent's positions. Driver."""
from __future__ import annotations

import asyncio
import json
import os
from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import Fatal, Usage
from .client import add_state_dir, state_dir_of
from .status_command import fetch

if TYPE_CHECKING:
    from ..buffer.positions import Positions
    from ..config.types import Config
    from .takeover import Entry
    from .takeover_driver import Plan, Row


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["show", "import"], metavar="show|import",
                        help="show: a table of path, position, size, lag and state; import: go on where another agent stands")
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="as JSON; of show, with the file keys")
    parser.add_argument("--from", dest="from_agent", nargs=2, metavar=("fluentd|fluent-bit", "PATH"),
                        help="import: whose positions; its pos_file, or its tail input's DB")
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
    agent, path = args.from_agent or ("", "")
    if agent not in ("fluentd", "fluent-bit") or not args.config:
        raise Usage("write shipper positions import --from fluentd|fluent-bit PATH -c FILE [--dry-run]")
    if args.missing_ok and not os.path.exists(path):
        print(f"{path} does not exist; nothing to take over")
        return 0
    from ..config.loader import load
    from .takeover_entries import read_entries

    config = load(args.config, os.environ).config
    entries, problems = read_entries(agent, path)
    plan = asyncio.run(_take_over(config, entries, dry_run=args.dry_run, force=args.force))
    if args.json:
        print(json.dumps([{"path": r.path, "what": r.what, "offset": r.offset, "size": r.size, "why": r.why} for r in plan.rows],
                         indent=1))
    else:
        print("\n".join([*problems, *table(plan.rows), _summary(plan.rows, args.dry_run)]))
    return 0


async def _take_over(config: Config, entries: list[Entry], *, dry_run: bool, force: bool) -> Plan:
    from ..buffer.driver import Buffer
    from ..buffer.files import OsFiles
    from ..buffer.lock import Lock, holder
    from ..telemetry import Telemetry
    from .takeover_driver import TakeOver, write

    telemetry = Telemetry(write=lambda level, event, fields: None)
    if dry_run and not os.path.isdir(config.state_dir):
        from ..buffer.positions import Positions

        return TakeOver(config, Positions(), telemetry, force=force).plan(entries)
    OsFiles().prepare(config.state_dir)
    lock = Lock.try_take(config.state_dir)
    if lock is None:
        raise Fatal(f"{holder(os.path.join(config.state_dir, 'lock'))} runs on {config.state_dir}; stop it first: positions "
                    "are taken over before an agent reads")
    try:
        if dry_run:
            return TakeOver(config, _positions(config.state_dir), telemetry, force=force).plan(entries)
        buffer = await Buffer.open(config.state_dir, config.buffer, telemetry)
        try:
            plan = TakeOver(config, buffer.positions, telemetry, force=force).plan(entries)
            await write(config, plan, buffer)
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
