"""BigQuery by insertAll: streaming over REST, with an answer per row.

Invariants (tests/sinks/test_bigquery.py):
  BG1  no request has more than `max_rows` rows or 10 MB
  BG2  a row that the answer calls invalid is a dead letter, alone; one that was put off (AGAIN) goes again; the rest is
       delivered. Where all rows of a request are invalid, the table may be at fault: then nothing is buried before delivery
       has halved and compared
  BG3  quota, rights and a table that is not there (403, 404, 429, 5xx) are never a record's fault
  BG4  with `schema: table` nothing is sent before the table was looked at; a row that is refused for a column that came or went
       a short while ago goes again, for a bounded time, made anew
  BG5  what BigQuery quotes of a record stands in its dead letter alone, not in log or status
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..encode import bigquery as rows
from ..errors import Partial, Rejected, Retryable, ShipperError, TooLarge
from ..model import Batch, Request
from . import SinkContext
from ._bigquery_config import BigqueryConfig
from ._bigquery_table import Table
from ._gcp_auth import credentials
from ._gcp_config import http_config
from ._http_body import Body
from ._http_parts import PartsSink
from ._http_status import Answer, shorten

MAX_BODY_BYTES = 10_000_000
AGAIN = frozenset(("", "stopped", "timeout", "backendError", "internalError", "rateLimitExceeded", "quotaExceeded"))
"""Reasons of a row's error that say nothing of the row."""
_AGAIN_WHOLE = frozenset(("tableUnavailable", "resourceInUse", "resourcesExceeded", "quotaExceeded", "rateLimitExceeded"))
_NO_FIELD = "no such field"


@dataclass(slots=True)
class _Rows(Body):
    """version: of the table's columns that they were made for."""

    version: int = 0


class InsertAllSink(PartsSink):
    """BG1 to BG5."""

    content_type = "application/json"
    frame = rows.FRAME
    max_body_bytes = MAX_BODY_BYTES
    needs_answer = True
    max_answer_bytes: ClassVar[int] = 8 * 1024 * 1024

    def __init__(self, config: BigqueryConfig, context: SinkContext) -> None:
        self.credentials = credentials(config, "bigquery", context.telemetry)
        super().__init__(http_config(config, "bigquery"), context, self.credentials)
        self._own, self.table = config, Table(config, self.client)
        self.max_records = config.max_rows
        if config.schema == "table":        # rows are made when they are sent: by the columns that the table has then (BG4)
            self.encode_one = None          # type: ignore[method-assign, assignment]

    async def start(self, state: Any) -> None:
        """Which project; with `schema: table` or create_table also the table itself (Table.ready)."""
        if self._own.schema == "table" or self._own.create_table:
            await self.table.ready()
        else:
            await self.table.find_project()

    @property
    def url(self) -> str:
        return f"{self.table.url}/insertAll"

    def encode(self, batches: Sequence[Batch]) -> Body:
        made = self.assemble([(self.part(batch), len(batch), []) for batch in batches])
        return _Rows(made.pieces, made.headers, made.size_bytes, version=self.table.version)

    def part(self, batch: Batch) -> list[bytes]:
        if self._own.schema == "auto":
            return rows.part(batch)
        return rows.own_part(batch, self.table.columns or {}, self._own.overflow_column)

    async def send(self, request: Request, payload: Body) -> None:
        """As HttpSink's. With `schema: table` rows made for other columns than the table has now are made anew (BG4)."""
        if self._own.schema == "table":
            try:
                await self.table.refresh()
            except ShipperError as error:
                raise self._scrubbed(error) from error
            if getattr(payload, "version", self.table.version) != self.table.version:
                payload = self.encode(request.batches)
        await super().send(request, payload)

    async def post(self, payload: Body) -> Answer:
        answer = await super().post(payload)
        if answer.status == 404 and (self._own.schema == "table" or self._own.create_table):
            await self.table.missing()
        if answer.ok and self.table.columns is not None and _NO_FIELD.encode() in answer.body:
            await self.table.look_again()
        return answer

    def read_answer(self, answer: Answer, request: Request) -> None:
        if answer.status in (400, 403) and _reasons(answer) & _AGAIN_WHOLE:
            raise Retryable(f"{self.what} answered {answer.status}: {answer.excerpt}")      # BG3
        self.raise_for_status(answer)
        if not answer.whole and request.records > 1:
            raise TooLarge(f"{self.what} answered more than {self.max_answer_bytes} bytes; fewer rows are sent at once")
        said = answer.json()
        if not isinstance(said, dict) or not isinstance(said.get("insertErrors", []), list):
            raise Retryable(f"{self.what} answered {answer.status}, and not as insertAll does: {answer.excerpt}; check endpoint")
        if said.get("insertErrors"):
            self._judge([_row_error(one) for one in said["insertErrors"]], request.records)

    def _judge(self, errors: list[RowError], records: int) -> None:
        """BG2. An answer that names rows which were not sent proves nothing."""
        if not all(0 <= error.row < records for error in errors):
            raise Retryable(f"{self.what} answered with errors of rows that were not in the request")
        dead = {error.row: error for error in errors if error.dead and not self._may_heal(error)}
        retry = sorted({error.row for error in errors} - dead.keys())
        first = next(iter(dead.values()), errors[0])
        message = f"{self.what}: {len(dead)} rows invalid, {len(retry)} put off; the first: {first.brief}"
        if len(dead) == records > 1:
            raise Rejected(message)
        raise Partial(message, dead={index: error.words for index, error in dead.items()}, retry=retry)

    def _may_heal(self, error: RowError) -> bool:
        """BG4."""
        return bool(error.no_fields) and error.only_fields and any(map(self.table.unsettled, error.no_fields))

    async def close(self) -> None:
        await self.credentials.close()
        await super().close()


class RowError(NamedTuple):
    """What was said of a row; row -1 where it is not understood. brief: without what is quoted of the record (BG5).
    no_fields: locations of fields that the table is said not to have; only_fields: nothing else is wrong with it."""

    row: int
    dead: bool
    words: str
    brief: str
    no_fields: tuple[str, ...] = ()
    only_fields: bool = False


def _row_error(one: Any) -> RowError:
    index, errors = (one.get("index"), one.get("errors")) if isinstance(one, dict) else (None, None)
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    wrong = [error for error in listed if str(error.get("reason") or "") not in AGAIN]
    first = (wrong or listed or [{}])[0]
    words = ": ".join(str(first[name]) for name in ("reason", "location", "message") if first.get(name))
    brief = ": ".join(str(first[name]) for name in ("reason", "location") if first.get(name))
    fields = [error for error in wrong if _NO_FIELD in str(error.get("message", "")).lower()]
    brief += f": {_NO_FIELD}" if first in fields else ""
    return RowError(
        index if isinstance(index, int) else -1, bool(wrong),
        shorten(words or "no reason given"), shorten(brief or "no reason given"),
        tuple(str(error.get("location") or _named(str(error["message"]))) for error in fields), len(fields) == len(wrong),
    )


def _named(message: str) -> str:
    """The field of "no such field: kubernetes.labels."."""
    return message.partition(":")[2].strip().rstrip(".")


def _reasons(answer: Answer) -> set[str]:
    """Of a whole request that was refused."""
    said = answer.json()
    error = said.get("error") if isinstance(said, dict) else None
    errors = error.get("errors") if isinstance(error, dict) else None
    return {str(one.get("reason")) for one in errors if isinstance(one, dict)} if isinstance(errors, list) else set()
