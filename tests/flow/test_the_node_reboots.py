"""A reboot, and what may be gone after it: /var/log (a tmpfs), the state directory, or neither; and who owns what."""
from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from shipper.buffer.lock import Lock
from tests.support.agent import Agent
from tests.support.collect import dead_port

ROOT_WITH_ONE_CAPABILITY = ("setpriv", "--bounding-set", "-all,+dac_read_search", "--no-new-privs")
"""What the DaemonSet gives: uid 0, all capabilities dropped but DAC_READ_SEARCH."""
A_USER = 61_234
A_USER_WITH_ONE_CAPABILITY = (
    "setpriv", "--reuid", str(A_USER), "--regid", str(A_USER), "--clear-groups", "--bounding-set", "-all,+dac_read_search",
    "--inh-caps", "-all,+dac_read_search", "--ambient-caps", "+dac_read_search", "--no-new-privs")
"""What systemd/shipper.service gives."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="capabilities can only be dropped by root")


def reboot(logs: Path) -> None:
    """A tmpfs counts its inodes from the beginning: new files, the old numbers, in another order."""
    (logs / "a.log").rename(logs / "x")
    (logs / "c.log").rename(logs / "a.log")
    (logs / "x").rename(logs / "c.log")
    for name in "cabde":
        (logs / f"{name}.log").write_text(f"{name} after 1\n{name} after 2\n")    # as a new file of that number would be


def test_sigterm_with_every_sink_dead_and_a_tmpfs_of_logs_gone_loses_and_repeats_nothing(agent: Agent) -> None:
    dead = {name: agent.syslog_sink(dead_port()) for name in ("dead", "dead_too")}
    agent.configure(sinks=dead, shutdown_grace="500ms")
    for name in "abc":
        (agent.logs / f"{name}.log").write_text(f"{name} before 1\n{name} before 2\n")
    agent.start()
    agent.until("all is in the buffer", lambda status: status["buffer"]["source_bytes"] == 66)
    with open(agent.logs / "a.log", "a") as file:
        file.write("a at the very end\n")
    assert agent.terminate(within_s=15) == 0
    assert agent.event("stopped")["held"]["dead"] == {"bytes": 84, "records": 7}

    reboot(agent.logs)
    agent.configure(sinks={"archive": agent.file_sink(previously="dead")})
    agent.start()
    want = sorted([*(f"{x} before {n}" for x in "abc" for n in (1, 2)), "a at the very end",
                   *(f"{x} after {n}" for x in "abcde" for n in (1, 2))])
    assert sorted(agent.arrived(len(want))) == want
    agent.drained()
    assert sorted(agent.messages()) == want
    assert agent.audit()["totals"]["balanced"]


def test_the_state_directory_gone_while_the_logs_stay_begins_again_and_says_so(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    agent.start()
    assert agent.said("new_state_directory") == []                # there are no logs yet: nothing can be missing
    assert agent.event("no_files")["level"] == "warning"          # and an include with a slip would look just so
    (agent.logs / "a.log").write_text("one\ntwo\n")
    agent.arrived(2)
    agent.kill()
    agent.start()
    assert agent.said("new_state_directory") == []                # state is there
    agent.kill()

    shutil.rmtree(agent.state)
    (agent.out / "delivered.ndjson").unlink()
    agent.start()
    said = agent.event("new_state_directory")
    assert said["level"] == "warning" and said["log_files"] == 1 and said["about"] == str(agent.state)
    assert "logs at the beginning" in said["why"]
    assert agent.arrived(2) == ["one", "two"]


def test_with_start_at_end_only_what_comes_now_is_shipped(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()}, sources={"logs": agent.files_source(start_at="end")})
    (agent.logs / "a.log").write_text("one\ntwo\n")
    agent.start()
    assert "logs at the end" in agent.event("new_state_directory")["why"]
    with open(agent.logs / "a.log", "a") as file:
        file.write("three\n")
    agent.arrived(1)
    agent.drained()
    assert agent.messages() == ["three"]


def test_a_foreign_owner_of_the_state_directory_is_exit_2_with_the_chown_command(agent: Agent) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    agent.state.mkdir(mode=0o755)
    os.chown(agent.state, A_USER, A_USER)
    agent.prefix = ROOT_WITH_ONE_CAPABILITY
    assert agent.start(ready=False).ended() == 2
    assert f"chown -R 0 {agent.state}" in agent.log_text() and "Traceback" not in agent.log_text()
    os.chown(agent.state, 0, 0)                                   # the mend
    agent.start()


def test_state_files_of_another_user_are_exit_2_with_the_chown_command(agent: Agent) -> None:
    """The directory was given back by hand, without -R."""
    agent.configure(sinks={"archive": agent.file_sink()})
    (agent.logs / "a.log").write_text("one\n")
    assert agent.once() == 0
    for path in agent.state.rglob("*"):
        os.chown(path, A_USER, A_USER)
    agent.prefix = ROOT_WITH_ONE_CAPABILITY
    assert agent.start(ready=False).ended() == 2
    assert f"chown -R 0 {agent.state}" in agent.log_text() and "Traceback" not in agent.log_text()


@pytest.mark.parametrize("prefix", [ROOT_WITH_ONE_CAPABILITY, A_USER_WITH_ONE_CAPABILITY], ids=["daemonset", "systemd"])
def test_one_capability_is_enough_to_read_every_log_and_all_else_is_its_own(agent: Agent, prefix: tuple[str, ...]) -> None:
    agent.configure(sinks={"archive": agent.file_sink()})
    for owner, mode in ((0, 0o640), (A_USER, 0o600), (1234, 0o600)):
        path = agent.logs / f"{owner}.log"
        path.write_text(f"of {owner}\n")
        os.chown(path, owner, owner)
        path.chmod(mode)
    agent.state.mkdir(mode=0o700)
    if prefix is A_USER_WITH_ONE_CAPABILITY:
        os.chown(agent.state, A_USER, A_USER)
        os.chown(agent.out, A_USER, A_USER)
    agent.prefix = prefix
    agent.start()
    assert sorted(agent.arrived(3)) == ["of 0", "of 1234", f"of {A_USER}"]
    status = Path(f"/proc/{agent.pid}/status").read_text()
    assert "CapEff:\t0000000000000004" in status and "NoNewPrivs:\t1" in status
    agent.process.send_signal(signal.SIGHUP)
    agent.event("reload_unchanged")
    assert agent.terminate() == 0
    assert Lock.try_take(str(agent.state)) is not None
