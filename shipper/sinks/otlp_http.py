"""OTLP over HTTP, in JSON: `/v1/logs` of a collector or backend. See docs/sinks/otlp_http.md.

Invariants (tests/sinks/test_otlp_http.py):
  OT1  a record is delivered when a request with it was answered 2xx without a refusal. `rejectedLogRecords` says how many of
       a request were refused, never which: the request is halved until a record is refused alone, and that one is dead
  OT2  a 2xx whose body is neither empty nor JSON is no proof: it is what a proxy's login page looks like
"""
from __future__ import annotations

from typing import ClassVar

import msgspec

from ..config.units import Bytes
from ..encode.otlp import FRAME, OtlpEncoder
from ..encode.template import compile_template, lasting_problems
from ..errors import Rejected, Retryable, TooLarge
from ..model import Batch, Request
from . import Guarantee, SinkContext, SinkSpec
from ._http_config import HttpConfig, Problems, problems, warnings
from ._http_key import base_url
from ._http_parts import PartsSink
from ._http_status import Answer, shorten

MIB = 1024 * 1024


class OtlpHttpConfig(HttpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/otlp_http.md. max_body: the collector's max_request_body_size, before compression."""

    resource: dict[str, str] = msgspec.field(default_factory=lambda: {"service.name": "{container|host}"})
    max_body: Bytes = Bytes(20 * MIB)


class OtlpHttpSink(PartsSink):
    """OT1, OT2."""

    content_type = "application/json"
    frame = FRAME
    looks_at_batches: ClassVar[bool] = False
    needs_answer: ClassVar[bool] = True
    max_answer_bytes: ClassVar[int] = MIB

    def __init__(self, config: OtlpHttpConfig, context: SinkContext) -> None:
        super().__init__(config, context)
        self._encoder = OtlpEncoder({name: compile_template(text) for name, text in config.resource.items()})
        self._url = base_url(config.url, "/v1/logs")
        self._warned = ""
        self.max_body_bytes = config.max_body

    @property
    def url(self) -> str:
        return self._url

    def part(self, batch: Batch) -> list[bytes]:
        return self._encoder.part(batch)

    def read_answer(self, answer: Answer, request: Request) -> None:
        self.raise_for_status(answer)
        if not answer.whole and request.records > 1:        # an errorMessage that lists each record is longer than we read
            raise TooLarge(f"{self.what} answered more than {self.max_answer_bytes} bytes; fewer records are sent at once")
        if not answer.body.strip():
            return
        said = answer.json()
        if not isinstance(said, dict):
            raise Retryable(f"{self.what} answered {answer.status}, and not as OTLP does: {answer.excerpt}; check url")     # OT2
        partial = said.get("partialSuccess") or said.get("partial_success")
        if isinstance(partial, dict):
            self._judge(partial, request)

    def _judge(self, partial: dict[str, object], request: Request) -> None:
        count = str(partial.get("rejectedLogRecords", partial.get("rejected_log_records", 0)))
        words = shorten(str(partial.get("errorMessage") or partial.get("error_message") or ""))
        if count.isdigit() and not int(count):
            if words and words != self._warned:
                self._warned = words
                self._context.telemetry.say("warning", "far_side_warns", about=self._context.name, why=words)
            return
        said = f"{self.what} refused {shorten(count, 20)} of {request.records} records: {words or 'no reason given'}"
        raise Rejected(said)                                                                                    # OT1


def _problems(config: OtlpHttpConfig) -> Problems:
    found = problems(config)
    found += lasting_problems({f"resource.{name}": text for name, text in config.resource.items()}, "resource")
    if "" in config.resource:
        found.append(("resource", "an attribute has no name; give one such as service.name"))
    if config.max_body < 64 * 1024:
        found.append(("max_body", f"{config.max_body} bytes leave no room for records; use 64KiB or more"))
    return found


def _guarantee(config: OtlpHttpConfig) -> Guarantee:
    return Guarantee(
        delivered_means="the receiver answered 2xx, and said of no record in the request that it was refused",
        can_repeat="after an answer that was lost; and records beside one that is refused, because the answer does not say which "
        "it is (about twice each). Equal log.record.uid means equal content",
        can_lose="what the receiver does not store behind its 2xx (a collector without a persistent queue); records that it "
        "refuses are dead letters",
    )


SINK = SinkSpec(
    summary="OTLP over HTTP in JSON, for OpenTelemetry collectors and backends.",
    config=OtlpHttpConfig,
    build=OtlpHttpSink,
    check=_problems,
    warn=warnings,
    guarantee=_guarantee,
    request_bytes=1 * MIB,
)
