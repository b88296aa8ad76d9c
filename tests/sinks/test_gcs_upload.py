"""One upload, request by request, against answers that a strict fake gives only by accident. GU: _gcs_upload.py."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import orjson
import pytest

from shipper.errors import Fatal, Retryable
from shipper.sinks import _gcs_upload as module
from shipper.sinks._gcs_upload import Upload, wire_crc32c
from shipper.sinks._http_status import Answer

ENDPOINT = "https://storage.example"
SESSION = f"{ENDPOINT}/upload/1"
DATA = bytes(range(100))
CRC32C = google_crc32c.value(DATA)
STORED = orjson.dumps({"size": "100", "crc32c": wire_crc32c(CRC32C)})
OTHER = orjson.dumps({"size": "100", "crc32c": wire_crc32c(CRC32C ^ 1)})


class Script:
    """An HttpClient whose far side answers what the test says, in turn. asked: what it was asked; done: the upload said so."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.done = list(answers), False
        self.asked: list[str] = []
        self.urls: list[str] = []

    async def request(self, method: str, url: str, *, headers: Any = None, body: Any = ()) -> Answer:
        self.urls.append(url)
        self.asked.append(f"{method} {(headers or {}).get('Content-Range', '')}".strip())
        return self.answers.pop(0)


class Notes:
    """What is durable of the session."""

    def __init__(self, failures: int = 0) -> None:
        self.kept: list[str] = []
        self.failures = failures

    async def __call__(self, session: str) -> None:
        if self.failures:
            self.failures -= 1
            raise Retryable("the disk is full")
        self.kept.append(session)


@pytest.fixture(autouse=True)
def pieces_of_40_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MULTIPART_BYTES", 10)
    monkeypatch.setattr(module, "CHUNK_BYTES", 40)


def begun(session: str = SESSION) -> Answer:
    return Answer(200, {"Location": session})


def holds(text: str) -> Answer:
    return Answer(308, {"Range": text} if text else {})


async def carried_out(tmp_path: Path, script: Script, notes: Notes, session: str = "", steps: int = 20) -> list[str]:
    """All steps of an upload, each error's words."""
    path = tmp_path / "object"
    path.write_bytes(DATA)
    spec = {"name": "a", "bucket": "logs", "content_type": "x", "size": 100, "crc32c": CRC32C, "metadata": {}}
    upload = Upload(script, ENDPOINT, spec, str(path), session, notes)  # type: ignore[arg-type]
    said = []
    while not upload.done and script.answers and steps:
        steps -= 1
        try:
            await upload.step()
        except (Retryable, Fatal) as error:
            said.append(f"{type(error).__name__}: {error}")
    script.done = upload.done
    return said


async def test_gu3_no_byte_is_sent_to_a_session_that_is_not_on_disk(tmp_path: Path) -> None:
    script, notes = Script(begun(), begun(f"{SESSION}b"), holds("bytes=0-39"), holds("bytes=0-79"),
                           Answer(200, {}, STORED)), Notes(1)
    assert await carried_out(tmp_path, script, notes) == ["Retryable: the disk is full"]
    assert script.asked == ["POST", "POST", "PUT bytes 0-39/100", "PUT bytes 40-79/100", "PUT bytes 80-99/100"]
    assert notes.kept == [f"{SESSION}b"] and set(script.urls[2:]) == {f"{SESSION}b"}


async def test_308_without_range_means_that_nothing_is_held_however_much_was_sent(tmp_path: Path) -> None:
    script = Script(begun(), holds("bytes=0-39"), holds(""), holds("bytes=0-39"), holds("bytes=0-79"), Answer(200, {}, STORED))
    await carried_out(tmp_path, script, Notes())
    assert script.asked == [
        "POST", "PUT bytes 0-39/100", "PUT bytes 40-79/100", "PUT bytes 0-39/100", "PUT bytes 40-79/100", "PUT bytes 80-99/100"]


@pytest.mark.parametrize("stands", ["bytes=0-99", "bytes=0-200", "bytes=0-9", "bytes=20-39", "bytes=0-x", "bytes=0--1"])
async def test_where_an_upload_cannot_stand_it_is_begun_again_and_not_asked_for_ever(tmp_path: Path, stands: str) -> None:
    """All of it and no object; more than there is; less than it had; a hole at its beginning; no number."""
    script = Script(begun(), holds("bytes=0-39"), holds(stands), begun(f"{SESSION}b"), holds("bytes=0-39"), holds("bytes=0-79"),
                    Answer(200, {}, STORED))
    said = await carried_out(tmp_path, script, Notes())
    assert len(said) == 1 and "cannot be; it is begun again" in said[0]
    assert script.asked[3:] == ["POST", "PUT bytes 0-39/100", "PUT bytes 40-79/100", "PUT bytes 80-99/100"]


@pytest.mark.parametrize("before", [[], [holds("bytes=0-79")]], ids=["asked", "behind the last piece"])
async def test_308_for_all_of_it_is_no_object_and_the_upload_is_begun_again(tmp_path: Path, before: list[Answer]) -> None:
    """No byte is left to send, which could end it."""
    script = Script(*before, holds("bytes=0-99"), begun(f"{SESSION}b"), holds("bytes=0-39"), holds("bytes=0-79"),
                    Answer(200, {}, STORED))
    [said] = await carried_out(tmp_path, script, Notes(), session=SESSION)
    assert "cannot be; it is begun again" in said and script.asked[-4] == "POST" and script.done


