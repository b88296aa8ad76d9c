"""How the far side of each sink over HTTP reads requests and answers: one codec a sink type, found by its name.

A codec is a class with
    type       the sink's `type:`
    keys       its YAML keys beside `type`, as text; {url} is the server's address
    records    the request's records, as bytes each, in order; AssertionError for a request that the real server would not take
    taken      the answer when all were taken
    schedules  how many random schedules the short suite runs: 30, fewer for a second codec of the same sink
    partial    the answer for some dead (index -> words), some to be sent again; None: the protocol has no such answer
Put it into CODECS; tests/sinks/test_http_contract.py does the rest.
"""
from __future__ import annotations

import base64
import json

import orjson

from tests.support.bad_http import Reply, Seen
from tests.support.discovery import wrong_shape


class HttpNdjson:
    type = "http"
    schedules = 30
    keys = "url: '{url}/ingest'"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/ingest", seen.path
        assert seen.headers["content-type"] == "application/x-ndjson"
        assert len(seen.headers["idempotency-key"]) == 32
        lines = seen.body.split(b"\n")
        assert lines.pop() == b"", "no newline at the end"
        for line in lines:
            assert {"time", "message", "id"} <= orjson.loads(line).keys(), line
        return lines

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(200, b"ok")

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply | None:
        return None


class HttpJsonGzip(HttpNdjson):
    schedules = 8
    keys = "url: '{url}/ingest', format: json, compression: gzip"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.headers["content-encoding"] == "gzip" and seen.headers["content-type"] == "application/json"
        return [orjson.dumps(record) for record in orjson.loads(seen.body)]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(202)


class HttpRawZstd(HttpNdjson):
    schedules = 8
    keys = "url: '{url}/ingest', format: raw, compression: zstd"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.headers["content-encoding"] == "zstd" and seen.headers["content-type"].startswith("text/plain")
        return seen.body.split(b"\n")[:-1]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(204)


class Elasticsearch:
    """The grammar of `_bulk`, and its answer per item; `create` with a known _id is 409."""

    type = "elasticsearch"
    keys = "url: '{url}/es', index: 'logs-{namespace}'"

    def __init__(self) -> None:
        self.have: set[str] = set()

    def records(self, seen: Seen) -> list[bytes]:
        path, _, query = seen.path.partition("?")
        assert seen.method == "POST" and path == "/es/_bulk" and query.startswith("filter_path=errors,"), seen.path
        assert seen.headers["content-type"] == "application/x-ndjson"
        lines = seen.body.split(b"\n")
        assert lines.pop() == b"", "the body does not end with a newline, which the server refuses"
        assert lines and len(lines) % 2 == 0, "an action without its document"
        self.ids = []
        for action, document in zip(lines[::2], lines[1::2]):
            what = orjson.loads(action)
            assert what.keys() == {"create"} and what["create"].keys() == {"_index", "_id"}, action
            assert what["create"]["_index"] == "logs-default" and len(what["create"]["_id"].encode()) <= 512
            found = orjson.loads(document)
            assert {"@timestamp", "message", "id"} <= found.keys() and found["id"] == what["create"]["_id"], document
            self.ids.append(what["create"]["_id"])
        return lines[1::2]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return self.partial(seen, records, {}, set())

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply:
        items = [{"create": self._result(i, dead, i in retry)} for i in range(len(records))]
        errors = any(item["create"]["status"] >= 300 for item in items)
        return Reply(200, orjson.dumps({"errors": errors, "items": items}))

    def _result(self, index: int, dead: dict[int, str], retry: bool) -> dict[str, object]:
        if index in dead:
            return {"status": 400, "error": {"type": "document_parsing_exception", "reason": dead[index]}}
        if retry:
            return {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue capacity"}}
        if self.ids[index] in self.have:
            return {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "already exists"}}
        self.have.add(self.ids[index])
        return {"status": 201}


