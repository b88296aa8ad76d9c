"""Stack traces through the whole agent: killed in the middle of each, rotated away under it, and the sum is still exact."""
from __future__ import annotations

from pathlib import Path

import pytest

from shipper.agent.simulator import Node
from tests.support.agent import Agent, eventually

T = b"2026-11-20T09:04:05.123456789Z "


def trace(number: int) -> list[str]:
    return [f"app.Failure{number}: order {number}", *(f"\tat app.Order{number}.f{i}(Order.java:{i})" for i in range(6)),
            f"Caused by: java.io.IOException: {number}", f"\tat app.Io.read(Io.java:{number})", "\t... 6 more"]


def lines_of(texts: list[str], stream: bytes) -> bytes:
    return b"".join(T + stream + b" F " + text.encode() + b"\n" for text in texts)


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.long)])
def test_a_kill_in_the_middle_of_each_trace_loses_and_repeats_nothing_and_it_is_whole(
    agent: Agent, tmp_path: Path, kills: int
) -> None:
    node = Node(tmp_path / "node", seed=3, cri_pods=1, docker_pods=0, host_files=0)
    agent.configure(
        sinks={"archive": agent.file_sink()}, sources={"pods": agent.containers_source(node.root, multiline="auto")})
    live = node.containers[0].live
    live.write_bytes(lines_of(["begin"], b"stdout"))
    for number in range(kills):
        with live.open("ab") as log:
            log.write(lines_of(trace(number)[: number + 2], b"stderr") + lines_of([f"mark {number}"], b"stdout"))
        agent.start(ready=False)
        eventually("the mark behind the first half", lambda mark=f"mark {number}": mark in agent.messages(),
                   else_say=agent.last_words)             # so it is read, and the trace is open
        agent.kill()
        if number % 2:
            live.rename(f"{live}.20261120-09040{number}")
        with live.open("ab") as log:
            rest = trace(number)[number + 2 :]
            log.write(lines_of(rest[:2], b"stderr") + lines_of(["between"], b"stdout") + lines_of(rest[2:], b"stderr"))
    agent.start()
    agent.drained()
    agent.arrived(3 * kills + 1)
    assert agent.terminate() == 0
    messages = [str(record["message"]) for record in agent.delivered()]
    errors = [message for message in messages if message.startswith(("app.", "\t", "Caused"))]
    assert "\n".join(errors).split("\n") == [line for number in range(kills) for line in trace(number)]
    # On a machine that stands still for a second in front of the kill, a half is closed by time.
    whole = [message for message in errors if message in ["\n".join(trace(number)) for number in range(kills)]]
    assert len(whole) >= kills // 2, errors
    assert sorted(set(messages) - set(errors)) == sorted(["begin", "between", *(f"mark {n}" for n in range(kills))])
    audit = agent.command("audit", "--json")
    (tmp_path / "ledger.json").write_bytes(audit.stdout)
    delivered = map(str, agent.out.rglob("*.ndjson"))
    verified = agent.command("verify", "--no-repeats", "--ledger", f"{tmp_path}/ledger.json", *delivered)
    assert verified.returncode == 0, verified.stdout.decode()
