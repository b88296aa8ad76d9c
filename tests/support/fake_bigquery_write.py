"""BigQuery's Storage Write API on loopback, over gRPC and by Google's own messages: as strict as the real one, and as unreliable
as it is told to be.

    async with FakeBigQueryWrite(schedule=iter(["ok", "lost"])) as fake:      # http://127.0.0.1:{fake.port}
        fake.tables["projects/p1/datasets/logs/tables/nodes"].rows            # of all streams, in the order they were written
        fake.wrong                                                            # what no right client sends: asserted to be empty

As the real one: a committed stream per name; an append is taken whole, at the end of its stream, or not at all: ALREADY_EXISTS
before the end, OUT_OF_RANGE beyond it; rows are read with the descriptor that came with the connection's first request, and each
column's type is checked; one row that does not fit refuses the request and names its index; a finalised stream takes nothing; a
request has less than 10 MB; the routing header names the stream.

Faults, one per append: lost (written, then the connection ends), down (UNAVAILABLE), reset (the connection ends before it),
internal, quota, aborted (in the answer), 401, finalised (somebody finalised the stream), gone (the stream is forgotten: its rows
stay, and nobody can count them), mute (no answer at all). "down", "401" also meet the other calls.
"""
from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")      # agents are started from this process: they hung before exec
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, unknown_fields
from google.rpc import status_pb2

from shipper.encode.bigquery import AUTO_SCHEMA

SERVICE = "google.cloud.bigquery.storage.v1.BigQueryWrite"
TABLE = "projects/p1/datasets/logs/tables/nodes"
FAULTS = ("lost", "lost", "lost", "down", "reset", "internal", "quota", "aborted", "401", "finalised")
MAX_REQUEST_BYTES = 10_000_000
_TYPES = {"TIMESTAMP": ("int64",), "INTEGER": ("int64",), "FLOAT": ("double",), "BOOLEAN": ("bool",), "DATE": ("int32", "string"),
          "BYTES": ("bytes",)}
_KIND_NAMES = {1: "double", 3: "int64", 5: "int32", 8: "bool", 9: "string", 11: "message", 12: "bytes"}
Code = grpc.StatusCode


