"""What can go wrong with BigQuery's Storage Write API: each row is there once, whatever it is."""
from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import orjson
import pytest
from grpc import StatusCode

from shipper.errors import Fatal
from shipper.model import Batch
from shipper.sinks._bigquery_write_channel import WriteChannel
from shipper.sinks._gcp_auth import Anonymous
from tests.deliver.support import source
from tests.sinks.bigquery_write_world import WriteWorld, short_ranges
from tests.sinks.spool_world import gone_after_one_removal
from tests.support.fake_bigquery_write import TABLE, FakeBigQueryWrite, Refusal
from tests.support.gcp_identity_fakes import IdentityServer


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    short_ranges(monkeypatch)


def faults(*names: str) -> Iterator[str]:
    return chain(names, repeat("ok"))


async def shipped(root: Path, fake: FakeBigQueryWrite, records: int = 60, **keys: Any) -> WriteWorld:
    world = WriteWorld(root, fake, max_request_records=5)
    world.run(**keys)
    world.write(records, padding=60)
    await world.flushed()
    await world.stop()
    return world


@pytest.mark.parametrize("fault", ["lost", "down", "reset", "internal", "quota", "aborted", "401"])
@pytest.mark.parametrize("at", [1, 4])
async def test_an_append_that_fails_is_sent_again_at_its_offset(fault: str, at: int, tmp_path: Path) -> None:
    async with FakeBigQueryWrite(faults(*["ok"] * at, fault, fault)) as fake:
        world = await shipped(tmp_path, fake)
        world.assert_exactly_once()
        assert len(fake.streams) == 1
        assert "OFFSET_ALREADY_EXISTS" in fake.answers or fault != "lost"


async def test_pauses_do_not_grow_while_something_gets_further(tmp_path: Path) -> None:
    """Each second append fails: with pauses that double from error to error, 30 of them would take hours."""
    async with FakeBigQueryWrite(chain(*repeat(("ok", "internal"), 60), repeat("ok"))) as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        pauses: list[int] = []
        world.delivery._patient.backoff = _Attempts(pauses)  # type: ignore[assignment]
        world.write(200, padding=60)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert fake.faults.count("internal") >= 30 and max(pauses, default=0) <= 2


class _Attempts:
    """Notes the number of the try that failed."""

    def __init__(self, seen: list[int]) -> None:
        self._seen = seen

    def delay_s(self, attempt: int, error: BaseException | None, uniform: Any) -> float:
        self._seen.append(attempt)
        return 0.001


async def test_no_answer_at_all_ends_after_the_timeout_and_is_asked_again(tmp_path: Path) -> None:
    async with FakeBigQueryWrite(faults("ok", "ok", "mute")) as fake:
        (await shipped(tmp_path, fake, request_timeout="0.3s")).assert_exactly_once()


@pytest.mark.parametrize("raised", [False, True], ids=["in an answer", "as the end of the call"])
async def test_a_stream_that_somebody_finalised_is_counted_and_a_new_one_goes_on_behind(raised: bool, tmp_path: Path) -> None:
    async with FakeBigQueryWrite(faults("ok", "ok", "ok", "lost", "finalised", "ok", "ok", "ok", "finalised")) as fake:
        fake.raised = raised
        world = await shipped(tmp_path, fake)
        world.assert_exactly_once()
        assert len(fake.streams) >= 2 and "finalize" in fake.seen


