"""Each row of the mapping from a record to a LogEntry. CL: encode/cloud_logging.py. Entries are held against the API's own
discovery document."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shipper.encode import cloud_logging
from shipper.encode.cloud_logging import FRAME, CloudLoggingEncoder, Place, log_id, resource_of, times_of
from shipper.encode.template import compile_template
from shipper.model import Batch
from tests.sinks.syslog_kit import KEY, READ_NS, batch, source
from tests.support.discovery import wrong_shape

ON_GKE = Place("p1", "c1", "l1")


def entries(one: Batch, place: Place = ON_GKE, **changed: Any) -> list[dict[str, Any]]:
    body = json.loads(b"".join(FRAME.around([CloudLoggingEncoder(place, **changed).part(one)])))
    assert wrong_shape("logging.v2", "WriteLogEntriesRequest", body) == []
    return body["entries"]


def entry(fields: Any = None, message: bytes = b"hello", severity: bytes = b"", **changed: Any) -> dict[str, Any]:
    one = batch([message], **changed)
    if fields is not None:
        one = replace(one, fields=[fields if isinstance(fields, bytes) else json.dumps(fields).encode()])
    if severity:
        one = replace(one, severities=[severity])
    return entries(one)[0]


def test_a_line_of_a_container_whole():
    assert entry() == {
        "timestamp": "2026-11-20T09:04:05.123456789Z", "severity": "INFO", "logName": "projects/p1/logs/stdout",
        "resource": {"type": "k8s_container", "labels": {
            "project_id": "p1", "namespace_name": "default", "pod_name": "web-0", "container_name": "web",
            "cluster_name": "c1", "location": "l1"}},
        "labels": {"compute.googleapis.com/resource_name": "node1"}, "insertId": f"{KEY}:0+64", "textPayload": "hello",
    }


@pytest.mark.parametrize(("stream", "name", "severity"), [
    (b"stdout", "stdout", "INFO"), (b"stderr", "stderr", "ERROR"), (b"", "c", None)])
def test_stream_or_source_name_the_log_and_the_severity_of_what_says_none(stream, name, severity):
    found = entry(stream=stream)
    assert found["logName"] == f"projects/p1/logs/{name}" and found.get("severity") == severity


def test_the_name_of_a_log_holds_only_what_the_api_takes():
    found = entries(batch([b"x"], container="a:b/c d"), log_name=compile_template("{container}"))[0]
    assert found["logName"] == "projects/p1/logs/a_b%2Fc_d"


@pytest.mark.parametrize(("kind", "place", "resource"), [
    ("containers", ON_GKE, "k8s_container"), ("files", ON_GKE, "k8s_node"), ("journal", ON_GKE, "k8s_node"),
    ("files", Place("p1", "", "z", "42", "z"), "gce_instance"), ("containers", Place("p1", "", "z", "42", "z"), "gce_instance"),
    ("files", Place("p1"), "generic_node"),
])
def test_the_monitored_resource(kind, place, resource):
    found = resource_of(source(kind=kind), place)
    assert found["type"] == resource and found["labels"]["project_id"] == "p1"
    if resource == "gce_instance":
        assert found["labels"] == {"project_id": "p1", "instance_id": "42", "zone": "z"}
    if resource == "k8s_node":
        assert found["labels"] == {"project_id": "p1", "node_name": "node1", "cluster_name": "c1", "location": "l1"}


def test_outside_of_google_a_resource_has_all_labels_of_its_type():
    """Those of a descriptor are required: without location and namespace each entry of a generic_node would be refused."""
    assert resource_of(source(kind="files"), Place("p1"))["labels"] == {
        "project_id": "p1", "location": "global", "namespace": "", "node_id": "node1"}
    assert resource_of(source(kind="files"), Place("p1", "", "dc-2"))["labels"]["location"] == "dc-2"
    assert resource_of(source(kind="containers"), Place("p1", "c1"))["labels"]["location"] == "global"
    assert resource_of(source(kind="journal"), Place("p1", "c1"))["labels"]["location"] == "global"


def test_without_a_cluster_labels_say_the_pod():
    labels = entries(batch([b"x"]), Place("p1", "", "z", "42", "z"))[0]["labels"]
    assert labels["namespace_name"] == "default" and labels["pod_name"] == "web-0" and labels["container_name"] == "web"


def test_labels_of_the_pod_stand_behind_k8s_pod():
    assert entry(labels={"app": "web"})["labels"]["k8s-pod/app"] == "web"


@pytest.mark.parametrize(("said", "meant"), [
    ("warn", "WARNING"), (" Info ", "INFO"), ("FATAL", "CRITICAL"), ("F", "CRITICAL"), ("C", "CRITICAL"), ("crit", "CRITICAL"),
    ("TRACE", "DEBUG"), ("FINEST", "DEBUG"), ("CONFIG", "DEBUG"), ("D", "DEBUG"), ("SEVERE", "ERROR"), ("ERR", "ERROR"),
    ("E", "ERROR"), ("EMERG", "EMERGENCY"), ("I", "INFO"), ("INFORMATION", "INFO"), ("N", "NOTICE"), ("W", "WARNING"),
    ("A", "ALERT"), ("105", "DEBUG"), (200, "INFO"), (999, "EMERGENCY"), ("NOTICE", "NOTICE"),
])
def test_severities_as_people_write_them(said, meant):
    found = entry({"severity": said, "a": 1})
    assert found["severity"] == meant and found["jsonPayload"] == {"message": "hello", "a": 1}


def test_a_severity_that_names_none_is_default_and_stays_in_the_payload():
    found = entry({"severity": "loud"}, stream=b"stderr")
    assert "severity" not in found and found["jsonPayload"] == {"message": "hello", "severity": "loud"}


def test_what_parse_found_is_the_severity():
    assert entry(severity=b"ALERT", stream=b"stderr")["severity"] == "ALERT"


@pytest.mark.parametrize(("fields", "time"), [
    ({"timestamp": {"seconds": 1795165445, "nanos": 5}}, "2026-11-20T09:04:05.000000005Z"),
    ({"timestampSeconds": "1795165446", "timestampNanos": 7}, "2026-11-20T09:04:06.000000007Z"),
    ({"timeNanos": 1795165447000000009}, "2026-11-20T09:04:07.000000009Z"),
    ({"time": "2026-11-20T10:04:08.123456789+01:00"}, "2026-11-20T09:04:08.123456789Z"),
    ({"timestamp": {"seconds": 1795165445}, "timeNanos": 1}, "2026-11-20T09:04:05.000000000Z"),
    ({"timeNanos": 86400000000001}, "1970-01-02T00:00:00.000000001Z"),
    ({"timestampSeconds": 1795165446, "timeNanos": 1}, "2026-11-20T09:04:06.000000000Z"),
])
def test_times_that_a_record_says(fields, time):
    found = entry({**fields, "a": 1})
    assert found["timestamp"] == time
    assert found["jsonPayload"].keys() - {"timeNanos"} == {"message", "a"}


@pytest.mark.parametrize("fields", [
    {"timestamp": "2026-11-20T09:00:00Z"}, {"time": "noon"}, {"time": "2026-11-20T10:00:00"}, {"timestampSeconds": True},
    {"timestamp": {"seconds": "x"}}, {"timeNanos": -1},
    {"timestamp": {"seconds": 1, "nanos": 10**9}}])
def test_what_is_no_time_stays_in_the_payload(fields):
    found = entry(fields)
    assert found["timestamp"] == "2026-11-20T09:04:05.123456789Z" and found["jsonPayload"] == {"message": "hello", **fields}


def test_http_request_known_members_are_taken_and_unknown_ones_stay():
    found = entry({"httpRequest": {
        "requestMethod": "GET", "status": "404", "responseSize": 12, "latency": " 1.5 s", "cacheHit": True, "weather": "fine",
        "requestSize": "many"}})
    assert found["httpRequest"] == {
        "requestMethod": "GET", "status": 404, "responseSize": "12", "latency": "1.5s", "cacheHit": True}
    assert found["jsonPayload"] == {"message": "hello", "httpRequest": {"weather": "fine", "requestSize": "many"}}


def test_numbers_that_a_program_or_filter_has_made_floats_are_taken():
    found = entry({"httpRequest": {"status": 200.0, "requestSize": 5.0, "responseSize": 5.5},
                   "timestamp": {"seconds": 1795165446.0, "nanos": 7.0}})
    assert found["httpRequest"] == {"status": 200, "requestSize": "5"} and found["timestamp"] == "2026-11-20T09:04:06.000000007Z"
    assert found["jsonPayload"] == {"message": "hello", "httpRequest": {"responseSize": 5.5}}


@pytest.mark.parametrize(("said", "taken"), [
    ("1.5s", "1.5s"), ("  3 s ", "3s"), ("0.12345678999s", "0.123456789s"), ("1.5ms", None), ("-1s", None), (1.5, None)])
def test_latency(said, taken):
    assert entry({"httpRequest": {"status": 200, "latency": said}})["httpRequest"].get("latency") == taken


def test_all_special_fields_at_once_leave_a_text():
    found = entry({
        "logging.googleapis.com/labels": {"a": 1, "b": True, "c": "x"}, "logging.googleapis.com/insertId": "mine",
        "logging.googleapis.com/spanId": "000000000000004a", "logging.googleapis.com/trace": "0123456789abcdef0123456789ABCDEF",
        "logging.googleapis.com/trace_sampled": True, "logging.googleapis.com/operation": {"id": "o", "first": True},
        "logging.googleapis.com/sourceLocation": {"file": "a.py", "line": 7, "function": "f"}})
    assert found["labels"] == {
        "a": "1", "b": "true", "c": "x", "shipper/id": f"{KEY}:0+64", "compute.googleapis.com/resource_name": "node1"}
    assert found["insertId"] == "mine" and found["spanId"] == "000000000000004a" and found["traceSampled"] is True
    assert found["trace"] == "projects/p1/traces/0123456789abcdef0123456789ABCDEF"
    assert found["operation"] == {"id": "o", "first": True}
    assert found["sourceLocation"] == {"file": "a.py", "line": "7", "function": "f"}
    assert found["textPayload"] == "hello" and "jsonPayload" not in found


@pytest.mark.parametrize("name", [
    "projects/x/traces/1", "projects/x/traces/0123456789abcdef0123456789abcdef", "0" * 33, "x" * 32])
def test_a_trace_that_is_no_bare_id_stays_as_it_is(name):
    assert entry({"logging.googleapis.com/trace": name})["trace"] == name


def test_members_are_taken_whose_keys_are_written_with_escapes():
    assert entry(b'{"\\u0068ttpRequest":{"status":200},"a":1}')["httpRequest"] == {"status": 200}
    assert entry(b'{"logging.googleapis\\u002ecom/spanId":"7","a":1}')["spanId"] == "7"


@pytest.mark.parametrize(("status", "taken"), [
    ((1 << 31) - 1, True), (1 << 31, False), (-(1 << 31) - 1, False), ("4294967296", False)])
def test_a_status_that_is_no_int32_stays_in_the_payload(status, taken):
    """The API refuses the whole request for one."""
    found = entry({"httpRequest": {"status": status, "protocol": "h2"}})
    assert ("status" in found["httpRequest"]) is taken and ("httpRequest" in found.get("jsonPayload", {})) is not taken


def test_labels_of_the_record_win_over_ours_and_its_severity_is_what_parse_found():
    ours = {"compute.googleapis.com/resource_name": "mine", "k8s-pod/app": "mine", "shipper/truncated": "mine"}
    one = replace(batch([b"x"], labels={"app": "web"}), marks={0: {"truncated": 5}}, severities=[b"ALERT"],
                  fields=[json.dumps({"logging.googleapis.com/labels": ours, "severity": "DEBUG"}).encode()])
    found = entries(one)[0]
    assert found["labels"] == ours and found["severity"] == "ALERT"


def test_the_id_of_a_log_is_cut_where_the_api_would_refuse_it():
    assert log_id("a/" * 400) == "a%2F" * 255 + "a" and log_id("") == "_"


@pytest.mark.parametrize("message, fields", [
    (b"\x00" * 2000, None), (b"m", b'{"a":"' + b"\xc3\xa9" * 3000 + b'"}'), (b"\xff" * 2000, b'{"a":1}'),
    (b"m", b'{"a":' * 31 + b'["' + b'\\"' * 2000 + b'"]' + b"}" * 31)], ids=["message", "fields", "no UTF-8", "JSON in JSON"])
def test_an_entry_is_never_longer_than_its_bound(message, fields):
    """Where the bound says that no entry of a batch is too long, none is looked at."""
    one = batch([message, b"x"])
    one = one if fields is None else replace(one, fields=[fields, b""])
    encoder = CloudLoggingEncoder(ON_GKE)
    length = len(encoder.part(one.slice(0, 1))[0])
    assert encoder.too_long(one, length) == [] and encoder.too_long(one, length - 1) == [0]


def test_special_fields_of_the_wrong_type_stay_in_the_payload():
    fields = {"logging.googleapis.com/trace": 5, "logging.googleapis.com/labels": "x", "httpRequest": "GET /",
              "logging.googleapis.com/trace_sampled": "maybe", "logging.googleapis.com/operation": []}
    assert entry(fields)["jsonPayload"] == {"message": "hello", **fields}


def test_payloads():
    assert entry(b"")["textPayload"] == "hello" and entry(b"{}")["textPayload"] == "hello"
    assert entry({"a": [1, {"b": None}]})["jsonPayload"] == {"message": "hello", "a": [1, {"b": None}]}
    assert entry({"a": 1}, message=b"")["jsonPayload"] == {"a": 1}
    assert entry({"message": 5})["jsonPayload"] == {"message": "hello", "fields.message": 5}


@pytest.mark.parametrize("message", [b"a trace\n  at x\n  at y", b"halfway stdout F through", b"\xff broken", b'"quoted" \\'])
def test_a_message_is_one_entry_whatever_it_holds(message):
    assert entry(message=message)["textPayload"] == message.decode("utf-8", "replace")
    assert entry({"a": 1}, message=message)["jsonPayload"]["message"] == message.decode("utf-8", "replace")


@pytest.mark.parametrize(("said", "kept"), [
    (1 << 53, 1 << 53), (-(1 << 53), -(1 << 53)), ((1 << 53) + 1, "9007199254740993"), (-(1 << 53) - 1, "-9007199254740993"),
    ((1 << 64) - 1, "18446744073709551615"), ("9007199254740993", "9007199254740993"), (1e300, 1e300),
    ([1, {"a": 1795165445123456789, "b": [True, None, 36028797018963966]}], [
        1, {"a": "1795165445123456789", "b": [True, None, "36028797018963966"]}]),
])
def test_an_id_that_a_double_cannot_hold_is_not_rounded_by_google(said, kept):
    """jsonPayload is a protobuf Struct, whose numbers are doubles: 36028797018963966 is shown as ...960 there."""
    assert entry({"id": said, "a": 1})["jsonPayload"] == {"message": "hello", "id": kept, "a": 1}
    assert entry({"logging.googleapis.com/spanId": "x", "id": said})["jsonPayload"] == {"message": "hello", "id": kept}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
def test_a_payload_that_is_nested_more_deeply_than_a_protobuf_may_be_is_no_dead_letter(opening, closing):
    """Of 100 levels of messages each object takes three. What is nested deeper is there, as the text of its JSON."""
    def nested(levels):
        return opening * levels + "1" + closing * levels

    def entry_of(levels):
        return entry(b'{"a":' + nested(levels).encode() + b',"b":2}')["jsonPayload"]

    assert entry_of(29) == {"message": "hello", "a": json.loads(nested(29)), "b": 2}
    found = entry_of(200)
    assert found["b"] == 2
    value = found["a"]
    for _ in range(29):
        value = value["k"] if isinstance(value, dict) else value[0]
    assert isinstance(value, str) and json.loads(value) == json.loads(nested(171))


@pytest.mark.parametrize("text", [b"9007199254740993", b" -9007199254740993", b"[9007199254740993]", b"[1, 9007199254740993]"])
@pytest.mark.parametrize("shift", range(4))
def test_a_number_of_sixteen_digits_is_seen_wherever_it_stands(text, shift):
    one = replace(batch([b"m"] * 3), fields=[b'{"a":1}', b'{"%b":0,"b":%b}' % (b"k" * shift, text), b""])
    found = entries(one)[1]["jsonPayload"]["b"]
    assert (found[-1] if isinstance(found, list) else found).removeprefix("-") == "9007199254740993"


def test_a_line_without_a_time_is_not_looked_at_one_by_one(monkeypatch):
    """A host file's lines have none: each raised an exception of its own, half of what its entry costs."""
    asked: list[bytes] = []
    monkeypatch.setattr(cloud_logging, "_out_of_reach", lambda text: bool(asked.append(text)))
    assert times_of(replace(batch([b"x"] * 3), times=[b"", b"", b"yesterday"]))[1] == [] and asked == [b"yesterday"]