@pytest.mark.parametrize(("limit_bytes", "kind"), [(100, "multipart"), (99, "resumable")])
async def test_what_is_not_over_the_limit_goes_in_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_bytes: int, kind: str,
) -> None:
    monkeypatch.setattr(module, "MULTIPART_BYTES", limit_bytes)
    script = Script(Answer(503, {}))
    await carried_out(tmp_path, script, Notes())
    assert f"uploadType={kind}&ifGenerationMatch=0" in script.urls[0]


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_a_session_that_is_gone_is_begun_again_whatever_is_said_of_it(tmp_path: Path, status: int) -> None:
    """410 as well as 404: else it would be asked for the same session for ever."""
    script, notes = Script(Answer(status, {}), begun(f"{SESSION}b"), holds("bytes=0-39"), holds("bytes=0-79"),
                           Answer(200, {}, STORED)), Notes()
    said = await carried_out(tmp_path, script, notes, session=SESSION)
    assert len(said) == 1 and f"the upload session is gone: {status}" in said[0]
    assert script.asked == ["PUT bytes */100", "POST", "PUT bytes 0-39/100", "PUT bytes 40-79/100", "PUT bytes 80-99/100"]
    assert notes.kept == ["", f"{SESSION}b"] and script.done


async def test_gu3_an_upload_that_begins_elsewhere_is_not_followed_there(tmp_path: Path) -> None:
    """What names the session is the far side's word: records and token would go where it says."""
    script, notes = Script(begun("https://elsewhere.example/upload/1"), begun(), holds("bytes=0-39"), holds("bytes=0-79"),
                           Answer(200, {}, STORED)), Notes()
    said = await carried_out(tmp_path, script, notes)
    assert "began an upload at another place (https://elsewhere.example/upload/1); not followed" in said[0]
    assert notes.kept == [SESSION] and all(url.startswith(ENDPOINT) for url in script.urls)


async def test_gu1_whatever_could_end_an_upload_creates_only(tmp_path: Path) -> None:
    """The precondition is looked at when a resumable upload ends, and is told when it begins."""
    script = Script(begun(), holds("bytes=0-39"), holds("bytes=0-79"), Answer(200, {}, STORED))
    await carried_out(tmp_path, script, Notes())
    assert "ifGenerationMatch=0" in script.urls[0] and "uploadType=resumable" in script.urls[0]


@pytest.mark.parametrize(("found", "words"), [
    (Answer(200, {}, STORED), []), (Answer(403, {}), []), (Answer(200, {}, OTHER), ["Fatal: ", "with another content"]),
    (Answer(200, {}, orjson.dumps({"size": "99", "crc32c": wire_crc32c(CRC32C)})), ["Fatal: ", "with another content"]),
    (Answer(200, {}, b"<html>"), ["Fatal: ", "with another content"]), (Answer(404, {}), ["Retryable: ", "is there and is not"]),
    (Answer(503, {}), ["Retryable: "]),
])
async def test_gu2_what_is_there_already_counts_by_size_and_checksum_or_by_its_name_alone(
    tmp_path: Path, found: Answer, words: list[str],
) -> None:
    script = Script(begun(), holds("bytes=0-39"), holds("bytes=0-79"), Answer(412, {}), found)
    said = await carried_out(tmp_path, script, Notes())
    assert script.asked[-1] == "GET" and bool(said) is bool(words) is not script.done
    assert all(word in said[0] for word in words)


@pytest.mark.parametrize("stored", [OTHER, orjson.dumps({"size": "99", "crc32c": wire_crc32c(CRC32C)}),
                                    orjson.dumps({"size": "100"})])
async def test_gu4_200_for_other_bytes_than_were_sent_is_no_success(tmp_path: Path, stored: bytes) -> None:
    script = Script(begun(), holds("bytes=0-39"), holds("bytes=0-79"), Answer(200, {}, stored))
    [said] = await carried_out(tmp_path, script, Notes())
    assert "stored with another size or checksum" in said and not script.done


async def test_a_403_that_is_not_about_overwriting_proves_no_object(tmp_path: Path) -> None:
    script = Script(Answer(403, {}, b"Billing is disabled for this project"))
    [said] = await carried_out(tmp_path, script, Notes())
    assert said.startswith("Retryable: ") and "Billing is disabled" in said and not script.done
    script = Script(Answer(403, {}, b"agent does not have storage.objects.delete access"), Answer(403, {}))
    assert await carried_out(tmp_path, script, Notes()) == [] and script.done


def test_the_checksum_on_the_wire_is_four_bytes_the_highest_first_also_of_nothing() -> None:
    """RFC 3720's test value for crc32c, as the API writes it; and an object without a byte."""
    assert wire_crc32c(google_crc32c.value(b"123456789")) == "4waSgw==" and wire_crc32c(google_crc32c.value(b"")) == "AAAAAA=="