async def test_a_finalised_stream_that_is_called_an_invalid_argument_is_replaced_and_no_record_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BigQuery says INVALID_ARGUMENT of streams that are finalised or gone, too; Apache Beam takes it for that alone."""
    async with FakeBigQueryWrite(faults("ok", "ok", "ok", "lost", "finalised")) as fake:
        real = fake._take

        def take(*args: Any) -> Any:
            try:
                return real(*args)
            except Refusal as error:
                if error.storage == "STREAM_FINALIZED":
                    raise Refusal(StatusCode.INVALID_ARGUMENT, "invalid stream") from None
                raise

        monkeypatch.setattr(fake, "_take", take)
        world = await shipped(tmp_path, fake)
        world.assert_exactly_once()
        assert world.dead == set() and len(fake.streams) == 2


async def test_errors_raised_as_the_end_of_the_call_mean_the_same(tmp_path: Path) -> None:
    async with FakeBigQueryWrite(faults("ok", "ok", "lost", "ok", "lost", "internal", "ok", "lost")) as fake:
        fake.raised = True
        (await shipped(tmp_path, fake)).assert_exactly_once()


async def test_a_stream_that_is_gone_loses_nothing_and_is_an_error(tmp_path: Path) -> None:
    async with FakeBigQueryWrite(faults("ok", "ok", "ok", "ok", "gone")) as fake:
        world = await shipped(tmp_path, fake)
        found = world.counts()
        assert [t for t in world.expected if not found[t]] == [] and fake.wrong == []


async def test_already_there_is_not_believed_of_what_was_never_sent(tmp_path: Path) -> None:
    """Another state directory with a copy of ours writes to the same stream."""
    async with FakeBigQueryWrite() as fake:
        world = await shipped(tmp_path, fake, 20)
        stream = next(iter(fake.streams.values()))
        stream.count += 1_000
        world.run()
        world.write(20, padding=60)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert len(fake.streams) == 2 and stream.finalised


async def test_an_answer_for_another_offset_than_was_asked_for_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something between that appends wherever the stream ends (goccy/bigquery-emulator#505): what stands where is not known."""
    async with FakeBigQueryWrite() as fake:
        take, shifts = fake._take, iter([0, 7])

        def elsewhere(connection: Any, request: Any, size_bytes: int, fault: str) -> Any:
            answer = take(connection, request, size_bytes, fault)
            answer.append_result.offset = request.offset + next(shifts, 0)
            return answer

        monkeypatch.setattr(fake, "_take", elsewhere)
        world = await shipped(tmp_path, fake)
        assert {row["message"].split()[0] for row in fake.tables[TABLE].rows} >= set(world.expected)
        assert len(fake.streams) == 2 and next(iter(fake.streams.values())).finalised


async def test_a_stream_with_fewer_rows_than_were_acknowledged_is_left_for_a_new_one(tmp_path: Path) -> None:
    async with FakeBigQueryWrite() as fake:
        world = await shipped(tmp_path, fake, 20)
        next(iter(fake.streams.values())).count -= 3
        world.run()
        world.write(20, padding=60)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert len(fake.streams) == 2


async def test_acknowledged_rows_of_a_plan_that_its_stream_has_lost_are_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody replaced the table in the middle of a plan: the stream has fewer rows than it acknowledged."""
    async with FakeBigQueryWrite() as fake:
        take, third = fake._take, iter([False, False, True])

        def replaced(connection: Any, request: Any, size_bytes: int, fault: str) -> Any:
            if next(third, False):
                fake.tables[TABLE].rows.clear()
                fake.streams[connection.stream].count = 0
                fault = "finalised"
            return take(connection, request, size_bytes, fault)

        monkeypatch.setattr(fake, "_take", replaced)
        world = await shipped(tmp_path, fake, 12)
        world.assert_exactly_once()
        assert len(fake.streams) == 2


def refusing(*tokens: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "time: out of the partitions' range" if row["message"].split()[0] in tokens else ""


async def test_rows_that_are_refused_alone_are_dead_letters_with_the_words(tmp_path: Path) -> None:
    async with FakeBigQueryWrite(refuses=refusing("m000003", "m000004", "m000031", "m000059")) as fake:
        world = await shipped(tmp_path, fake)
        world.assert_exactly_once()
        assert world.dead == {"m000003", "m000004", "m000031", "m000059"} and len(fake.streams) == 1
        assert {words for _, _, words in world.letters.records.values()} == {"time: out of the partitions' range"}
        counters = world.delivery.status()["counters"]
        assert counters["delivered_records"] == 56 and counters["dead"]["rejected"][0] == 4
        assert counters["delivered_bytes"] + counters["dead"]["rejected"][1] == counters["total_bytes"]


async def test_where_answers_behind_refused_rows_are_lost_the_rest_goes_to_a_new_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append on its way at an old offset could be taken there later, and stand in for other rows."""
    async with FakeBigQueryWrite(faults("ok", "ok", "ok", "reset"), refuses=refusing("m000003")) as fake:
        world = await shipped(tmp_path, fake)
        world.assert_exactly_once()
        assert world.dead == {"m000003"} and len(fake.streams) == 2


