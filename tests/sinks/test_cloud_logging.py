"""Cloud Logging's limits, answers and identity. CO: sinks/cloud_logging.py. Misbehaving servers: test_http_contract.py."""
from __future__ import annotations

import json
from typing import Any

import pytest

from shipper.errors import Partial, Rejected, Retryable, ShipperError, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._http_status import Answer
from shipper.sinks.cloud_logging import MAX_BODY_BYTES, MAX_ENTRY_BYTES, SINK
from shipper.telemetry import Telemetry
from tests.support.gcp_identity_fakes import IdentityServer

from .http_world import entry_of
from .syslog_kit import batch

KIND = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"


def sink(keys: str = "project: p1, cluster_name: c1, location: l1, anonymous: true") -> Any:
    return SINK.build(entry_of(f"type: cloud_logging, {keys}").config, SinkContext("far", "n1", "", Telemetry()))


def around() -> int:
    return len(b'{"partialSuccess":true,"entries":[]}')


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_co1_an_entry_of_256_kib_is_sent_and_one_byte_more_is_not(over, fits):
    far = sink()
    beside = far.encode([batch([b"x"])]).size_bytes - around() - 1
    batches = [batch([b"short"]), batch([b"x" * (MAX_ENTRY_BYTES - beside + over)])]
    if fits:
        assert far.encode(batches[1:]).size_bytes - around() == MAX_ENTRY_BYTES + over
    else:
        with pytest.raises(TooLarge, match="max_entry") as caught:
            far.encode(batches)
        assert caught.value.indexes == (1,)


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_co1_a_request_of_ten_megabytes_is_sent_and_one_byte_more_is_not(over, fits):
    far = sink()
    beside = far.encode([batch([b"x"])]).size_bytes - around() - 1
    batches = [batch([b"x" * (250_000 - beside)]) for _ in range(39)]
    room = MAX_BODY_BYTES - far.encode(batches).size_bytes - 1
    batches += [batch([b"x" * (room // 2 - beside)]), batch([b"x" * (room - room // 2 - 1 - beside + over)])]
    if fits:
        assert far.encode(batches).size_bytes == MAX_BODY_BYTES + over
    else:
        with pytest.raises(TooLarge, match="10000000"):
            far.encode(batches)


def judged(answer: Answer, records: int = 4) -> Exception | None:
    try:
        sink().read_answer(answer, Request(1, [batch([b"x"] * records)]))
    except ShipperError as error:
        return error
    return None


def partial(errors: Any, status: int = 400) -> Answer:
    body = {"error": {"code": status, "message": "m", "details": [{"@type": "x"}, {"@type": KIND, "logEntryErrors": errors}]}}
    return Answer(status, {}, json.dumps(body).encode())


@pytest.mark.parametrize("status", [200, 400, 403, 429, 503])
def test_co2_entries_that_are_at_fault_are_dead_others_go_again_and_the_rest_was_written(status):
    """Whatever the status: it is that of the first entry that failed."""
    errors = {"0": {"code": 7, "message": "not authorized"}, "2": {"code": 3, "message": "illegal character"}}
    error = judged(partial(errors, status))
    assert isinstance(error, Partial)
    assert list(error.retry) == [0] and error.dead == {2: "code 3: illegal character"}


@pytest.mark.parametrize("code", [1, 2, 4, 5, 7, 8, 10, 13, 14, 15, 16, None, "3"])
def test_co3_no_other_code_is_a_records_fault(code):
    error = judged(partial({"1": {"code": code}}))
    assert isinstance(error, Partial) and error.dead == {} and list(error.retry) == [1]


@pytest.mark.parametrize("errors", [{}, {"4": {"code": 3}}, {"-1": {"code": 3}}, {"x": {"code": 3}}])
def test_co2_an_answer_about_entries_that_were_not_sent_proves_nothing(errors):
    assert isinstance(judged(partial(errors)), Retryable)


@pytest.mark.parametrize(("answer", "kind"), [
    (Answer(200, {}, b"{}"), type(None)), (Answer(200, {}, b"<html>"), Retryable),
    (Answer(200, {}, b"{}", whole=False), Retryable),
    (Answer(400, {}, b'{"error":{"code":400}}'), Rejected), (Answer(403, {}, b'{"error":{"details":[]}}'), Retryable),
    (Answer(404, {}, b""), Retryable), (Answer(429, {}, b"{}"), Retryable), (Answer(503, {}, b""), Retryable)])
def test_answers_for_the_whole_request(answer, kind):
    assert type(judged(answer)) is kind


async def test_the_metadata_server_says_project_cluster_and_location(monkeypatch):
    async with IdentityServer() as google:
        monkeypatch.setenv("GCE_METADATA_HOST", google.host)
        for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", "/nonexistent")
        made = {}
        for keys in ("request_timeout: 5s", "kubernetes: false"):
            far = sink(keys)
            await far.start(None)
            made[keys] = json.loads(b"".join(far.encode([batch([b"x"])]).pieces))["entries"][0]
            await far.close()
        whole, vm = made.values()
        assert whole["logName"] == "projects/p1/logs/stdout"
        assert whole["resource"]["labels"]["cluster_name"] == "c1" and whole["resource"]["labels"]["location"] == "europe-west1"
        assert vm["resource"] == {
            "type": "gce_instance", "labels": {"project_id": "p1", "instance_id": "4242", "zone": "europe-west1-b"}}
        assert google.wrong == []


async def test_whoever_says_everything_needs_no_metadata_server(monkeypatch):
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    far = sink("project: p1, kubernetes: false, instance_id: '42', location: europe-west1-b, anonymous: true")
    await far.start(None)
    entry = json.loads(b"".join(far.encode([batch([b"x"])]).pieces))["entries"][0]
    assert entry["resource"] == {
        "type": "gce_instance", "labels": {"project_id": "p1", "instance_id": "42", "zone": "europe-west1-b"}}
    await far.close()


@pytest.mark.parametrize(("keys", "says"), [
    ("log_name: '{time}'", "all the time"), ("log_name: ''", "leave it out"), ("labels: {a: '{b}'}", "unknown field"),
    ("max_entry: 1MiB", "refuses an entry"), ("url: 'https://x'", "url")])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of(f"type: cloud_logging, {keys}")
