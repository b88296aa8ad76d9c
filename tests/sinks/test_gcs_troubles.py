"""Cloud Storage when the disk, the buffer or the config turns in the middle of a plan."""
from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import BufferLost
from shipper.sinks import _planner as planner_module
from shipper.sinks._gcs_config import object_name
from shipper.sinks._gcs_range import Range
from shipper.sinks._gcs_upload import _boundary
from shipper.sinks._plan_store import PlanStore
from tests.deliver.support import source
from tests.sinks.gcs_world import GcsWorld
from tests.support.fake_gcs import FakeGcs


@pytest.fixture
async def gcs() -> AsyncIterator[FakeGcs]:
    async with FakeGcs() as server:
        yield server
        assert server.wrong == []


@pytest.fixture
async def world(tmp_path: Path, gcs: FakeGcs) -> AsyncIterator[GcsWorld]:
    made = GcsWorld(tmp_path, gcs, max_request_records=100)
    yield made
    await made.stop()


async def test_what_could_not_be_planned_is_in_no_later_plan_and_nothing_of_it_is_lost(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One range fails while a second one is sealed behind it and a third waits: the second's plan would cover the first."""
    monkeypatch.setattr(planner_module, "MAX_PLANS", 2)
    real, asked, go = world.buffer.wait_synced, 0, asyncio.Event()

    async def wait_synced(seq: int) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await go.wait()
            raise BufferLost("a frame was abandoned after a failed write")
        await real(seq)

    monkeypatch.setattr(world.buffer, "wait_synced", wait_synced)
    world.run(age_s=0.03)
    for _ in range(3):
        world.write(100)
        await world.until(lambda: world.delivery.status()["in_flight_requests"] or len(world.sink._planner.sealing) == 1)
        await asyncio.sleep(0.1)
    await world.until(lambda: len(world.sink._planner.sealing) == 2)
    go.set()
    await world.flushed()
    world.assert_exactly_once()


async def test_ranges_that_all_fail_on_a_full_disk_do_not_stop_the_sink_for_ever(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner_module, "MAX_PLANS", 1)
    real, full, go = Range.seal, [True], threading.Event()

    def seal(self: Range) -> None:
        if full:
            go.wait(10)
            raise OSError(28, "No space left on device")
        real(self)

    monkeypatch.setattr(Range, "seal", seal)
    world.run(age_s=0.03)
    world.write(100)
    await world.until(lambda: world.sink._planner.sealing)
    world.write(100)
    await world.until(lambda: world.delivery.status()["in_flight_requests"])
    go.set()
    await world.until(lambda: "No space left" in world.delivery.status()["last_error"])
    full.clear()
    await world.flushed()
    world.assert_exactly_once()


async def test_a_request_that_the_disk_took_half_of_is_in_no_object(
    world: GcsWorld, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock ends the range between the failed write and delivery's going back."""
    real, writes = Range._write, 0

    def write(self: Range, growing: object, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == 4:
            raise OSError(28, "No space left on device")
        real(self, growing, data)  # type: ignore[arg-type]

    monkeypatch.setattr(Range, "_write", write)
    go_back = planner_module.Planner._go_back

    def and_the_clock_ticks(self: Any, error: Any) -> Any:
        went = go_back(self, error)
        self.cut()
        return went

    monkeypatch.setattr(planner_module.Planner, "_go_back", and_the_clock_ticks)
    for _ in range(4):
        world.write(40)
    world.run(compression="none")
    await world.flushed()
    world.assert_exactly_once()
    assert writes >= 6


async def test_a_plan_that_is_not_on_disk_yet_is_not_passed_by_a_full_buffer(
    tmp_path: Path, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = GcsWorld(tmp_path, gcs, when_full="drop_oldest")
    real, full = PlanStore.write, [True]

    def write(self: PlanStore, number: int, manifest: object) -> None:
        if full:
            raise OSError(28, "No space left on device")
        real(self, number, manifest)  # type: ignore[arg-type]

    monkeypatch.setattr(PlanStore, "write", write)
    world.write(100)
    world.run(age_s=0.05)
    await world.until(lambda: "No space left" in world.delivery.status()["last_error"])
    world.buffer.full = True
    await asyncio.sleep(1.3)
    assert world.position == (0, 0), "else a crash now would lose what counts as delivered"
    full.clear()
    await world.until(lambda: gcs.objects)
    world.buffer.full = False
    await world.flushed()
    world.assert_exactly_once()
    await world.stop()


async def test_an_upload_begun_at_an_address_that_the_config_has_left_is_begun_again_at_the_new_one(
    world: GcsWorld, gcs: FakeGcs,
) -> None:
    async with FakeGcs(iter(["ok", "ok", *["503"] * 100_000])) as gone:
        for _ in range(3):
            world.write(700, padding=5000)
        world.run(compression="none", endpoint=f"http://127.0.0.1:{gone.port}")
        flushing = asyncio.create_task(world.flushed())
        await world.until(lambda: gone.seen.count("put") > 1)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        await world.stop()
        gone.objects.clear()
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    assert gcs.seen == ["resumable", "put", "put"]


async def test_a_request_of_more_prefixes_than_may_be_open_keeps_no_more_open(
    tmp_path: Path, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a thousand pods of one request are a thousand compressors and descriptors."""
    world, most = GcsWorld(tmp_path, gcs), 0
    real = Range.append

    def append(self: Range, *args: object, **keys: object) -> None:
        nonlocal most
        real(self, *args, **keys)  # type: ignore[arg-type]
        most = max(most, sum(1 for one in self.objects if one.descriptor >= 0))

    monkeypatch.setattr(Range, "append", append)
    for number in range(300):
        world.write(2, namespace=f"n{number}")
    for number in range(300):
        world.write(1, namespace=f"n{number}")
    world.run(max_open_objects=5)
    await world.flushed()
    world.assert_exactly_once()
    assert 0 < most <= 5 and len(gcs.objects) >= 300
    await world.stop()


def test_an_object_that_was_ended_goes_on_with_more_of_its_prefix(tmp_path: Path) -> None:
    """A request in parts cannot end its range: what comes for an ended object is a second member of the same file."""
    import gzip

    store = PlanStore(str(tmp_path), "far")
    store.open()
    made = Range(store, store.new_number(), "gzip", 0.0, 0, most_open=1)
    made.append(1, [("a", [b"a1\n"]), ("b", [b"b1\n"])])
    made.append(2, [("b", [b"b2\n"]), ("a", [b"a2\n"])])
    made.seal()
    assert [(one.prefix, gzip.decompress(Path(one.path).read_bytes())) for one in made.objects] == [
        ("a", b"a1\na2\n"), ("b", b"b1\nb2\n")]
    from shipper.sinks._gcs_range import measure

    assert [measure(one.path) for one in made.objects] == [(one.size_bytes, one.crc32c) for one in made.objects]


def test_two_prefixes_that_are_too_long_for_a_name_never_have_one_name() -> None:
    """Raw lines of two files may be equal, byte by byte: the second would find "its" object there already."""
    receipt = {"start": (1, 0), "end": (3, 0)}
    names = {object_name("d/" * 600 + end, "b" * 32, receipt, 7, ".log") for end in ("x", "y")}
    assert len(names) == 2 and all(len(name) <= 1024 for name in names)


def test_ranges_that_end_within_a_frame_are_told_apart_by_their_names() -> None:
    """A frame may be cut between two objects of equal raw lines: where it was cut is part of both names."""
    ends = [((1, 0), (3, 0)), ((1, 0), (3, 2)), ((1, 0), (3, 5)), ((1, 0), (4, 0)), ((1, 1), (3, 0)), ((1, 2), (3, 0)),
            ((3, 2), (4, 0))]
    names = [object_name("p", "b", {"start": start, "end": end}, 7, ".log") for start, end in ends]
    assert names == [f"p/b-{low}-{high}-00000007.log" for low, high in (
        ("1", "2"), ("1", "3.2"), ("1", "3.5"), ("1", "3"), ("1.1", "2"), ("1.2", "2"), ("3.2", "3"))]


async def test_a_plan_for_a_bucket_that_will_never_be_there_is_given_up_by_removing_its_manifest(
    world: GcsWorld, gcs: FakeGcs,
) -> None:
    """As docs/sinks/gcs.md says."""
    world.write(100)
    world.run(bucket="mistyped", age_s=0.05)
    await world.until(lambda: "404" in world.delivery.status()["last_error"])
    await world.stop()
    for path in (world.root / "spool" / "far").glob("*.plan.json"):
        path.unlink()
    world.run()
    await world.flushed()
    world.assert_exactly_once()
    assert all(key.startswith("logs/") for key in gcs.objects)


async def test_status_may_be_asked_for_while_objects_are_opened_on_the_sinks_thread(world: GcsWorld, gcs: FakeGcs) -> None:
    """It looked through a dict that grew meanwhile."""
    for number in range(400):
        world.write(2, namespace=f"n{number}")
    world.run(max_open_objects=1000)
    task = asyncio.create_task(world.flushed())
    while not task.done():
        assert world.sink.status()["open_objects"] >= 0
        await asyncio.sleep(0)
    await task
    world.assert_exactly_once()


async def test_a_plan_of_a_buffer_that_is_gone_whose_bucket_is_gone_too_holds_up_nothing(world: GcsWorld, gcs: FakeGcs) -> None:
    world.run(bucket="gone", age_s=0.05)
    for number in range(1, 4):
        world.write(10)
        await world.until(lambda count=number: len([n for n in world.spool if n.endswith(".plan.json")]) == count)
    await world.stop()
    old = [name for name in world.spool if name.endswith(".plan.json")]
    world.buffer.__init__()  # type: ignore[misc]
    world.buffer.uuid = "ffeeddccbbaa99887766554433221100"
    world.expected.clear()
    world.run()
    for _ in range(3):
        world.write(100)
        task = asyncio.create_task(world.delivery.caught_up(world.buffer.appended_seq, 10.0))
        await world.until(task.done, "flushed")
        await task
    world.assert_exactly_once()
    await world.until(lambda: [name for name in world.spool if name.endswith(".plan.json")] == old, "the old ones alone wait on")


async def test_no_line_of_a_log_can_end_an_upload_early(world: GcsWorld, gcs: FakeGcs) -> None:
    """The boundary between the parts of an upload was a constant: a pod that printed it stopped the sink for ever."""
    known = b"shipper-7e1b2c9f4d"
    world.buffer.write(source("web", "default"), b"before\r", b"--" + known + b"--", b"behind")
    world.run(format="raw", compression="none")
    await world.flushed()
    (stored,) = gcs.objects.values()
    assert stored.data == b"before\r\n--" + known + b"--\nbehind\n"
    assert _boundary() != _boundary()


@pytest.mark.parametrize("keys", [{}, {"compression": "none"}])
async def test_a_spool_file_that_changes_while_the_agent_runs_is_said_and_mended_by_a_restart(
    world: GcsWorld, gcs: FakeGcs, keys: dict[str, str],
) -> None:
    """Cloud Storage refuses it by its checksum, each time: that alone said nothing of the disk. In one request, and in pieces."""
    changed = asyncio.Event()

    def answers() -> Iterator[str]:
        while not changed.is_set():
            yield "503"
        yield "503"                                  # what is on its way was read before the change

    gcs.schedule = answers()
    for _ in range(3):
        world.write(700, padding=5000 if keys else 0)
    world.run(**keys)
    flushing = asyncio.create_task(world.flushed())
    await world.plans(1)
    [part] = [name for name in world.spool if name.endswith(".part")]
    path = world.root / "spool" / "far" / part
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    changed.set()
    await world.until(lambda: world.delivery.status()["state"] == "failed", "said")
    assert "restart" in world.delivery.status()["last_error"] and part in world.delivery.status()["last_error"]
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await world.stop()
    world.run()
    await world.flushed()
    world.assert_exactly_once()
