"""Sinks: one module each. The module name is the `type:` in YAML; there is no list to edit.

A sink module has one public constant, `SINK`, and is imported when a config names it. See stdout.py, the smallest.

Two ways to confirm (`SinkSpec.confirms`):
  "on_send"  when `send` returns, the request is delivered
  "later"    `send` returns when the request was handed over; the sink calls `context.confirmed(number)` once all
             requests up to `number` are proven delivered, and `context.resend(why)` when what is unconfirmed must be
             sent again (delivery then goes back to the cursor; the disk buffer holds the bytes, the sink holds none)

A sink may have a method `rewound(number: int) -> None`: delivery calls it when it goes back to its cursor, for whatever
reason. What was sent after request `number` will come again under new numbers, and states given for it are void.
And two methods `encode_one(batch) -> Any` and `assemble(pieces: Sequence[Any]) -> payload`, where the payload of many batches
can be made of what each alone gives (`encode(batches)` is then equal to assembling them): delivery encodes each batch as soon
as it is there, while its columns are in the processor's cache. What `encode_one` gives is never empty.
A sink that promises "exactly once" (confirms="later") fixes what it sends in a plan first: `context.plans`, see Plans.
A sink whose attribute `looks_at_batches` is False is given requests with `records` and no batches where delivery can read them
again. Where its payload has the attributes `once` and `spent`, delivery sets `once` there: the sink may then let go of bytes as
soon as they are sent, and sets `spent`, which says that the payload cannot be sent again; delivery then makes an equal one.
And a method `status() -> dict`: shown in /status as `proof`; numbers and words, no record content.

Invariants that every sink keeps (one shared contract test):
  S1  `encode` is pure: equal batches give equal bytes
  S2  `send` may be cancelled at any await; sending the same payload again is safe
  S3  a sink decides only the class of an error (errors.py), never waits and retries by itself
  S4  a request over the far side's limits is never sent: TooLarge before the first byte
"""
from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from ..errors import Usage
from ..model import Batch, Request
from ..telemetry import Telemetry


