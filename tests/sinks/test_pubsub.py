"""Pub/Sub's limits and answers. PS: sinks/pubsub.py. Misbehaving servers: test_http_contract.py."""
from __future__ import annotations

import json
from typing import Any

import pytest

from shipper.errors import Partial, Rejected, Retryable, ShipperError, TooLarge
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


class Publisher:
    """publish as it is for ordering keys: one of a request, else 400 (FAILED_PRECONDITION). `down`: keys that get a 503."""

    def __init__(self, down: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.down, self.taken, self.keys = down, [], []  # type: ignore[var-annotated]

    async def post(self, payload: Any) -> Answer:
        messages = json.loads(b"".join(payload.pieces))["messages"]
        keys = {message.get("orderingKey", "") for message in messages}
        self.keys.append(keys)
        if len(keys) > 1:
            return Answer(400, {}, b'{"error":{"status":"FAILED_PRECONDITION"}}')
        if keys & self.down:
            return Answer(503, {"Retry-After": "7"}, b"")
        self.taken += [(next(iter(keys)), message["attributes"]["id"].partition(":")[2]) for message in messages]
        return Answer(200, {}, json.dumps({"messageIds": ["1"] * len(messages)}).encode())


ORDERED = "topic: logs, project: p1, anonymous: true, ordering_key: '{pod}'"


async def ordered(publisher: Publisher) -> tuple[Any, Request]:
    far = sink(ORDERED)
    far.post = publisher.post
    batches = [batch([b"1", b"2"], pod="a"), batch([b"3"], pod="b", first=5), batch([b"4"], pod="a", first=7)]
    return far, Request(1, batches)


async def test_ps3_pods_with_an_ordering_key_each_are_not_refused_in_one_request():
    publisher = Publisher()
    far, request = await ordered(publisher)
    await far.send(request, far.encode(request.batches))
    assert publisher.keys == [{"a"}, {"b"}]
    assert publisher.taken == [("a", "0+64"), ("a", "64+64"), ("a", "2bc+64"), ("b", "1f4+64")]
    await far.close()


async def test_ps3_what_was_taken_for_one_key_is_not_sent_again_because_of_another():
    publisher = Publisher(down={"a"})
    far, request = await ordered(publisher)
    with pytest.raises(Partial, match="1 of 2 ordering keys") as caught:
        await far.send(request, far.encode(request.batches))
    assert (list(caught.value.retry), caught.value.dead, caught.value.retry_after_s) == ([0, 1, 3], {}, 7.0)
    publisher.down.add("b")
    with pytest.raises(Retryable):
        await far.send(request, far.encode(request.batches))
    await far.close()


def test_ps3_a_thousand_messages_are_the_limit_of_each_key_alone():
    batches = [batch([b"x"] * 1000, pod="a"), batch([b"x"], pod="b")]
    assert len(sink(ORDERED).encode(batches).parts) == 2
    with pytest.raises(TooLarge, match="takes 1000"):
        sink(ORDERED).encode([*batches, batch([b"x"], pod="a")])


def test_ps3_with_an_ordering_key_one_request_is_under_way_whatever_concurrency_says():
    assert entry_of(f"type: pubsub, concurrency: 8, {ORDERED}").spec.concurrency == 1
    assert entry_of("type: pubsub, concurrency: 8, topic: logs").spec.concurrency is None


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
