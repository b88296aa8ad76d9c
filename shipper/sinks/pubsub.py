"""Google Cloud Pub/Sub: publish to one topic. See docs/sinks/pubsub.md.

Invariants (tests/sinks/test_pubsub.py):
  PS1  no request has more than 1,000 messages or 10 MB, counted after base64, with attributes and all
  PS2  a record is delivered when the answer has an id for each message of its request: publish takes all or nothing
  PS3  with `ordering_key` a request has messages of one key alone (Pub/Sub refuses any other), and those of one key leave one
       request after the other; what was taken for some keys is not sent again because of others
"""
from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from ..encode.pubsub import FRAME, OWN_NAMES, PubsubEncoder
from ..encode.template import compile_template, lasting_problems
from ..errors import Partial, Retryable, ShipperError
from ..model import Batch, Request
from . import Guarantee, SinkContext, SinkSpec
from ._gcp_auth import credentials
from ._gcp_config import GcpConfig, endpoint, http_config
from ._gcp_config import problems as gcp_problems
from ._gcp_config import warnings as gcp_warnings
from ._gcp_identity import Identity
from ._http_body import Body
from ._http_config import Problems
from ._http_parts import PartsSink
from ._http_status import Answer

MAX_MESSAGES = 1000
MAX_BODY_BYTES = 10_000_000
MAX_ATTRIBUTES = 100
KEYS_AT_ONCE = 8
_TOPIC = re.compile(r"(?:projects/(?P<project>[a-z0-9.:-]+)/topics/)?(?P<topic>[A-Za-z][A-Za-z0-9._~%+-]{2,254})")


