"""A request as full as delivery makes it stays under the sink's own limit, for short lines and long ones: else each would be
encoded twice, and halved."""
from __future__ import annotations

from typing import Any

import pytest

from shipper.model import Batch, Source
from shipper.sinks import SinkContext, find
from shipper.telemetry import Telemetry

SOURCE = Source(
    "containers", "containers", "/l", "/l", "node-0123456789.example.internal", "payments-production",
    "checkout-7d9c8b5f6d-x2x4q", "6f1c2d3e-aaaa-bbbb-cccc-0123456789ab", "checkout", "f" * 64, 3)


@pytest.mark.parametrize("line_bytes", [20, 100, 238, 2_000])
@pytest.mark.parametrize("kind", ["elasticsearch", "loki", "otlp_http", "splunk_hec", "datadog"])
def test_a_full_request_is_under_the_limit(kind: str, line_bytes: int) -> None:
    spec = find(kind)
    sink: Any = spec.build(spec.config(url="http://127.0.0.1:1/"), SinkContext("s", "n1", "/nonexistent", Telemetry()))
    count = min(spec.request_records, spec.request_bytes // line_bytes)
    times, ids = [b"2026-11-20T09:04:05.123456789Z"] * count, [b"1a4f0%x+c8" % n for n in range(count)]
    messages = [b"\"quoted\" text " * (line_bytes // 14)] * count
    batch = Batch(SOURCE, "k" * 16, times, [b"stdout"] * count, ids, messages, severities=[b"WARNING"] * count)
    assert sink.encode([batch]).size_bytes < sink.max_body_bytes * 0.95