class Loki:
    """The push API. What Loki refuses of a push it tells in text without an index, and stores the rest."""

    type = "loki"
    keys = "url: '{url}', labels: {namespace: '{namespace}', container: '{container}'}, tenant: team-a"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/loki/api/v1/push", seen.path
        assert seen.headers["content-type"] == "application/json" and seen.headers["x-scope-orgid"] == "team-a"
        body = orjson.loads(seen.body)
        assert body.keys() == {"streams"} and body["streams"]
        entries = []
        for stream in body["streams"]:
            assert stream.keys() == {"stream", "values"} and stream["values"], stream.keys()
            assert stream["stream"] == {"namespace": "default", "container": "app"}
            for ns, line, metadata in stream["values"]:
                assert isinstance(ns, str) and ns.isdigit() and len(ns) == 19 and isinstance(line, str)
                assert all(isinstance(value, str) for value in metadata.values()) and ":" in metadata["id"]
                assert len(metadata) <= 128
                entries.append(orjson.dumps([ns, line, metadata]))
        return entries

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(204)

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply:
        if dead:
            words = f"stream refused: {next(iter(dead.values()))}, total ignored: {len(dead)} out of {len(records)}"
            return Reply(400, words.encode())
        return Reply(429, b"Per stream rate limit exceeded, total ignored: %d out of %d" % (len(retry), len(records)))


class Otlp:
    """Small requests are parsed by the official messages. A refusal has no index."""

    type = "otlp_http"
    keys = "url: '{url}'"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/v1/logs" and seen.headers["content-type"] == "application/json"
        body = orjson.loads(seen.body)
        found = [r for rl in body["resourceLogs"] for sl in rl["scopeLogs"] for r in sl["logRecords"]]
        if len(found) <= 20:
            assert parse_otlp(seen.body) == len(found)
        return [orjson.dumps(one) for one in found]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(200, b"{}")

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply:
        if dead:
            said = {"rejectedLogRecords": str(len(dead)), "errorMessage": next(iter(dead.values()))}
            return Reply(200, orjson.dumps({"partialSuccess": said}))
        return Reply(503)


