"""Splunk's HTTP Event Collector, with or without indexer acknowledgement. See docs/sinks/splunk_hec.md.

    POST events ─► {"code":0,"ackId":7} ─► Acks ─ each ack_interval: POST {"acks":[7]} ─► {"acks":{"7":true}} ─► confirmed
                                              └─ none within ack_timeout ─► all unconfirmed goes again, on a new channel

Invariants (tests/sinks/test_splunk_hec.py):
  SH1  with `ack`, nothing is confirmed that was not acknowledged as indexed
  SH2  an answer is a success only where it says code 0: a proxy's 200 is none
  SH3  a token, channel or setting that is wrong is never a record's fault
"""
from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import orjson

from ..config.units import Bytes, Seconds
from ..encode.splunk import SplunkEncoder
from ..encode.template import compile_template, lasting_problems
from ..errors import Fatal, Rejected, Retryable, ShipperError
from ..model import Batch, Request
from . import Guarantee, SinkContext, SinkSpec
from ._http_body import Body
from ._http_config import HttpConfig, Problems, problems, warnings
from ._http_key import base_url, credentials, key_problems, key_warnings
from ._http_parts import PartsSink
from ._http_status import Answer, shorten
from ._splunk_ack import Acks

_PATH = "/services/collector"
_BAD_EVENT = frozenset((6, 7, 12, 13, 15))          # data format, index, no event, blank event, indexed fields
_INCORRECT_INDEX = 7
_SETTINGS = {
    10: "the token wants a channel: set ack: true", 14: "the token has no indexer acknowledgement: set ack: false, or enable it",
    1: "the token is disabled", 5: "the request holds no data",
}


