"""Events for Splunk's collector. SP: encode/splunk.py; FL: encode/flat.py."""
import orjson
import pytest

from shipper.encode.splunk import SplunkEncoder
from shipper.encode.template import compile_template
from shipper.model import Batch, Source

SOURCE = Source("containers", "c", "/x", "/x", "n1", "shop", "web-0", "u-1", "web", "cid")


def encoder(index="main", whole_record=False):
    made = compile_template(index) if index else None
    return SplunkEncoder(compile_template("{source}"), compile_template("kube:{container|host}"), made, whole_record)


def batch(*messages, source=SOURCE, **columns):
    rows = len(messages)
    ids = [b"%x+5" % (i * 5) for i in range(rows)]
    times = [b"2026-11-20T09:04:05.123456789Z"] * rows
    return Batch(source, "k" * 16, times, [b"stdout"] * rows, ids, list(messages), **columns)


def events(*batches, **options):
    body = b"".join(encoder(**options).pieces(batches))
    return [orjson.loads(line) for line in body.split(b"\n")[:-1]]


def test_an_event_is_all_there():
    [one] = events(batch(b"m\xff\n\"", severities=[b"ERROR"]))
    assert one == {
        "time": 1795165445.123456, "event": 'm\ufffd\n"', "host": "n1", "source": "c", "sourcetype": "kube:web", "index": "main",
        "fields": {"id": "k" * 16 + ":0+5", "stream": "stdout", "severity": "ERROR", "k8s_namespace": "shop", "k8s_pod": "web-0",
                   "k8s_pod_uid": "u-1", "k8s_container": "web", "container_id": "cid"}}


def test_a_host_file_and_no_index():
    [one] = events(batch(b"m", source=Source("files", "sys", "/var/log/x", "/l", "n2")), index=None)
    assert one.keys() == {"time", "event", "host", "source", "sourcetype", "fields"} and one["sourcetype"] == "kube:host"


@pytest.mark.parametrize("message", [b"", b" ", b"\t\r\n "])
def test_sp1_no_event_is_blank(message):
    first, second = events(batch(message, b"x"))
    assert first["event"] == {"message": message.decode()} and second["event"] == "x"


def test_sp2_fields_are_texts_and_take_no_name_of_ours():
    fields = [b'{"a":{"b":[1]},"id":"evil","_raw":"x"}', b"", orjson.dumps({"x": "y" * 40_000})]
    first, second, third = events(batch(b"1", b"2", b"3", fields=fields, marks={1: {"truncated": 7}}))
    assert first["fields"]["a_b"] == "[1]" and first["fields"]["fields_id"] == "evil" and first["fields"]["fields__raw"] == "x"
    assert second["fields"]["truncated"] == "7"
    assert orjson.loads(third["fields"]["fields"]) == {"x": "y" * 40_000}
    assert all(isinstance(v, str) for one in (first, second, third) for v in one["fields"].values())


def test_the_event_can_be_the_record():
    [one] = events(batch(b"", fields=[b'{"a":1}']), whole_record=True)
    assert one["event"]["message"] == "" and one["event"]["fields"] == {"a": 1} and "a" not in one["fields"]
