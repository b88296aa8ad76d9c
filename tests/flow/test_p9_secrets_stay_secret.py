"""P9: a secret from the environment, a file or a URL is in no log line, answer, error or dead letter. What a far side
quotes of a token is in test_p6."""
from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.agent import Agent
from tests.support.collect import dead_port

SECRET = "hunter2-and-more"


def test_a_wrong_config_is_told_without_the_values_of_its_variables(agent: Agent) -> None:
    agent.write_config(
        f"state_dir: {agent.state}\nsources: {{logs: {{type: files, include: [{agent.logs}/*.log]}}}}\nsinks:\n"
        "  a: {type: syslog, address: '${WHERE}', password: '${WORD}'}\n"
        "  b: {type: syslog, address: 'https://me:" + SECRET + "@logs.example.com', max_message: '${WORD}'}\n"
        "  c: {type: file, path: /tmp/x, concurrency: '${WORD}'}\nshutdown_grace: ${WORD}\n")
    assert agent.start(ready=False, env={"WHERE": f"tcp://me:{SECRET}@host", "WORD": SECRET}).ended() == 2
    said = agent.log_text()
    assert len(said.splitlines()) >= 5 and SECRET not in said, said
    check = agent.command("check", "-c", str(agent.config_path), env={"WHERE": f"tcp://me:{SECRET}@host", "WORD": SECRET})
    assert check.returncode == 2 and SECRET.encode() not in check.stdout + check.stderr


def test_a_private_key_and_what_it_protects_are_in_no_log_and_no_answer(agent: Agent, tmp_path: Path) -> None:
    """A TLS sink with a key file, retried against a port where nobody listens; a line of the log that looks like a secret."""
    key, cert = tmp_path / "client.key", tmp_path / "client.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2",
         "-subj", "/CN=test"], check=True, capture_output=True)
    secret = key.read_text().splitlines()[1]
    (agent.logs / "app.log").write_text(f"password={SECRET}\n")
    tls = {"ca": str(cert), "cert": str(cert), "key": str(key)}
    agent.configure(sinks={"central": agent.syslog_sink(dead_port(), protocol="tls", tls=tls)},
                    log={"level": "debug", "format": "json"}, shutdown_grace="100ms")
    agent.start()
    agent.event("degraded", about="sink:central")
    answers = b"".join(agent.get(path) for path in ("/status", "/audit", "/metrics", "/healthz", "/readyz", "/"))
    assert str(key).encode() in answers                           # the path is no secret
    assert agent.terminate() == 0
    for text in (answers.decode(), agent.log_text(), *(agent.command(*command).stdout.decode() for command in (
            ["status"], ["audit", "--json"], ["positions", "show", "--json"]))):
        assert secret not in text and SECRET not in text