class Plans(Protocol):
    """For sinks that write down what they are about to send, before they send it, so that a crash changes nothing of it.

    1. `send` keeps the records in files of the sink's own (spool/<sink>/ below state_dir). A range ends where `settled(n)` is
       true, n being the last request in it: else a part of a span could be in it and the rest not.
    2. The files are fsynced; `await synced(n)`: the buffer has on disk what they were made of. Where either fails:
       context.resend(why), and `rewound` tells when to forget the range (a `flush` that waits for it has to end first).
    3. `fix(n)` gives a receipt (JSON). From now on delivery never forms these requests again.
    4. The manifest, with the receipt, is made durable (until that succeeds: persist), then the plan is carried out (persist).
    5. context.confirmed(n); after `durable(n)` the manifest may go, and then its files.
    After a crash `start` reads the manifests, oldest first, calls `resume(receipts)` as its last step, and goes on at 4.: for
    each plan it gets the number to confirm, 0 where the cursor is past it already. Files that no manifest names are scratch.
    Plans whose buffer_id is another are finished and not resumed: their positions mean nothing here.
    `drop_oldest` lets the cursor pass a plan before it is confirmed: `durable(n)` may come first; keep what is not carried out.
    """

    @property
    def buffer_id(self) -> str:
        """Hex, of this state directory's buffer. With the receipt's start and end ([frame, record]) it names a range for good."""

    @property
    def sent_bytes(self) -> int:
        """Source bytes up to the end of what was sent, not routed ones included: what a range keeps in the buffer is the
        difference."""

    def settled(self, number: int) -> bool:
        """Whether all spans up to request `number` are wholly handed over."""

    async def synced(self, number: int) -> None:
        """Return once all frames up to request `number` are on disk. ShipperError where some were taken back."""

    def fix(self, number: int) -> dict[str, Any]:
        """The receipt of everything from the last plan to request `number`; at once, and final."""

    def resume(self, receipts: Sequence[Mapping[str, Any]]) -> list[int]:
        """Only in `start`, as its last step."""

    async def bury(self, number: int, receipt: Mapping[str, Any], dead: Mapping[str, str]) -> dict[str, Any]:
        """Records of a plan that the far side will never take, by id, with its words: in the dead letters when it returns. The
        new receipt, for the manifest without them; number: what will be confirmed with the plan. Once per record and process."""

    async def persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Call `work` until it returns, with delivery's pauses between (S3); Retryable and Fatal show in the status. Raises
        ShipperError when the sink is being stopped, and Rejected, TooLarge, Partial as they come."""


@dataclass(slots=True)
class SinkContext:
    """What delivery lends to a sink.

    confirmed(number, state)  everything up to request `number` is delivered; `state` (JSON) is stored with the cursor
    resend(why)               drop what is unconfirmed and not planned, and send it again from the cursor
    buffer_bytes              buffer.max_size, which spools count against
    """

    name: str
    node: str
    state_dir: str
    telemetry: Telemetry
    confirmed: Callable[..., None] = lambda number, state=None: None
    resend: Callable[[Exception], None] = lambda why: None
    plans: Plans = field(default=None)  # type: ignore[assignment]
    buffer_bytes: int = 1024 * 1024 * 1024


class Sink(Protocol):
    """Where requests go. One loop drives it; with `concurrency` 1 one call at a time."""

    async def start(self, state: Any) -> None:
        """Called once, before the first send. `state`: what was stored with the durable cursor, or None."""

    def encode(self, batches: Sequence[Batch]) -> Any:
        """The payload for `send`, made once per request. Pure, on the hot path: once per batch, never per line."""

    async def send(self, request: Request, payload: Any) -> None:
        """See SinkSpec.confirms. Raises SinkError or Fatal; never after having reported `confirmed` for it."""

    async def flush(self, deadline_s: float) -> None:
        """Return when all that was sent is confirmed (barrier, fsync), or raise Retryable after `deadline_s` seconds."""

    def durable(self, number: int) -> None:
        """The cursor that covers request `number` is on disk, with its state."""

    async def close(self) -> None:
        """Free everything. Unconfirmed requests stay unconfirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """What a config of this sink promises; `explain` and the docs are written from it."""

    delivered_means: str
    can_repeat: str
    can_lose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpec:
    """A sink module's one constant.

    config     msgspec.Struct (forbid_unknown_fields, kw_only); fields use the types of config.units
    build      (config, context) -> Sink; touches nothing
    check      (config) -> problems as (key path below the sink, "problem; mend"): files that must be readable, rules
    warn       (config) -> the same for what starts and should not stay so (a receiver that is not verified)
    guarantee  (config) -> Guarantee
    targets    (config) -> names of what it writes to; two sinks with one target are refused by `check`
    confirms_later  (config) -> True: with this config it confirms "later", whatever `confirms` says
    later_records  request_records, where confirms_later(config) is what makes it "later"
    concurrency  1 where requests must go out one after the other whatever the config says
    keeps_order  (config) -> True: with this config `concurrency` is 1
    """

    summary: str
    config: type[Any]
    build: Callable[[Any, SinkContext], Sink]
    guarantee: Callable[[Any], Guarantee]
    confirms: str = "on_send"
    check: Callable[[Any], list[tuple[str, str]]] = field(default=lambda config: [])
    warn: Callable[[Any], list[tuple[str, str]]] = field(default=lambda config: [])
    targets: Callable[[Any], list[str]] = field(default=lambda config: [])
    needs_raw: Callable[[Any], bool] = field(default=lambda config: False)
    confirms_later: Callable[[Any], bool] = field(default=lambda config: False)
    request_bytes: int = 512 * 1024
    request_records: int = 10_000
    concurrency: int | None = None
    keeps_order: Callable[[Any], bool] = field(default=lambda config: False)
    later_records: int | None = None


_OTHER_NAMES = {
    "https": "http", "webhook": "http", "opensearch": "elasticsearch", "es": "elasticsearch", "splunk": "splunk_hec",
    "otlp": "otlp_http", "otlphttp": "otlp_http", "opentelemetry": "otlp_http", "fluentd": "forward", "fluent": "forward",
    "console": "stdout", "debug": "stdout", "rsyslog": "syslog", "relp": "syslog", "socket": "syslog", "omfwd": "syslog",
    "omfile": "file", "files": "file", "stackdriver": "cloud_logging", "google_cloud_logging": "cloud_logging",
    "google_cloud_storage": "gcs", "gcp_cloud_storage": "gcs", "google_pubsub": "pubsub", "bq": "bigquery",
}
_NOT_HERE = frozenset({"kafka", "s3", "aws_s3", "kinesis", "aws_kinesis_streams", "cloudwatch", "aws_cloudwatch_logs",
                       "azure_blob", "clickhouse", "redis", "logstash", "nats", "mqtt", "amqp"})


def available() -> list[str]:
    """The names of all sink types."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def _nearest(type_name: str) -> str:
    import difflib  # only where a name was wrong

    close = difflib.get_close_matches(type_name[:64].lower().replace("-", "_"), available(), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def find(type_name: str) -> SinkSpec:
    """The SINK of module `type_name`; Usage where there is none."""
    if type_name not in available():
        meant = _OTHER_NAMES.get(type_name)
        hint = f"; {type_name} is served by type: {meant}" if meant in available() else _nearest(type_name)
        if type_name in _NOT_HERE:
            hint = f"; for {type_name} send to an aggregator that has it, by forward, otlp_http or http (docs/coming-from.md)"
        raise Usage(f"unknown sink type {type_name!r}; use one of {', '.join(available())}{hint}")
    spec: SinkSpec = import_module(f"{__name__}.{type_name}").SINK
    return spec
