"""Cloud Storage: objects, their names and ends; uploads of both kinds under faults; plans that outlive their process."""
from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from shipper.errors import BufferLost
from shipper.sinks._gcs_upload import Upload
from shipper.sinks._http_status import Answer
from shipper.sinks._plan_store import PlanStore
from tests.sinks.gcs_world import GcsWorld, tokens
from tests.sinks.spool_world import gone_after_one_removal
from tests.support.fake_gcs import FakeGcs

BIG = 9 * 1024 * 1024


@pytest.fixture
async def gcs() -> AsyncIterator[FakeGcs]:
    async with FakeGcs() as server:
        yield server
        assert server.wrong == []


@pytest.fixture
async def world(tmp_path: Path, gcs: FakeGcs) -> AsyncIterator[GcsWorld]:
    made = GcsWorld(tmp_path, gcs)
    yield made
    await made.stop()


async def test_records_are_one_object_whose_name_holds_buffer_range_and_checksum(world: GcsWorld, gcs: FakeGcs) -> None:
    world.write(100)
    world.write(50)
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    [(key, stored)] = gcs.objects.items()
    crc = int.from_bytes(__import__("base64").b64decode(stored.resource["crc32c"]), "big")
    assert key == f"logs/default/{world.buffer.uuid}-0-1-{crc:08x}.ndjson.gz"
    assert stored.resource["contentType"] == "application/gzip" and "contentEncoding" not in stored.resource
    assert stored.resource["metadata"] == {
        "shipper-node": "n1", "shipper-uncompressed-bytes": str(len(gzip.decompress(stored.data)))}
    assert tokens(stored.data) == world.expected, "in order"
    counters = world.delivery.status()["counters"]
    assert counters["delivered_records"] == 150 and counters["delivered_bytes"] == world.buffer.total_bytes


@pytest.mark.parametrize("member", [{"crc32c": "AAAAAA=="}, {"size": "1"}])
async def test_gu4_an_object_that_was_stored_otherwise_than_it_was_sent_does_not_count(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch, member: dict[str, str],
) -> None:
    """The first answer speaks of other content; then the object is looked at again before it counts."""
    real, answers = Upload._multipart, []

    async def once(self: Upload) -> Answer:
        answer = await real(self)
        answers.append(answer)
        wrong = {**(answer.json() or {}), **member}
        return Answer(200, answer.headers, json.dumps(wrong).encode()) if len(answers) == 1 else answer

    monkeypatch.setattr(Upload, "_multipart", once)
    world.write(10)
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    assert [answer.status for answer in answers] == [200, 412]


async def test_each_namespace_has_its_own_objects_and_one_manifest_holds_those_of_a_range(world: GcsWorld, gcs: FakeGcs) -> None:
    for namespace in ("a", "b", "a", "c"):
        world.write(10, namespace=namespace)
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    assert sorted(key.split("/")[1] for key in gcs.objects) == ["a", "b", "c"]
    assert len({key.rpartition("/")[2].rsplit("-", 1)[0] for key in gcs.objects}) == 1, "one range"


async def test_more_namespaces_than_objects_may_be_open_end_the_range(world: GcsWorld, gcs: FakeGcs) -> None:
    world.run(max_open_objects=3)
    for number in range(8):
        world.write(5, namespace=f"n{number}")
        await world.until(lambda: not world.delivery.status()["in_flight_requests"] and world.buffer.reads)
        await asyncio.sleep(0.02)
    await world.flushed()
    world.assert_exactly_once()
    ranges = [key.rpartition("/")[2].rsplit("-", 1)[0] for key in gcs.objects]
    assert len(ranges) == 8 and all(ranges.count(one) <= 3 for one in ranges)


async def test_an_object_ends_when_it_is_full_old_or_holds_a_quarter_of_the_buffer(world: GcsWorld, gcs: FakeGcs) -> None:
    world.run(age_s=0.05)
    world.write(10)
    await world.until(lambda: world.done, "old: nobody asked for it")
    assert len(gcs.objects) == 1
    await world.stop()
    world.buffer_bytes = 40_000
    world.run()
    world.write(200, padding=100)
    await world.until(lambda: world.done, "a quarter of the buffer")
    await world.stop()
    world.buffer_bytes = 1 << 30
    world.run(max_bytes="256KiB", compression="none")
    world.write(400, padding=1000)
    await world.until(lambda: world.done, "full")
    world.assert_exactly_once()
    assert len(gcs.objects) == 3


