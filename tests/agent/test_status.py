"""U1, U2: the status as JSON and as text."""
from __future__ import annotations

from shipper.agent.reload import ReloadResult
from shipper.agent.status import SHOWN_FILES, AgentFacts, FileFacts, StatusFacts, assemble, files_table, human, offline
from shipper.agent.text import duration, printable, size, table

AGENT = AgentFacts(
    version="1.2.3", node="n1", pid=7, started_s=1000.0, uptime_s=3725.0, now_s=500.0, ready=True,
    degraded={"sink_central": (440.0, "connection refused")}, config={"node": "n1"},
    last_reload=ReloadResult("refused", "SIGHUP", 900.0, why="c.yaml:1:1: wrong"),
)
PIPELINE = StatusFacts(
    files=[FileFacts("k1", "/b.log", "host", 100, 100, 0.0, "idle"),
           FileFacts("k2", "/a.log", "host", 5000, 904, 2.25, "reading")],
    sinks={"central": {"type": "syslog", "state": "retrying", "backlog_bytes": 4096, "oldest_s": 61.0,
                       "last_error": "connection refused", "guarantee": {}}},
    buffer={"bytes": 17 * 1024**2, "limit_bytes": 1024**3, "full": False},
)


def test_the_json_holds_agent_files_sinks_and_buffer() -> None:
    found = assemble(AGENT, PIPELINE)
    assert list(found) == ["running", "version", "node", "pid", "started_s", "uptime_s", "ready", "healthy", "problems",
                           "degraded", "lag_bytes", "files", "refusals", "sinks", "buffer", "metadata", "last_reload",
                           "config"]
    assert found["lag_bytes"] == 4096
    assert found["degraded"] == [{"reason": "sink_central", "why": "connection refused", "for_s": 60.0}]
    assert found["files"][1] == {"key": "k2", "path": "/a.log", "source": "host", "size_bytes": 5000, "position_bytes": 904,
                                 "lag_s": 2.25, "state": "reading", "lag_bytes": 4096}
    assert found["last_reload"]["why"] == "c.yaml:1:1: wrong"


def test_the_text_shows_what_lags_first() -> None:
    assert human(assemble(AGENT, PIPELINE)).splitlines() == [
        "shipper 1.2.3 on n1, pid 7, up 1 h 2 m, healthy, ready",
        "DEGRADED  sink_central for 1 m: connection refused",
        "",
        "SINK     TYPE    STATE     BACKLOG  OLDEST",
        "central  syslog  retrying  4.0 KiB  1 m",
        "",
        "buffer: 17.0 MiB of 1.0 GiB",
        "",
        "POSITION  SIZE  LAG      BEHIND  STATE    PATH",
        "904       5000  4.0 KiB  2.2 s   reading  /a.log",
        "100       100   0 B      0 s     idle     /b.log",
        "",
        "last reload: refused (SIGHUP): c.yaml:1:1: wrong",
    ]


def test_the_last_error_of_a_sink_stands_below_the_table_where_it_is_not_said_above() -> None:
    over = AgentFacts(**{**{f: getattr(AGENT, f) for f in AGENT.__slots__}, "degraded": {}})
    lines = human(assemble(over, PIPELINE)).splitlines()
    assert lines[2:6] == ["SINK     TYPE    STATE     BACKLOG  OLDEST", "central  syslog  retrying  4.0 KiB  1 m",
                          "central: last error: connection refused", ""]


def test_an_error_that_is_over_is_not_told_as_one_of_now() -> None:
    over = AgentFacts(**{**{f: getattr(AGENT, f) for f in AGENT.__slots__}, "degraded": {}})
    sinks = {"central": {**PIPELINE.sinks["central"], "state": "ok"}}
    assert "\ncentral: last error (over): connection refused\n" in human(assemble(over, StatusFacts(sinks=sinks)))


def test_a_full_buffer_says_whose_fault_it_is_and_what_to_do() -> None:
    full = AgentFacts(**{**{f: getattr(AGENT, f) for f in AGENT.__slots__}, "degraded": {"buffer_full": (490.0, "1 of 1 used")}})
    assert human(assemble(full, PIPELINE)).splitlines()[1:3] == [
        "DEGRADED  buffer_full for 10 s: 1 of 1 used",
        "          Mend sink central, which is furthest behind (4.0 KiB), or raise `buffer.max_size`. The log files keep what is "
        "not read, until rotation removes them.",
    ]


def test_a_buffer_that_is_full_because_of_the_disk_asks_for_room_on_it() -> None:
    why = {"buffer_full": (490.0, "/s: 9 of 9 bytes used (90 % of the filesystem); reading waits")}
    full = AgentFacts(**{**{f: getattr(AGENT, f) for f in AGENT.__slots__}, "degraded": why})
    said = human(assemble(full, PIPELINE))
    assert "or make room on the file system of state_dir. The log files" in said and "max_size" not in said


def test_the_table_of_a_pod_with_a_long_path_keeps_its_numbers_within_80_columns() -> None:
    path = "/var/log/pods/shop_web-7d9f8b6c5-x2x9k_0f0b8a4e-1111-4c3b-9d2e-123456789abc/web/0.log"
    files = [FileFacts("k", path, "containers", 123456789, 123450000, 12.0, "reading")]
    head, row = (line for line in human(assemble(AGENT, StatusFacts(files=files))).splitlines() if "PATH" in line or path in line)
    assert row.index(path) == head.index("PATH") < 60


