"""Parsed logs: what is dropped is declared, sinks get the severities that they want, and a reload reaches running files."""
from __future__ import annotations

import signal

import orjson

from tests.support.agent import Agent

LEVELS = ("debug", "info", "error")


def cri(number: int) -> bytes:
    inside = orjson.dumps({"time": "2026-11-20T09:04:05Z", "level": LEVELS[number % 3], "msg": f"line {number}", "n": number})
    return b"2026-11-21T09:04:05.000000000Z stdout F " + inside + b"\n"


def test_drops_and_severities_leave_a_sum_that_verify_accepts(agent: Agent) -> None:
    agent.configure(
        sources={"logs": agent.files_source(format="cri", parse="json", drop=[{"severity": "<=DEBUG"}])},
        sinks={"all": agent.file_sink("all.ndjson"), "errors": agent.file_sink("errors.ndjson", when={"severity": [">=ERROR"]})})
    (agent.logs / "app.log").write_bytes(b"".join(map(cri, range(300))))
    agent.start()
    agent.drained()
    ledger = agent.command("audit", "--json", "--sink", "all").stdout
    assert agent.terminate() == 0
    records = agent.delivered("all.ndjson")
    assert [r["fields"]["n"] for r in records] == [n for n in range(300) if n % 3]
    assert {(r["severity"], r["time"]) for r in records} == {("INFO", "2026-11-20T09:04:05Z"), ("ERROR", "2026-11-20T09:04:05Z")}
    assert [r["message"] for r in agent.delivered("errors.ndjson")] == [f"line {n}" for n in range(2, 300, 3)]
    path = agent.state / "ledger.json"
    path.write_bytes(ledger)
    proof = agent.command("verify", "--ledger", str(path), stdin=b"\n".join(agent.delivered_lines("all.ndjson")) + b"\n")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert b"filtered" in proof.stdout


def test_what_a_sink_with_a_route_holds_is_whole_too(agent: Agent) -> None:
    """`verify --ledger` called every record missing that `when` does not want, and every log that it leaves out."""
    other = {**agent.files_source(), "include": [f"{agent.root}/other/*.log"], "allowed_roots": [f"{agent.root}/other"]}
    agent.configure(
        sources={"logs": agent.files_source(format="cri", parse="json", drop=[{"match": "line 1"}]), "other": other},
        sinks={"all": agent.file_sink("all.ndjson"), "errors": agent.file_sink(
            "errors.ndjson", when={"severity": [">=ERROR"], "source": ["logs"]})})
    (agent.root / "other").mkdir()
    (agent.root / "other" / "o.log").write_bytes(b"not for errors\n" * 50)
    begun = cri(1).replace(b" F ", b" P ")
    (agent.logs / "app.log").write_bytes(b"".join(map(cri, range(300))) + begun + cri(2).replace(b"stdout", b"stderr"))
    agent.start()
    agent.drained()
    ledgers = {sink: agent.command("audit", "--json", "--sink", sink).stdout for sink in ("all", "errors")}
    assert agent.terminate() == 0
    for sink, ledger in ledgers.items():
        (agent.state / "ledger.json").write_bytes(ledger)
        lines = agent.delivered_lines(f"{sink}.ndjson")
        proof = agent.command("verify", "--ledger", f"{agent.state}/ledger.json", stdin=b"\n".join(lines) + b"\n")
        assert proof.returncode == 0, proof.stdout + proof.stderr
        assert (b"unrouted" in proof.stdout) == (sink == "errors")
        missing = lines[:3] + lines[4:]
        proof = agent.command("verify", "--ledger", f"{agent.state}/ledger.json", stdin=b"\n".join(missing) + b"\n")
        assert proof.returncode == 1, "a record that is not there is found all the same"


def test_a_reload_of_the_rules_reaches_a_file_that_is_being_read(agent: Agent) -> None:
    sources = {"logs": agent.files_source(format="cri")}
    sinks = {"all": agent.file_sink("all.ndjson")}
    agent.configure(sources=sources, sinks=sinks)
    log = agent.logs / "app.log"
    log.write_bytes(cri(1))
    agent.start()
    agent.arrived(1, "all.ndjson")
    agent.configure(sources=sources, sinks=sinks, process=[{"when": {"source": ["logs"]}, "parse": "json"}])
    agent.process.send_signal(signal.SIGHUP)
    agent.event("reload_applied")
    with log.open("ab") as file:
        file.write(cri(2))
    agent.arrived(2, "all.ndjson")
    before, after = agent.delivered("all.ndjson")
    assert before["message"].startswith("{") and (after["message"], after["severity"]) == ("line 2", "ERROR")
