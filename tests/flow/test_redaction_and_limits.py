"""Secrets never reach the agent's disk or a sink, whatever happens; a limited log waits alone, or its drops add up."""
from __future__ import annotations

import subprocess
import time

import orjson
import pytest

from tests.support.agent import Agent, eventually

SECRETS = (b"bob@example.com", b"4111111111111111", b"10.77.88.99", b"AKIAIOSFODNN7EXAMPLE", b"hunter2-token-123456")
SPLIT = b"eve.split@example.org"


def cri(content: bytes, tag: bytes = b"F") -> bytes:
    return b"2026-11-21T09:04:05.000000000Z stdout " + tag + b" " + content + b"\n"


def lines_with_secrets(number: int) -> bytes:
    return b"".join((
        cri(b"%d plain bob@example.com" % number), cri(b'{"n":%d,"card":4111111111111111,"to":"bob\\u0040example.com"}' % number),
        cri(b"x" * 50 + SPLIT[:9], b"P"), cri(SPLIT[9:] + b" from 10.77.88.99"), cri(b"key AKIAIOSFODNN7EXAMPLE"),
        b"malformed bob@example.com\n", cri(b"Authorization: Bearer hunter2-token-123456"),
    ))


def found_below(agent: Agent, *secrets: bytes) -> list[str]:
    found = []
    for directory in (agent.state, agent.out):
        for secret in secrets:
            grep = subprocess.run(["grep", "-rlaF", "--", secret.decode(), str(directory)], capture_output=True, text=True)
            found += [f"{secret.decode()} in {line}" for line in grep.stdout.splitlines()]
    return found


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.long)])
def test_no_secret_is_on_the_agents_disk_or_in_a_sink_also_after_kills(agent: Agent, kills: int) -> None:
    redact = ["email", "credit_card", "ipv4", "aws_key", "bearer"]
    agent.configure(
        sources={"logs": agent.files_source(format="cri", parse="json", redact=redact)},
        sinks={"archive": agent.file_sink(), "raw": {"type": "file", "path": f"{agent.out}/raw.log", "format": "raw",
                                                     "start_at": "oldest"}})
    log = agent.logs / "app.log"
    log.write_bytes(b"")
    written = 0
    for kill in range(kills):
        agent.start()
        for _ in range(20):
            with log.open("ab") as file:
                file.write(lines_with_secrets(written))
            written += 1
        with log.open("ab") as file:
            file.write(cri(b"y" * 20 + b" bob@exam", b"P"))              # open over the kill
        eventually("something arrives", lambda had=kill * 20: len(agent.delivered_lines()) > had * 6, else_say=agent.last_words)
        agent.kill()
        with log.open("ab") as file:
            file.write(cri(b"ple.com"))
    agent.start()
    agent.drained()
    assert agent.terminate() == 0
    lines = agent.delivered_lines()
    assert len(lines) == written * 6 + kills
    assert sum(b"[email]" in line for line in lines) == written * 4 + kills, "every address, the split ones too"
    assert found_below(agent, *SECRETS, SPLIT) == []
    for line in lines:
        orjson.loads(line)


def test_what_a_limit_drops_is_told_and_adds_up_to_the_line(agent: Agent) -> None:
    limit = {"by": "source", "records_per_s": 100, "burst": "1s", "action": "drop", "name": "quota"}
    agent.configure(sources={"logs": agent.files_source(limit=limit)}, sinks={"archive": agent.file_sink()})
    (agent.logs / "app.log").write_bytes(b"".join(b"line %06d\n" % n for n in range(20_000)))
    agent.start()
    eventually("the drops are told", lambda: any("dropped by limit" in m for m in agent.messages()), else_say=agent.last_words)
    agent.drained()
    records = agent.delivered()
    told = [record for record in records if "rate_limited" in record]
    assert len(records) - len(told) + sum(record["rate_limited"] for record in told) == 20_000
    assert "records of logs dropped by limit 'quota' in 1 s" in told[0]["message"]
    ledger = agent.root / "ledger.json"
    ledger.write_bytes(agent.command("audit", "--json").stdout)
    verified = agent.command("verify", "--ledger", str(ledger), f"{agent.out}/delivered.ndjson")
    assert verified.returncode == 0, verified.stdout.decode()


def test_a_log_over_its_rate_waits_alone_and_all_of_it_comes(agent: Agent) -> None:
    limit = {"by": "pod", "records_per_s": 4000, "burst": "1s"}
    agent.configure(sources={"logs": agent.files_source(limit=limit)}, sinks={"archive": agent.file_sink()})
    (agent.logs / "noisy.log").write_bytes(b"".join(b"noisy %06d\n" % n for n in range(24_000)))
    (agent.logs / "quiet.log").write_bytes(b"")
    began_s = time.monotonic()
    agent.start()
    agent.arrived(4000)
    with (agent.logs / "quiet.log").open("ab") as file:
        file.write(b"quiet\n")
    with (agent.logs / "noisy.log").open("ab") as file:
        file.write(b"last\n")
    arrived = agent.arrived(24_002)
    assert len(arrived) == 24_002 and arrived.index("quiet") < 24_000, "the quiet log is not held"
    # 4,000 a second with a burst of as many: what two reads of 128 KiB took (20,164 lines) is paid for before the third.
    assert time.monotonic() - began_s > (20_164 - 4_000) / 4_000 - 0.1


def test_once_ends_whatever_a_limit_says(agent: Agent) -> None:
    agent.configure(sources={"logs": agent.files_source(limit={"records_per_s": 1})}, sinks={"archive": agent.file_sink()})
    (agent.logs / "app.log").write_bytes(b"x\n" * 5000)
    assert agent.once() == 0
    assert len(agent.messages()) == 5000
