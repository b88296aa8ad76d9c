"""`shipper demo`: a small node in a directory, the real agent on it, live counts, and the proof.

    Writer ──► DIR/node/... ──► Agent (kill -9, start again) ──► DIR/delivered/*.ndjson ──► shipper verify + own count
                                   │
                                   └─ DIR/state/admin.sock ──► live view

    writing ──(--seconds, Ctrl-C)──► draining ──(all delivered, or no progress for 30 s)──► verifying ──► exit 0 or 1

Invariants (tests/agent/test_demo.py):
  D3  the verdict comes from two counts that share nothing: the ids (verify) and the numbers in the lines (simulator)
  D4  whatever happens, both children are ended and, without --keep and with a good verdict, the directory is removed
  D5  Ctrl-C ends the writing, not the proof; a second one ends all
Exit: 0 when written = delivered, 1 when not, 130 after a second Ctrl-C.
Driver: processes, files, the terminal. What is said stands in demo_view.py.
"""
from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import orjson

from ..errors import Fatal, Usage
from .demo_children import Agent, Delivered, Writer, agent_command, writer_command
from .demo_view import Live, Outcome, line, panel, redraw, result
from .simulator.count import Count
from .verify import read_lines, verify_files

KILLS = 5
TICK_S = 0.1
LINE_EACH_S = 1.0
ASK_EACH_S = 0.25
READY_TIMEOUT_S = 30.0
NO_PROGRESS_S = 30.0
STOP_TIMEOUT_S = 40.0
SHOWN = {"rotations": "rotations", "restarts": "restarts", "deletions": "pods deleted", "copytruncates": "copytruncates"}

CONFIG = """\
# What `shipper demo` runs. Try it by hand:  shipper run -c {config}
node: demo
state_dir: "{state}"
sources:
  pods:
    type: containers
    include: ["{node}/containers/*.log"]
    allowed_roots: ["{node}/containers", "{node}/pods", "{node}/docker/containers"]
  host:
    type: files
    include: ["{node}/host/*.log"]
sinks:
  archive:
    type: file
    path: "{delivered}/records.ndjson"
    start_at: oldest
admin:
  listen: null          # the socket in state_dir stays: shipper status --state-dir {state}
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--seconds", type=_positive, default=20.0, metavar="S", help="how long the node writes (20)")
    parser.add_argument("--rate", type=_positive, default=2000.0, metavar="N", help="lines per second (2000)")
    parser.add_argument("--kill", type=_count, nargs="?", const=KILLS, default=0, metavar="N",
                        help=f"kill the agent with -9 and start it again, N times on the way ({KILLS})")
    parser.add_argument("--keep", metavar="DIR", help="use this new or empty directory, and keep it")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another node, the same for the same number (1)")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ArgumentTypeError(f"{text} must be more than 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ArgumentTypeError(f"{text} must not be negative")
    return value


def run(args: Namespace) -> int:
    """The whole demo. Raises Usage where --keep names a directory that is not empty, Fatal where the agent fails."""
    directory = directory_for(args.keep)
    demo = Demo(directory, args.seconds, args.rate, args.kill, args.seed)
    good = False
    try:
        with demo.interruptible():
            outcome = demo.play()
        print(result(outcome, demo.screen.colour))
        good = outcome.good
    finally:
        demo.close()
        if good and not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(_what_is_kept(directory), file=sys.stdout if good else sys.stderr)
    return 0 if good else 1


def directory_for(keep: str | None) -> Path:
    """The directory to play in, absolute. Usage where --keep names one with something in it."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="shipper-demo-"))
    directory = Path(keep).resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Usage(f"--keep {keep}: there is something in it; name a new or an empty directory")
    except OSError as error:
        raise Usage(f"--keep {keep}: {error.strerror}; name a directory that can be made") from error
    return directory


def write_config(directory: Path) -> Path:
    """The agent's config for this directory."""
    path = directory / "demo.yaml"
    names = {name: directory / name for name in ("node", "state", "delivered")}
    for made in names.values():
        made.mkdir(exist_ok=True)
    path.write_text(CONFIG.format(config=path, **names))
    return path


def kill_times_s(seconds: float, kills: int) -> list[float]:
    """When to kill: evenly over the time, never at its ends."""
    return [seconds * (number + 1) / (kills + 1) for number in range(kills)]


