"""A payload assembled of what each batch gave is the payload of all of them (sinks, `encode_one`)."""
from __future__ import annotations

from typing import Any

import pytest

from shipper.errors import TooLarge
from shipper.model import Batch, Source
from shipper.sinks import SinkContext, find
from shipper.telemetry import Telemetry

SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web-0", "uid", "web", "cid")
CASES: list[tuple[str, dict[str, Any]]] = [
    ("syslog", {"address": "127.0.0.1:1", "framing": "newline"}),
    ("syslog", {"address": "127.0.0.1:1", "framing": "octet-counted"}),
    ("syslog", {"address": "127.0.0.1:1", "format": "rfc3164", "framing": "newline"}),
    ("http", {"url": "http://127.0.0.1:1/", "format": "ndjson"}),
    ("http", {"url": "http://127.0.0.1:1/", "format": "json"}),
    ("http", {"url": "http://127.0.0.1:1/", "format": "raw"}),
    *((kind, {"url": "http://127.0.0.1:1/", "headers": {"X-Sink": kind}}) for kind in (
        "elasticsearch", "loki", "otlp_http", "splunk_hec", "datadog")),
    ("cloud_logging", {"project": "p1", "anonymous": True}),
    ("pubsub", {"topic": "logs", "project": "p1", "anonymous": True}),
    ("gcs", {"bucket": "logs", "prefix": "{namespace}/"}),
    ("gcs", {"bucket": "logs", "prefix": "{pod}/", "format": "raw"}),
]


def batch(first: int, count: int) -> Batch:
    messages = [b"line %d\nand more" % n if n % 3 == 0 else b"line %d \xff" % n for n in range(first, first + count)]
    ids = [b"%x+10" % (16 * n) for n in range(first, first + count)]
    return Batch(SOURCE, "k" * 16, [b"2026-11-20T09:04:05.1Z"] * count, [b"stdout"] * count, ids, messages)


def wire(payload: Any) -> tuple[bytes, dict[str, str]]:
    if isinstance(payload, list):
        return b"".join(piece for _, pieces in payload for piece in pieces), {"prefixes": ",".join(p for p, _ in payload)}
    return (payload, {}) if isinstance(payload, bytes) else (b"".join(payload.pieces), dict(payload.headers))


IDS = [f"{kind}-{'-'.join(map(str, list(config.values())[1:]))}" for kind, config in CASES]


@pytest.mark.parametrize(("kind", "config"), CASES, ids=IDS)
def test_what_was_encoded_batch_by_batch_is_the_same_request(kind: str, config: dict[str, Any]) -> None:
    spec = find(kind)
    context: Any = SinkContext("s", "n1", "/nonexistent", Telemetry())
    sink: Any = spec.build(spec.config(**config), context)
    for batches in ([batch(0, 5), batch(5, 1), batch(6, 70)], [batch(0, 1)], [batch(1, 2), batch(3, 2)]):
        assert wire(sink.assemble([sink.encode_one(one) for one in batches])) == wire(sink.encode(batches))


@pytest.mark.parametrize(("kind", "limit"), [("loki", {"max_line": 1024}), ("datadog", {"max_log": 2048})])
def test_ha2_a_record_that_is_too_long_is_named_by_its_place_in_the_request(kind: str, limit: dict[str, int]) -> None:
    spec = find(kind)
    sink: Any = spec.build(spec.config(url="http://127.0.0.1:1/", **limit), SinkContext("s", "n1", "/nonexistent", Telemetry()))
    batches = [batch(0, 5), batch(5, 3), batch(8, 2)]
    batches[1].messages[2] = batches[2].messages[0] = b"x" * 3000
    for make in (lambda: sink.encode(batches), lambda: sink.assemble([sink.encode_one(one) for one in batches])):
        with pytest.raises(TooLarge) as caught:
            make()
        assert caught.value.indexes == (7, 8)
