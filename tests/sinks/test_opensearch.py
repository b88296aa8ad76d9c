"""The elasticsearch sink against a real OpenSearch 2.19 (tests/support/opensearch/serve.sh)."""
import os
import uuid

import aiohttp
import orjson
import pytest

from shipper.encode.bulk import MAX_ID_BYTES
from shipper.errors import Partial, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks.elasticsearch import SINK
from shipper.telemetry import Telemetry

from .http_world import entry_of
from .syslog_kit import batch

URL = os.environ.get("SHIPPER_OPENSEARCH", "")
if not URL:
    pytest.skip("needs a running OpenSearch: tests/support/opensearch/serve.sh, SHIPPER_OPENSEARCH=URL", allow_module_level=True)


@pytest.fixture
def index() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


async def ask(method: str, path: str, body: object = None) -> dict:
    async with aiohttp.ClientSession() as session, session.request(method, f"{URL}/{path}", json=body) as response:
        return orjson.loads(await response.read())


async def documents(index: str) -> list[dict]:
    await ask("POST", f"{index}/_refresh")
    found = await ask("GET", f"{index}/_search?size=1000&sort=_doc")
    return [{**hit["_source"], "_id": hit["_id"]} for hit in found["hits"]["hits"]]


async def send(index: str, batches, keys: str = "") -> None:
    config = entry_of(f"type: elasticsearch, url: '{URL}', index: '{index}', proxy: none{keys}").config
    sink = SINK.build(config, SinkContext("far", "n1", "", Telemetry()))
    try:
        await sink.send(Request(1, batches), sink.encode(batches))
    finally:
        await sink.close()


async def test_records_arrive_once_however_often_they_are_sent(index):
    batches = [batch([b"one", b"t\xffo\n\x00"]), batch([b""], first=2, stream=b"stderr")]
    batches[0].severities = [b"ERROR", b""]
    for _ in range(3):
        await send(index, batches)
    found = {one["message"]: one for one in await documents(index)}
    assert found.keys() == {"one", "t\ufffdo\n\x00", ""}
    assert found["one"]["_id"] == found["one"]["id"] and found["one"]["log"] == {"level": "error"}
    mapping = (await ask("GET", f"{index}/_mapping"))[index]["mappings"]["properties"]
    assert mapping["@timestamp"]["type"] == "date"


async def test_a_record_that_the_mapping_refuses_is_dead_alone_with_the_servers_words(index):
    one = batch([b"a", b"b", b"c", b"d"])
    one.fields = [b'{"x":1}', b'{"x":{"y":2}}', b"", b'{"x":"three"}']
    with pytest.raises(Partial) as caught:
        await send(index, [one])
    assert caught.value.dead.keys() == {1, 3} and caught.value.retry == ()
    assert all("mapper_parsing_exception" in words and words.startswith("400: ") for words in caught.value.dead.values())
    assert {d["message"] for d in await documents(index)} == {"a", "c"}


async def test_an_index_that_is_blocked_is_nobodys_fault(index):
    await send(index, [batch([b"one"])])
    await ask("PUT", f"{index}/_settings", {"index.blocks.write": True})
    with pytest.raises(Partial) as caught:
        await send(index, [batch([b"two"], first=5)])
    assert caught.value.retry == (0,) and not caught.value.dead
    await ask("PUT", f"{index}/_settings", {"index.blocks.write": None})
    await send(index, [batch([b"two"], first=5)])
    assert len(await documents(index)) == 2


async def test_a_data_stream_takes_them_once(index):
    await ask("PUT", f"_index_template/{index}", {"index_patterns": [f"{index}*"], "data_stream": {}, "priority": 500})
    for _ in range(2):
        await send(index, [batch([b"one", b"two"])])
    assert "data_streams" in (found := await ask("GET", f"_data_stream/{index}")) and len(found["data_streams"]) == 1
    assert len(await documents(index)) == 2
    await ask("DELETE", f"_data_stream/{index}")


@pytest.mark.parametrize("namespace", ["UPPER Case", "a/b\\c*?", "..", "_x", "-+", 'q"<>|,#:', "ä" * 200, "ÄÖİ", "\udcff"])
async def test_an_index_named_after_anything_is_taken(index, namespace):
    await send(index + "{namespace}", [batch([b"one"], namespace=namespace)])


@pytest.mark.parametrize("namespace", ["UPPER", "..", ".", "_x", "-+", "+", "", "#"])
async def test_an_index_that_is_a_name_alone_is_taken(namespace):
    await send("{namespace}", [batch([b"one"], namespace=namespace)])


@pytest.mark.parametrize("time", [
    b"2026-11-20T09:04:05Z", b"2026-11-20T09:04:05.123456789Z", b"2026-11-20T09:04:05.1+09:00", b"", b"yesterday",
    b"2026-13-45T99:04:05.123456789Z", b"9999-11-20T09:04:05.1234Z", b'"2026-11-20T09:04:05Z'])
async def test_no_time_costs_a_record(index, time):
    await send(index, [batch([b"one"], time=time)])
    assert len(await documents(index)) == 1


async def test_the_servers_limit_of_an_id_is_ours(index):
    one = batch([b"one", b"two"])
    lead = len(one.key) + 1
    one.ids = [b"0" * (MAX_ID_BYTES - lead), b"0" * (MAX_ID_BYTES - lead + 1)]
    await send(index, [one])
    found = await documents(index)
    assert {len(d["_id"]) for d in found} == {MAX_ID_BYTES, 433} and {len(d["id"]) for d in found} == {512, 513}
    async with aiohttp.ClientSession() as session:
        action = orjson.dumps({"create": {"_index": index, "_id": "x" * 513}})
        headers = {"Content-Type": "application/x-ndjson"}
        async with session.post(f"{URL}/_bulk", data=action + b"\n{}\n", headers=headers) as response:
            assert b"too long, must be no longer than 512 bytes" in await response.read()


async def test_a_request_over_the_servers_limit_is_halved_and_one_within_ours_is_taken(index):
    half = [batch([b"x" * 1000] * 400)]
    with pytest.raises(TooLarge):
        await send(index, [*half, batch([b"x" * 1000] * 600, first=400)])           # the server's 413
    await send(index, half, ", max_body: 900KiB")


async def test_a_pipeline_that_is_missing_is_said(index):
    with pytest.raises(Exception, match=r"pipeline|ingest"):
        await send(index, [batch([b"one"])], ", pipeline: nope")


async def test_compressed_requests_are_taken(index):
    await send(index, [batch([b"x" * 1000] * 400)], ", compression: gzip")
    assert len(await documents(index)) == 400