class PubsubConfig(GcpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/pubsub.md.

    topic         its name, or projects/P/topics/T
    ordering_key  template; messages of one key come in order to subscriptions that ask for it
    attributes    name -> template, beside id, source and time
    """

    topic: str
    ordering_key: str | None = None
    attributes: dict[str, str] = msgspec.field(default_factory=dict)
    merge: bool = False


class PubsubSink(PartsSink):
    """PS1, PS2."""

    content_type = "application/json"
    frame = FRAME
    max_body_bytes = MAX_BODY_BYTES
    max_records = MAX_MESSAGES
    looks_at_batches = False
    needs_answer = True

    def __init__(self, config: PubsubConfig, context: SinkContext) -> None:
        self.credentials = credentials(config, "pubsub", context.telemetry)
        super().__init__(http_config(config, "pubsub"), context, self.credentials)
        found = _TOPIC.fullmatch(config.topic)
        assert found is not None, "checked"
        self._identity, self._topic = Identity(config), found["topic"]
        self._endpoint, self._project = endpoint(config, "pubsub"), found["project"] or config.project or ""
        attributes = {name: compile_template(text) for name, text in config.attributes.items()}
        key = None if config.ordering_key is None else compile_template(config.ordering_key)
        self._encoder = PubsubEncoder(attributes, key, config.merge)

    async def start(self, state: Any) -> None:
        """Which project. Retryable where it cannot be known."""
        self._project = self._project or await self._identity.project()

    @property
    def url(self) -> str:
        return f"{self._endpoint}/v1/projects/{self._project}/topics/{self._topic.replace('%', '%25')}:publish"

    def part(self, batch: Batch) -> list[bytes]:
        return self._encoder.part(batch)

    def read_answer(self, answer: Answer, request: Request) -> None:
        self.raise_for_status(answer)
        said = answer.json()
        ids = said.get("messageIds") if isinstance(said, dict) else None
        if not answer.whole or not isinstance(ids, list):
            raise Retryable(f"{self.what} answered {answer.status}, and not as publish does: {answer.excerpt}; check endpoint")
        if len(ids) != request.records:
            raise Retryable(f"{self.what} answered with {len(ids)} ids for {request.records} messages")              # PS2

    async def close(self) -> None:
        await self.credentials.close()
        await super().close()


@dataclass(slots=True)
class _OfOneKey:
    """The part of a request that is one publish. rows: the indexes of its records in the request."""

    batches: list[Batch] = field(default_factory=list, compare=False)
    rows: list[int] = field(default_factory=list)
    body: Body = field(default_factory=lambda: Body([]))


@dataclass(slots=True)
class _ByKey:
    parts: list[_OfOneKey]
    size_bytes: int


class OrderedPubsubSink(PubsubSink):
    """PS3. Keys are published beside each other."""

    encode_one = None       # type: ignore[assignment] # what a batch gives cannot be put together without its key

    def encode(self, batches: Sequence[Batch]) -> Body:
        found: dict[bytes, _OfOneKey] = {}
        first = 0
        for batch in batches:
            part = found.setdefault(self._encoder.ordering_key(batch.source), _OfOneKey())
            part.batches.append(batch)
            part.rows += range(first, first + len(batch))
            first += len(batch)
        for part in found.values():
            part.body = self.body(self.pieces(part.batches), {}, len(part.rows))
        made = _ByKey(list(found.values()), sum(part.body.size_bytes for part in found.values()))
        return cast(Body, made)             # only `send` looks into it

    async def send(self, request: Request, payload: Body) -> None:
        """Partial where some keys were taken, and others have to come again."""
        parts, places = cast(_ByKey, payload).parts, asyncio.Semaphore(KEYS_AT_ONCE)

        async def publish(part: _OfOneKey) -> None:
            async with places:
                await super(OrderedPubsubSink, self).send(Request(request.number, part.batches), part.body)

        said = await asyncio.gather(*map(publish, parts), return_exceptions=True)
        errors = [error for error in said if isinstance(error, BaseException)]
        if not errors:
            return
        if len(errors) == len(parts) or not all(isinstance(error, ShipperError) for error in errors):
            raise errors[0]
        again = sorted(row for part, error in zip(parts, said) if error is not None for row in part.rows)
        wait_s = max(getattr(error, "retry_after_s", None) or 0.0 for error in errors)
        raise Partial(f"{errors[0]} ({len(errors)} of {len(parts)} ordering keys)", retry=again, retry_after_s=wait_s or None)


def _build(config: PubsubConfig, context: SinkContext) -> PubsubSink:
    return (PubsubSink if config.ordering_key is None else OrderedPubsubSink)(config, context)


def _problems(config: PubsubConfig) -> Problems:
    found = gcp_problems(config, "pubsub")
    topic = _TOPIC.fullmatch(config.topic)
    if topic is None or topic["topic"].lower().startswith("goog"):
        found.append(("topic", f"{config.topic!r} is not the name of a topic; write for example logs, or projects/P/topics/logs"))
    elif topic["project"] and config.project and topic["project"] != config.project:
        found.append(("topic", f"is in {topic['project']}, and project says {config.project}; keep one of them"))
    templates = {f"attributes.{name}": text for name, text in config.attributes.items()}
    if config.ordering_key is not None:
        templates["ordering_key"] = config.ordering_key
    found += lasting_problems(templates)
    for name in config.attributes:
        if name in OWN_NAMES or name.startswith("goog") or not name or len(name.encode()) > 256:
            found.append((f"attributes.{name}", "cannot be used (ours, goog..., or over 256 bytes); choose another name"))
    if len(config.attributes) > MAX_ATTRIBUTES - len(OWN_NAMES):
        found.append(("attributes", f"Pub/Sub takes {MAX_ATTRIBUTES} with our three; leave some out"))
    return found


def _guarantee(config: PubsubConfig) -> Guarantee:
    return Guarantee(
        delivered_means="Pub/Sub answered 200 with an id for each message of the request",
        can_repeat="after an answer that was lost; equal attribute `id` means equal content",
        can_lose="what no subscription takes: a topic without one keeps nothing",
    )


SINK = SinkSpec(
    summary="Google Cloud Pub/Sub (publish).",
    config=PubsubConfig,
    build=_build,
    check=_problems,
    warn=lambda config: gcp_warnings(config, "pubsub"),
    guarantee=_guarantee,
    request_bytes=1024 * 1024,
    request_records=MAX_MESSAGES,
    keeps_order=lambda config: config.ordering_key is not None,
)
