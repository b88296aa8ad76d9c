"""`shipper demo`: its parts, and the whole with the real agent, killed on the way (D3 to D5)."""
from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

import pytest

from shipper.agent import demo
from shipper.agent.demo_children import Agent, Delivered, Writer, writer_command
from shipper.agent.demo_view import BAR_CELLS, Live, Outcome, bar, line, panel, redraw, result
from shipper.agent.simulator import Count, Counted
from shipper.agent.verify_report import Tally, make_report
from shipper.config.loader import load_text
from shipper.errors import Usage

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def outcome(lost: int = 0, ids: tuple[str, ...] = ("0+a", "a+a"), why: tuple[str, ...] = ()) -> Outcome:
    tally = Tally()
    tally.add_lines(b'{"message":"x","id":"k:%s"}' % item.encode() for item in ids)
    counted = Counted(2, 2 - lost, lost, 0, 0, 0, {"a/b/c": lost} if lost else {})
    return Outcome(counted, make_report(tally), Live(written=2, kills=3), 1.0, (0.4, 0.7), why)


# ---------------------------------------------------------------- what is said

def test_a_line_has_all_counts_and_says_what_is_not_known_yet():
    text = line(Live(3.0, 20.0, 1234, 9000))
    assert "written 1,234" in text and "read -" in text and "lag -" in text and "kills" not in text
    text = line(Live(3.0, 20.0, 1234, 9000, 8000, 512, 1200, 2, 5))
    assert "delivered 1,200" in text and "buffered 512 B" in text and "lag 1000 B" in text and "kills 2/5" in text


def test_the_panel_fits_80_columns_and_is_drawn_over_itself():
    happened = dict.fromkeys(demo.SHOWN.values(), 99)
    live = Live(12.3, 20.0, 10**9, 10**12, 10**12, 10**9, 10**9, 5, 5, happened, "running, pid 4194304")
    rows = panel(live, colour=True)
    assert max(len(ANSI.sub("", row)) for row in rows) < 80
    assert not any("\x1b" in row for row in panel(live, colour=False))
    assert redraw(rows, 0).count("\n") == len(rows) and redraw(rows, len(rows)).startswith(f"\x1b[{len(rows)}A")


