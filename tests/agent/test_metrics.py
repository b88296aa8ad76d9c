"""/metrics says what Telemetry holds; every metric is documented."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from shipper import __version__
from shipper.agent.metrics import Exposition
from shipper.telemetry import METRICS, Telemetry

BESIDE_METRICS = {
    "shipper_build_info", "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
    "process_cpu_seconds_total", "process_open_fds", "process_max_fds",
}


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = Exposition(telemetry).render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples
    }


def test_counters_are_told_with_their_labels() -> None:
    telemetry = Telemetry()
    telemetry.count("shipper_sink_dropped_records_total", 3, "central", "drop_oldest")
    telemetry.count("shipper_sink_dropped_records_total", 4, "central", "drop_oldest")
    found = samples(telemetry)
    assert found["shipper_sink_dropped_records_total", (("reason", "drop_oldest"), ("sink", "central"))] == 7


def test_a_counter_without_labels_is_there_as_zero_and_one_with_labels_is_not() -> None:
    found = samples(Telemetry())
    assert found["shipper_buffer_frames_total", ()] == 0
    assert not [name for name, _ in found if name == "shipper_read_bytes_total"]


def test_gauges_are_read_at_scrape_time() -> None:
    telemetry, lag = Telemetry(), [5.0]

    def read() -> Iterator[tuple[tuple[str, ...], float]]:
        yield (), lag[0]

    telemetry.gauge("shipper_lag_bytes", read)
    exposition = Exposition(telemetry)
    assert b"\nshipper_lag_bytes 5.0\n" in exposition.render()
    lag[0] = 6.0
    assert b"\nshipper_lag_bytes 6.0\n" in exposition.render()


def test_what_is_degraded_shows_until_it_has_recovered() -> None:
    telemetry = Telemetry()
    telemetry.degraded("buffer_full", "x")
    assert samples(telemetry)["shipper_degraded", (("reason", "buffer_full"),)] == 1
    telemetry.recovered("buffer_full")
    assert "shipper_degraded" not in {name for name, _ in samples(telemetry)}


def test_build_and_process_are_told() -> None:
    found = samples(Telemetry())
    assert {name for name, _ in found} >= BESIDE_METRICS
    assert {dict(labels).get("version") for name, labels in found if name == "shipper_build_info"} == {__version__}


def test_the_monitoring_page_names_every_metric_with_its_labels_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge) \| ([a-z_, ]*) \|", page, re.M)
    told = {name: (kind, tuple(labels.split(", ")) if labels.strip() else ()) for name, kind, labels in rows}
    missing = [
        f"| `{name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |"
        for name, metric in METRICS.items() if told.get(name) != (metric.kind, metric.labels)
    ]
    assert not missing, "add to the table of docs/monitoring.md:\n" + "\n".join(missing)
    assert set(told) - BESIDE_METRICS == set(METRICS)
    assert set(told) >= BESIDE_METRICS


def test_credentials_in_a_url_are_in_no_log_line_and_no_reason() -> None:
    """T4: whether or not anybody has said that they are a secret."""
    telemetry = Telemetry()
    telemetry.say("error", "sink_failed", about="out", why="https://shipper:hunter2@logs.example.com/x refused")
    telemetry.degraded("sink", "no answer of http://hunter2@10.0.0.7:8080/")
    assert "hunter2" not in repr(telemetry.lines) + repr(telemetry.degraded_since)
    assert "https://***@logs.example.com/x refused" in repr(telemetry.lines)
