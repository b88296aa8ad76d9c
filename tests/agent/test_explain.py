"""`shipper explain`: what a config promises. X: agent/explain.py. The golden answer: golden/explain.txt."""
from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipper.agent.cli import main
from shipper.agent.explain import Question, explain, human, stored_bytes
from shipper.config.loader import load_text
from shipper.sinks import SinkSpec, available, find

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs" / "sinks"


def config(text: str | dict[str, Any]) -> Any:
    def unchecked(name: str) -> SinkSpec:
        """The docs name certificates and key files that are not here."""
        return replace(find(name), check=lambda config: [])

    return load_text(text if isinstance(text, str) else json.dumps(text), "c.yaml", {}, find_sink=unchecked).config


def one_sink(**sink: Any) -> Any:
    return config({"sources": {"c": {"type": "containers"}}, "sinks": {"s": {"type": "stdout", **sink}}, "node": "n"})


def limits(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(limit["limit"], round(limit["after_s"])) for limit in found["routes"][0]["while_down"]]


def test_the_golden_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    assert main(["explain", "-c", "explain.yaml"]) == 0
    assert capsys.readouterr().out == (GOLDEN / "explain.txt").read_text(), \
        "if that is meant: cd tests/agent/golden && shipper explain -c explain.yaml > explain.txt"