@dataclass
class Table:
    """columns: as the REST API has them."""

    columns: list[dict[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Stream:
    table: str
    count: int = 0
    finalised: bool = False
    gone: bool = False


class Refusal(Exception):
    """code: of grpc; storage: the StorageErrorCode's name; rows: row errors."""

    def __init__(self, code: Code, message: str, storage: str = "", rows: dict[int, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.storage, self.rows = code, storage, rows or {}

    def status(self) -> status_pb2.Status:
        made = status_pb2.Status(code=self.code.value[0], message=str(self))
        if self.storage:
            error = types.StorageError(code=types.StorageError.StorageErrorCode[self.storage], error_message=str(self))
            held = any_pb2.Any()
            held.Pack(types.StorageError.pb(error))
            made.details.append(held)
        return made


class FakeBigQueryWrite:
    """`authorised(token)`: None: nobody is asked. `random_faults`: the share of appends that meet one. `refuses(row)`: why the
    table does not take a row, "" where it does. keep=False: rows are counted and not kept (benches).
    tls: key and certificate of localhost, PEM."""

    def __init__(
        self, schedule: Iterator[str] | None = None, *, authorised: Callable[[str], bool] | None = None, seed: int = 0,
        random_faults: float = 0.0, refuses: Callable[[dict[str, Any]], str] = lambda row: "", keep: bool = True,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.schedule, self.authorised, self.refuses, self.keep = schedule or iter(()), authorised, refuses, keep
        self.rng, self.random_faults = random.Random(seed), random_faults
        self.tables = {TABLE: Table(AUTO_SCHEMA)}
        self.streams: dict[str, Stream] = {}
        self.wrong: list[str] = []
        self.seen: list[str] = []
        self.faults: list[str] = []
        self.answers: list[str] = []
        self.port = 0
        self.raised, self._tls = False, tls
        self._numbers = iter(range(1, 1 << 60))

    async def __aenter__(self) -> FakeBigQueryWrite:
        self.server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        unary = {"CreateWriteStream": (self._create, types.CreateWriteStreamRequest, types.WriteStream),
                 "FinalizeWriteStream": (self._finalize, types.FinalizeWriteStreamRequest, types.FinalizeWriteStreamResponse),
                 "GetWriteStream": (self._get, types.GetWriteStreamRequest, types.WriteStream)}
        handlers = {name: grpc.unary_unary_rpc_method_handler(call, asked.deserialize, said.serialize)
                    for name, (call, asked, said) in unary.items()}
        handlers["AppendRows"] = grpc.stream_stream_rpc_method_handler(
            self._append_rows, lambda data: data, types.AppendRowsResponse.serialize)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if self._tls is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("localhost:0", grpc.ssl_server_credentials([self._tls]))
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self._tls is None else f"https://localhost:{self.port}"

    # ------------------------------------------------------------ calls

    async def _create(self, request: Any, context: Any) -> Any:
        await self._admit("create", context, request.parent)
        if request.write_stream.type_ != types.WriteStream.Type.COMMITTED:
            self.wrong.append(f"a stream of type {request.write_stream.type_.name}")
        if request.parent not in self.tables:
            await self._abort(context, Refusal(Code.NOT_FOUND, f"Not found: table {request.parent}", "TABLE_NOT_FOUND"))
        name = f"{request.parent}/streams/s{next(self._numbers)}"
        self.streams[name] = Stream(request.parent)
        return types.WriteStream(name=name, type_=types.WriteStream.Type.COMMITTED)

    async def _finalize(self, request: Any, context: Any) -> Any:
        await self._admit("finalize", context, request.name)
        try:
            stream = self._stream(request.name)
        except Refusal as error:
            await self._abort(context, error)
        stream.finalised = True
        return types.FinalizeWriteStreamResponse(row_count=stream.count)

    async def _get(self, request: Any, context: Any) -> Any:
        await self._admit("get", context, request.name)
        try:
            stream = self._stream(request.name)
        except Refusal as error:
            await self._abort(context, error)
        return types.WriteStream(name=request.name, type_=types.WriteStream.Type.COMMITTED, location=stream.table)

    async def _append_rows(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        """One connection."""
        connection = _Connection()
        async for data in requests:
            request = types.AppendRowsRequest.deserialize(data)
            if not connection.stream:
                await self._admit("connect", context, request.write_stream, fault=False)
            fault = self._fault("append")
            if fault == "401":
                await self._abort(context, Refusal(Code.UNAUTHENTICATED, "the token is no longer valid"))
            if fault in ("down", "reset"):
                await self._abort(context, Refusal(Code.UNAVAILABLE, "connection reset" if fault == "reset" else "down"))
            if fault == "mute":
                await asyncio.sleep(3600)
            try:
                answer = self._take(connection, request, len(data), fault)
            except Refusal as error:
                self.answers.append(error.storage or error.code.name)
                if self.raised and not error.rows:
                    await self._abort(context, error)
                status = error.status()
                answer = types.AppendRowsResponse(error=status, row_errors=[
                    types.RowError(index=index, code=types.RowError.RowErrorCode.FIELDS_ERROR, message=words)
                    for index, words in error.rows.items()])
            else:
                self.answers.append("ok")
            if fault == "lost":
                await self._abort(context, Refusal(Code.UNAVAILABLE, "the connection is gone"))
            answer.write_stream = connection.stream
            yield answer

    # ------------------------------------------------------------ what is taken

    def _take(self, connection: _Connection, request: Any, size_bytes: int, fault: str) -> Any:
        if size_bytes >= MAX_REQUEST_BYTES:
            self.wrong.append(f"a request of {size_bytes} bytes")
        connection.read(request, self.wrong)
        if fault in ("internal", "quota", "aborted"):
            code = {"internal": Code.INTERNAL, "quota": Code.RESOURCE_EXHAUSTED, "aborted": Code.ABORTED}[fault]
            raise Refusal(code, f"{fault}, try again")
        stream = self.streams.get(connection.stream)
        if stream is not None and fault in ("finalised", "gone"):
            stream.finalised, stream.gone = True, fault == "gone"
        stream = self._stream(connection.stream)
        if stream.finalised:
            raise Refusal(Code.FAILED_PRECONDITION, "the stream is finalized", "STREAM_FINALIZED")
        if "offset" not in request:
            self.wrong.append("an append without offset")
        if request.offset < stream.count:
            raise Refusal(Code.ALREADY_EXISTS, f"offset {request.offset} is within stream", "OFFSET_ALREADY_EXISTS")
        if request.offset > stream.count:
            raise Refusal(Code.OUT_OF_RANGE, f"offset {request.offset}, expected {stream.count}", "OFFSET_OUT_OF_RANGE")
        table = self.tables[stream.table]
        rows = self._rows(connection, table, request.proto_rows.rows.serialized_rows)
        stream.count += len(rows)
        if self.keep:
            table.rows += rows
        return types.AppendRowsResponse(append_result=types.AppendRowsResponse.AppendResult(offset=request.offset))

    def _rows(self, connection: _Connection, table: Table, serialized: Any) -> list[dict[str, Any]]:
        if not serialized:
            self.wrong.append("an append without rows")
        extra = _misfits(connection.descriptor, table.columns)
        if extra:
            raise Refusal(Code.INVALID_ARGUMENT, f"columns {extra} are not in the table", "SCHEMA_MISMATCH_EXTRA_FIELDS")
        if not self.keep:
            return [{}] * len(serialized)
        rows, errors = [], {}
        for index, data in enumerate(serialized):
            row, why = connection.row(data, table.columns)
            if why := why or self.refuses(row):
                errors[index] = why
            rows.append(row)
        if errors:
            raise Refusal(Code.INVALID_ARGUMENT, "rows with errors", rows=errors)
        return rows

    def _stream(self, name: str) -> Stream:
        found = self.streams.get(name)
        if found is None or found.gone or found.table not in self.tables:
            raise Refusal(Code.NOT_FOUND, f"Requested entity was not found: {name}", "STREAM_NOT_FOUND")
        return found

    async def _admit(self, what: str, context: Any, names: str, *, fault: bool = True) -> None:
        """Who asks, and for what."""
        metadata = dict(context.invocation_metadata())
        if quote(names, safe="") not in metadata.get("x-goog-request-params", ""):
            self.wrong.append(f"{what}: the routing header is {metadata.get('x-goog-request-params')!r}, not of {names}")
        token = metadata.get("authorization", "").removeprefix("Bearer ")
        if self.authorised is not None and not self.authorised(token):
            await self._abort(context, Refusal(Code.UNAUTHENTICATED, "invalid credentials"))
        found = self._fault(what) if fault else "ok"
        if found in ("down", "reset", "lost", "internal", "quota", "aborted"):
            await self._abort(context, Refusal(Code.UNAVAILABLE, "down"))
        if found == "401":
            await self._abort(context, Refusal(Code.UNAUTHENTICATED, "the token is no longer valid"))

    def _fault(self, what: str) -> str:
        self.seen.append(what)
        fault = next(self.schedule, "")
        if not fault:
            fault = self.rng.choice(FAULTS) if self.rng.random() < self.random_faults else "ok"
        self.faults.append(fault)
        return fault

    async def _abort(self, context: Any, error: Refusal) -> None:
        trailer = (("grpc-status-details-bin", error.status().SerializeToString()),) if error.storage else ()
        await context.abort(error.code, str(error), trailer)


class _Connection:
    """What the first request of it said, and later ones changed."""

    def __init__(self) -> None:
        self.stream = ""
        self.descriptor: Any = None
        self._message: Any = None

    def read(self, request: Any, wrong: list[str]) -> None:
        if not self.stream and not request.write_stream:
            wrong.append("the first request of a connection names no stream")
        if self.stream and request.write_stream not in ("", self.stream):
            wrong.append("another stream on the same connection")
        self.stream = self.stream or request.write_stream
        described = types.ProtoSchema.pb(request.proto_rows.writer_schema).proto_descriptor
        if described.name:
            self.descriptor = descriptor_pb2.DescriptorProto.FromString(described.SerializeToString())
            file = descriptor_pb2.FileDescriptorProto(name="row.proto", message_type=[self.descriptor])
            pool = descriptor_pool.DescriptorPool()
            pool.Add(file)
            self._message = message_factory.GetMessageClass(pool.FindMessageTypeByName(self.descriptor.name))
        if self.descriptor is None:
            wrong.append("the first request of a connection has no writer_schema")
            raise Refusal(Code.INVALID_ARGUMENT, "writer_schema is needed")

    def row(self, data: bytes, columns: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
        """The row, and what is wrong with it."""
        try:
            message = self._message.FromString(data)
        except Exception as error:
            raise Refusal(Code.INVALID_ARGUMENT, f"cannot be parsed: {error}") from error
        return _values(message, columns)


def _values(message: Any, columns: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    if len(unknown_fields.UnknownFieldSet(message)):
        return {}, "fields that the descriptor does not have"
    row: dict[str, Any] = {}
    for column in columns:
        name, kind = column["name"], column["type"]
        if name not in message.DESCRIPTOR.fields_by_name:
            if column.get("mode") == "REQUIRED":
                return row, f"{name} is required"
            continue
        repeated = column.get("mode") == "REPEATED"
        if not repeated and not message.HasField(name):
            if column.get("mode") == "REQUIRED":
                return row, f"{name} is required"
            continue
        held = getattr(message, name)
        made = []
        for value in held if repeated else [held]:
            if kind in ("RECORD", "STRUCT"):
                value, why = _values(value, column["fields"])
                if why:
                    return row, f"{name}.{why}"
            elif kind == "JSON":
                try:
                    value = json.loads(value)
                except ValueError:
                    return row, f"{name} is no JSON"
            elif isinstance(value, bytes) and kind != "BYTES":
                return row, f"{name} is no UTF-8"
            made.append(value)
        row[name] = made if repeated else made[0]
    return row, ""


def _misfits(descriptor: Any, columns: list[dict[str, Any]], lead: str = "") -> list[str]:
    """Fields of the descriptor that the table has not, or has with another type."""
    known = {column["name"].lower(): column for column in columns}
    nested = {inner.name: inner for inner in descriptor.nested_type}
    found = []
    for one in descriptor.field:
        column = known.get(one.name.lower())
        if column is None:
            found.append(lead + one.name)
        elif (one.label == 3) != (column.get("mode") == "REPEATED"):
            found.append(f"{lead}{one.name}: repeated")
        elif column["type"] in ("RECORD", "STRUCT"):
            inner = nested.get(one.type_name)
            found += [lead + one.name] if inner is None else _misfits(inner, column["fields"], f"{lead}{one.name}.")
        elif _KIND_NAMES.get(one.type) not in _TYPES.get(column["type"], ("string",)):
            found.append(f"{lead}{one.name}: {_KIND_NAMES.get(one.type)} for {column['type']}")
    return found
