"""What a receiver's answers mean. OT: sinks/otlp_http.py. The contract with a misbehaving server: test_http_contract.py."""
import pytest

from shipper.errors import Rejected, Retryable, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._http_status import Answer
from shipper.sinks.otlp_http import SINK
from shipper.telemetry import Telemetry

from .http_world import entry_of
from .syslog_kit import batch

REQUEST = Request(1, [batch([b"one", b"two", b"three"])])


def read(status, body=b"", headers=None, whole=True):
    telemetry = Telemetry()
    sink = SINK.build(entry_of("type: otlp_http, url: 'http://127.0.0.1:4318'").config, SinkContext("far", "n1", "", telemetry))
    sink.read_answer(Answer(status, headers or {}, body, whole), REQUEST)
    return telemetry


@pytest.mark.parametrize("body", [
    b"", b"{}", b'{"partialSuccess":{}}', b'{"partialSuccess":null}', b'{"partialSuccess":{"rejectedLogRecords":"0"}}'])
def test_taken(body):
    assert read(200, body).lines == []


def test_a_warning_of_the_receiver_is_said_once():
    telemetry = read(200, b'{"partialSuccess":{"rejectedLogRecords":0,"errorMessage":"attribute x is deprecated"}}')
    assert [fields["why"] for _, _, fields in telemetry.lines] == ["attribute x is deprecated"]


@pytest.mark.parametrize("count", [b'"2"', b"2", b'"-1"', b'"many"', b"3"])
def test_ot1_a_refusal_without_indexes_is_found_out_by_halving_and_never_taken_for_delivered(count):
    with pytest.raises(Rejected, match="of 3 records: too old") as caught:
        read(200, b'{"partialSuccess":{"rejectedLogRecords":%b,"errorMessage":"too old"}}' % count)
    assert caught.value.indexes == () and not caught.value.rest_delivered


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b"\x0a\x02\x08\x01"])
def test_ot2_a_2xx_that_is_no_answer_is_no_proof(body):
    with pytest.raises(Retryable):
        read(200, body)


def test_a_refusal_longer_than_what_is_read_of_an_answer_is_asked_for_in_halves_and_not_for_ever():
    with pytest.raises(TooLarge, match="fewer records"):
        read(200, b'{"partialSuccess":{"rejectedLogRecords":2,"errorMessage":"' + b"record 1: too old; " * 60_000, whole=False)


@pytest.mark.parametrize(("status", "error"), [
    (400, Rejected), (413, TooLarge), (429, Retryable), (502, Retryable), (404, Retryable)])
def test_statuses(status, error):
    with pytest.raises(error):
        read(status, b'{"code":3,"message":"no"}')


@pytest.mark.parametrize(("keys", "says"), [
    ("resource: {a: '{time}'}", "new resource all the time"), ("resource: {a: '{x}'}", "unknown field"),
    ("max_body: 1KiB", "no room")])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of("type: otlp_http, url: 'http://127.0.0.1:4318', " + keys)