async def test_rows_refused_after_an_earlier_connection_was_lost_make_a_new_stream_as_well(tmp_path: Path) -> None:
    """What that connection left without an answer could still be taken at its old offset."""
    async with FakeBigQueryWrite(faults("ok", "reset"), refuses=refusing("m000003")) as fake:
        world = await shipped(tmp_path, fake)
        world.assert_exactly_once()
        assert world.dead == {"m000003"} and len(fake.streams) == 2


@pytest.mark.parametrize("raised", [False, True], ids=["in an answer", "as the end of the call"])
async def test_a_row_that_makes_its_whole_request_invalid_is_found_by_halving(
    raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is halved in vain: the others are there once, over a crash in the middle too."""
    poison = ("m000011", "m000037")
    async with FakeBigQueryWrite(faults("ok", "ok", "lost", "ok", "lost")) as fake:
        fake.raised, real = raised, fake._rows

        def rows(connection: Any, table: Any, serialized: Any) -> list[dict[str, Any]]:
            found = real(connection, table, serialized)
            if any(row["message"].split()[0] in poison for row in found):
                raise Refusal(StatusCode.INVALID_ARGUMENT, "malformed")
            return found

        monkeypatch.setattr(fake, "_rows", rows)
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        world.write(60)
        await world.until(lambda: "INVALID_ARGUMENT" in fake.answers)
        await world.kill()
        world.run()
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert world.dead == set(poison)
        assert {words for _, _, words in world.letters.records.values()} == {"malformed"}


async def test_a_table_that_refuses_every_row_gets_no_dead_letters_and_what_is_planned_waits(tmp_path: Path) -> None:
    refused = {"all": True}
    async with FakeBigQueryWrite(refuses=lambda row: "message: too long" if refused["all"] else "") as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        world.write(300, padding=60)
        await world.until(lambda: world.delivery.status()["state"] == "failed")
        assert len(world.dead) < 100 and "every row is refused" in world.delivery.status()["last_error"]
        refused["all"] = False
        world.delivery._wake_all()
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


async def test_a_crash_between_dead_letter_and_manifest_buries_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeBigQueryWrite(refuses=refusing("m000003")) as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        store, real = world.sink._planner.store, world.sink._planner.store.write
        monkeypatch.setattr(store, "write", lambda number, manifest: (
            real(number, manifest) if not any(block[5] for block in manifest["blocks"]) else _fail()))
        world.write(30, padding=60)
        await world.until(lambda: world.dead)
        await asyncio.sleep(0.05)
        await world.kill()
        world.run()
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert world.delivery.status()["counters"]["dead"]["rejected"][0] == 1


def _fail() -> None:
    raise OSError(28, "no space left on the device")


async def test_a_letter_that_is_replayed_and_refused_again_stays_one_and_is_delivered_once_when_the_table_takes_it(
    tmp_path: Path,
) -> None:
    refused = {"m000003"}
    async with FakeBigQueryWrite(refuses=lambda row: "out of range" if row["message"].split()[0] in refused else "") as fake:
        world = WriteWorld(tmp_path, fake)
        world.run()
        world.write(8, padding=60)
        await world.flushed()
        (name, (_, message, _)), = world.letters.records.items()
        key, _, item = name.partition(":")
        letter = Batch(source("web", "default"), key, [b""], [b"stdout"], [item.encode()], [message])
        again = asyncio.create_task(world.delivery.replay([(letter, "rejected")]))
        await world.until(again.done)
        assert [one.batch.ids for one in again.result()] == [letter.ids] and world.dead == refused
        refused.clear()
        once_more = asyncio.create_task(world.delivery.replay([(letter, "rejected")]))
        await world.until(once_more.done)
        assert once_more.result() == [] and world.counts()["m000003"] == 1
        await world.stop()
        assert world.delivery.status()["counters"]["dead"] == {} and fake.wrong == []


async def test_a_refused_row_of_another_buffers_plan_is_said_and_stops_nothing(tmp_path: Path) -> None:
    async with FakeBigQueryWrite(faults("ok", *["down"] * 40), refuses=refusing("m000003")) as fake:
        world = WriteWorld(tmp_path, fake)
        world.run()
        world.write(8, padding=60)
        await world.plans(1)
        await world.kill()
        fake.schedule = repeat("ok")
        other = WriteWorld(tmp_path, fake)
        other.buffer.uuid = "another"
        other.run()
        await other.until(lambda: other.spool == ["kept.json"])
        await other.stop()
        assert len(other.rows()) == 7 and other.dead == set() and fake.wrong == []


async def test_a_wiped_state_directory_is_a_new_stream_and_no_false_already_there(tmp_path: Path) -> None:
    async with FakeBigQueryWrite() as fake:
        for name in ("one", "two"):
            world = await shipped(tmp_path / name, fake, 20)
        assert set(world.counts().values()) == {2} and len(fake.streams) == 2 and set(fake.answers) == {"ok"}


async def test_a_new_buffer_on_an_old_spool_has_a_new_stream(tmp_path: Path) -> None:
    async with FakeBigQueryWrite() as fake:
        first = await shipped(tmp_path, fake, 20)
        other = WriteWorld(tmp_path, fake, max_request_records=5)
        other.buffer.uuid = "another"
        other.run()
        other.write(20, padding=60)
        await other.flushed()
        await other.stop()
        assert set(first.counts().values()) == {2} and len(fake.streams) == 2


async def test_a_crash_between_chain_and_removal_sends_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeBigQueryWrite() as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        monkeypatch.setattr(world.sink._planner.store, "remove", lambda number, files: None)
        world.write(40, padding=60)
        kept = tmp_path / "spool" / "far" / "kept.json"
        await world.until(lambda: world.done and b'"offset":40' in (kept.read_bytes() if kept.exists() else b""), "chain")
        await world.kill()
        assert any(name.endswith("plan.json") for name in world.spool)
        appends = len(fake.answers)
        world.run()
        await world.until(lambda: world.spool == ["kept.json"])
        assert len(fake.answers) == appends, "what the chain has passed is not even asked for"
        world.write(40, padding=60)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


async def test_another_table_in_the_config_finishes_the_plan_for_the_old_one_there(tmp_path: Path) -> None:
    other = TABLE.replace("nodes", "others")
    async with FakeBigQueryWrite() as fake:
        fake.tables[other] = type(fake.tables[TABLE])(fake.tables[TABLE].columns)
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        fake.random_faults = 1.0
        world.run()
        world.write(40, padding=60)
        await world.plans(1)
        await world.kill()
        fake.random_faults = 0.0
        world.run(table="others")
        world.write(40, padding=60)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert fake.tables[TABLE].rows and fake.tables[other].rows


async def test_the_table_is_changed_and_a_crash_comes_between_the_old_ones_chain_and_its_plans_removal_nothing_goes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of the old table's stream has to stay as long as a manifest that needs it may be there."""
    other = TABLE.replace("nodes", "others")
    async with FakeBigQueryWrite() as fake:
        fake.tables[other] = type(fake.tables[TABLE])(fake.tables[TABLE].columns)
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        fake.schedule = faults("ok", "lost", *["down"] * 500)
        world.write(8, padding=60)
        await world.until(lambda: "ok" in fake.answers)
        await world.kill()
        fake.schedule = repeat("ok")
        world.run(table="others")
        monkeypatch.setattr(world.sink._planner.store, "remove", lambda number, files: None)
        await world.until(lambda: world.done and not world.sink._plans)
        await world.sink._planner.thread.run(lambda: None)
        await world.kill()
        assert any(name.endswith("plan.json") for name in world.spool)
        world.run(table="others")
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


async def test_a_spool_file_that_was_changed_is_sent_again_from_the_buffer(tmp_path: Path) -> None:
    async with FakeBigQueryWrite() as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        fake.schedule = repeat("down")
        world.run()
        world.write(40, padding=60)
        await world.plans(2)
        await world.kill()
        world.change_a_file()
        fake.schedule = repeat("ok")
        world.run()
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


async def test_a_crash_right_after_a_spool_file_was_changed_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the stream is of the plan that was given up: its offsets say nothing of the rows of the new one."""
    async with FakeBigQueryWrite(faults("ok", "lost", *["down"] * 10_000)) as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        world.write(40, padding=60)
        await world.until(lambda: "ok" in fake.answers)
        await world.kill()
        for part in (tmp_path / "spool" / "far").glob("*.part"):
            part.write_bytes(part.read_bytes()[:-1] + b"?")
        short_ranges(monkeypatch, range_bytes=100_000, block_bytes=100_000)
        world.run()
        await world.until(lambda: world.sink._plans and all(plan.written for plan in world.sink._plans))
        await world.kill()
        fake.schedule = repeat("ok")
        world.run()
        await world.flushed()
        await world.stop()
        assert [token for token in world.expected if not world.counts()[token]] == [] and fake.wrong == []


async def test_a_crash_while_plans_with_a_changed_file_are_given_up_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeBigQueryWrite(repeat("down")) as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run()
        world.write(120, padding=60)
        await world.plans(3)
        await world.kill()
        world.change_a_file()
        with monkeypatch.context() as patch:
            gone = gone_after_one_removal(patch)
            world.run()
            await world.until(lambda: gone)
            await world.kill()
        fake.schedule = repeat("ok")
        world.run()
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


async def test_nothing_is_sent_before_manifest_and_stream_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    async with FakeBigQueryWrite() as fake:
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        real = fake._take

        def take(connection: Any, request: Any, *args: Any) -> Any:
            kept = orjson.loads((tmp_path / "spool" / "far" / "kept.json").read_bytes())
            named = {one["stream"] for one in kept["chains"].values()}
            seen.append((request.write_stream in named, any(name.endswith("plan.json") for name in world.spool)))
            return real(connection, request, *args)

        monkeypatch.setattr(fake, "_take", take)
        world.run()
        world.write(40, padding=60)
        await world.flushed()
        await world.stop()
        assert seen and set(seen) == {(True, True)}


async def test_a_table_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    async with FakeBigQueryWrite() as fake:
        table = fake.tables.pop(TABLE)
        world = WriteWorld(tmp_path, fake)
        world.run()
        world.write(5)
        await world.until(lambda: "is not there; create it" in str(world.delivery.status()["last_error"]))
        fake.tables[TABLE] = table
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()


@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 24))])
async def test_random_faults_crashes_and_refused_rows_leave_each_row_once(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    bad = {f"m{number:06d}" for number in rng.sample(range(600), 6)}
    async with FakeBigQueryWrite(seed=seed, random_faults=0.15, refuses=refusing(*bad)) as fake:
        fake.raised = bool(seed % 2)
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        for _ in range(6):
            world.run()
            world.write(100, padding=rng.choice([0, 60, 300]))
            end_s = asyncio.get_running_loop().time() + rng.uniform(0.01, 0.2)
            await world.until(lambda end_s=end_s: asyncio.get_running_loop().time() > end_s)  # type: ignore[misc]
            await (world.kill() if rng.random() < 0.7 else world.stop())
        world.run()
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert world.dead == bad
        counters = world.delivery.status()["counters"]
        assert counters["delivered_records"] + counters["dead"]["rejected"][0] == 600


async def test_a_library_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(Fatal, match=r"pip install 'shipper\[bigquery\]'"):
        await WriteChannel("http://127.0.0.1:1", Anonymous(), 1.0).connect("s")


@pytest.mark.parametrize("where", ["a new stream", "a new connection", "an answer"])
async def test_a_token_that_was_revoked_is_asked_for_anew_wherever_bigquery_says_so(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with IdentityServer() as google, FakeBigQueryWrite(authorised=google.valid) as fake:
        monkeypatch.setenv("GCE_METADATA_HOST", google.host)
        monkeypatch.setenv("HOME", "/nonexistent")
        world = WriteWorld(tmp_path, fake, max_request_records=5)
        world.run(anonymous=False)
        if where == "a new stream":
            await world.sink._channel._who.headers()
            google.revoke()
        else:
            world.write(5, padding=60)
            await world.flushed()
            google.revoke()
        if where == "a new connection":
            world.sink._appender.drop()
        elif where == "an answer":
            real = fake._take

            def refuse(connection: Any, request: Any, size_bytes: int, fault: str) -> Any:
                if google.asked.count("instance/service-accounts/default/token") < 2:
                    raise Refusal(StatusCode.UNAUTHENTICATED, "the token is no longer valid")
                return real(connection, request, size_bytes, fault)

            fake.authorised = None          # else the next connection would say it too
            fake._take = refuse  # type: ignore[method-assign]
        world.write(5, padding=60)
        await world.flushed()
        await world.stop()
        world.assert_exactly_once()
        assert google.asked.count("instance/service-accounts/default/token") == 2
