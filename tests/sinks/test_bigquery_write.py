"""Rows exactly once into BigQuery: the sink with a real delivery, against a fake that speaks Google's own messages."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import shipper.sinks._bigquery_table as table_module
import shipper.sinks._bigquery_write as module
import shipper.sinks._bigquery_write_plans as plans_module
from shipper.errors import Usage
from shipper.sinks import find
from tests.sinks.bigquery_write_world import WriteWorld, short_ranges
from tests.sinks.http_world import entry_of
from tests.support.fake_bigquery import FakeBigquery
from tests.support.fake_bigquery_write import TABLE, FakeBigQueryWrite, Table


@pytest.fixture
async def fake() -> AsyncIterator[FakeBigQueryWrite]:
    async with FakeBigQueryWrite() as running:
        yield running


async def test_records_become_rows_and_the_cursor_follows(fake: FakeBigQueryWrite, tmp_path: Path) -> None:
    world = WriteWorld(tmp_path, fake)
    world.run()
    world.write(300)
    await world.flushed()
    assert world.done and len(fake.streams) == 1
    world.assert_exactly_once()
    await world.stop()


async def test_a_restart_goes_on_in_the_same_stream(
    fake: FakeBigQueryWrite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_ranges(monkeypatch)
    world = WriteWorld(tmp_path, fake, max_request_records=10)
    for _ in range(3):
        world.run()
        world.write(50, padding=100)
        await world.flushed()
        await world.stop()
    assert len(fake.streams) == 1 and set(fake.answers) == {"ok"} and len(fake.answers) >= 15
    world.assert_exactly_once()


async def test_over_tls_the_given_authority_is_believed_and_no_other(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("localhost")
    pem = (issued.private_key_pem.bytes(), b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    for name, ca in (("good.pem", authority), ("bad.pem", stranger)):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    async with FakeBigQueryWrite(tls=pem) as fake:
        world = WriteWorld(tmp_path, fake)
        world.run(tls={"ca": str(tmp_path / "bad.pem")})
        world.write(5)
        await world.until(lambda: "UNAVAILABLE" in str(world.delivery.status()["last_error"]))
        assert fake.seen == []
        await world.stop()
        world.run(tls={"ca": str(tmp_path / "good.pem")})
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


async def test_a_table_that_is_not_there_is_created(tmp_path: Path) -> None:
    async with FakeBigquery() as rest, FakeBigQueryWrite() as fake:
        del fake.tables[TABLE]
        world = WriteWorld(tmp_path, fake)
        world.run(create_table=True, endpoint=f"http://127.0.0.1:{rest.port}")
        world.write(5)
        await world.until(lambda: rest.tables)
        fake.tables[TABLE] = Table(rest.tables["nodes"].fields)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert rest.wrong == []


async def test_new_columns_of_a_table_are_used_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that were planned before stand in ranges of their own, with the descriptor that they were made with."""
    monkeypatch.setattr(module, "REFRESH_S", 0.05)
    monkeypatch.setattr(table_module, "REFRESH_S", 0.05)
    columns: list[dict[str, Any]] = [{"name": "message", "type": "STRING"}, {"name": "id", "type": "STRING", "mode": "REQUIRED"}]
    async with FakeBigquery() as rest, FakeBigQueryWrite() as fake:
        rest.make("nodes", columns)
        fake.tables[TABLE] = Table(columns)
        world = WriteWorld(tmp_path, fake)
        world.run(schema="table", endpoint=f"http://127.0.0.1:{rest.port}")
        world.write(10)
        await world.flushed()
        columns = [*columns, {"name": "pod", "type": "STRING"}, {"name": "time", "type": "TIMESTAMP"}]
        rest.alter("nodes", columns)
        fake.tables[TABLE].columns = columns
        while not any("pod" in row for row in world.rows()):
            world.write(3)
            await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert set(world.rows()[0]) == {"message", "id"} and set(world.rows()[-1]) == {"message", "id", "pod", "time"}
        assert len(fake.streams) == 1


async def test_rows_of_other_columns_begin_a_range_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.0)
    monkeypatch.setattr(table_module, "REFRESH_S", 0.0)
    monkeypatch.setattr(plans_module, "RANGE_S", 60.0)
    columns: list[dict[str, Any]] = [{"name": "message", "type": "STRING"}]
    async with FakeBigquery() as rest, FakeBigQueryWrite() as fake:
        rest.make("nodes", columns)
        fake.tables[TABLE] = Table(columns)
        world = WriteWorld(tmp_path, fake, max_request_records=1)
        world.run(schema="table", endpoint=f"http://127.0.0.1:{rest.port}")
        world.write(3)
        await world.until(lambda: world.sink.status()["open_bytes"])
        columns = [*columns, {"name": "pod", "type": "STRING"}]
        rest.alter("nodes", columns)
        fake.tables[TABLE].columns = columns
        world.write(9)
        await world.until(lambda: world.sink.status()["appended_rows"])
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert world.dead == set() and "pod" in world.rows()[-1]


