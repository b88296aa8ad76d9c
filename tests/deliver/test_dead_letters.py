"""Dead letters on a real disk. L: dead_letters.py."""
from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import threading
from pathlib import Path

import orjson
import pytest

from shipper.deliver.dead_letters import DeadLetters
from shipper.deliver.letters import batch_of, scrub
from shipper.deliver.split import Candidate
from shipper.encode import record_json
from shipper.errors import DropReason
from shipper.model import Source
from shipper.telemetry import Telemetry

from .support import START_NS, section, source


def candidate(number: int, message: bytes = b"x") -> Candidate:
    batch = section(source("web", labels={"app": "web"}), number * 1000, [message]).batch
    assert batch is not None
    return Candidate(batch, DropReason.REJECTED, "400: bad field")


@pytest.fixture
def letters(tmp_path):
    return DeadLetters(str(tmp_path / "dead-letters" / "central"), "central", Telemetry())


async def test_a_line_holds_the_record_its_source_the_reason_the_answer_and_the_time(letters):
    await letters.write([candidate(1, b'a "quoted" line')], START_NS)
    [line] = letters.read()
    assert line["reason"] == "rejected" and line["response"] == "400: bad field"
    assert line["at"] == "2023-11-14T22:13:20.000000000Z"
    assert line["record"]["message"] == 'a "quoted" line'
    assert line["record"]["id"] == "key-default-web:3e8+19"
    assert line["record"]["kubernetes"]["pod_name"] == "web"
    assert line["source"]["labels"] == {"app": "web"} and line["key"] == "key-default-web"
    assert "message_base64" not in line


async def test_a_message_that_is_not_utf8_is_kept_exactly(letters):
    await letters.write([candidate(1, b"caf\xe9 \x00\xff")], START_NS)
    [line] = letters.read()
    assert base64.b64decode(line["message_base64"]) == b"caf\xe9 \x00\xff"
    assert line["record"]["message"] == "caf\ufffd \x00\ufffd"


async def test_files_and_directory_are_for_the_agent_alone(letters):
    await letters.write([candidate(1)], START_NS)
    [name] = os.listdir(letters.directory)
    assert stat.S_IMODE(os.stat(f"{letters.directory}/{name}").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(letters.directory).st_mode) == 0o700


