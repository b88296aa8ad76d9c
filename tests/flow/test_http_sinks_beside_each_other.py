"""A whole agent with sinks over HTTP: a poison record and its way back; a hanging and a dead server beside a good one; a sink
that is renamed while its server is down."""
from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.agent import Agent, eventually
from tests.support.collect import dead_port


class Far(ThreadingHTTPServer):
    """Takes NDJSON. `refused`: 400 where a message begins so. `hangs`: it reads requests and never answers.
    `down`: 503."""

    daemon_threads = True

    def __init__(self, *, refused: str = "", hangs: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refused, self.hangs, self.held, self.down = refused, hangs, 0, False
        self.records: list[dict[str, str]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ingest"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Far

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        records = [json.loads(line) for line in body.splitlines()]
        if self.server.hangs:
            self.server.held += 1
            self.server.over.wait(60)
            self.close_connection = True
            return
        status = 400 if any(self.server.refused and r["message"].startswith(self.server.refused) for r in records) else 200
        status = 503 if self.server.down else status
        if status == 200:
            self.server.records += records
        said = b"" if status == 200 else b"a field is no number"
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextlib.contextmanager
def far(**how: object) -> Iterator[Far]:
    with Far(**how) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()


def http_sink(url: str, **keys: object) -> dict[str, object]:
    return {"type": "http", "url": url, "proxy": "none", "start_at": "oldest", **keys}


def letters(agent: Agent, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shipper", "dead-letters", *argv], capture_output=True, timeout=60, check=False, text=True,
        env={**os.environ, "SHIPPER_STATE_DIR": str(agent.state)}, stdin=subprocess.DEVNULL)


def test_a_poison_record_ends_alone_in_the_dead_letters_and_arrives_with_its_id_at_the_mended_server(agent: Agent) -> None:
    with far(refused="poison") as server:
        agent.configure(sinks={"api": http_sink(server.url)})
        lines = [f"line {number}" if number != 4711 else "poison é \\u00e9" for number in range(10_000)]
        (agent.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))
        agent.start()
        agent.drained(size=(agent.logs / "app.log").stat().st_size)
        [dead] = map(json.loads, letters(agent, "list", "--json").stdout.splitlines())
        assert {r["message"] for r in server.records} == set(lines) - {lines[4711]}
        shown = json.loads(letters(agent, "show", dead["id"]).stdout)
        assert shown["record"]["message"] == lines[4711] and "a field is no number" in shown["response"]

        server.refused = ""                                  # mended, while the agent runs and goes on
        with open(agent.logs / "app.log", "a") as file:
            file.write("and on\n")
        done = letters(agent, "replay")
        assert done.returncode == 0 and "api: done: 1 delivered" in done.stdout, done
        agent.drained()
        assert [r["id"] for r in server.records if r["message"] == lines[4711]] == [dead["id"]]
        assert {r["message"] for r in server.records} == {*lines, "and on"}
        assert letters(agent, "list", "--json").stdout == ""
        status = agent.status()["sinks"]["api"]
        assert (status["dead_records"], status["delivered_records"], status["state"]) == (0, 10_001, "ok")
        assert agent.command("audit").returncode == 0
        assert agent.terminate() == 0


def test_a_sink_that_is_down_and_one_that_holds_all_its_requests_open_delay_no_other(agent: Agent) -> None:
    with far() as good, far(hangs=True) as hanging:
        agent.configure(sinks={
            "good": http_sink(good.url),
            "hanging": http_sink(hanging.url, request_timeout="60s", max_request_records=2),
            "dead": http_sink(f"http://127.0.0.1:{dead_port()}/"), "dead_syslog": agent.syslog_sink(dead_port()),
        }, shutdown_grace="100ms")
        log = agent.logs / "app.log"
        log.write_text("".join(f"first {number}\n" for number in range(100)))
        agent.start()
        eventually("all that the hanging server may have is held open", lambda: hanging.held == 4)
        for number in range(30):                             # each batch is there before the next one is written
            with open(log, "a") as file:
                file.write(f"batch {number}\n" * 20)
            eventually(f"batch {number}", lambda: len(good.records) >= 100 + 20 * (number + 1), within_s=15.0,  # noqa: B023
                       else_say=agent.last_words)
        sinks = agent.status()["sinks"]
        assert sinks["hanging"]["in_flight_requests"] == 4 == hanging.held and sinks["hanging"]["delivered_records"] == 0
        assert sinks["dead"]["state"] == sinks["dead_syslog"]["state"] == "retrying" and sinks["good"]["state"] == "ok"
        hanging.over.set()
        assert agent.terminate() == 0


def test_a_sink_renamed_and_moved_while_its_server_is_down_loses_neither_backlog_nor_dead_letters(agent: Agent) -> None:
    with far(refused="poison") as old, far() as new:
        agent.configure(sinks={"old": http_sink(old.url)})
        log = agent.logs / "app.log"
        log.write_text("one\npoison\ntwo\n")
        agent.start()
        agent.drained(size=15)
        old.down = True
        with open(log, "a") as file:
            file.write("".join(f"later {number}\n" for number in range(5_000)))
        agent.until("the old server is known to be down", lambda s: s["sinks"]["old"]["state"] == "retrying")

        agent.configure(sinks={"new": http_sink(new.url, previously="old", compression="gzip")})
        began_s = time.monotonic()
        agent.process.send_signal(signal.SIGHUP)
        agent.event("reload_applied")
        assert time.monotonic() - began_s < 5.0              # nothing can be drained, so nothing waits for 5 s
        agent.drained()
        assert {r["message"] for r in old.records} == {"one", "two"}
        assert sorted(r["message"] for r in new.records) == sorted(f"later {number}" for number in range(5_000))
        done = letters(agent, "replay")
        assert done.returncode == 0 and "new: done: 1 delivered" in done.stdout, done
        assert new.records[-1]["message"] == "poison" and agent.status()["sinks"]["new"]["dead_records"] == 0
        assert agent.command("audit").returncode == 0
        assert agent.terminate() == 0


def test_while_a_reload_waits_for_a_sink_whose_server_hangs_reading_and_all_other_sinks_go_on(agent: Agent) -> None:
    """Those that the same reload changed stood still with it, up to 5 s."""
    with far(hangs=True) as hanging, far() as new:
        sinks = {"hanging": http_sink(hanging.url), "kept": agent.file_sink("kept.ndjson"),
                 "moved": agent.file_sink("old.ndjson")}
        agent.configure(sinks=sinks)
        log = agent.logs / "app.log"
        log.write_text("one\n")
        agent.start()
        agent.drained("kept", "moved", size=4)
        eventually("the server holds a request", lambda: hanging.held, else_say=agent.last_words)

        agent.configure(sinks={**sinks, "hanging": http_sink(new.url), "moved": agent.file_sink("new.ndjson")})
        agent.process.send_signal(signal.SIGHUP)
        numbers = iter(range(1_000))

        def written_on() -> bool:
            with open(log, "a") as file:
                file.write(f"meanwhile {next(numbers)}\n")
            return bool(agent.messages("new.ndjson")) and agent.messages("kept.ndjson")[-1] in agent.messages("new.ndjson")

        eventually("the other sinks go on", written_on, within_s=4.0, else_say=agent.last_words)
        assert not agent.said("reload_applied"), "it waits for the server that hangs"
        hanging.over.set()
        agent.event("reload_applied")
        agent.drained()
        lines = log.read_text().splitlines()
        assert agent.messages("kept.ndjson") == [r["message"] for r in new.records] == lines
        assert agent.messages("old.ndjson") + agent.messages("new.ndjson") == lines
        assert agent.terminate() == 0
