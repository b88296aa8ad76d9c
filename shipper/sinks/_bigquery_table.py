"""One BigQuery table over REST: is it there, which columns has it, can it take our records. Driver; both methods use it.

    start         ─► ready: GET ─► 404: create (create_table) ─► columns ─► column_problems: Fatal, each with its mend
    while sending ─► refresh: GET each REFRESH_S; after "no such field" look_again: GET at once

Invariants (tests/sinks/test_bigquery.py):
  BT1  nothing is created but with create_table, and never twice: who was second (409) goes on
  BT2  a column that was added is known after REFRESH_S at the latest, without a restart; a look that fails while the columns are
       known stops nothing
  BT3  BigQuery itself learns of a change of columns minutes late: `unsettled` for LAG_S after a change that was seen
"""
from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping

import orjson

from ..encode.bigquery import AUTO_COLUMNS, AUTO_SCHEMA, OWN_NAMES, Column, columns_of
from ..errors import Fatal, Retryable
from ._bigquery_config import BigqueryConfig, dataset_of
from ._gcp_config import endpoint
from ._gcp_identity import Identity
from ._http_client import HttpClient, place
from ._http_status import Answer, failure

REFRESH_S = 300.0
FAILED_S = 30.0
AGAIN_S = 1.0
LAG_S = 600.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
_TEXT, _JSON = ("STRING",), ("JSON", "STRING")
_TYPES = {"time": ("TIMESTAMP", "DATETIME", "STRING"), "kubernetes": ("RECORD", *_JSON), "fields": _JSON,
          "marks": _JSON, "kubernetes.labels": _JSON, "kubernetes.metadata": _JSON}
_INDEX = re.compile(r"\[\d+\]")


