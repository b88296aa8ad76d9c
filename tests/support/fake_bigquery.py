"""BigQuery's REST on loopback: tables.get, tables.insert and insertAll, as strict as the real one.

    async with FakeBigquery(schedule=iter(["lost", "quotaExceeded"])) as far:     # http://127.0.0.1:{far.port}
        far.make("all", fields)             # a table of one's own; far.tables["all"].rows is what it holds
        far.wrong                           # what no right client sends: asserted to be empty

As the real one: a new table answers 404 to insertAll for a while (`hidden` requests); a change of columns reaches insertAll
later than tables.get (`lag` requests); rows are judged one by one, and without skipInvalidRows one that is invalid stops all
others; JSON columns want texts; partitions have bounds; insertId drops repeats (`remembers`); 413 over 10 MB. Stricter: a STRING
is a string.

Faults, one per insertAll: lost (stored, then reset), reset (before), 503, 500, 401, quotaExceeded, rateLimitExceeded,
tableUnavailable, stopped (every row, none stored), backendError and timeout (of each third row).
"""
from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.support.discovery import wrong_shape

MAX_BODY_BYTES = 10_000_000
MAX_ROWS = 50_000
FAULTS = ("lost", "reset", "503", "500", "quotaExceeded", "rateLimitExceeded", "stopped", "backendError", "timeout")
_SHAPED_ROWS = 20           # of more rows the first ones are compared with the discovery document
_TIMESTAMP = re.compile(r"(\d{4})-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?")


@dataclass
class FakeTable:
    """fields: what tables.get says; known: what insertAll knows. hidden, lag: how many requests until it does."""

    fields: list[dict[str, Any]]
    resource: dict[str, Any] = field(default_factory=dict)
    hidden: int = 0
    lag: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    insert_ids: set[str] = field(default_factory=set)
    known: list[dict[str, Any]] = field(default_factory=list)


