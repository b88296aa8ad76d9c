"""insertAll against a strict fake BigQuery. BG: sinks/_bigquery_insert_all.py; misbehaving servers: test_http_contract.py."""
from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shipper.encode.bigquery import AUTO_SCHEMA, columns_of
from shipper.errors import Partial, Rejected, Retryable, ShipperError, TooLarge
from shipper.model import Request
from shipper.sinks._bigquery_insert_all import MAX_BODY_BYTES
from shipper.sinks._http_status import Answer
from tests.sinks.bigquery_world import BigqueryWorld, sink_of
from tests.sinks.http_world import entry_of
from tests.sinks.syslog_kit import batch
from tests.support.fake_bigquery import FakeBigquery

MESSAGE = {"name": "message", "type": "STRING"}
REST = {"name": "rest", "type": "JSON"}
OWN = {"schema": "table"}


@pytest.fixture
async def far() -> AsyncIterator[FakeBigquery]:
    async with FakeBigquery() as made:
        yield made


def auto(far: FakeBigquery) -> FakeBigquery:
    far.make("all", AUTO_SCHEMA)
    return far


# ------------------------------------------------------------ what is sent (BG1)


@pytest.mark.parametrize(("records", "fits"), [(499, True), (500, True), (501, False)])
def test_bg1_no_request_has_more_than_max_rows(records, fits):
    batches = [batch([b"x"] * (records - 1)), batch([b"x"], first=5000)]
    if fits:
        assert sink_of(1).encode(batches).size_bytes
    else:
        with pytest.raises(TooLarge, match="takes 500"):
            sink_of(1).encode(batches)


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_bg1_ten_megabytes_to_the_byte(over, fits):
    empty = sink_of(1).encode([batch([b""])]).size_bytes
    message = b"x" * (MAX_BODY_BYTES - empty + over)
    if fits:
        assert sink_of(1).encode([batch([message])]).size_bytes == MAX_BODY_BYTES + over
    else:
        with pytest.raises(TooLarge, match="10000000"):
            sink_of(1).encode([batch([message])])


async def test_ten_megabytes_are_taken_by_the_far_side(far):
    sink = sink_of(auto(far).port)
    await sink.start(None)
    size = MAX_BODY_BYTES - sink.encode([batch([b""])]).size_bytes
    one = [batch([b"x" * size])]
    await sink.send(Request(1, one), sink.encode(one))
    assert len(far.tables["all"].rows) == 1 and far.wrong == []
    await sink.close()


# ------------------------------------------------------------ rows that are refused (BG2)


async def test_bg2_a_row_that_is_invalid_in_the_middle_of_10_000_is_the_only_dead_letter(far):
    far.make("all", [MESSAGE, {"name": "user", "type": "INTEGER"}])
    async with BigqueryWorld(far, keys=OWN, max_request_records=500) as world:
        world.write(10_000, {5_000: {"user": "nobody"}, 5_001: {"user": 7}})
        await world.until_done()
        assert list(world.dead) == ["m005000"] and "user" in world.dead["m005000"]
        assert sorted(world.stored) == [m for m in world.expected if m != "m005000"]


@pytest.mark.parametrize("fault", ["stopped", "backendError", "timeout"])
async def test_bg2_rows_that_were_put_off_are_sent_again_and_nothing_else_is(far, fault):
    far.schedule = iter([fault, fault])
    async with BigqueryWorld(auto(far)) as world:
        world.write(9)
        await world.until_done()
        assert sorted(world.stored) == world.expected and world.dead == {}
        counts = [9, 9, 9] if fault == "stopped" else [9, 3, 1]
        assert [len(rows) for rows in far.requests] == counts


async def test_bg2_a_far_side_that_refuses_every_row_is_not_fed_to_the_dead_letters(far):
    far.make("all", [{"name": "other", "type": "STRING"}])
    async with BigqueryWorld(far) as world:
        world.write(300)
        await world.until(lambda: world.delivery.status()["state"] == "refusing")
        assert world.dead == {} and "invalid: time: no such field" in json.dumps(world.delivery.status())


async def test_bg5_what_bigquery_quotes_of_a_record_is_in_the_dead_letter_alone(far):
    far.make("all", [MESSAGE, {"name": "user", "type": "INTEGER"}])
    seen: list[str] = []
    async with BigqueryWorld(far, keys=OWN) as world:
        real = world.sink.send

        async def send(request: Request, payload: Any) -> None:
            try:
                await real(request, payload)
            except ShipperError as error:
                seen.append(str(error))
                raise

        world.sink.send = send
        world.write(3, {1: {"user": "hunter2"}})
        await world.until_done()
        assert "hunter2" in world.dead["m000001"]
        assert seen and not any("hunter2" in text for text in seen) and "invalid: user" in seen[0]


