"""Y1 to Y3, V1 to V3, W1 to W3: what the page at / is told, as pure functions of facts."""
from __future__ import annotations

import os
import tracemalloc
from importlib import resources
from typing import Any

import pytest

from shipper.agent.admin import PAGE_FILES, Admin
from shipper.agent.history import EVERY_S, MOST_SERIES, SAMPLES, History, Series
from shipper.agent.page_data import PageData
from shipper.agent.page_view import Past, Query, page, parse_query, select, sources_of
from shipper.agent.status import FileFacts, StatusFacts
from shipper.agent.verdict import Recent, findings, headline
from shipper.config.types import Admin as AdminSettings
from shipper.errors import Usage
from shipper.telemetry import Telemetry

from .fakes import FakePipeline

READ, LAG = Series("read", "host"), Series("lag", "host")


def file(path: str, lag: int = 0, *, source: str = "host", state: str = "quiet", lag_s: float = 0.0) -> FileFacts:
    return FileFacts(f"key of {path}", path, source, 100 + lag, 100, lag_s, state)


# ---------------------------------------------------------------- history

def test_a_counter_becomes_a_rate_and_a_level_stands_as_it_is() -> None:
    history = History()
    for now_s, read, lag in ((100.0, 0.0, 7.0), (110.0, 500.0, 8.0), (120.0, 500.0, 9.0)):
        history.sample(now_s, {READ: read}, {LAG: lag})
    assert history.points(READ) == [None, 50.0, 0.0]
    assert history.points(LAG) == [7.0, 8.0, 9.0]


def test_the_rate_of_now_is_that_of_the_last_ten_to_twenty_seconds() -> None:
    history = History()
    assert history.rate(READ, 100.0, 50.0) is None
    history.sample(100.0, {READ: 0.0}, {})
    assert history.rate(READ, 100.5, 50.0) is None                    # too short a time to say
    assert history.rate(READ, 105.0, 50.0) == 10.0
    history.sample(110.0, {READ: 100.0}, {})
    history.sample(120.0, {READ: 300.0}, {})
    assert history.rate(READ, 125.0, 400.0) == 20.0                   # since 110


def test_a_time_when_nobody_looked_is_a_hole_and_no_spike() -> None:
    history = History()
    history.sample(100.0, {READ: 0.0}, {LAG: 1.0})
    history.sample(110.0, {READ: 100.0}, {LAG: 1.0})
    history.sample(150.0, {READ: 100_000.0}, {LAG: 2.0})              # stopped for half a minute
    history.sample(160.0, {READ: 100_100.0}, {LAG: 3.0})
    assert history.points(READ) == [None, 10.0, None, None, None, None, 10.0]
    assert history.points(LAG) == [1.0, 1.0, None, None, None, 2.0, 3.0]


def test_a_counter_that_went_back_is_a_hole_and_a_new_one_began_at_nothing() -> None:
    history, late = History(), Series("dead", "central")
    history.sample(0.0, {READ: 100.0}, {})
    history.sample(10.0, {READ: 50.0, late: 20.0}, {})
    assert history.points(READ) == [None, None] and history.points(late) == [None, 2.0]
    assert history.rate(READ, 15.0, 50.0) is None
    assert history.rose(late) and not history.rose(READ) and not history.rose(Series("dead", "other"))


def test_fifteen_minutes_are_kept_and_what_is_older_falls_out() -> None:
    history = History()
    for number in range(SAMPLES * 2 + 7):
        history.sample(number * EVERY_S, {READ: number * 10.0}, {LAG: float(number)})
    assert SAMPLES * EVERY_S == 15 * 60
    assert history.points(LAG) == [float(n) for n in range(SAMPLES + 7, SAMPLES * 2 + 7)]
    assert history.points(READ) == [1.0] * SAMPLES


def test_a_series_that_is_sampled_no_more_is_forgotten() -> None:
    history = History()
    history.sample(0.0, {}, {LAG: 1.0})
    history.sample(10.0, {}, {Series("lag", "other"): 1.0})
    assert history.points(LAG) == [] and history.points(Series("lag", "other")) == [None, 1.0]


def test_the_past_takes_less_than_300_kb_however_many_sources_there_are() -> None:
    levels = {Series("lag", f"source {n}"): float(n) for n in range(MOST_SERIES + 20)}
    tracemalloc.start()
    try:
        history = History()
        for number in range(SAMPLES + 5):
            history.sample(number * EVERY_S, {}, levels)
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()
    assert len(history.points(Series("lag", "source 0"))) == SAMPLES
    assert history.points(Series("lag", f"source {MOST_SERIES}")) == []


# ---------------------------------------------------------------- files and sources

def test_the_files_that_lag_most_come_first_and_pages_do_not_overlap() -> None:
    files = [file(f"/f{n:02d}", lag=n % 3) for n in range(10)]
    seen = [row["path"] for offset in (0, 4, 8) for row in select(files, Query(offset=offset, limit=4))["rows"]]
    assert seen == ["/f02", "/f05", "/f08", "/f01", "/f04", "/f07", "/f00", "/f03", "/f06", "/f09"]


