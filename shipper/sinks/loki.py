"""Loki's push API, in JSON, with structured metadata. See docs/sinks/loki.md.

Invariants (tests/sinks/test_loki.py):
  LK1  a record is delivered when a request with it was answered 2xx. A 400 tells what was refused, never what was taken: all
       that it does not name goes again, as the same entries, which Loki tells from new ones
  LK2  labels come from the source alone and are few; what changes from record to record is structured metadata
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import msgspec

from ..config.units import Bytes
from ..encode.loki import FRAME, LokiEncoder
from ..encode.template import compile_template, lasting_problems
from ..errors import Rejected, TooLarge
from ..model import Batch, Request
from . import Guarantee, SinkContext, SinkSpec
from ._http_config import HttpConfig, Problems, problems, warnings
from ._http_key import base_url
from ._http_parts import PartsSink
from ._http_status import Answer, shorten
from ._loki_answer import named

KIB, MIB = 1024, 1024 * 1024
MAX_LABELS = 10                     # Loki takes 15, and finds some of its own
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MANY = re.compile(r"\{(?:pod_uid|container_id|restart|annotations\.[^}]*)[|}]")
_LABELS = {"job": "shipper", "node": "{node}", "namespace": "{namespace}", "container": "{container}"}


class LokiConfig(HttpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/loki.md. max_line, max_body: the server's limits_config.max_line_size and grpc_server_max_recv_msg_size."""

    labels: dict[str, str] = msgspec.field(default_factory=_LABELS.copy)
    tenant: str | None = None
    line: Literal["message", "json"] = "message"
    structured_metadata: bool = True
    max_line: Bytes = Bytes(256 * KIB)
    max_body: Bytes = Bytes(4 * MIB)


class LokiSink(PartsSink):
    """LK1, LK2."""

    content_type = "application/json"
    page_is_no_answer: ClassVar[bool] = True
    frame = FRAME

    def __init__(self, config: LokiConfig, context: SinkContext) -> None:
        super().__init__(config, context)
        self._encoder = LokiEncoder(
            {name: compile_template(text) for name, text in config.labels.items()},
            metadata=config.structured_metadata, whole_line=config.line == "json")
        self._url = base_url(config.url, "/loki/api/v1/push")
        self._headers = {"X-Scope-OrgID": config.tenant} if config.tenant else {}
        self._max_line_bytes, self.max_body_bytes = config.max_line, config.max_body
        self.limit_words = f"a line of more than {config.max_line} bytes (max_line), or fields of more than 56 KiB"

    @property
    def url(self) -> str:
        return self._url

    def part(self, batch: Batch) -> list[bytes]:
        return self._encoder.part(batch)

    def too_long(self, batch: Batch) -> list[int]:
        return self._encoder.too_long([batch], self._max_line_bytes)

    def body_headers(self, batches: Sequence[Batch]) -> Mapping[str, str]:
        return self._headers

    def read_answer(self, answer: Answer, request: Request) -> None:
        text = answer.body.decode("utf-8", "replace")
        if answer.status >= 500 and "larger than max" in text and request.records > 1:
            raise TooLarge(f"{self.what} answered {answer.status}: {shorten(text)}")
        try:
            self.raise_for_status(answer)
        except Rejected as error:
            indexes = named(text, request.batches, self._encoder) if answer.status == 400 else []
            if not indexes:
                raise
            raise Rejected(str(error), indexes=tuple(indexes)) from error                                       # LK1


def _problems(config: LokiConfig) -> Problems:
    found = problems(config)
    for name in config.labels:
        if not _NAME.fullmatch(name) or name.startswith("__"):
            found.append((f"labels.{name}", "is not the name of a label; use letters, digits and _, no digit first"))
    found += lasting_problems({f"labels.{name}": text for name, text in config.labels.items()}, "stream")
    if not 1 <= len(config.labels) <= MAX_LABELS:
        found.append(("labels", f"has {len(config.labels)} labels; give 1 to {MAX_LABELS}, the rest is structured metadata"))
    if config.tenant is not None and not (config.tenant.isascii() and config.tenant.isprintable() and config.tenant):
        found.append(("tenant", "is empty, or cannot stand in a header; use letters, digits, - and _"))
    for name in ("max_line", "max_body"):
        if getattr(config, name) < 1024:
            found.append((name, "leaves no room for a record; use 1KiB or more"))
    return found


def _warnings(config: LokiConfig) -> Problems:
    found = warnings(config)
    for name, text in config.labels.items():
        if _MANY.search(text):
            found.append((f"labels.{name}", f"{text} makes a stream for each pod or restart, which Loki bears badly; "
                          "leave it out: it is structured metadata already"))
    if not config.structured_metadata and config.line == "message":
        found.append(("structured_metadata", "false, with line: message: records carry no id; use line: json"))
    return found


def _guarantee(config: LokiConfig) -> Guarantee:
    carried = "with equal `id`" if config.structured_metadata or config.line == "json" else "without an id (line: json has one)"
    return Guarantee(
        delivered_means="Loki answered 2xx to a request with the record",
        can_repeat="after an answer that was lost; Loki drops a repeat (same stream, time and line) while it has the chunk in "
        f"memory, else both are there, {carried}",
        can_lose="what Loki does not keep behind its 2xx (it answers from memory and its log); lines older than it accepts "
        "(reject_old_samples_max_age, 7 days; an hour behind their stream) are dead letters",
    )


SINK = SinkSpec(
    summary="Loki: few labels, the rest as structured metadata, the id among it.",
    config=LokiConfig,
    build=LokiSink,
    check=_problems,
    warn=_warnings,
    guarantee=_guarantee,
    request_bytes=1 * MIB,
    request_records=5_000,              # 300 bytes beside each line: a full request of short lines stays under max_body
)
