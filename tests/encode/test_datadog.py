"""Datadog's array of logs. DD: encode/datadog.py."""
import orjson
import pytest

from shipper.encode.datadog import DatadogEncoder
from shipper.encode.template import compile_template
from shipper.model import Batch, Source

SOURCE = Source("containers", "c", "/x", "/x", "n1", "shop", "web-0", "u-1", "web", "cid", 0, {"team": "a, b", "long": "x" * 300})


def encoder(merge=False):
    tags = {"env": "prod", "team": "{labels.team}", "none": "{labels.none}", "long": "{labels.long}"}
    return DatadogEncoder(compile_template("{container|host}"), compile_template("src"),
                          {name: compile_template(text) for name, text in tags.items()}, merge)


def batch(*messages, source=SOURCE, **columns):
    rows = len(messages)
    ids = [b"%x+5" % (i * 5) for i in range(rows)]
    return Batch(source, "k" * 16, [b"2026-11-20T09:04:05.1239Z"] * rows, [b"stdout"] * rows, ids, list(messages), **columns)


def logs(*batches, merge=False):
    return orjson.loads(b"".join(encoder(merge).pieces(batches)))


def test_a_log_is_all_there():
    [one] = logs(batch(b"m\xff\n\"", severities=[b"WARNING"], marks={0: {"partial": True}}))
    assert one == {
        "timestamp": 1795165445123, "status": "warning", "message": 'm\ufffd\n"', "id": "k" * 16 + ":0+5", "stream": "stdout",
        "partial": True, "hostname": "n1", "service": "web", "ddsource": "src",
        "ddtags": "kube_namespace:shop,pod_name:web-0,kube_container_name:web,container_id:cid,env:prod,team:a__b,long:"
                  + "x" * 200}


def test_several_batches_are_one_array_and_none_an_empty_one():
    assert [one["message"] for one in logs(batch(b"a", b"b"), batch(), batch(b"c"))] == ["a", "b", "c"]
    assert logs(batch()) == []
    assert logs(batch(b"m", source=Source("files", "s", "/var/log/x.log", "/l", "")))[0]["ddtags"].startswith("filename:x.log")


@pytest.mark.parametrize("merge", [False, True])
def test_fields(merge):
    first, second = logs(batch(b"1", b"2", fields=[b'{"a":{"b":1},"status":"evil"}', b"{}"]), merge=merge)
    assert first["id"] and "status" not in first
    assert first["fields"] == ({"status": "evil"} if merge else {"a": {"b": 1}, "status": "evil"})
    assert first.get("a") == ({"b": 1} if merge else None)
    assert second["message"] == "2"


@pytest.mark.parametrize("columns", [{}, {"fields": [b"", b'{"a":"\\u0001"}', b""], "marks": {1: {"lost": 5}}}])
def test_dd1_the_limit_of_a_log_is_met_to_the_byte(columns):
    made = batch(b"short", b"\x01" * 500 + b"\xff" * 10, b"short", **columns)
    body = b"".join(encoder().pieces([made]))
    size = len(body[1:-1].split(b"},{")[1]) + 2
    before = [batch(b"x")]
    assert encoder().too_long([*before, made], size - 1) == [2]
    assert encoder().too_long([*before, made], size) == encoder().too_long([*before, made], size + 1) == []