class FakeBigquery:
    """`authorised(token)`: None: nobody is asked. hidden: of tables that are created over the API."""

    def __init__(
        self, schedule: Iterator[str] | None = None, *, authorised: Callable[[str], bool] | None = None, seed: int = 0,
        random_faults: float = 0.0, hidden: int = 0, remembers: bool = True,
    ) -> None:
        self.schedule, self.authorised = schedule or iter(()), authorised
        self.rng, self.random_faults, self.hidden, self.remembers = random.Random(seed), random_faults, hidden, remembers
        self.datasets, self.tables = {"logs"}, dict[str, FakeTable]()
        self.wrong: list[str] = []
        self.seen: list[str] = []
        self.requests: list[list[dict[str, Any]]] = []
        self.get_status = 0
        self.port = 0

    def make(self, name: str, fields: Sequence[dict[str, Any]], **more: Any) -> FakeTable:
        self.tables[name] = FakeTable(list(fields), known=list(fields), **more)
        return self.tables[name]

    def alter(self, name: str, fields: Sequence[dict[str, Any]], *, lag: int = 0) -> None:
        """The table has these columns now; insertAll learns of it `lag` requests later."""
        table = self.tables[name]
        table.fields, table.lag = list(fields), lag
        if not lag:
            table.known = list(fields)

    async def __aenter__(self) -> FakeBigquery:
        app = web.Application(client_max_size=1 << 30)
        base = "/bigquery/v2/projects/p1/datasets/{dataset}/tables"
        app.router.add_post(base, self._create)
        app.router.add_get(base + "/{table}", self._get)
        app.router.add_post(base + "/{table}/insertAll", self._insert_all)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # ------------------------------------------------------------ tables

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.authorised is not None and not self.authorised(token):
            return error(401, "authError", "Invalid Credentials")
        if request.match_info["dataset"] not in self.datasets:
            return error(404, "notFound", f"Not found: Dataset p1:{request.match_info['dataset']}")
        return None

    async def _get(self, request: web.Request) -> web.Response:
        self.seen.append("get")
        refused, name = self._refused(request), request.match_info["table"]
        if refused is None and self.get_status:
            refused = error(self.get_status, "backendError", "Backend Error")
        if refused is not None:
            return refused
        table = self.tables.get(name)
        if table is None:
            return error(404, "notFound", f"Not found: Table p1:logs.{name}")
        found = {"kind": "bigquery#table", **table.resource, "schema": {"fields": table.fields}}
        return web.json_response({key: value for key, value in found.items() if key != "schema" or table.fields})

    async def _create(self, request: web.Request) -> web.Response:
        self.seen.append("create")
        refused, said = self._refused(request), await request.json()
        if refused is not None:
            return refused
        self.wrong += wrong_shape("bigquery.v2", "Table", said)
        reference = said.get("tableReference", {})
        if (reference.get("projectId"), reference.get("datasetId")) != ("p1", request.match_info["dataset"]):
            return error(400, "invalid", "tableReference is of another dataset")
        if reference["tableId"] in self.tables:
            return error(409, "duplicate", f"Already Exists: Table p1:logs.{reference['tableId']}")
        kinds = {one["name"]: one["type"] for one in said["schema"]["fields"]}
        partition, clusters = said.get("timePartitioning", {}).get("field"), said.get("clustering", {}).get("fields", [])
        if partition is not None and kinds.get(partition) not in ("TIMESTAMP", "DATE", "DATETIME"):
            return error(400, "invalid", f"The field specified for partitioning cannot be found or has a wrong type: {partition}")
        if len(clusters) > 4 or any(kinds.get(name) in (None, "JSON", "RECORD") for name in clusters):
            return error(400, "invalid", f"cannot cluster by {clusters}")
        self.make(reference["tableId"], said["schema"]["fields"], resource=said, hidden=self.hidden)
        return web.json_response(said)

    # ------------------------------------------------------------ insertAll

    async def _insert_all(self, request: web.Request) -> web.Response:
        self.seen.append("insertAll")
        body = await request.read()
        fault = next(self.schedule, "") or (self.rng.choice(FAULTS) if self.rng.random() < self.random_faults else "ok")
        refused = self._refused(request) or self._early(fault, request, body)
        if refused is not None:
            return refused
        table = self.tables.get(request.match_info["table"])
        if table is not None and table.hidden > 0:
            table.hidden -= 1
            table = None
        if table is None:
            return error(404, "notFound", f"Not found: Table p1:logs.{request.match_info['table']}")
        if not table.known:
            return error(400, "invalid", "The destination table has no schema.")
        if table.lag:
            table.lag -= 1
        else:
            table.known = table.fields
        said = json.loads(body)
        answer = self._shape(said) or self._take(table, said, fault)
        if fault == "lost":
            _reset(request)
        return answer

    def _early(self, fault: str, request: web.Request, body: bytes) -> web.Response | None:
        if fault == "reset":
            _reset(request)
        if request.headers.get("Content-Type") != "application/json":
            self.wrong.append(f"Content-Type {request.headers.get('Content-Type')}")
        if fault in ("503", "500", "401"):
            return error(int(fault), "backendError", "Backend Error")
        if fault in ("quotaExceeded", "rateLimitExceeded"):
            return error(403, fault, "Exceeded rate limits: too many table update operations for this table", "usageLimits")
        if fault == "tableUnavailable":
            return error(400, fault, "The table is not available")
        if len(body) > MAX_BODY_BYTES:
            self.wrong.append(f"{len(body)} bytes")
            return error(413, "uploadTooLarge", "Request payload size exceeds the limit: 10485760 bytes.")
        return None

    def _shape(self, said: dict[str, Any]) -> web.Response | None:
        rows = said.get("rows", [])
        self.wrong += wrong_shape("bigquery.v2", "TableDataInsertAllRequest", {**said, "rows": rows[:_SHAPED_ROWS]})
        self.wrong += [f"insertId of {len(row['insertId'])}" for row in rows if len(row.get("insertId", "")) > 128]
        if not rows or len(rows) > MAX_ROWS:
            self.wrong.append(f"{len(rows)} rows")
            return error(400, "invalid", "Too many rows present in the request." if rows else "No rows present in the request.")
        return None

    def _take(self, table: FakeTable, said: dict[str, Any], fault: str) -> web.Response:
        rows = said["rows"]
        self.requests.append(rows)
        found_all = [row_errors(row["json"], table.known) or _partition_errors(row["json"], table.resource) for row in rows]
        errors = {index: found for index, found in enumerate(found_all) if found}
        if fault in ("backendError", "timeout"):
            errors = {index: [_one(fault, "", "")] for index in range(0, len(rows), 3)} | errors
        if fault == "stopped" or (errors and not said.get("skipInvalidRows")):
            errors = {index: [_one("stopped", "", "")] for index in range(len(rows))} | errors
        for index, row in enumerate(rows):
            if index not in errors and not (self.remembers and row.get("insertId") in table.insert_ids):
                table.insert_ids.add(row.get("insertId", ""))
                table.rows.append(row["json"])
        found = {"kind": "bigquery#tableDataInsertAllResponse"}
        named = [{"index": index, "errors": one} for index, one in sorted(errors.items())]
        return web.json_response({**found, "insertErrors": named} if named else found)


