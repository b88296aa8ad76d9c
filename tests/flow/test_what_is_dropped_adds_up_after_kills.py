"""`drop`, a limit and joined lines, killed again and again, rotated, with other rules after a restart: the ledger holds."""
from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests.support.agent import Agent, eventually

T = b"2026-11-21T09:04:05.000000000Z "


def some_lines(rnd: random.Random, first: int) -> bytes:
    out = []
    for n in range(first, first + 400):
        stream = rnd.choice([b"stdout F ", b"stderr F "])
        kind = rnd.random()
        if kind < 0.5:
            out.append(T + stream + b'{"level":"%b","n":%d}' % (rnd.choice([b"debug", b"info", b"error"]), n))
        elif kind < 0.7:
            out += [T + stream[:7] + b"P piece %d " % n, T + stream + b"end %d" % n]
        elif kind < 0.8:
            out += [T + stream + line for line in (
                b"Traceback (most recent call last):", b'  File "a.py", line 1, in f', b"ValueError: no")]
        else:
            out.append(T + stream + b"plain %d" % n)
    return b"".join(line + b"\n" for line in out)


def rules(rnd: random.Random) -> dict[str, Any]:
    """Other ones each time that the agent is started."""
    found: dict[str, Any] = {"format": "cri", "parse": rnd.choice(["json", "off"]), "multiline": rnd.choice(["auto", "off"]),
                             "drop": [{"severity": "DEBUG"}, {"match": "^plain .*5$"}]}
    if rnd.random() < 0.7:
        found["limit"] = {"by": "source", "records_per_s": 300, "burst": "1s", "action": "drop"}
    return found


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_every_byte_is_a_record_or_a_declared_drop_however_often_the_agent_is_killed(agent: Agent, kills: int) -> None:
    rnd = random.Random(kills)
    log, written = agent.logs / "app.log", 0
    for kill in range(kills + 1):
        agent.configure(sources={"logs": agent.files_source(**rules(rnd))}, sinks={"archive": agent.file_sink()})
        if kill == 1:
            os.rename(log, f"{log}.1")
        had = len(agent.delivered_lines())
        agent.start()
        for _ in range(3):
            with log.open("ab") as file:
                file.write(some_lines(rnd, written))
            written += 400
            eventually("more of it", lambda had=had: len(agent.delivered_lines()) > had, else_say=agent.last_words)
        if kill < kills:
            agent.kill()
    agent.drained()
    eventually("nothing is unread", lambda: all(f["lag_bytes"] == 0 for f in agent.status()["files"]), else_say=agent.last_words)
    assert agent.terminate() == 0
    audit = agent.command("audit", "--json")
    assert audit.returncode == 0, audit.stdout.decode()
    ledger = agent.root / "ledger.json"
    ledger.write_bytes(audit.stdout)
    verified = agent.command("verify", "--ledger", str(ledger), f"{agent.out}/delivered.ndjson")
    assert verified.returncode == 0, verified.stdout.decode()
