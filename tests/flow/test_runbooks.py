"""The commands of docs/runbooks, pasted into a shell as they stand, beside an agent that is in the state that the page is for."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.agent import Agent
from tests.support.collect import dead_port

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
PAGES = sorted(page.stem for page in RUNBOOKS.glob("Shipper*.md"))
ELSEWHERE = ("kubectl", "systemctl", "dmesg", "restart")
"""What begins so is for a cluster, for systemd, or for root."""
FUNCTIONS = """
shipper() { "$PYTHON" -m shipper "$@"; }
inside() { "$@"; }
log() { cat "$AGENT_LOG"; }
"""


def shell(page: str) -> list[str]:
    """The commands of a page."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", (RUNBOOKS / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line for line in block.splitlines() if line]


def pasted(agent: Agent, page: str, printed_before: dict[str, str], **names: str) -> str:
    """What the commands print. Each ends with 0, but for `check` of a config that is wrong; `names` stand for ID and NAME.
    `printed_before`: by command, in the same state; such a command is not run again."""
    printed = ""
    for line in shell(page):
        if line.startswith(ELSEWHERE) or line.startswith("shipper dead-letters replay"):
            continue
        line = line.replace("/etc/shipper/shipper.yaml", str(agent.config_path)).replace("/var/lib/shipper/", f"{agent.state}/")
        for name, value in names.items():
            line = re.sub(rf"\b{name}\b", value, line)
        if shutil.which("jq") is None:
            line = re.sub(r"\| jq [^#]*", "", line)
        command = line.partition("#")[0].strip()
        if command in printed_before:
            printed += printed_before[command]
            continue
        env = {**os.environ, "PYTHON": sys.executable, "AGENT_LOG": str(agent.log_path), "SHIPPER_STATE_DIR": str(agent.state)}
        done = subprocess.run(["bash", "-o", "pipefail", "-c", FUNCTIONS + line], capture_output=True, text=True, timeout=60,
                              check=False, env=env, cwd=agent.root)
        finds_nothing = line.startswith("log | grep") and done.returncode == 1 and not done.stderr
        assert done.returncode == 0 or finds_nothing or (line.startswith("shipper check") and done.returncode == 2), (line, done)
        printed_before[command] = done.stdout + done.stderr
        printed += printed_before[command]
    return printed


class Takes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def far_port() -> Iterator[int]:
    """A server that takes everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_what_a_page_looks_for_in_the_log_is_what_the_agent_says() -> None:
    source = "".join(path.read_text() for path in (RUNBOOKS.parents[1] / "shipper").rglob("*.py"))
    for line in [line for page in PAGES for line in shell(page)]:
        for pattern in re.findall(r"log \| grep (?:-E )?'?([\w|]+)", line):
            assert [word for word in pattern.split("|") if f'"{word}' not in source and f'{word}"' not in source] == [], line


def test_beside_a_dead_sink_and_a_full_buffer(agent: Agent) -> None:
    before: dict[str, str] = {}
    agent.configure(sinks={"central": agent.syslog_sink(dead_port()), "archive": agent.file_sink()}, shutdown_grace="100ms",
                    buffer={"max_size": "8MiB"})
    log = agent.logs / "app.log"
    log.write_text(("x" * 999 + "\n") * 16_000)
    agent.start()
    agent.event("degraded", about="buffer_full")
    log.unlink()
    agent.until("the deleted file is held", lambda status: status["files"] and status["files"][0]["state"] == "deleted")
    degraded = pasted(agent, "ShipperDegraded", before)
    assert "DEGRADED  sink:central" in degraded and "Mend sink central, which is furthest behind" in degraded
    assert '"about":"buffer_full"' in degraded
    backlog = pasted(agent, "ShipperBacklogGrowing", before)
    assert "retrying" in backlog and "check that the receiver runs" in backlog
    full = pasted(agent, "ShipperBufferFullIn4Hours", before)
    assert "FULL" in full and "first limit" in full and f"{agent.state}/buffer" in full
    assert "buffer_full" in pasted(agent, "ShipperLagGrowing", before)
    deleted = pasted(agent, "ShipperDeletedFilesUnread", before)
    assert f'"path": "{log}' in deleted or shutil.which("jq") is None
    for page in ("ShipperStuck", "ShipperUnexpectedErrors", "ShipperDiskErrors", "ShipperRoutedWithoutLabels", "ShipperLinesCut"):
        pasted(agent, page, before)


def test_beside_refused_files_a_refused_config_lost_lines_and_dead_letters(agent: Agent, far_port: int) -> None:
    before: dict[str, str] = {}
    sinks = {"archive": agent.file_sink(),
             "loki": {"type": "loki", "url": f"http://127.0.0.1:{far_port}", "max_line": "1KiB", "start_at": "oldest"}}
    agent.configure(sinks=sinks)
    (agent.logs / "outside.log").symlink_to("/etc/hostname")
    log = agent.logs / "app.log"
    log.write_text("one\n" + "long " * 500 + "\n")
    agent.start()
    agent.arrived(2)
    assert agent.terminate() == 0
    log.rename(agent.logs / "gone")
    (agent.logs / "gone").unlink()
    log.write_text("another\n")
    agent.start()
    agent.arrived(3)
    agent.write_config("sinks: {}\n")
    agent.process.send_signal(signal.SIGHUP)
    agent.event("reload_refused")
    refused = pasted(agent, "ShipperFilesRefused", before)
    assert "outside.log" in refused and "allowed_roots" in refused and "NOT READ" in refused
    reload = pasted(agent, "ShipperReloadFailed", before)
    assert "shipper.yaml:1:1: sources: no source" in reload and '"outcome": "refused"' in reload
    agent.event("bytes_not_read")                # up to a second after the new log was read
    lost = pasted(agent, "ShipperRecordsLost", before)
    assert f"rotated_away at least 0 B  {log}" in lost
    agent.configure(sinks=sinks)
    letters = agent.until("the long line is a dead letter", lambda status: status["sinks"]["loki"]["dead_records"])
    assert letters
    listed = agent.command("dead-letters", "list", "--json").stdout.decode()
    item = re.search(r'"id": "([^"]+)"', listed)
    assert item is not None, listed
    shown = pasted(agent, "ShipperDeadLetters", before, ID=item[1], NAME="loki")
    assert "too_large" in shown and "long long" in shown
