"""packaging/monitoring: what it asks for is there in a scrape of the real agent, and each alert fires when it should."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipper.telemetry import METRICS
from tests.packaging.manifests import KUBERNETES, MONITORING, ROOT, build, one, pod_of
from tests.support.agent import Agent, agents
from tests.support.collect import dead_port

ALERTS = {
    "ShipperDown", "ShipperStuck", "ShipperDegraded", "ShipperBacklogGrowing", "ShipperBufferFullIn4Hours", "ShipperRecordsLost",
    "ShipperDeadLetters", "ShipperReloadFailed", "ShipperFilesRefused", "ShipperLagGrowing", "ShipperDeletedFilesUnread",
    "ShipperLinesCut", "ShipperRoutedWithoutLabels", "ShipperDiskErrors", "ShipperUnexpectedErrors",
}
WITHOUT_ALERT = {
    "shipper_read_records_total": "the other side of read_bytes",
    "shipper_malformed_records_total": "shipped whole",
    "shipper_unparsed_records_total": "shipped whole",
    "shipper_partial_records_total": "shipped, marked",
    "shipper_dropped_records_total": "the config's decision",
    "shipper_rotations_total": "everyday",
    "shipper_files": "everyday",
    "shipper_inotify_overflows_total": "a scan follows each: nothing is lost or stands still",
    "shipper_buffer_frames_total": "everyday",
    "shipper_buffer_appended_bytes_total": "everyday",
    "shipper_buffer_syncs_total": "everyday",
    "shipper_sink_delivered_records_total": "everyday",
    "shipper_sink_delivered_bytes_total": "everyday",
    "shipper_sink_repeated_records_total": "sent again with the same id",
    "shipper_sink_connections_total": "everyday",
    "shipper_sink_barriers_total": "proof that does not come leaves the backlog: ShipperBacklogGrowing",
    "shipper_sink_retries_total": "a sink in trouble is degraded",
    "shipper_sink_state": "every state but the good ones is degraded",
    "shipper_metadata_pods": "everyday",
    "shipper_metadata_waiting_files": "bounded by metadata_timeout, then ShipperRoutedWithoutLabels",
    "shipper_metadata_lists_total": "everyday",
    "shipper_metadata_watches_total": "everyday",
    "shipper_metadata_errors_total": "degraded{reason=metadata}",
    "shipper_bad_annotations_total": "a pod's own mistake: its log is shipped as the config says",
    "shipper_log_lines_dropped_total": "own log lines, not records",
}
"""Why nobody has to be woken for these."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    yield from agents(tmp_path)


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one(build(MONITORING), "PrometheusRule")["spec"]["groups"]
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one(build(MONITORING), "ConfigMap")["data"]["shipper.json"])
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *panels]


def promtool(tmp_path: Path, *argv: str) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups()}))
    done = subprocess.run(["promtool", *argv], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_an_alert_for_each_of_these():
    assert {rule["alert"] for rule in rules() if "alert" in rule} == ALERTS


def test_every_metric_that_means_loss_or_standstill_has_an_alert():
    asked = {name for rule in rules() for name in re.findall(r"\bshipper_\w+", rule["expr"])}
    assert set(METRICS) - asked == WITHOUT_ALERT.keys()


def test_prometheus_understands_the_rules(tmp_path: Path):
    promtool(tmp_path, "check", "rules", "rules.yml")


def test_each_alert_fires_when_it_should_and_not_for_what_only_looks_like_it(tmp_path: Path):
    shutil.copy(Path(__file__).with_name("alerts.yml"), tmp_path)
    promtool(tmp_path, "test", "rules", "alerts.yml")


def test_every_metric_that_is_asked_for_is_in_a_scrape_of_the_running_agent(agent: Agent):
    agent.configure(sinks={"archive": agent.file_sink(), "dead": agent.syslog_sink(dead_port())})
    (agent.logs / "a.log").write_text("one\n")
    agent.start()
    agent.event("degraded")
    agent.drained("archive")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", agent.get("/metrics").decode(), re.M))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for text in expressions() for name in re.findall(r"\b(?:shipper|process)_\w+\b|\bshipper:[\w:]+", text)}
    assert len(asked) > 20
    assert sorted(asked - set(types) - recorded) == []
    for text in expressions():                                # a counter is never shown as it stands, a gauge never by its rate
        for function, name in re.findall(r"\b(rate|increase|deriv|predict_linear)\((\w+)", text):
            if name in types:
                assert types[name] == ("counter" if function in ("rate", "increase") else "gauge"), text


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_alert_has_its_runbook(name: str):
    (rule,) = [each for each in rules() if each.get("alert") == name]
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.name == f"{name}.md" and page.read_text().startswith(f"# {name}\n")
    assert "## What to do" in page.read_text() and "## What is lost" in page.read_text()
    assert f"({name}.md)" in (page.parent / "README.md").read_text()
    assert f"| `{name}` |" in (ROOT / "docs/monitoring.md").read_text()
    assert rule["labels"]["severity"] in ("critical", "warning") and rule["annotations"]["summary"]


def test_the_service_monitor_finds_the_service_and_its_port():
    monitor = one(build(MONITORING), "ServiceMonitor")
    service = one(build(KUBERNETES / "base"), "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    (agent,) = pod_of(one(build(KUBERNETES / "base"), "DaemonSet"))["containers"]
    assert port["targetPort"] in [each["name"] for each in agent["ports"]]
    assert monitor["metadata"]["labels"]["release"] == one(build(MONITORING), "PrometheusRule")["metadata"]["labels"]["release"]


def test_grafana_takes_the_dashboard_as_it_is():
    labels = one(build(MONITORING), "ConfigMap")["metadata"]["labels"]
    found = dashboard()
    assert labels["grafana_dashboard"] == "1"
    assert found["uid"] == "shipper" and found["title"] and found["schemaVersion"] >= 36
    text = json.dumps(found)
    assert "__inputs" not in text and "${DS_" not in text
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