class Table:
    """BT1 to BT3. project: "" until `ready` or `find_project`. columns: None until looked at; version: rises when they change."""

    def __init__(self, config: BigqueryConfig, client: HttpClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._client, self._clock = config, client, clock
        self._identity = Identity(config)
        self._base = endpoint(config, "bigquery") + "/bigquery/v2/projects/"
        self.project, self.dataset = dataset_of(config)
        self.columns: dict[str, Column] | None = None
        self.version = 0
        self._looked_s = self._next_s = 0.0
        self._changed_s: dict[str, float] = {}
        self._lock = asyncio.Lock()

    @property
    def name(self) -> str:
        """For messages."""
        return f"the table {self.project}.{self.dataset}.{self._config.table}"

    @property
    def tables_url(self) -> str:
        return f"{self._base}{self.project}/datasets/{self.dataset}/tables"

    @property
    def url(self) -> str:
        return f"{self.tables_url}/{self._config.table}"

    async def find_project(self) -> None:
        """Retryable where it cannot be known."""
        self.project = self.project or await self._identity.project()

    async def ready(self) -> None:
        """Return when the table is there and can take records; its columns are known then. Retryable where it is not there and
        not ours to create, Fatal where its columns are wrong."""
        await self.find_project()
        async with self._lock:
            if not await self._look():
                if not self._config.create_table:
                    raise Retryable(f"{self.name} is not there; create it, or use schema: auto with create_table: true")
                if await self._create():
                    self._learn(AUTO_COLUMNS)
                else:
                    await self._look()

    async def refresh(self) -> None:
        """BT2. To be called before each request; a question once in REFRESH_S. Fatal for columns that became wrong."""
        if self.columns is None:
            await self.ready()
        elif self._clock() > self._next_s:
            try:
                await self._look_if(lambda: self._clock() > self._next_s)
            except Retryable:
                self._next_s = self._clock() + FAILED_S         # BT2; the request itself will say what is wrong

    async def look_again(self) -> None:
        """Something was said that does not fit the columns: look at once, but not more often than each AGAIN_S. Retryable where
        that fails: then it is not known what is wrong."""
        await self._look_if(lambda: self._clock() - self._looked_s > AGAIN_S)

    async def missing(self) -> None:
        """A request answered 404: create it where it is not there and create_table says so. Raises Retryable in every case."""
        async with self._lock:
            if await self._look():
                raise Retryable(f"{self.name} is there, and cannot be written to yet; that takes minutes after it was created")
            if not self._config.create_table:
                raise Retryable(f"{self.name} is not there; create it, or use schema: auto with create_table: true")
            await self._create()
        raise Retryable(f"{self.name} was not there and has been created; BigQuery takes a while until it can be written to")

    def unsettled(self, location: str) -> bool:
        """BT3. location: of a column as the API names it, for example kubernetes.labels or items[3].price."""
        at_s = self._changed_s.get(_INDEX.sub("", location).lower())
        return at_s is not None and self._clock() - at_s < LAG_S

    # ------------------------------------------------------------ asking

    async def _look_if(self, still: Callable[[], bool]) -> None:
        async with self._lock:
            if still():                                         # else somebody else did
                await self._look()

    async def _look(self) -> bool:
        """False: it is not there."""
        answer = await self._client.request("GET", self.url, max_answer_bytes=MAX_ANSWER_BYTES)
        if answer.status == 404:
            return False
        raise_for(answer, self.url)
        said = answer.json()
        schema = said.get("schema") if isinstance(said, dict) else None
        listed = schema.get("fields") if isinstance(schema, dict) else None
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise Retryable(f"{self.name} has no schema that can be read; give it columns, or check endpoint")
        columns = columns_of(listed)
        own = self._config
        wrong = auto_problems(columns) if own.schema == "auto" else column_problems(columns, own.overflow_column)
        if wrong:
            raise Fatal(f"{self.name} cannot take records: {'; '.join(wrong)}")
        self._learn(columns)
        return True

    def _learn(self, columns: dict[str, Column]) -> None:
        now_s = self._clock()
        before, after = set(_paths(self.columns or {})), set(_paths(columns))
        self._changed_s.update(dict.fromkeys(before ^ after, now_s))
        self.version += columns != self.columns
        self.columns, self._looked_s, self._next_s = columns, now_s, now_s + REFRESH_S

    async def _create(self) -> bool:
        """Partitioned by time, clustered by namespace and pod. False: somebody else did, perhaps with other columns (BT1)."""
        table = {
            "tableReference": {"projectId": self.project, "datasetId": self.dataset, "tableId": self._config.table},
            "schema": {"fields": AUTO_SCHEMA}, "timePartitioning": {"type": "DAY", "field": "time"},
            "clustering": {"fields": ["namespace", "pod"]},
        }
        answer = await self._client.request(
            "POST", self.tables_url, headers={"Content-Type": "application/json"}, body=[orjson.dumps(table)])
        if answer.status == 404:
            raise Retryable(f"the dataset {self.project}.{self.dataset} is not there; create it")
        if answer.status == 409:
            return False
        raise_for(answer, self.tables_url)
        return True


def raise_for(answer: Answer, url: str) -> None:
    """No answer about the table is a record's fault."""
    error = failure(answer, place(url))
    if error is not None:
        raise error if isinstance(error, (Fatal, Retryable)) else Retryable(str(error))


def _paths(columns: Mapping[str, Column], lead: str = "") -> list[str]:
    return [path for name, one in columns.items() for path in (lead + name, *_paths(one.fields, f"{lead}{name}."))]


# ------------------------------------------------------------ what keeps a table from taking records. Pure


def column_problems(columns: Mapping[str, Column], overflow: str | None) -> list[str]:
    """Of a table of one's own, each with its mend."""
    found = []
    if not columns.keys() & {"message", "fields"} and (overflow or "").lower() not in columns:
        found.append("it has neither `message` nor `fields`; add a column message STRING")
    for name in sorted(columns.keys() & OWN_NAMES):
        found += _type_problems(name, columns[name])
    if overflow is not None:
        kind = columns.get(overflow.lower())
        if kind is None or kind.kind not in _JSON or kind.repeated:
            said = "not there" if kind is None else _said(kind)
            found.append(f"overflow_column {overflow} is {said}; " + ("add it as JSON" if kind is None else "make it JSON"))
    return found


def auto_problems(columns: Mapping[str, Column]) -> list[str]:
    """Of a table for the automatic schema."""
    found = []
    for name, wanted in AUTO_COLUMNS.items():
        kind = columns.get(name)
        if kind is None:
            found.append(f"it has no column {name}; add it as {wanted.kind}, or use schema: table")
        elif name in ("kubernetes", "time") and kind.kind != wanted.kind:
            found.append(f"the column {name} is {_said(kind)}; make it {wanted.kind}, or use schema: table")
        else:
            found += _type_problems(name, kind)
            found += [f"it has no column {name}.{inner}; add it as {one.kind}, or use schema: table"
                      for inner, one in wanted.fields.items() if inner not in kind.fields]
    return found


def _type_problems(path: str, column: Column) -> list[str]:
    wanted = _TYPES.get(path, _TEXT)
    if column.kind not in wanted or column.repeated:
        return [f"the column {path} is {_said(column)}; make it {wanted[0]}"]
    if path != "kubernetes":
        return []
    known = AUTO_COLUMNS["kubernetes"].fields
    return [text for name, inner in column.fields.items() if name in known for text in _type_problems(f"{path}.{name}", inner)]


def _said(column: Column) -> str:
    return f"{column.kind} REPEATED" if column.repeated else column.kind
