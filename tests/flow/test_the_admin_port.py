"""The admin port of the real agent: on loopback all pages for this machine's own eyes, elsewhere metrics and health alone."""
from __future__ import annotations

import http.client

import pytest

from tests.support.agent import Agent
from tests.support.ports import kept_port


def asked(port: int, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(("listen", "expose", "status"), [
    ("127.0.0.1", False, 200), ("0.0.0.0", False, 403),
])
def test_what_answers_where(agent: Agent, listen: str, expose: bool, status: int) -> None:
    port = kept_port()
    (agent.logs / "a.log").write_text("a secret of a log line\n")
    agent.configure(sinks={"archive": agent.file_sink()}, admin={"listen": f"{listen}:{port}", "expose_status": expose})
    agent.start()
    agent.arrived(1)
    assert [asked(port, path) for path in ("/metrics", "/healthz", "/readyz")] == [200, 200, 200]
    assert [asked(port, path) for path in ("/status", "/")] == [status, status]
    assert asked(port, "/audit") == 403
    assert asked(port, "/status", Host="rebound.example") == asked(port, "/", Host="rebound.example:3903") == 403
    assert asked(port, "/status", Origin="http://evil.example") == 403
    assert asked(port, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
    assert asked(port, "/metrics", Host="rebound.example") == 200
    for path in ("/status", "/", "/audit"):
        assert b"a secret of a log line" not in agent.get(path)
