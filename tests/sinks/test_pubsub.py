"""Pub/Sub's limits and answers. PS: sinks/pubsub.py. Misbehaving servers: test_http_contract.py."""
from __future__ import annotations

from typing import Any

import pytest

from shipper.errors import Rejected, Retryable, ShipperError, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._http_status import Answer
from shipper.sinks.pubsub import MAX_BODY_BYTES, SINK
from shipper.telemetry import Telemetry

from .http_world import entry_of
from .syslog_kit import batch


def sink(keys: str = "topic: logs, project: p1, anonymous: true") -> Any:
    return SINK.build(entry_of(f"type: pubsub, {keys}").config, SinkContext("far", "n1", "", Telemetry()))


@pytest.mark.parametrize(("records", "fits"), [(999, True), (1000, True), (1001, False)])
def test_ps1_a_thousand_messages_are_sent_and_one_more_is_not(records, fits):
    batches = [batch([b"x"] * (records - 1)), batch([b"x"], first=5000)]
    if fits:
        assert sink().encode(batches).size_bytes
    else:
        with pytest.raises(TooLarge, match="takes 1000"):
            sink().encode(batches)


def test_ps1_ten_megabytes_count_after_base64():
    """A byte of a message is 1 to 3 more of base64: the largest request that is sent is within 4 bytes of the limit."""
    far, low, high = sink(), 7_000_000, 8_000_000
    while high - low > 1:
        middle = (low + high) // 2
        try:
            far.encode([batch([b"x" * middle])])
            low = middle
        except TooLarge:
            high = middle
    assert MAX_BODY_BYTES - 4 < far.encode([batch([b"x" * low])]).size_bytes <= MAX_BODY_BYTES
    with pytest.raises(TooLarge, match="10000000"):
        far.encode([batch([b"x" * high])])


@pytest.mark.parametrize(("answer", "kind"), [
    (Answer(200, {}, b'{"messageIds":["1","2"]}'), type(None)), (Answer(200, {}, b'{"messageIds":["1"]}'), Retryable),
    (Answer(200, {}, b"{}"), Retryable), (Answer(200, {}, b"<html>"), Retryable), (Answer(404, {}, b""), Retryable),
    (Answer(400, {}, b"{}"), Rejected), (Answer(413, {}, b""), TooLarge), (Answer(429, {}, b""), Retryable)])
def test_ps2_only_an_id_for_each_message_is_delivery(answer, kind):
    error: ShipperError | None = None
    try:
        sink().read_answer(answer, Request(1, [batch([b"x", b"y"])]))
    except ShipperError as caught:
        error = caught
    assert type(error) is kind


@pytest.mark.parametrize(("keys", "project"), [
    ("topic: logs, project: p1", "p1"), ("topic: projects/other/topics/logs", "other")])
async def test_the_topic_says_its_project_or_project_does(keys, project):
    far = sink(keys + ", anonymous: true")
    await far.start(None)
    assert far.url == f"https://pubsub.googleapis.com/v1/projects/{project}/topics/logs:publish"
    await far.close()


@pytest.mark.parametrize(("keys", "says"), [
    ("topic: 'a'", "name of a topic"), ("topic: goog-logs", "name of a topic"),
    ("topic: projects/a/topics/logs, project: b", "keep one"), ("topic: logs, attributes: {id: x}", "another name"),
    ("topic: logs, ordering_key: '{time}'", "all the time"), ("topic: logs, attributes: {a: '{b}'}", "unknown field")])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of(f"type: pubsub, {keys}")
