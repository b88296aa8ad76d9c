"""What `shipper demo` shows: a panel on a terminal, a line each second elsewhere, and the result. Pure.

Nothing here is measured: `Live` and `Outcome` come from demo.py, and the words for them from here.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from .simulator.count import Counted
from .text import printable, size
from .verify_report import Report

BAR_CELLS = 30
GREEN, RED, DIM, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


@dataclass(slots=True)
class Live:
    """The counts of one moment. Lines are counted by the writer and in the delivered files, bytes of `read_bytes` and
    `buffered_bytes` are what the agent last said (None: nothing yet)."""

    elapsed_s: float = 0.0
    seconds: float = 0.0
    written: int = 0
    written_bytes: int = 0
    read_bytes: int | None = None
    buffered_bytes: int | None = None
    delivered: int = 0
    kills: int = 0
    kills_planned: int = 0
    happened: dict[str, int] = field(default_factory=dict)
    agent: str = "starting"
    phase: str = "writing"

    @property
    def lag_bytes(self) -> int | None:
        """Written and not read yet."""
        return None if self.read_bytes is None else max(0, self.written_bytes - self.read_bytes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it came to. `why`: what went wrong on the way, in one line each."""

    counted: Counted
    report: Report
    live: Live
    wrote_s: float
    back_after_s: tuple[float, ...]
    why: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Written = delivered, each line once and unchanged, by both counts, and the agent did not fail."""
        return self.counted.exact and self.report.whole and not self.report.repeated and not self.why


def line(live: Live) -> str:
    """One plain line, for logs and pipes."""
    kills = f"  kills {live.kills}/{live.kills_planned}" if live.kills_planned else ""
    return (
        f"{live.elapsed_s:5.1f} s  written {live.written:,}  read {size(live.read_bytes)}  buffered {size(live.buffered_bytes)}"
        f"  delivered {live.delivered:,}  lag {size(live.lag_bytes)}  rotations {live.happened.get('rotations', 0)}"
        f"{kills}  agent {live.agent}"
    )


def panel(live: Live, colour: bool) -> list[str]:
    """The lines of the panel on a terminal, each under 80 columns."""
    dim, bold, green, red, plain = (DIM, BOLD, GREEN, RED, PLAIN) if colour else ("",) * 5
    most = max(live.written, 1)
    kills = f"   kill -9: {live.kills} of {live.kills_planned}" if live.kills_planned else ""
    agent = f"{green if live.agent.startswith('running') else red if live.agent.startswith('killed') else ''}{live.agent}{plain}"
    happened = "  ".join(f"{name} {count}" for name, count in live.happened.items())
    rows = [
        f"{bold}shipper demo{plain}   {min(live.elapsed_s, live.seconds):.1f} s of {live.seconds:g} s   {live.phase}{kills}",
        f"  written    {live.written:>12,} lines  {size(live.written_bytes):>10}  {bar(1.0)}",
        f"  read       {'':>12}        {size(live.read_bytes):>10}  {bar((live.read_bytes or 0) / max(live.written_bytes, 1))}",
        f"  delivered  {live.delivered:>12,} lines  {'':>10}  {green}{bar(live.delivered / most)}{plain}",
        f"  buffered   {'':>12}        {size(live.buffered_bytes):>10}",
        f"  lag        {'':>12}        {size(live.lag_bytes):>10}",
        f"  {dim}{happened}{plain}",
        f"  agent      {agent}",
    ]
    return rows


def bar(share: float) -> str:
    """`share` of 1 as a bar of BAR_CELLS cells."""
    full = round(min(max(share, 0.0), 1.0) * BAR_CELLS)
    return "█" * full + "░" * (BAR_CELLS - full)


def redraw(rows: list[str], drawn: int) -> str:
    """The bytes that put `rows` over the `drawn` lines above the cursor."""
    up = f"\x1b[{drawn}A" if drawn else ""
    return up + "".join(f"\r\x1b[2K{row}\n" for row in rows)


def result(outcome: Outcome, colour: bool) -> str:
    """The table at the end, and the verdict."""
    counted, report, live = outcome.counted, outcome.report, outcome.live
    rate = counted.written / outcome.wrote_s if outcome.wrote_s > 0 else 0.0
    rows = [
        ("written", f"{counted.written:,} lines", size(live.written_bytes)),
        ("delivered", f"{counted.delivered:,} lines", ""),
        ("lost", f"{counted.lost:,}", "by the number in each line"),
        ("repeated", f"{counted.repeated:,}", ""),
        ("damaged", f"{counted.damaged + counted.stray:,}", "by the checksum in each line"),
        ("kill -9", f"{live.kills:,}", _back(outcome.back_after_s)),
        *((name, f"{count:,}", "") for name, count in live.happened.items()),
        ("seconds", f"{outcome.wrote_s:.1f}", f"{rate:,.0f} lines/s"),
        ("verify", "whole" if report.whole else "NOT whole", _verified(report)),
    ]
    lines = [f"  {name:<14} {value:>18}  {note}".rstrip() for name, value, note in rows]
    lines += [f"  {printable(name)}: {count:,} lines lost" for name, count in sorted(counted.lost_by_log.items())]
    lines += [f"  {printable(why)}" for why in outcome.why]
    verdict = (
        f"written = delivered: every one of {counted.written:,} lines once, 0 lost, 0 repeated" if outcome.good
        else "NOT whole: see above"
    )
    if colour:
        verdict = f"{BOLD}{GREEN if outcome.good else RED}{verdict}{PLAIN}"
    return "\n".join(["", *lines, "", verdict])


def _back(seconds: tuple[float, ...]) -> str:
    return f"it answers again after {max(seconds):.1f} s at most" if seconds else ""


def _verified(report: Report) -> str:
    return (f"{report.distinct:,} distinct ids of {len(report.files):,} files, "
            f"{size(report.total('covered_bytes'))} covered, {report.total('missing_bytes'):,} missing")
