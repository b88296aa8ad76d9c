"""config/gke.yaml as it stands, its paths and endpoint moved to the test: what fluentd had shipped is taken over, the rest
arrives."""
from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shipper.agent.cli import main
from tests.support.discovery import wrong_shape
from tests.tail.conftest import Tree, cri

CONFIG = Path(__file__).parents[2] / "config/gke.yaml"


@pytest.fixture
def google() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """entries:write on loopback, which takes all: (URL, entries)."""
    entries: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v2/entries:write" and body["partialSuccess"] is True
            assert wrong_shape("logging.v2", "WriteLogEntriesRequest", body) == []
            entries.extend({**{k: body[k] for k in ("logName", "resource") if k in body}, **entry} for entry in body["entries"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", entries
    server.shutdown()
    thread.join()
    server.server_close()


def config_here(tmp_path: Path, tree: Tree, url: str) -> Path:
    """config/gke.yaml without its journals, on the test's files and server."""
    text = CONFIG.read_text().replace("/var/log", f"{tmp_path}/log").replace("/var/lib/shipper", f"{tmp_path}/state")
    journals = [line for line in text.splitlines() if "type: journal" not in line]
    config = tmp_path / "gke.yaml"
    sink = f"anonymous: true\n    project: p1\n    cluster_name: c1\n    location: l1\n    endpoint: {url}"
    here = "\n".join(journals).replace("[${POD_IP:-0.0.0.0}]:3903", "127.0.0.1:0")
    here = here.replace("type: cloud_logging", f"type: cloud_logging\n    {sink}")
    config.write_text(here.replace("format: auto ", f"allowed_roots: [{tree.root}]\n    format: auto "))
    return config


G = "logging.googleapis.com/"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("plain words", {"severity": "INFO", "textPayload": "plain words", "logName": "projects/p1/logs/stdout"}),
    "a message with a stream in it": ("half stdout F way", {"textPayload": "half stdout F way"}),
    "severity as people write it": ('{"severity":" warn ","message":"m","a":1}', {
        "severity": "WARNING", "jsonPayload": {"message": "m", "a": 1}}),
    "severity in digits": ('{"severity":"420","message":"m"}', {"severity": "WARNING", "textPayload": "m"}),
    "no severity": ('{"severity":"loud","message":"m"}', {"jsonPayload": {"message": "m", "severity": "loud"}}),
    "glog": ("E1120 09:04:05.123456       7 main.go:42] slow", {
        "severity": "ERROR", "jsonPayload": {"message": "slow", "pid": 7, "source": "main.go:42"}}),
    "time: an object": ('{"timestamp":{"seconds":1795165445,"nanos":5},"message":"m"}', {
        "timestamp": "2026-11-20T09:04:05.000000005Z", "textPayload": "m"}),
    "time: seconds and nanos": ('{"timestampSeconds":1795165446,"timestampNanos":6,"message":"m"}', {
        "timestamp": "2026-11-20T09:04:06.000000006Z", "textPayload": "m"}),
    "time: timeNanos": ('{"timeNanos":1795165447000000007,"message":"m"}', {
        "timestamp": "2026-11-20T09:04:07.000000007Z", "textPayload": "m"}),
    "time: ISO 8601": ('{"time":"2026-11-20T10:04:08.000000008+01:00","message":"m"}', {
        "timestamp": "2026-11-20T09:04:08.000000008Z", "textPayload": "m"}),
    "httpRequest": ('{"httpRequest":{"requestMethod":"GET","status":404,"latency":"0.5 s","x":1},"message":"m"}', {
        "httpRequest": {"requestMethod": "GET", "status": 404, "latency": "0.5s"},
        "jsonPayload": {"message": "m", "httpRequest": {"x": 1}}}),
    "labels": (f'{{"{G}labels":{{"n":1,"t":true}},"message":"m"}}', {
        "labels": {"n": "1", "t": "true", "compute.googleapis.com/resource_name": "n1"}, "textPayload": "m"}),
    "insertId": (f'{{"{G}insertId":"mine","message":"m"}}', {"insertId": "mine", "textPayload": "m"}),
    "trace and span": (f'{{"{G}trace":"{"ab" * 16}","{G}spanId":"4a","{G}trace_sampled":true,"message":"m"}}', {
        "trace": f"projects/p1/traces/{'ab' * 16}", "spanId": "4a", "traceSampled": True, "textPayload": "m"}),
    "a whole trace": (f'{{"{G}trace":"projects/o/traces/1","message":"m"}}', {"trace": "projects/o/traces/1"}),
    "operation and source": (f'{{"{G}operation":{{"id":"o","last":true}},"{G}sourceLocation":{{"file":"a","line":"7"}},"b":2}}', {
        "operation": {"id": "o", "last": True}, "sourceLocation": {"file": "a", "line": "7"}, "jsonPayload": {"b": 2}}),
    "a JSON object without a message": ('{"a":{"b":[1]}}', {"jsonPayload": {"a": {"b": [1]}}}),
    "names of other loggers stay where dashboards look": ('{"level":"warn","msg":"m","ts":1795165445.5,"log":"l"}', {
        "severity": "INFO", "jsonPayload": {"level": "warn", "msg": "m", "ts": 1795165445.5, "log": "l"}}),
    "a timestamp that is text": ('{"timestamp":"2026-11-20T10:00:00Z","message":"m"}', {
        "jsonPayload": {"message": "m", "timestamp": "2026-11-20T10:00:00Z"}}),
    "a time that is none": ('{"time":1795165445,"message":"m"}', {"jsonPayload": {"message": "m", "time": 1795165445}}),
    "a number that is no severity": ('{"severity":30,"message":"m"}', {"jsonPayload": {"message": "m", "severity": 30}}),
    "only a message": ('{"message":"m"}', {"textPayload": "m"}),
}


def test_each_row_of_the_mapping_from_the_line_in_the_file_to_the_entry(
    tmp_path: Path, google: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole agent on config/gke.yaml, pieces and stack traces included; entries are held against the API's discovery
    document by the server."""
    url, entries = google
    tree = Tree(tmp_path / "log")
    for second, (line, _) in enumerate(ROWS.values()):
        tree.write(cri(line, second=second))
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "ValueError: no"]
    tree.write(*(cri(line, second=50, stream="stderr") for line in trace))
    tree.write(cri("first half, ", second=51, tag="P"), cri("second half", second=51))
    config = config_here(tmp_path, tree, url)
    monkeypatch.setenv("NODE_NAME", "n1")
    assert main(["run", "-c", str(config), "--once", "--timeout", "20s"]) == 0

    def place(entry: dict[str, Any]) -> int:
        whole = entry["labels"].get("shipper/id", entry["insertId"])
        return int(whole.split(":")[1].split("+")[0], 16)

    found = sorted(entries, key=place)
    assert len(found) == len(ROWS) + 2
    for (name, (_, wanted)), entry in zip(ROWS.items(), found):
        assert {key: entry.get(key) for key in wanted} == wanted, name
        assert ("textPayload" in entry) != ("jsonPayload" in entry), name
    assert found[-2]["textPayload"] == "\n".join(trace) and found[-2]["severity"] == "ERROR"
    assert found[-1]["textPayload"] == "first half, second half"


def test_what_fluentd_had_not_shipped_arrives_as_log_entries(
    tmp_path: Path, google: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, entries = google
    tree = Tree(tmp_path / "log")
    shipped = cri("fluentd had this one")
    tree.write(shipped, cri("the next one", second=1))
    tree.write(cri('{"severity":"warn","message":"slow","ms":7}', second=2, stream="stderr"))
    (tmp_path / "log/kubelet.log").write_text("E1120 09:05:06.000001    3368 server.go:1048] large\nobject\n")
    positions = tmp_path / "log/gcp-containers.log.pos"
    link = next(tree.links.iterdir())
    positions.write_text(f"{link}\t{len(shipped):016x}\t{os.stat(link).st_ino:016x}\n")
    config = config_here(tmp_path, tree, url)
    monkeypatch.setenv("NODE_NAME", "n1")
    assert main(["positions", "import", "--from", "fluentd", str(positions), "-c", str(config), "--missing-ok"]) == 0
    assert main(["run", "-c", str(config), "--once", "--timeout", "20s"]) == 0

    pods = [e for e in entries if e["resource"]["type"] == "k8s_container"]
    first, second = sorted(pods, key=lambda e: e["timestamp"])
    assert first["resource"]["labels"] == {
        "project_id": "p1", "cluster_name": "c1", "location": "l1", "namespace_name": "default", "pod_name": "web-0",
        "container_name": "web"}
    assert (first["logName"], first["severity"], first["textPayload"]) == ("projects/p1/logs/stdout", "INFO", "the next one")
    assert (second["logName"], second["severity"]) == ("projects/p1/logs/stderr", "WARNING")
    assert second["jsonPayload"] == {"message": "slow", "ms": 7}
    (node,) = [e for e in entries if e["resource"]["type"] == "k8s_node"]
    assert (node["logName"], node["severity"]) == ("projects/p1/logs/kubelet-log", "ERROR")
    assert node["resource"]["labels"]["node_name"] == "n1" and node["jsonPayload"]["message"] == "large\nobject"
    assert len({e["insertId"] for e in entries}) == len(entries) == 3


def test_what_fluentd_gcp_did_wrong_with_dockers_lines_is_not_copied(
    tmp_path: Path, google: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each kept its newline, each piece of a long one was an entry, and what stood before ` stdout F ` was lost."""
    url, entries = google
    tree = Tree(tmp_path / "log")
    texts = ["plain\n", "half ", "whole\n", "half stdout F way\n", '{"severity":"error","message":"boom"}\n']
    tree.write(*(json.dumps({"log": text, "stream": "stdout", "time": f"2026-11-20T09:00:0{n}.5Z"}).encode() + b"\n"
                 for n, text in enumerate(texts)))
    monkeypatch.setenv("NODE_NAME", "n1")
    assert main(["run", "-c", str(config_here(tmp_path, tree, url)), "--once", "--timeout", "20s"]) == 0
    found = [(entry["textPayload"], entry["severity"]) for entry in sorted(entries, key=lambda entry: entry["timestamp"])]
    assert found == [("plain", "INFO"), ("half whole", "INFO"), ("half stdout F way", "INFO"), ("boom", "ERROR")]
