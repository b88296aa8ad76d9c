"""Elasticsearch and OpenSearch: `_bulk` with `create` and the record id as `_id`. See docs/sinks/elasticsearch.md.

Invariants (tests/sinks/test_elasticsearch.py):
  EL1  a record is delivered when its own item says 2xx, or 409: it is there already, under an id that only it has
  EL2  an answer whose items do not number the request's records proves nothing: all goes again, and is 409 where it was taken
  EL3  what is wrong with the cluster or the config (429, 5xx, 401, 403, 404: no such index) is never a record's fault
  EL4  what the server quotes of a record stands in its dead letter, not in a message for log and status
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

from ..config.units import Bytes
from ..encode import bulk
from ..encode.template import compile_template
from ..errors import Partial, Retryable, TooLarge
from ..model import Batch, Request
from . import Guarantee, SinkContext, SinkSpec
from ._http_config import HttpConfig, Problems, problems, warnings
from ._http_key import base_url, credentials, key_problems, key_warnings
from ._http_parts import PartsSink
from ._http_status import Answer, again, retry_after_s, shorten

MIB = 1024 * 1024
_PREVIEW = " Preview of field's value"
_FILTER = "filter_path=errors,error,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"


class ElasticsearchConfig(HttpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/elasticsearch.md. max_body: the server's http.max_content_length, before compression."""

    index: str = "logs-shipper-default"
    pipeline: str | None = None
    api_key: str | None = None
    api_key_file: str | None = None
    merge: bool = False
    max_body: Bytes = Bytes(100 * MIB)


class ElasticsearchSink(PartsSink):
    """EL1, EL2, EL3."""

    content_type = "application/x-ndjson"
    looks_at_batches = False
    needs_answer = True
    max_answer_bytes: ClassVar[int] = 8 * MIB

    def __init__(self, config: ElasticsearchConfig, context: SinkContext) -> None:
        super().__init__(config, context, credentials(
            config.auth, context.telemetry, "Authorization", "ApiKey ", config.api_key, config.api_key_file))
        self._index, self._merge = compile_template(config.index), config.merge
        self.max_body_bytes = config.max_body
        self._url = base_url(config.url, "/_bulk")
        parts = [_FILTER] if config.pipeline is None else [_FILTER, "pipeline=" + quote(config.pipeline, safe="")]
        self._url += ("&" if "?" in self._url else "?") + "&".join(parts)

    @property
    def url(self) -> str:
        return self._url

    def part(self, batch: Batch) -> list[bytes]:
        return bulk.pieces(batch, self._index, self._merge)

    def read_answer(self, answer: Answer, request: Request) -> None:
        self.raise_for_status(answer)
        if not answer.whole and request.records > 1:
            raise TooLarge(f"{self.what} answered more than {self.max_answer_bytes} bytes; fewer records are sent at once")
        said = answer.json()
        if not isinstance(said, dict) or not isinstance(said.get("errors"), bool):
            raise Retryable(f"{self.what} answered {answer.status}, and not as _bulk does: {answer.excerpt}; check url")
        results = [_result(item) for item in said.get("items") or ()]
        if len(results) != request.records:
            raise Retryable(f"{self.what} answered for {len(results)} records of {request.records}")            # EL2
        if said["errors"]:
            self._judge(results, retry_after_s(answer.headers, time.time()))

    def _judge(self, results: Sequence[Result], wait_s: float | None) -> None:
        dead: dict[int, str] = {}
        retry: list[int] = []
        for index, (status, words, _) in enumerate(results):
            if 200 <= status < 300 or status == 409:
                continue                                                                                        # EL1
            if again(status, self._config.retry_statuses, self._config.reject_statuses):
                retry.append(index)                                                                             # EL3
            else:
                dead[index] = f"{status}: {words}"
        if dead or retry:
            first = results[min(dead) if dead else retry[0]]
            message = f"{self.what}: {len(dead)} records refused, {len(retry)} put off; the first: {first.status}: {first.brief}"
            raise Partial(message, dead=dead, retry=retry, retry_after_s=wait_s)


class Result(NamedTuple):
    """Of one item. brief: its words without what they quote of the record (EL4)."""

    status: int
    words: str
    brief: str


def _result(item: Any) -> Result:
    """0 as the status where it is not understood, which is asked again."""
    found = next(iter(item.values()), None) if isinstance(item, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("status"), int):
        return Result(0, *["an item that is not understood"] * 2)
    error = found.get("error")
    if not isinstance(error, dict):
        return Result(found["status"], *[shorten(str(error or "no reason given"))] * 2)
    cause = error.get("caused_by")
    words = [str(word) for word in (error.get("type"), error.get("reason")) if word]
    brief = ": ".join(words).partition(_PREVIEW)[0]
    if isinstance(cause, dict) and cause.get("reason"):
        words.append(str(cause["reason"]))
    return Result(found["status"], shorten(": ".join(words)), shorten(brief))


def _problems(config: ElasticsearchConfig) -> Problems:
    found = problems(config) + key_problems(config, "api_key")
    try:
        index = compile_template(config.index)
        if not config.index or (index.static_prefix and index.static_prefix[0] in "-_+"):
            found.append(("index", "cannot begin so; write for example logs-{namespace}"))
        if any(c.isupper() or c in '\\/*?"<>| ,#:' for part in index.parts if isinstance(part, str) for c in part):
            found.append(("index", r'holds an upper-case letter, a blank or one of \ / * ? " < > | , # : which the server '
                          "refuses; write for example logs-{namespace}"))
    except ValueError as error:
        found.append(("index", str(error)))
    if config.max_body < 64 * 1024:
        found.append(("max_body", f"{config.max_body} bytes leave no room for records; use 64KiB or more"))
    return found


def _guarantee(config: ElasticsearchConfig) -> Guarantee:
    return Guarantee(
        delivered_means="the record's own item says 2xx, or 409: it was there already",
        can_repeat="nothing within one index, as _id is the record's id; a data stream that rolled over between a lost answer "
        "and its repeat holds both, with equal `id`",
        can_lose="nothing that the cluster keeps; records that it refuses are dead letters with its words",
    )


SINK = SinkSpec(
    summary="Elasticsearch and OpenSearch: _bulk with create and own ids, into indexes or data streams.",
    config=ElasticsearchConfig,
    build=ElasticsearchSink,
    check=_problems,
    warn=lambda config: warnings(config) + key_warnings(config, "api_key"),
    guarantee=_guarantee,
    request_bytes=2 * MIB,
    request_records=5_000,
)