def error(status: int, reason: str, message: str, domain: str = "global") -> web.Response:
    return web.json_response({"error": {
        "code": status, "message": message, "errors": [{"message": message, "domain": domain, "reason": reason}]}}, status=status)


def _reset(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


def _one(reason: str, location: str, message: str) -> dict[str, str]:
    return {"reason": reason, "location": location, "debugInfo": "", "message": message}


# ------------------------------------------------------------ rows


def row_errors(values: dict[str, Any], fields: Sequence[dict[str, Any]], lead: str = "") -> list[dict[str, str]]:
    """What BigQuery says of a row, [] where it takes it."""
    columns = {one["name"].lower(): one for one in fields}
    found = []
    if len({name.lower() for name in values}) != len(values):
        found.append(_one("invalid", lead, "Duplicate field names"))
    for name, value in values.items():
        column = columns.get(name.lower())
        if column is None:
            found.append(_one("invalid", lead + name, f"no such field: {lead}{name}."))
        else:
            found += _value_errors(value, column, lead + name)
    present = {name.lower() for name, value in values.items() if value is not None}
    missing = [one["name"] for name, one in columns.items() if one.get("mode") == "REQUIRED" and name not in present]
    return found + [_one("invalid", lead + name, f"Missing required field: {lead}{name}.") for name in missing]


def _value_errors(value: Any, column: dict[str, Any], path: str) -> list[dict[str, str]]:
    if column.get("mode") == "REPEATED":
        if not isinstance(value, list):
            return [_one("invalid", path, f"Repeated field must be imported as a JSON array. Field: {path}.")]
        inner = {**column, "mode": "NULLABLE"}
        return [e for i, one in enumerate(value) for e in _value_errors(one, inner, f"{path}[{i}]") or _null(one, path)]
    if value is None:
        return []
    if isinstance(value, list):
        return [_one("invalid", path, f"Array specified for non-repeated field: {path}.")]
    if column["type"] == "RECORD":
        if not isinstance(value, dict):
            return [_one("invalid", path, f"This field: {path} is not a record.")]
        return row_errors(value, column["fields"], path + ".")
    if not _fits(value, column["type"]):
        return [_one("invalid", path, f"Cannot convert value to {column['type'].lower()} (bad value): {value}")]
    return []


def _partition_errors(values: dict[str, Any], resource: dict[str, Any]) -> list[dict[str, str]]:
    """Of a row whose columns fit. Streaming reaches 1825 days back and 366 days ahead."""
    name = resource.get("timePartitioning", {}).get("field")
    if name is None or not values.get(name):
        return []
    days = (datetime.now(UTC) - datetime.fromisoformat(values[name])).days
    if -366 <= days <= 1825:
        return []
    return [_one("invalid", "", f"Value {values[name]} for partition column {name} is outside the allowed bounds.")]


def _null(value: Any, path: str) -> list[dict[str, str]]:
    return [_one("invalid", path, "Only optional fields can be set to NULL.")] if value is None else []


def _fits(value: Any, kind: str) -> bool:
    if kind == "INTEGER":
        if isinstance(value, int) and abs(value) > 1 << 53:
            return False                # the real one stores it rounded, which no test would see
        digits = not isinstance(value, bool) and re.fullmatch(r"-?\d{1,19}", str(value))
        return bool(digits) and -(1 << 63) <= int(value) < 1 << 63
    if kind == "FLOAT":
        return not isinstance(value, bool) and bool(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", str(value), re.I))
    if kind == "BOOLEAN":
        return isinstance(value, bool) or str(value).lower() in ("true", "false")
    if kind == "JSON":
        return isinstance(value, str) and _is_json(value)
    if kind in ("TIMESTAMP", "DATETIME"):
        found = _TIMESTAMP.match(value) if isinstance(value, str) else None
        rest = value[found.end():] if found else ""
        return found is not None and rest in (("Z", " UTC", "") if kind == "TIMESTAMP" else ("",))
    return isinstance(value, str)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
