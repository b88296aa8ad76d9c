"""The messages of the Storage Write API, against Google's own."""
from __future__ import annotations

import pytest
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2, descriptor_pb2
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode.bigquery_proto import DESCRIPTOR, text
from shipper.sinks import _bigquery_write_wire as wire

TABLE = "projects/p1/datasets/logs/tables/nodes"


@given(st.integers(0, 2**62), st.lists(st.binary(max_size=300), max_size=5), st.booleans())
@settings(max_examples=50)
def test_an_append_is_what_google_reads(offset: int, rows: list[bytes], first: bool) -> None:
    joined = b"".join(text(1, row) for row in rows)
    made = wire.append_request(f"{TABLE}/streams/s1", offset, joined, DESCRIPTOR if first else None)
    read = types.AppendRowsRequest.deserialize(made)
    assert (read.write_stream, read.offset, list(read.proto_rows.rows.serialized_rows)) == (f"{TABLE}/streams/s1", offset, rows)
    held = types.ProtoSchema.pb(read.proto_rows.writer_schema).proto_descriptor
    described = descriptor_pb2.DescriptorProto.FromString(DESCRIPTOR)
    assert held.SerializeToString() == (described.SerializeToString() if first else b"")


def test_calls_with_one_answer_are_what_google_reads_and_writes() -> None:
    created = types.CreateWriteStreamRequest.deserialize(wire.create_request(TABLE))
    assert (created.parent, created.write_stream.type_) == (TABLE, types.WriteStream.Type.COMMITTED)
    assert types.FinalizeWriteStreamRequest.deserialize(wire.name_request("s1")).name == "s1"
    assert wire.read_name(types.WriteStream.serialize(types.WriteStream(name="s1", type_=1, location="eu"))) == "s1"
    for count in (0, 7, 2**40):
        assert wire.read_row_count(types.FinalizeWriteStreamResponse.serialize(
            types.FinalizeWriteStreamResponse(row_count=count))) == count


@pytest.mark.parametrize("offset", [0, 1, 2**40])
def test_an_offset_is_read_zero_too(offset: int) -> None:
    said = types.AppendRowsResponse(append_result=types.AppendRowsResponse.AppendResult(offset=offset), write_stream="s1")
    assert wire.read_answer(types.AppendRowsResponse.serialize(said)) == wire.Answer(offset=offset)


def test_errors_are_read_with_their_details_and_rows() -> None:
    held = any_pb2.Any()
    held.Pack(types.StorageError.pb(types.StorageError(code=6, entity="s1", error_message="finalized")))
    status = status_pb2.Status(code=9, message="no more", details=[any_pb2.Any(type_url="x/y.Other", value=b"\x08\x63"), held])
    said = types.AppendRowsResponse(error=status, row_errors=[
        types.RowError(index=3, code=1, message="bad é"), types.RowError(index=0, message="worse")])
    answer = wire.read_answer(types.AppendRowsResponse.serialize(said))
    assert answer == wire.Answer(9, "no more", 6, ((3, "bad é"), (0, "worse")))
    assert wire.read_status(status.SerializeToString()) == wire.Answer(9, "no more", 6)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_ww1_any_bytes_are_an_answer_or_a_value_error(data: bytes) -> None:
    for read in (wire.read_answer, wire.read_status, wire.read_name, wire.read_row_count):
        try:
            read(data)
        except ValueError:
            continue
