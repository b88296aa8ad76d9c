"""Datadog's logs intake, v2. See docs/sinks/datadog.md.

Invariants (tests/sinks/test_datadog.py):
  DA1  no array has more than 1,000 logs or 5 MB, no log more than 1 MB (the intake would cut it): all after encoding
  DA2  a record is delivered when a request with it was answered 2xx, and not with an HTML page; none is answered singly
"""
from __future__ import annotations

from typing import ClassVar

import msgspec

from ..config.units import Bytes
from ..encode.datadog import FRAME, DatadogEncoder
from ..encode.template import compile_template, lasting_problems
from ..model import Batch
from . import Guarantee, SinkContext, SinkSpec
from ._http_config import HttpConfig, Problems, problems, warnings
from ._http_key import base_url, credentials, key_problems, key_warnings
from ._http_parts import PartsSink

MAX_LOGS = 1000
MAX_BODY_BYTES = 5_000_000
MAX_LOG_BYTES = 1_000_000


class DatadogConfig(HttpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/datadog.md. max_log: a longer record is a dead letter; at most the intake's own limit."""

    api_key: str | None = None
    api_key_file: str | None = None
    service: str = "{container|host}"
    source: str = "{container|host}"
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    merge: bool = False
    max_log: Bytes = Bytes(MAX_LOG_BYTES)


class DatadogSink(PartsSink):
    """DA1, DA2."""

    content_type = "application/json"
    looks_at_batches: ClassVar[bool] = False
    page_is_no_answer: ClassVar[bool] = True
    frame = FRAME
    max_body_bytes = MAX_BODY_BYTES
    max_records = MAX_LOGS

    def __init__(self, config: DatadogConfig, context: SinkContext) -> None:
        super().__init__(config, context, credentials(
            config.auth, context.telemetry, "DD-API-KEY", "", config.api_key, config.api_key_file))
        tags = {name: compile_template(text) for name, text in config.tags.items()}
        self._encoder = DatadogEncoder(compile_template(config.service), compile_template(config.source), tags, config.merge)
        self._url, self._max_log_bytes = base_url(config.url, "/api/v2/logs"), config.max_log
        self.limit_words = f"a log of more than {config.max_log} bytes (max_log)"

    @property
    def url(self) -> str:
        return self._url

    def part(self, batch: Batch) -> list[bytes]:
        return self._encoder.part(batch)

    def too_long(self, batch: Batch) -> list[int]:
        return self._encoder.too_long([batch], self._max_log_bytes)


def _problems(config: DatadogConfig) -> Problems:
    found = problems(config) + key_problems(config, "api_key", needed=config.auth.header_name is None
                                            and "dd-api-key" not in map(str.lower, config.headers))
    templates = {f"tags.{name}": text for name, text in config.tags.items()}
    templates |= {"service": config.service, "source": config.source}
    found += lasting_problems(templates)
    if not 1024 <= config.max_log <= MAX_LOG_BYTES:
        found.append(("max_log", f"must be from 1KiB to {MAX_LOG_BYTES} bytes, where the intake cuts"))
    return found


def _guarantee(config: DatadogConfig) -> Guarantee:
    return Guarantee(
        delivered_means="the intake answered 2xx (202) to a request with the record",
        can_repeat="after an answer that was lost; equal `id` means equal content",
        can_lose="what the intake drops behind its 202 (a log older than 18 hours, one that an exclusion filter takes)",
    )


SINK = SinkSpec(
    summary="Datadog's logs intake (v2).",
    config=DatadogConfig,
    build=DatadogSink,
    check=_problems,
    warn=lambda config: warnings(config) + key_warnings(config, "api_key"),
    guarantee=_guarantee,
    request_bytes=1024 * 1024,
    request_records=MAX_LOGS,
)