def test_on_a_narrow_terminal_nothing_is_wider(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["explain", "-c", "explain.yaml"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_a_node_with_a_dozen_log_files_is_told_the_same_once() -> None:
    """config/gke.yaml has 18 sources and one sink: 18 times the same 17 lines."""
    files = {f"log-{n}": {"type": "files", "include": [f"/var/log/{n}.log"]} for n in range(12)}
    node = config({"sources": files | {"c": {"type": "containers"}}, "sinks": {"s": {"type": "stdout"}}, "node": "n"})
    said = human(explain(node, "c.yaml", Question()))
    assert said.count("first limit") == 2 and said.count("-> s (stdout)") == 2 and max(map(len, said.splitlines())) <= 120
    assert all(name in said for name in files) and len(explain(node, "c.yaml", Question())["routes"]) == 13


def test_a_host_without_containers_is_told_nothing_of_the_kubelet() -> None:
    host = config({"sources": {"h": {"type": "files", "include": ["/var/log/*.log"]}}, "sinks": {"s": {"type": "stdout"}}})
    said = human(explain(host, "c.yaml", Question()))
    assert "kubelet" not in said and "containers" not in said and "logrotate" in said


@pytest.mark.parametrize("name", available())
def test_x1_every_sink_says_what_it_promises(name: str) -> None:
    """With the smallest config of its page in docs/sinks."""
    page = (DOCS / f"{name}.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    every = [sink for block in blocks if isinstance(block, dict) for sink in block.get("sinks", {}).values()]
    sinks = [sink for sink in every if sink["type"] == name]
    assert sinks, f"docs/sinks/{name}.md has no YAML with a sink of its type"
    for sink in sinks:
        sources = {"c": {"type": "containers", "format": "raw" if sink.get("format") in ("raw", "container-logs") else "auto"}}
        found = explain(config({"sources": sources, "sinks": {"s": sink}, "node": "n"}), "c.yaml", Question())
        [route] = found["routes"]
        for key in ("delivered_means", "can_repeat", "can_lose", "order", "refused", "first_limit", "sink_summary"):
            assert len(route[key]) > 3, (name, key)
        assert route["while_down"] and all(limit["then"] for limit in route["while_down"])
        guarantee = find(name).guarantee(config({"sources": sources, "sinks": {"s": sink}, "node": "n"}).sinks["s"].config)
        assert (route["delivered_means"], route["can_lose"]) == (guarantee.delivered_means, guarantee.can_lose)
        assert " ".join(guarantee.delivered_means.split()) in " ".join(human(found).split())


def test_routes_are_those_that_when_lets_through_and_a_source_without_a_sink_is_said() -> None:
    found = explain(config({
        "sources": {"c": {"type": "containers"}, "f": {"type": "files", "include": ["/var/log/x"]}}, "node": "n",
        "sinks": {"s": {"type": "stdout", "when": {"kind": ["containers"]}}},
    }), "c.yaml", Question())
    assert [(route["source"], route["sink"]) for route in found["routes"]] == [("c", "s")] and found["unrouted"] == ["f"]
    assert "WARNING: no sink takes what source f reads" in human(found)


def test_a_route_by_labels_says_which_values_they_have() -> None:
    """It said "labels: app": what the label has to be was left out."""
    when = {"namespace": ["pay", "shop-*"], "labels": {"app": ["web", "api"], "tier": ["front"]}}
    assert "only namespace: pay or shop-*; labels app: web or api; labels tier: front" in " ".join(
        human(explain(one_sink(when=when), "c.yaml", Question())).split())


@pytest.mark.parametrize(("sink", "wanted"), [
    ({}, [("buffer.max_size", 446), ("containerLogMaxSize x containerLogMaxFiles", 1547)]),
    ({"when_full": "drop_oldest"}, [("buffer.max_size", 446)]),
    ({"max_backlog": "238MB"}, [("max_backlog", 100)]),
    ({"max_backlog_age": "1m", "give_up_after": "10s"}, [("give_up_after", 10), ("max_backlog_age", 60)]),
    ({"max_backlog_age": "24h"}, [
        ("buffer.max_size", 446), ("containerLogMaxSize x containerLogMaxFiles", 1547), ("max_backlog_age", 86400)]),
])
def test_the_limits_come_in_the_order_in_which_they_bite(sink: dict[str, Any], wanted: list[tuple[str, int]]) -> None:
    found = explain(one_sink(**sink), "c.yaml", Question())
    seen = limits(found)
    assert [name for name, _ in seen] == [name for name, _ in wanted] and found["routes"][0]["first_limit"] == wanted[0][0]
    assert all(abs(after - expected) <= expected * 0.05 for (_, after), (_, expected) in zip(seen, wanted, strict=True))


def test_the_question_changes_the_answer_in_proportion() -> None:
    once = explain(one_sink(), "c.yaml", Question(rate=1000.0))
    tenfold = explain(one_sink(), "c.yaml", Question(rate=10_000.0))
    assert tenfold["outage"]["disk_bytes_per_hour"] == pytest.approx(10 * once["outage"]["disk_bytes_per_hour"], rel=1e-6)
    assert once["outage"]["logs_hold_s"] == pytest.approx(10 * tenfold["outage"]["logs_hold_s"])
    more = explain(one_sink(), "c.yaml", Question(log_max_bytes=20 << 20, log_max_files=10))
    assert more["outage"]["logs_hold_s"] == pytest.approx(4 * tenfold["outage"]["logs_hold_s"])


def test_x3_a_line_takes_in_the_buffer_about_what_it_is_long() -> None:
    for line in (100, 238, 1000, 10_000):
        assert line - 10 < stored_bytes(line) < line + 15


def test_concurrency_says_whether_lines_stay_in_order() -> None:
    http = {"type": "forward", "address": "a:1"}
    assert "up to 4 requests" in explain(one_sink(**http), "c.yaml", Question())["routes"][0]["order"]
    assert "in their order" in explain(one_sink(**http, concurrency=1), "c.yaml", Question())["routes"][0]["order"]


def test_it_prints_json_and_refuses_questions_without_sense(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(GOLDEN / "explain.yaml")
    assert main(["explain", "-c", path, "--json", "--rate", "100", "--log-max-size", "50MiB"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["asked"]["container_log_max_size_bytes"] == 50 << 20 and len(found["routes"]) == 3
    assert main(["explain", "-c", path, "--rate", "0"]) == 2 and main(["explain", "-c", path, "--log-max-size", "5Mb"]) == 2
    err = capsys.readouterr().err
    assert "must be above 0" in err and "is not a size" in err