@pytest.mark.parametrize(("asked", "want"), [
    ({}, ["/a/Web.log", "/b/db.log"]), ({"q": "WEB"}, ["/a/Web.log"]), ({"source": "b"}, ["/b/db.log"]),
    ({"state": "done"}, ["/b/db.log"]), ({"q": "web", "state": "done"}, []), ({"offset": "1"}, ["/b/db.log"]),
    ({"limit": "0"}, []),
])
def test_files_are_searched_by_path_source_and_state(asked: dict[str, str], want: list[str]) -> None:
    files = [file("/a/Web.log", 5), file("/b/db.log", source="b", state="done")]
    assert [row["path"] for row in select(files, parse_query(asked))["rows"]] == want


@pytest.mark.parametrize("asked", [
    {"offset": "-1"}, {"offset": "1e3"}, {"limit": "٣"}, {"limit": "9" * 30}, {"state": "rotten"}, {"sort": "path"},
])
def test_what_makes_no_sense_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(Usage):
        parse_query(asked)


def test_a_path_drives_no_terminal_and_turns_no_text_round() -> None:
    assert select([file("/a\u202e\x1b[2J\n.log")], Query())["rows"][0]["path"] == "/a\\u202e\\x1b[2J\\n.log"


@pytest.mark.parametrize(("files", "held", "state", "lag_s"), [
    ([], False, "no files", 0.0),
    ([file("/a")], False, "quiet", 0.0),
    ([file("/a", 5, state="unfinished", lag_s=9e9)], True, "quiet", 0.0),
    ([file("/a", 5, state="reading", lag_s=2.0)], False, "reading", 2.0),
    ([file("/a", 5, state="waiting", lag_s=61.0), file("/b", 1, lag_s=3.0)], False, "behind", 61.0),
    ([file("/a", 5, state="reading", lag_s=2.0)], True, "held", 2.0),
    ([file("journal:host", state="failed")], False, "failed", 0.0),
])
def test_the_state_of_a_source(files: list[FileFacts], held: bool, state: str, lag_s: float) -> None:
    assert sources_of(files, ["host"], held) == [
        {"name": "host", "files": len(files), "lag_bytes": sum(f.lag_bytes for f in files), "lag_s": lag_s, "state": state}]


# ---------------------------------------------------------------- what is wrong

def status(**keys: Any) -> dict[str, Any]:
    return {"version": "1", "node": "n1", "pid": 7, "started_s": 1000.0, "uptime_s": 60.0, "ready": True, "healthy": True,
            "problems": [], "degraded": [], "sinks": {}, "buffer": {"bytes": 1, "limit_bytes": 10}, "last_reload": None} | keys


def degraded(reason: str, why: str = "") -> dict[str, Any]:
    return {"degraded": [{"reason": reason, "why": why, "for_s": 300.0}]}


def one_sink(why: str, **facts: Any) -> dict[str, Any]:
    return {**degraded("sink:s", why), "sinks": {"s": facts}}


def test_all_is_well_where_nothing_is_wrong_and_a_note_does_not_change_that() -> None:
    assert findings(status(), [], Recent()) == [] and headline([], True) == "All is well."
    assert headline([], False) == "Starting: the first look at the log files is not done yet."
    quiet = findings(status(), [{"name": "host", "state": "no files"}], Recent(lost_bytes=100.0))
    assert [each.level for each in quiet] == ["note", "note"] and headline(quiet, True) == "All is well."


@pytest.mark.parametrize(("facts", "level", "title", "says"), [
    ({"problems": ["loop silent for 31 s"]}, "bad", "The agent is stuck", "Loop silent for 31 s."),
    (one_sink("retrying: no route", state="retrying", next_try_s=4.0, backlog_bytes=2048), "bad", "Sink s does not get through",
     "For 5 m: no route. See that the far side runs, can be reached from this node and lets us in. Tried again in 4.0 s. "
     "2.0 KiB wait in the buffer."),
    (one_sink("retrying: no route; check the network"), "bad", "Sink s does not get through", "no route; check the network."),
    (one_sink("retrying: it closed", last_error="no; is it up?"), "bad", "Sink s does not get through", "For 5 m: no; is it up?"),
    (one_sink("refusing: 404", state="refusing"), "bad", "Sink s is refused everything", "For 5 m: 404. Look at its address"),
    ({**degraded("buffer_full", "x"), "sinks": {"a": {"backlog_bytes": 1}, "b": {"backlog_bytes": 2048}}},
     "bad", "The buffer is full: reading waits", "Mend sink b, which is furthest behind (2.0 KiB)"),
    (degraded("disk_full", "/var: no space"), "bad", "Disk full", "For 5 m: /var: no space. Make room"),
    (degraded("inotify_unavailable", "too many"), "warn", "Inotify unavailable", "Raise fs.inotify.max_user_instances"),
    (degraded("journal:units", "no journalctl"), "bad", "Source units cannot be read", "For 5 m: no journalctl."),
    (degraded("metadata", "403"), "warn", "What Kubernetes knows of the pods cannot be had", "For 5 m: 403."),
    (degraded("something_new", "why"), "bad", "Something new", "For 5 m: why."),
    ({"sinks": {"s": {"state": "ok", "oldest_s": 601.0}}}, "warn", "Sink s is behind", "10 m old"),
    ({"last_reload": {"outcome": "refused", "why": "sinks.x: no", "needs_restart": ()}},
     "warn", "The new config was refused", "sinks.x: no"),
    ({"sinks": {"s": {"state": "ok", "dead_records": 1200}}},
     "note", "Sink s refused records for good", "1,200 are in the dead letters"),
])
def test_what_is_wrong_is_said_with_the_mend(facts: dict[str, Any], level: str, title: str, says: str) -> None:
    found = findings(status(**facts), [], Recent())
    assert [(each.level, each.title) for each in found] == [(level, title)]
    assert says in f"{found[0].what} {found[0].mend}"