def test_marks_are_labels():
    one = replace(batch([b"x"]), marks={0: {"truncated": 5000, "partial": True}})
    assert {"shipper/truncated": "5000", "shipper/partial": "true"}.items() <= entries(one)[0]["labels"].items()


@pytest.mark.parametrize(("time", "written", "label"), [
    (b"2026-11-21T09:13:13.298593Z", "2026-11-21T09:13:13.298593000Z", None),            # a day ahead, to the microsecond
    (b"2026-11-21T09:13:13.298594Z", "2026-11-20T09:13:13.298593000Z", "2026-11-21T09:13:13.298594Z"),
    (b"2026-11-21T09:13:13.298593001Z", "2026-11-20T09:13:13.298593000Z", "2026-11-21T09:13:13.298593001Z"),
    (b"9999-99-99T99:99:99.000000000Z", "2026-11-20T09:13:13.298593000Z", None),
    (b"2026-11-20T09:04:05+01:00", "2026-11-20T08:04:05.000000000Z", None), (b"", "2026-11-20T09:13:13.298593000Z", None),
    (b'"},{', "2026-11-20T09:13:13.298593000Z", None),
    (b"9999-12-31T23:59:59Z", "2026-11-20T09:13:13.298593000Z", "9999-12-31T23:59:59Z"),
    (b"0001-01-01T00:00:00Z", "2026-11-20T09:13:13.298593000Z", "0001-01-01T00:00:00Z"),          # Go's zero time
    (b"1969-12-31T23:59:59.5+01:00", "2026-11-20T09:13:13.298593000Z", "1969-12-31T23:59:59.5+01:00"),
])
def test_cl2_no_entry_is_refused_for_its_time(time, written, label):
    assert READ_NS == 1795165993298593000
    found = entry(time=time)
    assert found["timestamp"] == written and found["labels"].get("shipper/time") == label