@pytest.mark.parametrize(("body", "kind"), [
    ({"kind": "bigquery#tableDataInsertAllResponse"}, type(None)), ({"insertErrors": []}, type(None)),
    ({"insertErrors": [{"index": 1, "errors": [{"reason": "invalid"}]}]}, Partial),
    ({"insertErrors": [{"index": index, "errors": [{"reason": "invalid"}]} for index in (0, 1)]}, Rejected),
    ({"insertErrors": [{"index": 2, "errors": [{"reason": "invalid"}]}]}, Retryable),
    ({"insertErrors": [{"index": -1, "errors": [{"reason": "invalid"}]}]}, Retryable), ({"insertErrors": [7]}, Retryable),
    ({"insertErrors": {}}, Retryable), ([], Retryable)])
def test_bg2_answers(body, kind):
    error: ShipperError | None = None
    try:
        sink_of(1).read_answer(Answer(200, {}, json.dumps(body).encode()), Request(1, [batch([b"x", b"y"])]))
    except ShipperError as caught:
        error = caught
    assert type(error) is kind


def test_bg2_an_error_without_a_reason_we_know_says_of_the_row_that_it_is_dead_and_one_without_any_goes_again():
    errors = [{"index": 0, "errors": [{"reason": "rowTooLarge"}]}, {"index": 1, "errors": []}, {"index": 2, "errors": [{}]}]
    with pytest.raises(Partial) as caught:
        sink_of(1).read_answer(
            Answer(200, {}, json.dumps({"insertErrors": errors}).encode()), Request(1, [batch([b"x"] * 4)]))
    assert list(caught.value.dead) == [0] and caught.value.retry == (1, 2)


# ------------------------------------------------------------ trouble that is no record's (BG3)


@pytest.mark.parametrize(
    "fault", ["lost", "reset", "503", "500", "401", "quotaExceeded", "rateLimitExceeded", "tableUnavailable"])
async def test_bg3_the_same_request_comes_again(far, fault):
    far.schedule = iter([fault] * 3)
    async with BigqueryWorld(auto(far)) as world:
        world.write(20)
        await world.until_done()
        assert world.stored == world.expected and world.dead == {}
        assert far.seen.count("insertAll") == 4
        assert all(rows == far.requests[0] for rows in far.requests)


async def test_bg3_a_quota_is_said_and_is_not_taken_for_missing_rights(far):
    far.schedule = iter(["quotaExceeded"] * 1000)
    async with BigqueryWorld(auto(far)) as world:
        world.write(1)
        await world.until(lambda: "quotaExceeded" in json.dumps(world.delivery.status()))
        assert "credentials" not in json.dumps(world.delivery.status())


async def test_bg3_random_faults_lose_nothing(far):
    far.random_faults, far.remembers = 0.5, False
    async with BigqueryWorld(auto(far), max_request_records=50, concurrency=4) as world:
        for _ in range(40):
            world.write(25)
        await world.until_done()
        assert set(world.stored) == set(world.expected) and world.dead == {}


async def test_bg3_a_table_that_is_not_there_holds_everything_and_says_so(far):
    async with BigqueryWorld(far) as world:
        world.write(20)
        await world.until(lambda: "Not found: Table p1:logs.all" in json.dumps(world.delivery.status()))
        assert world.dead == {}
        auto(far)
        await world.until_done()
        assert world.stored == world.expected


# ------------------------------------------------------------ create_table


async def test_a_table_is_created_partitioned_and_clustered_and_waited_for(far):
    """The 404 that insertAll answers for a while after it was created is nothing to create it again for."""
    far.hidden = 3
    async with BigqueryWorld(far, keys={"create_table": True}) as world:
        world.write(20)
        await world.until_done()
        assert world.stored == world.expected and far.seen.count("create") == 1
        made = far.tables["all"].resource
        assert made["timePartitioning"] == {"type": "DAY", "field": "time"}
        assert made["clustering"] == {"fields": ["namespace", "pod"]} and made["schema"]["fields"] == AUTO_SCHEMA


@pytest.mark.parametrize("keys", [{}, {"schema": "table"}])
async def test_bt1_without_create_table_a_table_that_is_not_there_is_waited_for_and_never_created(far, keys):
    async with BigqueryWorld(far, keys=keys) as world:
        world.write(5)
        await world.until(lambda: far.seen and re.search("not there|Not found", json.dumps(world.delivery.status())))
        auto(far)
        await world.until_done()
        assert world.stored == world.expected and "create" not in far.seen and world.dead == {}