def test_what_was_given_up_just_now_is_a_warning() -> None:
    facts = status(sinks={"s": {"state": "ok", "dead_records": 1, "dropped_records": 2}})
    found = findings(facts, [], Recent(5.0, True, frozenset({"s"}), frozenset({"s"})))
    assert [each.level for each in found] == ["warn"] * 3


def test_the_worst_is_the_headline_and_the_rest_is_counted() -> None:
    facts = status(**degraded("inotify_unavailable"), problems=["x"])
    assert headline(findings(facts, [], Recent()), True) == "The agent is stuck. And 1 more."


def test_a_source_that_is_read_as_fast_as_it_is_written_is_not_called_quiet() -> None:
    history = History()
    history.sample(0.0, {READ: 0.0}, {})
    told = page(status(), sources_of([file("/a")], ["host"], False), {}, [], Past(history, {READ: 100.0}, 10.0))
    assert (told["sources"][0]["state"], told["sources"][0]["rate"]) == ("reading", 10.0)


# ---------------------------------------------------------------- collected

class Pipe(FakePipeline):
    """Has one file, and counts how often its rows are made."""

    made = 0

    def status_facts(self, files: bool = True) -> StatusFacts:
        self.made += 1
        return StatusFacts([file("/a", 5)])

    def levels(self) -> list[tuple[str, str, float]]:
        return [("lag", "host", 5.0), ("backlog", "central", 6.0), ("buffer", "", 7.0)]


def test_what_is_counted_and_held_at_present_becomes_the_past() -> None:
    telemetry, pipe = Telemetry(), Pipe()
    data = PageData(telemetry, pipe, lambda: ["host", "other"])
    telemetry.count("shipper_gap_bytes_total", 50, "start_at_end")
    for _ in range(3):
        telemetry.count("shipper_read_bytes_total", 100, "host")
        telemetry.count("shipper_sink_delivered_bytes_total", 100, "central")
        data.sample()
    told = data.answer(status(sinks={"central": {"state": "ok", "backlog_bytes": 6}}), {})
    seen = [(row["name"], row["files"], row["past"]["lag"]) for row in told["sources"]]
    assert seen == [("host", 1, [5, 5, 5]), ("other", 0, [])]
    assert told["sinks"][0]["past"]["backlog"] == [6, 6, 6] and len(told["sinks"][0]["past"]["rate"]) == 3
    assert told["buffer"]["past"] == [7, 7, 7] and told["files"]["rows"][0]["path"] == "/a"
    assert told["well"] is True and [each["about"] for each in told["findings"]] == ["source:other"]      # nothing was lost
    telemetry.count("shipper_gap_bytes_total", 2048, "rotated_away")
    data.sample()
    told = data.answer(status(), {"q": "a"})
    assert told["headline"] == "Log files were gone before they could be read." and told["well"] is False


def test_rows_of_files_are_made_once_for_all_who_look_at_the_same_time() -> None:
    pipe = Pipe()
    data = PageData(Telemetry(), pipe, lambda: ["host"])
    for _ in range(20):
        data.answer(status(), {})
    assert pipe.made == 1


# ---------------------------------------------------------------- who may see it, and what it is made of

@pytest.mark.parametrize(("settings", "shown"), [
    ({"listen": None}, False), ({"listen": "127.0.0.1:0"}, True), ({"listen": "0.0.0.0:0"}, False),
    ({"listen": "0.0.0.0:0", "expose_status": True}, True),
])
async def test_the_past_is_kept_where_a_browser_may_see_it_alone(tmp_path: Any, settings: dict[str, Any], shown: bool) -> None:
    admin = Admin(str(tmp_path), AdminSettings(**settings), Telemetry())
    try:
        assert admin.shows_page is shown
    finally:
        for listening, _ in admin._sockets:
            listening.close()
        os.unlink(tmp_path / "admin.sock")


def test_every_file_of_the_page_is_in_the_package_and_names_nothing_outside() -> None:
    folder = resources.files("shipper.agent") / "page"
    assert {each.name for each in folder.iterdir()} == {"page.html", *(path.removeprefix("/") for path in PAGE_FILES)}
    for each in folder.iterdir():
        text = each.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text and "url(" not in text and "@import" not in text, each.name
        assert not any(word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "style=", "onclick="))
