"""A dead letter becomes the record again that it was made of. E: letters.py."""
from __future__ import annotations

import json
from typing import Any

import pytest

from shipper.deliver.letters import Wanted, batch_of, comparable_time, dead_line, names_of
from shipper.encode import record_json
from shipper.encode.syslog import Rfc5424Encoder, SyslogOptions
from shipper.model import Batch

from .support import START_NS, source


def batch(message: bytes, **changed: Any) -> Batch:
    values: dict[str, Any] = {
        "times": [b"2026-11-20T09:04:05.123456789Z"], "streams": [b"stderr"], "ids": [b"3e8+b,otherkey:0+5"], "read_ns": START_NS,
    }
    return Batch(source("web", labels={"app": "web"}), "key-default-web", messages=[message], **{**values, **changed})


@pytest.mark.parametrize("made", [
    batch(b"plain"), batch(b""), batch(b"caf\xe9 \x00\xff"), batch("naïve \u2028".encode()), batch(b"two\nlines"),
    batch(b"x", marks={0: {"partial": True, "truncated": 2097152}}), batch(b"x", times=[b""], streams=[b""]),
    batch(b"x", severities=[b"ERROR"], fields=[b'{"a":[1,2.5,null]}']),
])
def test_e1_it_encodes_to_the_same_bytes(made: Batch) -> None:
    found = batch_of(json.loads(dead_line(made, "rejected", "400", START_NS)))
    assert found is not None and found.messages == made.messages and list(found.ids) == made.ids
    assert record_json.encode(found) == record_json.encode(made)
    encoder = Rfc5424Encoder(SyslogOptions())
    assert encoder.encode([found]) == encoder.encode([made])
    assert (found.severities, found.fields) == (made.severities, made.fields)
    assert dict(found.source.labels or {}) == {"app": "web"}


@pytest.mark.parametrize("broken", [
    {}, {"record": {}}, {"record": {"id": "k:1+1"}},
    {"record": {"id": "k:1+1", "message": 1, "time": ""}, "key": "k", "source": {}},
    {"record": {"id": "other:1+1", "message": "", "time": ""}, "key": "k", "source": {}},
    {"record": {"id": "7:1+1", "message": "", "time": ""}, "key": 7, "source": {}},
    {"record": {"id": "k:1+1", "message": "", "time": ""}, "key": "k", "source": []},
    {"record": {"id": "k:../x", "message": "", "time": ""}, "key": "k", "source": {}},
    {"record": {"id": "k:1+1", "message": "", "time": ""}, "key": "k", "source": {}, "message_base64": "%"},
])
def test_e2_what_is_no_record_is_none(broken: dict[str, Any]) -> None:
    assert batch_of(broken) is None


def letter(**changed: Any) -> dict[str, Any]:
    return {**json.loads(dead_line(batch(b"x"), "rejected", "400", START_NS)), **changed}


@pytest.mark.parametrize("marks", [[1], "partial", 7, {}, None])
def test_marks_that_are_none_are_left_out_and_the_record_is_replayed(marks: Any) -> None:
    found = batch_of(letter(marks=marks))
    assert found is not None and found.marks is None and found.messages == [b"x"]


@pytest.mark.parametrize(("wanted", "matches"), [
    (Wanted(), True), (Wanted(reason="rejected"), True), (Wanted(reason="too_large"), False),
    (Wanted(ids=("key-default-web:3e8+b,otherkey:0+5",)), True), (Wanted(ids=("key:1+1",)), False),
    (Wanted(source="default/web/*"), True), (Wanted(source="payments/*"), False),
    (Wanted(since="2023-11-14"), True), (Wanted(since="2023-11-15"), False), (Wanted(until="2023-11-14T22:13:20"), False),
    (Wanted(until="2023-11-14T22:13:21"), True),
    (Wanted(since=comparable_time(START_NS / 1e9 - 1), until=comparable_time(START_NS / 1e9 + 1)), True),
])
def test_letters_are_picked_by_reason_id_source_and_time(wanted: Wanted, matches: bool) -> None:
    assert wanted.matches(letter()) is matches
    assert Wanted.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted


def test_a_letter_whose_source_is_damaged_is_still_listed() -> None:
    assert names_of(letter(source=None)) == [""] and not Wanted(source="x").matches(letter(source=[]))
