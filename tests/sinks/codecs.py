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

import orjson

from tests.support.bad_http import Reply, Seen


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


CODECS = [HttpNdjson, HttpJsonGzip, HttpRawZstd]
