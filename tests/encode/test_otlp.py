"""OTLP in JSON, read by the official messages. O: encode/otlp.py."""
import orjson
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from shipper.encode.otlp import OtlpEncoder
from shipper.encode.template import compile_template
from shipper.model import SEVERITIES, Batch, Source

SOURCE = Source("containers", "c", "/x", "/x", "n1", "shop", "web-0", "u-1", "web", "cid", 3, {"app": "w"})
ENCODER = OtlpEncoder({"service.name": compile_template("{labels.app|x}"), "empty": compile_template("{annotations.none}")})


def batch(*messages, source=SOURCE, **columns):
    rows = len(messages)
    ids = [b"%x+5" % (i * 5) for i in range(rows)]
    times = [b"2026-11-20T09:04:05.5Z"] * rows
    return Batch(source, "k" * 16, times, [b"stderr"] * rows, ids, list(messages), read_ns=7, **columns)


def parsed(*batches):
    return json_format.Parse(b"".join(ENCODER.pieces(batches)), ExportLogsServiceRequest(), ignore_unknown_fields=False)


def records(*batches):
    return [r for rl in parsed(*batches).resource_logs for sl in rl.scope_logs for r in sl.log_records]


def attributes(owner):
    return {one.key: json_format.MessageToDict(one.value) for one in owner.attributes}


def test_a_record_is_all_there():
    [one] = records(batch(b"m\xff\n\x00\"\\"))
    assert (one.time_unix_nano, one.observed_time_unix_nano) == (1_795_165_445_500_000_000, 7)
    assert one.body.string_value == 'm\ufffd\n\x00"\\' and one.severity_number == 0 and one.severity_text == ""
    assert attributes(one) == {"log.record.uid": {"stringValue": "k" * 16 + ":0+5"}, "log.iostream": {"stringValue": "stderr"}}


def test_o1_the_resource_is_the_source():
    message = parsed(batch(b"a", b"b"), batch(), batch(b"c", source=Source("files", "f", "/var/log/x", "/l", "n2")))
    first, second = message.resource_logs
    assert attributes(first.resource)["k8s.container.restart_count"] == {"intValue": "3"}
    assert {name: value.get("stringValue") for name, value in attributes(first.resource).items()} == {
        "k8s.node.name": "n1", "k8s.namespace.name": "shop", "k8s.pod.name": "web-0", "k8s.pod.uid": "u-1",
        "k8s.container.name": "web", "container.id": "cid", "k8s.container.restart_count": None, "k8s.pod.label.app": "w",
        "service.name": "w"}
    assert attributes(second.resource) == {
        "host.name": {"stringValue": "n2"}, "log.file.path": {"stringValue": "/var/log/x"}, "service.name": {"stringValue": "x"}}
    assert [len(r.scope_logs[0].log_records) for r in message.resource_logs] == [2, 1]


def test_severities_have_the_numbers_of_the_specification():
    names = ["DEBUG", "INFO", "INFO2", "WARN", "ERROR", "ERROR2", "ERROR3", "FATAL"]
    found = records(batch(*[b"m"] * 9, severities=[*SEVERITIES, b""]))
    assert [r.severity_number for r in found] == [SeverityNumber.Value(f"SEVERITY_NUMBER_{n}") for n in names] + [0]
    assert [r.severity_text.encode() for r in found] == [*SEVERITIES, b""]


def test_fields_keep_their_types_and_names_are_unique():
    fields = {"s": "x", "i": 5, "big": 1 << 63, "f": 1.5, "b": True, "n": None, "l": [1, "a"], "o": {"p": {"q": False}},
              "log.record.uid": "evil", "": 1}
    one, _ = records(batch(b"m", b"m", fields=[orjson.dumps(fields), b""], marks={0: {"truncated": 9, "partial": True}}))
    found = attributes(one)
    assert len(found) == len(one.attributes)
    assert found["log.record.uid"] == {"stringValue": "k" * 16 + ":0+5"}
    assert found["fields.log.record.uid"] == {"stringValue": "evil"}
    assert (found["i"], found["big"], found["f"], found["b"], found["n"]) == (
        {"intValue": "5"}, {"stringValue": str(1 << 63)}, {"doubleValue": 1.5}, {"boolValue": True}, {})
    assert found["l"] == {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}
    assert b'"intValue":"5"' in b"".join(ENCODER.pieces([batch(b"m", fields=[b'{"i":5}'])]))                # O3
    assert found["o"]["kvlistValue"]["values"][0]["key"] == "p"
    assert found["shipper.truncated"] == {"intValue": "9"} and found["shipper.partial"] == {"boolValue": True}


def test_o2_where_a_name_cannot_be_made_unique_the_fields_stand_together():
    [one] = records(batch(b"m", fields=[b'{"log.iostream":1,"fields.log.iostream":2,"c":3}']))
    assert [a.key for a in one.attributes] == ["log.record.uid", "log.iostream", "fields"]
    assert [v.key for v in one.attributes[2].value.kvlist_value.values] == ["log.iostream", "fields.log.iostream", "c"]


@pytest.mark.parametrize("depth", [11, 12, 13, 60, 200])
def test_deep_fields_are_read_by_the_official_parser(depth):
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    [one] = records(batch(b"m", fields=[deep]))
    assert [a.key for a in one.attributes] == ["log.record.uid", "log.iostream", "a"]


def test_no_batches_are_an_empty_request():
    assert not parsed(batch()).resource_logs
