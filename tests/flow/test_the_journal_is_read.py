"""systemd's journal as a source: real journal files, the real journalctl, the real agent, kill -9 (docs/sources/journal.md)."""
from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shipper.agent.verify import verify_files
from tests.support.agent import Agent, eventually
from tests.support.collect import dead_port
from tests.support.journal import Journal


def reading(agent: Agent, journal: Journal, **keys: Any) -> Agent:
    """Configured, not started."""
    source = {"type": "journal", "directory": str(journal.directory), **keys}
    agent.configure(sinks={"archive": agent.file_sink()}, sources={"journal": source})
    return agent


def texts(journal: Journal) -> list[str]:
    return [raw.decode("utf-8", "replace") for raw in journal.written]


def keys_of(agent: Agent) -> set[str]:
    return {record["id"].partition(":")[0] for record in agent.delivered()}


def all_there(agent: Agent, journal: Journal) -> None:
    agent.arrived(len(journal.written))


def reload(agent: Agent, count: int) -> None:
    agent.process.send_signal(signal.SIGHUP)
    eventually("the reload is done", lambda: len(agent.said("reload_applied")) == count, else_say=agent.last_words)


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_each_entry_is_in_the_sink_once_however_often_the_agent_is_killed(agent: Agent, tmp_path: Path, kills: int) -> None:
    journal, dice = Journal(tmp_path / "journal"), random.Random(7)
    journal.add([f"entry {i}" for i in range(2000)])
    reading(agent, journal)
    delivered = 0
    for kill in range(kills):
        journal.add([f"entry {kill}.{i}\nline two" for i in range(dice.randrange(1, 400))])
        agent.start(ready=False)
        agent.arrived(delivered + 1)
        journal.add([f"entry {kill}/{i}" for i in range(dice.randrange(1, 400))])
        agent.kill()
        delivered = len(agent.messages())
    agent.start()
    all_there(agent, journal)
    agent.drained()
    audit = agent.audit()
    assert audit["totals"]["balanced"], audit["totals"]["problems"]
    agent.terminate()
    assert agent.messages() == texts(journal)
    ids = [record["id"] for record in agent.delivered()]
    assert len(set(ids)) == len(ids) and len(keys_of(agent)) == 1
    assert verify_files([str(agent.out / "delivered.ndjson")], audit).whole


def test_entries_in_a_frame_that_the_disk_damaged_come_from_the_journal_again(agent: Agent, tmp_path: Path) -> None:
    """They were reported as lost, though journald had them."""
    journal = Journal(tmp_path / "journal")
    journal.add([f"entry {i} {'x' * (i * 37 % 101)}" for i in range(5000)])
    source = {"type": "journal", "directory": str(journal.directory)}
    agent.configure(sinks={"archive": agent.syslog_sink(dead_port())}, sources={"journal": source}, shutdown_grace="100ms")
    agent.start()
    agent.until("all is in the buffer", lambda s: s["buffer"]["source_bytes"] == sum(len(raw) + 1 for raw in journal.written))
    assert agent.terminate() == 0
    (segment,) = (agent.state / "buffer").glob("*.seg*")
    content = bytearray(segment.read_bytes())
    for number in (10, 2500, 4990):
        content[content.index(b"entry %d " % number)] ^= 1
    segment.write_bytes(content)

    agent.configure(sinks={"archive": agent.file_sink()}, sources={"journal": source})
    agent.start()
    agent.drained()
    assert sorted(agent.messages()) == sorted(texts(journal))
    audit = agent.audit()
    assert audit["totals"]["balanced"] and "buffer_damaged" not in audit["totals"]["gap_bytes"]
    assert agent.metrics()["shipper_buffer_damaged_frames_total"] == 3
    assert agent.terminate() == 0
    assert verify_files([str(agent.out / "delivered.ndjson")], audit).whole


