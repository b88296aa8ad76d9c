"""The base of every sink over HTTP. See docs/sinks/http-core.md for how a sink is made of it.

    encode ─► Body (the sink's `pieces`) ─► send ─► Body.wire (compressed once) ─► HttpClient ─► `read_answer`

A sink gives at least `pieces(batches)`; it may override
    url              where requests go                                  (config.url)
    content_type     ("application/x-ndjson")
    body_headers     headers made of the batches, equal for equal batches ({})
    read_answer      raise what the far side says of the records         (the status decides)
    max_body_bytes   the far side's limit before compression, to the byte; max_records
    looks_at_batches False: `read_answer` does not look at request.batches, which then need not be held (True)
    needs_answer     True: a 2xx counts only with its whole body         (False)
    page_is_no_answer  True: a 2xx with an HTML page is a proxy's login page, and proves nothing (False)
    max_answer_bytes how much of an answer is read                       (64 KiB)

Invariants (tests/sinks/test_http_contract.py, for every sink):
  HS1  encode is pure; a repeat has equal headers and equal bytes
  HS2  a body over `max_body_bytes`, or of more than `max_records` records, is TooLarge before the first byte is sent
  HS3  what the far side says is bounded and scrubbed before it is in an error
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..errors import Fatal, Partial, Rejected, Retryable, ShipperError, TooLarge
from ..model import Batch, Request
from . import SinkContext
from ._http_auth import Credentials
from ._http_body import Body
from ._http_client import MAX_ANSWER_BYTES, HttpClient, place
from ._http_config import HttpConfig
from ._http_status import Answer, failure


class HttpSink:
    """One POST per request. `credentials`: instead of `config.auth`."""

    content_type: str = "application/x-ndjson"
    looks_at_batches: ClassVar[bool] = True
    needs_answer: ClassVar[bool] = False
    page_is_no_answer: ClassVar[bool] = False
    max_answer_bytes: ClassVar[int] = MAX_ANSWER_BYTES
    max_body_bytes: int | None = None
    max_records: int | None = None

    def __init__(self, config: HttpConfig, context: SinkContext, credentials: Credentials | None = None) -> None:
        self._config, self._context = config, context
        self.client = HttpClient(config, context.name, context.telemetry, credentials)

    # ------------------------------------------------------------ what a sink says

    @property
    def url(self) -> str:
        return self._config.url

    def pieces(self, batches: Sequence[Batch]) -> Sequence[bytes]:
        """The body before compression, in pieces that are joined on the wire. Pure; hot: once per batch."""
        raise NotImplementedError

    def body_headers(self, batches: Sequence[Batch]) -> Mapping[str, str]:
        """Headers of this request alone, made of the batches. Pure."""
        return {}

    def read_answer(self, answer: Answer, request: Request) -> None:
        """Return where all records were taken; else raise. Indexes count the request's records over all its batches."""
        self.raise_for_status(answer)

    # ------------------------------------------------------------ what delivery calls

    async def start(self, state: Any) -> None:
        return

    def encode(self, batches: Sequence[Batch]) -> Body:
        """HS1, HS2."""
        return self.body(self.pieces(batches), self.body_headers(batches), sum(map(len, batches)))

    def body(self, pieces: Sequence[bytes], headers: Mapping[str, str], records: int) -> Body:
        """HS2."""
        body = Body(pieces, headers)
        if self.max_body_bytes is not None and body.size_bytes > self.max_body_bytes:
            raise TooLarge(f"{body.size_bytes} bytes encoded, and {self.what} takes {self.max_body_bytes}")
        if self.max_records is not None and records > self.max_records:
            raise TooLarge(f"{records} records, and {self.what} takes {self.max_records} at once")
        return body

    async def send(self, request: Request, payload: Body) -> None:
        """See `read_answer`; raises Retryable for what is no answer."""
        try:
            self.read_answer(await self.post(payload), request)
        except ShipperError as error:
            raise self._scrubbed(error) from error

    async def post(self, payload: Body) -> Answer:
        """The request as it goes out: compressed once, the same each time."""
        compression = self._config.compression
        wire = await payload.wire(compression)
        headers = {"Content-Type": self.content_type, **payload.headers}
        if compression != "none":
            headers["Content-Encoding"] = compression
        return await self.client.request(
            "POST", self.url, headers=headers, body=wire, max_answer_bytes=self.max_answer_bytes, needs_body=self.needs_answer,
        )

    async def flush(self, deadline_s: float) -> None:
        return                      # `send` returns when it is taken

    def durable(self, number: int) -> None:
        return

    async def close(self) -> None:
        await self.client.close()

    def status(self) -> dict[str, Any]:
        """For /status."""
        return self.client.status()

    # ------------------------------------------------------------ for read_answer

    @property
    def what(self) -> str:
        """The far side's name in messages: no query, no user."""
        return place(self.url)

    def raise_for_status(self, answer: Answer) -> None:
        """What the status alone says (_http_status.py), with the config's retry_statuses and reject_statuses."""
        error = failure(answer, self.what, retry=self._config.retry_statuses, reject=self._config.reject_statuses)
        if error is not None:
            raise error
        if self.page_is_no_answer and "html" in answer.headers.get("Content-Type", "").lower():
            raise Retryable(f"{self.what} answered {answer.status} with an HTML page, a proxy's perhaps; check url and proxy")

    def _scrubbed(self, error: ShipperError) -> ShipperError:
        """HS3: the same error without secrets."""
        scrub = self._context.telemetry.scrub
        message = scrub(str(error))
        if isinstance(error, Partial):
            dead = {index: scrub(said) for index, said in error.dead.items()}
            return Partial(message, dead=dead, retry=error.retry, retry_after_s=error.retry_after_s)
        if isinstance(error, Rejected):
            return Rejected(message, indexes=error.indexes, rest_delivered=error.rest_delivered)
        if isinstance(error, TooLarge):
            return TooLarge(message, indexes=error.indexes)
        if isinstance(error, Retryable):
            return Retryable(message, retry_after_s=error.retry_after_s)
        return Fatal(message) if isinstance(error, Fatal) else error


