"""systemd/shipper.service: systemd's own tools accept it, and the real agent does what it relies on."""
from __future__ import annotations

import configparser
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.packaging.manifests import ROOT
from tests.support.agent import Agent, agents, eventually
from tests.support.collect import dead_port

UNIT = ROOT / "systemd/shipper.service"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    yield from agents(tmp_path)


def analyze(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, timeout=60, check=False)


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str                                             # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def test_systemd_accepts_the_unit(tmp_path: Path):
    shutil.copy(UNIT, tmp_path)
    installed = tmp_path / UNIT.name
    installed.write_text(installed.read_text().replace("/usr/bin/shipper", str(Path(sys.executable).parent / "shipper")))
    done = analyze("verify", str(installed))
    assert (done.returncode, done.stderr) == (0, "")


def test_its_exposure_is_at_most_2():
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for shipper.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 2.0


def test_it_says_what_the_docs_promise():
    service = unit()
    assert (service["Type"], service["Restart"], service["RestartPreventExitStatus"]) == ("notify", "on-failure", "2")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (service["DynamicUser"], service["StateDirectory"]) == ("yes", "shipper")
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_DAC_READ_SEARCH"
    assert service["ExecStart"].split() == ["/usr/bin/shipper", "run", "-c", "/etc/shipper/shipper.yaml"]
    page = (ROOT / "docs/systemd.md").read_text()
    for text in ("LoadCredential=", "ReadWritePaths=", "CREDENTIALS_DIRECTORY", "systemctl reload"):
        assert text in page


def test_it_leaves_the_agent_the_time_that_it_takes():
    from shipper.config.loader import load

    config = load(str(ROOT / "config/bare-host.yaml"), {"SYSLOG_ADDRESS": "logs.example.com:6514"}).config
    service = unit()
    assert int(service["TimeoutStopSec"]) >= config.shutdown_grace + 10
    assert int(service["TimeoutStartSec"]) >= config.lock_wait + 60


def test_a_stopped_process_starves_the_watchdog_and_a_dead_sink_does_not(agent: Agent, tmp_path: Path):
    agent.configure(sinks={"dead": agent.syslog_sink(dead_port())}, shutdown_grace="100ms")
    (agent.logs / "a.log").write_text("one\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        agent.start(ready=False, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        assert manager.recv(100) == b"READY=1"
        assert agent.status()["ready"]                            # READY means that the first scan is done
        agent.event("degraded")
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        agent.process.send_signal(signal.SIGSTOP)
        eventually("it stands still", lambda: " T " in Path(f"/proc/{agent.pid}/stat").read_text())
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):                # what was on its way
            while manager.recv(100):
                pass
        manager.settimeout(0.5)                                   # five times as long as it is fed
        with pytest.raises(TimeoutError):
            manager.recv(100)
        agent.process.send_signal(signal.SIGCONT)
        manager.settimeout(60)
        assert manager.recv(100) == b"WATCHDOG=1"
        assert agent.terminate() == 0
        last = manager.recv(100)
        while last == b"WATCHDOG=1":
            last = manager.recv(100)
        assert last == b"STOPPING=1"


REFUSE_WRITABLE_CODE = (
    "import ctypes, os, sys\n"
    "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)\n"         # PR_SET_MDWE, what MemoryDenyWriteExecute= uses
    "os.execv(sys.argv[1], sys.argv[1:])\n")


def test_it_runs_where_no_memory_may_be_made_executable(agent: Agent):
    """ctypes makes code at run time on some platforms; malloc is tuned through it."""
    agent.configure(sinks={"archive": agent.file_sink()}, admin={"listen": "127.0.0.1:0"})
    (agent.logs / "a.log").write_text("one\n")
    agent.prefix = (sys.executable, "-c", REFUSE_WRITABLE_CODE)
    if subprocess.run([*agent.prefix, "/bin/true"], check=False).returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    agent.start()
    agent.arrived(1)
    agent.drained()
    assert agent.metrics()['shipper_sink_delivered_records_total{sink="archive"}'] == 1


def test_secrets_come_as_credentials(agent: Agent, tmp_path: Path):
    """${CREDENTIALS_DIRECTORY} in the config, as systemd sets it for LoadCredential=."""
    (tmp_path / "credentials").mkdir()
    sink = agent.syslog_sink(dead_port(), protocol="tls", tls={"ca": "${CREDENTIALS_DIRECTORY}/ca.pem"})
    agent.configure(sinks={"central": sink})
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    wrong = agent.command("check", "-c", str(agent.config_path), env=given)
    assert wrong.returncode == 2 and b"sinks.central.tls.ca: cannot read" in wrong.stderr
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "credentials/ca.pem"))
    right = agent.command("check", "-c", str(agent.config_path), env=given)
    assert right.returncode == 0, right.stderr