def test_rotated_journals_are_followed_across_boots_and_what_was_read_may_be_vacuumed(agent: Agent, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(["one", "two"], file="system@1")
    reading(agent, journal).start()
    all_there(agent, journal)
    journal.add(["three"], file="system")
    all_there(agent, journal)
    journal.vacuum("system@1")
    agent.terminate()
    journal.add(["last words of that boot"])
    journal.reboot()
    journal.add(["first word of this one"])
    agent.start()
    all_there(agent, journal)
    journal.reboot()
    journal.add(["and of the next one"], file="system@2")
    all_there(agent, journal)
    assert agent.audit()["totals"]["gap_bytes"] == {}
    agent.terminate()
    assert agent.messages() == texts(journal)


def test_entries_that_were_vacuumed_while_the_agent_was_down_are_a_gap_with_its_times(agent: Agent, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(["read", "read too"], file="system@1")
    reading(agent, journal).start()
    all_there(agent, journal)
    agent.terminate()
    journal.add(["never read"], file="system@1")
    journal.add(["after"], file="system")
    journal.vacuum("system@1")
    agent.start()
    eventually("the rest is there", lambda: agent.messages()[2:] == ["after"])
    (said,) = [line for line in agent.lines() if line["event"] == "bytes_not_read"]
    assert (said["reason"], said["from_time_ns"], said["to_time_ns"]) == (
        "vacuumed", 1_700_000_000_001_000_000, 1_700_000_000_003_000_000)
    agent.kill()
    agent.start()
    journal.add(["and on"])
    eventually("it goes on", lambda: agent.messages()[2:] == ["after", "and on"])
    files = agent.audit()["files"]
    agent.terminate()
    assert [gap["reason"] for file in files for gap in file["gaps"]] == ["vacuumed"]
    assert len(keys_of(agent)) == 2                       # an id never means two contents


@pytest.mark.long
def test_a_journal_that_rotates_by_itself_and_is_vacuumed_unread_says_how_many_entries_are_gone(
    agent: Agent, tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(["0", "1", "2"])
    reading(agent, journal, max_line="1KiB").start()
    all_there(agent, journal)
    agent.terminate()
    while len(list(journal.directory.glob("system@*"))) < 2:      # rotated by its writer, at 128 MiB
        journal.add([b"%d " % (len(journal.written) + i) + random.randbytes(400_000) for i in range(100)])
        journal.written = [each[:20] for each in journal.written]
        assert len(journal.written) < 2000
    oldest = min(journal.directory.glob("system@*"), key=lambda path: path.name)
    oldest.unlink()
    left = subprocess.run(
        ["journalctl", f"--directory={journal.directory}", "--output=export", "--output-fields=PRIORITY"],
        capture_output=True, check=True).stdout
    first = len(journal.written) - left.count(b"__CURSOR=")
    agent.start()
    eventually("the rest is there", lambda: len(agent.messages()) == 3 + len(journal.written) - first, 60.0)
    (said,) = agent.said("bytes_not_read")
    assert (said["reason"], said["at_least_bytes"]) == ("vacuumed", first - 3)
    assert [int(text.split()[0]) for text in agent.messages()] == [0, 1, 2, *range(first, len(journal.written))]
    assert agent.audit()["totals"]["gap_bytes"] == {"vacuumed": first - 3}
    agent.terminate()


def test_filters_take_what_they_say_and_its_severity_and_fields_come_along(agent: Agent, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(["no: unit"], _SYSTEMD_UNIT="other.service", SYSLOG_IDENTIFIER="web", PRIORITY="3")
    journal.add(["no: identifier"], _SYSTEMD_UNIT="web.service", SYSLOG_IDENTIFIER="else", PRIORITY="3")
    journal.add(["no: priority"], _SYSTEMD_UNIT="web.service", SYSLOG_IDENTIFIER="web", PRIORITY="6")
    journal.add(["yes"], _SYSTEMD_UNIT="web.service", SYSLOG_IDENTIFIER="web", PRIORITY="3", _PID="12", HOBBY="chess")
    reading(
        agent, journal, units=["web.service"], identifiers=["web"], priority="warning", fields=["_PID", "SYSLOG_IDENTIFIER"])
    assert agent.once() == 0
    (record,) = agent.delivered()
    assert (record["message"], record["severity"], record["time"]) == ("yes", "ERROR", "2023-11-14T22:13:20.003000Z")
    assert record["fields"] == {"_PID": "12", "SYSLOG_IDENTIFIER": "web"}
    assert record["file"] == f"journal:{journal.directory}"
    journal.add(["yes again"], _SYSTEMD_UNIT="web.service", SYSLOG_IDENTIFIER="web", PRIORITY="0")
    assert agent.once() == 0
    assert agent.messages() == ["yes", "yes again"]


def test_bytes_newlines_and_empty_messages_come_as_they_are(agent: Agent, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add([b"two\nlines\n\n", b"\x00\xff\xfe=\n", b"", "MESSAGE=no field\n\n__CURSOR=neither", b"x" * 200_000])
    reading(agent, journal, max_line="100KiB")
    assert agent.once() == 0
    found = agent.delivered()
    assert [record["message"] for record in found] == [*texts(journal)[:4], "x" * 102400]
    assert found[4]["truncated"] == 200_000 and found[4]["id"].endswith("+30d41")


def test_a_host_without_journalctl_is_told_so_and_its_files_are_read(agent: Agent, tmp_path: Path) -> None:
    (agent.logs / "a.log").write_text("from a file\n")
    agent.configure(sinks={"archive": agent.file_sink()},
                    sources={"journal": {"type": "journal"}, "logs": agent.files_source()})
    agent.start(env={"PATH": "/nowhere"})
    eventually("the file is read", lambda: agent.messages() == ["from a file"])
    said = agent.event("degraded", about="journal:journal")
    assert "journalctl is not installed" in said["why"]
    assert agent.metrics()['shipper_degraded{reason="journal:journal"}'] == 1
    agent.terminate()


def test_a_reload_adds_changes_and_removes_a_journal(agent: Agent, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(["one"])
    archive, logs = {"archive": agent.file_sink()}, {"logs": agent.files_source()}
    own = {"type": "journal", "directory": str(journal.directory)}
    agent.configure(sinks=archive, sources=logs)
    agent.start()
    agent.configure(sinks=archive, sources={**logs, "journal": own})
    reload(agent, 1)
    all_there(agent, journal)
    agent.configure(sinks=archive, sources={**logs, "journal": {**own, "drop": [{"match": "noise"}]}})
    reload(agent, 2)
    journal.add(["noise", "two"])
    eventually("the filter is in force", lambda: agent.messages() == ["one", "two"])
    agent.configure(sinks=archive, sources=logs)
    reload(agent, 3)
    eventually("it is gone", lambda: not agent.status()["files"])
    assert agent.audit()["totals"]["balanced"]
