"""A round trip with gcp-storage-emulator, which others wrote: requests are understood, and what is read back is what was logged.
It knows neither preconditions nor checksums: what it accepts proves nothing about those (fake_gcs.py does)."""
from __future__ import annotations

import base64
import json
import logging
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from gcp_storage_emulator.server import create_server

from shipper.sinks import _gcs_upload
from tests.sinks.gcs_world import GcsWorld, tokens
from tests.support.fake_gcs import FakeGcs


@pytest.fixture
def emulator() -> Iterator[str]:
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="logs")
    server.start()
    yield "http://127.0.0.1:" + str(server._api._httpd.server_address[1])
    server.stop()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()  # type: ignore[no-any-return]


async def round_trip(tmp_path: Path, emulator: str, count: int, padding: int, **keys: Any) -> dict[str, Any]:
    world = GcsWorld(tmp_path, FakeGcs())
    for _ in range(count):
        world.write(500, padding=padding)
    world.run(endpoint=emulator, **keys)
    await world.flushed()
    await world.stop()
    [found] = json.loads(get(f"{emulator}/storage/v1/b/logs/o"))["items"]
    data = get(f"{emulator}/download/storage/v1/b/logs/o/{quote(found['name'], safe='')}?alt=media")
    assert tokens(data) == world.expected
    crc32c = int(found["name"].rsplit("-", 1)[1].split(".")[0], 16)
    assert base64.b64decode(found["crc32c"]) == crc32c.to_bytes(4, "big")
    assert int(found["size"]) == len(data)
    return found  # type: ignore[no-any-return]


async def test_a_small_object(tmp_path: Path, emulator: str) -> None:
    found = await round_trip(tmp_path, emulator, 2, 0)
    assert found["contentType"] == "application/gzip"


async def test_an_object_in_pieces(tmp_path: Path, emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gcs_upload, "MULTIPART_BYTES", 300_000)
    monkeypatch.setattr(_gcs_upload, "CHUNK_BYTES", 256 * 1024)
    await round_trip(tmp_path, emulator, 2, 1000, compression="none")
