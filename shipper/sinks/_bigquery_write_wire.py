"""The messages of BigQuery's Storage Write API (google.cloud.bigquery.storage.v1), by hand. Pure.

Four requests and three answers are all that is needed of it: Google's library for them is 36 MB of memory and 140 ms of start,
grpcio alone 10 and 20 (docs/dependencies.md). The fake that the tests use reads and writes them with Google's own classes.

Invariants (tests/sinks/test_bigquery_write_wire.py):
  WW1  what is no message of its kind is ValueError, never another exception; unknown fields are passed over
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..encode.bigquery_proto import read_varint, text, varint, whole

SERVICE = "/google.cloud.bigquery.storage.v1.BigQueryWrite/"
_COMMITTED = 1
_SIGN = 1 << 63
_STORAGE_ERROR = "google.cloud.bigquery.storage.v1.StorageError"


@dataclass(frozen=True, slots=True)
class Answer:
    """To one append. code: of google.rpc.Code, 0 where it was written; storage_code: of StorageError.StorageErrorCode, 0 where
    none was told; row_errors: (index in the request, words); offset: where it was written, None where that was not told."""

    code: int = 0
    message: str = ""
    storage_code: int = 0
    row_errors: tuple[tuple[int, str], ...] = ()
    offset: int | None = None
    new_schema: bool = False


class Refused(Exception):
    """A call that ended with a status instead of an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


@dataclass(slots=True)
class _Status:
    code: int = 0
    message: str = ""
    storage_code: int = 0
    details: list[bytes] = field(default_factory=list)


def append_request(stream: str, offset: int, rows: bytes, descriptor: bytes | None) -> bytes:
    """AppendRowsRequest. rows: ProtoRows; descriptor: of the rows, for the first request of a connection and when it changes."""
    schema = text(1, text(1, descriptor)) if descriptor is not None else b""
    rows_head = b"\x12" + varint(len(rows))
    data_head = b"\x22" + varint(len(schema) + len(rows_head) + len(rows))
    return b"".join([text(1, stream.encode()), text(2, whole(1, offset)), data_head, schema, rows_head, rows])


def create_request(table: str) -> bytes:
    """CreateWriteStreamRequest of a committed stream. table: projects/P/datasets/D/tables/T."""
    return text(1, table.encode()) + text(2, whole(2, _COMMITTED))


def name_request(stream: str) -> bytes:
    """FinalizeWriteStreamRequest, GetWriteStreamRequest."""
    return text(1, stream.encode())


def read_name(data: bytes) -> str:
    """Of a WriteStream."""
    name = _text({number: value for number, value in _fields(data)}.get(1, b""))
    if not name:
        raise ValueError("a stream without a name")
    return name


def read_row_count(data: bytes) -> int:
    """Of a FinalizeWriteStreamResponse."""
    count = dict(_fields(data)).get(1, 0)
    if not isinstance(count, int):
        raise ValueError("a row count that is no number")
    return count


def read_answer(data: bytes) -> Answer:
    """Of an AppendRowsResponse."""
    offset: int | None = None
    status, row_errors, new_schema = _Status(), [], False
    for number, value in _fields(data):
        if number == 1:
            offset = _offset(_bytes(value))
        elif number == 2:
            status = _status(_bytes(value))
        elif number == 3:
            new_schema = True
        elif number == 4:
            row_errors.append(_row_error(_bytes(value)))
    if row_errors and not status.code:
        status.code = 3
    return Answer(status.code, status.message, status.storage_code, tuple(row_errors), offset, new_schema)


def read_status(data: bytes) -> Answer:
    """Of a google.rpc.Status: what stands in the trailer grpc-status-details-bin."""
    status = _status(data)
    return Answer(status.code, status.message, status.storage_code)


def _offset(data: bytes) -> int | None:
    wrapped = dict(_fields(data)).get(1)
    return None if wrapped is None else _int(dict(_fields(_bytes(wrapped))).get(1, 0))


def _status(data: bytes) -> _Status:
    made = _Status()
    for number, value in _fields(data):
        if number == 1:
            made.code = _int(value)
        elif number == 2:
            made.message = _text(value)
        elif number == 3:
            inner = dict(_fields(_bytes(value)))
            if _text(inner.get(1, b"")).endswith(_STORAGE_ERROR):
                made.storage_code = _int(dict(_fields(_bytes(inner.get(2, b"")))).get(1, 0))
    return made


def _row_error(data: bytes) -> tuple[int, str]:
    inner = dict(_fields(data))
    return _int(inner.get(1, 0)), _text(inner.get(3, b""))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """WW1."""
    at = 0
    try:
        while at < len(data):
            key, at = read_varint(data, at)
            kind = key & 7
            if kind == 0:
                value, at = read_varint(data, at)
                yield key >> 3, value - 2 * _SIGN if value >= _SIGN else value
                continue
            if kind == 2:
                size, at = read_varint(data, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"wire type {kind}")
            if at + size > len(data):
                raise ValueError("a field that goes beyond its message")
            if kind == 2:
                yield key >> 3, data[at:at + size]
            at += size
    except IndexError as error:
        raise ValueError("a number without an end") from error


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number is expected")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes are expected")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8", "replace")
