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
    text = CONFIG.read_text().replace("/var/log", f"{tmp_path}/log").replace("/var/lib/shipper", f"{tmp_path}/state")
    journals = [line for line in text.splitlines() if "type: journal" not in line]
    config = tmp_path / "gke.yaml"
    sink = f"anonymous: true\n    project: p1\n    cluster_name: c1\n    location: l1\n    endpoint: {url}"
    here = "\n".join(journals).replace("[${POD_IP:-0.0.0.0}]:3903", "127.0.0.1:0")
    here = here.replace("type: cloud_logging", f"type: cloud_logging\n    {sink}")
    config.write_text(here.replace("format: auto ", f"allowed_roots: [{tree.root}]\n    format: auto "))
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