@pytest.mark.parametrize("changes", [False, True], ids=["due", "other columns"])
async def test_a_request_in_parts_whose_range_should_have_ended_between_them_does_not_wait_for_ever(
    fake: FakeBigQueryWrite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    """A range cannot end between the parts: they are one entry of delivery's."""
    monkeypatch.setattr(plans_module, "RANGE_S", 60.0 if changes else 0.0)
    world = WriteWorld(tmp_path, fake)
    world.run()
    real, tables = world.sink.encode, [[], ["other"]]  # type: ignore[var-annotated]

    def encode(batches: Any) -> Any:
        if any(b"m000003" in message for batch in batches for message in batch.messages):
            raise ValueError("the record that cannot be encoded")
        found = real(batches)
        if changes and tables and len(tables.pop()) == 0:
            return found._replace(descriptor=found.descriptor + b"\x0a\x00")
        return found

    monkeypatch.setattr(world.sink, "encode", encode)
    world.write(9)
    await world.flushed()
    await world.stop()
    world.assert_exactly_once()
    assert world.dead == {"m000003"}


async def test_records_that_do_not_fit_their_columns_are_dead_before_anything_is_sent(tmp_path: Path) -> None:
    columns = [{"name": "message", "type": "STRING"}]
    async with FakeBigquery() as rest, FakeBigQueryWrite() as fake:
        rest.make("nodes", columns)
        fake.tables[TABLE] = Table(columns)
        world = WriteWorld(tmp_path, fake)
        world.run(schema="table", endpoint=f"http://127.0.0.1:{rest.port}")
        world.write(5)
        frame = world.buffer.frames[-1]
        frame.sections[0].batch.fields = [b"", b'{"user":1}', b"", b"", b'{"user":2}']
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert world.dead == {"m000001", "m000004"}
        assert {words for _, _, words in world.letters.records.values()} == {"no such field: user"}


@pytest.mark.parametrize(("keys", "words"), [
    ("write_endpoint: 'ftp://x'", "write_endpoint"), ("write_endpoint: 'https://x/y'", "has a path"),
    ("endpoint: 'http://127.0.0.1:1'", "write_endpoint: is missing"), ("proxy: 'http://p:1'", "https_proxy alone"),
    ("tls: {verify: false}", "tls.verify"), ("tls: {server_name: x}", "tls.server_name"),
])
def test_what_the_write_api_cannot_do_is_said_by_check(keys: str, words: str) -> None:
    with pytest.raises(Usage, match=words):
        entry_of(f"type: bigquery, dataset: p1.logs, table: t, method: storage_write, anonymous: true, {keys}")


def test_without_the_extra_storage_write_is_refused_with_the_pip_command_and_insert_all_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shipper.sinks._bigquery_config.grpc_is_here", lambda: False)
    with pytest.raises(Usage, match=r"pip install 'shipper\[bigquery\]'"):
        entry_of("type: bigquery, dataset: p1.logs, table: t, method: storage_write, anonymous: true")
    entry = entry_of("type: bigquery, dataset: p1.logs, table: t, anonymous: true")
    assert entry.spec.confirms == "on_send" and "insertAll" in find("bigquery").guarantee(entry.config).delivered_means


def test_with_the_extra_storage_write_is_the_default_and_promises_exactly_once() -> None:
    entry = entry_of("type: bigquery, dataset: p1.logs, table: t, anonymous: true")
    assert (entry.spec.confirms, entry.spec.request_records) == ("later", 10_000)
    assert find("bigquery").guarantee(entry.config).can_repeat.startswith("no row")


@pytest.mark.parametrize("method", ["insert_all", "storage_write"])
def test_nothing_of_grpc_is_imported_before_the_first_call(method: str) -> None:
    code = (
        "import sys; from tests.sinks.http_world import entry_of; from shipper.sinks import SinkContext\n"
        "from shipper.telemetry import Telemetry\n"
        f"e = entry_of('type: bigquery, dataset: p1.logs, table: t, method: {method}, anonymous: true')\n"
        "e.spec.build(e.config, SinkContext('far', 'n1', '/nonexistent', Telemetry()))\n"
        "assert not {'grpc', 'google.protobuf'} & sys.modules.keys()\n"
        f"assert ('shipper.sinks._bigquery_write' in sys.modules) == ({method!r} == 'storage_write')")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
