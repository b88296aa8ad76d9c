"""/metrics: what Telemetry holds, as Prometheus text. prometheus_client is imported with this module: import it lazily.

Beside METRICS it gives shipper_build_info and prometheus_client's process_* (memory, CPU, open files, start time).
A counter without labels is there from the start, as 0; one with labels from its first count.
Plane: driver; at scrape time only.
"""
from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import __version__
from ..telemetry import METRICS, Metric, Telemetry

Family = CounterMetricFamily | GaugeMetricFamily


class Exposition:
    """`render()` is the body of /metrics."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_TelemetryCollector(telemetry))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _TelemetryCollector(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterable[Family]:
        counted: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for (name, labels), value in list(self._telemetry.values.items()):
            counted.setdefault(name, []).append((labels, value))
        for name, metric in METRICS.items():
            samples = counted.get(name, []) if metric.kind == "counter" else list(self._gauge(name))
            if not samples and not metric.labels and metric.kind == "counter":
                samples = [((), 0)]
            yield _family(name, metric, samples)
        build = GaugeMetricFamily("shipper_build_info", "1, with the version as a label.", labels=("version", "python"))
        build.add_metric((__version__, platform.python_version()), 1)
        yield build

    def _gauge(self, name: str) -> Iterator[tuple[tuple[str, ...], float]]:
        if name == "shipper_degraded":
            yield from (((reason,), 1.0) for reason in self._telemetry.degraded_since)
        elif name in self._telemetry.gauges:
            yield from self._telemetry.gauges[name]()


def _family(name: str, metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: Family = make(name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