@pytest.mark.parametrize("time", [b"1999-01-01T00:00:00Z", b"2099-01-01T00:00:00Z"])
async def test_a_time_for_which_there_is_no_partition_makes_a_dead_letter_of_that_record_alone(far, time):
    async with BigqueryWorld(far, keys={"create_table": True}) as world:
        world.write(3, times={1: time})
        await world.until_done()
        assert world.stored == ["m000000", "m000002"] and "outside the allowed bounds" in world.dead["m000001"]


async def test_a_table_that_is_deleted_while_we_send_is_created_again(far):
    async with BigqueryWorld(far, keys={"create_table": True}, concurrency=4, max_request_records=5) as world:
        world.write(20)
        await world.until_done()
        del far.tables["all"]
        world.write(20)
        await world.until_done()
        assert sorted(world.stored) == world.expected[20:] and far.seen.count("create") == 2


async def test_a_dataset_that_is_not_there_is_said_and_not_created(far):
    far.datasets = set()
    async with BigqueryWorld(far, keys={"create_table": True}) as world:
        world.write(1)
        await world.until(lambda: "the dataset p1.logs is not there; create it" in json.dumps(world.delivery.status()))
        far.datasets = {"logs"}
        await world.until_done()


async def test_a_table_that_somebody_else_creates_at_the_same_time_is_used(far):
    async with BigqueryWorld(far, keys={"create_table": True}) as world:
        real, created = world.sink.table._create, list[bool]()

        async def second() -> bool:
            auto(far)
            created.append(await real())
            return created[-1]

        world.sink.table._create = second
        world.write(5)
        await world.until_done()
        assert created == [False], "to be second is no trouble after which all is tried again"
        assert world.stored == world.expected and far.seen == ["get", "create", "get", "insertAll"]


# ------------------------------------------------------------ a table of one's own (BG4)


async def test_bg4_unknown_fields_go_into_the_overflow_column(far):
    far.make("all", [MESSAGE, REST, {"name": "user", "type": "INTEGER"}])
    async with BigqueryWorld(far, keys={**OWN, "overflow_column": "rest"}) as world:
        world.write(2, {0: {"user": 7, "new": [1]}})
        await world.until_done()
        assert world.rows == [{"message": "m000000", "user": 7, "rest": '{"new":[1]}'}, {"message": "m000001"}]


async def test_bg4_without_an_overflow_column_the_row_alone_is_a_dead_letter_that_names_the_field(far):
    far.make("all", [MESSAGE])
    async with BigqueryWorld(far, keys=OWN) as world:
        world.now_s += 3600
        world.write(3, {1: {"new": 1}})
        await world.until_done()
        assert world.stored == ["m000000", "m000002"]
        assert world.dead == {"m000001": "invalid: new: no such field: new."}


async def test_bg4_new_columns_are_used_without_a_restart(far):
    far.make("all", [MESSAGE, REST])
    async with BigqueryWorld(far, keys={**OWN, "overflow_column": "rest"}) as world:
        world.write(1, {0: {"user": 7}})
        await world.until_done()
        far.alter("all", [MESSAGE, REST, {"name": "user", "type": "INTEGER"}])
        world.write(1, {0: {"user": 8}})
        await world.until_done()
        world.now_s += 301
        world.write(1, {0: {"user": 9}})
        await world.until_done()
        assert world.rows == [
            {"message": "m000000", "rest": '{"user":7}'}, {"message": "m000001", "rest": '{"user":8}'},
            {"message": "m000002", "user": 9}]
        assert far.seen.count("get") == 2


async def test_bg4_a_row_for_a_column_that_insert_all_does_not_know_yet_goes_again_and_is_no_dead_letter(far):
    """BigQuery's tables.get is ahead of insertAll after a change: some minutes long rows with the new field are invalid."""
    far.make("all", [MESSAGE])
    async with BigqueryWorld(far, keys=OWN) as world:
        world.write(1)
        await world.until_done()
        world.now_s += 3600
        far.alter("all", [MESSAGE, {"name": "note", "type": "JSON"}], lag=4)
        world.write(3, {1: {"note": {"a": 1}}})
        await world.until_done()
        assert world.dead == {} and sorted(world.stored) == world.expected
        assert {"message": "m000002", "note": '{"a":1}'} in world.rows


@pytest.mark.parametrize("location", ["Items", "Items[3].Price", "items.price", "ITEMS[0].price"])
def test_bt3_a_column_that_has_just_come_is_known_however_bigquery_spells_its_place(location):
    table = sink_of(1, **OWN).table
    price = {"name": "Price", "type": "FLOAT"}
    table._learn(columns_of([MESSAGE]))
    table._changed_s.clear()                                    # all of it was new
    table._learn(columns_of([MESSAGE, {"name": "Items", "type": "RECORD", "mode": "REPEATED", "fields": [price]}]))
    assert table.unsettled(location) and not table.unsettled("message") and not table.unsettled("Items.Other")


