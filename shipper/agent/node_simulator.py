"""`python -m shipper.agent.node_simulator`: moves a simulated node by the clock, in a process of its own.

    stdout    a JSON line each tick: {"written", "bytes", "rotations", "restarts", "deletions", "copytruncates", "pods"};
              the last one, when all is settled in the files, has "ledger" too
    SIGTERM   (or SIGINT, or the end of --seconds): settle, say the last line, exit 0

As on a node: the kubelet looks at the sizes each second and rotates what is due; between rename and reopen lies one
tick of 50 ms; a pod that ends is removed --gc-s later. Tests use `Node` itself, where every change is a call.
Driver.
"""
from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from .simulator.node import Node, Pod

__all__ = ["Node", "Pace", "main", "move"]

TICK_S = 0.05
MONITOR_S = 1.0
MOST_LINES_A_TICK = 20_000
ROTATE_EACH_S = 2.0
BYTES_A_LINE = 210            # what the simulator's lines are on average, by measurement
LEAST_MAX_BYTES = 64 * 1024
EVENTS = ((0.2, "restart"), (0.3, "end pod"), (0.35, "copytruncate"), (0.45, "restart"), (0.6, "end pod"), (0.7, "restart"),
          (0.75, "copytruncate"))


class Pace(NamedTuple):
    """How fast, how long, and how long the files of an ended pod stay."""

    rate: float
    seconds: float
    gc_s: float


def max_bytes_for(rate: float, containers: int) -> int:
    """A size at which each container's log is rotated about each 2 s, so that a short run sees many rotations."""
    return max(LEAST_MAX_BYTES, int(rate * BYTES_A_LINE * ROTATE_EACH_S / max(1, containers)))


def move(node: Node, pace: Pace, stopped: Callable[[], bool], report: Callable[[dict[str, Any]], None]) -> None:
    """Write at the pace until its seconds are over or `stopped()`; then settle and report the ledger."""
    begin = time.monotonic()
    events = [(pace.seconds * share, name) for share, name in EVENTS]
    ended: list[tuple[float, Pod]] = []
    wrote = 0
    next_monitor = 0.0
    while (now := time.monotonic() - begin) < pace.seconds and not stopped():
        due = min(int(pace.rate * now) - wrote, MOST_LINES_A_TICK)
        node.write(due, leave_open=True)
        wrote += due
        node.rotate_finish()
        if now >= next_monitor:
            node.rotate_due()
            next_monitor = now + MONITOR_S
        while events and events[0][0] <= now:
            _happen(node, events.pop(0)[1], now + pace.gc_s, ended)
        while ended and ended[0][0] <= now:
            node.remove(ended.pop(0)[1])
        report(node.progress())
        time.sleep(TICK_S)
    node.close()
    report(node.summary())


def _happen(node: Node, event: str, remove_at_s: float, ended: list[tuple[float, Pod]]) -> None:
    if event == "restart":
        containers = node.containers
        node.restart(containers[len(containers) // 2])
    elif event == "copytruncate":
        for log in node.host_logs:
            node.copytruncate(log)
    elif event == "end pod":
        pod = node.pods[0]
        node.add_pod("cri")
        node.stop(pod)
        ended.append((remove_at_s, pod))


def main(argv: list[str] | None = None) -> int:
    """The command line of the module."""
    parser = argparse.ArgumentParser(prog="node_simulator", description="A simulated node below --root, moved by the clock.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--rate", type=float, default=2000.0, help="lines per second (2000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-bytes", type=int, default=0, help="size at which a log is rotated (about each 2 s)")
    parser.add_argument("--max-files", type=int, default=5, help="the kubelet's containerLogMaxFiles (5)")
    parser.add_argument("--gc-s", type=float, default=6.0, help="seconds until the files of an ended pod are removed (6)")
    args = parser.parse_args(argv)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, frame: signals.append(got))
    node = Node(args.root, args.seed, max_files=args.max_files)
    node.max_bytes = args.max_bytes or max_bytes_for(args.rate, len(node.containers))
    move(node, Pace(args.rate, args.seconds, args.gc_s), lambda: bool(signals), _print)
    return 0


def _print(facts: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