def test_cl2_the_time_at_which_a_line_was_read_is_no_other_time_than_it_says():
    one = replace(batch([b"a", b"b"]), times=[b"2026-11-20T10:13:13.298593+01:00", b"2026-11-20T09:13:13.298593Z"])
    assert [found["labels"].get("shipper/time") for found in entries(one)] == [None, None]


def test_cl2_a_time_ahead_among_the_fields_is_not_taken():
    found = entry({"timeNanos": READ_NS + 86_400 * 10**9 + 1})
    assert found["timestamp"] == "2026-11-20T09:04:05.123456789Z"
    assert found["labels"]["shipper/time"] == "2026-11-21T09:13:13.298593001Z"


@pytest.mark.parametrize(("length", "cut"), [(511, False), (512, True)])
def test_cl3_an_insert_id_has_fewer_than_512_characters(length, cut):
    one = batch([b"x"])
    one = replace(one, ids=[b"0+64," + b"k" * (length - len(KEY) - 1 - 5)])
    found, whole = entries(one)[0], f"{KEY}:{one.ids[0].decode()}"
    assert len(whole) == length and (found["insertId"] != whole) is cut and len(found["insertId"]) < 512
    assert (found["labels"].get("shipper/id") == whole) is cut


def test_of_several_times_that_a_record_says_the_first_of_the_table_counts_and_the_others_stay():
    found = entry({"time": "2026-11-20T08:00:00Z", "timestampSeconds": 1795165446})
    assert found["timestamp"] == "2026-11-20T09:04:06.000000000Z"
    assert found["jsonPayload"] == {"message": "hello", "time": "2026-11-20T08:00:00Z"}