@pytest.mark.parametrize(("share", "full"), [(-1, 0), (0, 0), (0.5, BAR_CELLS // 2), (1, BAR_CELLS), (7, BAR_CELLS)])
def test_a_bar_stays_within_its_cells(share: float, full: int):
    assert bar(share) == "█" * full + "░" * (BAR_CELLS - full)


def test_a_good_result_says_so():
    text = result(outcome(), colour=False)
    assert outcome().good and "every one of 2 lines once, 0 lost, 0 repeated" in text and "after 0.7 s at most" in text


@pytest.mark.parametrize("bad", [
    outcome(lost=1), outcome(ids=("0+a", "b+a")), outcome(ids=("0+a", "a+a", "a+a")), outcome(why=("nothing moved",)),
])
def test_each_count_alone_can_spoil_the_verdict(bad: Outcome):
    """D3"""
    assert not bad.good and "NOT whole" in result(bad, colour=False)


# ---------------------------------------------------------------- parts

def test_kills_are_spread_over_the_time():
    assert demo.kill_times_s(12, 5) == [2, 4, 6, 8, 10] and demo.kill_times_s(12, 0) == []


def test_the_arguments_have_the_promised_defaults():
    parser = ArgumentParser()
    demo.add_arguments(parser)
    plain = parser.parse_args([])
    assert (plain.seconds, plain.rate, plain.kill, plain.keep) == (20.0, 2000.0, 0, None)
    assert parser.parse_args(["--kill"]).kill == 5 and parser.parse_args(["--kill", "2"]).kill == 2
    for convert, text in ((demo._positive, "0"), (demo._positive, "nan"), (demo._count, "-1")):
        with pytest.raises(ArgumentTypeError):
            convert(text)


def test_the_config_is_one_that_check_accepts(tmp_path: Path):
    from shipper.config.loader import load

    loaded = load(str(demo.write_config(tmp_path)), os.environ).config
    assert loaded.state_dir == str(tmp_path / "state") and set(loaded.sources) == {"pods", "host"}


def test_a_directory_with_something_in_it_is_not_played_in(tmp_path: Path):
    assert demo.directory_for(str(tmp_path / "new")) == tmp_path / "new"
    (tmp_path / "new" / "x").touch()
    with pytest.raises(Usage, match="empty directory"):
        demo.directory_for(str(tmp_path / "new"))
    with pytest.raises(Usage, match="can be made"):
        demo.directory_for(str(tmp_path / "new" / "x"))


def test_delivered_lines_are_counted_as_files_grow_and_again_when_one_is_cut(tmp_path: Path):
    delivered = Delivered(tmp_path)
    delivered.look()
    assert delivered.lines == 0
    one, two = tmp_path / "a.ndjson", tmp_path / "deep" / "b.ndjson"
    two.parent.mkdir()
    for text, lines in (("1\n2\n3", 2), ("1\n2\n3\n4\n", 4), ("1\n", 1)):
        one.write_text(text)
        delivered.look()
        assert delivered.lines == lines
    two.write_text("1\n")
    delivered.look()
    assert delivered.lines == 2 and delivered.files == [one, two]


def test_what_was_read_is_the_buffers_total_where_it_says_so():
    assert demo.read_bytes({"buffer": {"source_bytes": 7}, "files": [{"position_bytes": 3}]}) == 7
    assert demo.read_bytes({"files": [{"position_bytes": 3}, {"position_bytes": 4}]}) == 7


def test_the_writer_is_listened_to_until_its_ledger(tmp_path: Path):
    writer = Writer(writer_command(tmp_path, 1000, 60, 1))
    try:
        while not writer.said.get("written"):
            writer.listen(5)
        assert writer.ledger is None and writer.running
        writer.stop()
        while writer.running:
            writer.listen(5)
        assert writer.ledger is not None and sum(writer.ledger.values()) == writer.said["written"] > 0
    finally:
        writer.close()


def test_an_agent_that_fails_is_reported_with_its_last_words(tmp_path: Path):
    command = [sys.executable, "-c", "import sys; print('the disk is gone', file=sys.stderr); sys.exit(3)"]
    agent = Agent(command, tmp_path, tmp_path / "agent.log")
    agent.start()
    deadline_s = time.monotonic() + 10
    while agent.exit_code is None and time.monotonic() < deadline_s:
        assert agent.ask("/status") is None
    assert agent.exit_code == 3 and agent.last_words() == "the disk is gone"


def test_an_agent_that_does_not_heed_sigterm_is_killed(tmp_path: Path):
    script = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('deaf', file=sys.stderr, flush=True); signal.pause()"
    agent = Agent([sys.executable, "-c", script], tmp_path, tmp_path / "agent.log")
    agent.start()
    deadline_s = time.monotonic() + 10
    while "deaf" not in agent.last_words() and time.monotonic() < deadline_s:
        assert agent.exit_code is None
    assert agent.stop(0.1) == -9 and agent.exit_code == -9


def test_without_a_terminal_there_is_a_plain_line_a_second(monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    screen = demo.Screen(out)
    for tenth in range(25):
        screen.show(Live(elapsed_s=tenth / 10))
    assert len(out.getvalue().splitlines()) == 3 and "\x1b" not in out.getvalue()


# ---------------------------------------------------------------- the whole, with the real agent

def test_an_agent_killed_on_the_way_delivers_every_line_exactly_once(tmp_path: Path):
    """P2, P3, P11 as a newcomer meets them; D3, D4."""
    directory = tmp_path / "play"
    options = ["--seconds", "2", "--rate", "3000", "--kill", "2", "--keep", str(directory)]
    done = subprocess.run([sys.executable, "-m", "shipper", "demo", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"kill -9 +2 ", done.stdout) and "0 lost, 0 repeated" in done.stdout
    assert (directory / "audit.json").exists() and (directory / "demo.yaml").exists() and not done.stderr
    count = Count()
    count.add_lines((directory / "delivered" / "records.ndjson").read_bytes().splitlines())
    assert f"every one of {count.delivered:,} lines once" in done.stdout and count.damaged == 0


def test_ctrl_c_ends_the_writing_and_not_the_proof(tmp_path: Path):
    """D4, D5"""
    command = [sys.executable, "-u", "-m", "shipper", "demo", "--seconds", "600", "--rate", "500"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if re.search(r"delivered [1-9]", text):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
    assert "0 lost, 0 repeated" in rest and not list(tmp_path.iterdir())


def test_the_hint_names_this_very_program_where_it_is_not_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["/opt/venv/bin/shipper", "demo"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"look again:  /opt/venv/bin/shipper verify --ledger {tmp_path}/audit.json" in demo._what_is_kept(tmp_path)


def test_the_demos_own_config_is_warned_of_nothing(tmp_path):
    """Whoever looks at what --keep kept reads agent.log first."""
    for name in ("node/containers", "node/host", "delivered", "state"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "node/host/app.log").touch()
    (tmp_path / "node/containers/web.log").touch()
    text = demo.CONFIG.format(config=tmp_path / "demo.yaml", node=tmp_path / "node", state=tmp_path / "state",
                              delivered=tmp_path / "delivered")
    assert load_text(text, "demo.yaml", {}).warnings == []