def _command() -> str:
    """How this very program is called from a shell, whatever its PATH."""
    called = sys.argv[0]
    if shutil.which("shipper") and os.path.realpath(str(shutil.which("shipper"))) == os.path.realpath(called):
        return "shipper"
    return f"{sys.executable} -m shipper" if called.endswith("__main__.py") else os.path.abspath(called)


def _what_is_kept(directory: Path) -> str:
    kept = f"\nkept in {directory}: node/ (the log files), delivered/, state/, agent.log, demo.yaml"
    if not (directory / "audit.json").exists():
        return kept
    return f"{kept}, audit.json\nlook again:  {_command()} verify --ledger {directory}/audit.json {directory}/delivered/*.ndjson"


class Screen:
    """A panel that is drawn over itself on a terminal, else a line each second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty() and os.environ.get("TERM") not in ("dumb", None)
        self.colour = self._terminal and "NO_COLOR" not in os.environ
        self._drawn = 0
        self._next_line_s = 0.0

    def show(self, live: Live) -> None:
        """The counts of now."""
        if self._terminal:
            rows = panel(live, self.colour)
            self._out.write(redraw(rows, self._drawn))
            self._drawn = len(rows)
        elif live.elapsed_s >= self._next_line_s:
            self._out.write(line(live) + "\n")
            self._next_line_s = live.elapsed_s + LINE_EACH_S
        self._out.flush()


class Demo:
    """One play. `play` once, then `close`, whatever happened."""

    def __init__(self, directory: Path, seconds: float, rate: float, kills: int, seed: int, out: TextIO = sys.stdout) -> None:
        self._directory = directory
        config = write_config(directory)
        self.screen = Screen(out)
        self.live = Live(seconds=seconds, kills_planned=kills)
        self._agent = Agent(agent_command(config), directory / "state", directory / "agent.log")
        self._delivered = Delivered(directory / "delivered")
        self._writer_command = writer_command(directory / "node", rate, seconds, seed)
        self._writer: Writer | None = None
        self._kill_at_s = kill_times_s(seconds, kills)
        self._begin_s = time.monotonic()
        self._back_after_s: list[float] = []
        self._killed_s = 0.0                   # when the agent that has not answered since was killed
        self._next_ask_s = 0.0
        self._backlog_bytes: int | None = None
        self._interrupts = 0

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, the first Ctrl-C (or SIGTERM) ends the writing, the second raises KeyboardInterrupt (D5)."""
        def on_signal(number: int, frame: object) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def play(self) -> Outcome:
        """Write, kill, drain, stop the agent, verify."""
        self._agent.start()
        self._wait_until_it_answers()
        self._writer = Writer(self._writer_command)
        self._begin_s = time.monotonic()
        wrote_s = self._write(self._writer)
        why = self._drain()
        ledger = self._agent.ask("/audit")
        why += self._stop_agent()
        return self._judge(ledger, wrote_s, why)

    def close(self) -> None:
        """End both children, if they still run (D4)."""
        if self._writer is not None:
            self._writer.close()
        self._agent.kill()

    # ---- the phases

    def _wait_until_it_answers(self) -> None:
        while self._agent.ask("/status") is None:
            self._check_agent()
            if time.monotonic() - self._agent.started_s > READY_TIMEOUT_S:
                raise Fatal(f"the agent does not answer after {READY_TIMEOUT_S:g} s; see {self._directory}/agent.log")
            time.sleep(TICK_S)
        self.live.agent = f"running, pid {self._agent.pid}"

    def _write(self, writer: Writer) -> float:
        """Until the writer has settled; kills on the way. Gives the seconds that it wrote."""
        stopped_s = 0.0
        while writer.running:
            self._tick(writer)
            now_s = time.monotonic() - self._begin_s
            if not stopped_s and (self._interrupts or now_s >= self.live.seconds):
                stopped_s = now_s
                self.live.phase = "settling"
                writer.stop()
            if not stopped_s and self._kill_at_s and now_s >= self._kill_at_s[0]:
                self._kill_at_s.pop(0)
                self._kill()
        if writer.ledger is None:
            raise Fatal("the simulated node ended without its ledger; its error stands above")
        return stopped_s or time.monotonic() - self._begin_s

    def _drain(self) -> list[str]:
        """Until all that was written is delivered and nothing is on the way, or nothing moves any more."""
        self.live.phase = "draining"
        progress: tuple[int, int | None] = (-1, None)
        progress_s = time.monotonic()
        while not self._drained():
            self._tick(self._writer)
            if (self.live.delivered, self.live.read_bytes) != progress:
                progress, progress_s = (self.live.delivered, self.live.read_bytes), time.monotonic()
            if time.monotonic() - progress_s > NO_PROGRESS_S:
                return [f"nothing moved for {NO_PROGRESS_S:g} s: lag {self.live.lag_bytes} B, backlog {self._backlog_bytes} B"]
        return []

    def _drained(self) -> bool:
        """Asked anew, so that what is true is true now. More delivered than written is for the verdict to tell."""
        if self.live.delivered < self.live.written:
            return False
        self._ask()
        self._delivered.look()
        self.live.delivered = self._delivered.lines
        return not self._killed_s and self._backlog_bytes == 0 and not self.live.lag_bytes

    def _stop_agent(self) -> list[str]:
        self.live.phase, self.live.agent = "stopping the agent", "ending (SIGTERM)"
        self.screen.show(self.live)
        code = self._agent.stop(STOP_TIMEOUT_S)
        return [] if code == 0 else [f"SIGTERM ended the agent with exit code {code}; its last words: {self._agent.last_words()}"]

    def _judge(self, ledger: dict[str, Any] | None, wrote_s: float, why: list[str]) -> Outcome:
        """D3. The audit is kept beside the data, for another look."""
        self.live.phase, self.live.agent = "verifying", "ended"
        self.screen.show(self.live)
        if ledger is None:
            why = [*why, "the agent gave no audit"]
        else:
            (self._directory / "audit.json").write_bytes(orjson.dumps(ledger, option=orjson.OPT_INDENT_2))
        files = self._delivered.files
        report = verify_files([str(path) for path in files], ledger)
        count = Count()
        for path in files:
            with open(path, "rb") as file:
                count.add_lines(read_lines(file))
        assert self._writer is not None and self._writer.ledger is not None
        counted = count.result(self._writer.ledger)
        return Outcome(counted, report, self.live, wrote_s, tuple(self._back_after_s), tuple(why))

    # ---- what happens all the time

    def _tick(self, writer: Writer | None) -> None:
        if writer is not None:
            writer.listen(TICK_S)
            said = writer.said
            self.live.written, self.live.written_bytes = said.get("written", 0), said.get("bytes", 0)
            self.live.happened = {shown: said.get(name, 0) for name, shown in SHOWN.items()}
        self._check_agent()
        self._delivered.look()
        self.live.delivered = self._delivered.lines
        if writer is not None and writer.running:       # its report is up to a tick old; what is delivered was written
            self.live.written = max(self.live.written, self.live.delivered)
        now_s = time.monotonic()
        self.live.elapsed_s = now_s - self._begin_s
        if now_s >= self._next_ask_s:
            self._next_ask_s = now_s + ASK_EACH_S
            self._ask()
        self.screen.show(self.live)

    def _ask(self) -> None:
        status = self._agent.ask("/status")
        if status is None:
            return
        if self._killed_s:
            self._back_after_s.append(time.monotonic() - self._killed_s)
            self._killed_s = 0.0
        self.live.agent = f"running, pid {self._agent.pid}"
        backlogs = [sink.get("backlog_bytes") for sink in status.get("sinks", {}).values()]
        self._backlog_bytes = None if not backlogs or None in backlogs else sum(backlogs)
        self.live.buffered_bytes = self._backlog_bytes
        self.live.read_bytes = max(read_bytes(status), self.live.read_bytes or 0)

    def _kill(self) -> None:
        pid = self._agent.pid
        self._agent.kill()
        self._killed_s = time.monotonic()
        self.live.kills += 1
        self._agent.start()
        self.live.agent = f"killed (-9, pid {pid}), starting again as pid {self._agent.pid}"

    def _check_agent(self) -> None:
        code = self._agent.exit_code
        if code is not None:
            raise Fatal(f"the agent ended by itself with exit code {code}; its last words: {self._agent.last_words()}")


def read_bytes(status: dict[str, Any]) -> int:
    """Source bytes read so far: the buffer's total, which outlives a crash and counts files that are gone."""
    total = status.get("buffer", {}).get("source_bytes")
    return int(total) if total is not None else sum(file.get("position_bytes", 0) for file in status.get("files", ()))
