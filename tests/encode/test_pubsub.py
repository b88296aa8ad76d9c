"""Messages of Pub/Sub. PB: encode/pubsub.py."""
from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from shipper.encode import record_json
from shipper.encode.pubsub import FRAME, PubsubEncoder
from shipper.encode.template import compile_template
from tests.sinks.syslog_kit import KEY, batch
from tests.support.discovery import wrong_shape


def messages(one, encoder=None):
    body = json.loads(b"".join(FRAME.around([(encoder or PubsubEncoder({}, None)).part(one)])))
    assert wrong_shape("pubsub.v1", "PublishRequest", body) == []
    return body["messages"]


def test_pb1_data_is_the_records_json_and_attributes_say_id_source_and_time():
    one = replace(batch([b"one\ntwo", b"\xff"]), fields=[b'{"a":1}', b""])
    found = messages(one)
    assert [base64.b64decode(m["data"], validate=True) for m in found] == record_json.lines(one)
    assert found[1]["attributes"] == {"id": f"{KEY}:64+64", "source": "c", "time": "2026-11-20T09:04:05.123456789Z"}
    assert "orderingKey" not in found[0]


def test_own_attributes_and_the_ordering_key_are_templates_of_the_source():
    encoder = PubsubEncoder(
        {"ns": compile_template("{namespace}"), "team": compile_template("{labels.team}")}, compile_template("{pod}/{container}"))
    (found,) = messages(batch([b"x"]), encoder)
    assert found["attributes"]["ns"] == "default" and "team" not in found["attributes"] and found["orderingKey"] == "web-0/web"


@pytest.mark.parametrize(("length", "cut"), [(1024, False), (1025, True)])
def test_pb2_no_attribute_and_no_ordering_key_is_over_1024_bytes(length, cut):
    one = batch([b"x"], pod="p" * length)
    one = replace(one, ids=[b"k" * (length - len(KEY) - 1)])
    (found,) = messages(one, PubsubEncoder({"pod": compile_template("{pod}")}, compile_template("{pod}")))
    for value in (found["attributes"]["id"], found["attributes"]["pod"], found["orderingKey"]):
        assert len(value.encode()) <= 1024 and ("~" in value) is cut


def test_pb2_a_hostile_time_is_the_read_time():
    (found,) = messages(batch([b"x"], time=b"9" * 2000))
    assert found["attributes"]["time"] == "2026-11-20T09:13:13.298593000Z"