class SplunkHecConfig(HttpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/splunk_hec.md. max_body: the collector's limit before compression."""

    token: str | None = None
    token_file: str | None = None
    index: str | None = None
    source: str = "{source}"
    sourcetype: str = "kube:container:{container|host}"
    event: Literal["message", "json"] = "message"
    ack: bool = False
    ack_interval: Seconds = Seconds(1.0)
    ack_timeout: Seconds = Seconds(300.0)
    max_body: Bytes = Bytes(1_000_000)


class SplunkHecSink(PartsSink):
    """SH1, SH2, SH3."""

    content_type = "application/json"
    looks_at_batches: ClassVar[bool] = False
    needs_answer: ClassVar[bool] = True

    def __init__(self, config: SplunkHecConfig, context: SinkContext) -> None:
        super().__init__(config, context, credentials(
            config.auth, context.telemetry, "Authorization", "Splunk ", config.token, config.token_file))
        self._encoder = SplunkEncoder(
            compile_template(config.source), compile_template(config.sourcetype),
            compile_template(config.index) if config.index is not None else None, config.event == "json")
        self._splunk = config
        self._url, self._ack_url = base_url(config.url, f"{_PATH}/event"), base_url(config.url, f"{_PATH}/ack")
        self.max_body_bytes = config.max_body
        self._acks = Acks()
        self._channel = str(uuid.uuid4())
        self._poller: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    @property
    def url(self) -> str:
        return self._url

    def part(self, batch: Batch) -> list[bytes]:
        return self._encoder.part(batch)

    async def start(self, state: Any) -> None:
        if self._splunk.ack and self._poller is None:
            self._poller = asyncio.create_task(self._poll())

    async def send(self, request: Request, payload: Body) -> None:
        """With `ack`: returns when it was taken; confirmed later."""
        self._raise_poller()
        payload.headers = self._headers()
        channel = self._channel
        try:
            said = self._read(await self.post(payload))
            if self._splunk.ack:
                ack = said.get("ackId")
                if not isinstance(ack, int):
                    raise Fatal(f"{self.what} gave no ackId: {_SETTINGS[14]}")
                if channel == self._channel:
                    self._acks.sent(request.number, ack, asyncio.get_running_loop().time())
        except ShipperError as error:
            raise self._scrubbed(error) from error

    def rewound(self, number: int) -> None:
        """What was unconfirmed comes again; acknowledgements of before must not confirm it."""
        self._forget()

    async def flush(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while len(self._acks):
                    self._raise_poller()
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise Retryable(f"{len(self._acks)} requests are not acknowledged as indexed yet") from None

    async def close(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        await super().close()

    def status(self) -> dict[str, Any]:
        found = super().status()
        return {**found, "waiting_for_ack": len(self._acks)} if self._splunk.ack else found

    # ------------------------------------------------------------ answers

    def _headers(self) -> Mapping[str, str]:
        return {"X-Splunk-Request-Channel": self._channel} if self._splunk.ack else {}

    def _read(self, answer: Answer) -> dict[str, Any]:
        """The answer's JSON where it says success (SH2)."""
        said = answer.json()
        code = said.get("code") if isinstance(said, dict) else None
        if answer.ok and code == 0:
            return dict(said)
        text = answer.excerpt if code is None else shorten(str(said.get("text")))
        words = f"{self.what} answered {answer.status}: {text}"
        if code == 11:
            self._forget()
            error = Retryable(f"{words}; a new channel is taken")
            self._context.resend(error)             # SH1: nobody can ask for what was sent on the old one
            raise error
        if code in _SETTINGS:
            raise Fatal(f"{words}; {_SETTINGS[code]}")                                                          # SH3
        if code in _BAD_EVENT:
            # Beside "Incorrect index" the first event is number 1, else 0: there it is found out by halving.
            number = said.get("invalid-event-number") if code != _INCORRECT_INDEX else None
            raise Rejected(words, indexes=(number,) if isinstance(number, int) else ())
        self.raise_for_status(answer)
        raise Retryable(f"{words}; this is not what an event collector says, check url")

    # ------------------------------------------------------------ acknowledgements

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._splunk.ack_interval)
            if not len(self._acks):
                continue
            try:
                await self._ask()
            except ShipperError as error:
                self._context.telemetry.say("warning", "ack_not_asked", about=self._context.name,
                                            why=self._context.telemetry.scrub(str(error)))
            oldest_s = self._acks.oldest_s()
            if oldest_s is not None and loop.time() - oldest_s >= self._splunk.ack_timeout:
                self._forget()
                self._context.resend(Retryable(
                    f"{self.what} acknowledged nothing for {self._splunk.ack_timeout:g} s; what is unconfirmed is sent again"))

    async def _ask(self) -> None:
        """One look at what was indexed. An acknowledgement is told once: an answer that is lost is made good by ack_timeout."""
        channel, asked = self._channel, self._acks.asked()
        answer = await self.client.request(
            "POST", self._ack_url, headers={"Content-Type": "application/json", **self._headers()},
            body=[orjson.dumps({"acks": asked})])
        self.raise_for_status(answer)
        said = answer.json()
        found = said.get("acks") if isinstance(said, dict) else None
        if not isinstance(found, dict):
            raise Retryable(f"{self.what} was asked for acknowledgements and answered {answer.excerpt}")
        if channel != self._channel:
            return
        acks = [ack for ack, indexed in found.items() if indexed is True]
        number = self._acks.acked(int(ack) for ack in acks if ack.isascii() and ack.isdigit())
        if number is not None:
            self._context.confirmed(number)
            self._moved.set()

    def _raise_poller(self) -> None:
        """A defect in `_poll` must not stay unseen: nothing would be confirmed any more."""
        if self._poller is not None and self._poller.done() and not self._poller.cancelled():
            poller, self._poller = self._poller, asyncio.create_task(self._poll())
            poller.result()

    def _forget(self) -> None:
        self._acks.clear()
        self._channel = str(uuid.uuid4())
        self._moved.set()


def _problems(config: SplunkHecConfig) -> Problems:
    found = problems(config) + key_problems(config, "token", needed=True)
    found += lasting_problems({key: getattr(config, key) or "" for key in ("index", "source", "sourcetype")})
    if config.max_body < 10_000:
        found.append(("max_body", f"{config.max_body} bytes leave no room for records; use 10KiB or more"))
    for key in ("ack_interval", "ack_timeout"):
        if getattr(config, key) <= 0:
            found.append((key, "must be longer than 0s; leave it out for the default"))
    if config.ack and config.ack_timeout <= config.ack_interval:
        found.append(("ack_timeout", "is not longer than ack_interval; leave both out for 5m and 1s"))
    return found


def _guarantee(config: SplunkHecConfig) -> Guarantee:
    if config.ack:
        return Guarantee(
            delivered_means="the indexers have the events on disk (indexer acknowledgement)",
            can_repeat="what was not acknowledged within ack_timeout, at a lost answer or a restart; equal `id` means equal "
            "content",
            can_lose="nothing that the indexers keep",
        )
    return Guarantee(
        delivered_means="the collector answered code 0: it has the events, in memory",
        can_repeat="after an answer that was lost; equal field `id` means equal content",
        can_lose="what the collector had not handed to the indexers when it died; ack: true covers that",
    )


SINK = SinkSpec(
    summary="Splunk's HTTP Event Collector, with indexer acknowledgement where the token has it.",
    config=SplunkHecConfig,
    build=SplunkHecSink,
    check=_problems,
    warn=lambda config: warnings(config) + key_warnings(config, "token"),
    guarantee=_guarantee,
    confirms_later=lambda config: bool(config.ack),
    request_bytes=256 * 1024,
    request_records=1_500,              # 400 bytes beside each message: a full request of short ones stays under max_body
)