def test_a_file_that_may_not_be_read_is_not_told_as_none_that_matches() -> None:
    agent = AgentFacts(**{**{f: getattr(AGENT, f) for f in AGENT.__slots__}, "refusals": {"permission": 3, "outside_roots": 1}})
    found = assemble(agent, StatusFacts())
    assert found["refusals"] == {"permission": 3, "outside_roots": 1}
    assert "\nno files are read\nNOT READ  files were refused (outside_roots, permission): `file_refused`" in human(found)
    assert "nothing matches" not in human(found)
    assert "NOT READ" not in human(assemble(AGENT, PIPELINE))


def test_records_that_were_not_delivered_are_seen_at_a_glance() -> None:
    sinks = {"central": {**PIPELINE.sinks["central"], "dead_records": 3, "dead_by_reason": {"rejected": 3}, "dropped_records": 7}}
    lines = human(assemble(AGENT, StatusFacts(sinks=sinks))).splitlines()
    at = lines.index("central: 3 records became dead letters (rejected 3): shipper dead-letters list")
    assert lines[at + 1:at + 3] == ["central: 7 records were dropped: shipper audit says why", ""]


def test_where_no_file_is_known_it_says_whether_anyone_looks() -> None:
    assert "nothing matches the sources' `include`" in human(assemble(AGENT, StatusFacts()))
    assert human(offline(StatusFacts(), "/x")).endswith("no files are known")
    assert "no sink has a position on disk yet" in human(offline(StatusFacts(), "/x"))      # killed in its first second


def test_where_pods_are_asked_for_it_says_how_many_are_known_and_who_waits() -> None:
    metadata = {"source": "api", "address": "https://10.0.0.1:443", "pods": 12, "waiting_files": 3}
    lines = human(assemble(AGENT, StatusFacts(metadata=metadata))).splitlines()
    assert "pods: 12 known from api https://10.0.0.1:443, 3 files wait for their labels" in lines
    assert not any("pods" in line for line in human(assemble(AGENT, StatusFacts(metadata={"source": "off"}))).splitlines())


def test_a_sink_that_waits_says_when_it_is_tried_again() -> None:
    sinks = {"central": {**PIPELINE.sinks["central"], "next_try_s": 14.2}}
    assert "central  syslog  retrying, again in 14 s  4.0 KiB" in human(assemble(AGENT, StatusFacts(sinks=sinks)))


def test_a_stuck_agent_says_what_is_stuck() -> None:
    agent = AgentFacts(version="1", node="n", pid=1, started_s=0, uptime_s=1, now_s=1, ready=False,
                       problems=["loop silent for 31 s"])
    lines = human(assemble(agent, StatusFacts())).splitlines()
    assert lines[:2] == ["shipper 1 on n, pid 1, up 1.0 s, STUCK, not ready yet", "PROBLEM   loop silent for 31 s"]
    assert assemble(agent, StatusFacts())["healthy"] is False


def test_without_an_agent_the_directory_is_told() -> None:
    assert human(offline(PIPELINE, "/var/lib/shipper")).startswith("not running; what /var/lib/shipper holds:\n")


def test_a_reload_that_waits_for_a_restart_says_so() -> None:
    found = assemble(AgentFacts(**{**{f: getattr(AGENT, f) for f in AGENT.__slots__}, "last_reload": ReloadResult(
        "applied", "SIGHUP", 1.0, summary="sinks: +a", needs_restart=("node",))}), StatusFacts())
    assert human(found).endswith("last reload: applied (SIGHUP): sinks: +a\nrestart the agent to apply: node")


def test_thousands_of_files_are_cut_short_unless_asked_for() -> None:
    many = StatusFacts(files=[FileFacts("k", f"/{n:04}.log", "s", n, 0, 0, "idle") for n in range(2000)])
    text = human(assemble(AGENT, many))
    assert text.count(".log") == SHOWN_FILES and "/1999.log" in text
    assert "... and 1980 more files; --all shows them" in text
    assert human(assemble(AGENT, many), all_files=True).count(".log") == 2000


def test_a_name_from_a_log_directory_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[2J\n\udcff\u202eé世") == "a\\x1b[2J\\n\\udcff\\u202eé世"
    assert "\x1b" not in "".join(files_table([{"path": "\x1b[2J", "position_bytes": 0, "size_bytes": 0, "lag_bytes": 0,
                                              "lag_s": 0, "state": "idle"}]))


def test_journals_of_one_directory_are_told_apart() -> None:
    """config/gke.yaml has five: five lines said `journal:/var/log/journal failed`."""
    row = {"path": "journal:/var/log/journal", "position_bytes": 0, "size_bytes": 0, "lag_bytes": 0, "lag_s": 0.0,
           "state": "failed"}
    lines = files_table([row | {"source": name} for name in ("kubelet", "docker")])
    assert [line.split("journal:")[1] for line in lines[1:]] == ["/var/log/journal (kubelet)", "/var/log/journal (docker)"]


def test_sizes_and_durations_are_for_people() -> None:
    assert [size(n) for n in (None, 0, 1023, 1024, 17 * 1024**2, 5 * 1024**4, 9e18)] == [
        "-", "0 B", "1023 B", "1.0 KiB", "17.0 MiB", "5.0 TiB", "8185452.3 TiB"]
    assert [duration(s) for s in (None, 0, 0.04, 4.2, 59, 60, 3600, 4200, 86400 * 7, 86400 * 2 + 3600 * 3)] == [
        "-", "0 s", "0.0 s", "4.2 s", "59 s", "1 m", "1 h", "1 h 10 m", "7 d", "2 d 3 h"]


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(("A", "B"), [("x", "1"), ("long", "")]) == ["A     B", "x     1", "long"]