def parse_otlp(body: bytes) -> int:
    """The number of records; fails for what is not the official message."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    message = json_format.Parse(body, ExportLogsServiceRequest(), ignore_unknown_fields=False)
    return sum(len(scope.log_records) for resource in message.resource_logs for scope in resource.scope_logs)


class Datadog:
    type = "datadog"
    keys = "url: '{url}', api_key: dd-secret-key"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/api/v2/logs" and seen.headers["content-type"] == "application/json"
        assert seen.headers["dd-api-key"] == "dd-secret-key" and len(seen.body) <= 5_000_000
        logs = orjson.loads(seen.body)
        assert isinstance(logs, list) and 1 <= len(logs) <= 1000
        for log in logs:
            assert {"timestamp", "message", "id", "hostname", "service", "ddsource", "ddtags"} <= log.keys(), log
            assert isinstance(log["timestamp"], int)
        return [orjson.dumps(log) for log in logs]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(202, b"{}")

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply | None:
        return None


class Splunk:
    """The event endpoint: the first event that it does not like is named, and nothing of the request is taken."""

    type = "splunk_hec"
    keys = "url: '{url}', token: splunk-secret, index: main"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/services/collector/event", seen.path
        assert seen.headers["authorization"] == "Splunk splunk-secret"
        events, text, at, decoder = [], seen.body.decode(), 0, json.JSONDecoder()
        while at < len(text):
            event, at = decoder.raw_decode(text, at)
            at += len(text[at:]) - len(text[at:].lstrip()) if text[at:at + 1] != "\n" else 1
            assert event.keys() <= {"time", "event", "fields", "host", "source", "sourcetype", "index"}, event.keys()
            assert event["event"] and isinstance(event["time"], float) and event["index"] == "main"
            assert all(isinstance(value, str) for value in event["fields"].values()) and ":" in event["fields"]["id"]
            events.append(orjson.dumps(event))
        assert events, "no data"
        return events

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(200, b'{"text":"Success","code":0}')

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply | None:
        return None


class CloudLogging:
    """entries:write with partialSuccess. Small requests are held against the discovery document."""

    type = "cloud_logging"
    schedules = 15
    keys = "endpoint: '{url}', project: p1, cluster_name: c1, location: l1, anonymous: true"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/v2/entries:write", seen.path
        assert seen.headers["content-type"] == "application/json" and len(seen.body) <= 10_000_000
        body = orjson.loads(seen.body)
        assert body.keys() == {"partialSuccess", "entries"} and body["partialSuccess"] is True and body["entries"]
        if len(body["entries"]) <= 20:
            assert wrong_shape("logging.v2", "WriteLogEntriesRequest", body) == []
        for entry in body["entries"]:
            assert entry["logName"] == "projects/p1/logs/stdout" and entry["resource"]["type"] == "k8s_container"
            assert len(entry["insertId"]) < 512 and ("textPayload" in entry) != ("jsonPayload" in entry)
            assert len(orjson.dumps(entry)) <= 256 * 1024 and len(entry.get("labels", {})) <= 64
        return [orjson.dumps(entry) for entry in body["entries"]]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(200, b"{}")

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply:
        errors = {str(i): {"code": 3, "message": words} for i, words in dead.items()}
        errors |= {str(i): {"code": 14, "message": "try again"} for i in retry}
        kind = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"
        first = next(iter(errors.values()))
        error = {**first, "status": "X", "details": [{"@type": kind, "logEntryErrors": errors}]}
        return Reply(400 if first["code"] == 3 else 503, orjson.dumps({"error": error}))


class Pubsub:
    """publish takes all or nothing, and messages of one ordering key alone. Small requests are held against the discovery
    document."""

    type = "pubsub"
    schedules = 10
    grain = (3, 4)
    ordered_by_pod = True
    keys = "endpoint: '{url}', topic: logs, project: p1, anonymous: true, ordering_key: '{pod}'"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST" and seen.path == "/v1/projects/p1/topics/logs:publish", seen.path
        assert seen.headers["content-type"] == "application/json" and len(seen.body) <= 10_000_000
        body = orjson.loads(seen.body)
        assert body.keys() == {"messages"} and 1 <= len(body["messages"]) <= 1000
        assert len({message["orderingKey"] for message in body["messages"]}) == 1, "messages of several ordering keys"
        if len(body["messages"]) <= 20:
            assert wrong_shape("pubsub.v1", "PublishRequest", body) == []
        found = []
        for message in body["messages"]:
            assert message.keys() == {"data", "attributes", "orderingKey"}, message.keys()
            assert all(0 < len(value.encode()) <= 1024 for value in message["attributes"].values())
            found.append(base64.b64decode(message["data"], validate=True))
            assert orjson.loads(found[-1])["id"] == message["attributes"]["id"]
        return found

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(200, orjson.dumps({"messageIds": [str(i) for i in range(len(records))]}))

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply | None:
        return None


class BigqueryInsertAll:
    """insertAll: valid rows are taken, the others are named."""

    type = "bigquery"
    schedules = 15
    keys = "endpoint: '{url}', dataset: logs, table: all, project: p1, anonymous: true, method: insert_all"

    def records(self, seen: Seen) -> list[bytes]:
        assert seen.method == "POST", seen.method
        assert seen.path == "/bigquery/v2/projects/p1/datasets/logs/tables/all/insertAll", seen.path
        assert seen.headers["content-type"] == "application/json" and len(seen.body) <= 10_000_000
        body = orjson.loads(seen.body)
        assert body.keys() == {"skipInvalidRows", "rows"} and 1 <= len(body["rows"]) <= 500
        if len(body["rows"]) <= 20:
            assert wrong_shape("bigquery.v2", "TableDataInsertAllRequest", body) == []
        for row in body["rows"]:
            assert row.keys() == {"insertId", "json"} and len(row["insertId"]) <= 128
            assert row["insertId"] == row["json"]["id"]
        return [orjson.dumps(row) for row in body["rows"]]

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        return Reply(200, b'{"kind":"bigquery#tableDataInsertAllResponse"}')

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply:
        named = [(i, "invalid", words) for i, words in dead.items()] + [(i, "stopped", "") for i in retry]
        errors = [{"index": i, "errors": [{"reason": reason, "location": "x", "message": words}]} for i, reason, words in named]
        return Reply(200, orjson.dumps({"insertErrors": errors}))


CODECS = [
    CloudLogging, Pubsub, BigqueryInsertAll, HttpNdjson, HttpJsonGzip, HttpRawZstd, Elasticsearch, Loki, Otlp, Datadog, Splunk]
