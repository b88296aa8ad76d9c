"""Google Cloud Logging: entries:write, with an answer per entry. See docs/sinks/cloud_logging.md.

Invariants (tests/sinks/test_cloud_logging.py):
  CO1  no request has more than 10 MB, no entry more than 256 KiB: what is longer is a dead letter, never cut here
  CO2  an entry that the answer names with a code that is its own fault is a dead letter, one with any other code goes again; the
       rest was written
  CO3  what is wrong with project, rights or quota (403, 404, 429, 5xx) is never a record's fault
"""
from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from ..config.units import Bytes
from ..encode.cloud_logging import FRAME, CloudLoggingEncoder, Place
from ..encode.template import compile_template, lasting_problems
from ..errors import Partial, Retryable, TooLarge
from ..model import Batch, Request
from . import Guarantee, SinkContext, SinkSpec
from ._gcp_auth import credentials
from ._gcp_config import GcpConfig, endpoint, http_config
from ._gcp_config import problems as gcp_problems
from ._gcp_config import warnings as gcp_warnings
from ._gcp_identity import Identity
from ._http_config import Problems
from ._http_parts import PartsSink
from ._http_status import Answer, retry_after_s, shorten

MAX_BODY_BYTES = 10_000_000
MAX_ENTRY_BYTES = 256 * 1024
_OWN_FAULT = frozenset((3, 6, 9, 11, 12))
"""google.rpc.Code: INVALID_ARGUMENT, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED."""
_PARTIAL = "google.logging.v2.WriteLogEntriesPartialErrors"


class CloudLoggingConfig(GcpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/cloud_logging.md.

    log_name    template of the log's id; None: stdout or stderr, else the source's name
    labels      on each entry, each value a template
    kubernetes  False: no resource of a cluster, whatever the metadata server says
    max_entry   a longer one is a dead letter; at most the API's own limit
    """

    log_name: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    kubernetes: bool = True
    max_entry: Bytes = Bytes(MAX_ENTRY_BYTES)
    compression: Literal["none", "gzip"] = "none"


class CloudLoggingSink(PartsSink):
    """CO1, CO2, CO3."""

    content_type = "application/json"
    frame = FRAME
    max_body_bytes = MAX_BODY_BYTES
    looks_at_batches = False
    needs_answer = True
    max_answer_bytes: ClassVar[int] = 4 * 1024 * 1024

    def __init__(self, config: CloudLoggingConfig, context: SinkContext) -> None:
        self.credentials = credentials(config, "logging", context.telemetry)
        http = msgspec.structs.replace(http_config(config, "logging"), compression=config.compression)
        super().__init__(http, context, self.credentials)
        self._gcp, self._identity = config, Identity(config)
        cluster = config.cluster_name if config.kubernetes else None
        place = Place(config.project or "", cluster or "", config.location or "", config.instance_id or "")
        log_name = None if config.log_name is None else compile_template(config.log_name)
        templates = {name: compile_template(text) for name, text in config.labels.items()}
        self._encoder = CloudLoggingEncoder(place, log_name, templates)
        self._url = endpoint(config, "logging") + "/v2/entries:write"
        self.limit_words = f"an entry of more than {config.max_entry} bytes (max_entry)"

    async def start(self, state: Any) -> None:
        """Who we are. Retryable where it cannot be known."""
        who = self._identity
        project = await who.project()
        cluster = await who.cluster_name() if self._gcp.kubernetes else ""
        location = await who.location()
        instance = "" if cluster else await who.instance_id()
        zone = (self._gcp.location or await who.zone() or location) if instance else ""
        self._encoder.place = Place(project, cluster, location, instance, zone)

    @property
    def url(self) -> str:
        return self._url

    def part(self, batch: Batch) -> list[bytes]:
        return self._encoder.part(batch)

    def too_long(self, batch: Batch) -> list[int]:
        return self._encoder.too_long(batch, self._gcp.max_entry)

    def read_answer(self, answer: Answer, request: Request) -> None:
        said = answer.json()
        errors = _entry_errors(said)
        if errors is not None:
            self._judge(errors, answer, request)
        self.raise_for_status(answer)
        if not isinstance(said, dict) or not answer.whole:
            raise Retryable(
                f"{self.what} answered {answer.status}, and not as entries:write does: {answer.excerpt}; check endpoint")

    def _judge(self, errors: dict[str, Any], answer: Answer, request: Request) -> None:
        """CO2. An answer that names nothing that can be found in the request proves nothing."""
        if not answer.whole and request.records > 1:
            raise TooLarge(f"{self.what} answered more than {self.max_answer_bytes} bytes; fewer entries are sent at once")
        found = {int(key): value for key, value in errors.items() if key.isascii() and key.isdigit() and len(key) < 8}
        if len(found) != len(errors) or not found or max(found) >= request.records:
            raise Retryable(f"{self.what} answered {answer.status} with errors of entries that were not in the request")
        dead, retry = {}, []
        for index, error in sorted(found.items()):
            code, words = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
            if code in _OWN_FAULT:
                dead[index] = f"code {code}: {shorten(str(words or 'no reason given'))}"
            else:
                retry.append(index)
        first = dead[min(dead)] if dead else shorten(str(found[retry[0]]))
        message = f"{self.what}: {len(dead)} entries refused, {len(retry)} put off; the first: {first}"
        wait_s = retry_after_s(answer.headers, 0.0) if "Retry-After" in answer.headers else None
        raise Partial(message, dead=dead, retry=retry, retry_after_s=wait_s)

    async def close(self) -> None:
        await self.credentials.close()
        await super().close()


def _entry_errors(said: Any) -> dict[str, Any] | None:
    """logEntryErrors of an answer; None where it has none: then nothing of the request was written, or all of it."""
    error = said.get("error") if isinstance(said, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict) and str(one.get("@type", "")).endswith(_PARTIAL) and isinstance(one.get("logEntryErrors"), dict):
            return dict(one["logEntryErrors"])
    return None


def _problems(config: CloudLoggingConfig) -> Problems:
    found = gcp_problems(config, "logging")
    templates = {f"labels.{name}": text for name, text in config.labels.items()}
    if config.log_name is not None:
        templates["log_name"] = config.log_name
    found += lasting_problems(templates)
    if config.log_name == "":
        found.append(("log_name", "is empty; leave it out for stdout, stderr or the source's name"))
    if len(config.labels) > 32:
        found.append(("labels", f"{len(config.labels)} leave no room for the entry's own (64 in all); use 32 or fewer"))
    if not 1024 <= config.max_entry <= MAX_ENTRY_BYTES:
        found.append(("max_entry", "must be from 1KiB to 256KiB, where Cloud Logging refuses an entry"))
    return found


def _guarantee(config: CloudLoggingConfig) -> Guarantee:
    return Guarantee(
        delivered_means="Cloud Logging answered 200, or named other entries than the record's as not written",
        can_repeat="after an answer that was lost; queries show one of those with equal time and `insertId`, exports show both",
        can_lose="what an exclusion filter drops, and entries older than the log bucket's retention, both behind a 200",
    )


SINK = SinkSpec(
    summary="Google Cloud Logging (entries:write).",
    config=CloudLoggingConfig,
    build=CloudLoggingSink,
    check=_problems,
    warn=lambda config: gcp_warnings(config, "logging"),
    guarantee=_guarantee,
    request_bytes=1024 * 1024,
    request_records=5_000,
)