async def test_bg4_a_row_for_a_column_that_was_removed_is_made_anew(far):
    far.make("all", [MESSAGE, REST, {"name": "user", "type": "INTEGER"}])
    async with BigqueryWorld(far, keys={**OWN, "overflow_column": "rest"}) as world:
        world.write(1, {0: {"user": 7}})
        await world.until_done()
        world.now_s += 60
        far.alter("all", [MESSAGE, REST])
        world.write(1, {0: {"user": 8}})
        await world.until_done()
        assert world.dead == {} and world.rows[-1] == {"message": "m000001", "rest": '{"user":8}'}


async def test_bg4_what_insert_all_denies_for_longer_than_ten_minutes_is_a_dead_letter_and_holds_up_nothing(far):
    far.make("all", [MESSAGE, {"name": "user", "type": "INTEGER"}])
    far.tables["all"].known, far.tables["all"].lag = [MESSAGE], 1 << 30
    async with BigqueryWorld(far, keys=OWN) as world:
        world.write(3, {1: {"user": 7}})
        await world.until(lambda: len(far.requests) > 2)
        assert world.stored == ["m000000", "m000002"] and world.dead == {}
        world.now_s += 601
        await world.until_done()
        assert list(world.dead) == ["m000001"]


async def test_bg4_a_look_at_the_table_that_fails_stops_nothing(far):
    far.make("all", [MESSAGE])
    async with BigqueryWorld(far, keys=OWN) as world:
        world.write(1)
        await world.until_done()
        far.get_status = 503
        world.now_s += 301
        world.write(1)
        await world.until_done()
        assert world.stored == world.expected and far.seen.count("get") == 2


@pytest.mark.parametrize(("fields", "overflow", "says"), [
    ([{"name": "user", "type": "INTEGER"}], None, "neither `message` nor `fields`; add a column message STRING"),
    ([{"name": "message", "type": "INTEGER"}], None, "the column message is INTEGER; make it STRING"),
    ([{"name": "message", "type": "STRING", "mode": "REPEATED"}], None, "the column message is STRING REPEATED; make it STRING"),
    ([MESSAGE, {"name": "time", "type": "DATE"}], None, "the column time is DATE; make it TIMESTAMP"),
    ([MESSAGE, {"name": "kubernetes", "type": "RECORD", "fields": [{"name": "labels", "type": "RECORD", "fields": []}]}], None,
     "the column kubernetes.labels is RECORD; make it JSON"),
    ([MESSAGE], "rest", "overflow_column rest is not there; add it as JSON"),
    ([MESSAGE, {"name": "rest", "type": "INTEGER"}], "rest", "overflow_column rest is INTEGER; make it JSON")])
async def test_bg4_a_table_that_cannot_take_records_is_said_at_start_with_column_and_mend(far, fields, overflow, says):
    far.make("all", fields)
    async with BigqueryWorld(far, keys={**OWN, **({"overflow_column": overflow} if overflow else {})}) as world:
        world.write(1)
        await world.until(lambda: world.delivery.status()["state"] == "failed")
        assert says in json.dumps(world.delivery.status()) and "insertAll" not in far.seen


async def test_a_table_that_is_not_as_the_automatic_schema_is_said_at_start(far):
    far.make("all", [one for one in AUTO_SCHEMA if one["name"] != "marks"])
    async with BigqueryWorld(far, keys={"create_table": True}) as world:
        await world.until(lambda: world.delivery.status()["state"] == "failed")
        assert "it has no column marks; add it as JSON, or use schema: table" in json.dumps(world.delivery.status())


# ------------------------------------------------------------ configs


@pytest.mark.parametrize(("keys", "project"), [
    ({"dataset": "logs"}, "p1"), ({"dataset": "p2.logs", "project": None}, "p2"), ({"dataset": "p1.logs"}, "p1")])
async def test_the_dataset_says_its_project_or_project_does(keys, project):
    sink = sink_of(1, **keys)
    await sink.start(None)
    assert sink.url == f"http://127.0.0.1:1/bigquery/v2/projects/{project}/datasets/logs/tables/all/insertAll"
    await sink.close()


@pytest.mark.parametrize(("keys", "says"), [
    ("dataset: a/b, table: t", "name of a dataset"), ("dataset: p1.logs, table: t, project: p2", "keep one"),
    ("dataset: logs, table: 'a b'", "name of a table"), ("dataset: logs, table: t, overflow_column: x", "no effect"),
    ("dataset: logs, table: t, schema: table, create_table: true", "create the table"),
    ("dataset: logs, table: t, max_rows: 0", "from 1 to 50000"), ("dataset: logs, table: t, max_rows: 50001", "from 1 to 50000")])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of(f"type: bigquery, {keys}, anonymous: true")
