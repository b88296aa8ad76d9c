"""What `_bulk` answers. EL: sinks/elasticsearch.py. The contract with a misbehaving server: test_http_contract.py."""
import asyncio
import time
from email.utils import formatdate

import orjson
import pytest

from shipper.errors import Partial, Rejected, Retryable, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext, find
from shipper.sinks._http_status import Answer
from shipper.sinks.elasticsearch import SINK
from shipper.telemetry import Telemetry

from .http_world import entry_of
from .syslog_kit import batch


def sink(keys="", telemetry=None):
    config = entry_of("type: elasticsearch, url: 'http://127.0.0.1:9200'" + keys).config
    return SINK.build(config, SinkContext("far", "n1", "", telemetry or Telemetry()))


def read(*statuses, keys="", errors=None, records=None, headers=None, **error):
    items = [{"create": {"status": s, **({"error": error} if s >= 300 and error else {})}} for s in statuses]
    body = orjson.dumps({"errors": any(s >= 300 for s in statuses) if errors is None else errors, "items": items})
    request = Request(1, [batch([b"m"] * (records or len(statuses)))])
    sink(keys).read_answer(Answer(200, headers or {}, body), request)


def test_el1_created_and_there_already_are_delivered():
    read(201, 409, 200)
    read(201, 201, errors=False)


def test_each_item_is_judged_alone_and_dead_ones_have_the_servers_words():
    cause = {"type": "mapper_parsing_exception", "reason": "failed to parse field [x]", "caused_by": {"reason": "not a number"}}
    with pytest.raises(Partial) as caught:
        read(201, 400, 429, 409, 503, **cause)
    assert caught.value.dead == {1: "400: mapper_parsing_exception: failed to parse field [x]: not a number"}
    assert caught.value.retry == (2, 4)


def test_what_the_server_quotes_of_a_record_stands_in_its_dead_letter_and_not_in_the_log():
    cause = {
        "type": "document_parsing_exception", "caused_by": {"reason": 'For input string: "hunter2"'},
        "reason": "failed to parse field [fields.n] of type [long] in document with id 'k'. Preview of field's value: 'hunter2'",
    }
    with pytest.raises(Partial) as caught:
        read(201, 400, **cause)
    assert "hunter2" in caught.value.dead[1]
    assert "failed to parse field [fields.n]" in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503, 401, 403, 404, 408, 0, 302])
def test_el3_what_is_the_clusters_fault_goes_again(status):
    with pytest.raises(Partial) as caught:
        read(201, status, errors=True)
    assert caught.value.retry == (1,) and not caught.value.dead


def test_statuses_can_be_overruled_for_items_too():
    with pytest.raises(Partial) as caught:
        read(201, 404, 400, keys=", reject_statuses: [404], retry_statuses: [400]")
    assert caught.value.dead.keys() == {1} and caught.value.retry == (2,)


def test_retry_after_is_kept():
    with pytest.raises(Partial) as caught:
        read(429, 201, headers={"Retry-After": "7"})
    assert caught.value.retry_after_s == 7.0


def test_a_date_in_retry_after_without_a_date_of_the_server_is_not_an_hour():
    with pytest.raises(Partial) as caught:
        read(429, 201, headers={"Retry-After": formatdate(time.time() + 20, usegmt=True)})
    assert 15 < caught.value.retry_after_s < 25


@pytest.mark.parametrize("body", [
    b"", b"<html>", b"[]", b"{}", b'{"errors":"no"}', b'{"errors":false}', b'{"errors":false,"items":null}',
    b'{"errors":false,"items":[{"create":{"status":201}}]}', b'{"errors":false,"items":[1,2,3]}'])
def test_el2_an_answer_that_is_none_proves_nothing(body):
    with pytest.raises(Retryable):
        sink().read_answer(Answer(200, {}, body), Request(1, [batch([b"a", b"b"])]))


def test_items_that_are_not_understood_go_again():
    body = (b'{"errors":true,"items":[{"create":{"status":201}},{"create":[]},{},{"create":{"status":"x"}},'
            b'{"create":{"status":400,"error":"w"}}]}')
    with pytest.raises(Partial) as caught:
        sink().read_answer(Answer(200, {}, body), Request(1, [batch([b"a"] * 5)]))
    assert caught.value.retry == (1, 2, 3) and caught.value.dead == {4: "400: w"}


def test_an_answer_too_long_to_be_read_makes_smaller_requests_and_kills_no_record():
    answer = Answer(200, {}, b'{"errors":true,"items":[', whole=False)
    with pytest.raises(TooLarge):
        sink().read_answer(answer, Request(1, [batch([b"a", b"b"])]))
    with pytest.raises(Retryable):
        sink().read_answer(answer, Request(1, [batch([b"a"])]))


@pytest.mark.parametrize(("status", "error"), [(413, TooLarge), (400, Rejected), (401, Retryable), (503, Retryable)])
def test_the_status_of_the_request(status, error):
    with pytest.raises(error):
        sink().read_answer(Answer(status, {}, b'{"error":{}}'), Request(1, [batch([b"a"])]))


def test_the_url_and_the_key():
    telemetry = Telemetry()
    far = sink(", api_key: c2VjcmV0, pipeline: a b&c", telemetry)
    assert far.url.startswith("http://127.0.0.1:9200/_bulk?filter_path=errors,") and far.url.endswith("&pipeline=a%20b%26c")
    assert asyncio.run(far.client._credentials.headers()) == {"Authorization": "ApiKey c2VjcmV0"}
    assert "c2VjcmV0" not in telemetry.scrub("refused c2VjcmV0")
    assert far.what == "http://127.0.0.1:9200/_bulk"


def test_opensearch_is_pointed_to():
    with pytest.raises(Exception, match="opensearch is served by type: elasticsearch"):
        find("opensearch")


@pytest.mark.parametrize(("keys", "says"), [
    ("index: Logs", "upper-case"), ("index: -x", "cannot begin so"), ("index: ''", "cannot begin so"),
    ("index: '{x}'", "unknown field"),
    ("max_body: 1KiB", "no room"), ("api_key: a, auth: {user: a, password: b}", "stands beside api_key"),
    ("api_key: a, api_key_file: /nonexistent", "cannot read"),
])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of("type: elasticsearch, url: 'https://far:9200', " + keys)