def test_labels_are_texts_whatever_they_were():
    said = {"a": None, "b": 1.5, "c": True, "d": "x", "e": [1]}
    found = entry({"logging.googleapis.com/labels": said})["labels"]
    assert {name: found[name] for name in said} == {"a": "", "b": "1.5", "c": "true", "d": "x", "e": "[1]"}


def test_cl3_an_entry_has_at_most_64_labels():
    labels = {f"l{n}": n for n in range(70)}
    found = entry({"logging.googleapis.com/labels": labels}, labels={f"p{n}": "x" for n in range(70)})
    assert len(found["labels"]) == 64 and found["labels"]["l63"] == "63"
    assert found["jsonPayload"]["logging.googleapis.com/labels"] == {f"l{n}": n for n in range(64, 70)}
    assert len(entry(labels={f"p{n}": "x" for n in range(70)})["labels"]) == 64


def test_a_label_that_google_would_cut_stays_whole_in_the_payload():
    """512 bytes of a name, 64 KiB of a value: what is longer is cut there without a word."""
    fits, long = {"n" * 512: "x", "v": "\u00e9" * 32 * 1024}, {"n" * 513: "x", "w": "\u00e9" * 32 * 1024 + "."}
    found = entry({"logging.googleapis.com/labels": {**fits, **long}})
    assert fits.items() <= found["labels"].items() and not long.keys() & found["labels"].keys()
    assert found["jsonPayload"]["logging.googleapis.com/labels"] == long


def test_cl1_the_quick_way_gives_what_the_careful_one_gives():
    one = batch([b"one", b"two\nlines", b"", b"\xff", b"five"])
    one = replace(one, fields=[b"", b'{"a":1}', b'{"b":"\\"x\\\\"}', b"{}", b'{"c":[1.5,null]}'],
                  severities=[b"", b"ERROR", b"DEBUG", b"", b"EMERGENCY"],
                  streams=[b"stdout", b"stderr", b"", b"stderr", b"stdout"])
    encoder = CloudLoggingEncoder(ON_GKE)
    assert entries(one) == [json.loads(encoder.entry(one, row)) for row in range(len(one))]