async def test_time_in_the_prefix_is_when_the_records_were_read(world: GcsWorld, gcs: FakeGcs) -> None:
    world.write(10)
    world.run(prefix="{cluster|none}/{node}/{yyyy}/{mm}/{dd}/{hh}", cluster_name="c/1")
    await world.flushed()
    [key] = gcs.objects
    assert key.startswith("logs/c%2F1/n1/2023/11/14/22/")


@pytest.mark.parametrize("keys, end, kind", [
    ({"compression": "none"}, ".ndjson", "application/x-ndjson"),
    ({"compression": "zstd"}, ".ndjson.zst", "application/zstd"),
    ({"format": "raw"}, ".log.gz", "application/gzip"),
    ({"format": "raw", "compression": "none"}, ".log", "text/plain; charset=utf-8"),
])
async def test_the_end_of_the_name_and_the_content_type_tell_the_format(
    world: GcsWorld, gcs: FakeGcs, keys: dict[str, str], end: str, kind: str,
) -> None:
    world.write(10)
    world.run(**keys, storage_class="NEARLINE")
    await world.flushed()
    [(key, stored)] = gcs.objects.items()
    assert key.endswith(end) and stored.resource["contentType"] == kind and stored.resource["storageClass"] == "NEARLINE"
    if end == ".log":
        assert stored.data.splitlines()[0].strip() == b"m000000"
    if end == ".log.gz":
        assert gzip.decompress(stored.data).splitlines()[9].strip() == b"m000009"


# ------------------------------------------------------------ uploads


@pytest.mark.parametrize("fault", ["lost", "503", "429", "500", "reset", "cut", "401"])
async def test_a_small_object_is_there_once_whatever_happened_to_the_first_try(world: GcsWorld, gcs: FakeGcs, fault: str) -> None:
    gcs.schedule = iter([fault, fault])
    world.write(100)
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    assert gcs.faults[:2] == [fault, fault]


async def big(world: GcsWorld, pieces: int = 3) -> None:
    for _ in range(pieces):
        world.write(700, padding=5000)
    world.run(compression="none")
    await world.flushed()
    world.assert_exactly_once()


async def test_an_object_over_8_mib_goes_up_in_pieces(world: GcsWorld, gcs: FakeGcs) -> None:
    await big(world)
    assert gcs.seen == ["resumable", "put", "put"] and len(gcs.objects) == 1


@pytest.mark.parametrize("schedule, words", [
    (["ok", "lost"], "the answer to a piece was lost"), (["ok", "cut"], "reset in the middle of a piece"),
    (["ok", "part"], "kept in part"), (["ok", "503"], "503"), (["ok", "ok", "lost"], "the answer to the last piece was lost"),
    (["ok", "ok", "cut"], "reset in the last piece"), (["ok", "ok", "gone"], "the session is gone"),
    (["lost"], "the session's address was lost"), (["ok", "cut", "503", "cut"], "the question fails too"),
    (["ok", "401", "ok"], "the token is refused"),
])
async def test_a_big_object_goes_on_where_it_stands(world: GcsWorld, gcs: FakeGcs, schedule: list[str], words: str) -> None:
    gcs.schedule = iter(schedule)
    await big(world)
    assert gcs.faults[: len(schedule)] == schedule, words
    assert len(gcs.objects) == 1


async def test_a_big_object_goes_on_in_another_process_where_it_stood(world: GcsWorld, gcs: FakeGcs) -> None:
    gcs.schedule = iter(["ok", "ok", *["503"] * 100_000])
    for _ in range(3):
        world.write(700, padding=5000)
    world.run(compression="none")                     # no clock ends the object, however slow the machine: the flush does
    flushing = asyncio.create_task(world.flushed())
    await world.until(lambda: gcs.seen.count("put") > 1)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await world.stop()
    gcs.seen.clear()
    gcs.schedule = iter(())
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    assert gcs.seen == ["put", "put"], "asked, and the rest sent"


