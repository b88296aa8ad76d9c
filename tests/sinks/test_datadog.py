"""Datadog's limits and key. DA: sinks/datadog.py. The contract with a misbehaving server: test_http_contract.py."""
import asyncio

import pytest

from shipper.errors import TooLarge
from shipper.sinks import SinkContext
from shipper.sinks.datadog import MAX_BODY_BYTES, MAX_LOG_BYTES, SINK
from shipper.telemetry import Telemetry
from tests.support.bad_http import BadServer

from .codecs import Datadog
from .http_world import World, entry_of
from .syslog_kit import batch


def sink(keys="api_key: very-secret-key", telemetry=None):
    config = entry_of(f"type: datadog, url: 'https://http-intake.logs.datadoghq.com', {keys}").config
    return SINK.build(config, SinkContext("far", "n1", "", telemetry or Telemetry()))


def beside() -> int:
    """Bytes of a log of one message byte beside that byte, and of its array's brackets."""
    return sink().encode([batch([b"x"])]).size_bytes - 1


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_da1_a_log_of_one_megabyte_is_sent_and_one_byte_more_is_not(over, fits):
    batches = [batch([b"short", b"x" * (MAX_LOG_BYTES - beside() + 2 + over)])]     # ids of the two are equally long
    grown = len(batches[0].ids[1]) - len(batches[0].ids[0])
    batches[0].messages[1] = batches[0].messages[1][grown:]
    if fits:
        assert sink().encode(batches).size_bytes > MAX_LOG_BYTES + over
    else:
        with pytest.raises(TooLarge) as caught:
            sink().encode(batches)
        assert caught.value.indexes == (1,)


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_da1_a_request_of_five_megabytes_is_sent_and_one_byte_more_is_not(over, fits):
    short = [batch([b"x" * 900_000]) for _ in range(5)]
    room = MAX_BODY_BYTES - sink().encode(short).size_bytes - 1 - (beside() - 2)
    batches = [*short, batch([b"x" * (room + over)])]
    if fits:
        assert sink().encode(batches).size_bytes == MAX_BODY_BYTES + over
    else:
        with pytest.raises(TooLarge, match="5000000"):
            sink().encode(batches)


@pytest.mark.parametrize(("records", "fits"), [(999, True), (1000, True), (1001, False)])
def test_da1_a_thousand_logs_are_sent_and_one_more_is_not(records, fits):
    batches = [batch([b"x"] * (records - 1)), batch([b"x"], first=5000)]
    if fits:
        assert sink().encode(batches).size_bytes
    else:
        with pytest.raises(TooLarge, match="takes 1000"):
            sink().encode(batches)


def test_the_key_goes_in_its_header_and_is_never_said():
    telemetry = Telemetry()
    far = sink(telemetry=telemetry)
    assert asyncio.run(far.client._credentials.headers()) == {"DD-API-KEY": "very-secret-key"}
    assert "very-secret-key" not in telemetry.scrub("403 for very-secret-key")
    assert far.url == "https://http-intake.logs.datadoghq.com/api/v2/logs"


@pytest.mark.parametrize(("keys", "says"), [
    ("", "api_key_file: is needed"), ("api_key: a, service: '{time}'", "all the time"),
    ("api_key: a, max_log: 2MiB", "where the intake"),
    ("api_key: a, tags: {x: '{y}'}", "unknown field"), ("api_key: 'a\u00e4'", "cannot stand in a header"),
])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of("type: datadog, url: 'https://intake'" + (", " + keys if keys else ""))


@pytest.mark.parametrize("keys", ["headers: {DD-API-KEY: x}", "api_key: x"])
def test_the_key_may_stand_where_it_is_wanted(keys):
    assert entry_of(f"type: datadog, url: 'https://intake', {keys}")


def test_a_key_over_plain_http_is_warned_of():
    assert [key for key, _ in SINK.warn(entry_of("type: datadog, url: 'http://intake', api_key: x").config)] == ["url"]


async def test_a_proxys_login_page_is_not_taken_for_delivered():
    codec = Datadog()
    async with BadServer(codec, schedule=iter(["login", "login"])) as server, World(codec, server) as world:
        world.write(5)
        await world.until_done()
        assert len(server.stored) == 5 and server.faults[:3] == ["login", "login", "ok"]
