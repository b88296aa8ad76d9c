"""The judge of Google's request bodies (tests/support/discovery.py) is one that can say no: else no body was ever checked."""
from __future__ import annotations

from typing import Any

import pytest

from tests.support.discovery import wrong_parameters, wrong_shape

LOGGING = ("logging.v2", "WriteLogEntriesRequest")
ENTRY = {"logName": "projects/p/logs/x", "insertId": "a", "severity": "ERROR", "jsonPayload": {"any": [1, {"thing": None}]},
         "labels": {"k": "v"}, "httpRequest": {"status": 200, "requestMethod": "GET", "latency": "0.5s"}}


def test_a_body_as_the_document_has_it_is_right() -> None:
    assert wrong_shape(*LOGGING, {"entries": [ENTRY], "partialSuccess": True}) == []
    assert wrong_shape("pubsub.v1", "PublishRequest", {"messages": [{"data": "aGk=", "attributes": {"id": "1"}}]}) == []
    assert wrong_shape("bigquery.v2", "TableDataInsertAllRequest", {"rows": [{"insertId": "1", "json": {"a": 1}}]}) == []
    assert wrong_shape("storage.v1", "Object", {"name": "a", "crc32c": "AAAAAA==", "metadata": {"k": "v"}}) == []


@pytest.mark.parametrize("document, schema, body, where", [
    (*LOGGING, {"entires": []}, "entires is unknown"),
    (*LOGGING, {"entries": [{**ENTRY, "insertID": "a"}]}, "entries[0].insertID is unknown"),
    (*LOGGING, {"entries": [{**ENTRY, "severity": "FATAL"}]}, "severity='FATAL'"),
    (*LOGGING, {"entries": [{**ENTRY, "labels": {"k": 1}}]}, "labels.k is int, not string"),
    (*LOGGING, {"entries": [{**ENTRY, "httpRequest": {"status": "200"}}]}, "httpRequest.status is str, not integer"),
    (*LOGGING, {"entries": ENTRY}, "entries is dict, not array"),
    (*LOGGING, {"entries": [], "partialSuccess": 1}, "partialSuccess is int, not boolean"),
    ("pubsub.v1", "PublishRequest", {"messages": [{"data": "", "attributes": {"n": True}}]}, "attributes.n is bool, not string"),
    ("pubsub.v1", "PublishRequest", {"messages": [{"ordering_key": "k"}]}, "ordering_key is unknown"),
    ("bigquery.v2", "TableDataInsertAllRequest", {"rows": [{"insert_id": "1", "json": {}}]}, "insert_id is unknown"),
    ("storage.v1", "Object", {"name": "a", "size": 5}, "size is int, not string"),
])
def test_what_the_document_does_not_have_is_named(document: str, schema: str, body: dict[str, Any], where: str) -> None:
    [found] = wrong_shape(document, schema, body)
    assert where in found


def test_a_parameter_that_the_method_does_not_have_is_named() -> None:
    assert wrong_parameters("storage.v1", "objects.insert", {"uploadType": "media", "ifGenerationMatch": "0"}) == []
    assert wrong_parameters("storage.v1", "objects.insert", {"ifGenerationmatch": "0"}) == ["no parameter ifGenerationmatch"]
