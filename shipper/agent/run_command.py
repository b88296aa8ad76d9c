"""`shipper run`: the arguments, then the agent (app.py). Driver."""
from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from ..config.builtin import needed_config
from ..config.units import Seconds
from ..errors import Usage


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE",
                        help="the config (YAML); without it the environment has to say enough: SHIPPER_SINK_ADDRESS=host:port")
    parser.add_argument("--once", action="store_true",
                        help="take what is in the log files now, deliver it, wait until it is confirmed, exit 0")
    parser.add_argument("--timeout", metavar="DURATION",
                        help="with --once: give up after this long (60s, 5m) and exit 1 with what is held")


def run(args: Namespace) -> int:
    """Exit code: 0 after SIGTERM or a finished --once, 1 when that failed."""
    if args.timeout is not None and not args.once:
        raise Usage("--timeout needs --once: an agent without --once runs until SIGTERM; add --once or leave --timeout out")
    timeout_s = None if args.timeout is None else parse_timeout_s(args.timeout)
    path = needed_config(args.config, os.environ, "shipper run")
    import gc

    gc.disable()                    # 350 modules are all that is made until the agent runs and sets its own thresholds
    import asyncio

    from .app import run_agent

    return asyncio.run(run_agent(path, once=args.once, timeout_s=timeout_s))


def parse_timeout_s(text: str) -> float:
    """Seconds of a duration with its unit; Usage where it is none."""
    try:
        return float(Seconds.parse(text))
    except ValueError as error:
        raise Usage(f"--timeout: {error}") from None