async def test_an_object_that_is_there_already_counts_by_its_checksum_or_where_that_may_not_be_read_by_its_name(
    world: GcsWorld, gcs: FakeGcs,
) -> None:
    for round_, (read, delete_403) in enumerate([(True, False), (False, False), (False, True)]):
        gcs.read_right, gcs.delete_403 = read, delete_403
        gcs.schedule = iter(["lost"])
        world.write(10)
        world.run()
        await world.flushed()
        await world.stop()
        assert gcs.precondition_failures == round_ + 1
    world.assert_exactly_once()


async def test_an_object_of_that_name_with_another_content_is_no_success(world: GcsWorld, gcs: FakeGcs) -> None:
    gcs.schedule = iter(["lost"])
    world.write(10)
    world.run()
    task = asyncio.create_task(world.flushed())
    await world.until(lambda: gcs.objects)
    stored = next(iter(gcs.objects.values()))
    stored.resource["crc32c"] = "AAAAAA=="
    await world.until(lambda: world.delivery.status()["state"] == "failed")
    assert "another content" in world.delivery.status()["last_error"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_bucket_that_is_not_there_is_waited_for_and_said(world: GcsWorld, gcs: FakeGcs) -> None:
    gcs.buckets = set()
    world.write(10)
    world.run(age_s=0.05)
    await world.until(lambda: world.delivery.status()["state"] == "retrying")
    assert "404" in world.delivery.status()["last_error"] and "gs://logs" in world.delivery.status()["last_error"]
    gcs.buckets = {"logs"}
    await world.flushed()
    world.assert_exactly_once()


# ------------------------------------------------------------ plans


async def test_a_plan_outlives_its_process_and_the_config_that_made_it(world: GcsWorld, gcs: FakeGcs) -> None:
    gcs.schedule = iter(["503"] * 100_000)
    world.write(100, namespace="a")
    world.write(100, namespace="b")
    world.run(age_s=0.05)
    await world.plans(1)
    await world.stop()
    gcs.schedule = iter(())
    world.write(100, namespace="a")
    world.run(format="raw", compression="none", prefix="new", bucket="logs")
    await world.until(lambda: len(gcs.objects) == 2, "the old plan, without anybody asking")
    assert sorted(key.split("/")[1] for key in gcs.objects) == ["a", "b"]
    assert all(key.endswith(".ndjson.gz") for key in gcs.objects)
    await world.until(lambda: world.position >= (2, 0))
    await world.flushed()
    assert [key for key in gcs.objects if key.startswith("logs/new/") and key.endswith(".log")]
    counters = world.delivery.status()["counters"]
    assert counters["delivered_records"] == 300 and counters["delivered_bytes"] == world.buffer.total_bytes
    assert world.position == (3, 0)


async def test_what_is_no_plan_yet_is_made_anew_and_its_files_are_scratch(world: GcsWorld, gcs: FakeGcs) -> None:
    world.write(100)
    world.buffer.synced_seq = -1
    world.run(age_s=0.05)
    await world.until(lambda: world.sink._planner.sealing, "sealed, and the buffer has not synced it")
    assert not [name for name in world.spool if "plan" in name] and gcs.seen == []
    (world.root / "spool" / "far" / "0000000099-0.part").write_bytes(b"of a process before")
    await world.stop()
    world.buffer.synced_seq = None
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    await world.until(lambda: world.spool == [])


async def test_a_plan_covers_synced_frames_only(world: GcsWorld, gcs: FakeGcs) -> None:
    world.buffer.synced_seq = -1
    world.write(100)
    world.run(age_s=0.05)
    await world.until(lambda: world.sink._planner.sealing)
    await asyncio.sleep(0.05)
    assert gcs.seen == [] and not [name for name in world.spool if "plan" in name]
    world.buffer.synced_seq = 0
    await world.flushed()
    world.assert_exactly_once()


async def test_what_the_buffer_took_back_is_not_planned_and_what_comes_instead_is(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, lost = world.buffer.wait_synced, [BufferLost("frame 0 was abandoned after a failed write")]

    async def wait_synced(seq: int) -> None:
        if lost:
            raise lost.pop()
        await real(seq)

    monkeypatch.setattr(world.buffer, "wait_synced", wait_synced)
    world.write(100)
    world.run(age_s=0.05)
    await world.flushed()
    world.assert_exactly_once()
    assert not lost


async def test_a_full_disk_is_said_and_the_records_come_when_there_is_room(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, full = PlanStore.create, [True]

    def create(self: PlanStore, path: str) -> int:
        if full:
            raise OSError(28, "No space left on device", path)
        return real(self, path)

    monkeypatch.setattr(PlanStore, "create", create)
    world.write(100)
    world.run()
    await world.until(lambda: "No space left" in world.delivery.status()["last_error"])
    full.clear()
    await world.flushed()
    world.assert_exactly_once()


async def test_a_spool_file_that_was_changed_is_not_uploaded_and_its_records_come_again(world: GcsWorld, gcs: FakeGcs) -> None:
    gcs.schedule = iter(["503"] * 100_000)
    world.write(100)
    world.run(age_s=0.05)
    await world.plans(1)
    await world.stop()
    world.change_a_file()
    gcs.schedule = iter(())
    world.run()
    await world.flushed()
    world.assert_exactly_once()


async def test_a_crash_while_plans_with_a_changed_file_are_given_up_loses_none_of_their_records(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that is left behind one that is gone would stand for the records of both."""
    gcs.schedule = iter(["503"] * 100_000)
    world.run(age_s=0.05)
    for count in (1, 2, 3):
        world.write(50)
        await world.plans(count)
    await world.stop()
    world.change_a_file()
    gcs.schedule = iter(())
    with monkeypatch.context() as patch:
        gone = gone_after_one_removal(patch)
        world.run()
        await world.until(lambda: gone)
        await world.stop()
    world.run()
    await world.flushed()
    world.assert_exactly_once()


async def test_who_does_what_is_said_of_a_damaged_manifest_loses_no_record(world: GcsWorld, gcs: FakeGcs) -> None:
    """To move that manifest alone away would lose its records: the next one would stand for them."""
    gcs.schedule = iter(["503"] * 100_000)
    world.run(age_s=0.05)
    for count in (1, 2):
        world.write(50)
        await world.plans(count)
    await world.stop()
    spool = world.root / "spool" / "far"
    (spool / world.spool[1]).write_bytes(b"{")
    world.run()
    await world.until(lambda: world.delivery.status()["state"] == "failed")
    assert f"is damaged; move {spool} away" in world.delivery.status()["last_error"]
    await world.stop()
    spool.rename(world.root / "away")
    gcs.schedule = iter(())
    world.run()
    await world.flushed()
    world.assert_exactly_once()


async def test_a_wiped_buffer_never_makes_a_false_already_there(world: GcsWorld, gcs: FakeGcs) -> None:
    world.write(10)
    world.run()
    await world.flushed()
    await world.stop()
    before = dict(gcs.objects)
    world.buffer.__init__()  # type: ignore[misc]
    world.buffer.uuid = "ffeeddccbbaa99887766554433221100"
    world.expected.clear()
    world.write(10)             # equal records with equal numbers: equal size and checksum; the buffer alone tells them apart
    world.run()
    await world.flushed()
    assert len(gcs.objects) == 2 and gcs.precondition_failures == 0
    [new] = [stored for key, stored in gcs.objects.items() if key not in before]
    assert tokens(new.data) == world.expected
    [old] = before.values()
    assert new.data == old.data


async def test_a_dead_cloud_storage_with_drop_oldest_keeps_what_is_planned_and_lets_the_rest_go(
    tmp_path: Path, gcs: FakeGcs,
) -> None:
    world = GcsWorld(tmp_path, gcs, when_full="drop_oldest")
    gcs.schedule = iter(["503"] * 100_000)
    world.write(100)
    world.run(age_s=0.05)
    await world.until(lambda: [name for name in world.spool if name.endswith("plan.json")] and not world.sink.pinned)
    world.sink._config = msgspec.structs.replace(world.sink._config, max_age=3600.0)     # nothing more is planned by its age
    world.write(100)
    world.buffer.full = True
    await world.until(lambda: world.position >= (1, 0), "the cursor passes the plan")
    await world.until(lambda: world.done, "what is behind it is dropped")
    world.buffer.full = False
    gcs.schedule = iter(())
    await world.until(lambda: gcs.objects)
    assert {t for s in gcs.objects.values() for t in tokens(s.data)} == set(world.expected[:100])
    await world.until(lambda: world.spool == [])
    await world.stop()