async def test_they_are_synced_before_write_returns(letters, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd, real=os.fsync: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    await letters.write([candidate(1)], START_NS)
    assert synced == [f"{letters.directory}/000001.ndjson", letters.directory]


async def test_an_id_is_written_once_also_after_a_restart(letters):
    assert await letters.write([candidate(1), candidate(1), candidate(2)], START_NS) == 2
    assert await letters.write([candidate(2)], START_NS) == 0
    again = DeadLetters(letters.directory, "central", Telemetry())
    assert await again.write([candidate(1), candidate(3)], START_NS) == 1
    assert len(list(again.read())) == 3
    assert letters.telemetry.value("shipper_sink_dead_letters_total", "central", "rejected") == 2


async def test_a_torn_last_line_is_cut_and_its_record_written_again(letters):
    await letters.write([candidate(1), candidate(2)], START_NS)
    path = Path(letters.directory, "000001.ndjson")
    os.truncate(path, path.stat().st_size - 7)
    again = DeadLetters(letters.directory, "central", Telemetry())
    assert await again.write([candidate(1), candidate(2)], START_NS) == 1
    found = [json.loads(line)["record"]["id"] for line in path.read_bytes().splitlines()]
    assert found == ["key-default-web:3e8+b", "key-default-web:7d0+b"]


@pytest.mark.parametrize("strange", [b"7", b"[]", b"null", b"{}", b'{"record": 1}', b'{"record": {}}', b"{not json"])
async def test_a_line_that_is_no_letter_is_passed_over_and_the_others_are_read(letters, strange):
    await letters.write([candidate(1)], START_NS)
    path = Path(letters.directory, "000001.ndjson")
    path.write_bytes(strange + b"\n" + path.read_bytes())
    assert [line["record"]["id"] for line in letters.read()] == ["key-default-web:3e8+b"]


@pytest.mark.parametrize("name", ["1.ndjson", "000001.ndjson.bak", "0000001.ndjson", "\u0661.ndjson", "x.ndjson", "9.ndjson"])
async def test_a_copy_that_somebody_left_there_does_not_stop_the_sink(letters, name):
    """A copy named 1.ndjson was looked for as 000001.ndjson: no letter could be written any more, and the sink waited for it."""
    await letters.write([candidate(1)], START_NS)
    path = Path(letters.directory, "000001.ndjson")
    Path(letters.directory, name).write_bytes(path.read_bytes())
    path.rename(path.with_name("000002.ndjson"))
    assert await letters.write([candidate(2)], START_NS) == 1
    again = DeadLetters(letters.directory, "central", Telemetry())
    assert await again.write([candidate(3)], START_NS) == 1
    assert [line["record"]["message"] for line in again.read()] == [line["record"]["message"] for line in letters.read()]
    assert len(list(again.read())) == 3


async def test_over_its_size_the_oldest_file_goes_and_is_counted(letters):
    letters.file_bytes, letters.max_bytes = 2_000, 6_000
    for number in range(40):
        await letters.write([candidate(number)], START_NS)
    held = list(letters.read())
    size = sum(os.path.getsize(f"{letters.directory}/{name}") for name in os.listdir(letters.directory))
    evicted = letters.telemetry.value("shipper_sink_dropped_records_total", "central", "dead_letter_evicted")
    assert size <= 6_000 + 2_000 and evicted > 0 and evicted + len(held) == 40
    assert held[-1]["record"]["id"] == "key-default-web:9858+b"


async def test_over_their_age_old_files_go(letters):
    letters.file_bytes = 1
    await letters.write([candidate(1)], START_NS)
    os.utime(f"{letters.directory}/000001.ndjson", (1_000, 1_000))
    await letters.write([candidate(2)], START_NS)
    assert [line["record"]["id"] for line in letters.read()] == ["key-default-web:7d0+b"]


async def test_a_write_that_fails_leaves_nothing_behind_and_can_be_repeated(letters, monkeypatch):
    await letters.write([candidate(1)], START_NS)

    def no_room(fd):
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        with pytest.raises(OSError, match="No space"):
            await letters.write([candidate(2)], START_NS)
    assert len(list(letters.read())) == 1
    assert await letters.write([candidate(2)], START_NS) == 1


@pytest.mark.parametrize("secret", [
    "Authorization: Bearer abcdef123456", "authorization=Basic dXNlcjpwYXNz", '{"token": "abcdef123456"}',
    "https://user:hunter22@logs.example.com/x", "?access_token=abcdef123456&x=1", "password=abcdef123456",
])
def test_what_looks_like_a_credential_in_an_answer_is_masked(secret):
    clean = scrub(f"refused: {secret} end")
    assert "abcdef123456" not in clean and "hunter22" not in clean and "dXNlcjpwYXNz" not in clean
    assert "***" in clean and clean.startswith("refused:")


def test_an_answer_is_shortened():
    assert len(scrub("very long " * 10_000)) <= 512


async def test_names_that_are_not_utf8_can_be_buried(letters):
    batch = section(source("we\udcffb"), 0, [b"x"], key="abcdefghijklmnop").batch
    assert await letters.write([Candidate(batch, DropReason.REJECTED, "no")], START_NS) == 1


async def test_over_their_age_they_go_also_where_nothing_new_is_written(letters):
    await letters.write([candidate(1)], START_NS)
    os.utime(f"{letters.directory}/000001.ndjson", (1_000, 1_000))
    again = DeadLetters(letters.directory, "central", letters.telemetry)
    assert await again.tidy(START_NS) == 1 and os.listdir(letters.directory) == []
    assert letters.telemetry.value("shipper_sink_dropped_records_total", "central", "dead_letter_evicted") == 1
    assert await again.tidy(START_NS) == 0
    assert await again.write([candidate(2)], START_NS) == 1


async def test_removed_letters_are_gone_and_the_others_stay_as_they_were(letters):
    letters.file_bytes = 1_000
    for number in range(10):
        await letters.write([candidate(number, b"caf\xe9")], START_NS)
    before = {line["record"]["id"]: line for line in letters.read()}
    os.utime(f"{letters.directory}/000001.ndjson", (1_000, 1_000))
    gone = list(before)[::2]
    assert await letters.remove(frozenset(gone)) == 5 and await letters.remove(frozenset(gone)) == 0
    assert {line["record"]["id"]: line for line in letters.read()} == {i: line for i, line in before.items() if i not in gone}
    assert os.stat(f"{letters.directory}/000001.ndjson").st_mtime == 1_000
    assert {stat.S_IMODE(os.stat(f"{letters.directory}/{name}").st_mode) for name in os.listdir(letters.directory)} == {0o600}
    assert await letters.remove(frozenset(before)) == 5 and os.listdir(letters.directory) == []
    assert await letters.write([candidate(0)], START_NS) == 1      # it was not forgotten that it is gone


async def test_a_removal_that_fails_leaves_every_letter(letters, monkeypatch):
    await letters.write([candidate(1), candidate(2)], START_NS)

    def no_room(fd):
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        with pytest.raises(OSError, match="No space"):
            await letters.remove({"key-default-web:3e8+b"})
    assert len(list(letters.read())) == 2


@pytest.mark.parametrize("also_the_directory", [False, True])
async def test_files_that_somebody_removed_by_hand_do_not_stop_the_sink(letters, also_the_directory):
    """Each later write failed, for ever, and nothing behind the refused record was delivered."""
    await letters.write([candidate(1)], START_NS)
    Path(letters.directory, "000001.ndjson").unlink()
    if also_the_directory:
        os.rmdir(letters.directory)
    assert await letters.write([candidate(2)], START_NS) == 1
    Path(letters.directory, "000001.ndjson").unlink()
    assert await letters.tidy(START_NS) == 0
    assert await letters.write([candidate(3)], START_NS) == 1 and len(list(letters.read())) == 1


async def test_a_write_that_was_cancelled_is_ended_before_the_next_one_and_no_id_is_there_twice(letters, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    append = DeadLetters._append

    def slowly(self, data):
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10)
        append(self, data)

    monkeypatch.setattr(DeadLetters, "_append", slowly)
    first = asyncio.create_task(letters.write([candidate(1), candidate(2)], START_NS))
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()                                       # the sink is changed, or gives its backlog away
    await asyncio.wait([first])
    second = asyncio.create_task(letters.write([candidate(1), candidate(2)], START_NS))
    await asyncio.sleep(0.05)
    go_on.set()
    assert await second == 0
    assert [line["record"]["id"] for line in letters.read()] == ["key-default-web:3e8+b", "key-default-web:7d0+b"]
    assert letters.telemetry.value("shipper_sink_dead_letters_total", "central", "rejected") == 2


@pytest.mark.parametrize("fields", [
    b'{"n":123456789012345678901234567890}', b'{"price":1.10,"e":1e5}', b'{"name":"\\u00e9\\/"}', b'{"a":1,"a":2}',
    b'{"n":1e999}',
])
async def test_fields_come_back_byte_for_byte_and_outlive_that_another_letter_is_removed(letters, fields):
    batch = section(source("web"), 0, [b"x"], key="abcdefghijklmnop").batch
    batch.fields = [fields]
    await letters.write([Candidate(batch, DropReason.REJECTED, "400"), candidate(1)], START_NS)
    await letters.remove({"key-default-web:3e8+b"})
    [letter] = letters.read()
    assert record_json.encode(batch_of(letter)) == record_json.encode(batch)
    assert batch_of(orjson.loads(orjson.dumps(letter))) is not None          # as a command shows it


async def test_a_record_of_a_file_whose_name_is_not_utf8_comes_back_as_it_was(letters):
    path = "/var/log/caf\udce9.log"
    batch = section(Source("files", "hosts", path, path, "n1"), 0, [b"x"], key="abcdefghijklmnop").batch
    await letters.write([Candidate(batch, DropReason.REJECTED, "400")], START_NS)
    [letter] = letters.read()
    again = batch_of(letter)
    assert again.source.to_json() == batch.source.to_json() and record_json.encode(again) == record_json.encode(batch)
    assert letter["source"]["path"] == "/var/log/caf\\udce9.log"             # for people
    assert batch_of({**letter, "source_base64": "W10="}) is None
